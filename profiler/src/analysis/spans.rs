//! What the time between two crossings means: it follows from the points and from the kind of the devices.

use netstrata_common::{Edge, LATEST_KEPT, Layer, Point, Protocol, named};

use super::above::{is_switch_above, on_the_way_up, switch_between};
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
    if path.crossings_left_out > 0 && index + 2 + LATEST_KEPT == path.crossings.len() {
        // Whatever lies between was not kept.
        return SpanClass {
            layer: None,
            kind: SpanKind::Service,
            device: device_name(topology, from),
            netns: from.netns,
        };
    }
    let find = |crossing: CrossingRecord| topology.device(crossing.netns, crossing.ifindex);
    let class = |layer: Option<Layer>, kind: SpanKind, at: CrossingRecord| SpanClass {
        layer,
        kind,
        device: charged_to(topology, at),
        netns: at.netns,
    };
    let of_device = |crossing: CrossingRecord| find(crossing).map(|device| Layer::of_device(&device.kind));
    let defers = |crossing: CrossingRecord| of_device(crossing).is_some_and(|layer| layer.info().defers);
    use Point::{
        Copy, Drop, Enqueue, Execute, Gro, Held, Queue, Ready, ReadyWake, Receive, Requeue, Route, Rx, Send, Tcp,
        TcpBacklog, Upcall, Xmit, XmitEnd,
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
        // A device that is busy takes the packet from the same queue later.
        (Enqueue | Requeue, Xmit) => class(Some(Layer::Qdisc), Wait, from),
        (Xmit, Requeue) => class(Some(Layer::Qdisc), Service, from),
        // A device that hands the packet to another one, or back to the stack: its own work.
        (Xmit, Queue | Rx | Receive | XmitEnd) => class(of_device(from), Service, from),
        // With GRO or XDP on the peer, veth queues into the peer's ring, and NAPI takes it from there.
        (Xmit | XmitEnd, Gro) => match sent_on_by_xdp(find(from), to) {
            Some(at) => class(Some(Layer::Xdp), Wait, at),
            None => class(Some(Layer::Backlog), Wait, to),
        },
        // An ifb device gives back what it was given in a softirq of its own.
        (XmitEnd, Queue | Receive) if is_ifb(from) => class(Some(Layer::Backlog), Wait, from),
        // A worker takes it from there.
        (XmitEnd, Queue) => class(of_device(from), Wait, from),
        (XmitEnd, Rx | Receive) => class(of_device(from), Service, from),
        (Rx, Receive | Gro) => class(Some(Layer::Backlog), Wait, to),
        // What GRO handed to another CPU lay in that CPU's backlog.
        (Gro | Held, Receive) if path.edge_at(index + 1) == Some(Edge::Handed) => class(Some(Layer::Backlog), Wait, to),
        (Gro, Receive | Rx | Held) => class(Some(Layer::Gro), Service, to),
        // Until more of its flow have come, or all that the driver took in at a time.
        (Held, Receive) => class(Some(Layer::Gro), Wait, to),
        (Receive | Route, Queue | Xmit) => {
            let (layer, at) = onward(path, index, topology);
            class(Some(layer), Service, at)
        }
        // Up to another device without leaving the stack: a port's bridge, a macvlan, a tunnel's inner device.
        (Receive | Route, Receive | Rx | Gro) => {
            class(upper_layer(find(from), find(to)), if defers(to) { Wait } else { Service }, to)
        }
        // br_netfilter looks for a route as if the bridge had received the packet.
        (Receive, Route) if is_above(find(from), find(to), topology) => class(of_device(to), Service, to),
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

/// Whose work it is that sends on what was received, at crossing `index`, and where.
fn onward(path: &PathRecord, index: usize, topology: &Topology) -> (Layer, CrossingRecord) {
    let find = |crossing: CrossingRecord| topology.device(crossing.netns, crossing.ifindex);
    let (from, to, meant) = (path.crossings[index], path.crossings[index + 1], meant(path, index + 1, topology));
    let at_ifb = find(to).is_some_and(|device| device.kind == IFB);
    // tc redirects what has just come in, before anything else sees it.
    if at_ifb && (meant.netns, meant.ifindex) == (from.netns, from.ifindex) {
        return (Layer::Tc, from);
    }
    let forwarding = match find(meant).filter(|device| device.kind != IFB) {
        // Where a packet ends at an ifb device nothing tells where it was to go: a bridge's ports do not lead to IP.
        None if at_ifb => of_master(find(from), topology),
        meant => forwarding(find(from), meant, topology),
    };
    forwarding.unwrap_or((Layer::Ip, from))
}

/// What forwards between two devices: their common master, or IP.
fn forwarding(from: Option<&Device>, to: Option<&Device>, topology: &Topology) -> Option<(Layer, CrossingRecord)> {
    // Out through another port, up to the bridge's own stack and out again, or from a bridge itself.
    let switch = switch_between(from?, to?, topology)?;
    let at = CrossingRecord { point: Point::None, netns: switch.netns, ifindex: switch.ifindex };
    Some((Layer::of_device(&switch.kind), at))
}

fn is_above(from: Option<&Device>, to: Option<&Device>, topology: &Topology) -> bool {
    matches!((from, to), (Some(from), Some(to)) if is_switch_above(from, to, topology))
}

/// The other end of a device's pair, where a packet that was sent there came out of a third device: an XDP program sent it back or
/// redirected it, and nothing crosses between the two rings that it lay in.
fn sent_on_by_xdp(from: Option<&Device>, to: CrossingRecord) -> Option<CrossingRecord> {
    let (netns, ifindex) = from?.peer.filter(|peer| peer.0 != 0 && *peer != (to.netns, to.ifindex))?;
    Some(CrossingRecord { netns, ifindex, ..to })
}

/// The master of a device, and its layer.
fn of_master(port: Option<&Device>, topology: &Topology) -> Option<(Layer, CrossingRecord)> {
    let port = port?;
    let master = topology.device(port.netns, port.master?)?;
    let at = CrossingRecord { point: Point::None, netns: master.netns, ifindex: master.ifindex };
    Some((Layer::of_device(&master.kind), at))
}

/// The devices to which a frame is lifted between its reception at one device and its queue at another, without a crossing.
pub(super) fn lifted_between(from: CrossingRecord, to: CrossingRecord, topology: &Topology) -> Vec<CrossingRecord> {
    let find = |crossing: CrossingRecord| topology.device(crossing.netns, crossing.ifindex);
    let (Some(device), Some(other)) = (find(from), find(to)) else { return Vec::new() };
    if !matches!(from.point, Point::Receive | Point::Route) || !matches!(to.point, Point::Queue | Point::Xmit) {
        return Vec::new();
    }
    let Some(switch) = switch_between(device, other, topology) else { return Vec::new() };
    let at = |above: &Device| CrossingRecord { netns: above.netns, ifindex: above.ifindex, ..from };
    on_the_way_up(device, switch, topology).into_iter().map(at).collect()
}

/// Whose work it is to lift a packet from one device to another.
fn upper_layer(from: Option<&Device>, to: Option<&Device>) -> Option<Layer> {
    let to = to?;
    if from.is_some_and(|from| from.netns == to.netns && from.ifindex == to.ifindex) {
        return Some(Layer::Gro);
    }
    Some(Layer::of_device(&to.kind))
}

/// The name of the device that a span is charged to; of a kind of which nothing is known with the kind.
fn charged_to(topology: &Topology, at: CrossingRecord) -> String {
    let name = device_name(topology, at);
    match topology.device(at.netns, at.ifindex) {
        Some(device) if Layer::known_device(&device.kind).is_none() && !device.kind.is_empty() => {
            format!("{name} ({})", device.kind)
        }
        _ => name,
    }
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
                // A bridge whose port is a VLAN on a bond; and devices of other kinds.
                device(8, 2, "eth0", "nic", Some(3)),
                device(8, 3, "bond0", "bond", None),
                Device { lower: Some((8, 3)), ..device(8, 4, "bond0.10", "vlan", Some(5)) },
                device(8, 5, "br10", "bridge", None),
                device(8, 6, "veth0", "veth", Some(5)),
                device(8, 7, "blue", "vrf", None),
                device(8, 8, "veth1", "veth", Some(7)),
                device(8, 9, "veth2", "veth", Some(7)),
                device(8, 10, "wg0", "wireguard", None),
                device(8, 11, "nk0", "netkit", None),
                device(8, 12, "dummy0", "dummy", None),
                device(8, 13, "odd0", "seltsam", None),
                Device { peer: Some((8, 15)), ..device(9, 2, "eth0", "veth", None) },
                Device { peer: Some((9, 2)), ..device(8, 15, "lxc1", "veth", None) },
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
    fn devices_of_every_kind_have_a_layer_and_ip_is_where_it_runs() {
        use Point::*;
        use SpanKind::{Service, Wait};
        let cases = [
            ((Receive, 8, 2), (Queue, 8, 6), Layer::Bridge, Service, "br10"),
            ((Receive, 8, 6), (Queue, 8, 4), Layer::Bridge, Service, "br10"),
            ((Receive, 8, 2), (Receive, 8, 5), Layer::Bridge, Service, "br10"),
            ((Xmit, 8, 4), (Queue, 8, 3), Layer::Vlan, Service, "bond0.10"),
            ((Xmit, 8, 3), (Queue, 8, 2), Layer::Bond, Service, "bond0"),
            ((Receive, 8, 8), (Queue, 8, 9), Layer::Ip, Service, "veth1"),
            ((Receive, 8, 8), (Route, 8, 7), Layer::Ip, Service, "blue"),
            ((Xmit, 8, 7), (Rx, 8, 7), Layer::Vrf, Service, "blue"),
            ((Xmit, 8, 11), (Rx, 1, 2), Layer::Netkit, Service, "nk0"),
            ((Xmit, 8, 12), (XmitEnd, 8, 12), Layer::Device, Service, "dummy0"),
            ((Xmit, 8, 13), (Queue, 8, 2), Layer::Device, Service, "odd0 (seltsam)"),
            // The workers of WireGuard: after the device, and after the datagram.
            ((Xmit, 8, 10), (XmitEnd, 8, 10), Layer::Wireguard, Service, "wg0"),
            ((XmitEnd, 8, 10), (Queue, 8, 2), Layer::Wireguard, Wait, "wg0"),
            ((Route, 8, 2), (Gro, 8, 10), Layer::Wireguard, Wait, "wg0"),
            ((Gro, 8, 10), (Receive, 8, 10), Layer::Gro, Service, "wg0"),
            // Into the peer's ring, and by its XDP program out of a third device.
            ((XmitEnd, 9, 2), (Gro, 8, 15), Layer::Backlog, Wait, "lxc1"),
            ((XmitEnd, 9, 2), (Gro, 1, 2), Layer::Xdp, Wait, "lxc1"),
            ((XmitEnd, 9, 2), (Gro, 9, 2), Layer::Xdp, Wait, "lxc1"),
            // br_netfilter looks for a route at the bridge, and sends the packet out of a port.
            ((Receive, 8, 6), (Route, 8, 5), Layer::Bridge, Service, "br10"),
            ((Route, 8, 5), (Queue, 8, 4), Layer::Bridge, Service, "br10"),
            // Without it a bridge's own stack received the packet.
            ((Receive, 8, 5), (Route, 8, 5), Layer::Ip, Service, "br10"),
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
    fn what_gro_holds_or_hands_to_another_cpu_waits() {
        use Point::*;
        let points = [(Gro, 1, 2), (Held, 1, 2), (Receive, 1, 2), (ReadyWake, 1, 2)];
        let (here, handed) = (path(&points), PathRecord { edges: vec![(2, Edge::Handed)], ..path(&points) });
        let is = |layer, kind| (Some(layer), kind, "eth0".to_owned());
        for path in [&here, &handed] {
            assert_eq!(class(path, 0), is(Layer::Gro, SpanKind::Service));
            assert_eq!(class(path, 2), is(Layer::Tcp, SpanKind::Service));
        }
        assert_eq!(class(&here, 1), is(Layer::Gro, SpanKind::Wait));
        assert_eq!(class(&handed, 1), is(Layer::Backlog, SpanKind::Wait));
        // Of a full list GRO does not come back before.
        let at_once = [points[0], points[2]];
        assert_eq!(class(&path(&at_once), 0), is(Layer::Gro, SpanKind::Service));
        let handed = PathRecord { edges: vec![(1, Edge::Handed)], ..path(&at_once) };
        assert_eq!(class(&handed, 0), is(Layer::Backlog, SpanKind::Wait));
    }

    #[test]
    fn a_packet_that_a_busy_device_gave_back_waits_in_its_queue() {
        use Point::*;
        assert_eq!(span((Xmit, 1, 2), (Requeue, 1, 2)).0, Some(Layer::Qdisc));
        assert_eq!(span((Requeue, 1, 2), (Xmit, 1, 2)), (Some(Layer::Qdisc), SpanKind::Wait, "eth0".into()));
    }

    #[test]
    fn what_lies_between_the_first_and_the_latest_crossings_of_a_way_that_is_too_long_has_no_layer() {
        use Point::*;
        let points =
            [(Queue, 1, 2), (Xmit, 1, 2), (Route, 2, 3), (Rx, 2, 3), (Receive, 2, 3), (Tcp, 2, 3), (ReadyWake, 2, 3)];
        let long = PathRecord { crossings_left_out: 9, ..path(&points) };
        let layers = |path: &PathRecord| (0..points.len() - 1).map(|index| class(path, index).0).collect::<Vec<_>>();
        let (ip, tcp) = (Some(Layer::Ip), Some(Layer::Tcp));
        assert_eq!(layers(&long)[1..], [Option::None, class(&long, 2).0, Some(Layer::Backlog), ip, tcp]);
        assert_eq!(class(&long, 1).2, "eth0");
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
