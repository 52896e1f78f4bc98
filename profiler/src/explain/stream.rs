//! Streams: the busiest station and its CPU time per byte, by layer.
//!
//! bytes/s = utilisation / (CPU ns per byte) holds by definition; 1 / (bytes/s) is wall time per byte.

use std::collections::{BTreeMap, BTreeSet};

use netstrata_common::Layer;

use super::{
    Side, protocol, reaches_reader,
    waterfall::{Part, Row, RowKind, Slot, Waterfall},
};
use crate::{
    analysis::Account,
    cpu::{Context, TaskAccount, TaskKey},
    failure::Failure,
    profile::Profile,
    threads,
};

/// Above this share of every CPU the whole machine is the station.
const SATURATED: f64 = 0.95;
/// Stations this near to the busiest may be it.
const NEAR: f64 = 0.05;
/// Name of the station that is the whole machine.
const MACHINE: &str = "all CPUs";
/// Values of a waterfall per nanosecond per byte.
const SCALE: f64 = 1e6;

/// A task with the softirqs on top of it, or the whole machine.
#[derive(Clone, Debug, PartialEq)]
pub struct StationFacts {
    /// Process; 0 for idle CPUs and the whole machine.
    pub pid: u32,
    /// Name of the task, or "all CPUs".
    pub name: String,
    /// Container it runs in, if any.
    pub container: Option<String>,
    /// CPU time over recording time; of the whole machine: in CPUs.
    pub utilisation: f64,
    /// CPU time per byte of the application, nanoseconds.
    pub cpu_ns_per_byte: f64,
    /// Bytes a second: utilisation / CPU time per byte.
    pub bytes_per_s: f64,
    /// Busy samples.
    pub samples: u64,
    /// Part of them in softirqs on top of the task (0 to 1).
    pub softirq_share: f64,
    /// CPU time per byte by layer, nanoseconds.
    pub layers: BTreeMap<Option<Layer>, f64>,
}

impl StationFacts {
    fn is_machine(&self) -> bool {
        self.name == MACHINE
    }
}

/// Busy share of each CPU.
pub(super) fn cpu_shares(profile: &Profile, account: &Account) -> Vec<(u16, f64)> {
    let mut busy: BTreeMap<u16, u64> = BTreeMap::new();
    for (&(cpu, context), samples) in &account.cpu.cpus {
        *busy.entry(cpu).or_default() += if context == Context::Idle { 0 } else { *samples };
    }
    let duration = profile.meta.duration_ns.max(1) as f64;
    busy.into_iter().map(|(cpu, samples)| (cpu, account.cpu.ns(samples) as f64 / duration)).collect()
}

/// Time of the work in seconds and the bytes that the reader got in it.
fn work(profile: &Profile, account: &Account, side: &Side) -> (f64, f64) {
    let recorded = profile.meta.duration_ns as f64 / 1e9;
    let ran = side.benchmark.as_ref().and_then(|benchmark| benchmark.duration_s).filter(|ran| *ran > 0.0);
    match side.measured {
        Some(rate) => {
            let seconds = ran.map_or(recorded, |ran| ran.min(recorded));
            (seconds, rate / 8.0 * seconds)
        }
        None => {
            let protocol = protocol(profile);
            let paths = profile.paths.iter().filter(|path| reaches_reader(path, protocol));
            let bytes: u64 = paths.map(|path| path.bytes).sum();
            (recorded, bytes as f64 * account.scale)
        }
    }
}

/// A candidate with its busy samples.
struct Candidate<'a> {
    task: &'a TaskKey,
    account: &'a TaskAccount,
    busy: u64,
}

impl Candidate<'_> {
    fn is(&self, station: &StationFacts) -> bool {
        (self.task.pid, &self.task.comm, &self.task.container) == (station.pid, &station.name, &station.container)
    }
}

