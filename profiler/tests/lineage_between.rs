//! What lies between two programs: shapers that cut, ifb devices, fragments, copies and sniffers. What journeys count agrees
//! with what protocols, devices and the reading program count. Live; needs root and tc.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::mpsc,
    thread,
    time::Duration,
};

use netstrata::{
    analysis::{SpanKind, classify},
    profile::{PathRecord, Profile},
};
use netstrata_common::{Edge, End, Layer, Loss, Point, Protocol};
use support::{
    command,
    counters::{sent, set_option, snmp, tcp, with_room},
    directory::Directory,
    network::Network,
    ready::say_left_out,
    recording::Recording,
    wait::PATIENCE,
};

const PORT: u16 = 5311;
const TCP: Protocol = Protocol::TCP;
const UDP: Protocol = Protocol::UDP;

/// Records every packet of the machine while something happens.
fn record<T>(work: impl FnOnce() -> T) -> (Profile, T) {
    let directory = Directory::new();
    let file = directory.file("profile");
    let recording = Recording::start(&file, &["--sample-every", "1"]);
    let result = work();
    (recording.stop(&file), result)
}

/// `tc` in a namespace; false where this kernel cannot do that.
fn tc(network: &Network, side: &str, words: &str) -> bool {
    let words: Vec<&str> = ["tc"].into_iter().chain(words.split(' ')).collect();
    command(&network.enter(side, &words)).output().unwrap().status.success()
}

/// How messages are sent.
#[derive(Clone, Copy)]
enum Sent {
    Plainly,
    /// The kernel cuts each into segments of so many bytes.
    InSegments(i32),
    /// Whatever IP has learned of the way.
    AsTheDeviceTakesThem,
}

/// Sends messages to a datagram socket of the server; how many it read.
fn udp(network: &Network, from: &str, to: &str, messages: usize, size: usize, sent: Sent) -> u64 {
    let address: SocketAddr = format!("{to}:{PORT}").parse().unwrap();
    let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let (ready, is_ready) = mpsc::channel();
    let server = network.inside("server", move || {
        let mut own: SocketAddr = any.parse().unwrap();
        own.set_port(PORT);
        let socket = UdpSocket::bind(own).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        with_room(&socket);
        ready.send(()).unwrap();
        let (mut buffer, mut count) = (vec![0; 1 << 16], 0);
        while socket.recv(&mut buffer).is_ok() {
            count += 1;
        }
        count
    });
    is_ready.recv_timeout(PATIENCE).unwrap();
    let client = network.inside(from, move || {
        const UDP_SEGMENT: i32 = 103;
        const IP_PMTUDISC_OMIT: i32 = 5;
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_broadcast(true).unwrap();
        match sent {
            Sent::Plainly => {}
            Sent::InSegments(size) => set_option(&socket, libc::SOL_UDP, UDP_SEGMENT, size),
            Sent::AsTheDeviceTakesThem => set_option(&socket, libc::SOL_IP, libc::IP_MTU_DISCOVER, IP_PMTUDISC_OMIT),
        }
        for _ in 0..messages {
            socket.send_to(&vec![7; size], address).unwrap();
            thread::sleep(Duration::from_millis(3));
        }
    });
    client.join().unwrap();
    server.join().unwrap()
}

/// Paths of data that began in a namespace of the network.
fn data<'a>(profile: &'a Profile, network: &Network, from: &str, protocol: Protocol) -> Vec<&'a PathRecord> {
    let netns = network.inode(from);
    let begins =
        |path: &&PathRecord| path.protocol == protocol && path.crossings[0].netns == netns && path.payload_bytes > 0;
    profile.original_paths().filter(begins).collect()
}

/// Those that come to a reader of the server, or go on with other data there.
fn arrived<'a>(paths: &[&'a PathRecord], network: &Network) -> Vec<&'a PathRecord> {
    let netns = network.inode("server");
    let is_at_reader = |path: &PathRecord| {
        let last = path.crossings.last().unwrap();
        let is_announced = path.protocol == UDP && matches!(last.point, Point::Ready | Point::ReadyWake);
        last.netns == netns && (matches!(path.end, End::Copied | End::Merged) || is_announced)
    };
    paths.iter().copied().filter(|path| is_at_reader(path)).collect()
}

fn packets(paths: &[&PathRecord]) -> u64 {
    paths.iter().map(|path| path.packets).sum()
}

