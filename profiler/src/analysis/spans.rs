//! What the time between two crossings means: it follows from the points and from the kind of the devices.

use netstrata_common::{Edge, Layer, Point, Protocol, named};

use crate::profile::{CrossingRecord, Device, PathRecord, Topology, is_of_class};

named! {
    /// Whether a CPU works on the packet, or the packet lies in a queue.
    pub enum SpanKind;
    Service "service" "a CPU works on the packet";
    Wait "wait" "the packet lies in a queue, or the reader has to be woken";
}

/// The layer of a span and the device it is charged to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanClass {
    /// None: nothing is known about such a pair of points; reports show it as unattributed.
    pub layer: Option<Layer>,
    /// Service or wait.
    pub kind: SpanKind,
    /// Name of the device, or empty where there is none (sockets).
    pub device: String,
    /// Inode of the device's namespace.
    pub netns: u32,
}

/// The protocol in which a packet travels at a crossing: what a program took from a tun device goes in datagrams of its
/// own, until another program writes it to a tun device.
fn protocol_at(path: &PathRecord, index: usize) -> Protocol {
    let mut sent_on = (0..=index).rev().filter(|&at| path.edge_at(at) == Some(Edge::Userspace));
    // Open vSwitch's daemon sends back what it got.
    let by_tunnel = sent_on.find(|&at| path.crossings[at].point != Point::Execute);
    if by_tunnel.is_some_and(|at| path.crossings[at].point == Point::Queue) { Protocol::UDP } else { path.protocol }
}

fn transport(protocol: Protocol) -> Layer {
    match protocol {
        Protocol::TCP => Layer::Tcp,
        Protocol::UDP => Layer::Udp,
        _ => Layer::Ip,
    }
}

