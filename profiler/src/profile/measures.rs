//! Parts of a benchmark's result that have several figures.

use serde::{Deserialize, Serialize};

use crate::numbers::median;

/// What one side's process used of the CPUs while it measured.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct SideUse {
    /// CPU time over the time of the run; 1 is one CPU.
    pub cpu_share: f64,
    /// CPU time in user mode.
    pub user_ns: Option<u64>,
    /// CPU time in the kernel.
    pub system_ns: Option<u64>,
    /// CPU microseconds for each transaction.
    pub cpu_us_per_transaction: Option<f64>,
    /// CPU nanoseconds for each byte that this side sent or got.
    pub cpu_ns_per_byte: Option<f64>,
}

/// What the whole machine used: everything that ran on it, whoever caused it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct MachineUse {
    /// CPUs online.
    pub cpus: u32,
    /// Time during which they were watched.
    pub elapsed_ns: u64,
    /// Time in which they were neither idle nor taken by the hypervisor, over all of them.
    pub busy_ns: u64,
    /// The same as a share of all CPUs (0 to 1).
    pub busy_share: f64,
    /// Busy microseconds for each transaction.
    pub busy_us_per_transaction: Option<f64>,
    /// Busy nanoseconds for each byte that arrived.
    pub busy_ns_per_byte: Option<f64>,
}

/// How the pairs of one run differ.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct PairSpread {
    /// What is compared: "throughput_bits_per_s" or "transactions_per_s".
    pub figure: String,
    /// The slowest pair.
    pub min: f64,
    /// The pair in the middle.
    pub median: f64,
    /// The fastest pair.
    pub max: f64,
    /// Standard deviation over the pairs (of all of them, not of a sample) by their mean.
    pub coefficient_of_variation: f64,
}

impl PairSpread {
    /// Of the rates of the pairs; none for fewer than two.
    pub fn of(figure: &str, rates: &[f64]) -> Option<Self> {
        if rates.len() < 2 {
            return None;
        }
        let mut sorted = rates.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let variance = sorted.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
        Some(Self {
            figure: figure.into(),
            min: sorted[0],
            median: median(&sorted),
            max: sorted[sorted.len() - 1],
            coefficient_of_variation: if mean > 0.0 { variance.sqrt() / mean } else { 0.0 },
        })
    }
}

/// Completion times of one class of flows: from the call of connect until the receiver had all of it and said so.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct FlowTimes {
    /// "all", "mice" or "elephants".
    pub class: String,
    /// Flows that were completed.
    pub count: u64,
    /// Bytes of one flow; none for "all" where there are two classes.
    pub flow_bytes: Option<u64>,
    /// Mean.
    pub mean_ns: f64,
    /// Median; none over several recordings, as of the others.
    pub p50_ns: Option<u64>,
    /// 90th percentile.
    pub p90_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// Largest.
    pub max_ns: u64,
}

/// Datagrams of a one-way UDP workload.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Datagrams {
    /// That the sender's kernel took.
    pub sent: u64,
    /// That the sender's kernel refused (no buffer).
    pub refused: u64,
    /// That the receiver's application got.
    pub received: u64,
    /// Sent and not received.
    pub lost: u64,
    /// The same as a share of those sent (0 to 1).
    pub lost_share: f64,
    /// Of the lost ones, those that reached the receiver's socket and found its buffer full.
    pub lost_at_socket: Option<u64>,
    /// That arrived after one that was sent later; none where datagrams are too small to bear a number.
    pub reordered: Option<u64>,
}

/// How long a network took from its creation.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Creation {
    /// From the start of building until the last step of building was done.
    pub built_ns: u64,
    /// From the start of building until a client on it had the answer to a first request.
    pub first_answer_ns: u64,
}

/// What ran beside the pairs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct NeighbourUse {
    /// "busy" or "udp-flood".
    pub kind: String,
    /// Busy loops, or floods.
    pub count: u32,
    /// Share of a CPU that each was to use; none where it takes what it gets.
    pub asked_share: Option<f64>,
    /// Share of a CPU that all of them together used, both sides of a flood included; none where it is not known.
    pub cpu_share: Option<f64>,
    /// Bits a second that a flood sent.
    pub sent_bits_per_s: Option<f64>,
    /// Bits a second of the flood that arrived.
    pub received_bits_per_s: Option<f64>,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_pair_has_no_spread() {
        assert_eq!(PairSpread::of("transactions_per_s", &[5.0]), None);
        let two = PairSpread::of("transactions_per_s", &[3.0, 1.0]).unwrap();
        assert_eq!((two.min, two.median, two.max, two.coefficient_of_variation), (1.0, 2.0, 3.0, 0.5));
        let none = PairSpread::of("transactions_per_s", &[0.0, 0.0]).unwrap();
        assert_eq!(none.coefficient_of_variation, 0.0);
    }

    proptest! {
        #[test]
        fn a_spread_has_its_order_and_no_scale(rates in prop::collection::vec(1.0f64..1e9, 2..60), factor in 0.5f64..8.0) {
            let spread = PairSpread::of("x", &rates).unwrap();
            prop_assert!(spread.min <= spread.median && spread.median <= spread.max);
            let scaled: Vec<f64> = rates.iter().rev().map(|rate| rate * factor).collect();
            let other = PairSpread::of("x", &scaled).unwrap();
            prop_assert!((spread.coefficient_of_variation - other.coefficient_of_variation).abs() < 1e-6);
            prop_assert!((spread.median * factor - other.median).abs() <= 1e-6 * other.median);
        }

        #[test]
        fn equal_pairs_do_not_vary(rate in 1.0f64..1e9, pairs in 2usize..60) {
            let spread = PairSpread::of("x", &vec![rate; pairs]).unwrap();
            prop_assert!(spread.coefficient_of_variation < 1e-9);
            prop_assert_eq!((spread.min, spread.max), (rate, rate));
        }
    }
}
