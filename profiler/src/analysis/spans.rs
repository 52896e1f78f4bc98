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

/// Whose work or wait a span is, and at which crossing's device.
type Told = (Option<Layer>, SpanKind, CrossingRecord);

/// Classifies span `index` of a path: the time between its crossings `index` and `index + 1`.
pub fn classify(path: &PathRecord, index: usize, topology: &Topology) -> SpanClass {
    let from = path.crossings[index];
    if path.crossings_left_out > 0 && index + 2 + LATEST_KEPT == path.crossings.len() {
        // Whatever lies between was not kept.
        return SpanClass {
            layer: None,
            kind: SpanKind::Service,
            device: device_name(topology, from),
            netns: from.netns,
        };
    }
    let told = by_edge(path, index, topology).unwrap_or_else(|| by_points(path, index, topology));
    let (layer, kind, at) = told;
    SpanClass { layer, kind, device: charged_to(topology, at), netns: at.netns }
}

/// A port's datapath; a port that is one itself.
fn datapath(port: CrossingRecord, topology: &Topology) -> CrossingRecord {
    let master = topology.device(port.netns, port.ifindex).and_then(|device| device.master);
    CrossingRecord { ifindex: master.unwrap_or(port.ifindex), ..port }
}

/// A span at whose end the packet goes on as another skb, or elsewhere, which tells what it was.
fn by_edge(path: &PathRecord, index: usize, topology: &Topology) -> Option<Told> {
    let (from, to) = (path.crossings[index], path.crossings[index + 1]);
    if to.point == Point::Execute {
        return Some((Some(Layer::Userspace), SpanKind::Wait, datapath(from, topology)));
    }
    match (path.edge_at(index + 1)?, to.point) {
        // A program read the packet and sent it on: between a tun device and a UDP socket. Where its reading of the datagram
        // left no trace, the wait for it is within.
        (Edge::Userspace, _) => {
            let tun = if to.point == Point::Queue { from } else { to };
            let kind = if from.point == Point::Copy { SpanKind::Service } else { SpanKind::Wait };
            Some((Some(Layer::Userspace), kind, tun))
        }
        // A fragment waits for the others of its datagram.
        (Edge::Reassemble, Point::Receive) => Some((Some(Layer::Ip), SpanKind::Wait, to)),
        // What GRO handed to another CPU lay in that CPU's backlog.
        (Edge::Handed, Point::Receive) if matches!(from.point, Point::Gro | Point::Held) => {
            Some((Some(Layer::Backlog), SpanKind::Wait, to))
        }
        _ => None,
    }
}

