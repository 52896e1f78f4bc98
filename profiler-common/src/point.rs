//! The probe points: one list, from which names, programs and attachment come, and in whose columns stands what is true
//! of each. The kernel programs ask sets that are made of the columns at compile time ([`Points`]).

use Begins::{FromOutside, FromTun, FromWire, Made};
use DeviceFrom::{Argument, Packet, Socket};
use Point::{
    Enqueue, Execute, Gro, Held, Queue, Ready, ReadyWake, Receive, Requeue, Route, Rx, Send, Tcp, TcpBacklog, Upcall,
    Xmit, XmitEnd,
};
use Then::{HandsOn, Leaves, Waits};

use crate::{Edge, named};

/// What is true of a point.
pub struct PointInfo {
    /// Where the packet is from here on.
    pub stage: Stage,
    /// Points after which this one can be a packet's next: everything else is another packet at the same address.
    pub after: &'static [Point],
    /// Which packets begin here.
    pub begins: Begins,
    /// By which edges a followed packet can go on as another skb that comes here.
    pub child_by: &'static [Edge],
    /// How the device of the crossing is told.
    pub device: DeviceFrom,
    /// What the CPU does with the packet from here on.
    pub then: Then,
    /// What a CPU remembers of its last crossing, for samples.
    pub object: Object,
    /// Whether the packet may be cloned from here on.
    pub clones: Clones,
    /// Whether a packet that is queued right after this on the same CPU was on its way before.
    pub passes_on: bool,
    /// Whether a packet may lie here for as long as it likes: it is never taken for one that was used up unseen.
    pub may_lie: bool,
    /// Whether a softirq takes up another packet here.
    pub takes_up: bool,
    /// Whether packets come here that never come through a device.
    pub has_strangers: bool,
    /// Functions inside which the span after this crossing runs; none where it is not split.
    pub runs_in: &'static [&'static str],
}

/// Where a packet is, from one crossing to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nowhere yet: it is being made.
    Made,
    /// At a device's queue.
    Queued,
    /// With a device, which transmits it.
    Transmitted,
    /// On its way from a device to the softirq that receives it.
    Arriving,
    /// In the softirq that receives it.
    Received,
    /// With TCP.
    Tcp,
    /// In a socket, whose reader was told.
    Announced,
    /// With its reader.
    Read,
    /// Freed.
    Gone,
    /// Between Open vSwitch's datapath and its daemon.
    Daemon,
}

/// Which packets begin at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// None.
    Never,
    /// Those that are made here.
    Made,
    /// Those that a physical device received.
    FromWire,
    /// Those that a program wrote to a tun or tap device.
    FromTun,
    /// These, and those that a physical device received and did not hand to GRO.
    FromOutside,
}

/// How the device of a crossing is told. What is read costs more than everything else at a crossing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFrom {
    /// It is still the last one: inside a socket or a queue a packet knows none.
    Last,
    /// The packet knows it.
    Packet,
    /// Right after the reception it is the one that the packet came in at, in the socket's namespace; then the last one.
    Socket,
    /// Right after its queue it is the last one; else the tracepoint tells.
    Argument,
}

/// What a CPU does with a packet after a crossing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It goes on working on it.
    Works,
    /// It hands it on to the next device or layer: functions that are open get it back only when it is gone.
    HandsOn,
    /// It is done with it: the packet lies in a queue, or is gone.
    Leaves,
    /// The same, and the packet waits for a CPU: in the backlog, for its reader, or for Open vSwitch's daemon.
    Waits,
}

/// What a CPU remembers of its last crossing: it tells where a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Nothing that tells a place.
    Nothing,
    /// The device.
    Device,
    /// The socket that sends.
    Sender,
    /// A packet that knows its device.
    Packet,
    /// A packet that is being received.
    Received,
    /// A packet that TCP works on.
    Segment,
}

/// Whether a packet may be cloned after a crossing: then other skbs with its data are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clones {
    /// Not any more.
    Never,
    /// From now on.
    Begins,
    /// If it could be before.
    Still,
}

