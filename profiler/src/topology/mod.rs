//! Network namespaces, devices and containers of this machine.

mod model;

pub use model::*;

use std::process::ExitCode;

use crate::cli::FormatArgs;

/// Runs `netstrata topology`.
pub fn run(_args: &FormatArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
