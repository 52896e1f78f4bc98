//! Batches: slices of the recording with sums of their own. How much a figure differs from one to the next tells how sure it is.

use std::{collections::BTreeMap, iter::Sum};

use serde::{Deserialize, Serialize};

use super::{
    Far, PathRecord, Profile, SoftirqVector, TurnRecord, add_softirqs,
    limits::{self, at_most_pairs},
};

/// Batches beyond this are joined with their neighbours.
pub const MOST_BATCHES: usize = 64;

/// The sums of a slice of the recording. What was still on its way at the end is in none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct BatchRecord {
    /// When it ended, in nanoseconds since the recording began.
    pub end_ns: u64,
    /// Which recording it is of where several were merged: an index into [`super::Meta::parts`].
    #[serde(skip_serializing_if = "is_default")]
    pub part: u32,
    /// Times in which journeys were observed, from and until, in nanoseconds since the recording began.
    pub windows: Vec<(u64, u64)>,
    /// Of those, the nanoseconds with traffic, and the NET_RX softirqs that the kernel counted then.
    pub look: (u64, u64),
    /// Paths by [`super::PathRecord::id`].
    #[serde(deserialize_with = "at_most_pairs::<{ limits::BATCH_PATHS }, _, _, _>")]
    pub paths: BTreeMap<u64, BatchPath>,
    /// The application's own time between a read and its next send.
    pub turnarounds: Vec<BatchTurns>,
    /// CPU samples by their index into [`super::CpuRecord::entries`].
    pub samples: BTreeMap<u32, u64>,
    /// The same of the samples of bursts, [`super::CpuRecord::bursts`].
    pub bursts: BTreeMap<u32, u64>,
    /// The time in which they were taken.
    pub samples_ns: u64,
    /// Softirqs that were timed in it, by CPU and vector; without the kernel's own count of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub softirqs: Vec<SoftirqVector>,
    /// What happened to the host meanwhile.
    #[serde(skip_serializing_if = "is_default")]
    pub host: BatchHost,
    /// What a built-in workload did in that time.
    pub work: Option<BatchWork>,
    /// What it did in the windows.
    pub work_in_windows: Option<BatchWork>,
}

/// What happened to the host in the time of a batch, over all CPUs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct BatchHost {
    /// CPU time that the hypervisor took, nanoseconds.
    pub stolen_ns: u64,
    /// CPU time that observing cost, but for softirqs that were timed and functions: their share is in the whole alone.
    pub paid_ns: u64,
    /// Packets that were dropped.
    pub drops: u64,
}

impl BatchHost {
    fn add(&mut self, more: Self) {
        self.stolen_ns += more.stolen_ns;
        self.paid_ns += more.paid_ns;
        self.drops += more.drops;
    }
}

/// Turnarounds of a process in a batch; weighted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct BatchTurns {
    /// Namespace of its socket.
    pub netns: u32,
    /// The process.
    pub pid: u32,
    /// How many.
    pub count: u64,
    /// Their nanoseconds.
    pub sum_ns: u64,
    /// Values that are far larger than most.
    #[serde(skip_serializing_if = "Far::is_nothing")]
    pub far: Far,
}

/// Work of all pairs in some time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct BatchWork {
    /// The part of it that lies in the time that the workload measured.
    pub ns: u64,
    /// Transactions; bytes that a reader got, where it is a stream.
    pub done: u64,
}

impl BatchWork {
    fn add(to: &mut Option<Self>, more: Option<Self>) {
        *to = [*to, more].into_iter().flatten().reduce(Self::plus);
    }

    fn plus(self, more: Self) -> Self {
        Self { ns: self.ns + more.ns, done: self.done + more.done }
    }
}

impl Sum for BatchWork {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::plus)
    }
}

/// For what stands in a file only where it is not nothing.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The sums of a path in a batch; weighted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct BatchPath {
    /// Packets with an end-to-end time.
    pub packets: u64,
    /// Their end-to-end times, nanoseconds.
    pub sum_ns: u64,
    /// The same of each span.
    pub spans_ns: Vec<u64>,
    /// Values that are far larger than most, by span.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub far: BTreeMap<u32, Far>,
    /// All packets, and the same of them as of the whole path: see [`PathRecord`].
    #[serde(skip_serializing_if = "is_default")]
    pub counts: BatchCounts,
}

/// What is counted of the packets of a path; weighted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct BatchCounts {
    /// See [`PathRecord::packets`].
    pub packets: u64,
    /// See [`PathRecord::bytes`].
    pub bytes: u64,
    /// See [`PathRecord::cpu_hops`].
    pub cpu_hops: u64,
    /// See [`PathRecord::skbs_at_end_micro`].
    pub skbs_at_end_micro: u64,
}

impl BatchCounts {
    /// Adds others.
    pub fn add(&mut self, more: Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
        self.cpu_hops += more.cpu_hops;
        self.skbs_at_end_micro += more.skbs_at_end_micro;
    }
}

