//! What a recording leaves behind: the only thing that passes from recording to everything after it.
//!
//! Units are in the names (`_ns`, `_bytes`). Every packet count is weighted: a packet followed at one in N counts N.

use std::collections::{BTreeMap, BTreeSet};

use netstrata_common::{Edge, End, Hook, Loss, Named, Point, Protocol, Tier, Way};
use serde::{Deserialize, Serialize, Serializer};

use super::batch::{BatchRecord, is_default};
use super::{
    Folded, Histogram, Observer, Peer, SoftirqRecord,
    limits::{self, at_most, at_most_pairs},
    measures::{Creation, Datagrams, FlowTimes, MachineUse, NeighbourUse, PairSpread, SideUse},
    topology::{DeviceCounters, Topology},
};
use crate::choices::Clock;

/// A recording.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Profile {
    /// Machine, command and how the recording was made.
    pub meta: Meta,
    /// Namespaces, devices and containers that existed at any time of the recording.
    pub topology: Topology,
    /// How packets were chosen.
    pub sampling: Sampling,
    /// Journeys by class.
    #[serde(deserialize_with = "at_most::<{ limits::PATHS }, _, _>")]
    pub paths: Vec<PathRecord>,
    /// CPU samples.
    pub cpu: CpuRecord,
    /// Softirqs by CPU and vector.
    pub softirqs: SoftirqRecord,
    /// Whole journeys of single packets.
    pub journeys: Vec<JourneyRecord>,
    /// Dropped packets; exact.
    #[serde(deserialize_with = "at_most::<{ limits::FEW }, _, _>")]
    pub drops: Vec<DropRecord>,
    /// The application's own time between a read and its next send.
    #[serde(deserialize_with = "at_most::<{ limits::FEW }, _, _>")]
    pub turnarounds: Vec<TurnRecord>,
    /// What the devices counted themselves during the recording; exact.
    pub devices: Vec<DeviceCounters>,
    /// Retransmitted TCP segments.
    pub retransmits: u64,
    /// What could not be recorded. What is not there was not looked for, or the kernel does not tell it.
    #[serde(serialize_with = "by_name")]
    pub lost: BTreeMap<Loss, u64>,
    /// What the recording itself cost.
    pub observer: Observer,
    /// Hooked functions; empty without the function tier.
    pub hooks: Vec<HookRecord>,
    /// nftables chains by their hook: table and chain.
    #[serde(serialize_with = "by_name")]
    pub chains: BTreeMap<Hook, String>,
    /// How often each packet counts in the mean where recordings were weighed by their work; 0: once. In no file.
    #[serde(skip)]
    pub multiple: f64,
    /// Slices of the recording, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "at_most::<{ limits::BATCHES }, _, _>")]
    pub batches: Vec<BatchRecord>,
}

/// A map in the order of names, so that the bytes do not depend on the order of a table.
pub(crate) fn by_name<K: Named, V: Serialize, S: Serializer>(map: &BTreeMap<K, V>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(map.iter().map(|(key, value)| (key.name(), value)).collect::<BTreeMap<_, _>>())
}

/// How the reason begins for which a hook is missing whose function this kernel does not have now.
pub const NOT_THERE: &str = "no function";
/// The reason for which the function tier is missing where nobody wanted it.
pub const NOT_ASKED: &str = "not asked for";

/// A hooked function.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct HookRecord {
    /// The hook.
    pub hook: Hook,
    /// Name of the function, as the kernel knows it.
    pub function: String,
    /// Its module, empty for the kernel itself.
    pub module: String,
    /// How it is hooked.
    pub kind: Way,
}

/// What a hook took of a span of a path; weighted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct FunctionRecord {
    /// The span, as an index into `spans`.
    pub span: u32,
    /// The hook; [`Hook::Span`] for the whole span of the journeys that were split.
    pub hook: Hook,
    /// Calls that began in the span; for the whole span, the journeys that were split.
    pub calls: u64,
    /// Calls that ended in the span by a return of their own, not together with a function that they called last.
    pub returns: u64,
    /// Own nanoseconds, nested hooks subtracted; for the whole span, all of them.
    pub sum_ns: u64,
    /// Sum of the values that the hook takes; for a span in which the packet waited, nanoseconds that the programs of hooks
    /// took on its CPU meanwhile.
    pub value: u64,
    /// Hooks that were entered directly from its own time, by fentry and by kprobe; for a span in which the packet waited,
    /// all that were entered on its CPU meanwhile, and so on.
    pub entered: [u64; 2],
    /// Hooks that returned to its own time.
    pub left: [u64; 2],
    /// Hooks that ran for another packet that was made meanwhile.
    pub nested: [u64; 2],
    /// Entries and exits that had nothing to do while the packet waited.
    pub idle: [u64; 2],
    /// Beginnings and ends of softirqs while the packet waited.
    pub softirqs: u64,
    /// Ends of the span that lie in its own time.
    pub ends: u64,
    /// Hooked functions that were called last, and returned together with their caller, to its own time; for a span in which
    /// the packet waited, all on its CPU. Not in `left`.
    pub tails: u64,
}

