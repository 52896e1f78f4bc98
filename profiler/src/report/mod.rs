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
    output::{Format, json as json_text, list, print},
    profile::{self, MOST_PATHS, Profile},
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

/// A profile in a format, as it is printed.
pub fn rendered(profile: Profile, name: ReportFormat) -> String {
    let render = format(name).render;
    if name == ReportFormat::Json {
        return json_text(&render(&profile, &account_with_intervals(&profile)));
    }
    let profile = profile.readable();
    render(&profile, &account_with_intervals(&profile))
}

/// Runs `netstrata report`.
pub fn run(args: &ReportArgs) -> Result<ExitCode> {
    let (mut profile, _) = profile::read_set(&args.files)?;
    // Each recording has folded its own; together they may have more than a report tells.
    profile.fold(MOST_PATHS);
    print(&rendered(profile, args.format))
}
