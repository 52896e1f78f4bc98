//! Softirqs: how often, and how long.

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
