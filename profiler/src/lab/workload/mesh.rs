//! All-to-all: each of several processes sends a message to each other one and reads one of each; when it has them all, a round is over
//! (what MPI calls `MPI_Alltoall`).
//!
//! Process 0 is the client: it measures rounds, and says in its message which one is the last. All others are servers; each connects to those
//! with a lower number, which listen already, and the client to all of them.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{CONNECT_LIMIT, Pair, progress::Steps, sides::machine_use, sockets::retransmits, times::Times};
use crate::{cli::LabWorkerArgs, failure::Failure, host::cpu::CpuTimes, output::print, profile::measures::MachineUse};

/// What the first byte of a message says.
const MORE: u8 = 0;
const LAST: u8 = 1;

/// Runs one process to its end.
pub fn run(args: &LabWorkerArgs) -> anyhow::Result<(Pair, Option<MachineUse>)> {
    let (rank, peers) = (args.rank as usize, args.peers.clone());
    if peers.len() < 2 || rank >= peers.len() {
        bail!(Failure::Usage("all-to-all needs the addresses of at least two --peers, of which --rank is one".into()));
    }
    let listener = match args.listen {
        Some(address) => Some(TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?),
        None => None,
    };
    if listener.is_some() {
        print("ready\n")?;
    }
    let (size, duration) = (args.size as usize, args.duration);
    let name = if rank == 0 { "ns-client" } else { "ns-server" };
    let before = CpuTimes::now();
    let process = move || -> io::Result<Pair> {
        let streams = meet(rank, &peers, listener.as_ref())?;
        if rank == 0 { lead(&streams, size, duration) } else { follow(&streams, size) }
    };
    let ended = thread::Builder::new().name(name.into()).spawn(process)?.join();
    let Ok(pair) = ended else { bail!("a thread of the worker panicked") };
    let pair = pair.context("all-to-all")?;
    let used = before.and_then(|before| Ok(CpuTimes::now()?.since(&before))).ok().flatten();
    Ok((pair, used.map(machine_use)))
}

/// Connections to all others.
fn meet(rank: usize, peers: &[SocketAddr], listener: Option<&TcpListener>) -> io::Result<Vec<TcpStream>> {
    let lower = if rank == 0 { &peers[1..] } else { &peers[1..rank] };
    let mut streams: Vec<TcpStream> =
        lower.iter().map(|peer| TcpStream::connect_timeout(peer, CONNECT_LIMIT)).collect::<io::Result<_>>()?;
    while streams.len() < peers.len() - 1 {
        let listener = listener.ok_or_else(|| io::Error::other("a server listens"))?;
        streams.push(listener.accept()?.0);
    }
    streams.iter().try_for_each(|stream| stream.set_nodelay(true))?;
    Ok(streams)
}

/// One round; whether somebody said that it is the last one.
fn round(streams: &[TcpStream], buffer: &mut [u8], says: u8) -> io::Result<bool> {
    for mut stream in streams {
        buffer[0] = says;
        stream.write_all(buffer)?;
    }
    let mut last = false;
    for mut stream in streams {
        stream.read_exact(buffer)?;
        last |= buffer[0] == LAST;
    }
    Ok(last)
}

/// The client's part: rounds for `duration`.
fn lead(streams: &[TcpStream], size: usize, duration: Duration) -> io::Result<Pair> {
    let mut buffer = vec![MORE; size];
    // Until the others have met, which is no part of a round.
    round(streams, &mut buffer, MORE)?;
    let (mut trips, mut steps) = (Times::new()?, Steps::new());
    let start = Instant::now();
    let mut before = start;
    loop {
        let last = before.duration_since(start) >= duration;
        round(streams, &mut buffer, if last { LAST } else { MORE })?;
        let now = Instant::now();
        trips.add(now.duration_since(before));
        steps.add(now, 1);
        before = now;
        if last {
            break;
        }
    }
    Ok(Pair {
        bytes: trips.count() * (size * streams.len()) as u64,
        transactions: trips.count(),
        retransmits: streams.iter().filter_map(retransmits).reduce(|sum, next| sum + next),
        round_trips: Some(trips),
        progress: Some(steps.progress(start, before)),
        start: Some(start),
        end: Some(before),
        ..Pair::default()
    })
}

/// A server's part: rounds until the client's last one.
fn follow(streams: &[TcpStream], size: usize) -> io::Result<Pair> {
    let mut buffer = vec![MORE; size];
    round(streams, &mut buffer, MORE)?;
    let mut pair = Pair { start: Some(Instant::now()), ..Pair::default() };
    loop {
        let last = round(streams, &mut buffer, MORE)?;
        pair.bytes += (size * streams.len()) as u64;
        if last {
            break;
        }
    }
    pair.end = Some(Instant::now());
    pair.retransmits = streams.iter().filter_map(retransmits).reduce(|sum, next| sum + next);
    Ok(pair)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn everybody_hears_everybody_in_every_round_and_stops_after_the_same_one() {
        let listeners: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let peers: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let (size, duration) = (64, Duration::from_millis(50));
        let servers: Vec<_> = listeners
            .into_iter()
            .enumerate()
            .skip(1)
            .map(|(rank, listener)| {
                let peers = peers.clone();
                thread::spawn(move || follow(&meet(rank, &peers, Some(&listener)).unwrap(), size).unwrap())
            })
            .collect();
        let client = lead(&meet(0, &peers, None).unwrap(), size, duration).unwrap();
        assert!(client.transactions > 1);
        assert_eq!(client.bytes, client.transactions * 4 * 64);
        for server in servers {
            assert_eq!(server.join().unwrap().bytes, client.bytes);
        }
    }

    #[test]
    fn one_alone_is_no_mesh() {
        let args = LabWorkerArgs { workload: "all-to-all".into(), size: 64, ..LabWorkerArgs::default() };
        assert!(run(&args).err().unwrap().to_string().contains("at least two --peers"));
    }
}
