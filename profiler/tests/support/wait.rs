//! Waiting for something that happens, instead of for some time.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// For things that take far less on any machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so, and fails if it does not become so in time.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(PATIENCE, what, condition);
}

/// The same with another patience.
pub fn until_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience, "waited {patience:?} for {what}");
        sleep(Duration::from_millis(10));
    }
}
