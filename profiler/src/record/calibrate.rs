//! What the probes cost on this machine, measured before a recording; and whether the offsets are right.
//!
//! A thread in a network namespace of its own sends datagrams to itself over loopback: with nothing attached, with the
//! probes attached and no packet followed, with packets followed but not accounted for, and with everything. Batches
//! compare that were made while the machine was equally fast, as fast as it can be if there are such; of a kind the fastest,
//! because disturbances only ever add. Costs are per crossing, dispatch included.
//!
//! During the recording the machine may be slower, and the programs and their data are seldom in its caches when few packets
//! are followed. What they take between their looks at the clock is known then and now; what lies outside of them is taken to
//! grow alike ([`pace`]).

use std::{
    cell::Cell,
    net::UdpSocket,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use netstrata_common::{ACCEPT_AND_DISCARD, Config, CpuState, Path, Point, Protocol, Timed};

use super::{
    recorder::keep_time,
    session::{Group, Session},
};
use crate::{
    failure::Failure,
    host::{
        clock::thread_cpu_ns,
        cpu::{online, stay},
    },
    numbers::median,
};

/// Rounds of attaching and detaching at least.
const ROUNDS: usize = 5;
/// After so long there are no more, whether the machine was calm or not.
const LONG: Duration = Duration::from_millis(600);
/// So many batches of each kind while it was calm are enough.
const ENOUGH: usize = 6;
/// Changes between the kinds that need the probes attached, in a round.
const ALTERNATIONS: usize = 3;
const BATCHES: usize = 2;
/// Batches that are tried for them.
const TRIES: usize = 5;
const DATAGRAMS: usize = 150;
/// System calls that tell whether the machine is as fast as it can be, and by how much it may be slower.
const SYSTEM_CALLS: u32 = 50;
const CALM: f64 = 1.08;
const WARM_UP: Duration = Duration::from_millis(30);
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
    /// What the programs take of a crossing of those that are all alike; 0 where there were none.
    pub alike_ns: f64,
    /// A CPU sample.
    pub ns_per_sample: f64,
    /// CPU time of attaching the journey probes and detaching them again; the kernel patches its code and stops every other CPU
    /// for it, too, for less.
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
                traffic.system_call();
            }
            work(&traffic, netns)
        };
        let handle = thread.spawn_scoped(scope, work).context("cannot start a thread")?;
        handle.join().map_err(|_| anyhow::anyhow!("the calibration panicked"))?
    })
}

/// What the programs took so far on the CPU of the calibration: a busy host has packets on the others, too.
struct Taken {
    crossings: u64,
    cut_ns: u64,
    alike: Timed,
}

impl Taken {
    fn by(session: &Session, cpu: usize) -> Result<Self> {
        let state = session.cpu_states()?.get(cpu).copied().unwrap_or_default();
        let cut_ns = state.cut_ns + session.functions_cut_ns(cpu)?;
        Ok(Self { crossings: state.crossings, cut_ns, alike: state.alike })
    }
}

/// What the programs took of crossings that are all alike.
fn alike(states: &[CpuState]) -> Timed {
    states
        .iter()
        .map(|state| state.alike)
        .fold(Timed::default(), |sum, timed| Timed { ns: sum.ns + timed.ns, count: sum.count + timed.count })
}

/// How much longer the programs took in a recording than with `costs`: the machine was slower, or they were not in its
/// caches. `None` where nothing can be compared.
pub fn pace(costs: &Calibration, states: &[CpuState]) -> Option<f64> {
    let recorded = alike(states);
    let compared = costs.alike_ns > 0.0 && recorded.count > 0;
    compared.then(|| recorded.ns as f64 / recorded.count as f64 / costs.alike_ns)
}

/// The batches of one kind: nanoseconds per datagram, and the pace of the machine meanwhile.
#[derive(Default)]
struct Times(Vec<(f64, f64)>);

impl Times {
    fn add_all<T>(&mut self, batches: &[Batch<T>]) {
        self.0.extend(batches.iter().map(|batch| (batch.ns, batch.pace)));
    }

