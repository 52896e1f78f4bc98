//! One connection for a pair: a stream in one direction, or request and answer.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{Pair, progress::Steps, sockets::retransmits, times::Times};

/// Reads a stream to its end.
pub fn sink(mut stream: TcpStream, size: usize) -> io::Result<Pair> {
    let mut buffer = vec![0; size.max(4096)];
    let mut steps = Steps::new();
    let (mut pair, mut start) = (Pair::default(), None);
    loop {
        let got = stream.read(&mut buffer)?;
        let now = Instant::now();
        let start = *start.get_or_insert(now);
        if got == 0 {
            (pair.start, pair.end) = (Some(start), Some(now));
            pair.progress = Some(steps.progress(start, now));
            pair.retransmits = retransmits(&stream);
            return Ok(pair);
        }
        pair.bytes += got as u64;
        steps.add(now, got as u64);
    }
}

/// Sends for `duration`.
pub fn pour(mut stream: &TcpStream, size: usize, duration: Duration) -> io::Result<Pair> {
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
    pair.retransmits = retransmits(stream);
    Ok(pair)
}

/// Answers each message with itself until the client closes.
pub fn echo(mut stream: TcpStream, size: usize) -> io::Result<Pair> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; size];
    let mut pair = Pair::default();
    loop {
        match stream.read_exact(&mut buffer) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                pair.end = Some(Instant::now());
                pair.retransmits = retransmits(&stream);
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

/// One request and its answer, before anything is measured.
pub fn ask_once(stream: &mut TcpStream, size: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0x5a; size];
    stream.write_all(&buffer)?;
    stream.read_exact(&mut buffer)
}

/// Asks, one request at a time, for `duration`.
pub fn ask(mut stream: &TcpStream, size: usize, duration: Duration) -> io::Result<Pair> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0x5a; size];
    let (mut trips, mut steps) = (Times::new()?, Steps::new());
    let start = Instant::now();
    let mut before = start;
    while before.duration_since(start) < duration {
        stream.write_all(&buffer)?;
        stream.read_exact(&mut buffer)?;
        let now = Instant::now();
        trips.add(now.duration_since(before));
        steps.add(now, 1);
        before = now;
    }
    Ok(Pair {
        bytes: trips.count() * size as u64,
        transactions: trips.count(),
        retransmits: retransmits(stream),
        round_trips: Some(trips),
        progress: Some(steps.progress(start, before)),
        start: Some(start),
        end: Some(before),
        ..Pair::default()
    })
}
