//! What a hook costs on this machine, for packets that are followed and for those that are not.
//!
//! A thread calls functions that do little: without the hook, with the hook while it has nothing to do, and with the hook
//! while it believes to work on a packet. What the program takes between its two looks at the clock is cut out of journeys;
//! what is left lies before and after that, at the entry and at the exit, in the hook's own time or in its caller's. Often
//! a packet is handed on before the functions return that it was given to, so entry and exit are measured apart: one of the
//! functions reads the clock itself, so that the time before its body and the time after it are known. How much of an
//! entry lies on each side of the program's look cannot be measured; it is divided as the entry and the exit together are.

use std::time::Instant;

use anyhow::{Context as _, Result};
use netstrata_common::{CALIBRATING, Current, Head, Hook, KIND_FENTRY, KIND_KPROBE, KINDS, Way, Work};

use super::{
    functions::{Functions, Ways},
    session::Session,
    traffic::with_traffic,
};
use crate::{
    host::{clock::monotonic_ns, cpu::stay},
    kernel::{btf::KernelTypes, symbols::Symbols},
    profile::HookCostRecord,
};

const CALLS: u32 = 400;
const ROUNDS: usize = 7;
/// System calls whose functions are hooked: one that does almost nothing, and one that reads the clock.
const NOTHING: &str = "sys_getpid";
const CLOCK: &str = "sys_clock_gettime";

/// Costs by way (`KIND_FENTRY`, `KIND_KPROBE`).
pub type HookCosts = [HookCostRecord; KINDS];

/// Measures the ways that this kernel allows. One that cannot be measured is not used.
pub fn measure(session: &mut Session, symbols: &Symbols, types: &KernelTypes, ways: &mut Ways) -> HookCosts {
    let mut costs = HookCosts::default();
    let all = [(KIND_FENTRY, Way::Fentry, &mut ways.no_fentry), (KIND_KPROBE, Way::Kprobe, &mut ways.no_kprobe)];
    for (kind, way, lacking) in all {
        if lacking.is_some() {
            continue;
        }
        let mut bench = Bench { session: &mut *session, symbols, types, way, kind };
        match bench.measure() {
            Ok(cost) => costs[kind] = cost,
            Err(error) => *lacking = Some(format!("its cost cannot be measured: {error:#}")),
        }
    }
    costs
}

/// Nanoseconds of one program at the beginning or the end of a softirq.
pub fn softirq_cost(session: &mut Session) -> Result<f64> {
    with_traffic(|traffic, _| {
        let cpu = stay()?;
        // Softirqs of other CPUs are not of this traffic.
        let seen_by = |session: &Session| -> Result<u64> {
            let heads = session.per_cpu::<Head>("FUNCTION_HEAD")?.swap_remove(0);
            Ok(heads.get(cpu).map_or(0, |head| head.tally.softirqs))
        };
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let plain = traffic.fastest_ns()?;
            let softirqs = Functions::softirqs(session.ebpf())?;
            let (before, sent) = (seen_by(session)?, traffic.sent());
            let time = traffic.fastest_ns()?;
            let seen = seen_by(session)? - before;
            drop(softirqs);
            anyhow::ensure!(seen > 0, "no softirq was seen");
            best = best.min((time - plain) / (seen as f64 / (traffic.sent() - sent) as f64));
        }
        Ok(best.max(0.0))
    })
}

/// What a pair of entry and exit costs.
struct Pair {
    /// For a packet that is not followed.
    idle: f64,
    /// For one that is.
    busy: f64,
    /// The part of it that is not cut out.
    within: f64,
    /// The part of that which lies in the hook's own time.
    inside: f64,
}

/// What one way is measured with.
struct Bench<'a> {
    session: &'a mut Session,
    symbols: &'a Symbols,
    types: &'a KernelTypes,
    way: Way,
    kind: usize,
}

