//! Datagrams: one way, or request and answer. An empty datagram ends a server.

use std::{
    io,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use super::{Pair, progress::Steps, sockets::dropped_at, times::Times};

const ANSWER_LIMIT: Duration = Duration::from_millis(200);
const SILENCE_LIMIT: Duration = Duration::from_secs(2);
/// After the end, how long datagrams may still come that were overtaken.
const LATE_LIMIT: Duration = Duration::from_millis(50);
/// Bytes of the number that a datagram bears; smaller ones bear none.
const NUMBER: usize = 8;

fn quiet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Errors of a datagram socket that mean one lost datagram: no buffer, or nobody listens any more.
fn passing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS) || error.kind() == io::ErrorKind::ConnectionRefused || quiet(error)
}

/// The order in which numbered datagrams come.
#[derive(Debug, Default, PartialEq)]
struct Order {
    highest: Option<u64>,
    reordered: u64,
}

impl Order {
    fn came(&mut self, number: u64) {
        match self.highest {
            Some(highest) if number < highest => self.reordered += 1,
            _ => self.highest = Some(number),
        }
    }
}

/// Counts what comes.
pub fn count(socket: &UdpSocket, size: usize) -> io::Result<Pair> {
    let mut buffer = vec![0; size.max(1)];
    let (mut order, mut steps) = (Order::default(), Steps::new());
    let mut pair = Pair::default();
    let mut ended = false;
    loop {
        let got = match socket.recv(&mut buffer) {
            Ok(0) => {
                if !ended {
                    ended = true;
                    socket.set_read_timeout(Some(LATE_LIMIT))?;
                }
                continue;
            }
            Ok(got) => got,
            Err(error) if quiet(&error) => break,
            Err(error) => return Err(error),
        };
        // The first datagram starts the clock and its bytes are not counted: they came before the measured time.
        let now = Instant::now();
        if pair.start.is_none() {
            pair.start = Some(now);
            socket.set_read_timeout(Some(SILENCE_LIMIT))?;
        } else {
            pair.bytes += got as u64;
            steps.add(now, got as u64);
        }
        pair.end = Some(now);
        pair.datagrams += 1;
        if let Some(number) = buffer[..got].first_chunk::<NUMBER>() {
            order.came(u64::from_le_bytes(*number));
        }
    }
    pair.progress = pair.start.zip(pair.end).map(|(start, end)| steps.progress(start, end));
    pair.reordered = (size >= NUMBER).then_some(order.reordered);
    pair.dropped_at_socket = dropped_at(socket);
    Ok(pair)
}

/// Sends for `duration`, as fast as the socket takes it.
pub fn flood(socket: &UdpSocket, size: usize, duration: Duration) -> io::Result<Pair> {
    let mut buffer = vec![0x5a; size];
    let start = Instant::now();
    let mut pair = Pair { start: Some(start), ..Pair::default() };
    while start.elapsed() < duration {
        if let Some(number) = buffer.first_chunk_mut::<NUMBER>() {
            *number = pair.datagrams.to_le_bytes();
        }
        match socket.send(&buffer) {
            Ok(sent) => {
                pair.bytes += sent as u64;
                pair.datagrams += 1;
            }
            Err(error) if passing(&error) => pair.losses += 1,
            Err(error) => return Err(error),
        }
    }
    pair.end = Some(Instant::now());
    Ok(pair)
}

/// Ends the server. Several times: the receiver's buffer may be full just now.
pub fn end_datagrams(socket: &UdpSocket) {
    for _ in 0..5 {
        if socket.send(&[]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Answers each datagram with itself.
pub fn answer(socket: &UdpSocket, size: usize) -> io::Result<Pair> {
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

/// Asks, one request at a time, for `duration`.
pub fn ask(socket: &UdpSocket, size: usize, duration: Duration) -> io::Result<Pair> {
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    let (mut request, mut reply) = (vec![0x5a; size], vec![0; size]);
    let mark = size.min(NUMBER);
    let (mut trips, mut steps) = (Times::new()?, Steps::new());
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
            steps.add(now, 1);
        } else {
            pair.losses += 1;
        }
        before = now;
    }
    pair.bytes = trips.count() * size as u64;
    pair.transactions = trips.count();
    pair.round_trips = Some(trips);
    pair.progress = Some(steps.progress(start, before));
    (pair.start, pair.end) = (Some(start), Some(before));
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(numbers: &[u64]) -> Order {
        let mut order = Order::default();
        numbers.iter().for_each(|number| order.came(*number));
        order
    }

    #[test]
    fn a_late_datagram_is_out_of_order_and_a_gap_is_not() {
        assert_eq!(order(&[0, 1, 5, 6]).reordered, 0);
        assert_eq!(order(&[0, 2, 1, 3]).reordered, 1);
        assert_eq!(order(&[3, 0, 1, 2, 4]).reordered, 3);
    }

    proptest! {
        #[test]
        fn only_an_ascending_order_has_none(numbers in prop::collection::vec(0u64..1000, 0..200)) {
            prop_assert_eq!(order(&numbers).reordered == 0, numbers.is_sorted());
        }
    }
}
