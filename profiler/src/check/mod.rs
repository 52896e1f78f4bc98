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

use std::{path::Path, process::ExitCode};

use crate::{
    cli::{CheckArgs, CheckFormat},
    explain::{Cause, explain},
    note,
    output::{Format, list, print, printable},
    profile,
};

pub use judge::Judgment;
pub use rule::{Estimate, LOOKS, Verdict};

/// Runs `netstrata check`.
///
/// # Errors
/// [`crate::failure::Failure::Usage`] if the sets cannot be compared, and whatever reading the files gives.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (found, target) = judged(args)?;
    print(&(format(args.format).render)(&found)?)?;
    // The verdict is what was asked for: a history that cannot be written is said, and changes nothing of it.
    if let Some(Err(error)) = args.history.as_ref().map(|path| history::append(path, &found, &target)) {
        note!("netstrata: {error:#}; the verdict stands, and is not in the history");
    }
    Ok(ExitCode::from(exit_code(found.verdict)))
}

/// Whether a recording can be judged at all; what is missing is said by its name.
///
/// # Errors
/// [`crate::failure::Failure::Usage`] if it is void or holds no packet of the work, and whatever reading it gives.
pub fn fits(file: &Path) -> anyhow::Result<()> {
    set::fits(file, &profile::read(file)?)
}

/// What a check of recordings finds.
///
/// # Errors
/// As [`run`] has them.
pub fn of_sets(args: &CheckArgs) -> anyhow::Result<Judgment> {
    judged(args).map(|(found, _)| found)
}

/// The same with the target's recordings.
fn judged(args: &CheckArgs) -> anyhow::Result<(Judgment, set::Set)> {
    let (mut baseline, mut target) = (set::Set::read(&args.against)?, set::Set::read(&args.targets)?);
    set::tell_apart([&mut baseline, &mut target], [&args.against, &args.targets]);
    let notes = set::compare(&baseline, &target)?;
    let mut found = judge::judge(&baseline, &target, args.threshold, notes)?;
    if matches!(found.verdict, Verdict::Regressed | Verdict::Moved) {
        found.causes = causes([&baseline, &target], found.looked_at);
    }
    Ok((found, target))
}

/// What the target does that the baseline does not, by the recordings that were judged: as `explain` tells it.
fn causes(sets: [&set::Set; 2], looked_at: usize) -> Vec<Cause> {
    let sum = |set: &set::Set| {
        let judged = set.recordings.iter().take(looked_at);
        profile::merge(judged.map(|(file, profile)| (file.display().to_string(), profile.clone())).collect())
    };
    let [Ok(baseline), Ok(target)] = sets.map(sum) else { return Vec::new() };
    explain(&baseline, &target, &sets.map(|set| set.label.clone())).map_or(Vec::new(), |found| found.causes)
}

impl Judgment {
    /// The verdict in a line.
    pub fn headline(&self) -> String {
        printable(&text::headline(self))
    }
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
pub type Render = fn(&Judgment) -> anyhow::Result<String>;

/// The format of a name of the command line: the only list.
pub fn format(name: CheckFormat) -> Format<Render> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_format_verdict_and_exit_code() {
        let page = include_str!("../../../docs/ci.md");
        let listed = formats();
        let names: Vec<&str> = listed.lines().filter_map(|line| line.split('\t').nth(1)).collect();
        let wanted = format!("[--format {}]", names.join("|"));
        assert!(page.contains(&wanted), "{wanted}");
        for verdict in [Verdict::Ok, Verdict::Improved, Verdict::Moved, Verdict::Regressed, Verdict::Undecided] {
            let row = format!("| `{}` | {} |", verdict.name(), exit_code(verdict));
            assert!(page.contains(&row), "{row}");
        }
        let looks: Vec<String> = rule::LOOKS.iter().map(usize::to_string).collect();
        assert!(page.contains(&format!("at {} pairs", looks.join(", "))), "{looks:?}");
    }
}
