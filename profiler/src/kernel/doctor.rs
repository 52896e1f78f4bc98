//! `netstrata doctor`.

use std::process::ExitCode;

use crate::cli::FormatArgs;

/// Runs `netstrata doctor`.
pub fn run(_args: &FormatArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
