//! Ctrl-C and SIGTERM as a flag: every long wait looks at it, so that a recording ends in order, and guards run and remove
//! what was made.

use std::sync::atomic::{AtomicI32, Ordering};

use thiserror::Error;

static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// A signal asked this program to stop.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("interrupted by signal {0}")]
pub struct Interrupted(pub i32);

extern "C" fn note(signal: libc::c_int) {
    SIGNAL.store(signal, Ordering::SeqCst);
}

/// Handlers in force; the old ones come back when this is dropped.
pub struct Handlers {
    old: Vec<(libc::c_int, libc::sigaction)>,
}

impl Handlers {
    /// Puts the handlers of SIGINT, SIGTERM and SIGHUP in force. A system call that one interrupts goes on afterwards: what
    /// waits looks at the flag between short waits, and nothing that passes output on is cut short.
    pub fn install() -> Self {
        let mut old = Vec::new();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: both structures are plain data for which all zeroes is valid; `note` only stores to an atomic,
            // which is safe in a signal handler.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let mut before: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
                action.sa_flags = libc::SA_RESTART;
                if libc::sigaction(signal, &action, &mut before) == 0 {
                    old.push((signal, before));
                }
            }
        }
        Self { old }
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        for (signal, before) in &self.old {
            // SAFETY: `before` was filled by the kernel for this very signal.
            unsafe { libc::sigaction(*signal, before, std::ptr::null_mut()) };
        }
    }
}

/// An error if a signal has come.
pub fn check() -> Result<(), Interrupted> {
    match SIGNAL.load(Ordering::SeqCst) {
        0 => Ok(()),
        signal => Err(Interrupted(signal)),
    }
}

/// Whether one has come.
pub fn received() -> bool {
    check().is_err()
}
