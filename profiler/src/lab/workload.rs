//! The built-in workloads: one process for each side, one thread for each pair, plain sockets.
//!
//! The server prints `ready` when all its sockets listen. At its end each side prints one line of JSON
//! ([`WorkerReport`]). Pair N uses port + N. Threads are called `ns-client` and `ns-server`, so that profiles tell the
//! two sides apart. An empty datagram ends a UDP server.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use netstrata_common::{BUCKETS, bucket_of};

use crate::{
    cli::LabWorkerArgs,
    failure::Failure,
    profile::{
        Histogram,
        benchmark::{RoundTrip, WORKER_SCHEMA, WorkerReport},
    },
};

/// What a worker may take beyond its duration.
pub const GRACE: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How much longer a server waits for its clients: the recording is set up between the two.
const WAIT_FOR_CLIENTS: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_millis(200);
const SILENCE_LIMIT: Duration = Duration::from_secs(2);

/// A built-in workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// One direction, as fast as TCP takes it.
    TcpStream,
    /// Request and answer over TCP, one at a time.
    TcpRr,
    /// One direction, as fast as the socket takes datagrams.
    UdpStream,
    /// Request and answer over UDP, one at a time.
    UdpRr,
}

/// The built-in workloads by name.
pub const BUILTIN: &[(&str, Builtin)] = &[
    ("tcp-stream", Builtin::TcpStream),
    ("tcp-rr", Builtin::TcpRr),
    ("udp-stream", Builtin::UdpStream),
    ("udp-rr", Builtin::UdpRr),
];

impl Builtin {
    /// The workload of this name.
    pub fn find(name: &str) -> Option<Self> {
        BUILTIN.iter().find(|entry| entry.0 == name).map(|entry| entry.1)
    }

    /// Bytes of one message where none are asked for.
    pub fn default_size(self) -> u64 {
        match self {
            Self::TcpStream => 131_072,
            Self::UdpStream => 1400,
            Self::TcpRr | Self::UdpRr => 64,
        }
    }

    /// Largest message, in bytes: that of a UDP datagram over IPv4, or what a buffer may take.
    pub fn largest_size(self) -> u64 {
        match self {
            Self::UdpStream | Self::UdpRr => 65_507,
            Self::TcpStream | Self::TcpRr => 64 << 20,
        }
    }
}

/// What one pair counted.
#[derive(Default)]
struct Pair {
    bytes: u64,
    transactions: u64,
    losses: u64,
    retransmits: Option<u64>,
    round_trips: Option<Histogram>,
    start: Option<Instant>,
    end: Option<Instant>,
}

/// Runs one side to its end and gives its report. Prints `ready` when it is a server.
pub fn work(args: &LabWorkerArgs) -> anyhow::Result<WorkerReport> {
    let Some(workload) = Builtin::find(&args.workload) else {
        let known: Vec<&str> = BUILTIN.iter().map(|entry| entry.0).collect();
        bail!(Failure::Usage(format!("unknown workload `{}`; built in: {}", args.workload, known.join(", "))));
    };
    if !(1..=workload.largest_size()).contains(&args.size) {
        bail!(Failure::Usage(format!("--size of {} lies within 1 and {}", args.workload, workload.largest_size())));
    }
    let pairs = args.pairs.clamp(1, 1000);
    let mut patience = args.patience.unwrap_or_default();
    if args.listen.is_some() {
        patience += WAIT_FOR_CLIENTS;
    }
    watch(args.duration + GRACE + patience);
    let cpu = cpu_time();
    let (side, results) = match (args.listen, args.connect) {
        (Some(address), None) => ("server", serve(workload, address, args, pairs)?),
        (None, Some(address)) => ("client", drive(workload, address, args, pairs)?),
        _ => bail!(Failure::Usage("a worker needs --listen ADDRESS:PORT or --connect ADDRESS:PORT".into())),
    };
    let used = cpu_time();
    Ok(report(args, side, pairs, results, (used.0.saturating_sub(cpu.0), used.1.saturating_sub(cpu.1))))
}

