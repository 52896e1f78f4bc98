//! One packet becomes several, several become one: with offloads on and off, what journeys count agrees with what
//! devices, protocols and the reading program count. Live; needs root and ethtool.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    os::fd::OwnedFd,
    sync::mpsc,
    thread,
    time::Duration,
};

use netstrata::profile::{PathRecord, Profile};
use netstrata_common::{Edge, End, Loss, Point, Protocol};
use support::{
    counters::{sent, set_option, snmp, tcp, with_room},
    directory::Directory,
    inject,
    network::Network,
    recording::Recording,
    wait::PATIENCE,
};

const PORT: u16 = 5310;
const TCP: Protocol = Protocol::TCP;
const UDP: Protocol = Protocol::UDP;

/// What counters said during a recording.
struct Counted {
    profile: Profile,
    /// Bytes that the reading program got.
    read: u64,
    /// skbs that the client's device transmitted.
    sent: u64,
    /// skbs that IP received at the server.
    received: u64,
    client: u32,
    server: u32,
}

/// Switches a feature of every device of the network.
fn set(network: &Network, feature: &str, on: bool) {
    for (side, device) in [("client", "eth0"), ("server", "eth0"), ("middle", "veth-client"), ("middle", "veth-server")]
    {
        network.run(side, &["ethtool", "-K", device, feature, if on { "on" } else { "off" }]);
    }
}

/// Records every packet of the network while the traffic flows.
fn record(network: &Network, traffic: impl FnOnce(&Network) -> u64) -> Counted {
    let directory = Directory::new();
    let file = directory.file("profile");
    let recording = Recording::start(&file, &["--sample-every", "1", "--netns", &network.namespace("client")]);
    // skbs: of the second, after GRO.
    let counters = || (sent(network, "client", "eth0"), snmp(network, "server", "Ip", "InReceives"));
    let before = counters();
    let read_bytes = traffic(network);
    let after = counters();
    Counted {
        profile: recording.stop(&file),
        read: read_bytes,
        sent: after.0 - before.0,
        received: after.1 - before.1,
        client: network.inode("client"),
        server: network.inode("server"),
    }
}

/// Sends messages of `pieces` datagrams of `size` bytes each with UDP segmentation; the bytes that arrived.
fn udp(network: &Network, to: &str, messages: usize, pieces: usize, size: u16) -> u64 {
    let address: SocketAddr = format!("{to}:{PORT}").parse().unwrap();
    let (ready, is_ready) = mpsc::channel();
    let server = network.inside("server", move || {
        let socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        with_room(&socket);
        ready.send(()).unwrap();
        let (mut buffer, mut total) = (vec![0; 1 << 16], 0);
        while let Ok(count) = socket.recv(&mut buffer) {
            total += count as u64;
        }
        total
    });
    is_ready.recv_timeout(PATIENCE).unwrap();
    let client = network.inside("client", move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_broadcast(true).unwrap();
        if pieces > 1 {
            const UDP_SEGMENT: i32 = 103;
            set_option(&socket, libc::SOL_UDP, UDP_SEGMENT, i32::from(size));
        }
        let message = vec![7; usize::from(size) * pieces];
        for _ in 0..messages {
            socket.send_to(&message, address).unwrap();
            // The receiver's buffer is small.
            thread::sleep(Duration::from_millis(2));
        }
    });
    client.join().unwrap();
    server.join().unwrap()
}

impl Counted {
    /// Paths of the data.
    fn data(&self, protocol: Protocol) -> impl Iterator<Item = &PathRecord> {
        self.profile.paths.iter().filter(move |path| {
            path.protocol == protocol && path.crossings.first().is_some_and(|crossing| crossing.netns == self.client)
        })
    }

    fn edges(&self, protocol: Protocol) -> BTreeSet<Edge> {
        self.data(protocol).flat_map(|path| &path.edges).map(|(_, edge)| *edge).collect()
    }

    /// What a recording may miss, as it says itself.
    fn lost(&self) -> u64 {
        [Loss::SlotBusy, Loss::ClonesLost, Loss::InFlightAtEnd, Loss::PathTooLong, Loss::PathsFull]
            .iter()
            .map(|loss| self.profile.lost[loss])
            .sum()
    }

    /// Nothing is lost unreported, nothing counted twice.
    fn check(&self, protocol: Protocol, what: &str) {
        let (data, ends) = (|| self.data(protocol), [End::Copied, End::Merged]);
        let lost = self.lost();
        let delivered: u64 = data()
            .filter(|path| ends.contains(&path.end) && path.crossings.last().unwrap().netns == self.server)
            .map(|path| path.payload_bytes)
            .sum();
        // A lost packet carries 64 KiB at most. Where a busy machine drains the tables late some are thinned: the others stand for them,
        // by chance, give or take four standard deviations.
        let sampling = &self.profile.sampling;
        let thinned = sampling.packets.saturating_sub(sampling.followed);
        let chance = (4.0 * (thinned as f64).sqrt()) as u64 * 65536;
        let missing = lost * 65536;
        assert!(
            delivered <= self.read / 100 * 101 + chance && delivered + missing + chance >= self.read / 100 * 99,
            "{what}: {delivered} bytes delivered, {} read, {lost} packets lost, {thinned} thinned",
            self.read
        );
        // A device counts the segments that it is given; others count with what they carry.
        let originals = || self.profile.paths.iter().filter(|path| !path.is_clone());
        let from_client = || {
            originals()
                .filter(|path| path.crossings.iter().any(|crossing| crossing.ifindex != 0))
                .filter(|path| path.crossings.first().is_some_and(|crossing| crossing.netns == self.client))
        };
        let seen: u64 = from_client()
            .map(|path| {
                let cut = path.edges.first().is_some_and(|(at, edge)| *at <= 2 && *edge == Edge::Segment);
                let alone = path.end == End::Consumed && path.crossings.len() <= 2 && path.wire_packets > path.packets;
                if cut || alone { path.wire_packets } else { path.packets }
            })
            .sum();
        let allowed = lost * 45 + 12; // packets that were on their way when counting began and ended
        assert!(
            seen.abs_diff(self.sent) <= allowed.max(self.sent / 200),
            "{what}: {seen} seen, {} sent, {lost} lost",
            self.sent
        );
    }

