//! A recording without a part of it: what its figures differ by tells how sure they are.

use std::{collections::BTreeMap, ops::Range};

use super::{BatchRecord, Benchmark, Histogram, PathRecord, Profile, SampleRecord, histogram::part, merge::of_parts};

/// At most so many parts: more make the degrees of freedom no better, and each takes an analysis of its own.
const MOST_SLICES: f64 = 20.0;
/// Fewer recordings than this tell less than their own parts.
const LEAST_RECORDINGS: usize = 3;
/// A part of about the size of the others has at least this of it.
const ENOUGH: f64 = 0.7;

/// What the parts of a recording are to have as much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Even {
    /// Journeys.
    Packets,
    /// Time.
    Time,
}

impl Even {
    fn of(self, batch: &BatchRecord) -> f64 {
        match self {
            Self::Packets => batch.paths.values().map(|path| path.packets).sum::<u64>() as f64,
            Self::Time => batch.samples_ns as f64,
        }
    }
}

impl Profile {
    /// The batches in parts that follow each other: those of a recording each, where at least three were merged; else such as
    /// hold about as much, about as many as there are batches that are not much smaller than others.
    pub fn slices(&self, even: Even) -> Vec<Range<usize>> {
        if self.meta.parts.len() >= LEAST_RECORDINGS {
            let ends = (1..=self.batches.len())
                .filter(|at| self.batches.get(*at).map(|batch| batch.part) != Some(self.batches[at - 1].part));
            let mut begin = 0;
            return ends.map(|end| std::mem::replace(&mut begin, end)..end).collect();
        }
        let sizes: Vec<f64> = self.batches.iter().map(|batch| even.of(batch)).collect();
        let (sum, squares) = (sizes.iter().sum::<f64>(), sizes.iter().map(|size| size * size).sum::<f64>());
        if sum <= 0.0 {
            return Vec::new();
        }
        let enough = ENOUGH * sum / (sum * sum / squares).min(MOST_SLICES);
        let mut slices: Vec<Range<usize>> = Vec::new();
        let (mut begin, mut size) = (0, 0.0);
        for (at, own) in sizes.iter().enumerate() {
            size += own;
            if size >= enough {
                slices.push(begin..at + 1);
                (begin, size) = (at + 1, 0.0);
            }
        }
        // What is left at the end is too small for a part of its own.
        if let Some(last) = slices.last_mut() {
            last.end = sizes.len();
        }
        slices
    }

    /// The recording without a part of its batches. Counters that were not kept batch by batch lose their part of the time.
    pub fn without(&self, slice: &Range<usize>) -> Self {
        let mut rest = self.clone();
        rest.batches.drain(slice.clone());
        self.lessen(&mut rest, slice);
        rest
    }

    /// The recording without each of its parts, as far as it takes for its sums: without distributions, batches and whole
    /// journeys.
    pub fn sums_without(&self, slices: &[Range<usize>]) -> impl Iterator<Item = Self> {
        let plain = |histogram: &Histogram| Histogram { buckets: Vec::new(), ..*histogram };
        let of_path = |path: &PathRecord| PathRecord {
            crossings: path.crossings.clone(),
            reason: path.reason.clone(),
            edges: path.edges.clone(),
            peers: path.peers.clone(),
            end_to_end: plain(&path.end_to_end),
            spans: path.spans.iter().map(plain).collect(),
            functions: path.functions.clone(),
            folded: path.folded.clone(),
            ..*path
        };
        let bare = Self {
            meta: self.meta.clone(),
            topology: self.topology.clone(),
            sampling: self.sampling.clone(),
            paths: self.paths.iter().map(of_path).collect(),
            cpu: self.cpu.clone(),
            softirqs: self.softirqs.clone(),
            drops: self.drops.clone(),
            turnarounds: self.turnarounds.clone(),
            devices: self.devices.clone(),
            lost: self.lost.clone(),
            observer: self.observer.clone(),
            multiple: self.multiple,
            hooks: self.hooks.clone(),
            chains: self.chains.clone(),
            retransmits: self.retransmits,
            journeys: Vec::new(),
            batches: Vec::new(),
        };
        slices.iter().map(move |slice| {
            let mut rest = bare.clone();
            self.lessen(&mut rest, slice);
            rest
        })
    }

