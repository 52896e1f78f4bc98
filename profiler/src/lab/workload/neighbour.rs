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

use super::usage::cpu_time;
use crate::{cli::LabWorkerArgs, failure::Failure};

/// What a neighbour says when it runs.
pub const RUNNING: &str = "running";
/// Schema of a neighbour's line.
pub const NEIGHBOUR_SCHEMA: &str = "netstrata.neighbour/1";
/// Names of the neighbours as workloads of a worker: busy loops, and either side of a flood.
pub const BUSY: &str = "busy";
/// A flood of datagrams.
pub const FLOOD: &str = "udp-flood";
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
    let (start, before) = (Instant::now(), cpu_time());
    while start.elapsed() < duration {
        thread::sleep(EVERY);
        let now = cpu_time();
        let report = NeighbourReport {
            schema: NEIGHBOUR_SCHEMA.into(),
            elapsed_ns: start.elapsed().as_nanos() as u64,
            cpu_ns: (now.0 + now.1).saturating_sub(before.0 + before.1),
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
    let start = thread_time();
    while thread_time().saturating_sub(start) < work {
        for _ in 0..1000 {
            std::hint::spin_loop();
        }
    }
}

/// CPU time of this thread.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call only writes to `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
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
