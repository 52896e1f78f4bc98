//! How sure figures of journeys are: intervals from batch to batch.
//!
//! Packets of one batch share the machine's mood and are not independent; batches nearly are. So the interval of a mean comes
//! from how it differs between batches, never from the number of packets.

use std::collections::BTreeMap;

use netstrata_common::Layer;

use super::{
    span::{PathAccount, PathIntervals},
    spans::classify,
};
use crate::{
    numbers::ratio_interval,
    profile::{BatchPath, Histogram, PathRecord, Profile},
};

/// The intervals of a path.
pub fn of_path(profile: &Profile, path: &PathRecord) -> PathIntervals {
    let batches: Vec<&BatchPath> = profile.batches.iter().filter_map(|batch| batch.paths.get(&path.id)).collect();
    let interval = |ns: &dyn Fn(&BatchPath) -> u64, whole: &Histogram| {
        let pairs: Vec<(f64, f64)> = batches.iter().map(|batch| (ns(batch) as f64, batch.packets as f64)).collect();
        ratio_interval(&pairs, whole.sum as f64 / whole.count.max(1) as f64)
    };
    let span =
        |(index, whole): (usize, &Histogram)| interval(&|batch| batch.spans_ns.get(index).copied().unwrap_or(0), whole);
    PathIntervals {
        end_to_end: interval(&|batch| batch.sum_ns, &path.end_to_end),
        spans: path.spans.iter().enumerate().map(span).collect(),
    }
}

/// The intervals of what layers take of a packet, as the spans between two crossings tell them; a layer that is also told by
/// samples or functions has none here, for these have batches of their own.
pub fn of_layers(profile: &Profile, paths: &[PathAccount]) -> BTreeMap<Layer, [f64; 2]> {
    let mut by_batch: BTreeMap<Layer, Vec<f64>> = BTreeMap::new();
    let mut packets = vec![0.0; profile.batches.len()];
    for path in paths {
        let record = &path.record;
        let layers: Vec<Option<Layer>> =
            (0..record.spans.len()).map(|index| classify(record, index, &profile.topology).layer).collect();
        for (at, batch) in profile.batches.iter().enumerate() {
            let Some(sums) = batch.paths.get(&record.id) else { continue };
            packets[at] += sums.packets as f64;
            for (layer, ns) in layers.iter().zip(&sums.spans_ns) {
                if let Some(layer) = layer {
                    by_batch.entry(*layer).or_insert_with(|| vec![0.0; profile.batches.len()])[at] += *ns as f64;
                }
            }
        }
    }
    let seen: u64 = paths.iter().map(|path| path.record.packets).sum();
    let spans = || paths.iter().flat_map(|path| &path.spans);
    let mut intervals = BTreeMap::new();
    for (layer, ns) in by_batch.into_iter().filter(|(layer, _)| !spans().any(|span| span.is_part_of(*layer))) {
        let sum: u64 = spans().filter(|span| span.layer == Some(layer)).map(|span| span.sum_ns).sum();
        let pairs: Vec<(f64, f64)> = ns.into_iter().zip(packets.iter().copied()).collect();
        if let Some(interval) = ratio_interval(&pairs, sum as f64 / seen.max(1) as f64) {
            intervals.insert(layer, interval);
        }
    }
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::BatchRecord;

    fn profile(batches: &[(u64, u64)]) -> Profile {
        let mut path = PathRecord { id: 1, spans: vec![Histogram::default()], ..PathRecord::default() };
        let mut records = Vec::new();
        for (at, &(packets, mean)) in batches.iter().enumerate() {
            path.end_to_end.add(mean, packets);
            path.spans[0].add(mean, packets);
            let sums =
                BatchPath { packets, sum_ns: packets * mean, spans_ns: vec![packets * mean], ..BatchPath::default() };
            records.push(BatchRecord {
                end_ns: at as u64,
                paths: BTreeMap::from([(1, sums)]),
                ..BatchRecord::default()
            });
        }
        Profile { paths: vec![path], batches: records, ..Profile::default() }
    }

    #[test]
    fn batches_that_agree_are_sure_and_those_that_do_not_are_not() {
        let of = |batches: &[(u64, u64)]| {
            let profile = profile(batches);
            of_path(&profile, &profile.paths[0]).end_to_end
        };
        let [low, high] = of(&[(100, 1000), (120, 1000), (80, 1000)]).expect("three batches");
        assert!((low - 1000.0).abs() < 1e-6 && (high - 1000.0).abs() < 1e-6);
        let [low, high] = of(&[(100, 900), (100, 1100), (100, 1000)]).expect("three batches");
        assert!(low < 800.0 && high > 1200.0, "two degrees of freedom: {low} {high}");
        assert_eq!(of(&[(100, 900)]), None);
    }

    #[test]
    fn a_span_has_the_interval_of_its_own_sums() {
        let profile = profile(&[(100, 900), (100, 1100), (100, 1000), (100, 1000)]);
        let found = of_path(&profile, &profile.paths[0]);
        assert_eq!(found.spans, [found.end_to_end]);
    }
}
