//! Priorities of the recorder's threads: what was measured to need one has it.

/// Whether this thread runs as soon as it wants to: on a busy host it would come back late from every sleep, and the probes
/// would stay attached for several times as long as the budget allows. Where that is not allowed, it is late.
pub(super) fn keep_time(keep: bool) {
    let policy = if keep { libc::SCHED_RR } else { libc::SCHED_OTHER };
    let parameters = libc::sched_param { sched_priority: i32::from(keep) };
    // SAFETY: affects this thread only, which waits for something most of the time.
    unsafe { libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
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