/// What is true of a point unless its row says otherwise.
const BASE: PointInfo = PointInfo {
    stage: Stage::Made,
    after: &[],
    begins: Begins::Never,
    child_by: &[],
    device: DeviceFrom::Last,
    then: Then::Works,
    object: Object::Nothing,
    clones: Clones::Never,
    passes_on: false,
    may_lie: false,
    takes_up: false,
    has_strangers: false,
    runs_in: &[],
};

const RECEIVES: &[&str] = &[
    "__netif_receive_skb_core",
    "__netif_receive_skb_one_core",
    "__netif_receive_skb_list_core",
    "__netif_receive_skb_list_ptype",
    "__netif_receive_skb",
];

named! {
    /// A place in the kernel where a packet is seen.
    pub enum Point: PointInfo;
    None "none" "no point: the CPU has not seen a packet yet" { ..BASE };
    Send "send" "tcp_sendmsg_locked: the application handed bytes to TCP" {
        object: Object::Sender, runs_in: &["tcp_sendmsg_locked", "tcp_sendmsg"], ..BASE
    };
    Queue "queue" "net_dev_queue: the packet reached a device's queue, after tc egress" {
        stage: Stage::Queued, after: &[Receive, Route, Xmit, XmitEnd, Send, Upcall, Execute], begins: Made,
        child_by: &[Edge::Clone, Edge::Fragment], device: Packet, then: HandsOn, object: Object::Packet, runs_in: &["__dev_queue_xmit"],
        ..BASE
    };
    Enqueue "enqueue" "qdisc_enqueue: a queueing discipline took the packet" {
        stage: Stage::Queued, after: &[Queue], then: Leaves, object: Object::Packet, may_lie: true,
        runs_in: &["__dev_queue_xmit"], ..BASE
    };
    Xmit "xmit" "net_dev_start_xmit: the device's transmit function is about to run" {
        stage: Stage::Transmitted, after: &[Queue, Enqueue, Requeue], child_by: &[Edge::Segment],
        device: Argument, then: HandsOn,
        object: Object::Device, clones: Clones::Begins, passes_on: true, runs_in: &["dev_hard_start_xmit", "xmit_one"],
        ..BASE
    };
    XmitEnd "xmit_end" "net_dev_xmit: the device's transmit function came back" {
        stage: Stage::Transmitted, after: &[Xmit], then: Leaves, object: Object::Device, ..BASE
    };
    Rx "rx" "netif_rx: the packet was put on a CPU's backlog" {
        stage: Stage::Arriving, after: &[Xmit, Receive, Route, XmitEnd, Gro, Upcall, Execute], begins: FromTun,
        child_by: &[Edge::Rebuild], device: Packet, then: Waits, may_lie: true, ..BASE
    };
    Gro "gro" "napi_gro_receive_entry, napi_gro_frags_entry: a NAPI poll hands the packet to GRO" {
        stage: Stage::Arriving, after: &[Xmit, XmitEnd, Receive, Route], begins: FromWire, child_by: &[Edge::Rebuild],
        device: Packet, object: Object::Packet, takes_up: true, runs_in: &["napi_gro_receive", "gro_receive_skb", "napi_gro_frags"], ..BASE
    };
    Receive "receive" "netif_receive_skb: the receive softirq works on the packet" {
        stage: Stage::Received, after: &[Rx, Gro, Held, Receive, Xmit, XmitEnd, Route], begins: FromOutside,
        child_by: &[Edge::Rebuild, Edge::Merge, Edge::Clone, Edge::Reassemble], device: Packet, then: HandsOn, object: Object::Received,
        clones: Clones::Begins, takes_up: true, runs_in: RECEIVES, ..BASE
    };
    Route "route" "fib_table_lookup, fib6_table_lookup: a route is looked up for the packet being received" {
        stage: Stage::Received, after: &[Receive, Route], device: Packet, object: Object::Received,
        clones: Clones::Still, runs_in: RECEIVES, ..BASE
    };
    Tcp "tcp" "tcp_probe: TCP works on the segment, straight from the reception" {
        stage: Stage::Tcp, after: &[Receive, Route], device: Socket, object: Object::Segment,
        runs_in: &["tcp_rcv_established"], ..BASE
    };
    TcpBacklog "tcp_backlog" "tcp_probe: TCP works on the segment, which lay in the backlog of a busy socket" {
        stage: Stage::Tcp, after: &[Receive, Route], device: Socket, ..BASE
    };
    Ready "ready" "sk_data_ready: the socket announces data and nobody sleeps on it" {
        stage: Stage::Announced, after: &[Receive, Route, Tcp, TcpBacklog], child_by: &[Edge::Segment], device: Socket,
        then: Waits, ..BASE
    };
    ReadyWake "ready_wake" "sk_data_ready: the socket announces data to a sleeping reader" {
        stage: Stage::Announced, after: &[Receive, Route, Tcp, TcpBacklog], device: Socket, then: Waits, ..BASE
    };
    Copy "copy" "skb_copy_datagram_iovec: the reader copies the packet's bytes" {
        stage: Stage::Read, after: &[Ready, ReadyWake, Point::Copy, Receive, Route, Tcp, TcpBacklog, Xmit, XmitEnd],
        then: Leaves, has_strangers: true, ..BASE
    };
    Consume "consume" "consume_skb: the packet was freed after its work was done" {
        stage: Stage::Gone, after: Point::ALL, child_by: &[Edge::Rebuild], then: Waits, ..BASE
    };
    Drop "drop" "kfree_skb: the packet was dropped" {
        stage: Stage::Gone, after: Point::ALL, child_by: &[Edge::Rebuild], then: Leaves, ..BASE
    };
    Upcall "upcall" "ovs_dp_upcall: Open vSwitch is about to send the packet to its daemon" {
        stage: Stage::Daemon, after: &[Receive, Route, Xmit, Upcall, Execute], clones: Clones::Still, passes_on: true,
        ..BASE
    };
    Execute "execute" "ovs_flow_key_extract_userspace: Open vSwitch got the packet back from its daemon" {
        stage: Stage::Daemon, clones: Clones::Begins, passes_on: true, ..BASE
    };
    Held "held" "napi_gro_receive_exit: GRO is done with the packet, which waits for more of its flow, or of its poll" {
        stage: Stage::Arriving, after: &[Gro], then: Waits, may_lie: true, ..BASE
    };
    Requeue "requeue" "net_dev_xmit: the device was busy, and the packet goes back to its queue" {
        stage: Stage::Queued, after: &[Xmit], then: Leaves, object: Object::Device, may_lie: true, ..BASE
    };
}