    /// A pace at which, or faster, there were enough of them.
    fn pace(&self) -> f64 {
        let mut paces: Vec<f64> = self.0.iter().map(|batch| batch.1).collect();
        paces.sort_by(f64::total_cmp);
        paces.get(ENOUGH - 1).or(paces.last()).copied().unwrap_or(f64::MAX)
    }

    /// The fastest at about a pace, because disturbances only add; 0 of none.
    fn fastest(&self, pace: f64) -> f64 {
        let alike = |batch: &&(f64, f64)| (pace / CALM..=pace * CALM).contains(&batch.1);
        let times = self.0.iter().filter(alike).map(|batch| batch.0);
        times.reduce(f64::min).or(self.0.iter().map(|batch| batch.0).reduce(f64::min)).unwrap_or(0.0)
    }
}

/// Batches by kind.
#[derive(Default)]
struct Measured {
    /// Nothing is attached.
    plain: Times,
    /// Probes turn packets away.
    turned_away: Times,
    /// Packets are followed, and what the programs cut out of the journey is left out.
    in_span: Times,
    /// Packets are followed.
    followed: Times,
    /// What the programs take of crossings that are all alike.
    alike: Times,
}

impl Measured {
    /// The pace that there were enough batches at of each kind: only such compare.
    fn pace(&self) -> f64 {
        let kinds = [&self.plain, &self.turned_away, &self.in_span, &self.followed];
        kinds.iter().map(|times| times.pace()).fold(0.0, f64::max)
    }
}