    /// Takes the sums of a part out of what is to be left.
    fn lessen(&self, rest: &mut Self, slice: &Range<usize>) {
        let Some(out) = self.batches[slice.clone()].iter().cloned().reduce(|mut sum, next| {
            sum.join(next);
            sum
        }) else {
            return;
        };
        let by_id: BTreeMap<u64, usize> = self.paths.iter().enumerate().map(|(at, path)| (path.id, at)).collect();
        for (id, sums) in &out.paths {
            let Some(path) = by_id.get(id).and_then(|at| rest.paths.get_mut(*at)) else { continue };
            lessen(path, sums.packets);
            take(&mut path.end_to_end, sums.packets, sums.sum_ns);
            for (span, ns) in path.spans.iter_mut().zip(&sums.spans_ns) {
                take(span, sums.packets, *ns);
            }
        }
        for sums in &out.turnarounds {
            let own = rest.turnarounds.iter_mut().find(|turn| (turn.netns, turn.pid) == (sums.netns, sums.pid));
            if let Some(turn) = own {
                take(&mut turn.ns, sums.count, sums.sum_ns);
            }
        }
        rest.cpu.samples = rest.cpu.samples.saturating_sub(lessen_samples(&mut rest.cpu.entries, &out.samples));
        rest.cpu.burst_samples =
            rest.cpu.burst_samples.saturating_sub(lessen_samples(&mut rest.cpu.bursts, &out.bursts));
        let left = rest.lessen_time(&out);
        let others = self.batches[..slice.start].iter().chain(&self.batches[slice.end..]);
        let of_others = others.into_iter().all(|batch| batch.part != out.part);
        rest.lessen_benchmark(&out, of_others, left);
    }

    /// Without a recording of several its benchmark is that of the others.
    fn lessen_benchmark(&mut self, out: &BatchRecord, of_others: bool, left: f64) {
        match self.meta.parts.get_mut(out.part as usize).filter(|_| of_others) {
            Some(part) => {
                part.benchmark = None;
                self.meta.benchmark = of_parts(&self.meta.parts);
            }
            None => {
                if let Some(benchmark) = &mut self.meta.benchmark {
                    benchmark.lessen(out, left);
                }
            }
        }
    }

    /// What is counted by time; the part of it that is left.
    fn lessen_time(&mut self, out: &BatchRecord) -> f64 {
        let observed: u64 = out.windows.iter().map(|(from, until)| until.saturating_sub(*from)).sum();
        self.sampling.observed_ns = self.sampling.observed_ns.saturating_sub(observed);
        let before = self.meta.duration_ns;
        self.meta.duration_ns = before.saturating_sub(out.samples_ns).max(1);
        let left = self.meta.duration_ns as f64 / before.max(1) as f64;
        let less = |count: &mut u64| *count = (*count as f64 * left).round() as u64;
        less(&mut self.cpu.expected);
        less(&mut self.cpu.kernel_busy_ns);
        less(&mut self.retransmits);
        less(&mut self.softirqs.observed_ns);
        less(&mut self.softirqs.backlog_drops);
        less(&mut self.observer.crossings);
        less(&mut self.observer.followed_crossings);
        self.drops.iter_mut().for_each(|drop| less(&mut drop.count));
        for device in &mut self.devices {
            let packets =
                [&mut device.rx_packets, &mut device.tx_packets, &mut device.rx_dropped, &mut device.tx_dropped];
            packets.into_iter().chain([&mut device.rx_bytes, &mut device.tx_bytes]).for_each(less);
        }
        let timed: BTreeMap<_, _> = out.softirqs.iter().map(|vector| (vector.key(), vector)).collect();
        for vector in &mut self.softirqs.vectors {
            less(&mut vector.total);
            if let Some(part) = timed.get(&vector.key()) {
                vector.take_out((*part).clone());
            }
        }
        left
    }
}

impl Benchmark {
    /// Without what was done in a part of the time. Bytes go with the CPU time that they took then; the time of a transaction is
    /// what the benchmark measured, over all of them.
    fn lessen(&mut self, out: &BatchRecord, left: f64) {
        let Some(seconds) = self.duration_s else { return };
        // Many transactions at a time are limited by CPU time, as bytes are.
        let many = self.pairs.is_some_and(|pairs| pairs > 1);
        let stream = self.throughput_bits_per_s.filter(|_| self.transactions_per_s.is_none());
        let work = out.work.filter(|work| (work.ns as f64) < seconds * 1e9);
        let rate = stream.map(|bits| bits / 8.0).or(self.transactions_per_s.filter(|_| many));
        let Some((rate, work)) = rate.zip(work) else {
            self.duration_s = Some(seconds * left);
            self.unmeasured_s = self.unmeasured_s.map(|seconds| seconds * left);
            return;
        };
        let rest = seconds - work.ns as f64 / 1e9;
        self.duration_s = Some(rest);
        let rate = ((rate * seconds - work.done as f64) / rest).max(0.0);
        match stream {
            Some(_) => self.throughput_bits_per_s = Some(8.0 * rate),
            None => self.transactions_per_s = Some(rate),
        }
    }
}

fn take(histogram: &mut Histogram, count: u64, sum: u64) {
    let before = histogram.count;
    histogram.hold(before.saturating_sub(count), histogram.sum.saturating_sub(sum));
    histogram.samples = part(histogram.samples, histogram.count, before);
}