impl Point {
    /// Whether it is one of a set.
    #[inline(always)]
    pub const fn is_in(self, points: Points) -> bool {
        points.has(self as u32)
    }
}

/// A set of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Points(u32);

const _: () = assert!(Point::ALL.len() <= u32::BITS as usize, "more points than a set has bits");

/// The points in whose rows a condition holds.
macro_rules! those {
    ($info:ident => $condition:expr) => {{
        let (mut set, mut at) = (0, 0);
        while at < Point::ALL.len() {
            let $info = Point::ALL[at].info();
            set |= ($condition as u32) << at;
            at += 1;
        }
        Points(set)
    }};
}

impl Points {
    /// Points at which a packet can be chosen.
    pub const BEGIN: Self = those!(info => !matches!(info.begins, Begins::Never));
    /// Points at which packets begin that were not made by this kernel.
    pub const BEGIN_OUTSIDE: Self = those!(info => matches!(info.begins, FromWire | FromTun | FromOutside));
    /// Points at which packets begin that are made here.
    pub const BEGIN_MADE: Self = those!(info => matches!(info.begins, Made));
    /// Points at which packets begin that a physical device received.
    pub const BEGIN_FROM_WIRE: Self = those!(info => matches!(info.begins, FromWire));
    /// Points at which packets begin that a program wrote to a tun or tap device.
    pub const BEGIN_FROM_TUN: Self = those!(info => matches!(info.begins, FromTun | FromOutside));
    /// Points at which packets begin that a physical device received and did not hand to GRO.
    pub const BEGIN_WITHOUT_GRO: Self = those!(info => matches!(info.begins, FromOutside));
    /// See [`PointInfo::passes_on`].
    pub const PASS_ON: Self = those!(info => info.passes_on);
    /// See [`PointInfo::may_lie`].
    pub const MAY_LIE: Self = those!(info => info.may_lie);
    /// After them a packet is in GRO, or waits there.
    pub const IN_GRO: Self = Self::of(&[Gro, Held]);
    /// See [`PointInfo::takes_up`].
    pub const TAKE_UP: Self = those!(info => info.takes_up);
    /// See [`PointInfo::has_strangers`].
    pub const WITH_STRANGERS: Self = those!(info => info.has_strangers);
    /// After them a packet is at a device's queue.
    pub const QUEUED: Self = those!(info => matches!(info.stage, Stage::Queued));
    /// After them a device transmits the packet.
    pub const TRANSMITTED: Self = those!(info => matches!(info.stage, Stage::Transmitted));
    /// After them a packet is on its way from a device to the softirq that receives it.
    pub const ARRIVING: Self = those!(info => matches!(info.stage, Stage::Arriving));
    /// After them the softirq works on the packet that receives it.
    pub const RECEIVED: Self = those!(info => matches!(info.stage, Stage::Received));
    /// After them the packet is with TCP, or on its way there.
    pub const TO_TCP: Self = those!(info => matches!(info.stage, Stage::Received | Stage::Tcp));
    /// After them the packet is in a socket whose reader was told.
    pub const ANNOUNCED: Self = those!(info => matches!(info.stage, Stage::Announced));
    /// After them a packet is between its device and its reader.
    pub const TO_READER: Self = those!(info => matches!(info.stage, Stage::Received | Stage::Tcp | Stage::Announced));
    /// See [`DeviceFrom::Packet`].
    pub const DEVICE_FROM_PACKET: Self = those!(info => matches!(info.device, Packet));
    /// See [`DeviceFrom::Socket`].
    pub const DEVICE_FROM_SOCKET: Self = those!(info => matches!(info.device, Socket));
    /// See [`DeviceFrom::Argument`].
    pub const DEVICE_FROM_ARGUMENT: Self = those!(info => matches!(info.device, Argument));
    /// See [`Then::HandsOn`].
    pub const HAND_ON: Self = those!(info => matches!(info.then, HandsOn));
    /// Points at which the CPU is done with the packet.
    pub const LEFT: Self = those!(info => matches!(info.then, Leaves | Waits));
    /// See [`Then::Waits`].
    pub const WAIT_FOR_CPU: Self = those!(info => matches!(info.then, Waits));
    /// After them a packet can be cloned.
    pub const CLONED: Self = those!(info => !matches!(info.clones, Clones::Never));
    /// See [`Clones::Begins`].
    pub const CLONES_BEGIN: Self = those!(info => matches!(info.clones, Clones::Begins));
    /// See [`Clones::Never`].
    pub const CLONES_END: Self = those!(info => matches!(info.clones, Clones::Never));
    /// Points at which a CPU remembers a device.
    pub const OF_DEVICE: Self = those!(info => matches!(info.object, Object::Device));
    /// Points at which a CPU remembers the socket that sends.
    pub const OF_SENDER: Self = those!(info => matches!(info.object, Object::Sender));
    /// Points at which a CPU remembers a packet that knows its device.
    pub const OF_PACKET: Self = those!(info => matches!(info.object, Object::Packet));
    /// Points at which a CPU remembers a packet that is being received.
    pub const OF_RECEIVED: Self = those!(info => matches!(info.object, Object::Received));
    /// Points at which a CPU remembers a packet that TCP works on.
    pub const OF_SEGMENT: Self = those!(info => matches!(info.object, Object::Segment));

