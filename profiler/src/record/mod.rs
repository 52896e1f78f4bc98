//! Recording: loads the kernel programs, attaches, collects, and leaves a profile.

use std::process::ExitCode;

use crate::{cli::RecordArgs, profile::Profile};

/// Runs `netstrata record`.
pub fn run(_args: &RecordArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}

/// Records while `work` runs; `work` is called once all probes are attached.
pub fn record_while<T>(_args: &RecordArgs, _work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(Profile, T)> {
    anyhow::bail!("not built yet")
}
