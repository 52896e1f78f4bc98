//! CPU samples, turnarounds and softirqs. All records are `repr(C)` without hidden padding.

/// Softirq vectors of Linux (HI … RCU).
pub const SOFTIRQS: usize = crate::Vector::ALL.len();

/// Frames of a kernel stack that are kept, innermost first.
pub const STACK_FRAMES: usize = 80;

/// Stacks that the programs' table holds.
pub const MAX_STACKS: u32 = 8192;

/// Addresses of a kernel stack, innermost first, zero after the last.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The addresses.
    pub frames: [u64; STACK_FRAMES],
}

/// Key of CPU samples.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleKey {
    /// Hash of the kernel stack and the batch, 0 without one.
    pub stack: u64,
    /// Cgroup (v2) of the current task, or 0.
    pub cgroup: u64,
    /// Process (thread group) that was current.
    pub pid: u32,
    /// Name of the thread that was current.
    pub comm: [u8; 16],
    /// Where the CPU's last crossing was.
    pub netns: u32,
    /// Where the CPU's last crossing was.
    pub ifindex: u32,
    /// Last [`crate::Point`] of the CPU.
    pub point: u16,
    /// The CPU.
    pub cpu: u16,
    /// 1 if user mode was interrupted.
    pub user: u16,
    /// 1 if taken in a burst, whose period is another.
    pub burst: u16,
    /// See [`crate::Config::batch`].
    pub batch: u32,
}

/// Time between a reader's copy and the same task's next send, per namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TurnKey {
    /// Namespace of the socket.
    pub netns: u32,
    /// Process.
    pub pid: u32,
    /// See [`crate::Config::batch`].
    pub batch: u32,
}

/// Softirq account of one vector on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Softirq {
    /// Runs.
    pub count: u64,
    /// Nanoseconds inside.
    pub ns: u64,
    /// Time of entry while running.
    pub entry_ns: u64,
    /// Time of the first raise not yet served, or 0.
    pub raise_ns: u64,
    /// Runs whose raise was seen.
    pub waits: u64,
    /// Nanoseconds from raise to entry.
    pub wait_ns: u64,
    /// NAPI polls (NET_RX only).
    pub polls: u64,
    /// Packets that those polls took.
    pub polled: u64,
}
