//! SIGINT and SIGTERM end a recording in order.

use std::sync::atomic::{AtomicBool, Ordering};

static RECEIVED: AtomicBool = AtomicBool::new(false);

extern "C" fn remember(_signal: libc::c_int) {
    RECEIVED.store(true, Ordering::Relaxed);
}

/// Installs the handlers.
pub fn install() {
    let handler: extern "C" fn(libc::c_int) = remember;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether one has come.
pub fn received() -> bool {
    RECEIVED.load(Ordering::Relaxed)
}
