//! What was found, in plain words, within 100 columns.

use std::fmt::Write as _;

use super::{Check, Examination};
use crate::output::wrapped;

/// The examination as text.
pub fn text(found: &Examination) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, found);
    out
}

fn write(out: &mut String, found: &Examination) -> std::fmt::Result {
    writeln!(out, "Linux {} ({}), {} CPUs", found.kernel, found.arch, found.cpus)?;
    let verdict =
        if found.can_record { "yes: `netstrata record` works here" } else { "no: nothing useful can be recorded here" };
    writeln!(out, "Can record: {verdict}")?;
    for advice in &found.advice {
        entry(out, "  -> ", advice)?;
    }
    writeln!(out, "\nTiers")?;
    for tier in &found.tiers {
        entry(out, &format!("  {:<16} {:<8} ", tier.tier.name(), yes(tier.available)), &tier.why)?;
    }
    writeln!(out, "\nKernel")?;
    for check in std::iter::once(&found.load).chain(&found.checks) {
        line(out, check)?;
    }
    writeln!(out, "\nCapabilities of this process")?;
    for capability in &found.capabilities {
        let why = format!("{}{}", if capability.required { "required: " } else { "" }, capability.why);
        entry(out, &format!("  {:<16} {:<8} ", capability.name, yes(capability.has)), &why)?;
    }
    writeln!(out, "\nTracepoints")?;
    for probe in &found.probes {
        let state = match probe.arguments {
            Some(1) => "1 argument".to_owned(),
            Some(count) => format!("{count} arguments"),
            None if probe.required => format!("not in this kernel; there is no recording without {}", probe.lost),
            None => format!("not in this kernel; lost: {}", probe.lost),
        };
        entry(out, &format!("  {:<24} {:<8} ", probe.name, yes(probe.available)), &state)?;
    }
    writeln!(out, "\nLayers (part: only as a share of another span, or as CPU time)")?;
    writeln!(out, "  {:<12} {:<5} {:<6} {:<19} seen by", "layer", "seen", "since", "kernel")?;
    for layer in &found.layers {
        let mut how = if layer.by == "span" { layer.points.join(", ") } else { String::new() };
        if !layer.missing.is_empty() && layer.seen != "no" {
            how = format!("CPU samples; missing {}", layer.missing.join(", "));
        }
        if !layer.note.is_empty() {
            how = if how.is_empty() { layer.note.clone() } else { format!("{how}; {}", layer.note) };
        }
        let head = format!("  {:<12} {:<5} {:<6} {:<19} ", layer.layer, layer.seen, layer.since, layer.kernel);
        entry(out, &head, &how)?;
    }
    Ok(())
}

fn line(out: &mut String, check: &Check) -> std::fmt::Result {
    entry(out, &format!("  {:<16} {:<8} ", check.name, check.answer), &check.why)
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// A head with text beside it, wrapped at words.
fn entry(out: &mut String, head: &str, text: &str) -> std::fmt::Result {
    out.write_str(&wrapped(head, head.chars().count(), text))
}
