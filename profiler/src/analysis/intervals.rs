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
    profile::{PathRecord, Profile},
};

/// The intervals of a path.
pub fn of_path(profile: &Profile, path: &PathRecord) -> PathIntervals {
    let batches = || profile.batches.iter().filter_map(|batch| batch.paths.get(&path.id));
    let interval = |ns: &dyn Fn(usize) -> Vec<f64>, index: usize, sum: u64, count: u64| {
        let pairs: Vec<(f64, f64)> =
            ns(index).into_iter().zip(batches()).map(|(ns, batch)| (ns, batch.packets as f64)).collect();
        ratio_interval(&pairs, sum as f64 / count.max(1) as f64)
    };
    let whole = |_: usize| batches().map(|batch| batch.sum_ns as f64).collect();
    let span = |index: usize| {
        batches().map(|batch| batch.spans_ns.get(index).copied().unwrap_or(0) as f64).collect::<Vec<f64>>()
    };
    PathIntervals {
        end_to_end: interval(&whole, 0, path.end_to_end.sum, path.end_to_end.count),
        spans: path.spans.iter().enumerate().map(|(index, sum)| interval(&span, index, sum.sum, sum.count)).collect(),
    }
}

/// The intervals of what layers take of a packet, as the spans between two crossings tell them; a layer that is also told by
/// samples or functions has none here, for these have batches of their own.
pub fn of_layers(profile: &Profile, paths: &[PathAccount]) -> BTreeMap<Layer, [f64; 2]> {
    let mut by_batch: BTreeMap<Layer, Vec<f64>> = BTreeMap::new();
    let mut packets = vec![0.0; profile.batches.len()];
    for (path, (at, batch)) in
        paths.iter().flat_map(|path| profile.batches.iter().enumerate().map(move |batch| (path, batch)))
    {
        let Some(sums) = batch.paths.get(&path.record.id) else { continue };
        packets[at] += sums.packets as f64;
        for (index, ns) in sums.spans_ns.iter().enumerate().take(path.record.spans.len()) {
            if let Some(layer) = classify(&path.record, index, &profile.topology).layer {
                by_batch.entry(layer).or_insert_with(|| vec![0.0; profile.batches.len()])[at] += *ns as f64;
            }
        }
    }
    let seen: u64 = paths.iter().map(|path| path.record.packets).sum();
    let divided = |layer: Layer| paths.iter().flat_map(|path| &path.spans).any(|span| span.is_part_of(layer));
    let mut intervals = BTreeMap::new();
    for (layer, ns) in by_batch.into_iter().filter(|(layer, _)| !divided(*layer)) {
        let sum: u64 = paths
            .iter()
            .flat_map(|path| &path.spans)
            .filter(|span| span.layer == Some(layer))
            .map(|span| span.sum_ns)
            .sum();
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
    use crate::profile::{BatchPath, BatchRecord, Histogram};

    fn profile(batches: &[(u64, u64)]) -> Profile {
        let mut path = PathRecord { id: 1, spans: vec![Histogram::default()], ..PathRecord::default() };
        let mut records = Vec::new();
        for (at, &(packets, mean)) in batches.iter().enumerate() {
            path.end_to_end.add(mean, packets);
            path.spans[0].add(mean, packets);
            let sums = BatchPath { packets, sum_ns: packets * mean, spans_ns: vec![packets * mean] };
            records.push(BatchRecord { end_ns: at as u64, paths: BTreeMap::from([(1, sums)]) });
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
