//! A followed packet and how it ends. All records are `repr(C)` without hidden padding.

use crate::{End, Points, Protocol, mix};

/// Crossings that one journey can hold; longer ones are ended and counted.
pub const MAX_CROSSINGS: usize = 48;
/// Followed packets at one time, at most. A power of two.
pub const MAX_SLOTS: usize = 16384;

/// One crossing of a followed packet.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Time since the previous crossing, in nanoseconds; 0 for the first.
    pub delta_ns: u64,
    /// Inode number of the device's network namespace.
    pub netns: u32,
    /// Index of the device within the namespace; 0 where no device is known (sockets).
    pub ifindex: u32,
    /// A [`crate::Point`].
    pub point: u8,
    /// A [`crate::Edge`]: how the packet came from the one at the crossing before.
    pub edge: u8,
    /// The CPU.
    pub cpu: u16,
    /// Zero.
    pub pad2: u32,
}

/// A followed packet, from its first crossing on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Journey {
    /// Address of the skb; with `id` it identifies the packet.
    pub skb: u64,
    /// Generation: unique per recording.
    pub id: u64,
    /// Time of the first crossing, CLOCK_MONOTONIC nanoseconds.
    pub start_ns: u64,
    /// Time of the last crossing.
    pub last_ns: u64,
    /// Hash of the sequence of (point, namespace, device) so far.
    pub path: u64,
    /// How many packets this one stands for.
    pub weight: u32,
    /// Number of crossings in `crossings`.
    pub count: u32,
    /// Length of the packet at its first device, bytes.
    pub len: u32,
    /// Wire packets it carries (segments).
    pub wire: u32,
    /// Bytes copied to the reader so far.
    pub copied: u32,
    /// How often the packet changed CPU.
    pub cpu_hops: u32,
    /// Reason of a drop, as the kernel numbers them.
    pub reason: u32,
    /// The last point.
    pub last_point: u8,
    /// IP protocol, or 0.
    pub protocol: u8,
    /// An [`End`]: of an open journey the one it has if nothing more is seen, where that is known.
    pub end: u8,
    /// Filters that a crossing has met: bit 0 namespace, bit 1 device.
    pub matched: u8,
    /// The attachment window in which it began.
    pub epoch: u32,
    /// Bytes of TCP or UDP data that it carried at its first device.
    pub payload: u32,
    /// The socket that announced it, or 0.
    pub socket: u64,
    /// TCP sequence number after its last byte; valid with `socket`.
    pub end_seq: u32,
    /// skbs that the packet has become since its first crossing, in millionths: more after segmentation, less after
    /// a merge.
    pub skbs_micro: u32,
    /// Wire packets that the skb now carries: fewer than `wire` after segmentation.
    pub skb_wire: u32,
    /// The [`crate::Edge`] of its next crossing.
    pub next_edge: u8,
    /// The [`crate::Point`] before its reader copied it.
    pub read_from: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// Fingerprint of the packet that a program has read from a tun device, or 0: none carries it.
    pub print: u64,
    /// The crossings.
    pub crossings: [Crossing; MAX_CROSSINGS],
}

impl Journey {
    /// The end of a journey of which nothing more is seen: what the programs have noted so far (freed, merged or read,
    /// while it was open whether it goes on as another packet), or that its packet was used up unseen. TCP loses no data
    /// that it has taken in: what vanishes there was joined with other data, in the backlog of a busy socket or out of
    /// order.
    #[inline(always)]
    pub fn unseen_end(&self) -> End {
        if self.end != End::Open as u8 {
            return End::from_id(self.end).unwrap_or(End::Open);
        }
        let to_tcp = Points::TO_TCP.has(self.last_point as u32);
        if self.protocol == Protocol::TCP.0 && self.payload > 0 && to_tcp { End::Merged } else { End::Absorbed }
    }
}

/// One step of the hash that identifies a path.
#[inline(always)]
pub fn path_step(hash: u64, point: crate::Point, edge: u8, netns: u32, ifindex: u32) -> u64 {
    mix(hash, (netns as u64) << 32 ^ (ifindex as u64) << 8 ^ (edge as u64) << 5 ^ point as u64)
}

/// The last step of that hash.
#[inline(always)]
pub fn path_end(hash: u64, end: End, protocol: u8, reason: u32) -> u64 {
    mix(hash, (end as u64) << 40 | (protocol as u64) << 32 | reason as u64)
}
