//! Streams: the busiest station and its CPU time per byte, by layer.
//!
//! bytes/s = utilisation / (CPU ns per byte) holds by definition; 1 / (bytes/s) is wall time per byte.

use std::collections::BTreeSet;

use netstrata_common::Layer;

use super::{
    Side, WorkKind, pairs, protocol, reaches_reader,
    station::{StationFacts, Work, stations},
    transaction,
    waterfall::{Part, Row, RowKind, Slot, Waterfall, whole},
};
use crate::{
    analysis::Account,
    failure::Failure,
    profile::{Benchmark, Profile},
};

/// Values of a waterfall in a nanosecond: of bytes millions, of transactions one.
fn scale(kind: WorkKind) -> f64 {
    if kind == WorkKind::Stream { 1e6 } else { 1.0 }
}

/// What a rate counts a second: bits are an eighth of a byte.
fn units(kind: WorkKind) -> f64 {
    if kind == WorkKind::Stream { 8.0 } else { 1.0 }
}

/// Time of the work in seconds and the bytes that the reader got in it, or the transactions.
fn work(kind: WorkKind, profile: &Profile, account: &Account, side: &Side) -> Work {
    let recorded = profile.meta.duration_ns as f64 / 1e9;
    // CPU time is of all the traffic, what the benchmark left out of its figures included.
    let ran = side.benchmark.as_ref().and_then(Benchmark::ran_s).filter(|ran| *ran > 0.0);
    match side.measured {
        Some(rate) => {
            let seconds = ran.map_or(recorded, |ran| ran.min(recorded));
            (seconds, rate / units(kind) * seconds)
        }
        None => {
            let protocol = protocol(profile);
            let paths = profile.paths.iter().filter(|path| reaches_reader(path, protocol));
            let bytes: u64 = paths.map(|path| path.bytes).sum();
            (recorded, bytes as f64 * account.scale)
        }
    }
}

/// The waterfall of wall time per byte, or per transaction; fills in the stations and what they predict.
pub(super) fn waterfall(
    kind: WorkKind,
    profiles: [&Profile; 2],
    accounts: [&Account; 2],
    sides: &mut [Side; 2],
    notes: &mut Vec<String>,
    given: [Option<&StationFacts>; 2],
) -> Result<Waterfall, Failure> {
    let works = [0, 1].map(|index| work(kind, profiles[index], accounts[index], &sides[index]));
    for (index, &(seconds, bytes)) in works.iter().enumerate() {
        let label = &sides[index].label;
        if !(bytes > 0.0 && seconds > 0.0) {
            return Err(Failure::Untrusted(format!("{label} holds no bytes that reached a reader")));
        }
        if accounts[index].cpu.busy == 0 || accounts[index].cpu.period_ns == 0 {
            return Err(Failure::Untrusted(format!("{label} holds no CPU samples: streams are split by CPU time")));
        }
    }
    let (stations, alike) = stations(profiles, accounts, &works, sides, given)?;
    notes.extend(alike);
    let [first, second] = &stations;
    let sample = |index: usize| accounts[index].cpu.period_ns as f64 / works[index].1 / first.utilisation;
    let unit = if kind == WorkKind::Stream { "ns/byte" } else { "ns/transaction" };
    notes.push(format!(
        "one CPU sample is {:.5} {unit} in {} and {:.5} in {}: rows of a few samples are noise",
        sample(0),
        sides[0].label,
        sample(1),
        sides[1].label
    ));
    // For a reader, and not for each of the accounts that only tell how sure figures are.
    if kind == WorkKind::Saturated && given[0].is_none() {
        for index in [0, 1] {
            notes.push(in_flight(profiles[index], accounts[index], &sides[index], &stations[index]));
        }
    }
    let rows = rows(scale(kind), first, second);
    let total = |station: &StationFacts| whole(scale(kind) * 1e9 / station.per_s);
    let waterfall = Waterfall::new(total(first), total(second), rows, "remainder");
    if sides[0].measured.is_some() {
        sides[1].predicted_from_baseline = Some(units(kind) * 1e9 * first.utilisation / second.cpu_ns_each);
    }
    for (side, station) in sides.iter_mut().zip(stations) {
        side.station = Some(station);
    }
    Ok(waterfall)
}

/// How full a station was, and whether its queue is what Little's law makes of the rate and of the time that journeys and processes
/// take: as many transactions at a time as the benchmark drives.
fn in_flight(profile: &Profile, account: &Account, side: &Side, station: &StationFacts) -> String {
    let pairs = pairs(side.benchmark.as_ref());
    let seen = transaction::times(profile, account, &side.label);
    let seen =
        seen.filter(|times| times.turns).map(|times| station.per_s * times.total(|part| part.value) as f64 / 1e9);
    let law = match seen {
        Some(seen) => format!("by their ways {seen:.1} were under way at a time (rate x time), {pairs:.0} were driven"),
        None => format!("{pairs:.0} were driven at a time"),
    };
    format!(
        "{}: {} was busy for {:.0} % of the time with the traffic, so its CPU time is the limit, and waits follow from it; {law}",
        side.label,
        station.name,
        100.0 * station.utilisation
    )
}

