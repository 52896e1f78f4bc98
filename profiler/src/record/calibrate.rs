//! What the probes cost on this machine, measured before a recording; and whether the offsets are right.
//!
//! A thread in a network namespace of its own sends datagrams to itself over loopback: with nothing attached, with the
//! probes attached and no packet followed, with packets followed but not accounted for, and with everything. Of some
//! batches the fastest counts, because disturbances only ever add, and of the differences between neighbours the median.
//! Costs are per crossing, dispatch included.

use std::{
    net::UdpSocket,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use netstrata_common::{ACCEPT_AND_DISCARD, Config, CpuState, Path, Point};

use super::{
    online_cpus,
    session::{Group, Session},
};
use crate::failure::Failure;

const ROUNDS: usize = 5;
const ALTERNATIONS: usize = 3;
const BATCHES: usize = 3;
const DATAGRAMS: usize = 150;
const WARM_UP: Duration = Duration::from_millis(20);
/// Samples a second while the sampler is calibrated: many, so that few milliseconds tell.
const SAMPLER_HZ: u64 = 5_000;
const SAMPLER_SPIN: Duration = Duration::from_millis(2);
const SAMPLER_ROUNDS: usize = 8;

/// Measured costs, nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calibration {
    /// A crossing of a packet that is not followed.
    pub ns_per_crossing: f64,
    /// A crossing of a followed packet, its share of the end of the journey included.
    pub ns_per_followed_crossing: f64,
    /// The part of it that lies within the journey.
    pub ns_in_span_per_crossing: f64,
    /// What the crossing of a socket that becomes ready takes more than another, where a function's probe sees it.
    pub ns_in_span_at_ready: f64,
    /// Crossings of one of the calibration's datagrams.
    pub crossings_per_datagram: f64,
    /// A CPU sample.
    pub ns_per_sample: f64,
    /// Attaching the journey probes and detaching them again: the kernel patches its code and stops every CPU for it.
    pub ns_per_turn: f64,
}

/// Measures; refuses if the programs read something else than the known loopback device.
pub fn calibrate(session: &mut Session) -> Result<Calibration> {
    with_traffic(|traffic, netns| {
        let all = measure(session, traffic, netns)?;
        if !session.leave_ready_function_out(true) {
            return Ok(all);
        }
        // A function's probe costs several times as much as a tracepoint's; each datagram meets it once.
        let others = measure(session, traffic, netns);
        session.leave_ready_function_out(false);
        let others = others?;
        let more = (all.ns_in_span_per_crossing - others.ns_in_span_per_crossing).max(0.0);
        Ok(Calibration {
            ns_in_span_per_crossing: others.ns_in_span_per_crossing,
            ns_in_span_at_ready: more * all.crossings_per_datagram,
            ..all
        })
    })
}

/// Runs work that needs traffic, in a thread in a network namespace of its own (its inode).
pub(super) fn with_traffic<T: Send>(work: impl FnOnce(&Traffic, u32) -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("ns-calibrate".into());
        let work = || {
            own_loopback()?;
            let netns = std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |metadata| metadata.ino() as u32);
            let traffic = Traffic::new()?;
            // A processor that was idle is slow at first.
            let start = Instant::now();
            while start.elapsed() < WARM_UP {
                traffic.batch()?;
            }
            work(&traffic, netns)
        };
        let handle = thread.spawn_scoped(scope, work).context("cannot start a thread")?;
        handle.join().map_err(|_| anyhow::anyhow!("the calibration panicked"))?
    })
}

fn measure(session: &mut Session, traffic: &Traffic, netns: u32) -> Result<Calibration> {
    // Extra time of a datagram: that of probes which turn it away, and beyond that by kind of following.
    let (mut turned_away, mut beyond) = (Vec::new(), [Vec::new(), Vec::new()]);
    let mut seen = u64::MAX;
    let mut turns = Vec::new();
    for _ in 0..ROUNDS {
        let plain = traffic.fastest()?;
        let start = Instant::now();
        session.attach(Group::Journey)?;
        let mut turn = start.elapsed();
        let mut least = f64::MAX;
        for _ in 0..ALTERNATIONS {
            let mut with = |accept: u32| -> Result<(f64, f64)> {
                session.set_config(Config { sample_every: 1, accept, ..Config::default() })?;
                let before = crossings(&session.cpu_states()?);
                let cut = session.cut_ns()?;
                let time = traffic.fastest()?;
                seen = seen.min(crossings(&session.cpu_states()?) - before);
                // What the programs take between their looks at the clock is cut out of the journey.
                Ok((time, (session.cut_ns()? - cut) as f64 / Traffic::DATAGRAMS as f64))
            };
            let base = with(0)?.0;
            let (followed, cut) = with(ACCEPT_AND_DISCARD)?;
            beyond[0].push(followed - base - cut);
            beyond[1].push(with(1)?.0 - base);
            least = least.min(base);
        }
        let start = Instant::now();
        session.detach(Group::Journey)?;
        turn += start.elapsed();
        turns.push(turn.as_nanos() as f64);
        turned_away.push(least - plain);
    }
    check_offsets(session, netns)?;
    let per_datagram = seen as f64 / Traffic::DATAGRAMS as f64;
    anyhow::ensure!(per_datagram >= 1.0, "the probes did not see the calibration's packets");
    let ns_per_crossing = (median(&turned_away) / per_datagram).max(1.0);
    let following = |times: &[f64]| ns_per_crossing + (median(times) / per_datagram).max(0.0);
    let costs = Calibration {
        ns_per_crossing,
        ns_per_followed_crossing: following(&beyond[1]),
        ns_in_span_per_crossing: following(&beyond[0]),
        ns_in_span_at_ready: 0.0,
        crossings_per_datagram: per_datagram,
        ns_per_sample: sampler_cost(session)?,
        ns_per_turn: median(&turns),
    };
    session.clear()?;
    Ok(costs)
}

