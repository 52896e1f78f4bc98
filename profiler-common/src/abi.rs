//! Records that pass between the kernel programs and the profiler. All are `repr(C)` without hidden padding.

use crate::BUCKETS;

/// Crossings that one journey can hold; longer ones are ended and counted.
pub const MAX_CROSSINGS: usize = 48;
/// Followed packets at one time, at most. A power of two.
pub const MAX_SLOTS: usize = 16384;
/// The index under which a path's end-to-end times are kept; spans use 1..MAX_CROSSINGS.
pub const END_TO_END: u32 = 255;
/// Softirq vectors of Linux (HI … RCU).
pub const SOFTIRQS: usize = 10;

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

/// A packet in the hands of a program: a tunnel's, or Open vSwitch's daemon.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct WithProgram {
    /// Its fingerprint.
    pub print: u64,
    /// Generation of its journey; 0: the entry is free.
    pub id: u64,
    /// Where the journey is.
    pub slot: u32,
    /// Into how many packets it is cut on the way to the program.
    pub pieces: u32,
}

/// Packets in the hands of tunnels' programs that are remembered at one time; a power of two.
pub const TUNNELLED_PACKETS: usize = 64;
/// The same for Open vSwitch's daemons.
pub const UPCALLED_PACKETS: usize = 1024;

/// Words of the programs' global memory: the address in each slot, and how many packets tunnels' programs have.
pub const GLOBAL_WORDS: usize = MAX_SLOTS + 1;

impl Journey {
    /// The end of a journey of which nothing more is seen: what the programs have noted so far (freed, merged or read,
    /// while it was open whether it goes on as another packet), or that its packet was used up unseen. TCP loses no data
    /// that it has taken in: what vanishes there was joined with other data, in the backlog of a busy socket or out of
    /// order.
    #[inline(always)]
    pub fn unseen_end(&self) -> End {
        use crate::Point::{Receive, Route, Tcp, TcpBacklog};
        if self.end != End::Open as u8 {
            return End::from_id(self.end);
        }
        let last = self.last_point;
        let with_tcp = last == Receive as u8 || last == Route as u8 || last == Tcp as u8 || last == TcpBacklog as u8;
        if self.protocol == TCP && self.payload > 0 && with_tcp { End::Merged } else { End::Absorbed }
    }
}

/// The IP protocol number of TCP.
const TCP: u8 = 6;

/// How a journey ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum End {
    /// Still on its way.
    Open = 0,
    /// All its bytes were copied to a reader.
    Copied = 1,
    /// The kernel itself used it up after its last crossing (an acknowledgement, a merged segment), or a device took it.
    Absorbed = 2,
    /// `consume_skb`.
    Consumed = 3,
    /// Dropped, with a reason.
    Dropped = 4,
    /// Its data went on in another skb, where it could not be followed.
    Merged = 5,
}

impl End {
    /// The name in profiles and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Copied => "copied",
            Self::Absorbed => "absorbed",
            Self::Consumed => "consumed",
            Self::Dropped => "dropped",
            Self::Merged => "merged",
        }
    }

    /// The end of a number that a kernel program wrote.
    pub fn from_id(id: u8) -> Self {
        match id {
            1 => Self::Copied,
            2 => Self::Absorbed,
            3 => Self::Consumed,
            4 => Self::Dropped,
            5 => Self::Merged,
            _ => Self::Open,
        }
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

/// What could not be recorded, counted per CPU by cause.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Packets not followed because the slot of their address was taken (weighted).
    pub slot_busy: u64,
    /// Journeys cut because they had too many crossings.
    pub too_long: u64,
    /// Journeys (weighted) not entered because no path was free.
    pub paths_full: u64,
    /// Spans (weighted) not entered because no node was free.
    pub nodes_full: u64,
    /// Whole journeys not shown because the ring was full.
    pub ring_full: u64,
    /// Crossings of a followed address that could not follow its last one: the address was reused unseen.
    pub stale: u64,
    /// Packets (weighted) lost from sight because the probes were detached meanwhile.
    pub cut: u64,
    /// Crossings earlier than the one before.
    pub backwards: u64,
    /// Drops not entered because the table was full.
    pub drops_full: u64,
    /// CPU samples not entered because the table was full.
    pub samples_full: u64,
    /// CPU samples whose stack could not be kept.
    pub stacks_full: u64,
    /// CPU samples whose stack had more frames than are kept.
    pub stacks_cut: u64,
    /// Kernel memory that could not be read.
    pub unreadable: u64,
    /// Map updates refused because of a concurrent one (EBUSY).
    pub busy: u64,
    /// Clones (weighted) of followed packets that no slot was free for.
    pub clones: u64,
}

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
    /// Its weight.
    pub pending_weight: u32,
    /// Followed journeys until the next one goes through the ring.
    pub ring_skip: u32,
    /// Socket whose reader copied a followed packet last, or 0: its next send ends the application's own time.
    pub turn_task: u64,
    /// When that copy began.
    pub turn_ns: u64,
    /// Weight of that packet.
    pub turn_weight: u32,
    /// Slot of the followed packet that the reader may send on; valid with `read_id`.
    pub read_slot: u32,
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
    /// Source of journey ids.
    pub next_id: u64,
    /// Retransmitted TCP segments.
    pub retransmits: u64,
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
    /// Losses.
    pub lost: Lost,
    /// Devices met lately.
    pub devices: [CachedDevice; DEVICE_CACHE],
}

