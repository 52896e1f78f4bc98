//! The clock of the kernel and of its programs.

use crate::choices::Clock;

/// CLOCK_MONOTONIC, nanoseconds: what the kernel programs read.
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Time since 1970, nanoseconds; 0 where the clock counts instructions: the date of such a machine is made up.
pub fn unix_ns() -> u64 {
    match super::emulated::clock() {
        Clock::Wall => read(libc::CLOCK_REALTIME),
        Clock::Instructions => 0,
    }
}

/// CPU time of this thread, nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Time since the boot, that in which the machine slept included, nanoseconds.
pub fn since_boot_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure outlives the call, which only writes to it.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