/// Stations of a profile, busiest first.
fn candidates(account: &Account) -> Vec<Candidate<'_>> {
    // The recorder's threads are no station of the traffic.
    let tasks = account.cpu.tasks.iter().filter(|(task, _)| !threads::RECORDER.contains(&task.comm.as_str()));
    let mut found: Vec<Candidate<'_>> = tasks
        .map(|(task, of)| Candidate { task, account: of, busy: of.layers.values().sum() })
        .filter(|candidate| candidate.busy > 0)
        .collect();
    found.sort_by(|a, b| b.busy.cmp(&a.busy).then(a.task.cmp(b.task)));
    found
}

/// The busiest stations of both. Where several are about as busy, those with the same name in both are compared.
fn choose<'a>(
    first: &'a [Candidate<'a>],
    second: &'a [Candidate<'a>],
) -> Option<(&'a Candidate<'a>, &'a Candidate<'a>)> {
    let near = |list: &'a [Candidate<'a>]| {
        let least = list.first().map_or(0.0, |top| top.busy as f64 * (1.0 - NEAR));
        list.iter().take_while(move |candidate| candidate.busy as f64 >= least)
    };
    for candidate in near(first) {
        if let Some(other) = near(second).find(|other| other.task.comm == candidate.task.comm) {
            return Some((candidate, other));
        }
    }
    Some((first.first()?, second.first()?))
}

fn facts(
    account: &Account,
    (seconds, bytes): (f64, f64),
    name: (u32, String, Option<String>),
    layers: BTreeMap<Option<Layer>, u64>,
    softirqs: u64,
) -> StationFacts {
    let samples: u64 = layers.values().sum();
    let per_byte = |samples: u64| account.cpu.ns(samples) as f64 / bytes;
    StationFacts {
        pid: name.0,
        name: name.1,
        container: name.2,
        utilisation: account.cpu.ns(samples) as f64 / 1e9 / seconds,
        cpu_ns_per_byte: per_byte(samples),
        bytes_per_s: bytes / seconds,
        samples,
        softirq_share: softirqs as f64 / samples.max(1) as f64,
        layers: layers.into_iter().map(|(layer, samples)| (layer, per_byte(samples))).collect(),
    }
}

fn of_task(account: &Account, work: (f64, f64), candidate: &Candidate<'_>) -> StationFacts {
    let mut layers: BTreeMap<Option<Layer>, u64> = BTreeMap::new();
    for ((_, layer), samples) in &candidate.account.layers {
        *layers.entry(*layer).or_default() += samples;
    }
    let task = candidate.task;
    let softirqs = candidate.account.contexts.get(&Context::Softirq).copied().unwrap_or(0);
    facts(account, work, (task.pid, task.comm.clone(), task.container.clone()), layers, softirqs)
}

fn of_machine(account: &Account, work: (f64, f64)) -> StationFacts {
    let mut layers: BTreeMap<Option<Layer>, u64> =
        account.cpu.layers.iter().map(|(layer, samples)| (Some(*layer), *samples)).collect();
    layers.insert(None, account.cpu.unattributed);
    let of = |context| account.cpu.contexts.get(&context).copied().unwrap_or(0);
    let softirqs = of(Context::Softirq) + of(Context::Ksoftirqd);
    facts(account, work, (0, MACHINE.into(), None), layers, softirqs)
}

