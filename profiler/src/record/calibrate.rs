//! What the probes cost on this machine, measured before a recording; and whether the offsets are right.
//!
//! A thread in a network namespace of its own sends datagrams to itself over loopback: with nothing attached, with the
//! probes attached and no packet chosen, with each packet asked and none followed, with packets followed but not accounted for, and
//! with everything. Batches
//! compare that were made while the machine was equally fast, as fast as it can be if there are such; of a kind the fastest,
//! because disturbances only ever add. Costs are per crossing, dispatch included. Only the calibration's own packets are followed, and
//! only its own CPU is looked at; that the programs ask each packet whose it is, which packets of a recording without a filter do not
//! pay, is some nanoseconds a crossing of what following costs, and in no other figure.
//!
//! During the recording the machine may be slower, and the programs and their data are seldom in its caches when few packets
//! are followed. What they take between their looks at the clock is known then and now ([`pace`]); what that says of what lies
//! outside of them, and how sure it is, stands in `within`.

use std::time::{Duration, Instant};

use anyhow::Result;
use netstrata_common::{ACCEPT_AND_DISCARD, Config, CpuState, Path, PathKey, Point, Protocol, Softirq, Timed};
use serde::{Deserialize, Serialize};

use super::{
    crossing_cost::CrossingCost,
    probes::Group,
    session::Session,
    times::Times,
    traffic::{Batch, CALM, DATAGRAMS, Traffic, with_traffic},
};
use crate::{
    failure::Failure,
    host::{clock::thread_cpu_ns, cpu::stay},
    numbers::median,
};

/// Rounds of attaching and detaching at least.
const ROUNDS: usize = 3;
/// After so long there are no more, whether the machine was calm or not.
const LONG: Duration = Duration::from_millis(600);
/// Changes between the kinds that need the probes attached, in a round.
const ALTERNATIONS: usize = 3;
/// Datagrams of a batch, as a figure.
const PER_BATCH: f64 = DATAGRAMS as f64;
/// Samples a second while the sampler is calibrated: many, so that few milliseconds tell.
const SAMPLER_HZ: u64 = 10_000;
const SAMPLER_ROUNDS: usize = 3;
/// A rate at which hardly a packet is asked whether it is one to follow.
const SELDOM: u32 = 64;
/// No sample takes less, whatever was measured.
const LEAST_SAMPLE_NS: f64 = 100.0;
/// And no crossing.
const LEAST_CROSSING_NS: f64 = 1.0;

/// Measured costs, nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Calibration {
    /// A crossing of a packet that is not followed.
    pub ns_per_crossing: f64,
    /// What is charged for one that is not followed, for one that is, and for a CPU sample: where the machine was never calm, the most
    /// that they may cost. A budget that rests on a guess is not kept.
    pub charged_ns: [f64; 3],
    /// A crossing of a followed packet, its share of the end of the journey included.
    pub ns_per_followed_crossing: f64,
    /// The part of it that lies within the journey.
    pub ns_in_span_per_crossing: f64,
    /// Between what and what that lies, by how it differed from batch to batch.
    pub ns_in_span_interval: [f64; 2],
    /// What the return of a device's transmit function takes of the span in which the packet has gone on already.
    pub ns_in_span_at_return: f64,
    /// What of a followed crossing is not cut out of journeys, wherever it lies.
    pub ns_uncut_per_crossing: f64,
    /// What the crossing of a socket that becomes ready takes more than another, where a function's probe sees it.
    pub ns_in_span_at_ready: f64,
    /// Crossings of one of the calibration's datagrams.
    pub crossings_per_datagram: f64,
    /// What the programs take of a crossing of those that are all alike; 0 where there were none.
    pub alike_ns: f64,
    /// A CPU sample.
    pub ns_per_sample: f64,
    /// The programs that time a softirq, all of them.
    pub ns_per_timed_softirq: f64,
    /// CPU time of attaching the journey probes and detaching them again; the kernel patches its code and stops every other CPU
    /// for it, too, for less.
    pub ns_per_turn: f64,
    /// A system call that does almost nothing: how fast the machine was.
    pub system_call_ns: f64,
    /// Whether the machine was as fast as it can be for long enough.
    pub calm: bool,
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
        let more = (all.ns_uncut_per_crossing - others.ns_uncut_per_crossing).max(0.0);
        Ok(Calibration {
            ns_in_span_per_crossing: others.ns_in_span_per_crossing,
            ns_in_span_interval: others.ns_in_span_interval,
            ns_in_span_at_ready: more * all.crossings_per_datagram,
            ..all
        })
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

