//! Layers over all paths, latency beside CPU, and how well the two instruments agree.

use std::collections::BTreeMap;

use netstrata_common::{Hook, Layer, Point, Points};

use super::{
    correction::Correction,
    functions::{self, FunctionTotal},
    known::Intervals,
    paths::{Ways, accounts_by},
    span::PathAccount,
    spans::SpanKind,
    trust::{Seen, Trust, trust},
};
use crate::{
    cpu::{CpuAccount, account as cpu_account, steady_table},
    profile::Profile,
};

/// A layer's part of latency and of CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerTotal {
    /// Weighted nanoseconds in journeys.
    pub latency_ns: u64,
    /// The part of it that the probes themselves took.
    pub probe_ns: u64,
    /// The part of it that was waiting.
    pub wait_ns: u64,
    /// Busy CPU samples.
    pub cpu_samples: u64,
}

/// Service time of journeys against CPU samples at the same places: measured apart, they should agree.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reconciliation {
    /// Service time per packet from journeys without what the probes took, nanoseconds.
    pub service_ns_per_packet: f64,
    /// CPU time per packet from samples taken within the same spans, nanoseconds.
    pub cpu_ns_per_packet: f64,
    /// Samples that it rests on.
    pub samples: u64,
}

/// Fewer samples than this are no measure of the other instrument, however the parts of a recording agree.
const ENOUGH_SAMPLES: u64 = 100;

impl Reconciliation {
    /// Whether it rests on enough to be judged by.
    pub fn is_known(&self) -> bool {
        self.samples >= ENOUGH_SAMPLES
    }

    /// CPU time of service time; 0 without any.
    pub fn ratio(&self) -> f64 {
        if self.service_ns_per_packet > 0.0 { self.cpu_ns_per_packet / self.service_ns_per_packet } else { 0.0 }
    }
}

/// Everything that reports show.
#[derive(Clone, Debug)]
pub struct Account {
    /// Paths, busiest first.
    pub paths: Vec<PathAccount>,
    /// Layers that have latency or CPU time.
    pub layers: BTreeMap<Layer, LayerTotal>,
    /// CPU samples by layer, context, CPU and task.
    pub cpu: CpuAccount,
    /// The correction for the probes' own cost.
    pub correction: Correction,
    /// How far to believe it.
    pub trust: Trust,
    /// Packets of the whole recording for each packet that was seen (weighted) while the probes were attached.
    pub scale: f64,
    /// Packets of the recording: those seen, scaled.
    pub packets: f64,
    /// Bytes, likewise.
    pub bytes: f64,
    /// Hooked functions over all paths, by the layer that they were charged to.
    pub functions: BTreeMap<(Option<Layer>, Hook), FunctionTotal>,
    /// How well journeys and samples agree.
    pub reconciliation: Reconciliation,
    /// How sure figures are; empty where nobody asked (`account_with_intervals`).
    pub intervals: Intervals,
}

impl Account {
    /// Packets of all paths, weighted: what figures of a packet in journeys are divided by.
    pub fn seen(&self) -> u64 {
        self.paths.iter().map(|path| path.record.packets).sum()
    }

    /// What no layer has.
    pub fn unattributed(&self) -> LayerTotal {
        LayerTotal {
            latency_ns: self.paths.iter().map(|path| path.unattributed_ns).sum(),
            cpu_samples: self.cpu.unattributed,
            ..LayerTotal::default()
        }
    }
}

/// Accounts for a profile. How sure its figures are takes accounts of parts, and is left out.
pub fn account(profile: &Profile) -> Account {
    account_by(profile, &Ways::of(profile))
}

/// Accounts for a profile of ways that are known.
pub fn account_by(profile: &Profile, ways: &Ways) -> Account {
    account_of(profile, accounts_by(profile, ways))
}