/// Classifies span `index` of a path: the time between its crossings `index` and `index + 1`.
pub fn classify(path: &PathRecord, index: usize, topology: &Topology) -> SpanClass {
    let (from, to) = (path.crossings[index], path.crossings[index + 1]);
    let find = |crossing: CrossingRecord| topology.device(crossing.netns, crossing.ifindex);
    let class = |layer: Option<Layer>, kind: SpanKind, at: CrossingRecord| SpanClass {
        layer,
        kind,
        device: device_name(topology, at),
        netns: at.netns,
    };
    let of_device = |crossing: CrossingRecord| find(crossing).and_then(|device| Layer::of_device(&device.kind));
    use Point::{
        Copy, Drop, Enqueue, Execute, Gro, Queue, Ready, ReadyWake, Receive, Route, Rx, Send, Tcp, TcpBacklog, Upcall,
        Xmit, XmitEnd,
    };
    use SpanKind::{Service, Wait};
    // A port's datapath; a port that is one itself.
    let datapath = |port: CrossingRecord| {
        let master = find(port).and_then(|device| device.master);
        CrossingRecord { ifindex: master.unwrap_or(port.ifindex), ..port }
    };
    if to.point == Execute {
        return class(Some(Layer::Userspace), Wait, datapath(from));
    }
    // A program read the packet and sent it on: between a tun device and a UDP socket. Where its reading of the datagram
    // left no trace, the wait for it is within.
    if path.edge_at(index + 1) == Some(Edge::Userspace) {
        let tun = if to.point == Queue { from } else { to };
        return class(Some(Layer::Userspace), if from.point == Copy { Service } else { Wait }, tun);
    }
    let is_ifb = |crossing: CrossingRecord| find(crossing).is_some_and(|device| device.kind == IFB);
    // A fragment waits for the others of its datagram.
    if to.point == Receive && path.edge_at(index + 1) == Some(Edge::Reassemble) {
        return class(Some(Layer::Ip), Wait, to);
    }
    match (from.point, to.point) {
        (_, Drop) => class(Some(Layer::Drop), Service, from),
        (_, Upcall) | (Upcall | Execute, _) => class(Some(Layer::Ovs), Service, datapath(from)),
        (Send, Queue) => class(Some(Layer::Tcp), Service, meant(path, index + 1, topology)),
        (Queue, Xmit | Enqueue) => class(Some(Layer::Qdisc), Service, from),
        (Enqueue, Xmit) => class(Some(Layer::Qdisc), Wait, from),
        // A device that hands the packet to another one, or back to the stack: its own work.
        (Xmit, Queue | Rx | Receive | XmitEnd) => class(of_device(from), Service, from),
        // With GRO or XDP on the peer, veth queues into the peer's ring, and NAPI takes it from there.
        (Xmit | XmitEnd, Gro) => class(Some(Layer::Backlog), Wait, to),
        // An ifb device gives back what it was given in a softirq of its own.
        (XmitEnd, Queue | Receive) if is_ifb(from) => class(Some(Layer::Backlog), Wait, from),
        (XmitEnd, Queue | Rx | Receive) => class(of_device(from), Service, from),
        (Rx, Receive | Gro) => class(Some(Layer::Backlog), Wait, to),
        (Gro, Receive | Rx) => class(Some(Layer::Gro), Service, to),
        (Receive | Route, Queue | Xmit) => {
            let meant = meant(path, index + 1, topology);
            // tc redirects what has just come in, before anything else sees it.
            if is_ifb(to) && (meant.netns, meant.ifindex) == (from.netns, from.ifindex) {
                return class(Some(Layer::Tc), Service, from);
            }
            let meant = find(meant).filter(|device| device.kind != IFB);
            // Where a packet ends at an ifb device nothing tells where it was to go: a bridge's ports do not lead to IP.
            let forwarding = match meant {
                None if is_ifb(to) => of_master(find(from), topology),
                meant => forwarding(find(from), meant, topology),
            };
            forwarding
                .map_or_else(|| class(Some(Layer::Ip), Service, from), |(layer, at)| class(Some(layer), Service, at))
        }
        // Up to another device without leaving the stack: a port's bridge, a macvlan, a tunnel's inner device.
        (Receive | Route, Receive | Rx | Gro) => class(upper_layer(find(from), find(to)), Service, to),
        // `to` is the device that the stack took the packet from: a macvlan where `from` is the device below it.
        (Receive, Route) => class(Some(Layer::Ip), Service, to),
        (Route, Route) => class(Some(Layer::Route), Service, from),
        (Receive | Route, Tcp) => class(Some(Layer::Ip), Service, to),
        // The reader held the socket: the segment lay in its backlog until the reader itself took it up.
        (Receive | Route, TcpBacklog) => class(Some(Layer::Socket), Wait, to),
        (Tcp | TcpBacklog, Ready | ReadyWake) => class(Some(Layer::Tcp), Service, from),
        (Receive | Route, Ready | ReadyWake) => class(Some(transport(protocol_at(path, index))), Service, to),
        (ReadyWake, Copy) => class(Some(Layer::Wakeup), Wait, from),
        (Ready | Copy, Copy) => class(Some(Layer::Socket), Wait, from),
        // No announcement was seen: the packet went through the socket's own backlog, or the kernel has no such point.
        (Receive | Route | Tcp | TcpBacklog, Copy) => class(Some(Layer::Socket), Wait, from),
        // A program reads a tun device.
        (Xmit | XmitEnd, Copy) => class(Some(Layer::Tun), Wait, from),
        _ => class(None, Service, from),
    }
}

/// The kind of the devices that tc redirects packets to for a while.
const IFB: &str = "ifb";

/// The crossing at the device that a packet is on its way to when it comes to crossing `index`: ifb devices give it back to the device
/// that it was at, or is to leave by.
fn meant(path: &PathRecord, index: usize, topology: &Topology) -> CrossingRecord {
    let is_another =
        |at: &&CrossingRecord| topology.device(at.netns, at.ifindex).is_none_or(|device| device.kind != IFB);
    path.crossings[index..].iter().find(is_another).copied().unwrap_or(path.crossings[index])
}

/// What forwards between two devices: their common master, or IP.
fn forwarding(from: Option<&Device>, to: Option<&Device>, topology: &Topology) -> Option<(Layer, CrossingRecord)> {
    let (from, to) = (from?, to?);
    let master = |device: &Device| device.master.and_then(|index| topology.device(device.netns, index));
    // Out through another port, up to the bridge's own stack and out again, or from a bridge itself.
    let bridge = master(from)
        .filter(|bridge| from.netns == to.netns && (to.master == from.master || to.ifindex == bridge.ifindex))?;
    let layer = Layer::of_device(&bridge.kind)?;
    Some((layer, CrossingRecord { point: Point::None, netns: bridge.netns, ifindex: bridge.ifindex }))
}

