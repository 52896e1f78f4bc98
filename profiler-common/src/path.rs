//! What the kernel gathers by path and by span. All records are `repr(C)` without hidden padding.

use crate::{Crossing, Journey, KEPT_BUCKETS, MAX_CROSSINGS, Peer, SEVERAL_PEERS, bucket_of};

/// The index under which a path's end-to-end times are kept; spans use 1..MAX_CROSSINGS.
pub const END_TO_END: u32 = 255;

/// Nodes of the tree that the programs' table holds.
pub const MAX_NODES: u32 = 16384;
/// Places of drops that the programs' table holds: a host has as many as devices, some times over.
pub const MAX_DROPS: u32 = 4096;
/// Paths that the programs' table holds.
pub const MAX_PATHS: u32 = 8192;

/// One step of a hash.
#[inline(always)]
pub fn mix(hash: u64, value: u64) -> u64 {
    let mixed = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

/// How a figure grows: the programs add atomically, since other CPUs add to it at the same moment.
pub trait Add {
    /// Adds `more` to `figure`.
    fn add(figure: &mut u64, more: u64);
    /// The same of a figure that stays small.
    fn add_small(figure: &mut u32, more: u32);
}

/// Additions to what nobody else adds to.
pub struct Alone;

impl Add for Alone {
    fn add(figure: &mut u64, more: u64) {
        *figure += more;
    }

    fn add_small(figure: &mut u32, more: u32) {
        *figure += more;
    }
}

/// Key of a node of the tree: a path and the place of a span within it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeKey {
    /// Hash of the whole path.
    pub path: u64,
    /// The span that ends at this crossing, or [`END_TO_END`].
    pub index: u32,
    /// See [`crate::Config::batch`].
    pub batch: u32,
}

/// Key of a path.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathKey {
    /// Hash of the whole path.
    pub path: u64,
    /// See [`crate::Config::batch`].
    pub batch: u32,
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
    /// Crossings of other packets meanwhile.
    pub others: u64,
    /// Packets per bucket of the log-linear histogram. Of one batch, which lasts seconds: no bucket gets four billion.
    pub buckets: [u32; KEPT_BUCKETS],
}

impl Node {
    /// Takes in a value with a weight, and how many crossings of other packets lay in it.
    #[inline(always)]
    pub fn take_in<A: Add>(&mut self, ns: u64, weight: u64, others: u32) {
        A::add(&mut self.samples, 1);
        A::add(&mut self.count, weight);
        A::add(&mut self.sum_ns, ns * weight);
        A::add(&mut self.others, others as u64 * weight);
        if ns > self.max_ns {
            self.max_ns = ns;
        }
        let bucket = bucket_of(ns);
        let bucket = if bucket < KEPT_BUCKETS { bucket } else { KEPT_BUCKETS - 1 };
        A::add_small(&mut self.buckets[bucket], weight as u32);
    }
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
    /// Number of crossings; more than are kept: see [`crate::kept_crossings`].
    pub count: u32,
    /// Reason of a drop.
    pub reason: u32,
    /// IP protocol, or 0.
    pub protocol: u8,
    /// An [`crate::End`].
    pub end: u8,
    /// Whether its other crossings are with the long paths.
    pub is_long: u8,
    /// Zero.
    pub pad: [u8; 5],
    /// See [`Journey::peers`].
    pub peers: [Peer; 2],
    /// Points and devices; the times are unused.
    pub crossings: [Crossing; MAX_CROSSINGS],
}

impl Path {
    /// Makes a path of zeros that of a journey that has ended, without its crossings. Its figures are left alone: another CPU may
    /// add to them already.
    #[inline(always)]
    pub fn begin(&mut self, journey: &Journey) {
        self.count = journey.count;
        self.reason = journey.reason;
        self.protocol = journey.protocol;
        self.end = journey.end;
        self.peers = journey.peers;
        self.is_long = (journey.tail != 0) as u8;
    }

    /// The path of a single journey that has ended.
    pub fn of(journey: &Journey) -> Self {
        let figures = Self {
            samples: 0,
            packets: 0,
            wire_packets: 0,
            bytes: 0,
            cpu_hops: 0,
            payload: 0,
            skbs_micro: 0,
            count: 0,
            reason: 0,
            protocol: 0,
            end: 0,
            is_long: 0,
            pad: [0; 5],
            peers: journey.peers,
            crossings: journey.crossings,
        };
        let mut path = figures;
        path.begin(journey);
        path.take_in::<Alone>(journey);
        path
    }

    /// Takes in the figures of a journey.
    #[inline(always)]
    pub fn take_in<A: Add>(&mut self, journey: &Journey) {
        let weight = journey.weight as u64;
        A::add(&mut self.samples, 1);
        A::add(&mut self.packets, weight);
        A::add(&mut self.wire_packets, weight * journey.wire as u64);
        A::add(&mut self.bytes, weight * journey.len as u64);
        A::add(&mut self.cpu_hops, weight * journey.cpu_hops as u64);
        A::add(&mut self.payload, weight * journey.payload as u64);
        A::add(&mut self.skbs_micro, weight * journey.skbs_micro as u64);
        for (peer, of_journey) in self.peers.iter_mut().zip(&journey.peers) {
            if peer[1] != of_journey[1] || peer[0] != of_journey[0] {
                *peer = SEVERAL_PEERS;
            }
        }
    }
}