/// Accounts for a profile of paths that are accounted for.
pub(super) fn account_of(profile: &Profile, paths: Vec<PathAccount>) -> Account {
    let cpu = cpu_account(profile);
    let correction = Correction::of(&paths);
    let trust = trust(profile, Seen { busy_samples: cpu.busy, correction, instruments: None });
    let mut layers: BTreeMap<Layer, LayerTotal> = BTreeMap::new();
    for span in paths.iter().flat_map(|path| &path.spans) {
        if let Some(layer) = span.layer {
            let total = layers.entry(layer).or_default();
            total.latency_ns += span.sum_ns;
            total.probe_ns += span.probe_ns;
            total.wait_ns += if span.kind == SpanKind::Wait { span.sum_ns } else { 0 };
        }
    }
    for (layer, samples) in &cpu.layers {
        layers.entry(*layer).or_default().cpu_samples += samples;
    }
    let scale = scale(profile, trust.observed_share);
    let seen = profile.once(profile.original_paths().map(|record| record.packets).sum());
    let bytes = profile.once(profile.original_paths().map(|record| record.bytes).sum());
    let packets = seen * scale;
    let service: u64 = paths
        .iter()
        .flat_map(|path| path.spans.iter().map(|span| (&path.record, span)))
        .filter(|(_, span)| span.kind == SpanKind::Service && span.layer != Some(Layer::Drop))
        .filter(|(of, span)| of.crossings.get(span.index).is_none_or(|from| is_of_one_packet(from.point)))
        // Each of the two is checked where a profile is read, their product is not.
        .map(|(of, span)| (span.sum_ns - span.probe_ns).saturating_mul(of.fragments_at(span.index)))
        .fold(0, u64::saturating_add);
    let observer = Some(Layer::Observer);
    let sampled: u64 = steady_table(profile)
        .iter()
        .filter(|(at, _)| is_of_one_packet(at.point))
        .map(|(_, places)| places.total() - places.layers.get(&observer).copied().unwrap_or(0))
        .sum();
    let per = |value: f64, count: f64| if count > 0.0 { value / count } else { 0.0 };
    let reconciliation = Reconciliation {
        service_ns_per_packet: per(profile.once(service), seen),
        // Samples know their place only while the probes are attached, like the packets that were seen.
        cpu_ns_per_packet: per(cpu.ns(sampled) as f64, seen),
        samples: sampled,
    };
    let functions = functions::totals(&paths);
    let bytes = bytes * scale;
    let intervals = Intervals::default();
    Account { functions, paths, layers, cpu, correction, trust, scale, packets, bytes, reconciliation, intervals }
}

/// Whether what follows a crossing is work on the packet that crossed. A sender goes on with the data of the packets after it: samples
/// know its place and not which packet it is at.
fn is_of_one_packet(point: Point) -> bool {
    !point.is_in(Points::OF_SENDER)
}

/// How many packets there were for each one seen. The devices on which journeys began counted all of their packets
/// themselves; where they cannot serve (filters, physical devices that count segments) time is the measure, which is
/// right for steady traffic only.
fn scale(profile: &Profile, observed_share: f64) -> f64 {
    let by_time = if observed_share > 0.0 { 1.0 / observed_share } else { 0.0 };
    if !profile.meta.filters.is_empty() || by_time <= 1.0 {
        return by_time;
    }
    let mut seen: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for path in profile.original_paths() {
        let begun = match &path.folded {
            Some(folded) => folded.begun.clone(),
            None => path.begun().into_iter().collect(),
        };
        for (device, packets) in begun {
            *seen.entry(device).or_default() += packets;
        }
    }
    let (mut all, mut ours) = (0, 0);
    for ((netns, ifindex), packets) in seen {
        let counters = profile.devices.iter().find(|device| (device.netns, device.ifindex) == (netns, ifindex));
        let virtual_device = profile.topology.device(netns, ifindex).is_some_and(|device| device.kind != "nic");
        if let (Some(counters), true) = (counters, virtual_device) {
            all += counters.tx_packets;
            ours += packets;
        }
    }
    let ours = profile.once(ours);
    if ours > 0.0 && all as f64 >= ours { all as f64 / ours } else { by_time }
}

#[cfg(test)]
mod tests {
    use netstrata_common::Edge;

    use super::*;
    use crate::profile::{CrossingRecord, Histogram, PathRecord, Sampling};

    #[test]
    fn a_profile_that_claims_endless_fragments_of_endless_work_is_told_all_the_same() {
        let crossing = |point| CrossingRecord { point, netns: 1, ifindex: 2 };
        let ways = PathRecord {
            crossings: [Point::Queue, Point::Xmit, Point::Rx].map(crossing).to_vec(),
            edges: vec![(0, Edge::Fragment)],
            spans: vec![Histogram { count: 1, sum: u64::MAX / 4, ..Histogram::default() }; 2],
            packets: 1,
            wire_packets: u64::MAX / 2,
            ..PathRecord::default()
        };
        let found = account(&Profile { paths: vec![ways], ..Profile::default() });
        assert!(found.reconciliation.service_ns_per_packet >= u64::MAX as f64, "{:?}", found.reconciliation);
    }

    #[test]
    fn packets_that_count_several_times_are_no_more_packets() {
        let mut profile = Profile {
            sampling: Sampling { observed_ns: 1, ..Sampling::default() },
            paths: vec![PathRecord { packets: 100, bytes: 5000, ..PathRecord::default() }],
            ..Profile::default()
        };
        profile.meta.duration_ns = 2;
        profile.paths[0].end_to_end = Histogram { count: 100, sum: 100, ..Histogram::default() };
        let once = account(&profile);
        assert_eq!((once.packets, once.bytes), (200.0, 10_000.0));
        (profile.paths[0].packets, profile.paths[0].bytes, profile.multiple) = (700, 35_000, 7.0);
        let weighed = account(&profile);
        assert_eq!((weighed.packets, weighed.bytes), (once.packets, once.bytes));
    }
}
