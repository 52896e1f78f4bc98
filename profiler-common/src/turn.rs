//! Turnarounds: the application's own time from a read to its next send.

/// Tasks whose next turnaround is measured at one time; a power of two.
pub const DUES: usize = 1024;

/// A task that has read a followed packet: its next turnaround, which begins after that, stands for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
    /// Process and thread (`bpf_get_current_pid_tgid`), or 0.
    pub task: u64,
    /// When that turnaround began, or 0: it has not.
    pub begin_ns: u64,
    /// Weight of the packet that was read.
    pub weight: u32,
    /// The same of the one with which the turnaround began, if that is followed, too.
    pub more: u32,
    /// Whether the task has sent since it read the packet.
    pub has_sent: u32,
    /// See [`crate::Config::epoch`].
    pub epoch: u32,
    /// The CPU on which it began.
    pub cpu: u32,
    /// Crossings that this had seen; the lower half.
    pub seen: u32,
}