/// The master of a device, and its layer.
fn of_master(port: Option<&Device>, topology: &Topology) -> Option<(Layer, CrossingRecord)> {
    let port = port?;
    let master = topology.device(port.netns, port.master?)?;
    let at = CrossingRecord { point: Point::None, netns: master.netns, ifindex: master.ifindex };
    Some((Layer::of_device(&master.kind)?, at))
}

/// Whose work it is to lift a packet from one device to another.
fn upper_layer(from: Option<&Device>, to: Option<&Device>) -> Option<Layer> {
    let to = to?;
    if from.is_some_and(|from| from.netns == to.netns && from.ifindex == to.ifindex) {
        return Some(Layer::Gro);
    }
    Layer::of_device(&to.kind)
}

/// A device's name; its index where the topology does not know it; empty without one.
pub fn device_name(topology: &Topology, at: CrossingRecord) -> String {
    match topology.device(at.netns, at.ifindex) {
        Some(device) => device.name.clone(),
        None if at.ifindex == 0 => String::new(),
        None if is_of_class(at.netns) => "any unknown".into(),
        None => format!("if{}", at.ifindex),
    }
}

#[cfg(test)]
mod tests {
    use netstrata_common::Stage;

    use super::*;

    fn topology() -> Topology {
        let device = |netns, ifindex, name: &str, kind: &str, master| Device {
            netns,
            ifindex,
            name: name.into(),
            kind: kind.into(),
            master,
            ..Device::default()
        };
        Topology {
            devices: vec![
                device(1, 2, "eth0", "veth", None),
                device(2, 1, "br0", "bridge", None),
                device(2, 3, "vethA", "veth", Some(1)),
                device(2, 4, "vethB", "veth", Some(1)),
                device(2, 5, "vx0", "vxlan", Some(1)),
                device(2, 6, "ifb0", "ifb", None),
                device(3, 1, "lo", "loopback", None),
                device(4, 2, "ovs-system", "openvswitch", None),
                device(4, 3, "vethC", "veth", Some(2)),
                device(4, 4, "vethD", "veth", Some(2)),
                device(5, 2, "ipip0", "ipip", None),
                device(5, 3, "wire0", "veth", None),
                device(5, 4, "geneve0", "geneve", None),
                device(5, 5, "tun0", "tun", None),
                device(6, 2, "ipvl0", "ipvlan", None),
                device(6, 3, "ipvl1", "ipvlan", None),
                device(7, 2, "mac0", "macvlan", None),
            ],
            ..Topology::default()
        }
    }

    /// Of a TCP packet, from points, namespaces and devices.
    fn path(points: &[(Point, u32, u32)]) -> PathRecord {
        let crossing = |&(point, netns, ifindex)| CrossingRecord { point, netns, ifindex };
        PathRecord {
            crossings: points.iter().map(crossing).collect(),
            protocol: Protocol::TCP,
            ..PathRecord::default()
        }
    }

    fn class(path: &PathRecord, index: usize) -> (Option<Layer>, SpanKind, String) {
        let class = classify(path, index, &topology());
        (class.layer, class.kind, class.device)
    }

    fn span(from: (Point, u32, u32), to: (Point, u32, u32)) -> (Option<Layer>, SpanKind, String) {
        class(&path(&[from, to]), 0)
    }

