//! What becomes of packets where no journey can tell: XDP programs drop them, send them back or redirect them. Live; needs
//! root and ethtool.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::OwnedFd,
    thread,
    time::Duration,
};

use netstrata::profile::{Profile, read};
use netstrata_common::{Edge, End, Layer, Point, Protocol};
use serde_json::Value;
use support::{
    directory::Directory, inject, netstrata, network::Network, recording::Recording, report::report, succeeded,
    traffic::Traffic,
};

const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;
const XDP_TX: i32 = 3;
const DATAGRAMS: u64 = 300;

/// Attaches an XDP program to a device; it goes with what is returned.
fn attach(network: &Network, side: &str, device: &str, program: &[u64]) -> OwnedFd {
    let program = inject::load(6, program, "load the XDP program"); // BPF_PROG_TYPE_XDP
    inject::link(&program, &network.path(side), device, 37) // BPF_XDP
}

/// A program that answers the same for every packet.
fn answers(verdict: i32) -> [u64; 2] {
    [inject::instruction(0xb7, 0, 0, 0, verdict), inject::instruction(0x95, 0, 0, 0, 0)]
}

/// A program that redirects every packet to a device.
fn redirects(index: u32) -> [u64; 4] {
    [
        inject::instruction(0xb7, 1, 0, 0, index as i32),
        inject::instruction(0xb7, 2, 0, 0, 0),
        inject::instruction(0x85, 0, 0, 0, 23), // bpf_redirect
        inject::instruction(0x95, 0, 0, 0, 0),
    ]
}

/// Two sides that know each other's hardware addresses: a program that keeps all packets keeps questions for them, too.
fn pair() -> Network {
    let network = Network::pair();
    for (side, other, device, at, ip) in
        [("client", "server", "left", "right", "10.203.0.3"), ("server", "client", "right", "left", "10.203.0.2")]
    {
        let found: Value = serde_json::from_str(&network.run(other, &["ip", "-j", "link", "show", at])).unwrap();
        let hardware = found[0]["address"].as_str().unwrap().to_owned();
        network.ip(side, &format!("neigh add {ip} lladdr {hardware} dev {device}"));
    }
    network
}

/// Datagrams from the client to the server, which need not arrive.
fn send(network: &Network) {
    let to: SocketAddr = "10.203.0.3:9".parse().unwrap();
    let work = move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..DATAGRAMS {
            socket.send_to(&[7; 100], to).unwrap();
            thread::sleep(Duration::from_micros(200));
        }
    };
    network.inside("client", work).join().unwrap();
}

/// A recording of all packets of a network; with the profile, what the reports say of it.
fn recorded(network: &Network, traffic: impl FnOnce()) -> (Profile, Value, String) {
    let directory = Directory::new();
    let file = directory.file("profile");
    let recording = Recording::start(&file, &["--sample-every", "1", "--netns", &network.namespace("client")]);
    traffic();
    recording.stop(&file);
    let text = succeeded(&netstrata(&["report", file.to_str().unwrap()]));
    (read(&file).unwrap(), report(&file), text)
}

fn device<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["devices"].as_array().unwrap().iter().find(|row| row["device"] == name).unwrap()
}

#[test]
fn what_an_xdp_program_drops_is_told_beside_the_devices_counter() {
    let Some(_alone) = ready!("nsenter") else { return };
    let network = pair();
    let _program = attach(&network, "server", "right", &answers(XDP_DROP));
    let (profile, report, text) = recorded(&network, || send(&network));
    let row = device(&report, "right");
    assert_eq!(row["xdp"], "driver", "{row}");
    assert!(row["rx_packets"].as_u64().unwrap() >= DATAGRAMS && row["went_on"].as_u64().unwrap() < 10, "{row}");
    assert!(text.contains("XDP (driver) at right in"), "{text}");
    // All of them were followed until they were gone.
    let sent = profile.paths.iter().filter(|path| path.protocol == Protocol::UDP);
    assert_eq!(sent.map(|path| path.packets).sum::<u64>(), DATAGRAMS, "{text}");
}

/// The most connections that are tracked on this machine; put back when dropped.
struct Tracked(String);

const MOST: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

impl Tracked {
    fn at_most(count: u32) -> Option<Self> {
        let before = std::fs::read_to_string(MOST).ok()?;
        std::fs::write(MOST, count.to_string()).ok().map(|()| Self(before))
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let _ = std::fs::write(MOST, &self.0);
    }
}