/// The waterfall of wall time per byte; fills in the stations and what they predict.
pub(super) fn waterfall(
    profiles: [&Profile; 2],
    accounts: &[Account; 2],
    sides: &mut [Side; 2],
    notes: &mut Vec<String>,
    given: [Option<&StationFacts>; 2],
) -> Result<Waterfall, Failure> {
    let works = [0, 1].map(|index| work(profiles[index], &accounts[index], &sides[index]));
    for (index, &(seconds, bytes)) in works.iter().enumerate() {
        let label = &sides[index].label;
        if !(bytes > 0.0 && seconds > 0.0) {
            return Err(Failure::Untrusted(format!("{label} holds no bytes that reached a reader")));
        }
        if accounts[index].cpu.busy == 0 || accounts[index].cpu.period_ns == 0 {
            return Err(Failure::Untrusted(format!("{label} holds no CPU samples: streams are split by CPU time")));
        }
    }
    let saturated = |side: &Side| !side.cpus.is_empty() && side.cpus.iter().all(|(_, share)| *share > SATURATED);
    let lists = [candidates(&accounts[0]), candidates(&accounts[1])];
    let machine = match given {
        [Some(first), _] => first.is_machine(),
        _ => sides.iter().any(saturated),
    };
    let stations = if machine {
        let who: Vec<&str> = sides.iter().filter(|side| saturated(side)).map(|side| side.label.as_str()).collect();
        notes.push(format!(
            "every CPU is busy in {}: the whole machine is the station, and its utilisation counts CPUs",
            who.join(" and ")
        ));
        [of_machine(&accounts[0], works[0]), of_machine(&accounts[1], works[1])]
    } else {
        let same =
            |index: usize| lists[index].iter().find(|candidate| given[index].is_some_and(|given| candidate.is(given)));
        let (first, second) = same(0)
            .zip(same(1))
            .or_else(|| choose(&lists[0], &lists[1]))
            .ok_or_else(|| Failure::Untrusted("no task of the traffic was sampled: record again, longer".into()))?;
        [of_task(&accounts[0], works[0], first), of_task(&accounts[1], works[1], second)]
    };
    let [first, second] = &stations;
    if first.name != second.name {
        notes.push(format!(
            "the busiest station is {} in {} and {} in {}: the layers compare two different tasks",
            first.name, sides[0].label, second.name, sides[1].label
        ));
    }
    let sample = |index: usize| accounts[index].cpu.period_ns as f64 / works[index].1 / first.utilisation;
    notes.push(format!(
        "one CPU sample is {:.5} ns/byte in {} and {:.5} in {}: rows of a few samples are noise",
        sample(0),
        sides[0].label,
        sample(1),
        sides[1].label
    ));
    let rows = rows(first, second);
    let total = |station: &StationFacts| (SCALE * 1e9 / station.bytes_per_s).round() as i64;
    let waterfall = Waterfall::new(total(first), total(second), rows, "remainder");
    if sides[0].measured.is_some() {
        sides[1].predicted_from_baseline = Some(8e9 * first.utilisation / second.cpu_ns_per_byte);
    }
    for (side, station) in sides.iter_mut().zip(stations) {
        side.station = Some(station);
    }
    Ok(waterfall)
}

