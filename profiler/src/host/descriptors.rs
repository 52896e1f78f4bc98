//! How many files this process may have open at once.

use std::{io, sync::OnceLock};

use crate::failure::Failure;

/// The limit that this process was started with, where it was raised.
static GIVEN: OnceLock<libc::rlimit> = OnceLock::new();

/// Sees to it that `least` files can be open, and `most` where that may be: what is allowed by the hard limit is taken.
///
/// # Errors
/// [`Failure::Refused`] where the hard limit is below `least`.
pub fn make_room(least: u64, most: u64) -> Result<(), Failure> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 || limit.rlim_cur >= most {
        return Ok(());
    }
    if limit.rlim_max < least {
        return Err(Failure::Refused(format!(
            "a recording has some {least} files open here, and this process may have {}: raise the limit, for instance with \
             `ulimit -n {most}`",
            limit.rlim_max
        )));
    }
    let raised = libc::rlimit { rlim_cur: most.min(limit.rlim_max), ..limit };
    // SAFETY: the structure outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
        let _ = GIVEN.set(limit);
    }
    Ok(())
}

/// Gives a program that this one starts the limit that this one was given: between fork and exec.
///
/// # Errors
/// Of the system; it makes one call, which is async-signal-safe.
pub fn give_back() -> io::Result<()> {
    match GIVEN.get() {
        // SAFETY: the structure is never freed.
        Some(limit) if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, std::ptr::from_ref(limit)) } != 0 => {
            Err(io::Error::last_os_error())
        }
        _ => Ok(()),
    }
}