/// Any other span: by the points at its ends, and the kinds of their devices.
fn by_points(path: &PathRecord, index: usize, topology: &Topology) -> Told {
    let (from, to) = (path.crossings[index], path.crossings[index + 1]);
    let find = |crossing: CrossingRecord| topology.device(crossing.netns, crossing.ifindex);
    let of_device = |crossing: CrossingRecord| find(crossing).map(|device| Layer::of_device(&device.kind));
    let defers = |crossing: CrossingRecord| of_device(crossing).is_some_and(|layer| layer.info().defers);
    let is_ifb = |crossing: CrossingRecord| find(crossing).is_some_and(|device| device.kind == IFB);
    use Point::{
        Copy, Drop, Enqueue, Execute, Gro, Held, Queue, Ready, ReadyWake, Receive, Requeue, Route, Rx, Send, Tcp,
        TcpBacklog, Upcall, Xmit, XmitEnd,
    };
    use SpanKind::{Service, Wait};
    match (from.point, to.point) {
        (_, Drop) => (Some(Layer::Drop), Service, from),
        (_, Upcall) | (Upcall | Execute, _) => (Some(Layer::Ovs), Service, datapath(from, topology)),
        (Send, Queue) => (Some(Layer::Tcp), Service, meant(path, index + 1, topology)),
        (Queue, Xmit | Enqueue) => (Some(Layer::Qdisc), Service, from),
        // A device that is busy takes the packet from the same queue later.
        (Enqueue | Requeue, Xmit) => (Some(Layer::Qdisc), Wait, from),
        (Xmit, Requeue) => (Some(Layer::Qdisc), Service, from),
        // A device that hands the packet to another one, or back to the stack: its own work.
        (Xmit, Queue | Rx | Receive | XmitEnd) => (of_device(from), Service, from),
        // With GRO or XDP on the peer, veth queues into the peer's ring, and NAPI takes it from there.
        (Xmit | XmitEnd, Gro) => match sent_on_by_xdp(find(from), to) {
            Some(at) => (Some(Layer::Xdp), Wait, at),
            None => (Some(Layer::Backlog), Wait, to),
        },
        // An ifb device gives back what it was given in a softirq of its own.
        (XmitEnd, Queue | Receive) if is_ifb(from) => (Some(Layer::Backlog), Wait, from),
        // A worker takes it from there.
        (XmitEnd, Queue) => (of_device(from), Wait, from),
        (XmitEnd, Rx | Receive) => (of_device(from), Service, from),
        (Rx, Receive | Gro) => (Some(Layer::Backlog), Wait, to),
        (Gro, Receive | Rx | Held) => (Some(Layer::Gro), Service, to),
        // Until more of its flow have come, or all that the driver took in at a time.
        (Held, Receive) => (Some(Layer::Gro), Wait, to),
        (Receive | Route, Queue | Xmit) => onward(path, index, topology),
        // Up to another device without leaving the stack: a port's bridge, a macvlan, a tunnel's inner device.
        (Receive | Route, Receive | Rx | Gro) => {
            (upper_layer(find(from), find(to)), if defers(to) { Wait } else { Service }, to)
        }
        // br_netfilter looks for a route as if the bridge had received the packet.
        (Receive, Route) if is_above(find(from), find(to), topology) => (of_device(to), Service, to),
        // `to` is the device that the stack took the packet from: a macvlan where `from` is the device below it.
        (Receive, Route) => (Some(Layer::Ip), Service, to),
        (Route, Route) => (Some(Layer::Route), Service, from),
        (Receive | Route, Tcp) => (Some(Layer::Ip), Service, to),
        // The reader held the socket: the segment lay in its backlog until the reader itself took it up.
        (Receive | Route, TcpBacklog) => (Some(Layer::Socket), Wait, to),
        (Tcp | TcpBacklog, Ready | ReadyWake) => (Some(Layer::Tcp), Service, from),
        (Receive | Route, Ready | ReadyWake) => (Some(transport(protocol_at(path, index))), Service, to),
        (ReadyWake, Copy) => (Some(Layer::Wakeup), Wait, from),
        (Ready | Copy, Copy) => (Some(Layer::Socket), Wait, from),
        // No announcement was seen: the packet went through the socket's own backlog, or the kernel has no such point.
        (Receive | Route | Tcp | TcpBacklog, Copy) => (Some(Layer::Socket), Wait, from),
        // A program reads a tun device.
        (Xmit | XmitEnd, Copy) => (Some(Layer::Tun), Wait, from),
        _ => (None, Service, from),
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
fn onward(path: &PathRecord, index: usize, topology: &Topology) -> Told {
    let find = |crossing: CrossingRecord| topology.device(crossing.netns, crossing.ifindex);
    let (from, to, meant) = (path.crossings[index], path.crossings[index + 1], meant(path, index + 1, topology));
    let at_ifb = find(to).is_some_and(|device| device.kind == IFB);
    // tc redirects what has just come in, before anything else sees it.
    if at_ifb && (meant.netns, meant.ifindex) == (from.netns, from.ifindex) {
        return (Some(Layer::Tc), SpanKind::Service, from);
    }
    let forwarding = match find(meant).filter(|device| device.kind != IFB) {
        // Where a packet ends at an ifb device nothing tells where it was to go: a bridge's ports do not lead to IP.
        None if at_ifb => of_master(find(from), topology),
        meant => forwarding(find(from), meant, topology),
    };
    let (layer, at) = forwarding.unwrap_or((Layer::Ip, from));
    (Some(layer), SpanKind::Service, at)
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
mod tests;