/// What the profiler tells the programs; may change while they run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Follow one packet in this many.
    pub sample_every: u32,
    /// Send one followed journey in this many through the ring; 0: none.
    pub ring_every: u32,
    /// 0: start no journeys; 1: start them; [`ACCEPT_AND_DISCARD`]: follow them, but keep nothing.
    pub accept: u32,
    /// Filters in force: bit 0 namespace, bit 1 device, bit 2 flow.
    pub filters: u32,
    /// Protocol of the flow filter, or 0.
    pub flow_protocol: u32,
    /// IPv4 address (network order) of the flow filter, or 0.
    pub flow_address: u32,
    /// Port of the flow filter in host order, or 0.
    pub flow_port: u32,
    /// Number of the attachment window; packets followed in an earlier one were lost from sight.
    pub epoch: u32,
    /// Longer than this the programs take for a crossing only if they were interrupted, nanoseconds; 0: not known.
    pub undisturbed_ns: u32,
}

/// Follow packets to their end and throw the journey away: tells what following costs without the account.
pub const ACCEPT_AND_DISCARD: u32 = 2;

/// Filter bit: the journey touches a chosen namespace.
pub const FILTER_NETNS: u32 = 1;
/// Filter bit: the journey touches a chosen device.
pub const FILTER_DEVICE: u32 = 2;
/// Filter bit: the packet belongs to a chosen flow.
pub const FILTER_FLOW: u32 = 4;

/// A device, or with `ifindex` 0 a whole namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceKey {
    /// Inode number of the namespace.
    pub netns: u32,
    /// Index of the device.
    pub ifindex: u32,
}

/// Key of dropped packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DropKey {
    /// Address of the code that dropped.
    pub location: u64,
    /// Reason as the kernel numbers it; 0 where it has none.
    pub reason: u32,
    /// Where.
    pub netns: u32,
    /// Where.
    pub ifindex: u32,
    /// Zero.
    pub pad: u32,
}

/// Frames of a kernel stack that are kept, innermost first.
pub const STACK_FRAMES: usize = 80;

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
    /// Hash of the kernel stack, 0 without one.
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
}

/// Time between a reader's copy and the same task's next send, per namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TurnKey {
    /// Namespace of the socket.
    pub netns: u32,
    /// Process.
    pub pid: u32,
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

/// Offsets, in bytes, of the kernel fields that the programs read; from the running kernel's BTF.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// sk_buff.dev
    pub skb_dev: u32,
    /// sk_buff.sk
    pub skb_sk: u32,
    /// sk_buff._skb_refdst
    pub skb_dst: u32,
    /// dst_entry.dev
    pub dst_dev: u32,
    /// sk_buff.skb_iif
    pub skb_iif: u32,
    /// sk_buff.len
    pub skb_len: u32,
    /// sk_buff.head
    pub skb_head: u32,
    /// sk_buff.end
    pub skb_end: u32,
    /// sk_buff.network_header
    pub skb_network_header: u32,
    /// sk_buff.transport_header
    pub skb_transport_header: u32,
    /// sk_buff.data
    pub skb_data: u32,
    /// skb_shared_info.gso_segs
    pub shinfo_gso_segs: u32,
    /// net_device.ifindex
    pub dev_ifindex: u32,
    /// net_device.nd_net
    pub dev_net: u32,
    /// net_device.rtnl_link_ops
    pub dev_link_ops: u32,
    /// net_device.flags
    pub dev_flags: u32,
    /// rtnl_link_ops.kind
    pub link_ops_kind: u32,
    /// net.ns.inum
    pub net_inum: u32,
    /// sock.__sk_common.skc_net
    pub sk_net: u32,
    /// sock.__sk_common.skc_num
    pub sk_num: u32,
    /// sock.sk_receive_queue.prev: the last packet of the queue
    pub sk_queue_tail: u32,
    /// tcp_sock.rcv_nxt
    pub tcp_rcv_nxt: u32,
    /// tcp_sock.copied_seq
    pub tcp_copied_seq: u32,
    /// sock.sk_wq
    pub sk_wq: u32,
    /// socket_wq.wait.head
    pub wq_head: u32,
    /// nf_hook_state.hook; its low byte
    pub nf_state_hook: u32,
    /// nf_hook_state.pf; its low byte
    pub nf_state_pf: u32,
    /// nft_chain.name; 0 where the kernel does not tell
    pub nft_chain_name: u32,
    /// nft_chain.table
    pub nft_chain_table: u32,
    /// nft_table.name
    pub nft_table_name: u32,
}
