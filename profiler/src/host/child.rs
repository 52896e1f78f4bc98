//! Commands that run to their end, or are ended in order when a signal comes: a program of ours removes what it made.

use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{process::Command, time::timeout};

use super::{process::kill, signal};

/// Runs a command to its end; `None` if it did not end within the limit. If it has to be ended, it has `grace` to do so in order.
///
/// # Errors
/// [`signal::Interrupted`] if a signal comes, and if it cannot be started.
pub async fn to_end(mut command: Command, what: &str, limit: Duration, grace: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {what}"))?;
    let ended = tokio::select! {
        biased;
        signal = signal::interrupted() => Err(signal.into()),
        ended = timeout(limit, child.wait()) => match ended {
            Ok(status) => return Ok(Some(status?)),
            Err(_) => Ok(None),
        },
    };
    if let Some(pid) = child.id() {
        kill(pid, libc::SIGTERM);
        if timeout(grace, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
    ended
}
