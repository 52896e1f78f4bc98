//! What the recording itself cost: the probes, the sampler, the recorder.

use serde::{Deserialize, Serialize};

use super::Histogram;

/// What a pair of entry and exit of a hook costs, measured on this machine at start, nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct HookCostRecord {
    /// For a packet that is not followed.
    pub ns_per_call: f64,
    /// For a followed packet, what the programs took between their looks at the clock included.
    pub ns_per_followed_call: f64,
    /// At the entry, before the program's look at the clock: in the caller's time.
    pub ns_entry_outside: f64,
    /// At the entry, after it: in the hook's own time.
    pub ns_entry_inside: f64,
    /// At the exit, before it: in the hook's own time.
    pub ns_exit_inside: f64,
    /// At the exit, after it: in the caller's time.
    pub ns_exit_outside: f64,
    /// What the exit of a function adds that returns together with its caller: in the caller's time.
    pub ns_exit_together: f64,
}

impl HookCostRecord {
    /// What an entry leaves in a packet's time.
    pub fn entry(&self) -> f64 {
        self.ns_entry_outside + self.ns_entry_inside
    }

    /// What an exit leaves in a packet's time.
    pub fn exit(&self) -> f64 {
        self.ns_exit_inside + self.ns_exit_outside
    }
}

/// What the recording itself cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Observer {
    /// Cost of a crossing of a packet that is not followed, measured on this machine at start.
    pub ns_per_crossing: f64,
    /// Cost of a crossing of a followed packet, measured at start.
    pub ns_per_followed_crossing: f64,
    /// What the programs took at a crossing during the recording, as a multiple of what they took when costs were measured:
    /// the machine was slower, or the programs were not in its caches. 0 where nothing could be compared: costs count then as
    /// they were measured.
    pub pace: f64,
    /// The part of it that lies within the packet's own journey: what a span is longer because its packet is followed. As
    /// measured at start, of which what only followed packets meet times `pace`; never more than the shortest spans of the
    /// recording.
    pub ns_in_span_per_crossing: f64,
    /// The least that it may have been: as measured at start. 0 in profiles from before.
    pub ns_in_span_low: f64,
    /// The most that it may have been: all of it times `pace`, or what the shortest spans leave. 0 in profiles from before.
    pub ns_in_span_high: f64,
    /// What the return of a device's transmit function takes, whose probe sees a packet that has gone on already; as
    /// `ns_in_span_per_crossing`. 0 in profiles from before.
    pub ns_in_span_at_return: f64,
    /// What the crossing of a socket that becomes ready adds, where a function's probe sees it (before Linux 6.3); else zero.
    pub ns_in_span_at_ready: f64,
    /// Crossings that the probes saw.
    pub crossings: u64,
    /// Crossings of followed packets.
    pub followed_crossings: u64,
    /// Costs of hooks by fentry and by kprobe, measured; zero without the function tier.
    pub hooks: [HookCostRecord; 2],
    /// Cost of a program of the function tier at the beginning or the end of a softirq, measured; zero without that tier.
    pub ns_per_softirq: f64,
    /// Hook calls while there was a followed packet or an open function: counted.
    pub followed_hook_calls: u64,
    /// All hook calls: counted.
    pub hook_calls: u64,
    /// Cost of one CPU sample, measured.
    pub ns_per_sample: f64,
    /// Cost of timing a softirq, measured; 0 in profiles from before.
    pub ns_per_timed_softirq: f64,
    /// Share of all CPU time that recording took: probes of packets and of softirqs, hooks and sampler (counts times the measured
    /// costs), and the recorder's own process while it recorded.
    pub cpu_share: f64,
    /// The same of the CPU that paid most, on which the budget is kept and judged; what of the recorder's own time is not known by
    /// CPU is counted there. 0 in profiles from before.
    pub busiest_cpu_share: f64,
    /// Share of one CPU that the recorder's own process used while it recorded (part of `cpu_share`).
    pub recorder_share: f64,
    /// Largest resident memory of the recorder.
    pub recorder_rss_bytes: u64,
}

impl Observer {
    /// What the probes take of a turnaround in the mean, which is never more than it: the rest of the one at which it begins, the
    /// beginning of the one at which it ends, and those of other packets in between.
    pub fn in_turnaround(&self, turns: &Histogram) -> f64 {
        let others = turns.others as f64 / turns.count.max(1) as f64;
        ((1.0 + others) * self.ns_per_crossing).min(turns.mean())
    }

    /// What the budget is about. Profiles from before have only the mean.
    pub fn judged_share(&self) -> f64 {
        if self.busiest_cpu_share > 0.0 { self.busiest_cpu_share } else { self.cpu_share }
    }

    /// Whether it is known how far the cost within a span is known: not in profiles from before.
    pub fn has_interval(&self) -> bool {
        self.ns_in_span_high > 0.0
    }

    /// What the return of a device's transmit function takes. Profiles from before took it for a packet that is turned away.
    pub fn at_return(&self) -> f64 {
        if self.has_interval() { self.ns_in_span_at_return } else { self.ns_per_crossing }
    }
}