/// Machine, command and how the recording was made.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Meta {
    /// Version of netstrata that recorded.
    pub recorder: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Machine architecture.
    pub arch: String,
    /// Online CPUs.
    pub cpus: u32,
    /// What drives the machine's clock, and so what all times here are.
    pub clock: Clock,
    /// Time between attached and detached.
    pub duration_ns: u64,
    /// Tiers in use.
    pub tiers: Vec<Tier>,
    /// Probe points that were attached, by name.
    pub probes: Vec<String>,
    /// Probe points and hooks that this kernel does not have, with the reason.
    #[serde(deserialize_with = "at_most_pairs::<{ limits::FEW }, _, _, _>")]
    pub missing: BTreeMap<String, String>,
    /// Filters in force, as given.
    pub filters: Vec<String>,
    /// The command that was wrapped.
    pub command: Vec<String>,
    /// Its exit code (128 + signal if it was killed).
    pub exit_code: Option<i32>,
    /// What it measured, where its output is understood.
    pub benchmark: Option<Benchmark>,
    /// What of a benchmark's output was not understood, and what a reader of its figures should know.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub benchmark_notes: BTreeSet<String>,
    /// Share of all CPU time that the hypervisor took (0 to 1).
    pub steal_share: f64,
    /// CLOCK_MONOTONIC when it began.
    pub started_ns: u64,
    /// Unix time when it began, nanoseconds; 0 where that is not known, as in older recordings and with a clock that counts
    /// instructions.
    #[serde(skip_serializing_if = "is_default")]
    pub began_unix_ns: u64,
    /// The recordings that were merged, in the order of their beginning; none where this is one recording.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "at_most::<{ limits::BATCHES }, _, _>")]
    pub parts: Vec<PartRecord>,
    /// It was cut off, or one of those that were merged was: what came after the batches that had been written is absent.
    #[serde(skip_serializing_if = "is_default")]
    pub cut_off: bool,
    /// How often each two neighbours of their batches were joined, so that all have room.
    #[serde(skip_serializing_if = "is_default")]
    pub joined: u32,
}

/// One of the recordings that were merged: what tells it from others, and all of its figures that cannot be added, from which
/// those of the whole are made.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct PartRecord {
    /// CLOCK_MONOTONIC when it began.
    pub started_ns: u64,
    /// Unix time when it began, nanoseconds; 0 where that is not known.
    #[serde(skip_serializing_if = "is_default")]
    pub began_unix_ns: u64,
    /// Time between attached and detached.
    pub duration_ns: u64,
    /// Version of netstrata that recorded.
    pub recorder: String,
    /// What its benchmark measured.
    pub benchmark: Option<Benchmark>,
    /// Share of all CPU time that the hypervisor took (0 to 1).
    pub steal_share: f64,
    /// Budget asked for, as a share of each CPU.
    pub budget: f64,
    /// (time since its start in ns, follow one in this many), in order.
    pub rates: Vec<(u64, u32)>,
    /// Time during which its journeys were observed.
    pub observed_ns: u64,
    /// CPU samples taken.
    pub samples: u64,
    /// Time between two samples of one CPU: what one of them costs on the machine decides it, so no two recordings have the same.
    pub period_ns: u64,
    /// What recording it cost.
    pub observer: Observer,
}

