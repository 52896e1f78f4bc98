//! The account of a slower mode against a faster one.

use std::process::ExitCode;

use crate::cli::ExplainArgs;

/// Runs `netstrata explain`.
pub fn run(_args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
