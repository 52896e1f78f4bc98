use super::*;
use crate::topology::Container;

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
    insta::assert_snapshot!(text(&example()), @r#"
    host (host, netns 1)
      lo        loopback  mtu 65536  up  qdisc noqueue  127.0.0.1/8  ::1/128
      eth0      nic       mtu 1500  up  qdisc noqueue
      docker0   bridge    mtu 1500  up  qdisc noqueue  172.17.0.1/16
        veth1\x1b  veth      mtu 1500  up  qdisc noqueue  peer eth0@web
        vxlan0  vxlan     mtu 1450  up  qdisc noqueue  on eth0@host  id 42  local 10.0.0.1  remote 10.0.0.2  port 4789
      veth2     veth      mtu 1500  down  qdisc noqueue  peer if9@unknown

    web (container, netns 2)
      eth0  veth  mtu 1500  up  qdisc noqueue  peer veth1\x1b@host  172.17.0.2/16

    empty (named, netns 3)
      (no devices seen)

    containers
      web  docker  0123456789ab  namespace web
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "the document that is compared stands in it")]
fn json_names_the_other_ends() {
    let mut topology = example();
    topology.namespaces.truncate(2);
    topology.devices.retain(|device| device.name.starts_with("veth") || device.netns == 2);
    insta::assert_snapshot!(json(&topology).expect("it can be written"), @r#"
    {
      "schema": "netstrata.topology/1",
      "namespaces": [
        {
          "inum": 1,
          "name": "host",
          "origin": "host",
          "pids": [
            10
          ]
        },
        {
          "inum": 2,
          "name": "web",
          "origin": "container",
          "pids": [
            20
          ]
        }
      ],
      "devices": [
        {
          "addresses": [],
          "ifindex": 4,
          "kind": "veth",
          "lower": null,
          "mac": "02:00:00:00:00:01",
          "master": {
            "ifindex": 3,
            "name": null,
            "namespace": "host",
            "netns": 1
          },
          "mtu": 1500,
          "name": "veth1\u001b",
          "namespace": "host",
          "netns": 1,
          "peer": {
            "ifindex": 2,
            "name": "eth0",
            "namespace": "web",
            "netns": 2
          },
          "qdisc": "noqueue",
          "tunnel": null,
          "up": true
        },
        {
          "addresses": [],
          "ifindex": 5,
          "kind": "veth",
          "lower": null,
          "mac": "02:00:00:00:00:01",
          "master": null,
          "mtu": 1500,
          "name": "veth2",
          "namespace": "host",
          "netns": 1,
          "peer": {
            "ifindex": 9,
            "name": null,
            "namespace": null,
            "netns": 0
          },
          "qdisc": "noqueue",
          "tunnel": null,
          "up": false
        },
        {
          "addresses": [
            "172.17.0.2/16"
          ],
          "ifindex": 2,
          "kind": "veth",
          "lower": null,
          "mac": "02:00:00:00:00:01",
          "master": null,
          "mtu": 1500,
          "name": "eth0",
          "namespace": "web",
          "netns": 2,
          "peer": {
            "ifindex": 4,
            "name": "veth1\u001b",
            "namespace": "host",
            "netns": 1
          },
          "qdisc": "noqueue",
          "tunnel": null,
          "up": true
        }
      ],
      "containers": [
        {
          "cgroup": 77,
          "engine": "docker",
          "id": "0123456789abcdef",
          "name": "web",
          "namespace": "web",
          "netns": 2,
          "pids": [
            20
          ]
        }
      ]
    }
    "#);
}

#[test]
fn a_circle_of_masters_ends() {
    let one = Device { master: Some(2), ..device(1, 1, "a", "bond") };
    let two = Device { master: Some(1), ..device(1, 2, "b", "bond") };
    let three = Device { master: Some(3), ..device(1, 3, "c", "bond") };
    assert!(tree(&[&one, &two, &three]).is_empty());
}