fn report(args: &LabWorkerArgs, side: &str, pairs: u32, results: Vec<Pair>, cpu: (u64, u64)) -> WorkerReport {
    let start = results.iter().filter_map(|pair| pair.start).min();
    let end = results.iter().filter_map(|pair| pair.end).max();
    let mut trips = Histogram::default();
    results.iter().filter_map(|pair| pair.round_trips.as_ref()).for_each(|histogram| trips.merge(histogram));
    WorkerReport {
        schema: WORKER_SCHEMA.into(),
        side: side.into(),
        workload: args.workload.clone(),
        message_bytes: args.size,
        pairs,
        duration_ns: start.zip(end).map_or(0, |(start, end)| end.duration_since(start).as_nanos() as u64),
        bytes: results.iter().map(|pair| pair.bytes).sum(),
        pair_bytes: results.iter().map(|pair| pair.bytes).collect(),
        transactions: results.iter().map(|pair| pair.transactions).sum(),
        losses: results.iter().map(|pair| pair.losses).sum(),
        round_trip: (trips.count > 0).then(|| RoundTrip {
            mean_ns: trips.mean(),
            p50_ns: trips.quantile(0.5),
            p99_ns: trips.quantile(0.99),
            max_ns: trips.max,
        }),
        retransmits: results.iter().filter_map(|pair| pair.retransmits).reduce(|sum, next| sum + next),
        user_ns: cpu.0,
        system_ns: cpu.1,
    }
}

/// Ends the process when it takes longer than `limit`: a peer that never came must not leave a worker behind.
fn watch(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        eprintln!("netstrata: the other side did not come or did not end within {limit:?}");
        std::process::exit(3);
    });
}

/// CPU time of this process: user, system.
fn cpu_time() -> (u64, u64) {
    // SAFETY: all zeroes is a valid `rusage`, and the call only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    (ns(usage.ru_utime), ns(usage.ru_stime))
}

fn offset(address: SocketAddr, pair: u32) -> anyhow::Result<SocketAddr> {
    let port = u32::from(address.port()) + pair;
    Ok(SocketAddr::new(address.ip(), u16::try_from(port).context("ports end at 65535")?))
}

fn join(threads: Vec<thread::JoinHandle<io::Result<Pair>>>) -> anyhow::Result<Vec<Pair>> {
    let mut results = Vec::new();
    for handle in threads {
        match handle.join() {
            Ok(result) => results.push(result?),
            Err(_) => bail!("a thread of the worker panicked"),
        }
    }
    Ok(results)
}

// ------------------------------------------------------------------------------------------------------- server

enum Listening {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

fn serve(workload: Builtin, address: SocketAddr, args: &LabWorkerArgs, pairs: u32) -> anyhow::Result<Vec<Pair>> {
    let mut sockets = Vec::new();
    for pair in 0..pairs {
        let address = offset(address, pair)?;
        let socket = match workload {
            Builtin::TcpStream | Builtin::TcpRr => TcpListener::bind(address).map(Listening::Tcp),
            Builtin::UdpStream | Builtin::UdpRr => UdpSocket::bind(address).map(Listening::Udp),
        };
        sockets.push(socket.with_context(|| format!("cannot listen on {address}"))?);
    }
    let size = args.size as usize;
    let mut threads = Vec::new();
    for socket in sockets {
        threads.push(thread::Builder::new().name("ns-server".into()).spawn(move || match socket {
            Listening::Tcp(listener) => {
                let stream = listener.accept()?.0;
                if workload == Builtin::TcpStream { sink(stream, size) } else { echo(stream, size) }
            }
            Listening::Udp(socket) if workload == Builtin::UdpStream => count(&socket, size),
            Listening::Udp(socket) => answer(&socket, size),
        })?);
    }
    println!("ready");
    io::stdout().flush()?;
    join(threads)
}

fn sink(mut stream: TcpStream, size: usize) -> io::Result<Pair> {
    let mut buffer = vec![0; size.max(4096)];
    let mut pair = Pair::default();
    loop {
        let got = stream.read(&mut buffer)?;
        if got == 0 {
            pair.end = Some(Instant::now());
            return Ok(pair);
        }
        if pair.start.is_none() {
            pair.start = Some(Instant::now());
        }
        pair.bytes += got as u64;
    }
}

fn echo(mut stream: TcpStream, size: usize) -> io::Result<Pair> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; size];
    let mut pair = Pair::default();
    loop {
        match stream.read_exact(&mut buffer) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                pair.end = Some(Instant::now());
                return Ok(pair);
            }
            Err(error) => return Err(error),
        }
        if pair.start.is_none() {
            pair.start = Some(Instant::now());
        }
        pair.bytes += size as u64;
        stream.write_all(&buffer)?;
    }
}

fn quiet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn count(socket: &UdpSocket, size: usize) -> io::Result<Pair> {
    let mut buffer = vec![0; size.max(1)];
    let mut pair = Pair::default();
    loop {
        let got = match socket.recv(&mut buffer) {
            Ok(0) if pair.start.is_some() => return Ok(pair),
            Ok(got) => got,
            Err(error) if quiet(&error) => return Ok(pair),
            Err(error) => return Err(error),
        };
        // The first datagram starts the clock and is not counted: its bytes came before the measured time.
        let now = Instant::now();
        if pair.start.is_none() {
            pair.start = Some(now);
            socket.set_read_timeout(Some(SILENCE_LIMIT))?;
        } else {
            pair.bytes += got as u64;
        }
        pair.end = Some(now);
    }
}

