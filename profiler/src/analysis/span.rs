//! What an account of paths consists of.

use netstrata_common::{Hook, Layer, Tier};

use super::SpanKind;
use crate::profile::{Histogram, PathRecord};

/// A hook's part of a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HookPart {
    /// The hook.
    pub hook: Hook,
    /// Calls for each packet.
    pub calls_per_packet: f64,
    /// Mean of the value that it takes, per call; 0 if it takes none.
    pub value_per_call: f64,
}

/// Time of a path in one layer at one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Which span between two crossings this is, or is a part of.
    pub index: usize,
    /// The layer; none: unattributed.
    pub layer: Option<Layer>,
    /// Name of the device, empty without one.
    pub device: String,
    /// Inode of the device's namespace.
    pub netns: u32,
    /// Service or wait.
    pub kind: SpanKind,
    /// What it was measured by.
    pub tier: Tier,
    /// Packets (weighted).
    pub count: u64,
    /// Weighted sum of nanoseconds, as measured.
    pub sum_ns: u64,
    /// The part of it that the probes themselves took on followed packets, by calibration.
    pub probe_ns: u64,
    /// What they took by calibration beyond that: the span is too short for it. Subtracted from nothing.
    pub unsubtracted_ns: u64,
    /// The distribution, where this is a whole span. Of a part only the mean is known.
    pub distribution: Option<Histogram>,
    /// The hooked function whose own time this is.
    pub hook: Option<HookPart>,
}

/// 95 % intervals of a path's figures; none where there are too few batches, or a figure is the same in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathIntervals {
    /// Of the end-to-end time, nanoseconds.
    pub end_to_end: Option<[f64; 2]>,
    /// Of that without what the probes took.
    pub corrected: Option<[f64; 2]>,
    /// Of what no layer has, nanoseconds a packet.
    pub unattributed: Option<[f64; 2]>,
    /// Of the changes of CPUs of a packet.
    pub cpu_hops: Option<[f64; 2]>,
    /// Of the skbs that one has become at its end.
    pub skbs_at_end: Option<[f64; 2]>,
    /// Of each row of [`PathAccount::spans`]; empty where nothing is known.
    pub rows: Vec<RowIntervals>,
}

/// The same of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowIntervals {
    /// Of the mean, nanoseconds.
    pub mean: Option<[f64; 2]>,
    /// Of that without what the probes took.
    pub corrected: Option<[f64; 2]>,
    /// Of the share of the end-to-end time.
    pub share: Option<[f64; 2]>,
}

impl PathIntervals {
    /// Those of a row.
    pub fn row(&self, index: usize) -> RowIntervals {
        self.rows.get(index).copied().unwrap_or_default()
    }
}

/// A class of journeys with its time by layer and device, in the order of the way.
#[derive(Clone, Debug, PartialEq)]
pub struct PathAccount {
    /// The recorded path.
    pub record: PathRecord,
    /// Name of the namespace of the first crossing.
    pub from: String,
    /// Name of the namespace of the last crossing.
    pub to: String,
    /// Name of the protocol.
    pub protocol: String,
    /// Devices in order, each once.
    pub devices: Vec<String>,
    /// Spans with a layer.
    pub spans: Vec<Span>,
    /// How sure the means are.
    pub intervals: PathIntervals,
    /// Spans without one, and what losses left between the spans and the end-to-end time.
    pub unattributed_ns: u64,
    /// Passes through a softirq: receptions after a queue.
    pub softirqs: u32,
}

impl Span {
    /// Whether it is, for this layer, a part of a span that samples or functions have divided.
    pub fn is_part_of(&self, layer: Layer) -> bool {
        self.layer == Some(layer) && self.distribution.is_none()
    }

    /// Mean without what the probes took, nanoseconds.
    pub fn corrected_mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.sum_ns - self.probe_ns) as f64 / self.count as f64 }
    }
}

impl PathAccount {
    /// Mean end-to-end time without what the probes took, nanoseconds.
    pub fn corrected_mean(&self) -> f64 {
        let probes: u64 = self.spans.iter().map(|span| span.probe_ns).sum();
        let histogram = &self.record.end_to_end;
        if histogram.count == 0 { 0.0 } else { histogram.sum.saturating_sub(probes) as f64 / histogram.count as f64 }
    }

    /// Whether layers and unattributed time sum to the end-to-end time, in integers.
    pub fn is_closed(&self) -> bool {
        self.spans.iter().map(|span| span.sum_ns).sum::<u64>() + self.unattributed_ns == self.record.end_to_end.sum
    }
}

/// A span to split in a test.
#[cfg(test)]
pub(super) fn whole(sum_ns: u64, count: u64) -> Span {
    Span {
        index: 0,
        layer: Some(Layer::Bridge),
        device: "br0".into(),
        netns: 1,
        kind: SpanKind::Service,
        tier: Tier::Tracepoint,
        count,
        sum_ns,
        probe_ns: 0,
        unsubtracted_ns: 0,
        distribution: None,
        hook: None,
    }
}
