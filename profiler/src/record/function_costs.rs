//! What a hook costs on this machine, for packets that are followed and for those that are not.
//!
//! A thread calls a function that does almost nothing, through a system call that does almost nothing: without the hook,
//! with the hook while it has nothing to do, and with the hook while it believes to work on a packet. What it charges to
//! itself and to its caller then is its cost; what it takes between its two looks at the clock is cut out anyway.

use std::time::Instant;

use anyhow::{Context as _, Result};
use netstrata_common::{CALIBRATING, Current, Head, Hook, KIND_FENTRY, KIND_KPROBE, KINDS, Work};

use super::{
    functions::{Functions, Way, Ways},
    session::Session,
};
use crate::kernel::{btf::KernelTypes, symbols::Symbols};

const CALLS: u32 = 400;
const ROUNDS: usize = 7;

/// Costs of one way to attach, nanoseconds for a pair of entry and exit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HookCost {
    /// For a packet that is not followed.
    pub ns_per_call: f64,
    /// For a followed one.
    pub ns_per_followed_call: f64,
    /// The part of that which the hook charges to itself.
    pub ns_inside: f64,
    /// The part that it charges to its caller.
    pub ns_outside: f64,
}

/// Costs by way (`KIND_FENTRY`, `KIND_KPROBE`).
pub type HookCosts = [HookCost; KINDS];

/// Measures the ways that this kernel allows. One that cannot be measured is not used.
pub fn measure(session: &mut Session, symbols: &Symbols, types: &KernelTypes, ways: &mut Ways) -> HookCosts {
    let mut costs = HookCosts::default();
    let all = [(KIND_FENTRY, Way::Fentry, &mut ways.no_fentry), (KIND_KPROBE, Way::Kprobe, &mut ways.no_kprobe)];
    for (kind, way, lacking) in all {
        if lacking.is_some() {
            continue;
        }
        match measure_way(session, symbols, types, way, kind) {
            Ok(cost) => costs[kind] = cost,
            Err(error) => *lacking = Some(format!("its cost cannot be measured: {error:#}")),
        }
    }
    costs
}

fn measure_way(
    session: &mut Session,
    symbols: &Symbols,
    types: &KernelTypes,
    way: Way,
    kind: usize,
) -> Result<HookCost> {
    fastest()?;
    let (mut plain, mut idle, mut busy) = (f64::MAX, f64::MAX, f64::MAX);
    let (mut inside, mut outside) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        plain = plain.min(fastest()?);
    }
    let hook = Functions::calibration(session.ebpf(), symbols, types, way)?;
    for _ in 0..ROUNDS {
        idle = idle.min(fastest()?);
    }
    for _ in 0..ROUNDS {
        pretend(session, true)?;
        busy = busy.min(calls()?);
        let works: Vec<Work> = session.per_cpu::<Work>("FUNCTION_WORK")?.swap_remove(0);
        pretend(session, false)?;
        // The thread may have moved to another CPU meanwhile.
        let taken = |hook: Hook| -> (u64, u64, u64) {
            let of = works.iter().map(|work| work.taken[hook as usize]);
            of.filter(|taken| taken.generation == 1).fold((0, 0, 0), |sum, taken| {
                (sum.0 + taken.ns, sum.1 + u64::from(taken.calls), sum.2 + u64::from(taken.children[kind]))
            })
        };
        let (own, span) = (taken(Hook::Calibration), taken(Hook::Span));
        anyhow::ensure!(own.1 > 0 && span.2 > 0, "the hook that costs are measured with was not called");
        inside = inside.min(own.0 as f64 / own.1 as f64);
        outside = outside.min(span.0 as f64 / span.2 as f64);
    }
    drop(hook);
    Ok(HookCost {
        ns_per_call: (idle - plain).max(0.0),
        ns_per_followed_call: (busy - plain).max(0.0),
        ns_inside: inside,
        // The loop itself is the caller's own time.
        ns_outside: (outside - plain).max(0.0),
    })
}

/// Makes hooks believe that this thread works on a packet, or no longer.
fn pretend(session: &mut Session, works: bool) -> Result<()> {
    let cpus = session.cpu_states()?.len();
    // SAFETY: made of integers only, for which all-zero is valid.
    let mut work: Work = unsafe { std::mem::zeroed() };
    let mut head = Head::default();
    if works {
        work.current = Current { slot: CALIBRATING, since_ns: super::recorder::monotonic_ns(), ..Current::default() };
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