impl BatchRecord {
    /// Adds the batch that comes after this one.
    pub fn join(&mut self, next: Self) {
        self.end_ns = next.end_ns;
        for window in next.windows {
            match self.windows.last_mut() {
                Some(last) if last.1 == window.0 => last.1 = window.1,
                _ => self.windows.push(window),
            }
        }
        self.look = (self.look.0 + next.look.0, self.look.1 + next.look.1);
        for turns in next.turnarounds {
            match self.turnarounds.iter_mut().find(|own| (own.netns, own.pid) == (turns.netns, turns.pid)) {
                Some(own) => {
                    (own.count, own.sum_ns) = (own.count + turns.count, own.sum_ns + turns.sum_ns);
                    own.far = own.far.plus(turns.far);
                }
                None => self.turnarounds.push(turns),
            }
        }
        self.turnarounds.sort_by_key(|turns| (turns.netns, turns.pid));
        next.samples.into_iter().for_each(|(entry, count)| *self.samples.entry(entry).or_default() += count);
        next.bursts.into_iter().for_each(|(entry, count)| *self.bursts.entry(entry).or_default() += count);
        self.samples_ns += next.samples_ns;
        add_softirqs(&mut self.softirqs, next.softirqs);
        self.host.add(next.host);
        BatchWork::add(&mut self.work, next.work);
        BatchWork::add(&mut self.work_in_windows, next.work_in_windows);
        for (id, path) in next.paths {
            let sum = self.paths.entry(id).or_default();
            sum.packets += path.packets;
            sum.sum_ns += path.sum_ns;
            sum.counts.add(path.counts);
            sum.spans_ns.resize(sum.spans_ns.len().max(path.spans_ns.len()), 0);
            sum.spans_ns.iter_mut().zip(&path.spans_ns).for_each(|(sum, ns)| *sum += ns);
            for (span, far) in path.far {
                let sum = sum.far.entry(span).or_default();
                *sum = sum.plus(far);
            }
        }
    }

    /// What it tells of the CPUs.
    pub fn without_paths(&self) -> Self {
        Self {
            end_ns: self.end_ns,
            samples: self.samples.clone(),
            bursts: self.bursts.clone(),
            samples_ns: self.samples_ns,
            ..Self::default()
        }
    }

    /// Gives paths other numbers; those that get the same one are joined like what follows each other.
    pub(super) fn rekey(&mut self, id: impl Fn(u64) -> u64) {
        let mut written = Self::default();
        for (path, sums) in std::mem::take(&mut self.paths) {
            written.join(Self { paths: [(id(path), sums)].into(), ..Self::default() });
        }
        self.paths = written.paths;
    }

    /// Enters a batch after others; where there are too many, the two neighbours that last shortest become one. So all last about as
    /// long in a recording of any length: where each two became one, the first batch of an hour held half of it.
    pub fn enter(batches: &mut Vec<Self>, next: Self) {
        batches.push(next);
        if batches.len() <= MOST_BATCHES {
            return;
        }
        let begin = |at: usize| if at == 0 { 0 } else { batches[at - 1].end_ns };
        let both = |at: &usize| batches[at + 1].end_ns.saturating_sub(begin(*at));
        if let Some(first) = (0..batches.len() - 1).min_by_key(both) {
            let second = batches.remove(first + 1);
            batches[first].join(second);
        }
    }

    /// Each two neighbours as one.
    pub(super) fn halve(batches: Vec<Self>) -> Vec<Self> {
        let mut joined: Vec<Self> = Vec::with_capacity(batches.len().div_ceil(2));
        for (index, batch) in batches.into_iter().enumerate() {
            match joined.last_mut() {
                Some(last) if index % 2 == 1 => last.join(batch),
                _ => joined.push(batch),
            }
        }
        joined
    }
}

/// What batches hold of the turnarounds of a process.
pub fn turns_of(batches: &[BatchRecord], turn: &TurnRecord) -> impl Iterator<Item = BatchTurns> {
    let of = (turn.netns, turn.pid);
    let all = batches.iter().flat_map(|batch| &batch.turnarounds);
    all.filter(move |own| (own.netns, own.pid) == of).copied()
}

impl Profile {
    /// Values of a span that are far larger than most.
    pub fn far(&self, path: &PathRecord, span: usize) -> Far {
        if self.batches.is_empty() {
            return path.spans.get(span).map_or(Far::default(), |all| all.far(all));
        }
        let own = self.batches.iter().filter_map(|batch| batch.paths.get(&path.id)?.far.get(&(span as u32)));
        self.of_a_recording(own.fold(Far::default(), |sum, far| sum.plus(*far)))
    }

    /// Whether far values are few is asked of one recording: what is rare in each is so in all of them together.
    fn of_a_recording(&self, all: Far) -> Far {
        Far { values: all.values / self.meta.parts.len().max(1) as f64, ..all }
    }

