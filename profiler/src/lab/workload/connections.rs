//! A new connection for each transaction (`tcp-crr`) and for each flow (`fct`).
//!
//! The server closes first: the state that TCP keeps of an ended connection (TIME_WAIT) is then the server's, and the
//! client does not run out of ports. A connection without a byte ends the server.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use super::{CONNECT_LIMIT, Pair, progress::Steps, sockets::retransmits, times::Times};

/// Bytes in front of a flow that tell its length.
const HEADER: usize = 8;

fn add(total: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *total = Some(total.unwrap_or(0) + more);
    }
}

/// Reads the first bytes of a connection; false for one that ended before it said anything.
fn begins(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
    let mut got = 0;
    while got < buffer.len() {
        match stream.read(&mut buffer[got..])? {
            0 if got == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => got += more,
        }
    }
    Ok(true)
}

/// Ends the server on the other side of `address`.
pub fn end(address: SocketAddr) {
    // Where even this fails, the server's own limit ends it.
    drop(TcpStream::connect_timeout(&address, CONNECT_LIMIT));
}

/// Answers one request on each connection and closes it.
pub fn answer_each(listener: &TcpListener, size: usize) -> io::Result<Pair> {
    let mut buffer = vec![0; size];
    let mut pair = Pair::default();
    loop {
        let mut stream = listener.accept()?.0;
        // A connection that breaks is the client's to count.
        match begins(&mut stream, &mut buffer) {
            Ok(true) => {}
            Ok(false) => return Ok(pair),
            Err(_) => continue,
        }
        let now = Instant::now();
        pair.start.get_or_insert(now);
        if stream.write_all(&buffer).is_ok() {
            pair.bytes += size as u64;
            pair.end = Some(now);
        }
        add(&mut pair.retransmits, retransmits(&stream));
    }
}

/// Connects, asks, reads the answer and the end, closes: again and again for `duration`.
pub fn ask_each(address: SocketAddr, size: usize, duration: Duration) -> io::Result<Pair> {
    let mut buffer = vec![0x5a; size];
    let (mut trips, mut steps) = (Times::new()?, Steps::new());
    let mut pair = Pair::default();
    let mut failure = None;
    let start = Instant::now();
    let mut before = start;
    while before.duration_since(start) < duration {
        let result = transaction(address, &mut buffer);
        let now = Instant::now();
        match result {
            Ok(again) => {
                trips.add(now.duration_since(before));
                steps.add(now, 1);
                add(&mut pair.retransmits, again);
            }
            Err(error) => {
                pair.losses += 1;
                failure = Some(error);
            }
        }
        before = now;
    }
    if let (0, Some(error)) = (trips.count(), failure) {
        return Err(error);
    }
    pair.bytes = trips.count() * size as u64;
    pair.transactions = trips.count();
    pair.round_trips = Some(trips);
    pair.progress = Some(steps.progress(start, before));
    (pair.start, pair.end) = (Some(start), Some(before));
    Ok(pair)
}

fn transaction(address: SocketAddr, buffer: &mut [u8]) -> io::Result<Option<u64>> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
    stream.set_nodelay(true)?;
    stream.write_all(buffer)?;
    stream.read_exact(buffer)?;
    // The server's close.
    let _ = stream.read(&mut [0; 1])?;
    Ok(retransmits(&stream))
}

/// Sizes of flows: mice, and a share of elephants among them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowPlan {
    /// Bytes of a mouse.
    pub mouse: u64,
    /// Bytes of an elephant.
    pub elephant: u64,
    /// Share of the flows that are elephants (0 to 1).
    pub share: f64,
}

impl FlowPlan {
    /// Whether the flow of this number is an elephant: of the first n flows the share is theirs as nearly as whole
    /// flows allow, and evenly spread.
    pub fn is_elephant(&self, number: u64) -> bool {
        ((number + 1) as f64 * self.share).floor() > (number as f64 * self.share).floor()
    }
}

/// Sends flow after flow, each on a connection of its own; none starts after `duration`, and those that did are
/// completed: cutting them off would leave out the long ones.
pub fn send_flows(
    address: SocketAddr,
    plan: FlowPlan,
    first: u64,
    size: usize,
    duration: Duration,
) -> io::Result<Pair> {
    let mut buffer = vec![0x5a; HEADER + size];
    let mut flows = [Times::new()?, Times::new()?];
    let mut pair = Pair::default();
    let start = Instant::now();
    let mut before = start;
    let mut number = first;
    while before.duration_since(start) < duration {
        let elephant = plan.is_elephant(number);
        let bytes = if elephant { plan.elephant } else { plan.mouse };
        let again = flow(address, bytes, &mut buffer)?;
        let now = Instant::now();
        flows[usize::from(elephant)].add(now.duration_since(before));
        pair.bytes += bytes;
        add(&mut pair.retransmits, again);
        before = now;
        number += 1;
    }
    (pair.start, pair.end) = (Some(start), Some(before));
    pair.flows = Some(flows);
    Ok(pair)
}

fn flow(address: SocketAddr, bytes: u64, buffer: &mut [u8]) -> io::Result<Option<u64>> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
    // The last segment of a flow must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    buffer[..HEADER].copy_from_slice(&bytes.to_le_bytes());
    let size = (buffer.len() - HEADER) as u64;
    let first = bytes.min(size);
    stream.write_all(&buffer[..HEADER + first as usize])?;
    let mut rest = bytes - first;
    while rest > 0 {
        let next = rest.min(size);
        stream.write_all(&buffer[HEADER..HEADER + next as usize])?;
        rest -= next;
    }
    // The server closes when it has read everything.
    let _ = stream.read(&mut [0; 1])?;
    Ok(retransmits(&stream))
}

/// Reads flows to their ends.
pub fn read_flows(listener: &TcpListener, size: usize) -> io::Result<Pair> {
    let mut buffer = vec![0; size.max(4096)];
    let (mut pair, mut steps) = (Pair::default(), Steps::new());
    loop {
        let mut stream = listener.accept()?.0;
        let mut header = [0; HEADER];
        if !begins(&mut stream, &mut header)? {
            pair.progress = pair.start.zip(pair.end).map(|(start, end)| steps.progress(start, end));
            return Ok(pair);
        }
        pair.start.get_or_insert_with(Instant::now);
        let mut rest = u64::from_le_bytes(header);
        while rest > 0 {
            let room = (buffer.len() as u64).min(rest) as usize;
            let got = stream.read(&mut buffer[..room])?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            rest -= got as u64;
            pair.bytes += got as u64;
            steps.add(Instant::now(), got as u64);
        }
        pair.end = Some(Instant::now());
        add(&mut pair.retransmits, retransmits(&stream));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn elephants_have_their_share_of_any_number_of_flows(share in 0.0f64..=1.0, flows in 1u64..2000) {
            let plan = FlowPlan { mouse: 1, elephant: 10, share };
            let elephants = (0..flows).filter(|number| plan.is_elephant(*number)).count() as f64;
            prop_assert!((elephants - share * flows as f64).abs() < 1.0 + 1e-6, "{elephants} of {flows}");
        }
    }

    #[test]
    fn every_fifth_flow_is_an_elephant() {
        let plan = FlowPlan { mouse: 1, elephant: 10, share: 0.2 };
        let elephants: Vec<u64> = (0..15).filter(|number| plan.is_elephant(*number)).collect();
        assert_eq!(elephants, [4, 9, 14]);
    }
}