fn wire(paths: &[&PathRecord]) -> u64 {
    paths.iter().map(|path| path.wire_packets).sum()
}

fn at_end(paths: &[&PathRecord]) -> f64 {
    paths.iter().map(|path| path.skbs_at_end_micro as f64 / 1e6).sum()
}

fn bytes(paths: &[&PathRecord]) -> u64 {
    paths.iter().map(|path| path.payload_bytes).sum()
}

/// Packets that go by this edge at that device.
fn by_edge(profile: &Profile, paths: &[&PathRecord], edge: Edge, device: &str) -> u64 {
    let is_there = |path: &&&PathRecord| {
        path.edges.iter().filter(|(_, own)| *own == edge).any(|(at, _)| {
            let crossing = path.crossings[usize::from(*at)];
            profile.topology.device(crossing.netns, crossing.ifindex).is_some_and(|found| found.name == device)
        })
    };
    paths.iter().filter(is_there).map(|path| path.packets).sum()
}

/// What a recording may miss, as it says itself.
fn lost(profile: &Profile) -> u64 {
    let losses = [Loss::SlotBusy, Loss::ClonesLost, Loss::InFlightAtEnd, Loss::PathTooLong, Loss::PathsFull];
    losses.iter().map(|loss| profile.lost[loss]).sum()
}

/// As much as was counted elsewhere, but for what the recording says that it lost.
fn check(what: &str, seen: f64, counted: u64, lost: u64) {
    let counted = counted as f64;
    let (low, high) = (0.97 * counted - lost as f64 - 2.0, 1.03 * counted + 2.0);
    assert!((low..=high).contains(&seen), "{what}: {seen} by journeys, {counted} counted, {lost} lost");
}

/// Mean of the waits in a device's queue, nanoseconds; `None` where the kernel does not tell when packets come there.
fn wait_at(profile: &Profile, paths: &[&PathRecord], device: &str) -> Option<f64> {
    let (mut sum, mut count) = (0, 0);
    for path in paths {
        for (index, span) in path.spans.iter().enumerate() {
            let class = classify(path, index, &profile.topology);
            if class.layer == Some(Layer::Qdisc) && class.kind == SpanKind::Wait && class.device == device {
                (sum, count) = (sum + span.sum, count + span.count);
            }
        }
    }
    (count > 0).then(|| sum as f64 / count as f64)
}

/// Every span has a layer, and IP none where it does not run.
fn check_layers(profile: &Profile, paths: &[&PathRecord], bridge: u32) {
    for path in paths {
        for index in 0..path.spans.len() {
            let class = classify(path, index, &profile.topology);
            assert!(class.layer.is_some(), "span {index} of {:?}", path.crossings);
            assert!(class.layer != Some(Layer::Ip) || class.netns != bridge, "span {index} of {:?}", path.crossings);
        }
    }
}

/// What one piece takes at 100 Mbit/s: where every packet is cut into several, the mean wait is longer.
const PIECE_NS: f64 = 120_000.0;

#[test]
fn pieces_that_a_shaper_cuts_lie_in_its_queue_and_go_on() {
    let Some(_alone) = ready!("tc") else { return };
    let network = Network::bridge();
    // Its burst is one packet, a few, or one of the large ones, which it takes whole.
    for burst in ["1600", "8kb", "256kb"] {
        let shaper = format!("qdisc replace dev veth-server root tbf rate 100mbit burst {burst} latency 200ms");
        if !tc(&network, "middle", &shaper) {
            return say_left_out(test_name!(), "shapers", "this kernel has no token bucket");
        }
        let (profile, read) = record(|| tcp(&network, PORT, 4 << 20));
        let paths = data(&profile, &network, "client", TCP);
        let lost = lost(&profile);
        check(&format!("burst {burst}: bytes"), bytes(&arrived(&paths, &network)) as f64, read, lost * 65536);
        let cut = by_edge(&profile, &paths, Edge::Segment, "veth-server");
        assert_eq!(cut > 0, burst != "256kb", "burst {burst}: {cut} packets were cut at the shaper");
        let waits = wait_at(&profile, &paths, "veth-server");
        assert!(waits.is_none_or(|mean| mean > PIECE_NS), "burst {burst}: a mean wait of {waits:?} ns");
    }
    // Datagrams have no numbers; IPv6's packets have none at all.
    network.ip("client", "addr add fd03::2/64 dev eth0 nodad");
    network.ip("server", "addr add fd03::3/64 dev eth0 nodad");
    assert!(tc(&network, "middle", "qdisc replace dev veth-server root tbf rate 100mbit burst 3kb latency 400ms"));
    for to in [network.address(), "[fd03::3]"] {
        let (profile, read) = record(|| udp(&network, "client", to, 30, 20_000, Sent::InSegments(1000)));
        let paths = data(&profile, &network, "client", UDP);
        check(&format!("{to}: messages"), packets(&paths) as f64, 30, lost(&profile));
        check(&format!("{to}: datagrams"), at_end(&arrived(&paths, &network)), read, lost(&profile) * 20);
    }
}