    /// The same of turnarounds.
    pub fn far_turns(&self, turn: &TurnRecord) -> Far {
        if self.batches.is_empty() {
            return turn.ns.far(&turn.ns);
        }
        self.of_a_recording(turns_of(&self.batches, turn).fold(Far::default(), |sum, own| sum.plus(own.far)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::PartRecord;

    fn far() -> BTreeMap<u32, Far> {
        BTreeMap::from([(1, Far { values: 1.0, sum: 5 })])
    }

    fn batch(end_ns: u64) -> BatchRecord {
        let counts = BatchCounts { packets: 2, bytes: 3, cpu_hops: 1, skbs_at_end_micro: 5 };
        let path = BatchPath { packets: 2, sum_ns: 3 * end_ns, spans_ns: vec![end_ns, 2 * end_ns], far: far(), counts };
        let softirq = SoftirqVector { cpu: 1, count: 2, ns: end_ns, ..SoftirqVector::default() };
        BatchRecord {
            end_ns,
            paths: BTreeMap::from([(7, path)]),
            windows: vec![(end_ns - 1, end_ns)],
            look: (1, 2),
            turnarounds: vec![BatchTurns { netns: 1, pid: 2, count: 3, sum_ns: 4, far: far()[&1] }],
            samples: BTreeMap::from([(0, 1), (1, 2)]),
            bursts: BTreeMap::from([(0, 3)]),
            samples_ns: 5,
            softirqs: vec![softirq],
            host: BatchHost { stolen_ns: 1, paid_ns: 2, drops: 3 },
            work: Some(BatchWork { ns: 1, done: 2 }),
            work_in_windows: None,
            part: 0,
        }
    }

    #[test]
    fn what_is_rare_in_each_recording_is_rare_in_all_of_them() {
        let mut profile = Profile { batches: vec![batch(1); 30], ..Profile::default() };
        let path = PathRecord { id: 7, ..PathRecord::default() };
        assert_eq!((profile.far(&path, 1).values, profile.far(&path, 1).rare_sum()), (30.0, 0));
        profile.meta.parts = vec![PartRecord::default(); 10];
        assert_eq!((profile.far(&path, 1).values, profile.far(&path, 1).rare_sum()), (3.0, 150));
        let turn = TurnRecord { netns: 1, pid: 2, ..TurnRecord::default() };
        assert_eq!(profile.far_turns(&turn).values, 3.0);
    }

    #[test]
    fn batches_last_about_as_long_however_long_the_recording() {
        for all in [65u64, 100, 640, 1000, 20_000] {
            let mut batches = Vec::new();
            (1..=all).for_each(|end_ns| BatchRecord::enter(&mut batches, BatchRecord { end_ns, ..Default::default() }));
            let begins = std::iter::once(0).chain(batches.iter().map(|batch| batch.end_ns));
            let longest = begins.zip(&batches).map(|(begin, batch)| batch.end_ns - begin).max();
            let mean = all as f64 / batches.len() as f64;
            let longest = longest.expect("there are some") as f64;
            assert!(batches.len() == MOST_BATCHES && longest <= 2.5 * mean.ceil(), "{all}: {longest} of {mean}");
        }
    }

    #[test]
    fn neighbours_are_joined_and_nothing_is_lost() {
        let mut batches = Vec::new();
        (1..=1000).for_each(|end| BatchRecord::enter(&mut batches, batch(end)));
        assert!((MOST_BATCHES / 2..=MOST_BATCHES).contains(&batches.len()), "{}", batches.len());
        let all = batches.into_iter().reduce(|mut sum, next| {
            assert!(sum.end_ns < next.end_ns);
            sum.join(next);
            sum
        });
        let sum = 1000 * 1001 / 2;
        let path = BatchPath {
            packets: 2000,
            sum_ns: 3 * sum,
            spans_ns: vec![sum, 2 * sum],
            far: BTreeMap::from([(1, Far { values: 1000.0, sum: 5000 })]),
            counts: BatchCounts { packets: 2000, bytes: 3000, cpu_hops: 1000, skbs_at_end_micro: 5000 },
        };
        let all = all.expect("there are some");
        assert_eq!(all.paths, BTreeMap::from([(7, path)]));
        assert_eq!(all.host, BatchHost { stolen_ns: 1000, paid_ns: 2000, drops: 3000 });
        assert_eq!((all.end_ns, all.look, all.samples_ns, all.windows.len()), (1000, (1000, 2000), 5000, 1));
        let far = Far { values: 1000.0, sum: 5000 };
        assert_eq!(all.turnarounds, [BatchTurns { netns: 1, pid: 2, count: 3000, sum_ns: 4000, far }]);
        assert_eq!(all.samples, BTreeMap::from([(0, 1000), (1, 2000)]));
        assert_eq!(all.softirqs, [SoftirqVector { cpu: 1, count: 2000, ns: sum, ..SoftirqVector::default() }]);
        assert_eq!(all.bursts, BTreeMap::from([(0, 3000)]));
        assert_eq!((all.work, all.work_in_windows), (Some(BatchWork { ns: 1000, done: 2000 }), None));
    }
}