/// Batches by kind.
#[derive(Default)]
struct Measured {
    /// Nothing is attached.
    plain: Times,
    /// Probes let packets pass.
    passed: Times,
    /// They ask each of them, and turn it away.
    turned_away: Times,
    /// Packets are followed, and what the programs cut out of the journey is left out.
    in_span: Times,
    /// Packets are followed.
    followed: Times,
    /// What the programs take of crossings that are all alike.
    alike: Times,
    /// A crossing in its journey.
    crossing: CrossingCost,
    /// The least that a round saw of each datagram.
    crossings_per_datagram: Vec<f64>,
    /// CPU time of attaching the probes and detaching them again, nanoseconds.
    turns: Vec<f64>,
}

impl Measured {
    /// The pace that there were enough batches at of each kind: only such compare.
    fn pace(&self) -> f64 {
        let kinds = [&self.plain, &self.passed, &self.turned_away, &self.in_span, &self.followed];
        kinds.iter().map(|times| times.pace()).fold(0.0, f64::max)
    }

    /// One round of batches while the probes are attached.
    fn add_observed(&mut self, session: &mut Session, traffic: &Traffic, cpu: usize) -> Result<()> {
        let mut least = f64::MAX;
        let mut with = |sample_every: u32, accept: u32| -> Result<Vec<Batch<Taken>>> {
            session.set_config(traffic.only_own(Config { sample_every, accept, ..Config::default() }))?;
            if sample_every == 1 && accept == 0 {
                // What was drawn at the rate before is used up.
                traffic.batch()?;
            }
            let batches = traffic.batches(|| Taken::by(session, cpu))?;
            for batch in &batches {
                let seen = batch.after.crossings - batch.before.crossings;
                least = least.min(seen as f64 / PER_BATCH);
            }
            Ok(batches)
        };
        self.passed.add_all(&with(SELDOM, 0)?);
        self.turned_away.add_all(&with(1, 0)?);
        for Batch { ns, pace, before, after } in with(1, ACCEPT_AND_DISCARD)? {
            // What the programs take between their looks at the clock is cut out of the journey.
            self.in_span.0.push((ns - (after.cut_ns - before.cut_ns) as f64 / PER_BATCH, pace));
            let count = after.alike.count - before.alike.count;
            if count > 0 {
                self.alike.0.push(((after.alike.ns - before.alike.ns) as f64 / count as f64, pace));
            }
        }
        self.followed.add_all(&with(1, 1)?);
        self.crossings_per_datagram.push(least);
        Ok(())
    }

    /// The costs, but those of the sampler.
    fn costs(&self, calm: bool) -> Result<Calibration> {
        let per_datagram = self.crossings_per_datagram.iter().copied().fold(f64::MAX, f64::min);
        anyhow::ensure!(per_datagram >= 1.0, "the probes did not see the calibration's packets");
        // Disturbances only add: the fastest of what was made while the machine was calm. Where it never was, neighbours compare.
        let pace = self.pace();
        let beyond = |times: &Times, than: &Times| {
            let fastest = times.fastest(pace) - than.fastest(pace);
            let costs = if calm { [fastest; 2] } else { times.beyond(than) };
            costs.map(|ns| (ns / per_datagram).max(0.0))
        };
        let passing = beyond(&self.passed, &self.plain).map(|ns| ns.max(LEAST_CROSSING_NS));
        let following = |times: &Times| {
            let more = beyond(times, &self.turned_away);
            [passing[0] + more[0], passing[1] + more[1]]
        };
        let ([uncut, most_uncut], followed) = (following(&self.in_span), following(&self.followed));
        // A recording is as calm as most of its time is, and no journey in it is the fastest of many. Where the cost cannot be seen in
        // its place: no less than what every packet meets, no more than all that is not cut out.
        let [fastest, middle] = self.crossing.ns().unwrap_or([uncut, passing[0]]).map(|ns| ns.min(most_uncut));
        Ok(Calibration {
            ns_per_crossing: passing[0],
            charged_ns: [passing[1], followed[1], 0.0],
            ns_per_followed_crossing: followed[0],
            ns_in_span_per_crossing: middle,
            ns_in_span_interval: [fastest.min(middle), fastest.max(middle)],
            ns_in_span_at_return: self.crossing.beside_ns().unwrap_or(passing[0]),
            ns_uncut_per_crossing: uncut,
            ns_in_span_at_ready: 0.0,
            crossings_per_datagram: per_datagram,
            alike_ns: self.alike.fastest(pace),
            ns_per_sample: 0.0,
            ns_per_timed_softirq: 0.0,
            ns_per_turn: median(&self.turns),
            system_call_ns: 0.0,
            calm,
        })
    }
}