#[test]
fn packets_that_tc_redirects_to_an_ifb_device_lie_in_its_queue_and_go_on() {
    let Some(_alone) = ready!("tc") else { return };
    for (port, direction) in [("veth-client", "ingress"), ("veth-server", "egress")] {
        let network = Network::bridge();
        network.ip("middle", "link add ifb9 type ifb");
        network.ip("middle", "link set ifb9 addrgenmode none up");
        let filter = format!(
            "filter add dev {port} {direction} protocol all u32 match u32 0 0 action mirred egress redirect dev ifb9"
        );
        let can = tc(&network, "middle", "qdisc add dev ifb9 root tbf rate 200mbit burst 256kb latency 100ms")
            && tc(&network, "middle", &format!("qdisc add dev {port} clsact"))
            && tc(&network, "middle", &filter);
        if !can {
            return say_left_out(test_name!(), direction, "this kernel redirects nothing");
        }
        // A second flow shares it, whose packets are not to go back to the first one's device.
        let before = sent(&network, "middle", "ifb9");
        let (profile, read) = record(|| tcp(&network, PORT, 4 << 20));
        let through = sent(&network, "middle", "ifb9") - before;
        let lost = lost(&profile);
        let paths = data(&profile, &network, "client", TCP);
        check(&format!("{direction}: bytes"), bytes(&arrived(&paths, &network)) as f64, read, lost * 65536);
        check_layers(&profile, &paths, network.inode("middle"));
        assert!(wait_at(&profile, &paths, "ifb9").is_none_or(|mean| mean > 0.0));
        let middle = network.inode("middle");
        let ifb =
            profile.topology.devices.iter().find(|device| device.netns == middle && device.name == "ifb9").unwrap();
        let goes_through = |path: &&PathRecord| {
            path.crossings.iter().any(|at| (at.netns, at.ifindex, at.point) == (middle, ifb.ifindex, Point::XmitEnd))
        };
        let seen: u64 = profile.original_paths().filter(goes_through).map(|path| path.packets).sum();
        check(&format!("{direction}: packets through the ifb"), seen as f64, through, lost + 12);
        let reused = profile.lost[&Loss::AddressReused];
        assert!(reused <= 20, "{direction}: {reused} packets at addresses of others");
    }
}

#[test]
fn copies_that_tc_mirrors_leave_the_original_as_it_is() {
    let Some(_alone) = ready!("tc") else { return };
    let network = Network::bridge();
    network.ip("middle", "link add copies type veth peer name copied");
    for device in ["copies", "copied"] {
        network.ip("middle", &format!("link set {device} addrgenmode none up"));
    }
    for (port, direction) in [("veth-client", "ingress"), ("veth-server", "egress")] {
        let filter = format!(
            "filter add dev {port} {direction} protocol all u32 match u32 0 0 action mirred egress mirror dev copies"
        );
        if !tc(&network, "middle", &format!("qdisc add dev {port} clsact")) || !tc(&network, "middle", &filter) {
            return say_left_out(test_name!(), direction, "this kernel mirrors nothing");
        }
    }
    let before = sent(&network, "client", "eth0");
    let (profile, read) = record(|| udp(&network, "client", network.address(), 60, 500, Sent::Plainly));
    let paths = data(&profile, &network, "client", UDP);
    check("datagrams", packets(&paths) as f64, sent(&network, "client", "eth0") - before, lost(&profile) + 4);
    check("read", at_end(&arrived(&paths, &network)), read, lost(&profile));
}

