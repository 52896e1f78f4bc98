//! Recordings of several, each with the weight of the work that it did.
//!
//! A benchmark's mean is over all transactions. Journeys are observed for as large a part of a recording as the budget allows: all of
//! it where work is slow, some hundredths where it is fast. Added as they are, the slow ones would count more than they did.

use std::collections::BTreeMap;

use super::{BatchPath, BatchRecord, BatchTurns, Profile, histogram::part, turns_of};

/// Weights are whole numbers of this part.
const PARTS_OF_ONE: f64 = 1024.0;
/// What the sums of all may come to with their weights.
const MOST: u128 = 1 << 63;

impl Profile {
    /// The same with journeys and turnarounds of each recording as many as its share of the transactions. As it is where it is of
    /// one recording, or the work of one is not known.
    pub fn balanced(&self) -> Self {
        let mut balanced = self.clone();
        if let Some(weights) = self.weights() {
            for batch in &mut balanced.batches {
                let weight = weights.get(&batch.part).copied().unwrap_or(1);
                weigh(batch, weight);
            }
            balanced.sum_batches();
            let packets = |profile: &Self| profile.paths.iter().map(|path| path.packets).sum::<u64>() as f64;
            balanced.multiple = packets(&balanced) / packets(self).max(1.0);
        }
        balanced
    }

    /// A sum over packets as if each counted once: what goes with things that were not weighed.
    pub fn once(&self, count: u64) -> f64 {
        count as f64 / if self.multiple > 0.0 { self.multiple } else { 1.0 }
    }

    /// Weights of the recordings: transactions that were done for each that was observed.
    fn weights(&self) -> Option<BTreeMap<u32, u64>> {
        if self.meta.parts.len() < 2 {
            return None;
        }
        let mut ratios = BTreeMap::new();
        for (place, part) in (0_u32..).zip(&self.meta.parts) {
            let benchmark = part.benchmark.as_ref()?;
            let done = benchmark.transactions_per_s? * benchmark.ran_s()?;
            let own = || self.batches.iter().filter(move |batch| batch.part == place);
            let seen: u64 = own().map(|batch| batch.work_in_windows.map_or(batch.look.1, |work| work.done)).sum();
            if seen == 0 {
                return None;
            }
            ratios.insert(place, done / seen as f64);
        }
        let least = ratios.values().copied().fold(f64::INFINITY, f64::min);
        let weight = |ratio: f64| (ratio / least * PARTS_OF_ONE).round() as u64;
        let weights: BTreeMap<u32, u64> = ratios.into_iter().map(|(part, ratio)| (part, weight(ratio))).collect();
        // Work that differs beyond what can be counted is not what a benchmark measured.
        let largest = weights.values().copied().max().unwrap_or(1);
        let sum: u128 = self.batches.iter().flat_map(sums).map(u128::from).sum();
        (sum.checked_mul(largest.into())? <= MOST).then_some(weights)
    }

    /// Makes the sums of paths and turnarounds those of their batches.
    fn sum_batches(&mut self) {
        for path in &mut self.paths {
            let own: Vec<_> = self.batches.iter().filter_map(|batch| batch.paths.get(&path.id)).collect();
            let (before, count) = (path.end_to_end.count, own.iter().map(|sums| sums.packets).sum());
            path.end_to_end.hold(count, own.iter().map(|sums| sums.sum_ns).sum());
            for (at, span) in path.spans.iter_mut().enumerate() {
                span.hold(count, own.iter().filter_map(|sums| sums.spans_ns.get(at)).sum());
            }
            path.weighted_counts().into_iter().for_each(|number| *number = part(*number, count, before));
        }
        for turn in &mut self.turnarounds {
            let own = turns_of(&self.batches, turn);
            let (count, sum) = own.fold((0, 0), |sums, own| (sums.0 + own.count, sums.1 + own.sum_ns));
            turn.ns.hold(count, sum);
        }
    }
}

/// What of a batch is weighed.
fn sums(batch: &BatchRecord) -> impl Iterator<Item = u64> {
    let of_path = |path: &BatchPath| {
        let far: u64 = path.far.values().map(|far| far.sum).sum();
        [path.packets, path.sum_ns, far, path.spans_ns.iter().sum()]
    };
    let of_turns = |turns: &BatchTurns| [turns.count, turns.sum_ns, turns.far.sum];
    let work = batch.work_in_windows.into_iter().flat_map(|work| [work.ns, work.done]);
    batch.paths.values().flat_map(of_path).chain(batch.turnarounds.iter().flat_map(of_turns)).chain(work)
}

fn weigh(batch: &mut BatchRecord, weight: u64) {
    for sums in batch.paths.values_mut() {
        sums.packets *= weight;
        sums.sum_ns *= weight;
        sums.spans_ns.iter_mut().for_each(|ns| *ns *= weight);
        sums.far.values_mut().for_each(|far| far.sum *= weight);
    }
    for turns in &mut batch.turnarounds {
        (turns.count, turns.sum_ns) = (turns.count * weight, turns.sum_ns * weight);
        turns.far.sum *= weight;
    }
    if let Some(work) = &mut batch.work_in_windows {
        (work.ns, work.done) = (work.ns * weight, work.done * weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{BatchWork, Benchmark, Histogram, PartRecord, PathRecord};

    #[test]
    fn a_recording_counts_as_much_as_the_work_that_it_did() {
        // The slow one was observed all the time, the fast one for a tenth of it.
        let part = |rate| PartRecord {
            benchmark: Some(Benchmark {
                transactions_per_s: Some(rate),
                duration_s: Some(1.0),
                ..Benchmark::default()
            }),
            ..PartRecord::default()
        };
        let batch = |part, done, ns: u64| {
            let sums =
                BatchPath { packets: done, sum_ns: done * ns, spans_ns: vec![done * ns], ..BatchPath::default() };
            BatchRecord {
                part,
                paths: BTreeMap::from([(1, sums)]),
                work_in_windows: Some(BatchWork { ns: 1, done }),
                ..BatchRecord::default()
            }
        };
        let mut path = PathRecord { id: 1, packets: 2000, spans: vec![Histogram::default()], ..PathRecord::default() };
        for (count, ns) in [(1000, 1000), (1000, 100)] {
            path.end_to_end.add(ns, count);
            path.spans[0].add(ns, count);
        }
        let mut profile = Profile {
            paths: vec![path],
            batches: vec![batch(0, 1000, 1000), batch(1, 1000, 100)],
            ..Profile::default()
        };
        assert_eq!(profile.balanced(), profile, "one recording");
        profile.meta.parts = vec![part(1000.0), part(10_000.0)];
        let balanced = profile.balanced();
        let wanted = (1000.0 * 1000.0 + 10_000.0 * 100.0) / 11_000.0;
        assert!((balanced.paths[0].end_to_end.mean() - wanted).abs() < 0.1);
        assert!((balanced.paths[0].spans[0].mean() - wanted).abs() < 0.1);
        assert_eq!(balanced.multiple, 11.0 / 2.0 * 1024.0, "each packet counts so often in the mean");
        let mut far = profile.clone();
        far.meta.parts[0].benchmark.as_mut().expect("it has one").transactions_per_s = Some(1e-12);
        assert_eq!(far.balanced(), far, "no two recordings differ so much");
        profile.meta.parts[0].benchmark = None;
        assert_eq!(profile.balanced(), profile, "what one did is not known");
    }
}