    /// Whether a point is one of them, by its number. Of a set that is known at compile time only one way is left: points
    /// that stand side by side take an instruction less.
    #[inline(always)]
    pub const fn has(self, point: u32) -> bool {
        let mut at = 0;
        while at < Point::ALL.len() as u32 {
            if self.0 >> at & 1 != 0 && point == at {
                return true;
            }
            at += 1;
        }
        false
    }

    /// The same of a set that is not known at compile time.
    #[inline(always)]
    pub const fn has_at_run_time(self, point: u32) -> bool {
        self.0 >> (point & 31) & 1 != 0
    }

    /// As a number, for what is kept while the programs run.
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// For each point the set of those after which it can be a packet's next; a table, because this is asked at every
    /// crossing of a followed packet and BPF has no jump tables.
    pub const BEFORE: [Self; 32] = {
        let (mut table, mut at) = ([Self(0); 32], 0);
        while at < Point::ALL.len() {
            table[at] = Self::of(Point::ALL[at].info().after);
            at += 1;
        }
        table
    };

    /// The points at which a new skb can go on with any followed packet.
    pub const CHILDREN: Self = those!(info => !info.child_by.is_empty());

    /// The points at which a new skb can go on with a followed packet, by the edge.
    pub const fn of_children(edge: Edge) -> Self {
        those!(info => contains(info.child_by, edge))
    }