/// Takes so many packets from a path's counts.
fn lessen(path: &mut PathRecord, packets: u64) {
    let before = path.end_to_end.count;
    let left = before.saturating_sub(packets);
    path.samples = part(path.samples, left, before);
    path.weighted_counts().into_iter().for_each(|count| *count = part(*count, left, before));
}

/// Takes samples out; returns how many.
fn lessen_samples(entries: &mut [SampleRecord], out: &BTreeMap<u32, u64>) -> u64 {
    for (index, count) in out {
        if let Some(entry) = entries.get_mut(*index as usize) {
            entry.count = entry.count.saturating_sub(*count);
        }
    }
    out.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{BatchPath, BatchTurns, BatchWork, TurnRecord};

    /// Packets of a batch, each of which takes so long.
    fn recording(batches: &[(u64, u64)]) -> Profile {
        let mut profile = Profile::default();
        let mut path = PathRecord { id: 1, spans: vec![Histogram::default()], ..PathRecord::default() };
        let mut turns = Histogram::default();
        profile.cpu.entries = vec![SampleRecord::default()];
        for (at, &(packets, ns)) in batches.iter().enumerate() {
            (0..packets).for_each(|_| path.end_to_end.add(ns, 1));
            (0..packets).for_each(|_| path.spans[0].add(ns, 1));
            (0..packets).for_each(|_| turns.add(2 * ns, 1));
            (path.packets, path.bytes) = (path.packets + packets, path.bytes + 100 * packets);
            profile.cpu.entries[0].count += packets;
            profile.cpu.samples += packets;
            let sums =
                BatchPath { packets, sum_ns: packets * ns, spans_ns: vec![packets * ns], ..BatchPath::default() };
            profile.batches.push(BatchRecord {
                end_ns: (at as u64 + 1) * 1000,
                samples_ns: 1000,
                windows: vec![(at as u64 * 1000, at as u64 * 1000 + 500)],
                paths: BTreeMap::from([(1, sums)]),
                turnarounds: vec![BatchTurns {
                    netns: 1,
                    pid: 2,
                    count: packets,
                    sum_ns: 2 * ns * packets,
                    ..BatchTurns::default()
                }],
                samples: BTreeMap::from([(0, packets)]),
                work: Some(BatchWork { ns: 1000, done: 10 * packets }),
                ..BatchRecord::default()
            });
        }
        profile.paths = vec![path];
        profile.turnarounds = vec![TurnRecord { netns: 1, pid: 2, ns: turns }];
        profile.meta.duration_ns = 1000 * batches.len() as u64;
        profile.sampling.observed_ns = 500 * batches.len() as u64;
        let done: u64 = batches.iter().map(|batch| 10 * batch.0).sum();
        let seconds = batches.len() as f64 * 1e-6;
        profile.meta.benchmark = Some(Benchmark {
            duration_s: Some(seconds),
            throughput_bits_per_s: Some(8.0 * done as f64 / seconds),
            ..Benchmark::default()
        });
        profile
    }

    #[test]
    fn without_a_part_it_is_the_recording_of_the_others() {
        let all = [(10, 100), (20, 200), (30, 150)];
        let rest = recording(&all).without(&(1..2));
        let wanted = recording(&[all[0], all[2]]);
        let sums = |profile: &Profile| {
            let path = &profile.paths[0];
            let turns = &profile.turnarounds[0].ns;
            let of = |histogram: &Histogram| (histogram.samples, histogram.count, histogram.sum);
            let counts = (path.packets, path.bytes, profile.cpu.samples, profile.cpu.entries[0].count);
            (
                of(&path.end_to_end),
                of(&path.spans[0]),
                of(turns),
                counts,
                profile.meta.duration_ns,
                profile.sampling.observed_ns,
            )
        };
        assert_eq!(sums(&rest), sums(&wanted));
        let rate = |profile: &Profile| {
            profile.meta.benchmark.as_ref().and_then(|benchmark| benchmark.throughput_bits_per_s).unwrap_or(0.0)
        };
        assert!((rate(&rest) / rate(&wanted) - 1.0).abs() < 1e-9, "{} {}", rate(&rest), rate(&wanted));
        assert_eq!(recording(&all).without(&(0..0)), recording(&all));
    }

    #[test]
    fn parts_are_of_about_one_size_and_hold_every_batch_once() {
        let profile = recording(&[(50, 1), (52, 1), (18, 1), (1, 1), (51, 1), (50, 1), (15, 1)]);
        assert_eq!(profile.slices(Even::Packets), [0..1, 1..2, 2..5, 5..7]);
        assert_eq!(profile.slices(Even::Time).len(), 7);
        assert!(Profile::default().slices(Even::Time).is_empty());
        let many = recording(&[(10, 1); 64]).slices(Even::Packets);
        assert!((16..=30).contains(&many.len()), "{many:?}");
        assert_eq!((many[0].start, many.last().map(|slice| slice.end)), (0, Some(64)));
        assert!(many.windows(2).all(|two| two[0].end == two[1].start));
    }
}
