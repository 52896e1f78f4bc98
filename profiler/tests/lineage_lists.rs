//! Packets that are received as lists, as a network card's driver hands them in: what journeys say of each agrees with what
//! the reading programs, the protocols and the CPUs count. Live; needs root and ethtool.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Barrier, mpsc},
    thread,
};

use netstrata::profile::{PathRecord, Profile};
use netstrata_common::{Edge, End, Loss, Point, Points, Protocol};
use serde_json::Value;
use support::{counters::with_room, directory::Directory, network::Network, recording::Recording, run, wait::PATIENCE};

const PORT: u16 = 5330;
/// How many packets are sent at a time: as many as fit into a veth's ring together, or more.
const BURST: usize = 32;
const FLOOD: usize = 640;

/// Reception at the server as from a network card: through NAPI and GRO. (A veth whose sender leaves cutting to it does not
/// use them.)
fn with_gro() -> Network {
    let network = Network::pair();
    network.run("server", &["ethtool", "-K", "right", "gro", "on"]);
    network.run("client", &["ethtool", "-K", "left", "tso", "off"]);
    for (side, device, address) in [("client", "left", "fd09::1/64"), ("server", "right", "fd09::2/64")] {
        network.ip(side, &format!("addr add {address} dev {device} nodad"));
    }
    network
}

/// The kernel threads that poll a device called so.
fn pollers(device: &str) -> BTreeSet<String> {
    let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let pids = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    pids.filter(|pid| pid.parse::<u32>().is_ok() && name(pid).starts_with(&format!("napi/{device}"))).collect()
}

/// Sets what the server's device has in `/sys`. False where the kernel has nothing of the kind.
fn set(network: &Network, file: &str, value: &str) -> bool {
    let script = format!("echo {value} >/sys/class/net/right/{file}");
    // Not as elsewhere: `/sys` has to be the namespace's own.
    support::command(&["ip", "netns", "exec", &network.namespace("server"), "sh", "-c", &script])
        .output()
        .unwrap()
        .status
        .success()
}

/// Lets a thread poll the server's device when nobody else wants the CPU of the sender: what that sends at a time is received
/// at a time. False where the kernel has no such threads.
fn in_batches(network: &Network) -> bool {
    let before = pollers("right");
    if !set(network, "threaded", "1") {
        return false;
    }
    support::wait::until("a thread that polls", || pollers("right").len() > before.len());
    for pid in pollers("right").difference(&before) {
        run(&["taskset", "-p", "-c", "0", pid]);
        run(&["chrt", "-i", "-p", "0", pid]);
    }
    true
}

/// This thread runs on one CPU from here on.
fn on_cpu(cpu: usize) {
    // SAFETY: a set of all zeros is an empty one, and the calls get its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &raw const set), 0);
    }
}

fn record<T>(network: &Network, traffic: impl FnOnce(&Network) -> T) -> (Profile, T) {
    let directory = Directory::new();
    let file = directory.file("profile");
    let recording = Recording::start(&file, &["--sample-every", "1", "--netns", &network.namespace("server")]);
    let done = traffic(network);
    (recording.stop(&file), done)
}

/// Sends bursts of datagrams from several sockets to as many ports, each burst when the last one has been read; how many were
/// read.
fn datagrams(network: &Network, to: &'static str, ports: u16, bursts: usize, burst: usize) -> usize {
    let (read, is_read) = mpsc::channel();
    let ready = Arc::new(Barrier::new(usize::from(ports) + 1));
    let readers: Vec<_> = (0..ports)
        .map(|at| {
            let (read, ready) = (read.clone(), ready.clone());
            network.inside("server", move || {
                let socket = UdpSocket::bind((to, PORT + at)).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                with_room(&socket);
                ready.wait();
                let mut buffer = [0; 2048];
                for _ in 0..bursts * burst / usize::from(ports) {
                    socket.recv(&mut buffer).unwrap();
                    read.send(()).unwrap();
                }
            })
        })
        .collect();
    ready.wait();
    let sender = network.inside("client", move || {
        on_cpu(0);
        let any = if to.contains(':') { "::" } else { "0.0.0.0" };
        let sockets: Vec<_> = (0..ports).map(|_| UdpSocket::bind((any, 0)).unwrap()).collect();
        let mut count = 0;
        for _ in 0..bursts {
            for nth in 0..burst {
                let at = nth % usize::from(ports);
                sockets[at].send_to(&[7; 200], (to, PORT + at as u16)).unwrap();
            }
            for _ in 0..burst {
                is_read.recv_timeout(PATIENCE).unwrap();
                count += 1;
            }
        }
        count
    });
    let count = sender.join().unwrap();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    count
}