/// Layers at the baseline's utilisation, then what the target's own utilisation changes: what other work took of the station's CPUs, and
/// what is left.
fn rows(scale: f64, first: &StationFacts, second: &StationFacts) -> Vec<Row> {
    let part = |value: f64| Part::plain(whole(scale * value));
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
    // k / u' - k / u = k (u - u') / (u u'), and what u lacks others took, or nobody.
    let lacks = first.utilisation - second.utilisation;
    let taken = second.others - first.others;
    for (slot, lacks) in [(Slot::OtherWork, taken), (Slot::Utilisation, lacks - taken)] {
        let target = part(second.cpu_ns_each * lacks / (first.utilisation * second.utilisation));
        rows.push(Row { slot, baseline: Part::default(), target });
    }
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
    fn a_busy_task_that_has_nothing_to_do_with_the_traffic_is_no_station() {
        let computing = [(1, TCP, 300), (2, "do_nanosleep;do_syscall_64", 900)];
        let found = explain(&stream(&[(1, TCP, 400), (2, TCP, 200)]), &stream(&computing), &labels());
        let found = found.expect("the test has it");
        assert_eq!(found.target.station.expect("the test has it").name, "sender");
    }

    #[test]
    fn many_transactions_on_a_full_cpu_are_limited_by_it_and_one_at_a_time_is_not() {
        let profile = |entries: &[(u32, &str, u64)], rate: f64, pairs| {
            let mut profile = stream(entries);
            let benchmark = profile.meta.benchmark.as_mut().expect("the test has it");
            (benchmark.throughput_bits_per_s, benchmark.transactions_per_s) = (None, Some(rate));
            benchmark.pairs = Some(pairs);
            profile
        };
        // 1 ms samples of a second: 980 ms for 50,000 transactions, then for 40,000 of which the bridge takes a fifth.
        let (first, second) = ([(1, TCP, 980)], [(1, TCP, 784), (1, BRIDGE, 196)]);
        let of = |pairs| explain(&profile(&first, 5e4, pairs), &profile(&second, 4e4, pairs), &labels());
        let found = of(16).expect("the test has it");
        assert_eq!((found.kind, found.kind.limited_by()), (WorkKind::Saturated, "station"));
        assert_eq!((found.waterfall.baseline, found.waterfall.target), (20_000, 25_000));
        let row = |name: &str| found.waterfall.rows.iter().find(|row| row.slot.name() == name).map(Row::delta);
        assert_eq!((row("tcp"), row("bridge"), row("utilisation")), (Some(0), Some(5000), Some(0)));
        assert_eq!(found.explained_share, Some(1.0));
        assert!(found.notes.iter().any(|note| note.contains("16 were driven")), "{:?}", found.notes);
        // A CPU that is not full is not the limit, and neither is one that one at a time keeps busy.
        let idle = explain(&profile(&[(1, TCP, 400)], 5e4, 16), &profile(&[(1, TCP, 300)], 4e4, 16), &labels());
        assert!(idle.is_err() || idle.is_ok_and(|found| found.kind == WorkKind::RequestResponse));
        assert!(of(1).is_err() || of(1).is_ok_and(|found| found.kind == WorkKind::RequestResponse));
    }

    #[test]
    fn layers_at_the_baselines_utilisation_predict_the_target() {
        // A second of 1 ms samples; the reader gets 1 GB, then 0.5 GB.
        let (first, mut second) = (stream(&[(1, TCP, 800)]), stream(&[(1, TCP, 400), (1, BRIDGE, 200)]));
        second.meta.benchmark.as_mut().expect("the test has it").throughput_bits_per_s = Some(4e9);
        let found = explain(&first, &second, &labels()).expect("the test has it");
        let station = found.target.station.as_ref().expect("the test has it");
        assert!((station.cpu_ns_each - 1.2).abs() < 1e-9 && (station.utilisation - 0.6).abs() < 1e-9);
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
    fn what_other_work_takes_of_the_stations_cpu_is_a_row_of_its_own() {
        // A compiler takes 0.3 of the second in which the reader gets half as much; 0.1 of it is idle.
        let computing = [(1, TCP, 600), (2, "do_nanosleep;do_syscall_64", 300)];
        let mut second = stream(&computing);
        second.cpu.entries.iter_mut().for_each(|entry| entry.cpu = 0);
        second.meta.benchmark.as_mut().expect("the test has it").throughput_bits_per_s = Some(6e9);
        let found = explain(&stream(&[(1, TCP, 1000)]), &second, &labels()).expect("the test has it");
        let row = |name: &str| found.waterfall.rows.iter().find(|row| row.slot.name() == name).map(Row::delta);
        assert_eq!((found.waterfall.baseline, found.waterfall.target), (1_000_000, 1_333_333));
        // 0.8 ns of CPU a byte on 0.6 of a CPU instead of all of it.
        let lost = 800_000.0 / 0.6;
        assert_eq!(row("other work"), Some((lost * 0.3) as i64));
        assert_eq!(row("utilisation"), Some((lost * 0.1) as i64));
        second.meta.steal_share = 0.1;
        let found = explain(&stream(&[(1, TCP, 1000)]), &second, &labels()).expect("the test has it");
        let row = found.waterfall.rows.iter().find(|row| row.slot == Slot::OtherWork).map(Row::delta);
        assert_eq!(row, Some((lost * 0.4) as i64), "the hypervisor took it");
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
        assert!((found.baseline.station.expect("the test has it").per_s - bytes as f64).abs() < 1e-6);
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
