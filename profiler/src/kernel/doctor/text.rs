//! What was found, in plain words, within 100 columns.

use std::fmt::Write as _;

use super::{Check, Examination};

const WIDTH: usize = 100;

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
        entry(out, &format!("  {:<16} {:<8} ", tier.name, yes(tier.available)), &tier.why)?;
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
    let indent = head.chars().count();
    let mut line = head.to_owned();
    let mut length = indent;
    let mut empty = true;
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        if !empty && length + 1 + rest.len() > WIDTH {
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(indent);
            (length, empty) = (indent, true);
        }
        if !empty {
            line.push(' ');
            length += 1;
        }
        // A word longer than the column is cut into lines.
        while length + rest.len() > WIDTH {
            let tail = rest.split_off(WIDTH - length);
            line.extend(rest);
            writeln!(out, "{line}")?;
            line = " ".repeat(indent);
            length = indent;
            rest = tail;
        }
        length += rest.len();
        line.extend(rest);
        empty = false;
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_words_and_long_words_are_cut() {
        let mut out = String::new();
        entry(&mut out, "  head ", &format!("{} {}", "word ".repeat(30), "x".repeat(150))).expect("a string");
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        assert!(out.lines().skip(1).all(|line| line.starts_with("       ")), "{out}");
        assert_eq!(out.matches('x').count(), 150);
    }
}
