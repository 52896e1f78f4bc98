//! The figures of a run that are compared: the only list of them.

use crate::profile::{
    Benchmark,
    measures::{FlowTimes, SideUse},
};

/// A figure of a benchmark.
pub struct Metric {
    /// Name in JSON; the unit is in it.
    pub name: &'static str,
    /// Heading of its column, with the unit in which it is printed.
    pub heading: &'static str,
    /// Its unit behind a value.
    pub unit: &'static str,
    /// What it is multiplied with to be printed.
    pub scale: f64,
    /// Digits after the point.
    pub digits: usize,
    /// Its value, if the workload has one.
    pub get: fn(&Benchmark) -> Option<f64>,
}

const fn metric(
    name: &'static str,
    heading: &'static str,
    unit: &'static str,
    (scale, digits): (f64, usize),
    get: fn(&Benchmark) -> Option<f64>,
) -> Metric {
    Metric { name, heading, unit, scale, digits, get }
}

const WHOLE: (f64, usize) = (1.0, 0);
const GIGA: (f64, usize) = (1e-9, 2);
const PERCENT: (f64, usize) = (100.0, 1);
const MILLI: (f64, usize) = (1e-6, 2);
const MICRO: (f64, usize) = (1e-3, 2);
const AS_IT_IS: (f64, usize) = (1.0, 2);

/// All figures; the first that a workload has is what its modes are compared by.
pub const METRICS: &[Metric] = &[
    metric("flow_completion_mean_ns", "FCT mean ms", "ms", MILLI, |run| Some(flows(run, "all")?.mean_ns)),
    metric("throughput_bits_per_s", "Gbit/s", "Gbit/s", GIGA, |run| run.throughput_bits_per_s),
    metric("transactions_per_s", "trans/s", "/s", WHOLE, |run| run.transactions_per_s),
    metric("messages_per_s", "msg/s", "msg/s", WHOLE, |run| run.messages_per_s),
    metric("round_trip_ns", "mean µs", "µs", MICRO, |run| run.round_trip_ns),
    metric("round_trip_p50_ns", "p50 µs", "µs", MICRO, |run| run.round_trip_p50_ns),
    metric("round_trip_p90_ns", "p90 µs", "µs", MICRO, |run| run.round_trip_p90_ns),
    metric("round_trip_p99_ns", "p99 µs", "µs", MICRO, |run| run.round_trip_p99_ns),
    metric("round_trip_p999_ns", "p99.9 µs", "µs", MICRO, |run| run.round_trip_p999_ns),
    metric("round_trip_max_ns", "max µs", "µs", MICRO, |run| run.round_trip_max_ns),
    metric("flow_completion_p50_ns", "FCT p50 ms", "ms", MILLI, |run| percentile(flows(run, "all")?.p50_ns)),
    metric("flow_completion_p99_ns", "FCT p99 ms", "ms", MILLI, |run| percentile(flows(run, "all")?.p99_ns)),
    metric("mice_completion_mean_ns", "mice mean", "ms", MILLI, |run| Some(flows(run, "mice")?.mean_ns)),
    metric("mice_completion_p99_ns", "mice p99", "ms", MILLI, |run| percentile(flows(run, "mice")?.p99_ns)),
    metric("elephants_completion_mean_ns", "eleph. mean", "ms", MILLI, |run| Some(flows(run, "elephants")?.mean_ns)),
    metric("elephants_completion_p99_ns", "eleph. p99", "ms", MILLI, |run| percentile(flows(run, "elephants")?.p99_ns)),
    metric("lost_share", "lost %", "%", PERCENT, |run| Some(run.datagrams?.lost_share)),
    metric("reordered", "reordered", "", WHOLE, |run| Some(run.datagrams?.reordered? as f64)),
    metric("retransmits", "retransmits", "", WHOLE, |run| run.retransmits.map(|count| count as f64)),
    metric("failed", "failed", "", WHOLE, |run| run.failed.map(|count| count as f64)),
    metric("client_cpu_share", "client CPU%", "%", PERCENT, |run| Some(run.client?.cpu_share)),
    metric("server_cpu_share", "server CPU%", "%", PERCENT, |run| Some(run.server?.cpu_share)),
    metric("machine_busy_share", "all CPUs %", "%", PERCENT, |run| Some(run.machine?.busy_share)),
    metric("client_cpu_us_per_transaction", "client µs/t", "µs", AS_IT_IS, |run| per_transaction(run.client)),
    metric("server_cpu_us_per_transaction", "server µs/t", "µs", AS_IT_IS, |run| per_transaction(run.server)),
    metric("machine_busy_us_per_transaction", "all µs/t", "µs", AS_IT_IS, |run| run.machine?.busy_us_per_transaction),
    metric("client_cpu_ns_per_byte", "client ns/B", "ns", (1.0, 3), |run| run.client?.cpu_ns_per_byte),
    metric("server_cpu_ns_per_byte", "server ns/B", "ns", (1.0, 3), |run| run.server?.cpu_ns_per_byte),
    metric("machine_busy_ns_per_byte", "all ns/B", "ns", (1.0, 3), |run| run.machine?.busy_ns_per_byte),
    metric("pair_coefficient_of_variation", "pairs CV %", "%", PERCENT, |run| {
        Some(run.pair_spread.as_ref()?.coefficient_of_variation)
    }),
    metric("neighbours_cpu_share", "neighb. %", "%", PERCENT, neighbours),
    metric("built_ns", "built ms", "ms", (1e-6, 1), |run| Some(run.creation?.built_ns as f64)),
    metric("first_answer_ns", "answer ms", "ms", (1e-6, 1), |run| Some(run.creation?.first_answer_ns as f64)),
];

impl Metric {
    /// The number as it is printed, without its unit; small ones with more digits, so that they do not seem nothing.
    pub fn print(&self, value: f64) -> String {
        let value = value * self.scale;
        let digits = if value > 0.0 && value < 1.0 { self.digits + 2 } else { self.digits };
        format!("{value:.digits$}")
    }
}

fn flows<'a>(run: &'a Benchmark, class: &str) -> Option<&'a FlowTimes> {
    run.flows.iter().find(|flows| flows.class == class)
}

fn percentile(ns: Option<u64>) -> Option<f64> {
    ns.map(|ns| ns as f64)
}

fn per_transaction(side: Option<SideUse>) -> Option<f64> {
    side?.cpu_us_per_transaction
}

/// None where there are no neighbours, or one's use is not known.
fn neighbours(run: &Benchmark) -> Option<f64> {
    if run.neighbours.is_empty() {
        return None;
    }
    run.neighbours.iter().map(|neighbour| neighbour.cpu_share).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_headings_fit_their_columns() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..index].iter().all(|other| other.name != metric.name), "{}", metric.name);
            assert!(metric.heading.chars().count() <= 11, "{}", metric.heading);
            assert_eq!((metric.get)(&Benchmark::default()), None, "{} of an empty result", metric.name);
        }
    }
}
