//! What runs beside the pairs: busy loops, and floods of datagrams.
//!
//! A neighbour says `running`, then a line of JSON ([`NeighbourReport`]) ten times a second until it is killed or its
//! duration ends: so that its last figures are known however it ends. Its threads are called `ns-neighbour`.

use std::{
    io::{self, Write as _},
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::{
    choices::{BUSY, FLOOD},
    cli::LabWorkerArgs,
    failure::Failure,
    host::{clock::thread_cpu_ns, cpu::own_time},
};

/// What a neighbour says when it runs.
pub const RUNNING: &str = "running";
/// Schema of a neighbour's line.
pub const NEIGHBOUR_SCHEMA: &str = "netstrata.neighbour/1";
/// Bytes of a flood's datagrams: as large as fit into a frame of any tunnel.
pub const FLOOD_BYTES: usize = 1400;
const EVERY: Duration = Duration::from_millis(100);
/// A busy loop with a share works and rests once in this time.
const PERIOD: Duration = Duration::from_millis(10);

/// Totals since the start of a neighbour.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct NeighbourReport {
    /// [`NEIGHBOUR_SCHEMA`].
    pub schema: String,
    /// Time since the start.
    pub elapsed_ns: u64,
    /// CPU time of its process.
    pub cpu_ns: u64,
    /// Bytes that it sent or got.
    pub bytes: u64,
}

impl NeighbourReport {
    /// The report in this line.
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok().filter(|report: &Self| report.schema == NEIGHBOUR_SCHEMA)
    }
}

/// Runs a neighbour; none if the worker is to be none.
pub fn run(args: &LabWorkerArgs) -> Option<anyhow::Result<()>> {
    let bytes = Arc::new(AtomicU64::new(0));
    let started = match args.workload.as_str() {
        BUSY => busy(args.pairs, args.share),
        FLOOD => match (args.listen, args.connect) {
            (Some(address), None) => receive(address, bytes.clone()),
            (None, Some(address)) => send(address, bytes.clone()),
            _ => Err(Failure::Usage("a flood needs --listen ADDRESS:PORT or --connect ADDRESS:PORT".into()).into()),
        },
        _ => return None,
    };
    Some(started.and_then(|()| tell(args.duration, &bytes)))
}

/// Says what was done so far, until the end.
fn tell(duration: Duration, bytes: &AtomicU64) -> anyhow::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{RUNNING}")?;
    out.flush()?;
    let (start, before) = (Instant::now(), own_time().total());
    while start.elapsed() < duration {
        thread::sleep(EVERY);
        let report = NeighbourReport {
            schema: NEIGHBOUR_SCHEMA.into(),
            elapsed_ns: start.elapsed().as_nanos() as u64,
            cpu_ns: own_time().total().saturating_sub(before).as_nanos() as u64,
            bytes: bytes.load(Ordering::Relaxed),
        };
        // A lab that is gone does not listen, and the neighbour ends.
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        out.flush()?;
    }
    Ok(())
}

fn thread(work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    thread::Builder::new().name("ns-neighbour".into()).spawn(work).context("cannot start a neighbour")?;
    Ok(())
}

fn busy(count: u32, share: f64) -> anyhow::Result<()> {
    for _ in 0..count {
        thread(move || {
            loop {
                spin(PERIOD.mul_f64(share.clamp(0.0, 1.0)));
                if share < 1.0 {
                    thread::sleep(PERIOD.mul_f64(1.0 - share));
                }
            }
        })?;
    }
    Ok(())
}

/// Uses this much CPU time: what others take of the CPU meanwhile is not its own.
fn spin(work: Duration) {
    let start = thread_cpu_ns();
    while u128::from(thread_cpu_ns() - start) < work.as_nanos() {
        for _ in 0..1000 {
            std::hint::spin_loop();
        }
    }
}

fn send(address: SocketAddr, bytes: Arc<AtomicU64>) -> anyhow::Result<()> {
    let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address).with_context(|| format!("cannot connect to {address}"))?;
    thread(move || {
        loop {
            // What the kernel refuses (no buffer) is not sent; there is always a next one.
            if let Ok(sent) = socket.send(&[0x5a; FLOOD_BYTES]) {
                bytes.fetch_add(sent as u64, Ordering::Relaxed);
            }
        }
    })
}

fn receive(address: SocketAddr, bytes: Arc<AtomicU64>) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    thread(move || {
        let mut buffer = [0; FLOOD_BYTES];
        loop {
            if let Ok(got) = socket.recv(&mut buffer) {
                bytes.fetch_add(got as u64, Ordering::Relaxed);
            }
        }
    })
}
