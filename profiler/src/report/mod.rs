//! Reports of a profile: text, JSON, folded stacks, SVG.

pub mod folded;
pub mod svg;

use std::process::ExitCode;

use crate::cli::ReportArgs;

/// Runs `netstrata report`.
pub fn run(_args: &ReportArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