/// Asks over so many connections at a time, each round when all answers to the last are there; how many questions.
fn questions(network: &Network, to: &'static str, connections: usize, rounds: usize) -> usize {
    let (ready, is_ready) = mpsc::channel();
    let server = network.inside("server", move || {
        let listener = TcpListener::bind((to, PORT)).unwrap();
        ready.send(()).unwrap();
        let streams: Vec<_> = (0..connections).map(|_| listener.accept().unwrap().0).collect();
        let answering = streams.into_iter().map(|mut stream| {
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || {
                let mut message = [0; 64];
                while stream.read_exact(&mut message).is_ok() {
                    stream.write_all(&message).unwrap();
                }
            })
        });
        answering.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    });
    is_ready.recv_timeout(PATIENCE).unwrap();
    let client = network.inside("client", move || {
        on_cpu(0);
        let address = SocketAddr::new(to.parse().unwrap(), PORT);
        let mut streams: Vec<_> = (0..connections).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut message = [7; 64];
        for stream in &streams {
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        for _ in 0..rounds {
            streams.iter_mut().for_each(|stream| stream.write_all(&message).unwrap());
            streams.iter_mut().for_each(|stream| stream.read_exact(&mut message).unwrap());
        }
    });
    client.join().unwrap();
    server.join().unwrap();
    connections * rounds
}

/// Packets of paths.
fn packets<'a>(paths: impl Iterator<Item = &'a PathRecord>) -> u64 {
    paths.map(|path| path.packets).sum()
}

/// Paths with data from the client to the server.
fn asked(profile: &Profile, network: &Network, protocol: Protocol) -> Vec<PathRecord> {
    let (client, server) = (network.inode("client"), network.inode("server"));
    let paths = profile.paths.iter().filter(|path| {
        path.protocol == protocol
            && path.payload_bytes > 0
            && path.crossings.iter().find(|at| at.ifindex != 0).is_some_and(|at| at.netns == client)
            && path.crossings.iter().any(|at| at.netns == server)
    });
    paths.cloned().collect()
}

/// What a recording may have missed, as it says itself.
fn lost(profile: &Profile) -> u64 {
    [Loss::SlotBusy, Loss::InFlightAtEnd, Loss::PathsFull, Loss::MapBusy].iter().map(|loss| profile.lost[loss]).sum()
}

/// Whether a path's packets crossed these points one after the other.
fn has(path: &PathRecord, way: &[Points]) -> bool {
    path.crossings.windows(way.len()).any(|at| at.iter().zip(way).all(|(at, points)| at.point.is_in(*points)))
}

fn only(point: Point) -> Points {
    Points::of_one(point)
}

#[test]
fn every_datagram_of_a_list_reaches_its_reader() {
    let Some(_alone) = ready!("ethtool", "taskset", "chrt") else { return };
    for (to, ports) in [("10.203.0.3", 1), ("10.203.0.3", 4), ("fd09::2", 1), ("fd09::2", 4)] {
        let network = with_gro();
        if !in_batches(&network) {
            skip!("NAPI has no threads here");
        }
        let (profile, read) = record(&network, |network| datagrams(network, to, ports, 100, BURST));
        let what = format!("{ports} ports of {to}");
        let paths = asked(&profile, &network, Protocol::UDP);
        // A small datagram is copied without a trace, and freed by its reader.
        let reached =
            packets(paths.iter().filter(|path| {
                path.end == End::Copied || path.crossings.last().unwrap().point.is_in(Points::ANNOUNCED)
            }));
        let (all, missing) = (packets(paths.iter()), lost(&profile));
        assert!(all.abs_diff(read as u64) <= missing, "{what}: {all} packets, {read} read, {missing} lost");
        assert!(reached + missing + read as u64 / 100 >= all, "{what}: {reached} of {all} reached a reader");
        // One at a time was announced; those that their reader took before have no announcement.
        let announced = packets(paths.iter().filter(|path| has(path, &[only(Point::Receive), Points::ANNOUNCED])));
        assert!(announced * 2 > all, "{what}: {announced} of {all} were announced");
    }
}

