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

/// A server that listens, and then serves.
fn serving<T: Send + 'static>(
    network: &Network,
    serve: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let (said, listens) = mpsc::channel();
    let address = network.address();
    let server = network.inside("server", move || {
        let listener = TcpListener::bind((address, PORT)).unwrap();
        said.send(()).unwrap();
        serve(listener)
    });
    listens.recv().unwrap();
    server
}

/// All packets observed while so many clients ask, with a pause before each message, a server that works so long for each.
fn record(clients: usize, work: Duration, pause: Duration) -> (Loop, Profile, Network) {
    let (network, directory) = (Network::bridge(), Directory::new());
    let file = directory.file("loop");
    let recording = Recording::start(&file, &["--sample-every", "1", "--frequency", "0"]);
    let address = network.address();
    let server = serving(&network, move |listener| serve(listener, clients, work));
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

/// How a server takes its messages.
#[derive(Clone, Copy, Debug)]
enum Takes {
    /// It throws them away: `MSG_TRUNC`.
    Truncates,
    /// It moves them into a pipe.
    Splices,
    /// It looks at them first, then copies them.
    Peeks,
}

impl Takes {
    /// Takes bytes of a message, of which so many are left; none at the end.
    fn take(self, connection: RawFd, pipe: &mut [RawFd; 2], left: usize) -> usize {
        let mut into = [0_u8; SIZE];
        let receive = |into: &mut [u8], flags| {
            // SAFETY: the room outlives the call.
            let taken = unsafe { libc::recv(connection, into.as_mut_ptr().cast(), left, flags) };
            usize::try_from(taken).unwrap()
        };
        match self {
            Self::Truncates => receive(&mut into, libc::MSG_TRUNC),
            Self::Peeks => {
                let seen = receive(&mut into, libc::MSG_PEEK);
                thread::sleep(LAZY);
                seen.min(receive(&mut into, 0))
            }
            Self::Splices => {
                let none = std::ptr::null_mut();
                // SAFETY: no offsets are given.
                let taken = unsafe { libc::splice(connection, none, pipe[1], none, left, 0) };
                let taken = usize::try_from(taken).unwrap();
                // SAFETY: there is room for what is in the pipe.
                let moved = unsafe { libc::read(pipe[0], into.as_mut_ptr().cast(), taken) };
                assert_eq!(usize::try_from(moved).unwrap(), taken);
                taken
            }
        }
    }
}

/// How long a server lets its messages lie.
const LAZY: Duration = Duration::from_millis(1);

/// Answers each message after it lay for a while, until the client has gone.
fn serve_lazily(listener: TcpListener, takes: Takes) {
    let mut connection = listener.accept().unwrap().0;
    connection.set_nodelay(true).unwrap();
    let mut pipe = [0; 2];
    // SAFETY: there is room for both.
    assert_eq!(unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    loop {
        let mut left = SIZE;
        while left > 0 {
            let mut event = libc::pollfd { fd: connection.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: the event outlives the call.
            assert_eq!(unsafe { libc::poll(&raw mut event, 1, -1) }, 1);
            thread::sleep(LAZY);
            match takes.take(connection.as_raw_fd(), &mut pipe, left) {
                0 => return,
                taken => left -= taken,
            }
        }
        connection.write_all(&[2; SIZE]).unwrap();
    }
}

#[test]
fn data_that_nobody_copies_ends_when_it_is_read() {
    let Some(_alone) = ready!("nsenter") else { return };
    for (takes, end) in [(Takes::Truncates, End::Taken), (Takes::Splices, End::Taken), (Takes::Peeks, End::Copied)] {
        let (network, directory) = (Network::bridge(), Directory::new());
        let file = directory.file("lazy");
        let recording = Recording::start(&file, &["--sample-every", "1", "--frequency", "0"]);
        let address = network.address();
        let server = serving(&network, move |listener| serve_lazily(listener, takes));
        let client = network.inside("client", move || {
            let begun = Instant::now();
            ask(address, Duration::ZERO);
            begun.elapsed()
        });
        let took = client.join().unwrap();
        server.join().unwrap();
        let profile = recording.stop(&file);
        let at = network.inode("server");
        let is_meant = |path: &&PathRecord| {
            path.protocol == Protocol::TCP
                && path.payload_bytes > 0
                && path.crossings.last().is_some_and(|last| last.netns == at && last.point == Point::Copy)
        };
        let paths: Vec<_> = profile.paths.iter().filter(is_meant).collect();
        let count: u64 = paths.iter().filter(|path| path.end == end).map(|path| path.packets).sum();
        let told = format!("{takes:?}: {count} of {MESSAGES} messages end {}", end.name());
        assert!(count.abs_diff(MESSAGES) <= MESSAGES / 20, "{told}");
        // Read after they lay, and before they were answered.
        let lay: u64 = paths.iter().map(|path| path.end_to_end.sum).sum();
        assert!(lay >= LAZY.as_nanos() as u64 * count, "{told}, after {lay} ns in all");
        assert!(u128::from(lay) <= took.as_nanos(), "{told}, after {lay} ns in all, of {took:?}");
    }
}