/// What a benchmark program reported.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Benchmark {
    /// The program: "iperf3", "sockperf", … or "netstrata" (the built-in workloads).
    pub tool: String,
    /// "tcp-stream", "tcp-rr", "udp-stream", "udp-rr", …
    pub workload: String,
    /// Bytes that the receiver's application got, per second, times 8.
    pub throughput_bits_per_s: Option<f64>,
    /// Request/response pairs a second, over all connections.
    pub transactions_per_s: Option<f64>,
    /// Mean round trip.
    pub round_trip_ns: Option<f64>,
    /// The part of it above 20 times the median: delays that interrupt the work.
    pub round_trip_far_ns: Option<f64>,
    /// Median round trip.
    pub round_trip_p50_ns: Option<f64>,
    /// 90th percentile of the round trip.
    pub round_trip_p90_ns: Option<f64>,
    /// 99th percentile of the round trip.
    pub round_trip_p99_ns: Option<f64>,
    /// 99.9th percentile of the round trip.
    pub round_trip_p999_ns: Option<f64>,
    /// Largest round trip.
    pub round_trip_max_ns: Option<f64>,
    /// Messages a second.
    pub messages_per_s: Option<f64>,
    /// Bytes of one message.
    pub message_bytes: Option<u64>,
    /// Connections or pairs at one time.
    pub pairs: Option<u32>,
    /// How long it measured.
    pub duration_s: Option<f64>,
    /// How long the same traffic ran besides, of which no figure is: what was left out, or was to warm up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmeasured_s: Option<f64>,
    /// TCP retransmits that it reported.
    pub retransmits: Option<u64>,
    /// Requests without an answer, and connections that failed.
    pub failed: Option<u64>,
    /// "same" or "different" where both sides were kept on one CPU each.
    pub pin: Option<String>,
    /// The version of IP that the lab's traffic spoke, if it was not 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<u8>,
    /// CPU use of the client's process.
    pub client: Option<SideUse>,
    /// CPU use of the server's process.
    pub server: Option<SideUse>,
    /// CPU use of the whole machine.
    pub machine: Option<MachineUse>,
    /// How the pairs differ.
    pub pair_spread: Option<PairSpread>,
    /// Flow completion times: all flows, and each class where there are two.
    pub flows: Vec<FlowTimes>,
    /// Datagrams sent, lost and out of order.
    pub datagrams: Option<Datagrams>,
    /// How long the network took from its creation (lab).
    pub creation: Option<Creation>,
    /// What ran beside the pairs (lab).
    pub neighbours: Vec<NeighbourUse>,
}

/// How packets were chosen.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Sampling {
    /// Budget asked for, as a share of each CPU.
    pub budget: f64,
    /// (time since the start in ns, follow one in this many), in order.
    pub rates: Vec<(u64, u32)>,
    /// Time during which the journey probes were attached. Less than the duration where the budget asks for turns.
    pub observed_ns: u64,
    /// (Nanoseconds with traffic, NET_RX softirqs) of pieces of that time, where it is less than the duration.
    pub looks: Vec<(u64, u64)>,
    /// Packets followed.
    pub followed: u64,
    /// Packets that those stand for while attached.
    pub packets: u64,
}

/// A class of journeys: the same sequence of (point, device), protocol and end.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct PathRecord {
    /// Stable hash of the class.
    pub id: u64,
    /// Points and devices.
    pub crossings: Vec<CrossingRecord>,
    /// Crossings that are not kept, between the first ones and the latest ones (`LATEST_KEPT`): there were too many.
    #[serde(skip_serializing_if = "is_default")]
    pub crossings_left_out: u32,
    /// How it ended.
    pub end: End,
    /// Name of the drop reason, if dropped.
    pub reason: Option<String>,
    /// IP protocol.
    pub protocol: Protocol,
    /// Packets followed.
    pub samples: u64,
    /// skbs.
    pub packets: u64,
    /// Wire packets.
    pub wire_packets: u64,
    /// Bytes at the first device.
    pub bytes: u64,
    /// Bytes of TCP or UDP data in them.
    pub payload_bytes: u64,
    /// skbs that they had become at their end, in millionths: more by segmentation, fewer by merging.
    pub skbs_at_end_micro: u64,
    /// Where one skb goes on as another: index of the crossing, and how.
    pub edges: Vec<(u16, Edge)>,
    /// Changes of CPU.
    pub cpu_hops: u64,
    /// End-to-end times.
    pub end_to_end: Histogram,
    /// `spans[i]` lies between `crossings[i]` and `crossings[i + 1]`.
    pub spans: Vec<Histogram>,
    /// The other machine that its packets came from, and the one that they went to, where they crossed a wire.
    #[serde(skip_serializing_if = "is_default")]
    pub peers: [Option<Peer>; 2],
    /// What hooked functions took of the spans, by span and hook.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<FunctionRecord>,
    /// Its packets count on another path: the later part of their way.
    #[serde(skip_serializing_if = "is_default")]
    pub counted_elsewhere: bool,
    /// The paths that it stands for, where devices and namespaces are any of their kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folded: Option<Folded>,
}

