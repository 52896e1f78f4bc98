//! Flows that a filter names, in whatever frame they come; and what journeys know of packets of IPv6. Live; needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    thread::JoinHandle,
};

use netstrata::profile::{PathRecord, Profile};
use netstrata_common::{End, Loss, Point, Protocol};
use support::{command, directory::Directory, network::Network, recording::Recording};

const FLOW: &str = "udp:[fd07::2]:9000";
const US: [u8; 16] = [0xfd, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const IT: [u8; 16] = [0xfd, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const PORT: u16 = 9000;

/// Protocols and types of headers.
const UDP: u8 = 17;
const IPV6: u8 = 41;
const GRE: u8 = 47;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const TYPE_VLAN: u16 = 0x8100;
const TYPE_PROVIDER: u16 = 0x88a8;

fn ethernet(kind: u16, carried: &[u8]) -> Vec<u8> {
    [&[0x02, 0, 0, 0, 0, 9, 0x02, 0, 0, 0, 0, 1][..], &kind.to_be_bytes(), carried].concat()
}

/// A tag of priority 2: it begins as a header of IPv4 does.
fn tag(kind: u16, carried: &[u8]) -> Vec<u8> {
    [&[0x45, 0x07][..], &kind.to_be_bytes(), carried].concat()
}

fn ipv4(protocol: u8, carried: &[u8]) -> Vec<u8> {
    let length = (20 + carried.len() as u16).to_be_bytes();
    let header = [0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0, 10, 7, 0, 1, 10, 7, 0, 2];
    [&header[..], carried].concat()
}

fn ipv6(next: u8, carried: &[u8]) -> Vec<u8> {
    let length = (carried.len() as u16).to_be_bytes();
    [&[0x60, 0, 0, 0, length[0], length[1], next, 64][..], &US, &IT, carried].concat()
}

/// An extension header of `units` times eight bytes beyond the first.
fn extension(next: u8, units: u8, carried: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 8 + 8 * usize::from(units)];
    (header[0], header[1]) = (next, units);
    [&header[..], carried].concat()
}

/// A fragment that begins so many bytes behind the beginning.
fn fragment(next: u8, offset: u16, carried: &[u8]) -> Vec<u8> {
    let at = (offset | 1).to_be_bytes();
    [&[next, 0, at[0], at[1], 0, 0, 0, 5][..], carried].concat()
}

/// An authentication header, whose length counts four bytes each.
fn authentication(next: u8, carried: &[u8]) -> Vec<u8> {
    [&[next, 4, 0, 0][..], &[0; 20], carried].concat()
}

fn udp(to: u16, carried: &[u8]) -> Vec<u8> {
    let (length, to) = ((8 + carried.len() as u16).to_be_bytes(), to.to_be_bytes());
    [&[0x1b, 0x58, to[0], to[1], length[0], length[1], 0, 0][..], carried].concat()
}

fn vxlan(frame: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0, 0, 0, 42, 0][..], frame].concat()
}

/// With an option of four bytes.
fn geneve(frame: &[u8]) -> Vec<u8> {
    [&[1, 0, 0x65, 0x58, 0, 0, 42, 0, 0, 0, 0, 0][..], frame].concat()
}

/// With a key.
fn gre(carried: &[u8]) -> Vec<u8> {
    let kind = TYPE_IPV6.to_be_bytes();
    [&[0x20, 0, kind[0], kind[1], 0, 0, 0, 9][..], carried].concat()
}

/// Frames of the flow; that within VXLAN comes to a port that a device has.
fn of_the_flow(port: u16) -> Vec<(&'static str, Vec<u8>)> {
    let data = udp(PORT, &[7; 32]);
    let plain = ipv6(UDP, &data);
    let frame = ethernet(TYPE_IPV6, &plain);
    vec![
        ("plain", frame.clone()),
        ("hop by hop", ethernet(TYPE_IPV6, &ipv6(HOP_BY_HOP, &extension(UDP, 1, &data)))),
        ("routing, options", {
            let options = extension(UDP, 0, &data);
            ethernet(TYPE_IPV6, &ipv6(ROUTING, &extension(DESTINATION, 2, &options)))
        }),
        ("first fragment", ethernet(TYPE_IPV6, &ipv6(FRAGMENT, &fragment(UDP, 0, &data)))),
        ("authentication", ethernet(TYPE_IPV6, &ipv6(AUTHENTICATION, &authentication(UDP, &data)))),
        ("tag", ethernet(TYPE_VLAN, &tag(TYPE_IPV6, &plain))),
        ("two tags", ethernet(TYPE_PROVIDER, &tag(TYPE_VLAN, &tag(TYPE_IPV6, &plain)))),
        ("in IPv4", ethernet(TYPE_IPV4, &ipv4(IPV6, &plain))),
        ("in GRE", ethernet(TYPE_IPV4, &ipv4(GRE, &gre(&plain)))),
        ("in Geneve", ethernet(TYPE_IPV4, &ipv4(UDP, &udp(6081, &geneve(&frame))))),
        ("in VXLAN", ethernet(TYPE_IPV4, &ipv4(UDP, &udp(port, &vxlan(&frame))))),
    ]
}