#[test]
fn what_connection_tracking_has_no_room_for_is_told_apart_from_what_rules_drop() {
    let Some(_alone) = ready!("nsenter", "nft") else { return };
    let network = pair();
    let rules =
        "table ip t { chain c { type filter hook input priority 0; ct state invalid drop; udp dport 7 drop; }; }";
    inject::fed(&network.path("server"), &["nft", "-f", "-"], rules);
    let Some(_tracked) = Tracked::at_most(64) else { skip!("this kernel tracks no connections") };
    let (profile, _, text) = recorded(&network, || {
        let work = || {
            for _ in 0..DATAGRAMS {
                // Each from a port of its own is a connection of its own; what a rule drops is none.
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.send_to(&[7; 100], "10.203.0.3:9").unwrap();
                socket.send_to(&[7; 100], "10.203.0.3:7").unwrap();
            }
        };
        network.inside("client", work).join().unwrap();
    });
    let server = network.inode("server");
    let of = |reason: &str| -> u64 {
        profile.drops.iter().filter(|drop| drop.netns == server && drop.reason == reason).map(|drop| drop.count).sum()
    };
    let full = of("CONNTRACK_FULL");
    assert!((DATAGRAMS - 64..=2 * DATAGRAMS).contains(&full), "{full}\n{text}");
    assert!(text.contains("CONNTRACK_FULL in nf_hook_slow at right"), "{text}");
    let dropped = profile.paths.iter().filter(|path| path.end == End::Dropped && path.protocol == Protocol::UDP);
    let dropped: u64 = dropped.map(|path| path.packets).sum();
    assert!(dropped >= full, "{dropped} journeys were dropped, {full} packets had no room\n{text}");
}

#[test]
fn what_an_xdp_program_sends_back_is_followed_to_where_it_came_from() {
    let Some(_alone) = ready!("nsenter", "ethtool") else { return };
    let network = pair();
    // A veth takes frames back only where it polls a ring.
    let _programs =
        [attach(&network, "client", "left", &answers(XDP_PASS)), attach(&network, "server", "right", &answers(XDP_TX))];
    let (profile, report, text) = recorded(&network, || send(&network));
    let client = network.inode("client");
    let back = profile.paths.iter().filter(|path| {
        path.edges.iter().any(|(at, edge)| {
            let at = path.crossings[usize::from(*at)];
            *edge == Edge::Rebuild && at.point == Point::Gro && at.netns == client
        })
    });
    let back: u64 = back.map(|path| path.packets).sum();
    assert!(back >= DATAGRAMS * 9 / 10, "{back} of {DATAGRAMS}: {}\n{text}", report["devices"]);
    assert!(device(&report, "right")["went_on"].as_u64().unwrap() < 10, "{text}");
}

#[test]
fn what_xdp_programs_redirect_between_veths_is_followed_to_its_reader() {
    let Some(_alone) = ready!("nsenter", "ethtool") else { return };
    let network = Network::bridge();
    let index = |device: &str| {
        let found: Value = serde_json::from_str(&network.run("middle", &["ip", "-j", "link", "show", device])).unwrap();
        found[0]["ifindex"].as_u64().unwrap() as u32
    };
    for side in ["client", "server"] {
        // A frame takes no word of an unfinished checksum along.
        network.run(side, &["ethtool", "-K", "eth0", "gro", "on", "tx", "off"]);
    }
    // As a load balancer does: the bridge sees none of it.
    let _programs = [
        attach(&network, "middle", "veth-client", &redirects(index("veth-server"))),
        attach(&network, "middle", "veth-server", &redirects(index("veth-client"))),
    ];
    let traffic = Traffic { pinned: true, ..Traffic::REQUESTS };
    let (profile, report, text) = recorded(&network, || {
        let mut server = traffic.serve(&network);
        succeeded(&support::command(&traffic.client(&network)).output().unwrap());
        server.end();
    });
    let [client, server] = [network.inode("client"), network.inode("server")];
    let requests = || {
        profile.paths.iter().filter(|path| {
            let first = path.crossings[0].netns;
            path.protocol == Protocol::TCP && path.payload_bytes > 0 && first == client
        })
    };
    let all: u64 = requests().map(|path| path.packets).sum();
    let read = requests().filter(|path| path.end == End::Copied && path.crossings.last().unwrap().netns == server);
    let read: u64 = read.map(|path| path.packets).sum();
    assert!(all > 100 && read * 10 >= all * 9, "{read} of {all} requests were followed to their reader\n{text}");
    let spans = |path: &Value| path["spans"].as_array().unwrap().clone();
    let by_xdp =
        report["paths"].as_array().unwrap().iter().flat_map(spans).any(|span| {
            span["layer"] == Layer::Xdp.name() && span["device"] == "veth-client" && span["kind"] == "wait"
        });
    assert!(by_xdp, "{text}");
    assert!(device(&report, "veth-client")["went_on"].as_u64().unwrap() < 10, "{text}");
}
