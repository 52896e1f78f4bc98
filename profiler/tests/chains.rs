//! Packets that go a long way keep all of it, and those that go a longer one their time and their end. Live; needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use netstrata::profile::PathRecord;
use netstrata_common::{End, LATEST_KEPT, Loss, MAX_CROSSINGS, Point, TAIL_CROSSINGS};
use support::{directory::Directory, network::Network, recording::Recording};

const ROUND_TRIPS: u64 = 200;

/// Namespaces in a row, a veth pair between neighbours; all but the ends pass packets on.
fn chain(length: u32) -> Network {
    let network = Network::apart();
    let side = |number: u32| match number {
        1 => "client".to_owned(),
        _ if number == length => "server".to_owned(),
        _ => format!("hop-{number}"),
    };
    (2..length).for_each(|number| network.add(&side(number)));
    for number in 1..length {
        let (here, next) = (side(number), side(number + 1));
        let name = network.namespace(&next);
        network.ip(&here, &format!("link add right type veth peer name left netns {name}"));
        for (end, device, host) in [(&here, "right", 1), (&next, "left", 2)] {
            network.ip(end, &format!("addr add 10.203.{number}.{host}/24 dev {device}"));
            network.ip(end, &format!("link set {device} up"));
        }
    }
    for number in 1..=length {
        let here = side(number);
        network.run(&here, &["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.ip_default_ttl=128"]);
        if number < length {
            network.ip(&here, &format!("route add default via 10.203.{number}.2"));
        }
        if number > 2 {
            network.ip(&here, &format!("route add 10.203.1.0/24 via 10.203.{}.1", number - 1));
        }
    }
    if length > 2 {
        network.ip(
            "server",
            "route replace default via 10.203.LAST.1".replace("LAST", &(length - 1).to_string()).as_str(),
        );
    }
    network
}

/// Requests and answers over one connection.
fn talk(network: &Network, address: SocketAddr) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = network.inside("server", move || {
        let listener = TcpListener::bind(address).unwrap();
        ready.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut message = [0; 64];
        while stream.read_exact(&mut message).is_ok() {
            stream.write_all(&message).unwrap();
        }
    });
    is_ready.recv().unwrap();
    let client = network.inside("client", move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut message = [7; 64];
        for trip in 0..ROUND_TRIPS {
            // Ways of so many spans fill the tables, which are drained four times a second: then as many are followed again.
            if trip % 25 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(250));
            }
            stream.write_all(&message).unwrap();
            stream.read_exact(&mut message).unwrap();
        }
    });
    client.join().unwrap();
    server.join().unwrap();
}

/// The paths of requests and answers from end to end of a chain, and what was lost as too long.
fn recorded(length: u32) -> (Vec<PathRecord>, u64) {
    let network = chain(length);
    let directory = Directory::new();
    let file = directory.file("profile");
    let client = network.namespace("client");
    let recording = Recording::start(&file, &["--sample-every", "1", "--netns", &client]);
    talk(&network, format!("10.203.{}.2:5312", length - 1).parse().unwrap());
    let profile = recording.stop(&file);
    for path in &profile.paths {
        assert_eq!(path.spans.iter().map(|span| span.sum).sum::<u64>(), path.end_to_end.sum, "every path closes");
    }
    let ends = [network.inode("client"), network.inode("server")];
    let whole = |path: &&PathRecord| {
        let [first, last] = [path.crossings.first(), path.crossings.last()].map(|crossing| crossing.unwrap().netns);
        path.payload_bytes > 0
            && path.end == End::Copied
            && first != last
            && [first, last].iter().all(|end| ends.contains(end))
    };
    let paths: Vec<PathRecord> = profile.paths.iter().filter(whole).cloned().collect();
    let packets: u64 = paths.iter().map(|path| path.packets).sum();
    let others: Vec<_> = profile.paths.iter().filter(|path| path.payload_bytes > 0 && !whole(path)).collect();
    let others: Vec<_> = others.iter().map(|path| (path.packets, path.end, path.crossings.len())).collect();
    let told = format!("{packets} packets on whole ways, not {others:?}, {:?} {:?}", profile.sampling, profile.lost);
    // On a busy machine some go another way through TCP, and some are sent again. Ways of so many spans fill the tables between two
    // drains: the rest is thinned, and those that are followed stand for more, give or take four standard deviations.
    let followed: u64 = paths.iter().map(|path| path.samples).sum();
    let error = (4.0 * packets as f64 / (followed as f64).sqrt()) as u64;
    assert!(
        followed > 20 && packets + error >= 2 * ROUND_TRIPS * 7 / 10 && packets <= 3 * ROUND_TRIPS + error,
        "{followed}: {told}"
    );
    (paths, profile.lost[&Loss::PathTooLong])
}

#[test]
fn a_way_through_twenty_namespaces_is_kept_whole() {
    let Some(_alone) = ready!("sysctl") else { return };
    let (paths, too_long) = recorded(20);
    assert_eq!(too_long, 0);
    for path in paths {
        assert!(path.crossings.len() > MAX_CROSSINGS && path.crossings_left_out == 0, "{}", path.crossings.len());
        let places: std::collections::BTreeSet<u32> = path.crossings.iter().map(|crossing| crossing.netns).collect();
        assert_eq!(places.len(), 20, "each namespace is on it");
    }
}

#[test]
fn a_way_that_is_too_long_keeps_its_time_its_end_and_its_reader() {
    let Some(_alone) = ready!("sysctl") else { return };
    let (paths, too_long) = recorded(45);
    assert!(too_long >= 2 * ROUND_TRIPS * 7 / 10, "{too_long} packets went too long a way");
    for path in paths {
        assert_eq!(path.crossings.len(), MAX_CROSSINGS + TAIL_CROSSINGS);
        assert!(path.crossings_left_out > 0);
        // The reader's part is not in the span of what was left out.
        let reader: Vec<Point> = path.crossings.iter().rev().take(LATEST_KEPT).map(|crossing| crossing.point).collect();
        assert!(
            reader[0] == Point::Copy
                && reader[1..].iter().any(|point| *point == Point::Tcp || *point == Point::TcpBacklog)
        );
    }
}