fn answer(socket: &UdpSocket, size: usize) -> io::Result<Pair> {
    let mut buffer = vec![0; size];
    let mut pair = Pair::default();
    loop {
        let (got, from) = match socket.recv_from(&mut buffer) {
            Ok((0, _)) => return Ok(pair),
            Ok(found) => found,
            Err(error) if quiet(&error) => return Ok(pair),
            Err(error) => return Err(error),
        };
        if pair.start.is_none() {
            pair.start = Some(Instant::now());
            socket.set_read_timeout(Some(SILENCE_LIMIT))?;
        }
        pair.bytes += got as u64;
        pair.end = Some(Instant::now());
        // An answer that cannot go out is a loss, and the client counts it.
        let _ = socket.send_to(&buffer[..got], from);
    }
}

// ------------------------------------------------------------------------------------------------------- client

enum Connected {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

fn drive(workload: Builtin, address: SocketAddr, args: &LabWorkerArgs, pairs: u32) -> anyhow::Result<Vec<Pair>> {
    let mut sockets = Vec::new();
    for pair in 0..pairs {
        let address = offset(address, pair)?;
        let socket = match workload {
            Builtin::TcpStream | Builtin::TcpRr => {
                TcpStream::connect_timeout(&address, CONNECT_LIMIT + args.patience.unwrap_or_default())
                    .map(Connected::Tcp)
            }
            Builtin::UdpStream | Builtin::UdpRr => {
                let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
                UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| Connected::Udp(socket)))
            }
        };
        sockets.push(socket.with_context(|| format!("cannot connect to {address}"))?);
    }
    let barrier = Arc::new(Barrier::new(sockets.len()));
    let (size, duration) = (args.size as usize, args.duration);
    let mut threads = Vec::new();
    for socket in sockets {
        let barrier = barrier.clone();
        threads.push(thread::Builder::new().name("ns-client".into()).spawn(move || {
            barrier.wait();
            match socket {
                Connected::Tcp(stream) if workload == Builtin::TcpStream => pour(stream, size, duration),
                Connected::Tcp(stream) => ask(stream, size, duration),
                Connected::Udp(socket) if workload == Builtin::UdpStream => flood(&socket, size, duration),
                Connected::Udp(socket) => ask_datagrams(&socket, size, duration),
            }
        })?);
    }
    join(threads)
}

fn pour(mut stream: TcpStream, size: usize, duration: Duration) -> io::Result<Pair> {
    let buffer = vec![0x5a; size];
    let start = Instant::now();
    let mut pair = Pair { start: Some(start), ..Pair::default() };
    while start.elapsed() < duration {
        stream.write_all(&buffer)?;
        pair.bytes += size as u64;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // The server closes when it has read everything: only then has all of it arrived.
    let _ = stream.read(&mut [0; 1])?;
    pair.end = Some(Instant::now());
    pair.retransmits = retransmits(&stream);
    Ok(pair)
}

/// Round trips as dense buckets: adding one costs a few nanoseconds, so that the client hardly times itself.
struct Trips {
    dense: Box<[u64; BUCKETS]>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Trips {
    fn new() -> Self {
        Self { dense: Box::new([0; BUCKETS]), count: 0, sum: 0, max: 0 }
    }

    fn add(&mut self, time: Duration) {
        let ns = time.as_nanos() as u64;
        self.dense[bucket_of(ns)] += 1;
        self.count += 1;
        self.sum += ns;
        self.max = self.max.max(ns);
    }

    fn histogram(&self) -> Histogram {
        Histogram::from_dense(self.count, self.count, self.sum, self.max, &self.dense)
    }
}

fn ask(mut stream: TcpStream, size: usize, duration: Duration) -> io::Result<Pair> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0x5a; size];
    let mut trips = Trips::new();
    let start = Instant::now();
    let mut before = start;
    while before.duration_since(start) < duration {
        stream.write_all(&buffer)?;
        stream.read_exact(&mut buffer)?;
        let now = Instant::now();
        trips.add(now.duration_since(before));
        before = now;
    }
    Ok(Pair {
        bytes: trips.count * size as u64,
        transactions: trips.count,
        retransmits: retransmits(&stream),
        round_trips: Some(trips.histogram()),
        start: Some(start),
        end: Some(before),
        ..Pair::default()
    })
}

fn flood(socket: &UdpSocket, size: usize, duration: Duration) -> io::Result<Pair> {
    let buffer = vec![0x5a; size];
    let start = Instant::now();
    let mut pair = Pair { start: Some(start), ..Pair::default() };
    while start.elapsed() < duration {
        match socket.send(&buffer) {
            Ok(sent) => pair.bytes += sent as u64,
            Err(error) if passing(&error) => pair.losses += 1,
            Err(error) => return Err(error),
        }
    }
    pair.end = Some(Instant::now());
    end_datagrams(socket);
    Ok(pair)
}