fn measure(session: &mut Session, traffic: &Traffic, netns: u32) -> Result<Calibration> {
    let cpu = stay()?;
    let mut measured = Measured::default();
    let begun = Instant::now();
    leave_others_alone(session, cpu)?;
    let calm = |measured: &Measured| measured.pace() <= traffic.calm() * CALM;
    while measured.turns.len() < ROUNDS || !calm(&measured) && begun.elapsed() < LONG {
        // As many as of the others: the fastest of many is faster than the fastest of few.
        for _ in 0..ALTERNATIONS {
            measured.plain.add_all(&traffic.batches(|| Ok(()))?);
        }
        let start = thread_cpu_ns();
        session.attach(Group::Journey)?;
        let attaching = thread_cpu_ns() - start;
        for _ in 0..ALTERNATIONS {
            measured.add_observed(session, traffic, cpu)?;
        }
        measured.crossing.add(session, traffic, netns)?;
        let start = thread_cpu_ns();
        session.detach(Group::Journey)?;
        measured.turns.push((attaching + thread_cpu_ns() - start) as f64);
    }
    check_offsets(session, netns)?;
    let mut costs = Calibration {
        ns_per_timed_softirq: timed_softirq_cost(session, traffic, cpu, &measured.plain)?,
        system_call_ns: traffic.calm(),
        ..measured.costs(calm(&measured))?
    };
    [costs.ns_per_sample, costs.charged_ns[2]] = sampler_cost(session, traffic, cpu, costs.calm)?;
    session.clear()?;
    Ok(costs)
}

/// On other CPUs no packet is chosen: they would be asked whose they are, each of them. Nothing may be attached.
fn leave_others_alone(session: &mut Session, cpu: usize) -> Result<()> {
    let mut states = session.cpu_states()?;
    for (_, state) in states.iter_mut().enumerate().filter(|(other, _)| *other != cpu) {
        state.skip = i32::MAX as u32;
    }
    session.set_per_cpu("CPUS", 0, states)
}

/// Cost of a sample, and what is charged for one: by how much the traffic slows down, which has stacks in the kernel as what is recorded
/// has. In a loop in user space it was a third of that.
fn sampler_cost(session: &mut Session, traffic: &Traffic, cpu: usize, calm: bool) -> Result<[f64; 2]> {
    let (mut free, mut sampled, mut samples) = (Times::default(), Times::default(), Vec::new());
    let only = [u32::try_from(cpu)?];
    for _ in 0..SAMPLER_ROUNDS {
        let taken = |session: &Session| Ok(session.cpu_states()?.get(cpu).map_or(0, |state| state.samples));
        for _ in 0..ALTERNATIONS {
            free.add_all(&traffic.batches(|| Ok(0))?);
        }
        session.attach_sampler(SAMPLER_HZ, &only)?;
        for _ in 0..ALTERNATIONS {
            let batches = traffic.batches(|| taken(session))?;
            sampled.add_all(&batches);
            samples.extend(batches.iter().map(|batch| (batch.after - batch.before) as f64));
        }
        session.detach_sampler()?;
    }
    let per_batch = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
    // Where the machine is calm, those in the middle, of all paces: how many samples a batch has differs.
    let middle = sampled.middle(f64::MAX) - free.middle(f64::MAX);
    let slower = if calm { [middle; 2] } else { sampled.beyond(&free) };
    Ok(slower
        .map(|ns| if per_batch > 0.0 { (ns * PER_BATCH / per_batch).max(LEAST_SAMPLE_NS) } else { LEAST_SAMPLE_NS }))
}

/// Cost of timing a softirq: by how much traffic of which each datagram raises one slows down.
fn timed_softirq_cost(session: &mut Session, traffic: &Traffic, cpu: usize, plain: &Times) -> Result<f64> {
    let timed = |session: &Session| -> Result<u64> { Ok(timed_softirqs(session)?.get(cpu).copied().unwrap_or(0)) };
    let (mut times, mut per_datagram) = (Times::default(), Vec::new());
    session.attach(Group::Softirq)?;
    for _ in 0..ALTERNATIONS {
        let batches = traffic.batches(|| timed(session))?;
        times.add_all(&batches);
        per_datagram.extend(batches.iter().map(|batch| (batch.after - batch.before) as f64 / PER_BATCH));
    }
    session.detach(Group::Softirq)?;
    let pace = times.pace().max(plain.pace());
    let slower = (times.fastest(pace) - plain.fastest(pace)).max(0.0);
    // Where softirqs are not timed at all there are none to pay for.
    Ok(slower / median(&per_datagram).max(1.0))
}

/// Softirqs that were timed so far, by CPU.
pub(super) fn timed_softirqs(session: &Session) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    for cpus in session.per_cpu::<Softirq>("SOFTIRQ")? {
        counts.resize(cpus.len(), 0);
        counts.iter_mut().zip(cpus).for_each(|(count, softirq)| *count += softirq.count);
    }
    Ok(counts)
}

/// The programs must have seen this thread's datagrams on device 1 of this thread's namespace.
fn check_offsets(session: &Session, netns: u32) -> Result<()> {
    let paths: Vec<(PathKey, Path)> = session.entries("PATHS")?;
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

#[cfg(test)]
mod tests {
    use super::{super::times::ENOUGH, *};

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
