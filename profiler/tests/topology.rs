//! The topology of namespaces made for the test, on the live kernel. Needs root and `ip`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{net::UdpSocket, process::Command, thread::sleep, time::Duration};

use netstrata::topology::{Topology, Watcher, device_stats, scan};
use support::{network::Network, process::Process, wait::until};

fn inum(topology: &Topology, name: &str) -> u32 {
    topology.namespaces.iter().find(|namespace| namespace.name == name).unwrap().inum
}

fn index(topology: &Topology, netns: u32, name: &str) -> u32 {
    topology.devices.iter().find(|device| device.netns == netns && device.name == name).unwrap().ifindex
}

#[test]
fn a_scan_sees_kinds_masters_and_peers_across_namespaces() {
    let Some(_alone) = ready!() else { return };
    let network = Network::apart();
    let [a, b] = ["client", "server"].map(|side| network.namespace(side));
    network.ip("client", "link add br0 type bridge");
    network.ip("client", &format!("link add port0 type veth peer name eth0 netns {b}"));
    network.ip("client", "link set port0 master br0");
    network.ip("client", "link add left type veth peer name right");
    network.ip("client", "addr add 198.51.100.1/24 dev br0");
    network.ip("server", "addr add 198.51.100.2/24 dev eth0");
    network.ip("client", "link set port0 up");
    network.ip("server", "link set eth0 mtu 1400 up");
    let tunnel = "id 42 dev eth0 local 198.51.100.2 remote 198.51.100.1 dstport 4789";
    network.ip("server", &format!("link add tun0 type vxlan {tunnel}"));

    let topology = scan().unwrap();
    assert_eq!(topology.namespaces[0].name, "host");
    let (a, b) = (inum(&topology, &a), inum(&topology, &b));
    let bridge = topology.device(a, index(&topology, a, "br0")).unwrap();
    let port = topology.device(a, index(&topology, a, "port0")).unwrap();
    let inside = topology.device(b, index(&topology, b, "eth0")).unwrap();
    assert_eq!((bridge.kind.as_str(), port.kind.as_str(), inside.kind.as_str()), ("bridge", "veth", "veth"));
    assert_eq!(port.master, Some(bridge.ifindex));
    assert_eq!(port.peer, Some((b, inside.ifindex)));
    assert_eq!(inside.peer, Some((a, port.ifindex)));
    assert_eq!((inside.mtu, inside.up, bridge.up), (1400, true, false));
    assert_eq!(inside.qdisc, "noqueue");
    assert!(inside.addresses.iter().any(|address| address == "198.51.100.2/24"), "{:?}", inside.addresses);
    let left = topology.device(a, index(&topology, a, "left")).unwrap();
    assert_eq!(left.peer, Some((a, index(&topology, a, "right"))));
    let vxlan = topology.device(b, index(&topology, b, "tun0")).unwrap();
    assert_eq!(vxlan.lower, Some((b, inside.ifindex)));
    let parameters = vxlan.tunnel.clone().unwrap();
    assert_eq!((parameters.id, parameters.port), (Some(42), Some(4789)));
    assert_eq!(parameters.remote.as_deref(), Some("198.51.100.1"));
    let lo = topology.device(b, 1).unwrap();
    assert_eq!((lo.name.as_str(), lo.kind.as_str(), lo.peer), ("lo", "loopback", None));
    assert!(device_stats().unwrap().iter().any(|stats| stats.netns == b && stats.ifindex == inside.ifindex));
}

/// Sends them over the loopback, to a socket that stays until all have come.
fn four_datagrams() -> std::io::Result<()> {
    let (from, to) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    for _ in 0..4 {
        from.send_to(b"hello", to.local_addr()?)?;
        to.recv(&mut [0; 8])?;
    }
    Ok(())
}

#[test]
fn a_watch_keeps_a_namespace_that_came_and_went_and_holds_nothing() {
    let Some(_alone) = ready!() else { return };
    let network = Network::apart();
    let [long, short] = ["client", "short"].map(|side| network.namespace(side));
    let watcher = Watcher::start().unwrap();
    network.add("short");
    network.ip("client", &format!("link add out type veth peer name in netns {short}"));
    let of = |topology: &Topology, name: &str| -> Vec<String> {
        let Some(netns) = topology.namespaces.iter().find(|namespace| namespace.name == name) else {
            return Vec::new();
        };
        let devices = topology.devices.iter().filter(|device| device.netns == netns.inum);
        devices.map(|device| device.name.clone()).collect()
    };
    until("a scan that sees the namespace and its devices", || {
        of(&watcher.current(), &short).contains(&"in".to_owned())
    });
    network.inside("short", || four_datagrams().unwrap()).join().unwrap();
    // The counters of the last scan before the end are what is kept of it. The scan of a device that comes now sees them.
    network.ip("client", "link add later type veth peer name more");
    until("a scan after the traffic", || of(&watcher.current(), &long).contains(&"later".to_owned()));
    network.remove("short");
    until("a scan that finds the namespace gone", || of(&watcher.current(), &short).is_empty());

    // A namespace that something held would keep its end of the pair, and so this end, alive.
    until("the end of the pair", || !of(&watcher.current(), &long).contains(&"out".to_owned()));
    let seen = watcher.finish();
    let (long, short) = (inum(&seen.topology, &long), inum(&seen.topology, &short));
    let out = seen.topology.device(long, index(&seen.topology, long, "out")).unwrap();
    assert_eq!(out.peer, Some((short, index(&seen.topology, short, "in"))));
    let lo = seen.counters.iter().find(|stats| stats.netns == short && stats.ifindex == 1).unwrap();
    assert_eq!(lo.rx_packets, 4);
}

/// CPU time of this process so far, in clock ticks of 10 ms.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A measurement, not a promise: run it alone with `--release --ignored --nocapture`.
#[test]
#[ignore = "takes 20 s and wants a quiet machine"]
fn the_cost_of_watching_300_processes() {
    let _sleepers: Vec<_> = (0..300).map(|_| Process::quiet(Command::new("sleep").arg("60"))).collect();
    let watcher = Watcher::start().unwrap();
    let before = cpu_ticks();
    sleep(Duration::from_secs(20));
    let share = (cpu_ticks() - before) as f64 / 2000.0;
    let seen = watcher.finish();
    println!("{:.2} % of one CPU, {} devices", share * 100.0, seen.topology.devices.len());
    assert!(share < 0.05);
}
