//! Softirqs: how often, and how long.

use std::{collections::BTreeMap, mem::take};

use netstrata_common::Vector;
use serde::{Deserialize, Serialize};

/// Softirqs of the recording.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct SoftirqRecord {
    /// Time during which softirqs were timed; they are timed in turns where there are many.
    pub observed_ns: u64,
    /// By CPU and vector.
    pub vectors: Vec<SoftirqVector>,
    /// Packets that a full backlog dropped, from the kernel's own counter; exact.
    pub backlog_drops: u64,
}

/// One softirq vector on one CPU.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct SoftirqVector {
    /// The CPU.
    pub cpu: u16,
    /// The vector.
    pub vector: Vector,
    /// Runs during the whole recording, from the kernel's own counter; exact.
    pub total: u64,
    /// Runs that were timed.
    pub count: u64,
    /// Nanoseconds inside the timed runs.
    pub ns: u64,
    /// Timed runs whose raise was seen.
    pub waits: u64,
    /// Nanoseconds between raise and entry of those.
    pub wait_ns: u64,
    /// NAPI polls while timed.
    pub polls: u64,
    /// Packets that those polls took.
    pub polled: u64,
}

impl SoftirqVector {
    /// What is summed of it.
    fn sums(&mut self) -> [&mut u64; 7] {
        let Self { cpu: _, vector: _, total, count, ns, waits, wait_ns, polls, polled } = self;
        [total, count, ns, waits, wait_ns, polls, polled]
    }

    /// Adds what another time saw of the same.
    fn add(&mut self, mut more: Self) {
        self.sums().into_iter().zip(more.sums()).for_each(|(own, more)| *own = own.saturating_add(*more));
    }

    /// Takes out what a part of the time saw of the same.
    pub fn take_out(&mut self, mut part: Self) {
        self.sums().into_iter().zip(part.sums()).for_each(|(own, part)| *own = own.saturating_sub(*part));
    }

    /// Of which CPU and vector it is.
    pub fn key(&self) -> (u16, Vector) {
        (self.cpu, self.vector)
    }
}

/// Adds softirqs to others, each CPU's vector to its own; in their order.
pub fn add_softirqs(to: &mut Vec<SoftirqVector>, more: impl IntoIterator<Item = SoftirqVector>) {
    let mut sums: BTreeMap<(u16, Vector), SoftirqVector> = BTreeMap::new();
    for vector in take(to).into_iter().chain(more) {
        let nothing = SoftirqVector { cpu: vector.cpu, vector: vector.vector, ..SoftirqVector::default() };
        sums.entry(vector.key()).or_insert(nothing).add(vector);
    }
    to.extend(sums.into_values());
}