/// Moves this thread into a network namespace of its own with a loopback device. Where that is not allowed the current
/// namespace serves; it is only noisier.
fn own_loopback() -> Result<()> {
    let before = std::fs::File::open("/proc/thread-self/ns/net");
    // SAFETY: affects this thread only, which ends after the calibration.
    let (Ok(before), 0) = (before, unsafe { libc::unshare(libc::CLONE_NEWNET) }) else { return Ok(()) };
    let up = loopback_up();
    if up.is_err() {
        // CAP_SYS_ADMIN without CAP_NET_ADMIN: a namespace may be made, but not its device brought up.
        // SAFETY: the descriptor is open; affects this thread only.
        let back = unsafe { libc::setns(std::os::fd::AsRawFd::as_raw_fd(&before), libc::CLONE_NEWNET) };
        anyhow::ensure!(back == 0, "cannot leave the calibration's namespace: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

fn crossings(states: &[CpuState]) -> u64 {
    states.iter().map(|state| state.crossings).sum()
}

/// Datagrams from a socket to itself.
pub(super) struct Traffic {
    socket: UdpSocket,
}

impl Traffic {
    /// Datagrams that [`Self::fastest`] sends.
    pub const DATAGRAMS: usize = BATCHES * DATAGRAMS;

    fn new() -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).context("cannot use the loopback device")?;
        socket.connect(socket.local_addr()?)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self { socket })
    }

    /// Nanoseconds per datagram of one batch.
    fn batch(&self) -> Result<f64> {
        let mut buffer = [0; 64];
        let start = Instant::now();
        for _ in 0..DATAGRAMS {
            self.socket.send(&[1; 16])?;
            self.socket.recv(&mut buffer)?;
        }
        Ok(start.elapsed().as_nanos() as f64 / DATAGRAMS as f64)
    }

    /// Nanoseconds per datagram of the fastest of some batches.
    pub fn fastest(&self) -> Result<f64> {
        (0..BATCHES).map(|_| self.batch()).try_fold(f64::MAX, |best, time| Ok(best.min(time?)))
    }
}

/// Cost of a sample: by how much a loop of known work slows down.
fn sampler_cost(session: &mut Session) -> Result<f64> {
    let spin = || {
        let start = Instant::now();
        let mut turns = 0u64;
        while start.elapsed() < SAMPLER_SPIN {
            turns += 1;
        }
        turns as f64
    };
    let (mut free, mut sampled) = (0f64, 0f64);
    for _ in 0..SAMPLER_ROUNDS {
        free = free.max(spin());
        session.attach_sampler(SAMPLER_HZ, &online_cpus())?;
        sampled = sampled.max(spin());
        session.detach_sampler()?;
    }
    let samples = SAMPLER_SPIN.as_secs_f64() * SAMPLER_HZ as f64;
    Ok(((1.0 - sampled / free).max(0.0) * SAMPLER_SPIN.as_nanos() as f64 / samples).max(100.0))
}

/// The programs must have seen this thread's datagrams on device 1 of this thread's namespace.
fn check_offsets(session: &Session, netns: u32) -> Result<()> {
    let paths: Vec<(u64, Path)> = session.entries("PATHS")?;
    let seen = paths.iter().any(|(_, path)| {
        path.protocol == libc::IPPROTO_UDP as u8
            && path.crossings[0].point == Point::Queue as u8
            && path.crossings[0].ifindex == 1
            && path.crossings[0].netns == netns
    });
    if seen {
        return Ok(());
    }
    let first = paths.first().map(|(_, path)| path.crossings[0]);
    Err(Failure::Refused(format!(
        "packets on the loopback device were not recognised (expected device 1 in namespace {netns}, the programs read \
         {first:?}): the kernel's structures are not what its BTF says, so nothing they read can be trusted"
    ))
    .into())
}

fn loopback_up() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request outlives the call.
    let result = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCSIFFLAGS, &raw mut request) };
    anyhow::ensure!(result == 0, "cannot bring the loopback device up: {}", std::io::Error::last_os_error());
    Ok(())
}