    /// skbs that reached the server's stack, as journeys count them.
    fn arrived(&self) -> f64 {
        let at_server = |path: &&PathRecord| {
            path.crossings.iter().any(|crossing| crossing.netns == self.server && crossing.point == Point::Receive)
        };
        let from_client = self.profile.paths.iter().filter(|path| path.crossings[0].netns == self.client);
        from_client.filter(at_server).map(|path| path.skbs_at_end_micro as f64 / 1e6).sum()
    }
}

/// An XDP program that passes every packet; it goes with its descriptor.
fn pass_through_xdp(network: &Network, side: &str, device: &str) -> OwnedFd {
    let program = [inject::instruction(0xb7, 0, 0, 0, 2), inject::instruction(0x95, 0, 0, 0, 0)]; // return XDP_PASS
    let program = inject::load(6, &program, "load the XDP program"); // BPF_PROG_TYPE_XDP
    inject::link(&program, &network.path(side), device, 37) // BPF_XDP
}

#[test]
fn tcp_counts_right_with_every_offload_on_and_off() {
    let Some(_alone) = ready!("ethtool") else { return };
    for (tso, gso, gro) in
        [(true, true, false), (false, true, false), (false, false, false), (true, true, true), (false, true, true)]
    {
        let network = Network::bridge();
        set(&network, "tso", tso);
        set(&network, "gso", gso);
        set(&network, "gro", gro);
        let what = format!("tso {tso}, gso {gso}, gro {gro}");
        let counted = record(&network, |network| tcp(network, PORT, 24 << 20));
        counted.check(TCP, &what);
        let edges = counted.edges(TCP);
        assert_eq!(edges.contains(&Edge::Segment), !tso, "{what}: {edges:?}");
        assert_eq!(edges.contains(&Edge::Merge), !tso && gro, "{what}: {edges:?}");
        let (arrived, received) = (counted.arrived(), counted.received as f64);
        let slack = received * 0.05 + (counted.lost() * 45) as f64 + 12.0;
        assert!((arrived - received).abs() <= slack, "{what}: {arrived} skbs arrived by journeys, {received} by IP");
    }
}

#[test]
fn udp_counts_right_with_segmentation_in_the_device_and_in_software() {
    let Some(_alone) = ready!("ethtool") else { return };
    for offload in [true, false] {
        let network = Network::bridge();
        set(&network, "tx-udp-segmentation", offload);
        let counted = record(&network, |network| udp(network, network.address(), 60, 20, 1000));
        let what = format!("UDP segmentation in the device {offload}");
        assert_eq!(counted.read, 60 * 20 * 1000, "{what}: the socket's buffer overflowed");
        counted.check(UDP, &what);
        // What no device cut is cut by the socket, which takes no large datagrams.
        let cut = |early: bool| {
            let edges = counted.data(UDP).flat_map(|path| &path.edges);
            edges.into_iter().any(|(at, edge)| *edge == Edge::Segment && (*at <= 2) == early)
        };
        assert_eq!((cut(true), cut(false)), (!offload, offload), "{what}");
    }
}

#[test]
fn packets_that_xdp_rebuilds_go_on() {
    let Some(_alone) = ready!() else { return };
    let network = Network::bridge();
    let _program = pass_through_xdp(&network, "server", "eth0");
    let counted = record(&network, |network| tcp(network, PORT, 4 << 20));
    counted.check(TCP, "XDP at the server");
    let rebuilt: u64 = counted
        .data(TCP)
        .filter(|path| path.edges.iter().any(|(_, edge)| *edge == Edge::Rebuild))
        .map(|path| path.packets)
        .sum();
    let all: u64 = counted.data(TCP).map(|path| path.packets).sum();
    assert!(rebuilt * 2 > all, "{rebuilt} of {all} packets were followed through the copy");
}

#[test]
fn clones_of_a_flooding_bridge_are_followed_and_count_once() {
    let Some(_alone) = ready!() else { return };
    let network = Network::bridge();
    for port in ["more1", "more2"] {
        network.ip("middle", &format!("link add {port} type veth peer name {port}p"));
        network.ip("middle", &format!("link set {port} master br0 up"));
        network.ip("middle", &format!("link set {port}p up"));
    }
    let counted = record(&network, |network| udp(network, "10.203.0.255", 40, 1, 500));
    assert_eq!(counted.read, 40 * 500);
    counted.check(UDP, "broadcast");
    let clones: u64 = counted.data(UDP).filter(|path| path.is_clone()).map(|path| path.packets).sum();
    // Two of the three ports' copies, and the bridge's own, are clones.
    assert!(clones + counted.lost() >= 80, "{clones} clones of 40 broadcasts to three ports");
}
