//! Tests that run labs: as root, and one at a time.

use std::{
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One lab at a time: the measurements would disturb each other, and a sweep is part of the tests.
static ONE: Mutex<()> = Mutex::new(());

/// Waits for the other tests of this file; `None`, said why, where labs cannot run.
pub fn ready(test: &str) -> Option<MutexGuard<'static, ()>> {
    // SAFETY: a plain system call without arguments.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped {test}: needs root for network namespaces");
        return None;
    }
    if Command::new("ip").arg("-V").output().is_err() {
        println!("skipped {test}: `ip` is not installed");
        return None;
    }
    Some(ONE.lock().unwrap_or_else(PoisonError::into_inner))
}
