//! Reports of a profile: text, JSON, folded stacks, SVG.

pub mod folded;
pub mod json;
pub mod svg;
pub mod text;

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    analysis::{Account, Kind, account},
    cli::{ReportArgs, ReportFormat},
    output::print,
    profile::{self, Profile},
};

/// Runs `netstrata report`.
pub fn run(args: &ReportArgs) -> Result<ExitCode> {
    let profile = profile::read(&args.file)?;
    let output = match args.format {
        ReportFormat::Text => text::text(&profile, &account(&profile)),
        ReportFormat::Json => serde_json::to_string_pretty(&json::json(&profile, &account(&profile)))? + "\n",
        ReportFormat::Folded => folded::folded(&profile),
        ReportFormat::Svg => svg::svg(&profile, &latency_rows(&profile, &account(&profile)))?,
    };
    print(&output)
}

/// The rows of the latency flame graph.
pub fn latency_rows(profile: &Profile, account: &Account) -> Vec<svg::LatencyRow> {
    let mut rows = Vec::new();
    for path in &account.paths {
        let name = text::path_name(path);
        for span in &path.spans {
            rows.push(svg::LatencyRow {
                path: name.clone(),
                layer: span.layer.map_or("unattributed", |layer| layer.name()).to_owned(),
                device: span.device.clone(),
                hook: span.hook.map_or_else(String::new, |part| profile.hook_name(part.hook)),
                wait: span.kind == Kind::Wait,
                ns: span.sum_ns,
            });
        }
        if path.unattributed_ns > 0 {
            rows.push(svg::LatencyRow {
                path: name,
                layer: "unattributed".into(),
                device: String::new(),
                hook: String::new(),
                wait: false,
                ns: path.unattributed_ns,
            });
        }
    }
    rows
}
