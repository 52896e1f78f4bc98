//! What the work of one recording took, without another one beside it: what `check` compares, recording by recording.

use std::collections::BTreeMap;

use netstrata_common::Layer;

use super::{
    Slot, WorkKind, benchmark_kind, guess, legs, measured, pairs, protocol, reaches_reader, transaction,
    waterfall::RowKind,
};
use crate::{
    analysis::{Account, PathAccount},
    cpu::of_traffic,
    profile::{BatchWork, Benchmark, Profile},
};

/// The work of one recording. Nanoseconds are those of one transaction, or of one byte of a stream.
#[derive(Clone, Debug)]
pub struct Alone {
    /// What was done.
    pub kind: WorkKind,
    /// What the benchmark measured of all of it.
    pub measured_ns: Option<f64>,
    /// The same by what it did in the batches: only of this is it known how it differs between them.
    pub measured_in_batches_ns: Option<f64>,
    /// Service and wait by layer without what the probes took, and the applications' own time; of a stream with CPU samples their
    /// time by layer, and waits.
    pub layers: BTreeMap<Slot, f64>,
    /// How often a packet comes through each layer by its crossings, which samples have no part in.
    pub crossings: BTreeMap<Layer, f64>,
    /// Other counts, each with its name: of a packet that reaches a reader or leaves this host, unless the name says otherwise.
    pub counts: Vec<(&'static str, f64)>,
}

/// What the work of one recording took; `None` where no packet reached a reader.
pub fn alone(profile: &Profile, account: &Account) -> Option<Alone> {
    let kind = benchmark_kind(profile).unwrap_or_else(|| guess(profile, account));
    let benchmark = profile.meta.benchmark.as_ref();
    // Of a stream pairs are the sum: its bytes are those of all.
    let beside = if kind == WorkKind::Stream { 1.0 } else { pairs(benchmark) };
    let unit = if kind == WorkKind::Stream { 8.0 } else { 1.0 };
    let rate = benchmark.and_then(|benchmark| measured(kind, benchmark));
    let work: BatchWork = profile.batches.iter().filter_map(|batch| batch.work).sum();
    let (paths, layers, first) = match kind {
        WorkKind::RequestResponse | WorkKind::Saturated => {
            let times = transaction::times(profile, account, "")?;
            let packets = ("packets per transaction", times.of.packets);
            let paths = legs::paths(profile, account).into_iter().map(|(path, _)| path).collect();
            (paths, times.exact, Some(packets))
        }
        WorkKind::Stream => {
            let protocol = protocol(profile);
            let reaches = |path: &&PathAccount| reaches_reader(&path.record, protocol);
            let paths: Vec<&PathAccount> = account.paths.iter().filter(reaches).collect();
            let layers = stream_layers(profile, account, &paths, rate)?;
            (paths, layers, None)
        }
    };
    let (crossings, counts) = counts(&paths)?;
    Some(Alone {
        kind,
        measured_ns: rate.map(|rate| beside * unit * 1e9 / rate),
        measured_in_batches_ns: (work.ns > 0 && work.done > 0).then(|| beside * work.ns as f64 / work.done as f64),
        layers,
        crossings,
        counts: first.into_iter().chain(counts).collect(),
    })
}

/// The time of a byte of a stream: that of CPU samples in all tasks of the traffic where there are some, or of spans; and waits.
fn stream_layers(
    profile: &Profile,
    account: &Account,
    paths: &[&PathAccount],
    rate: Option<f64>,
) -> Option<BTreeMap<Slot, f64>> {
    let seen: u64 = paths.iter().map(|path| path.record.bytes).sum();
    if seen == 0 {
        return None;
    }
    let mut layers: BTreeMap<Slot, f64> = BTreeMap::new();
    let sampled = account.cpu.busy > 0 && account.cpu.period_ns > 0;
    for span in paths.iter().flat_map(|path| &path.spans) {
        let Some(layer) = span.layer else { continue };
        let kind = RowKind::from(span.kind);
        if kind == RowKind::Wait || !sampled {
            let own = (span.sum_ns - span.probe_ns) as f64 / seen as f64;
            *layers.entry(Slot::Layer(layer, kind)).or_default() += own;
        }
    }
    if sampled {
        let recorded = profile.meta.duration_ns as f64 / 1e9;
        let ran = profile.meta.benchmark.as_ref().and_then(Benchmark::ran_s);
        let seconds = ran.filter(|ran| *ran > 0.0).map_or(recorded, |ran| ran.min(recorded));
        let bytes = rate.map_or(seen as f64 * account.scale, |bits| bits / 8.0 * seconds);
        let traffic = of_traffic(&account.cpu, &[&account.cpu]);
        for (task, of) in &account.cpu.tasks {
            for (station, samples) in of.of_traffic(traffic.contains(&*task.comm)) {
                let slot = station.layer.map_or(Slot::Unattributed, |layer| Slot::Layer(layer, RowKind::Cpu));
                *layers.entry(slot).or_default() += account.cpu.ns(samples) as f64 / bytes;
            }
        }
    }
    Some(layers)
}

/// Crossings by layer, and counts by name.
type Counts = (BTreeMap<Layer, f64>, Vec<(&'static str, f64)>);

/// How often a packet comes through each layer, and other counts.
fn counts(paths: &[&PathAccount]) -> Option<Counts> {
    let packets: u64 = paths.iter().map(|path| path.record.packets).sum();
    let ends: u64 = paths.iter().map(|path| path.record.end_to_end.count).sum();
    if packets == 0 || ends == 0 {
        return None;
    }
    let mut crossings: BTreeMap<Layer, u64> = BTreeMap::new();
    for path in paths {
        let mut before = None;
        // Parts of a span come after what the span itself means.
        for span in &path.spans {
            if let Some(layer) = span.layer.filter(|_| before.replace(span.index) != Some(span.index)) {
                *crossings.entry(layer).or_default() += span.count;
            }
        }
    }
    let sum = |value: &dyn Fn(&PathAccount) -> u64| paths.iter().map(|path| value(path)).sum::<u64>();
    let each = |value: u64| value as f64 / packets as f64;
    let bytes = sum(&|path| path.record.bytes).max(1);
    let per_kb = |count: u64| 1000.0 * count as f64 / bytes as f64;
    // More of each is more work: packets that hold less, or are cut, are more of them.
    let counts = vec![
        ("softirqs per packet", each(sum(&|path| u64::from(path.softirqs) * path.record.packets))),
        ("CPU hops per packet", each(sum(&|path| path.record.cpu_hops))),
        ("devices per packet", each(sum(&|path| path.devices.len() as u64 * path.record.packets))),
        ("skbs at the end per packet", each(sum(&|path| path.record.skbs_at_end_micro)) / 1e6),
        ("packets per kB", per_kb(packets)),
        ("wire packets per kB", per_kb(sum(&|path| path.record.wire_packets))),
    ];
    let crossings = crossings.into_iter().map(|(layer, count)| (layer, count as f64 / ends as f64)).collect();
    Some((crossings, counts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{analysis::account, explain::testdata::*};

    #[test]
    fn a_transaction_is_taken_apart_without_another_one_beside_it() {
        let profile = rr(2, 1e9 / 8200.0);
        let found = alone(&profile, &account(&profile)).expect("the test has it");
        assert_eq!(found.kind, WorkKind::RequestResponse);
        assert!((found.measured_ns.expect("the test has it") - 8200.0).abs() < 1e-6);
        let backlog = found.layers[&Slot::Layer(Layer::Backlog, RowKind::Wait)];
        assert!((backlog - 2000.0).abs() < 1e-6 && (found.layers[&Slot::Turnaround] - 4000.0).abs() < 1e-6);
        assert!((found.crossings[&Layer::Backlog] - 2.0).abs() < 1e-9, "{:?}", found.crossings);
        let softirqs = found.counts.iter().find(|count| count.0 == "softirqs per packet").expect("the test has it");
        assert!((softirqs.1 - 2.0).abs() < 1e-9);
        assert_eq!(found.measured_in_batches_ns, None);
    }

    #[test]
    fn a_byte_of_a_stream_takes_the_cpu_time_of_all_tasks_of_the_traffic() {
        let profile = stream(&[(1, TCP, 400), (2, BRIDGE, 200)]);
        let found = alone(&profile, &account(&profile)).expect("the test has it");
        assert_eq!(found.kind, WorkKind::Stream);
        // 8 Gbit/s for a second: a nanosecond of wall time for each byte, and 0.6 of CPU time.
        assert!((found.measured_ns.expect("the test has it") - 1.0).abs() < 1e-9);
        let cpu: f64 = found.layers.iter().filter(|row| row.0.kind() == "cpu").map(|row| row.1).sum();
        assert!((cpu - 0.6).abs() < 1e-9, "{:?}", found.layers);
        let mut unsampled = profile;
        unsampled.cpu.entries.clear();
        let found = alone(&unsampled, &account(&unsampled)).expect("the test has it");
        assert!(found.layers.keys().any(|slot| slot.kind() == "service"), "{:?}", found.layers);
        unsampled.paths.clear();
        assert!(alone(&unsampled, &account(&unsampled)).is_none());
    }
}
