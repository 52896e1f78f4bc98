//! The result of one benchmark that ran several times.
//!
//! Counts are added, rates and means are those of all together. Percentiles and what tells how pairs differ cannot be made from
//! those of parts, and are not there.

use super::figures::mean;
use crate::profile::{
    Benchmark, PartRecord,
    measures::{Creation, Datagrams, FlowTimes, MachineUse, NeighbourUse, SideUse},
};

/// The result over all parts; none where they hold none.
pub(in crate::profile) fn of_parts(parts: &[PartRecord]) -> Option<Benchmark> {
    let runs: Vec<Run<'_>> = parts.iter().filter_map(Run::of).collect();
    let first = runs.first()?.benchmark;
    let by_time = |figure: fn(&Benchmark) -> Option<f64>| of_all(&runs, figure, |run| run.seconds);
    Some(Benchmark {
        tool: first.tool.clone(),
        workload: first.workload.clone(),
        throughput_bits_per_s: by_time(|run| run.throughput_bits_per_s),
        transactions_per_s: by_time(|run| run.transactions_per_s),
        round_trip_ns: of_all(&runs, |run| run.round_trip_ns, |run| run.transactions),
        round_trip_far_ns: of_all(&runs, |run| run.round_trip_far_ns, |run| run.transactions),
        round_trip_p50_ns: None,
        round_trip_p90_ns: None,
        round_trip_p99_ns: None,
        round_trip_p999_ns: None,
        round_trip_max_ns: largest(&runs, |run| run.round_trip_max_ns),
        messages_per_s: by_time(|run| run.messages_per_s),
        message_bytes: first.message_bytes,
        pairs: first.pairs,
        duration_s: all(&runs, |run| run.duration_s).map(|seconds| seconds.into_iter().sum()),
        unmeasured_s: unmeasured(&runs),
        retransmits: sum(&runs, |run| run.retransmits),
        failed: sum(&runs, |run| run.failed),
        pin: first.pin.clone(),
        ip: first.ip,
        client: side(&runs, |run| run.client),
        server: side(&runs, |run| run.server),
        machine: machine(&runs),
        pair_spread: None,
        flows: flows(&runs),
        datagrams: datagrams(&runs),
        creation: creation(&runs),
        neighbours: neighbours(&runs),
    })
}

/// One run, and what its figures count for.
struct Run<'a> {
    benchmark: &'a Benchmark,
    seconds: f64,
    transactions: f64,
    bytes: f64,
}

impl<'a> Run<'a> {
    fn of(part: &'a PartRecord) -> Option<Self> {
        let benchmark = part.benchmark.as_ref()?;
        let seconds = benchmark.duration_s.unwrap_or(part.duration_ns as f64 / 1e9);
        let of = |rate: Option<f64>| rate.map_or(seconds, |rate| rate * seconds);
        Some(Self {
            benchmark,
            seconds,
            transactions: of(benchmark.transactions_per_s),
            bytes: of(benchmark.throughput_bits_per_s),
        })
    }
}

