//! `netstrata check`: whether a change made the datapath slower, in which layer, and by how much. Pure: the same recordings give
//! the same verdict.
//!
//! The rule and what it errs: `docs/ci.md`.

mod figures;
mod history;
mod json;
mod judge;
mod junit;
mod markdown;
mod rule;
mod set;
#[cfg(test)]
mod testdata;
mod text;

use std::process::ExitCode;

use crate::{
    cli::{CheckArgs, CheckFormat},
    output::{Format, list, print},
};

pub use judge::Judgment;
pub use rule::Verdict;

/// Runs `netstrata check`.
///
/// # Errors
/// [`crate::failure::Failure::Usage`] if the sets cannot be compared, and whatever reading the files gives.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (baseline, target) = (set::Set::read(&args.against)?, set::Set::read(&args.targets)?);
    let notes = set::compare(&baseline, &target)?;
    let found = judge::judge(&baseline, &target, args.threshold, notes)?;
    if let Some(path) = &args.history {
        history::append(path, &found, &target)?;
    }
    print(&(format(args.format).render)(&found)?)?;
    Ok(ExitCode::from(exit_code(found.verdict)))
}

/// The exit code of a verdict: what moved from one layer to another is no regression.
fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Ok | Verdict::Improved | Verdict::Moved => 0,
        Verdict::Regressed => 1,
        Verdict::Undecided => 4,
    }
}

/// A check in a format.
type Render = fn(&Judgment) -> anyhow::Result<String>;

/// The format of a name of the command line: the only list.
fn format(name: CheckFormat) -> Format<Render> {
    let (extension, render): (_, Render) = match name {
        CheckFormat::Text => ("txt", text::render),
        CheckFormat::Json => ("json", json::render),
        CheckFormat::Junit => ("xml", junit::render),
        CheckFormat::Markdown => ("md", markdown::render),
    };
    Format { extension, render }
}

/// The formats, for programs.
pub fn formats() -> String {
    list("check", format)
}
