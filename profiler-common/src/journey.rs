//! A followed packet and how it ends. All records are `repr(C)` without hidden padding.

use crate::{End, FILTER_DEVICE, FILTER_NETNS, Points, Protocol, mix};

/// Crossings that the slot of a journey holds; those of longer ones are in a [`crate::Tail`].
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
    /// Crossings that the CPU had seen, this one included; the lower half.
    pub seen: u32,
}

impl Crossing {
    /// Crossings of other packets, and such as are no span's end, since the one before; 0 where that was on another CPU: what
    /// probes took there did not delay this one.
    #[inline(always)]
    pub fn others_since(&self, before: &Self) -> u32 {
        if self.cpu == before.cpu { others_between(before.seen, self.seen) } else { 0 }
    }
}

/// Crossings that a CPU saw between two of its counts, the last of which is not one of others.
#[inline(always)]
pub fn others_between(before: u32, now: u32) -> u32 {
    // An interrupt between reading and writing the count takes some back.
    let others = (now.wrapping_sub(before) as i32).wrapping_sub(1);
    // Without a branch: the verifier would follow both of them in each program.
    (others & !(others >> 31)) as u32
}

/// The address of another machine, as the bytes of an IPv6 address stand in memory; IPv4 addresses are mapped into these.
pub type Peer = [u64; 2];
/// More than one.
pub const SEVERAL_PEERS: Peer = [u64::MAX; 2];

/// An IPv4 address, as it stands in memory.
#[inline(always)]
pub fn peer_of_ipv4(address: u32) -> Peer {
    [0, (address as u64) << 32 | 0xffff_0000]
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
    /// Number of crossings. More than `crossings` hold: see [`crate::kept_crossings`].
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
    /// The number of its [`crate::Tail`] and one, or 0.
    pub tail: u16,
    /// Of how many fragments of a datagram it is the first one: 0 if it is whole, 1 if it is not known of how many.
    pub fragments: u8,
    /// 1: it has waited for other fragments since it was cut last; 2: a tunnel's packet carries it, which is whole.
    pub gathered: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// The slot of the journey that was announced after it at its socket, and one; 0 if there was none.
    pub newer: u32,
    /// Fingerprint by which the packet is looked for where it goes on as another skb, or 0: it is not.
    pub print: u64,
    /// Who sent it to this machine's card, and to whom a card sent it; zero where it began or ended here.
    pub peers: [Peer; 2],
    /// The `net_device` that transmitted it last, or 0.
    pub device: u64,
    /// The crossings.
    pub crossings: [Crossing; MAX_CROSSINGS],
}

/// A followed packet that moved last this long ago, at a point where it is not queued, was used up unseen.
pub const FORGOTTEN_NS: u64 = 20_000_000;

/// Whether a journey that has ended is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It is.
    Yes,
    /// It is not what the filters ask for, or has not begun.
    NotWanted,
    /// It does not sum: two CPUs that take a free slot at one moment mix two packets (kernels before 5.12 have no
    /// compare-and-exchange for programs to prevent it). It is counted instead.
    /// <https://elixir.bootlin.com/linux/v5.10.223/source/kernel/bpf/verifier.c#L10165>
    Mixed,
}

impl Journey {
    /// Whether its packet may still be on its way: it moved lately, or lies in a queue.
    #[inline(always)]
    pub fn may_be_on_its_way(&self, now: u64) -> bool {
        now.wrapping_sub(self.last_ns) < FORGOTTEN_NS || Points::MAY_LIE.has(self.last_point as u32)
    }

    /// Whether it has been where these filters ask for.
    #[inline(always)]
    pub fn is_asked_for(&self, filters: u32) -> bool {
        let asked = filters & (FILTER_NETNS | FILTER_DEVICE);
        self.matched as u32 & asked == asked
    }

    /// Whether it is entered when it ends, with these filters in force. ([`crate::FILTER_FLOW`] was asked when its packet was chosen.)
    /// `beyond_ns` is the sum of its tail.
    #[inline(always)]
    pub fn entered(&self, filters: u32, beyond_ns: u64) -> Entered {
        if !self.is_asked_for(filters) || self.count == 0 {
            return Entered::NotWanted;
        }
        let mut sum = beyond_ns;
        for index in 1..MAX_CROSSINGS {
            if index as u32 >= self.count {
                break;
            }
            sum = self.crossings[index].delta_ns.wrapping_add(sum);
        }
        if sum == self.last_ns.wrapping_sub(self.start_ns) { Entered::Yes } else { Entered::Mixed }
    }

    /// The hash of the whole path, of a journey that has ended.
    #[inline(always)]
    pub fn path_id(&self) -> u64 {
        // Such as found no tail have other spans.
        let is_short = self.count as usize > MAX_CROSSINGS && self.tail == 0;
        let end = (is_short as u64) << 48 | (self.end as u64) << 40;
        mix(self.path, end | (self.protocol as u64) << 32 | self.reason as u64)
    }