impl PathRecord {
    /// What it counts of packets, weighted, besides their times.
    pub(super) fn weighted_counts(&mut self) -> [&mut u64; 6] {
        [
            &mut self.packets,
            &mut self.wire_packets,
            &mut self.bytes,
            &mut self.payload_bytes,
            &mut self.cpu_hops,
            &mut self.skbs_at_end_micro,
        ]
    }
}

/// A crossing of a path.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrossingRecord {
    /// The probe point.
    pub point: Point,
    /// Inode of the namespace, 0 if unknown.
    pub netns: u32,
    /// Device index, 0 if none.
    pub ifindex: u32,
}

/// CPU samples.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct CpuRecord {
    /// "cpu-clock" or "cycles".
    pub source: String,
    /// Time between two samples of one CPU; of several recordings the mean by sample.
    pub period_ns: u64,
    /// Samples a second that were asked for; the budget may allow fewer. 0 in recordings from before.
    #[serde(skip_serializing_if = "is_default")]
    pub asked_hz: u64,
    /// Samples that the period and the duration ask for, over all CPUs.
    pub expected: u64,
    /// Samples taken.
    pub samples: u64,
    /// Time that the kernel itself counts as busy, over all CPUs (clock ticks; a check of the samples).
    pub kernel_busy_ns: u64,
    /// Names of kernel functions; a frame is an index into them.
    pub symbols: Vec<String>,
    /// Kernel stacks, innermost frame first.
    pub stacks: Vec<Vec<u32>>,
    /// Tasks that were current.
    #[serde(deserialize_with = "at_most::<{ limits::SAMPLES }, _, _>")]
    pub tasks: Vec<TaskRecord>,
    /// Samples by stack, task, CPU and place.
    #[serde(deserialize_with = "at_most::<{ limits::SAMPLES }, _, _>")]
    pub entries: Vec<SampleRecord>,
    /// Samples of bursts, which only tell how spans split: they are dense, and short.
    #[serde(deserialize_with = "at_most::<{ limits::SAMPLES }, _, _>")]
    pub bursts: Vec<SampleRecord>,
    /// How many those are.
    pub burst_samples: u64,
}

/// A task seen by the sampler.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(default)]
pub struct TaskRecord {
    /// Process id; 0 is the idle task. In a merged profile the number of its role, where it has one.
    pub pid: u32,
    /// Name of the thread.
    pub comm: String,
    /// Container it runs in, if any.
    pub container: Option<String>,
}

/// Samples that are alike.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct SampleRecord {
    /// Index into `stacks`; none where the stack was lost or user mode was interrupted.
    pub stack: Option<u32>,
    /// Index into `tasks`.
    pub task: u32,
    /// The CPU.
    pub cpu: u16,
    /// User mode was interrupted.
    pub user: bool,
    /// Last crossing on this CPU: where a packet's span began if the stack still works on it.
    pub place: Option<CrossingRecord>,
    /// How many.
    pub count: u64,
}

/// The journey of a single packet.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(default)]
pub struct JourneyRecord {
    /// Which recording it is of where several were merged: an index into [`Meta::parts`].
    #[serde(skip_serializing_if = "is_default")]
    pub part: u32,
    /// Path class.
    pub path: u64,
    /// Time of the first crossing since the start of its recording.
    pub start_ns: u64,
    /// Bytes at the first device.
    pub bytes: u32,
    /// Wire packets.
    pub wire_packets: u32,
    /// (nanoseconds since the previous crossing, CPU), one for each crossing of the path.
    pub crossings: Vec<(u64, u16)>,
}

/// Dropped packets that are alike.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct DropRecord {
    /// Reason, as the kernel names it.
    pub reason: String,
    /// Function that dropped.
    pub function: String,
    /// Inode of the namespace, 0 if unknown.
    pub netns: u32,
    /// Device index, 0 if none.
    pub ifindex: u32,
    /// How many.
    pub count: u64,
}

/// The application's own time.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct TurnRecord {
    /// Namespace of its socket.
    pub netns: u32,
    /// Process.
    pub pid: u32,
    /// Time from the copy of a packet to the same task's next send.
    pub ns: Histogram,
}

impl Benchmark {
    /// How long its traffic ran.
    pub fn ran_s(&self) -> Option<f64> {
        self.duration_s.map(|seconds| seconds + self.unmeasured_s.unwrap_or(0.0))
    }
}

impl Profile {
    /// The name of a hook in output: of a chain's row, with the chain.
    pub fn hook_name(&self, hook: Hook) -> String {
        self.chains.get(&hook).map_or_else(|| hook.name().to_owned(), |chain| format!("netfilter: chain {chain}"))
    }
}
