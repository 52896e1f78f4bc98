//! Reports of a profile: text, JSON, folded stacks, SVG.

use std::process::ExitCode;

use crate::cli::ReportArgs;

/// Runs `netstrata report`.
pub fn run(_args: &ReportArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