#[test]
fn a_datagram_in_fragments_counts_once_and_is_whole_again_at_its_reader() {
    let Some(_alone) = ready!() else { return };
    let network = Network::bridge();
    network.ip("client", "addr add fd03::2/64 dev eth0 nodad");
    network.ip("server", "addr add fd03::3/64 dev eth0 nodad");
    for (to, size) in [(network.address(), 8000), (network.address(), 60_000), ("[fd03::3]", 8000)] {
        let count = || {
            ["Ip:FragCreates", "Ip:ReasmOKs", "Udp:OutDatagrams"].map(|name| {
                let (protocol, field) = name.split_once(':').unwrap();
                snmp(&network, if field == "ReasmOKs" { "server" } else { "client" }, protocol, field)
            })
        };
        let before = count();
        let (profile, read) = record(|| udp(&network, "client", to, 50, size, Sent::Plainly));
        let after = count();
        let paths = data(&profile, &network, "client", UDP);
        let (what, lost) = (format!("{size} bytes to {to}"), lost(&profile));
        check(&format!("{what}: datagrams"), packets(&paths) as f64, 50, lost);
        check(&format!("{what}: read"), at_end(&arrived(&paths, &network)), read, lost);
        check(
            &format!("{what}: bytes"),
            bytes(&arrived(&paths, &network)) as f64,
            50 * size as u64,
            lost * size as u64,
        );
        assert_eq!(by_edge(&profile, &paths, Edge::Fragment, "eth0"), packets(&paths), "{what}");
        assert!(by_edge(&profile, &paths, Edge::Reassemble, "eth0") * 10 >= packets(&paths) * 9, "{what}");
        if !to.starts_with('[') {
            check(&format!("{what}: fragments"), wire(&paths) as f64, after[0] - before[0], lost * 45);
            check(&format!("{what}: put together"), at_end(&arrived(&paths, &network)), after[1] - before[1], lost);
            check(&format!("{what}: sent"), packets(&paths) as f64, after[2] - before[2], lost);
        }
    }
}

#[test]
fn a_bridge_that_puts_fragments_together_and_cuts_them_again_is_followed() {
    let Some(_alone) = ready!("nft") else { return };
    let network = Network::bridge();
    let words = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let runs = |line: &str| command(&network.enter("middle", &words(line))).output().unwrap().status.success();
    let can = runs("sysctl -qw net.bridge.bridge-nf-call-iptables=1")
        && runs("nft add table ip f")
        && runs("nft add chain ip f w { type filter hook forward priority 0 ; }")
        && runs("nft add rule ip f w ct state established,new accept");
    if !can {
        return say_left_out(test_name!(), "bridge", "this kernel's bridges call no netfilter");
    }
    let before = snmp(&network, "middle", "Ip", "ReasmOKs");
    let (profile, read) = record(|| udp(&network, "client", network.address(), 50, 8000, Sent::Plainly));
    let together = snmp(&network, "middle", "Ip", "ReasmOKs") - before;
    let paths = data(&profile, &network, "client", UDP);
    check("datagrams", packets(&paths) as f64, 50, lost(&profile));
    check(
        "put together in the bridge",
        by_edge(&profile, &paths, Edge::Reassemble, "veth-client") as f64,
        together,
        lost(&profile),
    );
    check("cut again", by_edge(&profile, &paths, Edge::Fragment, "veth-server") as f64, together, lost(&profile));
    check("read", at_end(&arrived(&paths, &network)), read, lost(&profile));
    assert!(profile.lost[&Loss::AddressReused] <= 10, "{:?}", profile.lost);
}