/// Errors of a datagram socket that mean one lost datagram: no buffer, or nobody listens any more.
fn passing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS) || error.kind() == io::ErrorKind::ConnectionRefused || quiet(error)
}

/// Ends the server. Several times: the receiver's buffer may be full just now.
fn end_datagrams(socket: &UdpSocket) {
    for _ in 0..5 {
        if socket.send(&[]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn ask_datagrams(socket: &UdpSocket, size: usize, duration: Duration) -> io::Result<Pair> {
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    let (mut request, mut reply) = (vec![0x5a; size], vec![0; size]);
    let mark = size.min(8);
    let mut trips = Trips::new();
    let mut pair = Pair::default();
    let start = Instant::now();
    let mut before = start;
    let mut number: u64 = 0;
    while before.duration_since(start) < duration {
        number += 1;
        request[..mark].copy_from_slice(&number.to_le_bytes()[..mark]);
        let answered = match socket.send(&request) {
            // A late answer to an earlier request bears another number and is passed over.
            Ok(_) => loop {
                match socket.recv(&mut reply) {
                    Ok(got) if got == size && reply[..mark] == request[..mark] => break true,
                    Ok(_) if before.elapsed() < ANSWER_LIMIT => {}
                    Ok(_) => break false,
                    Err(error) if passing(&error) => break false,
                    Err(error) => return Err(error),
                }
            },
            Err(error) if passing(&error) => false,
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        if answered {
            trips.add(now.duration_since(before));
        } else {
            pair.losses += 1;
        }
        before = now;
    }
    end_datagrams(socket);
    pair.bytes = trips.count * size as u64;
    pair.transactions = trips.count;
    pair.round_trips = Some(trips.histogram());
    (pair.start, pair.end) = (Some(start), Some(before));
    Ok(pair)
}

/// `tcpi_total_retrans` of a connection.
fn retransmits(stream: &TcpStream) -> Option<u64> {
    // SAFETY: all zeroes is a valid `tcp_info`; the kernel writes at most `length` bytes to it.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let result = libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut length,
        );
        (result == 0).then_some(u64::from(info.tcpi_total_retrans))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn run(name: &str, pairs: u32, port: u16) -> (WorkerReport, WorkerReport) {
        let workload = Builtin::find(name).unwrap();
        let args = LabWorkerArgs {
            workload: name.into(),
            size: workload.default_size(),
            duration: Duration::from_millis(100),
            pairs,
            ..LabWorkerArgs::default()
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mine = args.clone();
        let server = thread::spawn(move || {
            let results = serve(workload, address, &mine, pairs).unwrap();
            report(&mine, "server", pairs, results, (0, 0))
        });
        thread::sleep(Duration::from_millis(100));
        let client = report(&args, "client", pairs, drive(workload, address, &args, pairs).unwrap(), (0, 0));
        (client, server.join().unwrap())
    }

    #[test]
    fn tcp_streams_arrive_whole() {
        let (client, server) = run("tcp-stream", 2, 42310);
        assert!(server.bytes > 0);
        assert_eq!(client.bytes, server.bytes);
        assert_eq!(server.pair_bytes.len(), 2);
        assert!(client.retransmits.is_some());
        assert!(server.benchmark().throughput_bits_per_s.unwrap() > 0.0);
    }

    #[test]
    fn every_request_has_its_answer() {
        for (name, port) in [("tcp-rr", 42320), ("udp-rr", 42330)] {
            let (client, server) = run(name, 2, port);
            assert!(client.transactions > 0);
            assert_eq!(client.bytes, client.transactions * 64);
            assert!(server.bytes >= client.bytes, "{name}");
            let trip = client.round_trip.unwrap();
            assert!(trip.p50_ns > 0 && trip.p50_ns <= trip.p99_ns && trip.p99_ns <= trip.max_ns, "{trip:?}");
        }
    }

    #[test]
    fn datagrams_are_counted_where_they_arrive() {
        let (client, server) = run("udp-stream", 1, 42340);
        assert!(server.bytes > 0 && server.bytes <= client.bytes);
        assert_eq!(client.benchmark().throughput_bits_per_s, None);
        assert!(server.benchmark().throughput_bits_per_s.is_some());
    }

    #[test]
    fn sizes_that_no_datagram_has_are_refused() {
        let args = LabWorkerArgs { workload: "udp-rr".into(), size: 70_000, ..LabWorkerArgs::default() };
        assert!(work(&args).unwrap_err().to_string().contains("65507"));
    }
}
