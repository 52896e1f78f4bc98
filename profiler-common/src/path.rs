//! What the kernel gathers by path and by span. All records are `repr(C)` without hidden padding.

use crate::{BUCKETS, Crossing, MAX_CROSSINGS};

/// The index under which a path's end-to-end times are kept; spans use 1..MAX_CROSSINGS.
pub const END_TO_END: u32 = 255;

/// One step of a hash.
#[inline(always)]
pub fn mix(hash: u64, value: u64) -> u64 {
    let mixed = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

/// Key of a node of the tree: a path and the place of a span within it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeKey {
    /// Hash of the whole path.
    pub path: u64,
    /// The span that ends at this crossing, or [`END_TO_END`].
    pub index: u32,
    /// Zero.
    pub pad: u32,
}

/// What a node has gathered. Every figure is weighted: a packet followed at 1 in N counts N times.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// Packets followed, not weighted.
    pub samples: u64,
    /// Packets.
    pub count: u64,
    /// Nanoseconds.
    pub sum_ns: u64,
    /// Largest value, not weighted.
    pub max_ns: u64,
    /// Packets per bucket of the log-linear histogram.
    pub buckets: [u64; BUCKETS],
}

/// A class of journeys: same points and devices in the same order, same protocol, same end.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Packets followed, not weighted.
    pub samples: u64,
    /// skbs, weighted.
    pub packets: u64,
    /// Wire packets, weighted.
    pub wire_packets: u64,
    /// Bytes at the first device, weighted.
    pub bytes: u64,
    /// CPU changes, weighted.
    pub cpu_hops: u64,
    /// Bytes of TCP or UDP data at the first device, weighted.
    pub payload: u64,
    /// skbs at the end, weighted, in millionths.
    pub skbs_micro: u64,
    /// Number of crossings.
    pub count: u32,
    /// Reason of a drop.
    pub reason: u32,
    /// IP protocol, or 0.
    pub protocol: u8,
    /// An [`End`].
    pub end: u8,
    /// Zero.
    pub pad: [u8; 6],
    /// Points and devices; the times are unused.
    pub crossings: [Crossing; MAX_CROSSINGS],
}
