//! Reports of a profile: text, JSON, folded stacks, SVG. A file for each format, and in it `render`.

pub mod folded;
pub mod json;
pub mod svg;
pub mod text;

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    analysis::{Account, account_with_intervals},
    cli::{ReportArgs, ReportFormat},
    output::{Format, list, print},
    profile::{self, Profile},
};

/// The report of a profile and its account, in a format.
type Render = fn(&Profile, &Account) -> String;

/// The format of a name of the command line: the only list. Golden files, tests and the demo go over those names.
pub fn format(name: ReportFormat) -> Format<Render> {
    let (extension, render): (_, Render) = match name {
        ReportFormat::Text => ("txt", text::render),
        ReportFormat::Json => ("json", json::render),
        ReportFormat::Folded => ("folded", folded::render),
        ReportFormat::Svg => ("svg", svg::render),
    };
    Format { extension, render }
}

/// The formats, for programs.
pub fn formats() -> String {
    list("report", format)
}

/// Runs `netstrata report`.
pub fn run(args: &ReportArgs) -> Result<ExitCode> {
    let (profile, _) = profile::read_set(&args.files)?;
    print(&(format(args.format).render)(&profile, &account_with_intervals(&profile)))
}