impl Bench<'_> {
    fn measure(&mut self) -> Result<HookCostRecord> {
        let pair = self.pair()?;
        // Where the clock cannot be read without a system call, entry and exit are taken to be alike.
        let ends = self.entry_and_exit(1)?;
        let (entry, exit) = ends.unwrap_or((pair.within / 2.0, pair.within / 2.0));
        // Two probes at one function are called for its return one after the other, like those of two functions that return
        // together.
        let together = match self.way {
            Way::Fentry => 0.0,
            Way::Kprobe => self.entry_and_exit(2)?.map_or(exit, |both| (both.1 - exit).clamp(0.0, exit)),
        };
        let share = if entry + exit > 0.0 { (pair.inside / (entry + exit)).min(1.0) } else { 0.0 };
        Ok(HookCostRecord {
            ns_per_call: pair.idle,
            ns_per_followed_call: pair.busy,
            ns_entry_outside: entry * (1.0 - share),
            ns_entry_inside: entry * share,
            ns_exit_inside: exit * share,
            ns_exit_outside: exit * (1.0 - share),
            ns_exit_together: together,
        })
    }

    /// A pair of entry and exit as a whole.
    fn pair(&mut self) -> Result<Pair> {
        fastest()?;
        let plain = fastest()?;
        let hook = Functions::calibration(self.session.ebpf(), self.symbols, self.types, self.way, NOTHING)?;
        // The last packet may have left the hooks believing that there is something to do.
        pretend(self.session, false)?;
        let idle = fastest()?;
        let (mut busy, mut within, mut inside) = (f64::MAX, f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            pretend(self.session, true)?;
            let time = calls()?;
            let cut: u64 = self.session.tally()?.cut_ns.iter().sum();
            let works: Vec<Work> = self.session.per_cpu::<Work>("FUNCTION_WORK")?.swap_remove(0);
            pretend(self.session, false)?;
            // The thread may have moved to another CPU meanwhile.
            let taken = works.iter().map(|work| work.taken[Hook::Calibration as usize]);
            let (ns, calls) = taken
                .filter(|taken| taken.generation == 1)
                .fold((0, 0), |sum, taken| (sum.0 + taken.ns, sum.1 + taken.calls));
            anyhow::ensure!(calls > 0, "the hook that costs are measured with was not called");
            inside = inside.min(ns as f64 / f64::from(calls));
            busy = busy.min(time - plain);
            within = within.min(time - plain - cut as f64 / f64::from(calls));
        }
        drop(hook);
        Ok(Pair { idle: (idle - plain).max(0.0), busy: busy.max(0.0), within: within.max(0.0), inside })
    }

    /// What the entries and what the exits of so many probes leave in a packet's time; `None` where the clock cannot be read
    /// without a system call.
    fn entry_and_exit(&mut self, probes: u64) -> Result<Option<(f64, f64)>> {
        let around = |of: &mut dyn FnMut() -> Result<[f64; 2]>| -> Result<[f64; 2]> {
            let mut best = [f64::MAX; 2];
            for _ in 0..ROUNDS {
                for (best, time) in best.iter_mut().zip(of()?) {
                    *best = best.min(time);
                }
            }
            Ok(best)
        };
        let plain = around(&mut clock_reads)?;
        let hooks: Vec<Functions> = (0..probes)
            .map(|_| Functions::calibration(self.session.ebpf(), self.symbols, self.types, self.way, CLOCK))
            .collect::<Result<_>>()?;
        let kind = self.kind;
        let mut most = 0;
        let busy = around(&mut || {
            pretend(self.session, true)?;
            let mut times = clock_reads()?;
            let tally = self.session.tally()?;
            pretend(self.session, false)?;
            let calls = tally.entered[kind] / probes;
            anyhow::ensure!(calls > 0, "the hook that costs are measured with was not called");
            most = most.max(calls);
            for (time, cut) in times.iter_mut().zip(tally.cut_ns) {
                *time -= cut as f64 / calls as f64;
            }
            Ok(times)
        });
        drop(hooks);
        let busy = busy?;
        let by_system_call = most > u64::from(CALLS) * 2;
        Ok((!by_system_call).then(|| ((busy[0] - plain[0]).max(0.0), (busy[1] - plain[1]).max(0.0))))
    }
}

/// Mean nanoseconds from before a system call that reads the clock until it does, and from then until it has returned.
fn clock_reads() -> Result<[f64; 2]> {
    let mut sums = [0, 0];
    for _ in 0..CALLS {
        let mut read = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let before = monotonic_ns();
        // SAFETY: writes a time to where it is told to, which outlives the call.
        let result = unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut read) };
        let after = monotonic_ns();
        anyhow::ensure!(result == 0, "the clock cannot be read");
        let within = read.tv_sec as u64 * 1_000_000_000 + read.tv_nsec as u64;
        sums[0] += within.saturating_sub(before);
        sums[1] += after.saturating_sub(within);
    }
    Ok(sums.map(|sum| sum as f64 / f64::from(CALLS)))
}

/// Makes hooks believe that this thread works on a packet, or no longer.
fn pretend(session: &mut Session, works: bool) -> Result<()> {
    let cpus = session.cpu_states()?.len();
    // SAFETY: made of integers only, for which all-zero is valid.
    let mut work: Work = unsafe { std::mem::zeroed() };
    let mut head = Head::default();
    if works {
        work.current = Current { slot: CALIBRATING, since_ns: monotonic_ns(), ..Current::default() };
        (work.generation, head.busy[0]) = (1, 1);
    }
    session.set_per_cpu("FUNCTION_WORK", 0, vec![work; cpus])?;
    session.set_per_cpu("FUNCTION_HEAD", 0, vec![head; cpus])
}

/// Nanoseconds per call of a system call that does almost nothing.
fn calls() -> Result<f64> {
    let start = Instant::now();
    for _ in 0..CALLS {
        // SAFETY: a query without arguments.
        let id = unsafe { libc::syscall(libc::SYS_getpid) };
        anyhow::ensure!(id > 0, "no process id");
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(CALLS))
}

fn fastest() -> Result<f64> {
    (0..ROUNDS).map(|_| calls()).try_fold(f64::MAX, |best, time| Ok(best.min(time.context("cannot measure")?)))
}
