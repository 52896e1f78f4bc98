use super::*;
use crate::topology::{Container, Namespace};

fn device(netns: u32, ifindex: u32, name: &str, kind: &str) -> Device {
    Device {
        netns,
        ifindex,
        name: name.into(),
        kind: kind.into(),
        mac: "02:00:00:00:00:01".into(),
        mtu: 1500,
        up: true,
        qdisc: "noqueue".into(),
        ..Device::default()
    }
}

fn example() -> Topology {
    let namespace = |inum, name: &str, origin: &str| Namespace {
        inum,
        name: name.into(),
        origin: origin.into(),
        pids: vec![inum * 10],
    };
    let lo = Device {
        addresses: vec!["127.0.0.1/8".into(), "::1/128".into()],
        mtu: 65536,
        ..device(1, 1, "lo", "loopback")
    };
    let bridge = Device { addresses: vec!["172.17.0.1/16".into()], ..device(1, 3, "docker0", "bridge") };
    let port = Device { peer: Some((2, 2)), master: Some(3), ..device(1, 4, "veth1\u{1b}", "veth") };
    let lost = Device { peer: Some((0, 9)), up: false, ..device(1, 5, "veth2", "veth") };
    let tunnel =
        Tunnel { id: Some(42), local: Some("10.0.0.1".into()), remote: Some("10.0.0.2".into()), port: Some(4789) };
    let vxlan = Device {
        tunnel: Some(tunnel),
        lower: Some((1, 2)),
        master: Some(3),
        mtu: 1450,
        ..device(1, 6, "vxlan0", "vxlan")
    };
    let inside = Device { peer: Some((1, 4)), addresses: vec!["172.17.0.2/16".into()], ..device(2, 2, "eth0", "veth") };
    Topology {
        namespaces: vec![
            namespace(1, "host", "host"),
            namespace(2, "web", "container"),
            namespace(3, "empty", "named"),
        ],
        devices: vec![lo, device(1, 2, "eth0", "nic"), bridge, port, lost, vxlan, inside],
        containers: vec![Container {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            engine: "docker".into(),
            netns: 2,
            pids: vec![20],
            cgroup: 77,
        }],
    }
}

#[test]
fn text_is_a_tree_with_ports_under_their_master() {
    insta::assert_snapshot!(text(&example()), @"");
}

#[test]
fn json_names_the_other_ends() {
    let mut topology = example();
    topology.namespaces.truncate(2);
    topology.devices.retain(|device| device.name.starts_with("veth") || device.netns == 2);
    insta::assert_snapshot!(format!("{:#}", json(&topology)), @"");
}

#[test]
fn a_circle_of_masters_ends() {
    let one = Device { master: Some(2), ..device(1, 1, "a", "bond") };
    let two = Device { master: Some(1), ..device(1, 2, "b", "bond") };
    let three = Device { master: Some(3), ..device(1, 3, "c", "bond") };
    assert!(tree(&[&one, &two, &three]).is_empty());
}
