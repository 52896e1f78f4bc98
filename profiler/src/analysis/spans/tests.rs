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
    PathRecord { crossings: points.iter().map(crossing).collect(), protocol: Protocol::TCP, ..PathRecord::default() }
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
