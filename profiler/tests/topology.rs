//! The topology of namespaces made for the test, on the live kernel. Needs root and `ip`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use netstrata::topology::{Topology, Watcher, device_stats, scan};

/// The tests share names of namespaces.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const A: &str = "nstest-top-a";
const B: &str = "nstest-top-b";
const SHORT: &str = "nstest-top-short";

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Removes the namespaces of the tests, whatever happened.
struct Namespaces;

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [A, B, SHORT] {
            // Most are not there; what fails here is seen by the next test.
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// Whether the test can run; prints the reason if not.
fn allowed() -> bool {
    let uid = std::fs::read_to_string("/proc/self/status").unwrap();
    let root = uid.lines().any(|line| line.split_whitespace().take(3).eq(["Uid:", "0", "0"]));
    if !root {
        println!("skipped: needs root");
        return false;
    }
    if Command::new("ip").arg("-V").output().is_err() {
        println!("skipped: needs ip of iproute2");
        return false;
    }
    true
}

/// Waits for what the watcher sees at its next scan, up to 5 s later on a busy machine.
fn until(condition: impl Fn() -> bool) -> bool {
    (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        condition()
    })
}

fn inum(topology: &Topology, name: &str) -> u32 {
    topology.namespaces.iter().find(|namespace| namespace.name == name).unwrap().inum
}

fn index(topology: &Topology, netns: u32, name: &str) -> u32 {
    topology.devices.iter().find(|device| device.netns == netns && device.name == name).unwrap().ifindex
}

#[test]
fn a_scan_sees_kinds_masters_and_peers_across_namespaces() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !allowed() {
        return;
    }
    let _guard = Namespaces;
    drop(Namespaces);
    ip(&format!("netns add {A}"));
    ip(&format!("netns add {B}"));
    ip(&format!("-n {A} link add br0 type bridge"));
    ip(&format!("-n {A} link add port0 type veth peer name eth0 netns {B}"));
    ip(&format!("-n {A} link set port0 master br0"));
    ip(&format!("-n {A} link add left type veth peer name right"));
    ip(&format!("-n {A} addr add 198.51.100.1/24 dev br0"));
    ip(&format!("-n {B} addr add 198.51.100.2/24 dev eth0"));
    ip(&format!("-n {A} link set port0 up"));
    ip(&format!("-n {B} link set eth0 mtu 1400 up"));
    let tunnel = ["vxlan", "id 42 dev eth0 local 198.51.100.2 remote 198.51.100.1 dstport 4789"].join(" ");
    ip(&format!("-n {B} link add tun0 type {tunnel}"));

    let topology = scan().unwrap();
    assert_eq!(topology.namespaces[0].name, "host");
    let (a, b) = (inum(&topology, A), inum(&topology, B));
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

#[test]
fn a_watch_keeps_a_namespace_that_came_and_went_and_holds_nothing() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !allowed() {
        return;
    }
    let _guard = Namespaces;
    drop(Namespaces);
    ip(&format!("netns add {A}"));
    let watcher = Watcher::start().unwrap();
    ip(&format!("netns add {SHORT}"));
    ip(&format!("-n {SHORT} link set lo up"));
    ip(&format!("-n {A} link add out type veth peer name in netns {SHORT}"));
    std::thread::sleep(Duration::from_millis(900));
    let traffic = Command::new("ip").args(["netns", "exec", SHORT, "ping", "-c2", "-i0.2", "127.0.0.1"]).output();
    let pinged = traffic.is_ok_and(|output| output.status.success());
    std::thread::sleep(Duration::from_millis(1300));
    let is_there = |topology: &Topology| topology.namespaces.iter().any(|namespace| namespace.name == SHORT);
    assert!(until(|| is_there(&watcher.current())));
    // The counters of the last scan before the end are what is kept of it.
    std::thread::sleep(Duration::from_secs(5));
    ip(&format!("netns del {SHORT}"));
    assert!(until(|| !is_there(&watcher.current())));

    // A namespace that something held would keep its end of the pair, and so this end, alive.
    let now = watcher.current();
    let a = inum(&now, A);
    assert!(!now.devices.iter().any(|device| device.netns == a && device.name == "out"));
    let seen = watcher.finish();
    let (a, short) = (inum(&seen.topology, A), inum(&seen.topology, SHORT));
    let out = seen.topology.device(a, index(&seen.topology, a, "out")).unwrap();
    assert_eq!(out.peer, Some((short, index(&seen.topology, short, "in"))));
    let lo = seen.counters.iter().find(|stats| stats.netns == short && stats.ifindex == 1).unwrap();
    if pinged {
        assert_eq!(lo.rx_packets, 4, "two requests and two replies");
    }
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
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sleepers: Vec<_> = (0..300).map(|_| Command::new("sleep").arg("60").spawn().unwrap()).collect();
    let watcher = Watcher::start().unwrap();
    let before = cpu_ticks();
    std::thread::sleep(Duration::from_secs(20));
    let share = (cpu_ticks() - before) as f64 / 2000.0;
    let seen = watcher.finish();
    for sleeper in &mut sleepers {
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
    println!("{:.2} % of one CPU, {} devices", share * 100.0, seen.topology.devices.len());
    assert!(share < 0.05);
}