#[test]
fn a_tunnels_packets_that_ip_cuts_go_on_at_the_other_end() {
    let Some(_alone) = ready!() else { return };
    let network = Network::bridge();
    for (side, own, other, end) in
        [("client", "10.203.0.2", "10.203.0.3", 2), ("server", "10.203.0.3", "10.203.0.2", 3)]
    {
        // As large as what lies below, which leaves no room for its headers.
        let add = format!("link add vx type vxlan id 9 dstport 4789 local {own} remote {other}");
        if !command(&network.enter(side, &["ip"].into_iter().chain(add.split(' ')).collect::<Vec<_>>()))
            .output()
            .unwrap()
            .status
            .success()
        {
            return say_left_out(test_name!(), "tunnel", "this kernel has no VXLAN");
        }
        network.ip(side, "link set vx mtu 1500 addrgenmode none up");
        network.ip(side, &format!("addr add 10.204.0.{end}/24 dev vx"));
    }
    // The tunnel's own packets are cut; once IP has learned what fits, it cuts what they carry.
    for (how, device) in [(Sent::AsTheDeviceTakesThem, "eth0"), (Sent::Plainly, "vx")] {
        let before = snmp(&network, "server", "Ip", "ReasmOKs");
        let (profile, read) = record(|| udp(&network, "client", "10.204.0.3", 80, 1460, how));
        let together = snmp(&network, "server", "Ip", "ReasmOKs") - before;
        let (paths, lost) = (data(&profile, &network, "client", UDP), lost(&profile));
        check(&format!("{device}: datagrams"), packets(&paths) as f64, 80, lost);
        check(&format!("{device}: read"), at_end(&arrived(&paths, &network)), read, lost);
        check(&format!("{device}: cut"), by_edge(&profile, &paths, Edge::Fragment, device) as f64, together, lost);
        check(
            &format!("{device}: together"),
            by_edge(&profile, &paths, Edge::Reassemble, device) as f64,
            together,
            lost,
        );
    }
}

#[test]
fn what_this_host_floods_counts_once() {
    let Some(_alone) = ready!() else { return };
    let network = Network::bridge();
    for port in ["more1", "more2", "more3"] {
        network.ip("middle", &format!("link add {port} type veth peer name {port}p"));
        for device in [port.to_owned(), format!("{port}p")] {
            network.ip("middle", &format!("link set {device} addrgenmode none up"));
        }
        network.ip("middle", &format!("link set {port} master br0"));
    }
    network.ip("middle", "addr add 10.203.0.4/24 brd + dev br0");
    let (profile, read) = record(|| udp(&network, "middle", "10.203.0.255", 40, 500, Sent::Plainly));
    let paths = data(&profile, &network, "middle", UDP);
    check("broadcasts", packets(&paths) as f64, 40, 0);
    assert_eq!(read, 40);
    let clones = profile.paths.iter().filter(|path| path.is_clone() && path.protocol == UDP);
    let clones: u64 = clones.map(|path| path.packets).sum();
    // Five ports: the last one gets the packet itself.
    assert!(clones + lost(&profile) >= 4 * 40, "{clones} clones of 40 broadcasts to five ports");
}

#[test]
fn a_sniffer_beside_the_traffic_changes_nothing() {
    let Some(_alone) = ready!() else { return };
    let network = Network::bridge();
    let layers = |sniffs: bool| {
        let sniffer = sniffs.then(|| sniffer(&network));
        let (profile, read) = record(|| udp(&network, "client", network.address(), 80, 500, Sent::Plainly));
        let seen = sniffer.map(|sniffer| sniffer.join().unwrap());
        assert!(seen.is_none_or(|seen| seen >= 80), "{seen:?} packets sniffed");
        let paths = data(&profile, &network, "client", UDP);
        check("datagrams", packets(&paths) as f64, 80, lost(&profile));
        check("read", at_end(&arrived(&paths, &network)), read, lost(&profile));
        let busiest = paths.iter().max_by_key(|path| path.packets).unwrap();
        let classes = (0..busiest.spans.len()).map(|index| classify(busiest, index, &profile.topology));
        classes.map(|class| (class.layer, class.kind, class.device)).collect::<Vec<_>>()
    };
    assert_eq!(layers(true)[..8], layers(false)[..8]);
}

/// Reads all packets of the server for two seconds, one by one; how many there were.
fn sniffer(network: &Network) -> thread::JoinHandle<u64> {
    let (ready, is_ready) = mpsc::channel();
    let sniffer = network.inside("server", move || {
        let everything = i32::from((libc::ETH_P_ALL as u16).to_be());
        // SAFETY: plain system calls; the buffer has the size that is passed, and the socket is this thread's own.
        unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, everything);
            assert!(socket >= 0, "no packet socket: {}", std::io::Error::last_os_error());
            let patience = libc::timeval { tv_sec: 3, tv_usec: 0 };
            let size = size_of::<libc::timeval>() as u32;
            libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw const patience).cast(), size);
            ready.send(()).unwrap();
            let (mut buffer, mut count) = ([0_u8; 2048], 0);
            while libc::recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), 0) >= 0 {
                count += 1;
            }
            libc::close(socket);
            count
        }
    });
    is_ready.recv_timeout(PATIENCE).unwrap();
    sniffer
}
