//! Priorities of the recorder's threads: what was measured to need one has it.

use std::marker::PhantomData;

use crate::threads;

/// Whether this thread runs as soon as it wants to: on a busy host it would come back late from every sleep, and the probes
/// would stay attached for several times as long as the budget allows. Where that is not allowed, it is late.
pub(super) fn keep_time(keep: bool) {
    let policy = if keep { libc::SCHED_RR } else { libc::SCHED_OTHER };
    let parameters = libc::sched_param { sched_priority: i32::from(keep) };
    // SAFETY: affects this thread only, which waits for something most of the time.
    unsafe { libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
}

/// Until it is dropped, this thread records: it runs as soon as it wants to, and profiles know it by its name.
pub(super) struct OnTime {
    /// The name that it had.
    name: [u8; Self::LENGTH],
    /// It is about the thread that made it.
    _here: PhantomData<*const ()>,
}

impl OnTime {
    /// What a name can be long, with its end.
    const LENGTH: usize = 16;

    pub fn begin() -> Self {
        let (mut name, mut own) = ([0; Self::LENGTH], [0; Self::LENGTH]);
        own[..threads::RECORD.len()].copy_from_slice(threads::RECORD.as_bytes());
        // SAFETY: the first call writes sixteen bytes at most to an array of as many, the second reads as many, or to a zero.
        unsafe {
            libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr());
            libc::prctl(libc::PR_SET_NAME, own.as_ptr());
        }
        keep_time(true);
        Self { name, _here: PhantomData }
    }
}

impl Drop for OnTime {
    fn drop(&mut self) {
        keep_time(false);
        // SAFETY: the kernel has ended the name with a zero.
        unsafe { libc::prctl(libc::PR_SET_NAME, self.name.as_ptr()) };
    }
}

/// Puts this thread, and those that it starts, before others until it is dropped: loading and measuring take a second of CPU
/// time, which on a busy host would be half a minute, and disturb what is measured. No real-time priority, which would keep
/// the kernel's own threads from running. Where it is not allowed, it takes as long as it takes.
pub(super) struct Hurry(libc::c_int);

impl Hurry {
    const FIRST: libc::c_int = -20;

    pub fn begin() -> Self {
        // SAFETY: both affect and ask this thread only.
        unsafe {
            let before = libc::getpriority(libc::PRIO_PROCESS, 0);
            libc::setpriority(libc::PRIO_PROCESS, 0, Self::FIRST);
            Self(before)
        }
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        // SAFETY: affects this thread only.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.0) };
    }
}
