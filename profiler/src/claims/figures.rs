//! The figures that a claim can be about: those of a benchmark's result, and those of a recording.

use std::cell::LazyCell;

use netstrata_common::Layer;

use crate::{
    analysis::Account,
    cpu::Context,
    explain::alone,
    lab::metrics::METRICS,
    profile::{Profile, measures::FlowTimes},
};

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Figure {
    /// Its name; the unit is in it.
    pub name: &'static str,
    /// The layer that it is of, where it is one of a layer.
    pub layer: Option<Layer>,
}

/// How a recording's own figure is found.
enum Get {
    Plain(fn(&Profile, &Account) -> Option<f64>),
    OfLayer(fn(&Account, Layer) -> Option<f64>),
}

/// Figures that are in no benchmark's result, with what they are.
const RECORDED: &[(&str, &str, Get)] = &[
    ("service_ns_per_packet", "what a layer works on a packet, without what the probes take", Get::OfLayer(service)),
    ("wait_ns_per_packet", "what a packet waits in a layer", Get::OfLayer(wait)),
    ("cpu_ns_per_packet", "CPU time of a layer by samples", Get::OfLayer(cpu)),
    (
        "softirqs_per_packet",
        "softirqs that a packet passes",
        Get::Plain(|profile, account| count(profile, account, "softirqs per packet")),
    ),
    (
        "cpu_hops_per_packet",
        "changes of CPU",
        Get::Plain(|profile, account| count(profile, account, "CPU hops per packet")),
    ),
    (
        "devices_per_packet",
        "devices that a packet crosses",
        Get::Plain(|profile, account| count(profile, account, "devices per packet")),
    ),
    ("busiest_cpu_share", "the busy part of the busiest CPU, 0 to 1", Get::Plain(busiest)),
    (
        "softirq_share",
        "the part of busy CPU time that is in softirqs, 0 to 1",
        Get::Plain(|_, account| softirqs(account)),
    ),
    (
        "smaller_flows_mean_ns",
        "mean completion time of the smaller flows: of mice, or of all where there are no elephants",
        Get::Plain(|profile, _| smaller(profile).map(|flows| flows.mean_ns)),
    ),
    (
        "smaller_flows_p99_ns",
        "the same, 99th percentile",
        Get::Plain(|profile, _| smaller(profile)?.p99_ns.map(|ns| ns as f64)),
    ),
    (
        "pair_max_over_min",
        "the fastest pair over the slowest",
        Get::Plain(|profile, _| {
            let spread = profile.meta.benchmark.as_ref()?.pair_spread.as_ref()?;
            (spread.min > 0.0).then_some(spread.max / spread.min)
        }),
    ),
];

impl Figure {
    /// The figure of a name.
    pub fn find(name: &str) -> Option<Self> {
        let name = names().find(|known| *known == name)?;
        Some(Self { name, layer: None })
    }

    /// Whether it is one of a layer.
    pub fn needs_layer(&self) -> bool {
        RECORDED.iter().any(|(name, _, get)| *name == self.name && matches!(get, Get::OfLayer(_)))
    }

    /// Whether it is known once for each network that is built, and not for each run.
    pub fn is_of_network(&self) -> bool {
        matches!(self.name, "built_ns" | "first_answer_ns")
    }

    /// Whether a faster network has more of it.
    pub fn is_rate(&self) -> bool {
        matches!(self.name, "throughput_bits_per_s" | "transactions_per_s" | "messages_per_s")
    }

    /// Whether it is about bytes, most of whose time is that of copies.
    pub fn is_of_bytes(&self) -> bool {
        self.name == "throughput_bits_per_s" || self.name.ends_with("_per_byte") || self.name.contains("completion")
    }

    /// A value of it, with its unit where the lab knows one.
    pub fn print(&self, value: f64) -> String {
        match METRICS.iter().find(|metric| metric.name == self.name) {
            Some(metric) => format!("{} {}", metric.print(value), metric.unit).trim_end().to_owned(),
            None => number(value),
        }
    }

    /// In words.
    pub fn text(&self) -> String {
        match self.layer {
            Some(layer) => format!("{} of {}", self.name, layer.name()),
            None => self.name.to_owned(),
        }
    }

    /// Its value in a recording, whose account is made where a figure rests on it.
    pub fn of<Make: FnOnce() -> Account>(&self, profile: &Profile, account: &LazyCell<Account, Make>) -> Option<f64> {
        if let Some(metric) = METRICS.iter().find(|metric| metric.name == self.name) {
            return profile.meta.benchmark.as_ref().and_then(metric.get);
        }
        match RECORDED.iter().find(|(name, ..)| *name == self.name)?.2 {
            Get::Plain(get) => get(profile, account),
            Get::OfLayer(get) => get(account, self.layer?),
        }
    }
}

/// A number with three digits that count.
pub fn number(value: f64) -> String {
    // No "-0".
    let value = value + 0.0;
    let size = value.abs();
    match size {
        _ if size >= 1e6 || size > 0.0 && size < 1e-3 => format!("{value:.2e}"),
        _ if size >= 99.5 => format!("{value:.0}"),
        _ if size >= 9.95 => format!("{value:.1}"),
        _ if size >= 0.0995 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A time in words.
pub fn minutes(seconds: f64) -> String {
    if seconds < 90.0 { format!("{:.0} s", seconds.max(0.0)) } else { format!("{:.0} min", seconds / 60.0) }
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    METRICS.iter().map(|metric| metric.name).chain(RECORDED.iter().map(|(name, ..)| *name))
}

fn smaller(profile: &Profile) -> Option<&FlowTimes> {
    let flows = &profile.meta.benchmark.as_ref()?.flows;
    ["mice", "all"].iter().find_map(|class| flows.iter().find(|flows| flows.class == *class))
}

fn service(account: &Account, layer: Layer) -> Option<f64> {
    let total = account.layers.get(&layer)?;
    per(total.latency_ns.saturating_sub(total.wait_ns + total.probe_ns), account.seen())
}

fn wait(account: &Account, layer: Layer) -> Option<f64> {
    per(account.layers.get(&layer)?.wait_ns, account.seen())
}

fn cpu(account: &Account, layer: Layer) -> Option<f64> {
    let ns = account.cpu.ns(account.layers.get(&layer)?.cpu_samples) as f64;
    (account.packets > 0.0).then(|| ns / account.packets)
}

fn per(sum: u64, packets: u64) -> Option<f64> {
    (packets > 0).then(|| sum as f64 / packets as f64)
}

fn count(profile: &Profile, account: &Account, name: &str) -> Option<f64> {
    let found = alone(profile, account)?;
    found.counts.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn busiest(profile: &Profile, account: &Account) -> Option<f64> {
    account.cpu.busy_in(profile.meta.duration_ns).into_iter().map(|(_, share)| share).reduce(f64::max)
}

fn softirqs(account: &Account) -> Option<f64> {
    let samples: u64 = account
        .cpu
        .contexts
        .iter()
        .filter(|(context, _)| matches!(context, Context::Softirq | Context::Ksoftirqd))
        .map(|(_, samples)| samples)
        .sum();
    (account.cpu.busy > 0).then(|| account.cpu.share(samples))
}