/// Layers at the baseline's utilisation, then what the target's own utilisation changes.
fn rows(first: &StationFacts, second: &StationFacts) -> Vec<Row> {
    let part = |value: f64| Part::plain((SCALE * value).round() as i64);
    let layers: BTreeSet<Option<Layer>> = first.layers.keys().chain(second.layers.keys()).copied().collect();
    let of = |station: &StationFacts, layer: &Option<Layer>| {
        part(station.layers.get(layer).copied().unwrap_or(0.0) / first.utilisation)
    };
    let mut rows: Vec<Row> = layers
        .iter()
        .map(|layer| Row {
            slot: layer.map_or(Slot::Unattributed, |layer| Slot::Layer(layer, RowKind::Cpu)),
            baseline: of(first, layer),
            target: of(second, layer),
        })
        .collect();
    rows.push(Row {
        slot: Slot::Utilisation,
        baseline: Part::default(),
        target: part(second.cpu_ns_per_byte * (1.0 / second.utilisation - 1.0 / first.utilisation)),
    });
    rows.sort_by_key(|row| row.slot);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{explain, testdata::*};
    use proptest::prelude::*;

    #[test]
    fn the_busiest_task_is_the_station_with_its_softirqs() {
        let found =
            explain(&stream(&[(1, TCP, 400), (2, TCP, 200)]), &stream(&[(1, TCP, 400), (2, TCP, 900)]), &labels());
        let found = found.expect("the test has it");
        let names = |side: &Side| side.station.as_ref().expect("the test has it").name.clone();
        assert_eq!((names(&found.baseline).as_str(), names(&found.target).as_str()), ("sender", "receiver"));
        assert!(found.notes.iter().any(|note| note.contains("two different tasks")));
        let both =
            explain(&stream(&[(1, SOFTIRQ, 600), (2, TCP, 590)]), &stream(&[(1, TCP, 590), (2, TCP, 600)]), &labels());
        let both = both.expect("the test has it");
        assert_eq!((names(&both.baseline).as_str(), names(&both.target).as_str()), ("sender", "sender"));
        assert_eq!(both.baseline.station.expect("the test has it").softirq_share, 1.0);
    }

    #[test]
    fn layers_at_the_baselines_utilisation_predict_the_target() {
        // A second of 1 ms samples; the reader gets 1 GB, then 0.5 GB.
        let (first, mut second) = (stream(&[(1, TCP, 800)]), stream(&[(1, TCP, 400), (1, BRIDGE, 200)]));
        second.meta.benchmark.as_mut().expect("the test has it").throughput_bits_per_s = Some(4e9);
        let found = explain(&first, &second, &labels()).expect("the test has it");
        let station = found.target.station.as_ref().expect("the test has it");
        assert!((station.cpu_ns_per_byte - 1.2).abs() < 1e-9 && (station.utilisation - 0.6).abs() < 1e-9);
        assert!((found.target.predicted_from_baseline.expect("the test has it") - 8e9 * 0.8 / 1.2).abs() < 1.0);
        assert_eq!((found.waterfall.baseline, found.waterfall.target), (1_000_000, 2_000_000));
        let delta = |name: &str| {
            found.waterfall.rows.iter().find(|row| row.slot.name() == name).expect("the test has it").delta()
        };
        assert_eq!((delta("tcp"), delta("bridge"), delta("utilisation")), (0, 500_000, 500_000));
        assert_eq!(found.waterfall.remainder.delta(), 0);
        assert!((found.explained_share.expect("the test has it") - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_full_machine_is_its_own_station() {
        let full = stream(&[(1, TCP, 980), (2, SOFTIRQ, 970)]);
        let found = explain(&stream(&[(1, TCP, 800)]), &full, &labels()).expect("the test has it");
        assert_eq!(found.baseline.station.expect("the test has it").name, "all CPUs");
        assert!((found.target.station.expect("the test has it").utilisation - 1.95).abs() < 1e-9);
    }

    #[test]
    fn without_a_benchmark_bytes_come_from_the_journeys() {
        let mut profile = stream(&[(1, TCP, 500)]);
        profile.meta.benchmark = None;
        let found = explain(&profile, &profile, &labels()).expect("the test has it");
        let bytes: u64 = profile.paths.iter().map(|path| path.bytes).sum();
        assert!((found.baseline.station.expect("the test has it").bytes_per_s - bytes as f64).abs() < 1e-6);
        assert_eq!(found.target.predicted_from_baseline, None);
    }

    #[test]
    fn streams_need_samples() {
        let mut profile = stream(&[]);
        profile.cpu.entries.clear();
        assert!(matches!(explain(&profile, &stream(&[]), &labels()), Err(Failure::Untrusted(_))));
    }

    proptest! {
        #[test]
        fn the_waterfall_closes_on_any_samples(
            first in proptest::collection::vec((1u32..3, 0usize..3, 1u64..500), 1..10),
            second in proptest::collection::vec((1u32..3, 0usize..3, 1u64..500), 1..10),
            rates in (1e6f64..1e11, 1e6f64..1e11),
        ) {
            let make = |list: &[(u32, usize, u64)], rate: f64| {
                let rows: Vec<_> =
                    list.iter().map(|&(task, stack, count)| (task, [TCP, BRIDGE, SOFTIRQ][stack], count)).collect();
                let mut profile = stream(&rows);
                profile.meta.benchmark.as_mut().expect("the test has it").throughput_bits_per_s = Some(rate);
                profile
            };
            let found = explain(&make(&first, rates.0), &make(&second, rates.1), &labels()).expect("the test has it");
            prop_assert!(found.waterfall.is_closed());
            // The rows hold all but rounding.
            let rounding = found.waterfall.rows.len() as u64 + 4;
            prop_assert!(found.waterfall.remainder.delta().unsigned_abs() <= 2 * rounding + (found.waterfall.target / 1_000_000) as u64);
        }
    }
}