fn measure(session: &mut Session, traffic: &Traffic, netns: u32) -> Result<Calibration> {
    const PER_BATCH: f64 = DATAGRAMS as f64;
    let cpu = stay()?;
    let mut measured = Measured::default();
    let mut per_datagram = f64::MAX;
    let mut turns = Vec::new();
    let begun = Instant::now();
    while turns.len() < ROUNDS || measured.pace() > traffic.calm.get() * CALM && begun.elapsed() < LONG {
        // As many as of the others: the fastest of many is faster than the fastest of few.
        for _ in 0..ALTERNATIONS {
            measured.plain.add_all(&traffic.batches(|| Ok(()))?);
        }
        let start = thread_cpu_ns();
        session.attach(Group::Journey)?;
        let mut turn = thread_cpu_ns() - start;
        for _ in 0..ALTERNATIONS {
            let mut with = |accept: u32| -> Result<Vec<Batch<Taken>>> {
                session.set_config(Config { sample_every: 1, accept, ..Config::default() })?;
                let batches = traffic.batches(|| Taken::by(session, cpu))?;
                for batch in &batches {
                    let seen = batch.after.crossings - batch.before.crossings;
                    per_datagram = per_datagram.min(seen as f64 / PER_BATCH);
                }
                Ok(batches)
            };
            measured.turned_away.add_all(&with(0)?);
            for Batch { ns, pace, before, after } in with(ACCEPT_AND_DISCARD)? {
                // What the programs take between their looks at the clock is cut out of the journey.
                measured.in_span.0.push((ns - (after.cut_ns - before.cut_ns) as f64 / PER_BATCH, pace));
                let count = after.alike.count - before.alike.count;
                if count > 0 {
                    measured.alike.0.push(((after.alike.ns - before.alike.ns) as f64 / count as f64, pace));
                }
            }
            measured.followed.add_all(&with(1)?);
        }
        let start = thread_cpu_ns();
        session.detach(Group::Journey)?;
        turn += thread_cpu_ns() - start;
        turns.push(turn as f64);
    }
    check_offsets(session, netns)?;
    anyhow::ensure!(per_datagram >= 1.0, "the probes did not see the calibration's packets");
    let pace = measured.pace();
    let beyond = |times: &Times, than: &Times| (times.fastest(pace) - than.fastest(pace)) / per_datagram;
    let ns_per_crossing = beyond(&measured.turned_away, &measured.plain).max(1.0);
    let following = |times: &Times| ns_per_crossing + beyond(times, &measured.turned_away).max(0.0);
    let costs = Calibration {
        ns_per_crossing,
        ns_per_followed_crossing: following(&measured.followed),
        ns_in_span_per_crossing: following(&measured.in_span),
        ns_in_span_at_ready: 0.0,
        crossings_per_datagram: per_datagram,
        alike_ns: measured.alike.fastest(pace),
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

/// Datagrams from a socket to itself.
pub(super) struct Traffic {
    socket: UdpSocket,
    /// Fastest system call seen, nanoseconds.
    calm: Cell<f64>,
    /// Datagrams sent.
    sent: Cell<u64>,
}

/// One batch, and what was read before and after it.
struct Batch<T> {
    /// Nanoseconds per datagram.
    ns: f64,
    /// Nanoseconds of a system call before or after it, the longer: how fast the machine was.
    pace: f64,
    before: T,
    after: T,
}

impl Traffic {
    fn new() -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).context("cannot use the loopback device")?;
        socket.connect(socket.local_addr()?)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self { socket, calm: Cell::new(f64::MAX), sent: Cell::new(0) })
    }

    /// Datagrams sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Nanoseconds per datagram of one batch.
    fn batch(&self) -> Result<f64> {
        let mut buffer = [0; 64];
        let start = Instant::now();
        for _ in 0..DATAGRAMS {
            self.socket.send(&[1; 16])?;
            self.socket.recv(&mut buffer)?;
        }
        self.sent.set(self.sent.get() + DATAGRAMS as u64);
        Ok(start.elapsed().as_nanos() as f64 / DATAGRAMS as f64)
    }

    /// Some batches during which the machine was as fast as it can be: a processor that shares its core with another one's
    /// work runs slower for tens of milliseconds, and a cost is the difference of two batches. Where it never is, the best
    /// there is.
    fn batches<T>(&self, mut read: impl FnMut() -> Result<T>) -> Result<Vec<Batch<T>>> {
        let mut steady = Vec::new();
        let mut best: Option<Batch<T>> = None;
        for _ in 0..TRIES {
            // On a busy host it would be interrupted; for a millisecond at a time nobody misses the processor.
            keep_time(true);
            let pace = self.system_call();
            let before = read()?;
            let ns = self.batch()?;
            let after = read()?;
            let pace = pace.max(self.system_call());
            keep_time(false);
            let batch = Batch { ns, pace, before, after };
            if pace <= self.calm.get() * CALM {
                steady.push(batch);
                if steady.len() == BATCHES {
                    break;
                }
            } else if best.as_ref().is_none_or(|best| pace < best.pace) {
                best = Some(batch);
            }
        }
        if steady.is_empty() {
            steady.extend(best);
        }
        Ok(steady)
    }

    /// Nanoseconds per datagram of the fastest of some batches.
    pub fn fastest_ns(&self) -> Result<f64> {
        Ok(self.batches(|| Ok(()))?.iter().map(|batch| batch.ns).fold(f64::MAX, f64::min))
    }

    /// Nanoseconds of a system call that does almost nothing.
    fn system_call(&self) -> f64 {
        let start = Instant::now();
        for _ in 0..SYSTEM_CALLS {
            // SAFETY: a query without arguments that cannot fail.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
        let ns = start.elapsed().as_nanos() as f64 / f64::from(SYSTEM_CALLS);
        self.calm.set(self.calm.get().min(ns));
        ns
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
        session.attach_sampler(SAMPLER_HZ, &online()?)?;
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
        path.protocol == Protocol::UDP.0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_batches_at_one_pace_compare() {
        let fast = (0..ENOUGH).map(|index| (300.0 + index as f64, 100.0));
        let slow = [(420.0, 140.0), (410.0, 139.0), (430.0, 141.0)];
        let both = Times(fast.chain(slow).collect());
        // Of this kind there were none while the machine was fast.
        let all_slow = Times([slow, slow, slow].concat());
        let measured = Measured { plain: all_slow, turned_away: both, ..Measured::default() };
        let pace = measured.plain.pace().max(measured.turned_away.pace());
        assert_eq!((measured.plain.fastest(pace), measured.turned_away.fastest(pace)), (410.0, 410.0));
        assert_eq!(measured.turned_away.fastest(measured.turned_away.pace()), 300.0);
        assert_eq!(Times::default().fastest(100.0), 0.0);
        assert!(measured.pace() > 1e9, "nothing was measured of two kinds");
    }
}
