//! Records of the function tier that pass through maps: what a CPU works on, and what functions took of each span.

use crate::{Lost, Way};

/// Charges that one journey can hold: one for each pair of a span and a hook that ran in it.
pub const MAX_CHARGES: usize = 96;
/// Hooks that can be open at one time in one context.
pub const MAX_FRAMES: usize = 32;
/// Different hooks that can run within one span.
pub const MAX_TOUCHED: usize = 32;
/// Ways to attach: entry and exit through the function's own patch site, or through breakpoints.
pub const KINDS: usize = Way::ALL.len();
/// Index of fentry/fexit.
pub const KIND_FENTRY: usize = Way::Fentry as usize;
/// Index of kprobe/kretprobe.
pub const KIND_KPROBE: usize = Way::Kprobe as usize;

/// `slot` of a [`Current`] whose packet does not exist yet: a send that will probably be chosen.
pub const ARMED: u32 = u32::MAX;
/// `slot` of a [`Current`] without a packet, while costs are measured.
pub const CALIBRATING: u32 = u32::MAX - 1;

/// What one hook took of one span of one journey.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Its own nanoseconds, nested hooks subtracted; unused for the whole span.
    pub ns: u32,
    /// The span that ends at this crossing.
    pub index: u8,
    /// A [`crate::Hook`]; 0: the span itself.
    pub hook: u8,
    /// Calls that began in the span.
    pub calls: u16,
    /// Sum of the values taken; for a span in which the packet waited, nanoseconds that hooks took on its CPU meanwhile.
    pub value: u32,
    /// Calls that ended in the span by a return of their own, not together with a function that they called last.
    pub returns: u16,
    /// By kind, hooks that were entered directly from its own time: each leaves the part of its cost there that lies
    /// outside it. For a span in which the packet waited, all that were entered on its CPU meanwhile; so for the others.
    pub entered: [u16; KINDS],
    /// By kind, hooks that returned to its own time.
    pub left: [u16; KINDS],
    /// By kind, hooks that ran for another packet that was made meanwhile: all of their cost lies there.
    pub nested: [u16; KINDS],
    /// By kind, entries and exits that had nothing to do while the packet waited.
    pub idle: [u16; KINDS],
    /// Beginnings and ends of softirqs while the packet waited.
    pub softirqs: u16,
    /// Ends of the span that lie in its own time: the crossings there leave a part of their cost each.
    pub ends: u16,
    /// Functions that were called last, and returned together with their caller, to its own time: what is `left` by both is
    /// the caller's. For a span in which the packet waited, all on its CPU.
    pub tails: u16,
}

/// What hooks did on a CPU so far.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Entries by kind, while there was a packet or an open function.
    pub entered: [u64; KINDS],
    /// Such exits by kind.
    pub left: [u64; KINDS],
    /// See [`Charge::tails`].
    pub tails: u64,
    /// Entries and exits that had nothing to do, by kind.
    pub idle: [u64; KINDS],
    /// Beginnings and ends of softirqs.
    pub softirqs: u64,
    /// Nanoseconds that the programs took between their two looks at the clock while there was no packet: at entries, at
    /// exits.
    pub ns: [u64; 2],
    /// The same, cut out of a packet's time.
    pub cut_ns: [u64; 2],
}

impl Tally {
    /// The sum of both.
    pub fn plus(self, other: &Self) -> Self {
        let sum = |a: [u64; 2], b: [u64; 2]| [a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1])];
        Self {
            entered: sum(self.entered, other.entered),
            left: sum(self.left, other.left),
            tails: self.tails.wrapping_add(other.tails),
            idle: sum(self.idle, other.idle),
            softirqs: self.softirqs.wrapping_add(other.softirqs),
            ns: sum(self.ns, other.ns),
            cut_ns: sum(self.cut_ns, other.cut_ns),
        }
    }

    /// What came since an earlier reading.
    pub fn since(&self, before: &Self) -> Self {
        let less = |a: [u64; 2], b: [u64; 2]| [a[0].wrapping_sub(b[0]), a[1].wrapping_sub(b[1])];
        Self {
            entered: less(self.entered, before.entered),
            left: less(self.left, before.left),
            tails: self.tails.wrapping_sub(before.tails),
            idle: less(self.idle, before.idle),
            softirqs: self.softirqs.wrapping_sub(before.softirqs),
            ns: less(self.ns, before.ns),
            cut_ns: less(self.cut_ns, before.cut_ns),
        }
    }
}

/// Charges of one journey.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Charges {
    /// Bit by crossing: one CPU worked on the packet for the whole span that ends there, so that its charges are whole.
    pub complete: u64,
    /// Number of charges.
    pub count: u32,
    /// Zero.
    pub pad: u32,
    /// The CPU's tally after the last crossing.
    pub queued: Tally,
    /// The charges.
    pub charges: [Charge; MAX_CHARGES],
}