/// Frames that are none of it, each for a reason.
fn of_others(port: u16) -> Vec<(&'static str, Vec<u8>)> {
    let data = udp(PORT, &[7; 32]);
    let frame = ethernet(TYPE_IPV6, &ipv6(UDP, &data));
    vec![
        ("another port", ethernet(TYPE_IPV6, &ipv6(UDP, &udp(PORT + 1, &[7; 32])))),
        ("IPv4", ethernet(TYPE_IPV4, &ipv4(UDP, &data))),
        ("later fragment", ethernet(TYPE_IPV6, &ipv6(FRAGMENT, &fragment(UDP, 1480, &data)))),
        ("a port that no tunnel has", ethernet(TYPE_IPV4, &ipv4(UDP, &udp(port + 1, &vxlan(&frame))))),
    ]
}

/// A new tap device of the namespace that this thread is in; it goes with the file.
fn tap(name: &str) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: made of integers only, for which all-zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the request outlives the call.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// Writes frames to a tap device, of each as many as its place says (1, 2, 4 …), while the flow is recorded. The sum of what was
/// followed tells which they were.
fn followed(network: &Network, tap: &File, frames: &[(&'static str, Vec<u8>)]) -> (Vec<&'static str>, Profile) {
    let directory = Directory::new();
    let file = directory.file("profile");
    let client = network.namespace("client");
    let recording = Recording::start(&file, &["--sample-every", "1", "--netns", &client, "--flow", FLOW]);
    for (place, (_, frame)) in frames.iter().enumerate() {
        for _ in 0..1 << place {
            assert_eq!((&*tap).write(frame).unwrap(), frame.len());
        }
    }
    let profile = recording.stop(&file);
    assert_eq!((profile.lost[&Loss::SlotBusy], profile.lost[&Loss::InFlightAtEnd]), (0, 0));
    let packets: u64 = profile.paths.iter().map(|path| path.packets).sum();
    assert_eq!(packets >> frames.len(), 0, "{packets} packets");
    let names = frames.iter().enumerate().filter(|(place, _)| packets >> place & 1 != 0).map(|(_, (name, _))| *name);
    (names.collect(), profile)
}

#[test]
fn a_flow_of_ipv6_is_found_behind_extensions_tags_and_in_tunnels_at_the_ports_that_devices_have() {
    let Some(_alone) = ready!() else { return };
    let network = Network::apart();
    // Its device file is there when the module is.
    let _ = command(&["modprobe", "--quiet", "tun"]).output();
    let tap = match network.inside("client", || tap("tap0")).join().unwrap() {
        Ok(tap) => tap,
        Err(error) => skip!("this kernel makes no tap device: {error}"),
    };
    network.ip("client", "link set tap0 up");
    let named = network.namespace("client");
    let words = ["ip", "-n", &named, "link", "add", "vx0", "type", "vxlan", "id", "7", "dstport", "5555"];
    // Without such a device there is still the standard's port.
    let port = if command(&words).output().unwrap().status.success() { 5555 } else { 4789 };
    let frames = of_the_flow(port);
    let all: Vec<&str> = frames.iter().map(|(name, _)| *name).collect();
    let (seen, profile) = followed(&network, &tap, &frames);
    assert_eq!(seen, all);
    // All are UDP of 32 bytes, behind whatever headers and in whatever tunnel: what its reader reads.
    let expected = 32 * ((1_u64 << frames.len()) - 1);
    let paths = profile.paths.iter().filter(|path| path.protocol == Protocol::UDP);
    assert_eq!(paths.map(|path| path.payload_bytes).sum::<u64>(), expected);
    assert_eq!(followed(&network, &tap, &of_others(port)).0, [] as [&str; 0]);
}

/// Both sides of a bridge have an address of IPv6.
fn with_ipv6(network: &Network) -> bool {
    [("client", "fd07::1/64"), ("server", "fd07::2/64")].into_iter().all(|(side, address)| {
        let named = network.namespace(side);
        let words = ["ip", "-n", &named, "addr", "add", address, "dev", "eth0", "nodad"];
        command(&words).output().unwrap().status.success()
    })
}

/// A server that reads all that comes over one connection and tells how much.
fn reader(network: &Network, address: SocketAddr) -> JoinHandle<u64> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = network.inside("server", move || {
        let listener = TcpListener::bind(address).unwrap();
        ready.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return total,
                count => total += count as u64,
            }
        }
    });
    is_ready.recv().unwrap();
    server
}