    /// These and one more.
    pub const fn and(self, point: Point) -> Self {
        Self(self.0 | 1 << point as u32)
    }

    /// A single one.
    pub const fn of_one(point: Point) -> Self {
        Self::of(&[point])
    }

    /// Points that a packet comes to from its reception when nobody waits for the rest of its datagram: up to a device above, or
    /// to a socket.
    pub const fn of_taken_on() -> Self {
        those!(info => matches!(info.stage, Stage::Arriving | Stage::Tcp | Stage::Announced | Stage::Read))
    }

    const fn of(points: &[Point]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < points.len() {
            set |= 1 << points[at] as u32;
            at += 1;
        }
        Self(set)
    }
}

const fn contains(edges: &[Edge], edge: Edge) -> bool {
    let mut at = 0;
    while at < edges.len() {
        if edges[at] as u8 == edge as u8 {
            return true;
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_points_whose_rows_say_so() {
        for point in Point::ALL {
            assert_eq!(Points::MAY_LIE.has(*point as u32), point.info().may_lie, "{point:?}");
            assert_eq!(Points::LEFT.has(*point as u32), matches!(point.info().then, Leaves | Waits), "{point:?}");
            for other in Point::ALL {
                let follows = point.info().after.contains(other);
                assert_eq!(Points::BEFORE[*point as usize].has(*other as u32), follows, "{other:?} -> {point:?}");
            }
        }
    }

    /// A journey has to get somewhere and to come from somewhere: a row that forgot to say which points it may follow
    /// would end all journeys that come there.
    #[test]
    fn every_point_is_the_first_or_follows_another_and_another_follows_it() {
        let begins = |point: Point| {
            // A send comes before its packet; the daemon's packet is found by its fingerprint; and without a packet no point.
            matches!(point, Point::None | Send | Execute) || point.info().begins != Begins::Never
        };
        for point in Point::ALL.iter().copied() {
            assert!(begins(point) || !point.info().after.is_empty(), "nothing leads to {point:?}");
            let others = Point::ALL.iter().filter(|other| other.info().stage != Stage::Gone);
            let last = matches!(point.info().stage, Stage::Gone) || matches!(point, Point::None | Point::Copy);
            let goes_on = others.clone().any(|other| other.info().after.contains(&point));
            assert!(last || goes_on, "nothing follows {point:?}");
        }
    }
}