/// An open hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    /// The argument that is read when the function returns.
    pub argument: u64,
    /// Top of the stack when it was entered, which two functions share that return together; 0: it shares nothing.
    pub stack: u64,
    /// The hook whose program opened it.
    pub program: u32,
    /// The hook that is charged.
    pub hook: u16,
    /// 1: it called another hooked function last.
    pub tail: u16,
}

/// What a hook took since the last crossing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Own nanoseconds.
    pub ns: u64,
    /// The [`Work::generation`] that this belongs to; of another one it counts as zero.
    pub generation: u64,
    /// Calls that began.
    pub calls: u32,
    /// Calls that ended.
    pub returns: u32,
    /// Sum of the values taken.
    pub value: u32,
    /// See [`Charge::ends`].
    pub ends: u32,
    /// See [`Charge::tails`].
    pub tails: u32,
    /// Zero.
    pub pad: u32,
    /// See [`Charge::entered`].
    pub entered: [u32; KINDS],
    /// See [`Charge::left`].
    pub left: [u32; KINDS],
    /// See [`Charge::nested`].
    pub nested: [u32; KINDS],
}

/// The followed packet that a context works on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Current {
    /// Slot plus 1; 0: none.
    pub slot: u32,
    /// Crossings that the journey has.
    pub count: u32,
    /// Its id.
    pub id: u64,
    /// Until when its time is charged.
    pub since_ns: u64,
    /// Frames below this one were open before its last crossing: its time is not theirs.
    pub base: u32,
    /// Zero.
    pub pad: u32,
}

/// What one context of one CPU works on: a task, or a softirq on top of it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// The packet.
    pub current: Current,
    /// The packet in whose processing that one was made (an acknowledgement), or none.
    pub outer: Current,
    /// Hooks run for `current` meanwhile: they lie in the time of `outer`.
    pub nested: [u32; KINDS],
    /// The task, in the context of tasks.
    pub task: u64,
    /// Goes up when `taken` is void.
    pub generation: u64,
    /// Open hooks.
    pub depth: u32,
    /// Hooks in `list`.
    pub touched: u32,
    /// The open hooks.
    pub frames: [Frame; MAX_FRAMES],
    /// Hooks that took something since the last crossing.
    pub list: [u8; MAX_TOUCHED],
    /// What they took, by hook.
    pub taken: [Taken; crate::MAX_HOOKS],
}

/// nftables chains that have rows of their own.
pub const CHAINS: usize = 16;
/// Longest name of a table or chain that is kept, with its end.
pub const CHAIN_NAME: usize = 32;

/// A chain that has a row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Chain {
    /// Its address.
    pub address: u64,
    /// Name of its table, zero-terminated.
    pub table: [u8; CHAIN_NAME],
    /// Its name, zero-terminated.
    pub name: [u8; CHAIN_NAME],
}

/// What a hook looks at first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    /// 0: a task runs; 1: a softirq.
    pub level: u32,
    /// By level: 0 if hooks have nothing to do.
    pub busy: [u32; 2],
    /// Zero.
    pub pad: u32,
    /// Nanoseconds that crossings took to charge functions, cut out of the journeys; not in [`crate::CpuState::cut_ns`].
    pub cut_ns: u64,
    /// What hooks did here.
    pub tally: Tally,
    /// Losses.
    pub lost: Lost,
}

/// Key of what a hook took of the spans of a path.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionKey {
    /// Hash of the whole path.
    pub path: u64,
    /// The span that ends at this crossing.
    pub index: u32,
    /// A [`crate::Hook`].
    pub hook: u32,
}

/// What a hook took; weighted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionNode {
    /// Journeys in which it did, not weighted.
    pub samples: u64,
    /// Calls that began; for the span itself, the journeys.
    pub calls: u64,
    /// Own nanoseconds; for the span itself, all of them.
    pub sum_ns: u64,
    /// See [`Charge::returns`].
    pub returns: u64,
    /// See [`Charge::value`].
    pub value: u64,
    /// See [`Charge::entered`].
    pub entered: [u64; KINDS],
    /// See [`Charge::left`].
    pub left: [u64; KINDS],
    /// See [`Charge::nested`].
    pub nested: [u64; KINDS],
    /// See [`Charge::idle`].
    pub idle: [u64; KINDS],
    /// See [`Charge::softirqs`].
    pub softirqs: u64,
    /// See [`Charge::ends`].
    pub ends: u64,
    /// See [`Charge::tails`].
    pub tails: u64,
}
