//! The state of one CPU. All records are `repr(C)` without hidden padding.

use crate::Lost;

/// Followed packets of a list that a CPU remembers. A power of two, and as many as the kernel puts in a list by default
/// (`gro_normal_batch`).
pub const LISTED: usize = 8;

/// Devices that a CPU remembers. A power of two.
pub const DEVICE_CACHE: usize = 16;

/// A device that a CPU met lately.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CachedDevice {
    /// Address of the `net_device`, 0 for none.
    pub device: u64,
    /// When its key was read.
    pub read_ns: u64,
    /// Inode number of the namespace.
    pub netns: u32,
    /// Index of the device.
    pub ifindex: u32,
}

/// A followed packet that may go on as another skb: what is needed to know that one when it comes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Parent {
    /// Generation of its journey.
    pub id: u64,
    /// What the other skb must have in common with it, by the edge: a device, or the head of the data.
    pub object: u64,
    /// Fingerprint of its headers, by the edge.
    pub print: u64,
    /// Its slot.
    pub slot: u32,
    /// The [`crate::Edge`] in prospect; 0: there is no such packet.
    pub edge: u32,
    /// How many matching skbs to pass by.
    pub pass: u32,
    /// Into how many skbs it became.
    pub pieces: u32,
    /// The points at which its child can come, as [`crate::Points::bits`]; 0: there is no such packet.
    pub points: u32,
    /// Zero.
    pub pad: u32,
}

impl Parent {
    /// There is none any more.
    #[inline(always)]
    pub fn forget(&mut self) {
        (self.edge, self.points) = (0, 0);
    }
}

/// Without a chosen packet for so long, a CPU's traffic has paused.
pub const PAUSE_NS: u64 = 10_000_000;

/// What the programs took of crossings between their looks at the clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Timed {
    /// Nanoseconds.
    pub ns: u64,
    /// Crossings.
    pub count: u64,
}

/// State of one CPU. The head is what every crossing touches.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuState {
    /// The object of the last crossing: skb, device or socket address by its point.
    pub object: u64,
    /// The last [`crate::Point`] on this CPU.
    pub point: u32,
    /// Crossings until the next packet is chosen.
    pub skip: u32,
    /// Crossings seen.
    pub crossings: u64,
    /// Socket whose `send` was chosen and has not reached a device yet, or 0.
    pub pending_socket: u64,
    /// When that was.
    pub pending_ns: u64,
    /// Followed journeys until the next one goes through the ring.
    pub ring_skip: u32,
    /// The rate that `skip` was drawn with: what a packet stands for that is chosen by it.
    pub every: u32,
    /// Batch that the CPU saw last.
    pub batch: u32,
    /// Slot of the followed packet that the reader may send on; valid with `read_id`.
    pub read_slot: u32,
    /// Process and thread of that reader.
    pub read_task: u64,
    /// Generation of that packet, or 0: there is none.
    pub read_id: u64,
    /// Crossings of followed packets.
    pub followed_crossings: u64,
    /// Packets chosen.
    pub followed: u64,
    /// Packets chosen, weighted.
    pub decisions: u64,
    /// When the last packet was chosen, and the first of those before it without a [`PAUSE_NS`] in between.
    pub chosen_ns: u64,
    /// See `chosen_ns`.
    pub busy_since_ns: u64,
    /// Nodes of the tree that were new.
    pub new_nodes: u64,
    /// The same when the batch began that the CPU saw last.
    pub nodes_before: u64,
    /// Source of journey ids.
    pub next_id: u64,
    /// Retransmitted TCP segments.
    pub retransmits: u64,
    /// Runs of the programs that count what is rare, all the time.
    pub counted: u64,
    /// Time that was cut out of journeys, because choosing their packets and crossings took it.
    pub cut_ns: u64,
    /// The part of it of crossings that always take the same way through the programs: `Xmit` after `Queue`.
    pub alike: Timed,
    /// CPU samples taken, those of bursts apart.
    pub samples: u64,
    /// CPU samples taken in bursts.
    pub burst_samples: u64,
    /// The followed packet that may go on as another skb on this CPU.
    pub parent: Parent,
    /// Address and generation of a followed packet that is in GRO, or 0.
    pub gro_packet: u64,
    /// Its generation.
    pub gro_id: u64,
    /// Fingerprint of its flow.
    pub gro_print: u64,
    /// Socket of the last TCP segment on this CPU.
    pub tcp_socket: u64,
    /// That segment, if it is followed, or 0.
    pub tcp_packet: u64,
    /// Whether the last followed packet was received as one of a list: all of these are announced before the protocols work on
    /// the first.
    pub in_list: u32,
    /// Followed packets that were received, and of which it is not known that a protocol took them up; the oldest are
    /// overwritten.
    pub received: u32,
    /// These.
    pub listed: [u64; LISTED],
    /// The last socket without TCP that announced a followed packet.
    pub udp_socket: u64,
    /// Losses.
    pub lost: Lost,
    /// Devices met lately.
    pub devices: [CachedDevice; DEVICE_CACHE],
}