    #[test]
    fn the_way_through_a_bridge_has_the_layers_of_its_devices() {
        use Point::*;
        let cases = [
            ((Send, 1, 0), (Queue, 1, 2), Layer::Tcp, SpanKind::Service, "eth0"),
            ((Queue, 1, 2), (Xmit, 1, 2), Layer::Qdisc, SpanKind::Service, "eth0"),
            ((Enqueue, 1, 2), (Xmit, 1, 2), Layer::Qdisc, SpanKind::Wait, "eth0"),
            ((Xmit, 1, 2), (Rx, 2, 3), Layer::Veth, SpanKind::Service, "eth0"),
            ((Rx, 2, 3), (Receive, 2, 3), Layer::Backlog, SpanKind::Wait, "vethA"),
            ((Receive, 2, 3), (Queue, 2, 4), Layer::Bridge, SpanKind::Service, "br0"),
            ((Receive, 2, 3), (Queue, 2, 5), Layer::Bridge, SpanKind::Service, "br0"),
            ((Receive, 2, 3), (Receive, 2, 1), Layer::Bridge, SpanKind::Service, "br0"),
            ((Receive, 1, 2), (ReadyWake, 1, 2), Layer::Tcp, SpanKind::Service, "eth0"),
            ((ReadyWake, 1, 2), (Copy, 1, 2), Layer::Wakeup, SpanKind::Wait, "eth0"),
            ((Ready, 1, 2), (Copy, 1, 2), Layer::Socket, SpanKind::Wait, "eth0"),
            ((Xmit, 3, 1), (Rx, 3, 1), Layer::Loopback, SpanKind::Service, "lo"),
            ((Receive, 1, 2), (Drop, 1, 2), Layer::Drop, SpanKind::Service, "eth0"),
        ];
        for (from, to, layer, kind, device) in cases {
            assert_eq!(span(from, to), (Some(layer), kind, device.to_owned()), "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn a_switch_is_named_by_its_datapath_and_a_tunnel_by_its_device() {
        use Point::*;
        let cases = [
            ((Receive, 4, 3), (Queue, 4, 4), Layer::Ovs, SpanKind::Service, "ovs-system"),
            ((Xmit, 5, 2), (Queue, 5, 3), Layer::Ipip, SpanKind::Service, "ipip0"),
            ((Route, 5, 3), (Rx, 5, 2), Layer::Ipip, SpanKind::Service, "ipip0"),
            ((Xmit, 5, 4), (Queue, 5, 3), Layer::Geneve, SpanKind::Service, "geneve0"),
            ((Receive, 5, 3), (Gro, 5, 4), Layer::Geneve, SpanKind::Service, "geneve0"),
            ((Xmit, 6, 2), (Rx, 6, 3), Layer::Ipvlan, SpanKind::Service, "ipvl0"),
            ((Xmit, 5, 5), (Copy, 5, 5), Layer::Tun, SpanKind::Wait, "tun0"),
            // A macvlan's receive handler lifts the packet: the stack takes it from the macvlan.
            ((Receive, 5, 3), (Route, 7, 2), Layer::Ip, SpanKind::Service, "mac0"),
            ((Receive, 5, 3), (Tcp, 7, 2), Layer::Ip, SpanKind::Service, "mac0"),
        ];
        for (from, to, layer, kind, device) in cases {
            assert_eq!(span(from, to), (Some(layer), kind, device.to_owned()), "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn what_open_vswitch_sends_to_its_daemon_is_its_work_until_it_is_sent_and_from_when_it_is_back() {
        use Point::*;
        let points = [
            (Queue, 1, 2),
            (Xmit, 1, 2),
            (Rx, 4, 3),
            (Receive, 4, 3),
            (Upcall, 4, 3),
            (Consume, 4, 3),
            (Execute, 4, 3),
            (Queue, 4, 4),
        ];
        let path = PathRecord { edges: vec![(6, Edge::Userspace)], ..path(&points) };
        let class = |index| class(&path, index);
        let is = |layer, kind| (Some(layer), kind, "ovs-system".to_owned());
        assert_eq!(class(3), is(Layer::Ovs, SpanKind::Service));
        assert_eq!(class(4), is(Layer::Ovs, SpanKind::Service));
        assert_eq!(class(5), is(Layer::Userspace, SpanKind::Wait));
        assert_eq!(class(6), is(Layer::Ovs, SpanKind::Service));
        // What follows travels as it did.
        assert_eq!(protocol_at(&path, 7), Protocol::TCP);
    }

    #[test]
    fn what_a_program_sends_on_is_userspace_and_travels_in_its_datagrams() {
        use Point::*;
        let points = [
            (Xmit, 5, 5),
            (Copy, 5, 5),
            (Queue, 5, 3),
            (Receive, 1, 2),
            (Ready, 1, 2),
            (Receive, 5, 5),
            (Receive, 1, 2),
            (Ready, 1, 2),
        ];
        let path = PathRecord { edges: vec![(2, Edge::Userspace), (5, Edge::Userspace)], ..path(&points) };
        let class = |index| class(&path, index);
        let is = |layer, kind, device: &str| (Some(layer), kind, device.to_owned());
        assert_eq!(class(0), is(Layer::Tun, SpanKind::Wait, "tun0"));
        assert_eq!(class(1), is(Layer::Userspace, SpanKind::Service, "tun0"));
        assert_eq!(class(3), is(Layer::Udp, SpanKind::Service, "eth0"));
        // Its reading left no trace: the wait is within.
        assert_eq!(class(4), is(Layer::Userspace, SpanKind::Wait, "tun0"));
        assert_eq!(class(6), is(Layer::Tcp, SpanKind::Service, "eth0"));
    }

    #[test]
    fn what_tc_redirects_to_an_ifb_device_lies_in_its_queue_and_goes_on_as_it_would_have() {
        use Point::*;
        let lies = [(Queue, 2, 6), (Enqueue, 2, 6), (Xmit, 2, 6), (XmitEnd, 2, 6)];
        let way = |before: &[(Point, u32, u32)], after: &[(Point, u32, u32)]| path(&[before, &lies, after].concat());
        let is = |layer, kind, device: &str| (Some(layer), kind, device.to_owned());
        let leaving = way(&[(Receive, 2, 3)], &[(Queue, 2, 4), (Xmit, 2, 4)]);
        assert_eq!(class(&leaving, 0), is(Layer::Bridge, SpanKind::Service, "br0"));
        assert_eq!(class(&leaving, 2), is(Layer::Qdisc, SpanKind::Wait, "ifb0"));
        assert_eq!(class(&leaving, 3), is(Layer::Tc, SpanKind::Service, "ifb0"));
        assert_eq!(class(&leaving, 4), is(Layer::Backlog, SpanKind::Wait, "ifb0"));
        let entering = way(&[(Rx, 2, 3), (Receive, 2, 3)], &[(Receive, 2, 3), (Queue, 2, 4)]);
        assert_eq!(class(&entering, 1), is(Layer::Tc, SpanKind::Service, "vethA"));
        assert_eq!(class(&entering, 5), is(Layer::Backlog, SpanKind::Wait, "ifb0"));
        assert_eq!(class(&entering, 6), is(Layer::Bridge, SpanKind::Service, "br0"));
        let lost = way(&[(Receive, 2, 3)], &[]);
        assert_eq!(class(&lost, 0), is(Layer::Bridge, SpanKind::Service, "br0"));
        let made = way(&[(Send, 2, 0)], &[(Queue, 2, 4)]);
        assert_eq!(class(&made, 0), is(Layer::Tcp, SpanKind::Service, "vethB"));
    }

    #[test]
    fn a_fragment_waits_for_the_others_in_ip() {
        let points = [(Point::Receive, 1, 2), (Point::Receive, 1, 2), (Point::Ready, 1, 2)];
        let path = PathRecord { edges: vec![(1, Edge::Reassemble)], protocol: Protocol::UDP, ..path(&points) };
        assert_eq!(class(&path, 0), (Some(Layer::Ip), SpanKind::Wait, "eth0".to_owned()));
        assert_eq!(class(&path, 1), (Some(Layer::Udp), SpanKind::Service, "eth0".to_owned()));
    }

    #[test]
    fn forwarding_without_a_bridge_is_ip_and_an_unknown_pair_is_no_layer() {
        assert_eq!(span((Point::Receive, 1, 2), (Point::Queue, 3, 1)).0, Some(Layer::Ip));
        assert_eq!(span((Point::Copy, 1, 2), (Point::Queue, 1, 2)).0, None);
    }

    /// A new point, or a new way between two, needs a meaning here.
    #[test]
    fn every_way_from_point_to_point_that_the_programs_follow_has_a_layer() {
        let mut without = Vec::new();
        for to in Point::ALL {
            for from in to.info().after.iter().filter(|from| to.info().stage != Stage::Gone && **from != Point::None) {
                if span((*from, 2, 3), (*to, 2, 4)).0.is_none() {
                    without.push((*from, *to));
                }
            }
        }
        assert_eq!(without, []);
    }
}