/// What ran besides in any of them.
fn unmeasured(runs: &[Run<'_>]) -> Option<f64> {
    runs.iter().filter_map(|run| run.benchmark.unmeasured_s).reduce(|sum, seconds| sum + seconds)
}

/// A figure of all runs; none where one has none.
fn all<T>(runs: &[Run<'_>], figure: impl Fn(&Benchmark) -> Option<T>) -> Option<Vec<T>> {
    runs.iter().map(|run| figure(run.benchmark)).collect()
}

/// The mean of a figure by weight; none where a run has none.
fn of_all(
    runs: &[Run<'_>],
    figure: impl Fn(&Benchmark) -> Option<f64>,
    weight: impl Fn(&Run<'_>) -> f64,
) -> Option<f64> {
    let figures = all(runs, figure)?;
    Some(mean(figures.into_iter().zip(runs.iter().map(weight)).collect::<Vec<_>>().into_iter()))
}

fn sum(runs: &[Run<'_>], figure: impl Fn(&Benchmark) -> Option<u64>) -> Option<u64> {
    all(runs, figure).map(|counts| counts.into_iter().sum())
}

fn largest(runs: &[Run<'_>], figure: impl Fn(&Benchmark) -> Option<f64>) -> Option<f64> {
    all(runs, figure)?.into_iter().max_by(f64::total_cmp)
}

fn side(runs: &[Run<'_>], of: fn(&Benchmark) -> Option<SideUse>) -> Option<SideUse> {
    all(runs, of)?;
    Some(SideUse {
        cpu_share: of_all(runs, |run| Some(of(run)?.cpu_share), |run| run.seconds)?,
        user_ns: sum(runs, |run| of(run)?.user_ns),
        system_ns: sum(runs, |run| of(run)?.system_ns),
        cpu_us_per_transaction: of_all(runs, |run| of(run)?.cpu_us_per_transaction, |run| run.transactions),
        cpu_ns_per_byte: of_all(runs, |run| of(run)?.cpu_ns_per_byte, |run| run.bytes),
    })
}

fn machine(runs: &[Run<'_>]) -> Option<MachineUse> {
    let uses = all(runs, |run| run.machine)?;
    let elapsed = uses.iter().map(|used| (used.busy_share, used.elapsed_ns as f64));
    Some(MachineUse {
        cpus: uses.first()?.cpus,
        elapsed_ns: uses.iter().map(|used| used.elapsed_ns).sum(),
        busy_ns: uses.iter().map(|used| used.busy_ns).sum(),
        busy_share: mean(elapsed),
        busy_us_per_transaction: of_all(runs, |run| run.machine?.busy_us_per_transaction, |run| run.transactions),
        busy_ns_per_byte: of_all(runs, |run| run.machine?.busy_ns_per_byte, |run| run.bytes),
    })
}

/// All runs have the same classes.
fn flows(runs: &[Run<'_>]) -> Vec<FlowTimes> {
    let Some(first) = runs.first() else { return Vec::new() };
    let class = |flows: &FlowTimes| {
        let find = |run: &Run<'_>| run.benchmark.flows.iter().find(|other| other.class == flows.class).cloned();
        let alike: Vec<FlowTimes> = runs.iter().filter_map(find).collect();
        FlowTimes {
            class: flows.class.clone(),
            flow_bytes: flows.flow_bytes,
            count: alike.iter().map(|flows| flows.count).sum(),
            mean_ns: mean(alike.iter().map(|flows| (flows.mean_ns, flows.count as f64))),
            p50_ns: None,
            p90_ns: None,
            p99_ns: None,
            max_ns: alike.iter().map(|flows| flows.max_ns).max().unwrap_or(0),
        }
    };
    first.benchmark.flows.iter().map(class).collect()
}

fn datagrams(runs: &[Run<'_>]) -> Option<Datagrams> {
    let counts = all(runs, |run| run.datagrams)?;
    let count = |figure: fn(&Datagrams) -> u64| counts.iter().map(figure).sum::<u64>();
    let (sent, lost) = (count(|datagrams| datagrams.sent), count(|datagrams| datagrams.lost));
    Some(Datagrams {
        sent,
        refused: count(|datagrams| datagrams.refused),
        received: count(|datagrams| datagrams.received),
        lost,
        lost_share: if sent > 0 { lost as f64 / sent as f64 } else { 0.0 },
        lost_at_socket: sum(runs, |run| run.datagrams?.lost_at_socket),
        reordered: sum(runs, |run| run.datagrams?.reordered),
    })
}

/// Repeats on one network have that of it; others a mean.
fn creation(runs: &[Run<'_>]) -> Option<Creation> {
    let all = all(runs, |run| run.creation)?;
    let mean = |figure: fn(&Creation) -> u64| all.iter().map(figure).sum::<u64>() / all.len() as u64;
    Some(Creation { built_ns: mean(|creation| creation.built_ns), first_answer_ns: mean(|made| made.first_answer_ns) })
}

/// All runs have the same ones.
fn neighbours(runs: &[Run<'_>]) -> Vec<NeighbourUse> {
    let Some(first) = runs.first() else { return Vec::new() };
    let neighbour = |(at, neighbour): (usize, &NeighbourUse)| {
        let of = |figure: fn(&NeighbourUse) -> Option<f64>| {
            of_all(runs, |run| run.neighbours.get(at).and_then(figure), |run| run.seconds)
        };
        NeighbourUse {
            kind: neighbour.kind.clone(),
            count: neighbour.count,
            asked_share: neighbour.asked_share,
            cpu_share: of(|used| used.cpu_share),
            sent_bits_per_s: of(|used| used.sent_bits_per_s),
            received_bits_per_s: of(|used| used.received_bits_per_s),
        }
    };
    first.benchmark.neighbours.iter().enumerate().map(neighbour).collect()
}