#[test]
fn packets_of_big_tcp_have_their_protocol_and_all_their_bytes() {
    let Some(_alone) = ready!() else { return };
    let network = Network::bridge();
    if !with_ipv6(&network) {
        skip!("this kernel has no IPv6");
    }
    for (side, device) in [("client", "eth0"), ("server", "eth0"), ("middle", "veth-client"), ("middle", "veth-server")]
        .into_iter()
        .chain([("middle", "br0")])
    {
        let named = network.namespace(side);
        let sizes = ["gso_max_size", "185000", "gro_max_size", "185000"];
        let words = [&["ip", "-n", &named, "link", "set", device][..], &sizes].concat();
        if !command(&words).output().unwrap().status.success() {
            skip!("this kernel has no BIG TCP");
        }
    }
    let address: SocketAddr = "[fd07::2]:9000".parse().unwrap();
    let directory = Directory::new();
    let file = directory.file("profile");
    let client = network.namespace("client");
    let flow = ["--sample-every", "1", "--netns", &client, "--flow", "tcp:[fd07::2]:9000"];
    let recording = Recording::start(&file, &flow);
    let server = reader(&network, address);
    let sender = network.inside("client", move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let piece = vec![7; 1 << 20];
        (0..64).for_each(|_| stream.write_all(&piece).unwrap());
    });
    sender.join().unwrap();
    let read = server.join().unwrap();
    let profile = recording.stop(&file);
    let from = network.inode("client");
    let data = || profile.paths.iter().filter(move |path| path.crossings[0].netns == from && path.payload_bytes > 0);
    assert!(profile.paths.iter().all(|path| path.protocol == Protocol::TCP), "nothing else is of the flow");
    let ends = [End::Copied, End::Merged];
    let arrived: u64 = data().filter(|path| ends.contains(&path.end)).map(|path| path.payload_bytes).sum();
    // A segment now and then goes a way of its own.
    assert!(arrived <= read && arrived * 100 >= read * 99, "{arrived} of {read} bytes, {:?}", profile.lost);
    let largest = data().map(|path| path.bytes / path.packets).max().unwrap();
    assert!(largest > 65_536, "packets of {largest} bytes are no BIG TCP");
}

/// Looks up routes, at a device.
fn look_ups(path: &PathRecord, netns: u32) -> usize {
    path.crossings.iter().filter(|crossing| crossing.point == Point::Route && crossing.netns == netns).count()
}

#[test]
fn a_packets_route_is_looked_up_for_itself_and_not_for_its_answer() {
    let Some(_alone) = ready!() else { return };
    let network = Network::bridge();
    let addresses: &[&str] = if with_ipv6(&network) { &["10.203.0.3:0", "[fd07::2]:0"] } else { &["10.203.0.3:0"] };
    for address in addresses {
        let address: SocketAddr = address.parse().unwrap();
        let directory = Directory::new();
        let file = directory.file("profile");
        let client = network.namespace("client");
        let recording = Recording::start(&file, &["--sample-every", "1", "--netns", &client]);
        let (listens, at) = std::sync::mpsc::channel();
        let server = network.inside("server", move || {
            let listener = TcpListener::bind(address).unwrap();
            listens.send(listener.local_addr().unwrap()).unwrap();
            (0..50).for_each(|_| drop(listener.accept().unwrap()));
        });
        let address = at.recv().unwrap();
        network
            .inside("client", move || (0..50).for_each(|_| drop(TcpStream::connect(address).unwrap())))
            .join()
            .unwrap();
        server.join().unwrap();
        check_look_ups(&recording.stop(&file), network.inode("client"), network.inode("server"), address);
    }
}

/// Requests for a connection are looked up at the server: in the table of its own addresses, and in another one or backwards,
/// to see whether their sender is who it says. Their answer was looked up twice more.
fn check_look_ups(profile: &Profile, client: u32, server: u32, address: SocketAddr) {
    let to_server = |path: &&PathRecord| path.crossings[0].netns == client && look_ups(path, server) > 0;
    let paths: Vec<&PathRecord> = profile.paths.iter().filter(to_server).collect();
    assert!(paths.iter().map(|path| path.packets).sum::<u64>() >= 50, "{address}: no look-up was seen");
    for path in paths {
        let (seen, last) = (look_ups(path, server), path.crossings.last().unwrap());
        assert!(seen <= 2 && last.ifindex != 0, "{address}: {seen} look-ups, the last crossing is {last:?}");
    }
}
