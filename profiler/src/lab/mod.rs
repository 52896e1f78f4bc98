//! Networks of the program's own, and traffic through them.

use std::process::ExitCode;

use crate::cli::{FormatArgs, LabRunArgs, LabWorkerArgs};

/// Runs `netstrata lab list`.
pub fn list(_args: &FormatArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}

/// Runs `netstrata lab run`.
pub fn run(_args: &LabRunArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}

/// Runs `netstrata lab worker`.
pub fn worker(_args: &LabWorkerArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
