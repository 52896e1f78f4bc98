//! Ctrl-C, SIGTERM and the end of the terminal: every long wait ends with one, so that a recording ends in order, and guards run
//! and remove what was made.

use std::{cell::Cell, sync::LazyLock, time::Duration};

use anyhow::{Context as _, Result};
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::runtime;

/// The signal that came; 0 while none has. One that came stays.
static CAME: LazyLock<watch::Sender<i32>> = LazyLock::new(|| watch::Sender::new(0));

thread_local! {
    static HEEDS: Cell<bool> = const { Cell::new(false) };
}

/// A signal asked this program to stop.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("interrupted by signal {0}")]
pub struct Interrupted(pub i32);

/// What this program needs of signals, whatever started it: to hear of the ends of its children, which a parent that ignores
/// SIGCHLD leaves ignored, and that a file beyond the limit of files fails to be written instead of ending it.
pub fn prepare() {
    // SAFETY: plain system calls, before there is another thread.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Gives a child back what [`prepare`] took; between fork and exec.
pub fn give_back() {
    // SAFETY: a system call that is async-signal-safe.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
}

/// Whether who started this program wanted it to live on after its terminal (`nohup`).
fn outlives_its_terminal() -> bool {
    // SAFETY: an all-zero structure is valid, and outlives the call, which changes nothing.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

/// From now on SIGINT, SIGQUIT, SIGTERM and SIGHUP no longer end this program, but what it waits for. A SIGHUP that is ignored stays so;
/// an ignored SIGINT does not, which a script's shell ignores for all that it starts beside itself.
pub fn heed() -> Result<()> {
    if HEEDS.replace(true) {
        return Ok(());
    }
    let runtime = runtime::current()?;
    let _within = runtime.enter();
    let hangup = (!outlives_its_terminal()).then(SignalKind::hangup);
    for kind in [SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()].into_iter().chain(hangup) {
        let mut signals = signal(kind).context("cannot listen to signals")?;
        runtime.spawn(async move {
            while signals.recv().await.is_some() {
                CAME.send_if_modified(|came| std::mem::replace(came, kind.as_raw_value()) == 0);
            }
        });
    }
    Ok(())
}

/// Waits for a signal, or tells at once of one that came before.
pub async fn interrupted() -> Interrupted {
    match CAME.subscribe().wait_for(|came| *came != 0).await {
        Ok(came) => Interrupted(*came),
        // The sender is never dropped.
        Err(_) => std::future::pending().await,
    }
}

/// Waits for a time; [`Interrupted`] if a signal comes.
pub async fn pause(time: Duration) -> Result<()> {
    tokio::select! {
        biased;
        signal = interrupted() => Err(signal.into()),
        () = tokio::time::sleep(time) => Ok(()),
    }
}

/// An error if a signal has come.
pub fn check() -> Result<(), Interrupted> {
    if HEEDS.get() && !runtime::waits() {
        // The runtime looks what came when there is nothing else to do, and then tells what listens.
        let _ = runtime::wait(async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            Ok(())
        });
    }
    match *CAME.borrow() {
        0 => Ok(()),
        signal => Err(Interrupted(signal)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// In a process of its own: a signal that came stays.
    #[test]
    fn a_signal_is_seen_and_ends_a_pause() {
        const CHILD: &str = "NETSTRATA_TEST_SIGNAL";
        if std::env::var_os(CHILD).is_none() {
            let name = std::thread::current().name().unwrap().to_owned();
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            let output = again.args([name.as_str(), "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            return;
        }
        heed().unwrap();
        check().unwrap();
        // To this thread: sent to the process, another may get it, and later than the look that follows.
        // SAFETY: a plain system call; the handler of the signal is in force.
        unsafe { libc::raise(libc::SIGTERM) };
        assert_eq!(check(), Err(Interrupted(libc::SIGTERM)));
        let ended = runtime::wait(pause(Duration::from_secs(60))).unwrap_err();
        assert_eq!(ended.downcast_ref(), Some(&Interrupted(libc::SIGTERM)));
    }
}
