//! Readers of every kind: what a recording says of the wait for them is what they know themselves. Live; needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use netstrata::profile::{PathRecord, Profile};
use netstrata_common::{End, Point, Protocol};
use support::{directory::Directory, network::Network, recording::Recording};

const PORT: u16 = 5320;
const SIZE: usize = 64;
const MESSAGES: u64 = 400;

/// What a server with an event loop knows of itself.
#[derive(Debug, Default)]
struct Loop {
    /// How often there was nothing to do, and it slept.
    slept: u64,
    answered: u64,
}

fn epoll_add(epoll: RawFd, of: RawFd) {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: of as u64 };
    // SAFETY: the event outlives the call.
    assert_eq!(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, of, &raw mut event) }, 0);
}

/// Sockets with data; waits for some if it may.
fn epoll_wait(epoll: RawFd, may_sleep: bool) -> Vec<RawFd> {
    // SAFETY: an event of zeros is one.
    let mut events: [libc::epoll_event; 16] = unsafe { std::mem::zeroed() };
    // SAFETY: there is room for as many as are asked for.
    let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 16, if may_sleep { -1 } else { 0 }) };
    events[..usize::try_from(count).unwrap_or(0)].iter().map(|event| event.u64 as RawFd).collect()
}

/// Answers until all clients have gone, and works so long for each message.
fn serve(listener: TcpListener, clients: usize, work: Duration) -> Loop {
    // SAFETY: the descriptor is new, and nobody else's.
    let epoll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
    let mut connections = BTreeMap::new();
    for _ in 0..clients {
        let connection = listener.accept().unwrap().0;
        connection.set_nodelay(true).unwrap();
        epoll_add(epoll.as_raw_fd(), connection.as_raw_fd());
        connections.insert(connection.as_raw_fd(), connection);
    }
    let mut known = Loop::default();
    while !connections.is_empty() {
        let mut ready = epoll_wait(epoll.as_raw_fd(), false);
        if ready.is_empty() {
            known.slept += 1;
            ready = epoll_wait(epoll.as_raw_fd(), true);
        }
        for fd in ready {
            let mut message = [0; SIZE];
            match (&connections[&fd]).read_exact(&mut message) {
                Ok(()) => {
                    let begun = Instant::now();
                    while begun.elapsed() < work {}
                    (&connections[&fd]).write_all(&message).unwrap();
                    known.answered += 1;
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => drop(connections.remove(&fd)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    known
}

fn ask(address: &str, pause: Duration) {
    let mut connection = TcpStream::connect((address, PORT)).unwrap();
    connection.set_nodelay(true).unwrap();
    for _ in 0..MESSAGES {
        thread::sleep(pause);
        let mut message = [1; SIZE];
        connection.write_all(&message).unwrap();
        connection.read_exact(&mut message).unwrap();
    }
}

/// All packets observed while so many clients ask, with a pause before each message, a server that works so long for each.
fn record(clients: usize, work: Duration, pause: Duration) -> (Loop, Profile, Network) {
    let (network, directory) = (Network::bridge(), Directory::new());
    let file = directory.file("loop");
    let recording = Recording::start(&file, &["--sample-every", "1", "--frequency", "0"]);
    let (said, listens) = mpsc::channel();
    let address = network.address();
    let server = network.inside("server", move || {
        let listener = TcpListener::bind((address, PORT)).unwrap();
        said.send(()).unwrap();
        serve(listener, clients, work)
    });
    listens.recv().unwrap();
    let asking: Vec<_> = (0..clients).map(|_| network.inside("client", move || ask(address, pause))).collect();
    asking.into_iter().for_each(|client| client.join().unwrap());
    let known = server.join().unwrap();
    assert_eq!(known.answered, MESSAGES * clients as u64);
    (known, recording.stop(&file), network)
}

/// Messages whose announcement at the server was this.
fn announced(profile: &Profile, network: &Network, point: Point) -> u64 {
    let server = network.inode("server");
    let is_meant = |path: &&PathRecord| {
        path.protocol == Protocol::TCP
            && path.end == End::Copied
            && path.crossings.last().is_some_and(|last| last.netns == server)
            && path.crossings.iter().any(|crossing| crossing.point == point)
    };
    profile.paths.iter().filter(is_meant).map(|path| path.packets).sum()
}

#[test]
fn data_waits_for_an_event_loop_that_is_busy_and_wakes_one_that_sleeps() {
    let Some(_alone) = ready!("nsenter") else { return };
    let (moment, none) = (Duration::from_micros(300), Duration::ZERO);
    for (clients, work, pause) in [(4, moment, none), (1, none, 10 * moment)] {
        let (known, profile, network) = record(clients, work, pause);
        let [waits, wakes] = [Point::Ready, Point::ReadyWake].map(|point| announced(&profile, &network, point));
        let told = format!("{waits} waited and {wakes} woke it: {known:?}");
        assert!(waits + wakes >= known.answered * 9 / 10, "{told}");
        // The loop looks before it sleeps: what comes in between wakes nobody.
        assert!(wakes.abs_diff(known.slept) <= known.answered / 10, "{told}");
        let is_busy = clients > 1;
        assert_eq!(is_busy, known.slept < known.answered / 2, "no such server here: {told}");
    }
}