    /// The end of a journey of which nothing more is seen: what the programs have noted so far (freed, merged or read,
    /// while it was open whether it goes on as another packet), or that its packet was used up unseen. TCP loses no data
    /// that it has taken in: what vanishes there was joined with other data, in the backlog of a busy socket or out of
    /// order.
    /// <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/tcp_ipv4.c#L2080>,
    /// <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/tcp_input.c#L4965>
    #[inline(always)]
    pub fn unseen_end(&self) -> End {
        if self.end != End::Open as u8 {
            return End::from_id(self.end).unwrap_or(End::Open);
        }
        if self.is_taken_in() && self.payload > 0 { End::Merged } else { End::Absorbed }
    }

    /// Whether it has come to TCP, which uses packets up without a word: data that it joins with other data, segments without any. So
    /// when such a packet's address comes back, its end was where it was last seen.
    #[inline(always)]
    pub fn is_taken_in(&self) -> bool {
        self.protocol == Protocol::TCP.0 && Points::TO_TCP.has(self.last_point as u32)
    }

    /// Whether it has come to where packets end without a trace, so that another packet at its address is nothing odd: to TCP, or to
    /// a datagram's socket, whose reader may free it so.
    #[inline(always)]
    pub fn may_end_unseen(&self) -> bool {
        let is_announced = self.protocol == Protocol::UDP.0 && Points::ANNOUNCED.has(self.last_point as u32);
        self.is_taken_in() || is_announced
    }
}

/// One step of the hash that identifies a path.
#[inline(always)]
pub fn path_step(hash: u64, point: u32, edge: u8, netns: u32, ifindex: u32) -> u64 {
    mix(hash, (netns as u64) << 32 ^ (ifindex as u64) << 10 ^ (edge as u64) << 5 ^ point as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Path, Point};

    fn journey() -> Journey {
        let mut crossings = [Crossing::default(); MAX_CROSSINGS];
        (crossings[1].delta_ns, crossings[2].delta_ns) = (30, 12);
        Journey {
            skb: 1,
            id: 1,
            start_ns: 100,
            last_ns: 142,
            path: 7,
            weight: 3,
            count: 3,
            len: 500,
            wire: 2,
            copied: 0,
            cpu_hops: 1,
            reason: 0,
            last_point: Point::Receive as u8,
            protocol: Protocol::TCP.0,
            end: End::Open as u8,
            matched: FILTER_NETNS as u8,
            epoch: 1,
            payload: 40,
            socket: 0,
            end_seq: 0,
            skbs_micro: 500_000,
            skb_wire: 2,
            next_edge: 0,
            read_from: 0,
            tail: 0,
            fragments: 0,
            gathered: 0,
            pad: [0; 2],
            newer: 0,
            print: 0,
            peers: [[0; 2]; 2],
            device: 0,
            crossings,
        }
    }

    #[test]
    fn a_packet_is_on_its_way_for_a_while_and_in_a_queue_for_ever() {
        let mut journey = journey();
        assert!(journey.may_be_on_its_way(journey.last_ns + FORGOTTEN_NS - 1));
        assert!(!journey.may_be_on_its_way(journey.last_ns + FORGOTTEN_NS));
        for point in [Point::Enqueue, Point::Rx] {
            journey.last_point = point as u8;
            assert!(journey.may_be_on_its_way(u64::MAX), "{point:?}");
        }
    }

    #[test]
    fn a_journey_is_entered_if_the_filters_want_it_and_it_sums() {
        let mut journey = journey();
        assert_eq!(journey.entered(0, 0), Entered::Yes);
        assert_eq!(journey.entered(FILTER_NETNS | crate::FILTER_FLOW, 0), Entered::Yes);
        assert_eq!(journey.entered(FILTER_NETNS | FILTER_DEVICE, 0), Entered::NotWanted);
        journey.last_ns += 1;
        assert_eq!(journey.entered(0, 0), Entered::Mixed);
        assert_eq!(journey.entered(0, 1), Entered::Yes, "with its tail");
        journey.count = 0;
        assert_eq!(journey.entered(0, 0), Entered::NotWanted);
    }

    #[test]
    fn data_that_vanishes_on_its_way_to_tcp_was_merged_and_else_absorbed() {
        let mut journey = journey();
        assert_eq!(journey.unseen_end(), End::Merged);
        assert!(journey.is_taken_in());
        journey.payload = 0;
        assert_eq!(journey.unseen_end(), End::Absorbed);
        (journey.payload, journey.last_point) = (40, Point::Xmit as u8);
        assert_eq!(journey.unseen_end(), End::Absorbed);
        journey.end = End::Consumed as u8;
        assert_eq!(journey.unseen_end(), End::Consumed);
    }

    #[test]
    fn a_path_takes_in_a_journey_by_its_weight_and_ends_differ_in_their_path() {
        let mut journey = journey();
        let open = journey.path_id();
        journey.end = End::Absorbed as u8;
        assert_ne!(open, journey.path_id());
        let path = Path::of(&journey);
        let figures = [path.samples, path.packets, path.wire_packets, path.bytes, path.cpu_hops, path.payload];
        assert_eq!(figures, [1, 3, 6, 1500, 3, 120]);
        assert_eq!((path.skbs_micro, path.count, path.end), (1_500_000, 3, End::Absorbed as u8));
    }
}
