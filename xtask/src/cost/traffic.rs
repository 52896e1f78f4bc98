//! The traffic that costs are measured with: the same number of messages each time, between two namespaces over bridges, in
//! one process, so that nothing but the program under test differs.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

/// So many bridges, each with a device in both namespaces. Where the kernel puts a device decides whether it shares a place with
/// another in the programs' cache of devices, which costs a crossing some hundred instructions; on one of these at least
/// there is none that does.
pub const NETWORKS: u8 = 6;
const SIDES: [(&str, u8); 2] = [("cost-a", 1), ("cost-b", 2)];
/// Bytes of a message of a ping-pong, and of a write of a stream.
const MESSAGE: usize = 64;
const CHUNK: usize = 128 << 10;
/// Round trips before any that count: addresses are resolved, windows open, code is in its place.
const WARM_UP: u32 = 100;

/// Makes the networks. They go with the machine.
pub fn networks() -> Result<()> {
    let mut outside = String::new();
    for (side, _) in SIDES {
        outside.push_str(&format!("netns add {side}\n"));
    }
    for network in 0..NETWORKS {
        outside.push_str(&format!("link add cost{network} type bridge\nlink set cost{network} up\n"));
        for (side, _) in SIDES {
            outside.push_str(&format!(
                "link add {side}{network} type veth peer name eth{network} netns {side}\n\
                 link set {side}{network} master cost{network} up\n"
            ));
        }
    }
    batch(&[], &outside)?;
    for (side, number) in SIDES {
        let inside: String = (0..NETWORKS)
            .map(|network| {
                let address = address(network, number);
                format!("link set eth{network} up\naddress add {address}/24 dev eth{network}\n")
            })
            .collect();
        batch(&["-n", side], &inside)?;
    }
    Ok(())
}

fn address(network: u8, side: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, network, side)
}

/// Runs lines of ip(8).
fn batch(options: &[&str], lines: &str) -> Result<()> {
    let mut ip = Command::new("ip").args(options).args(["-batch", "-"]).stdin(Stdio::piped()).spawn()?;
    let mut input = ip.stdin.take().context("no way to tell ip what to do")?;
    input.write_all(lines.as_bytes())?;
    drop(input);
    let status = ip.wait()?;
    anyhow::ensure!(status.success(), "ip failed: {status}");
    Ok(())
}

/// Both ends of a connection.
pub struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    /// A pair in each network.
    pub fn all() -> Result<Vec<Self>> {
        (0..NETWORKS).map(Self::connect).collect()
    }

    /// Connects through a network, and warms it up.
    fn connect(network: u8) -> Result<Self> {
        let [(client, _), (server, number)] = SIDES;
        let listener = inside(server, || TcpListener::bind((address(network, number), 0)))?;
        let address = listener.local_addr()?;
        let client = inside(client, || TcpStream::connect(address))?;
        let (server, _) = listener.accept()?;
        for socket in [&client, &server] {
            socket.set_nodelay(true)?;
        }
        let mut pair = Self { client, server };
        pair.round_trips(WARM_UP)?;
        Ok(pair)
    }

    /// A message there and back, so many times.
    pub fn round_trips(&mut self, count: u32) -> Result<Duration> {
        let Self { client, server } = self;
        let echo = || -> std::io::Result<()> {
            let mut message = [0; MESSAGE];
            for _ in 0..count {
                server.read_exact(&mut message)?;
                server.write_all(&message)?;
            }
            Ok(())
        };
        beside(echo, || {
            let mut message = [0; MESSAGE];
            for _ in 0..count {
                client.write_all(&message)?;
                client.read_exact(&mut message)?;
            }
            Ok(())
        })
    }

    /// A stream of so many writes, until all has arrived.
    pub fn stream(&mut self, count: u32) -> Result<Duration> {
        let Self { client, server } = self;
        let read = || -> std::io::Result<()> {
            let mut buffer = vec![0; CHUNK];
            (0..count).try_for_each(|_| server.read_exact(&mut buffer))?;
            server.write_all(&[0])
        };
        beside(read, || {
            let buffer = vec![0; CHUNK];
            (0..count).try_for_each(|_| client.write_all(&buffer))?;
            client.read_exact(&mut [0])
        })
    }
}

/// Runs both sides, and tells how long it took.
fn beside(
    other: impl FnOnce() -> std::io::Result<()> + Send,
    this: impl FnOnce() -> std::io::Result<()>,
) -> Result<Duration> {
    std::thread::scope(|scope| {
        let begin = Instant::now();
        let other = scope.spawn(other);
        this()?;
        let took = begin.elapsed();
        other.join().map_err(|_| anyhow!("the other side panicked"))??;
        Ok(took)
    })
}

/// Runs `work` in a network namespace; a socket stays in that in which it was made.
fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let work = || -> Result<T> {
            let file = File::open(format!("/run/netns/{namespace}"))?;
            // SAFETY: affects this thread only, which ends here.
            let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
            anyhow::ensure!(result == 0, "cannot enter {namespace}: {}", std::io::Error::last_os_error());
            work().with_context(|| format!("no connection in {namespace}"))
        };
        scope.spawn(work).join().map_err(|_| anyhow!("a side of the traffic panicked"))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_streams_arrive_whole() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (server, _) = listener.accept().expect("a connection");
        let mut pair = Pair { client, server };
        pair.round_trips(10).expect("round trips");
        pair.stream(3).expect("a stream");
        // What one leaves behind would be in the way of the next.
        pair.round_trips(1).expect("round trips");
    }
}
