//! Landlock: a thread that can write nowhere but in some directories, whatever its user may.
//!
//! <https://docs.kernel.org/userspace-api/landlock.html>; its numbers are those of Linux's headers on every machine.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

const CREATE_RULESET: libc::c_long = 444;
const ADD_RULE: libc::c_long = 445;
const RESTRICT_SELF: libc::c_long = 446;
const VERSION: u32 = 1;
const PATH_BENEATH: u32 = 1;
/// To execute, which nobody does here; to write, to remove, to make: all of the first version but reading.
const EXECUTE: u64 = 1;
const OF_FIRST: u64 = 1 << 1 | 0b1_1111_1111 << 4;
/// To move files from one directory to another, since the second version; to truncate them, since the third.
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;

#[repr(C)]
struct Ruleset {
    handled: u64,
}

#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

/// Its version here; an error where it is not.
fn version() -> io::Result<u32> {
    // SAFETY: no structure is given, which asks for the version.
    let version = unsafe { libc::syscall(CREATE_RULESET, std::ptr::null::<Ruleset>(), 0usize, VERSION) };
    u32::try_from(version).map_err(|_| io::Error::last_os_error())
}

/// Whether this kernel has it, in force.
#[cfg(test)]
pub(super) fn is_there() -> bool {
    version().is_ok()
}

/// From now on this thread makes, writes and removes files in these directories only. Needs no capability, but that it has given up
/// new privileges.
pub(super) fn write_only_in(places: &[&Path]) -> io::Result<()> {
    let version = version()?;
    let since = |first: u32, what: u64| if version >= first { what } else { 0 };
    let writing = OF_FIRST | since(2, REFER) | since(3, TRUNCATE);
    let ruleset = Ruleset { handled: writing | EXECUTE };
    // SAFETY: the structure is as long as is told, and outlives the call; the descriptor is new and nobody else's.
    let rules = unsafe {
        let rules = libc::syscall(CREATE_RULESET, &raw const ruleset, size_of::<Ruleset>(), 0);
        if rules < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(rules as i32)
    };
    for place in places {
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        let name = CString::new(place.as_os_str().as_bytes())?;
        // SAFETY: the name ends with NUL and outlives the call; the descriptor is new and nobody else's.
        let directory = unsafe {
            let directory = libc::open(name.as_ptr(), libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY);
            if directory < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(directory)
        };
        let rule = Beneath { allowed: writing, parent: directory.as_raw_fd() };
        // SAFETY: the structure is laid out as the kernel wants it, and outlives the call; both descriptors are open.
        super::result(unsafe { libc::syscall(ADD_RULE, rules.as_raw_fd(), PATH_BENEATH, &raw const rule, 0) })?;
    }
    // SAFETY: the descriptor is open; the call is about this thread.
    super::result(unsafe { libc::syscall(RESTRICT_SELF, rules.as_raw_fd(), 0) })
}