/// veth has done so since 6.16, if there is a queue before it.
#[test]
fn what_a_busy_device_gives_back_goes_on() {
    let Some(_alone) = ready!("ethtool", "taskset", "chrt", "tc") else { return };
    let network = with_gro();
    network.run("client", &["tc", "qdisc", "add", "dev", "left", "root", "pfifo", "limit", "2000"]);
    if !in_batches(&network) {
        skip!("NAPI has no threads here");
    }
    // Of several sockets: one may not have so much under way.
    // Until the neighbour is known a few packets wait for it, and the others are dropped.
    questions(&network, "10.203.0.3", 1, 1);
    let (profile, read) = record(&network, |network| datagrams(network, "10.203.0.3", 4, 10, FLOOD));
    let text = network.run("client", &["tc", "-s", "-j", "qdisc", "show", "dev", "left"]);
    let requeues = serde_json::from_str::<Value>(&text).unwrap()[0]["requeues"].as_u64().unwrap();
    if requeues == 0 {
        skip!("the device of this kernel drops what does not fit");
    }
    let paths = asked(&profile, &network, Protocol::UDP);
    let times = |path: &PathRecord| path.crossings.iter().filter(|at| at.point == Point::Requeue).count() as u64;
    let given_back: u64 = paths.iter().map(|path| path.packets * times(path)).sum();
    let (all, missing) = (packets(paths.iter()), lost(&profile));
    assert!(all.abs_diff(read as u64) <= missing, "{all} packets, {read} read, {missing} lost");
    // The queue also counts what it does not even give to a device that is known to be busy.
    assert!(0 < given_back && given_back <= requeues, "{given_back} crossings, {requeues} by the queue");
    let reused = profile.lost[&Loss::AddressReused];
    assert!(reused * 100 <= all, "{reused} crossings at addresses that were given out again, of {all} packets");
}

#[test]
fn no_segment_of_a_list_waits_for_a_reader_that_sleeps() {
    let Some(_alone) = ready!("ethtool", "taskset", "chrt") else { return };
    for (to, connections) in [("10.203.0.3", 16), ("fd09::2", 16)] {
        let network = with_gro();
        if !in_batches(&network) {
            skip!("NAPI has no threads here");
        }
        let (profile, count) = record(&network, |network| questions(network, to, connections, 60));
        let paths = asked(&profile, &network, Protocol::TCP);
        let all = packets(paths.iter());
        let missing = lost(&profile);
        assert!(all + missing >= count as u64, "{to}: {all} packets of {count} questions");
        let straight = packets(paths.iter().filter(|path| has(path, &[Points::RECEIVED, only(Point::Tcp)])));
        assert!(straight * 100 >= all * 95, "{to}: TCP took {straight} of {all} from the softirq");
        // Of a packet of a list nobody knows the route: it is in none of the ways, or in all of a packet alone.
        let routes = paths.iter().map(|path| path.crossings.iter().filter(|at| at.point == Point::Route).count());
        assert!(routes.max().unwrap() <= 2, "{to}: {paths:#?}");
    }
}

#[test]
fn what_gro_hands_to_another_cpu_waits_in_its_backlog() {
    let Some(_alone) = ready!("ethtool") else { return };
    if netstrata::host::cpu::online().map_or(1, |cpus| cpus.len()) < 2 {
        skip!("one CPU only");
    }
    let network = with_gro();
    let handed = |profile: &Profile| {
        let paths = asked(profile, &network, Protocol::TCP);
        let moved = |path: &&PathRecord| path.edges.iter().any(|(_, edge)| *edge == Edge::Handed);
        (packets(paths.iter().filter(moved)), packets(paths.iter()))
    };
    let (profile, _) = record(&network, |network| questions(network, "10.203.0.3", 1, 300));
    assert_eq!(handed(&profile).0, 0);
    assert!(set(&network, "queues/rx-0/rps_cpus", "2"));
    let processed = || {
        let text = fs::read_to_string("/proc/net/softnet_stat").unwrap();
        u64::from_str_radix(text.lines().nth(1).unwrap().split_whitespace().next().unwrap(), 16).unwrap()
    };
    let before = processed();
    let (profile, count) = record(&network, |network| questions(network, "10.203.0.3", 1, 300));
    let by_other = processed() - before;
    let (handed, all) = handed(&profile);
    assert!(handed <= by_other, "{handed} packets were handed over, CPU 1 took {by_other}");
    // The sender keeps to CPU 0, where its packets are received unless something else received them first.
    assert!(handed * 10 >= count as u64 * 9, "{handed} of {all} packets were handed to CPU 1");
}
