//! Times of transactions and flows: percentiles within 0.1 %, mean and maximum exact.

use std::{io, time::Duration};

use hdrhistogram::Histogram;

use crate::profile::{FAR, measures::FlowTimes, worker::RoundTrip};

/// Longer times count as this: no run waits an hour for an answer.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits.
const DIGITS: u8 = 3;

/// A histogram of times. Adding one costs a few nanoseconds, so that a client hardly times itself.
#[derive(Clone)]
pub struct Times {
    histogram: Histogram<u64>,
    sum_ns: u64,
    max_ns: u64,
}

impl Times {
    /// Without any time.
    pub fn new() -> io::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).map_err(io::Error::other)?;
        Ok(Self { histogram, sum_ns: 0, max_ns: 0 })
    }

    /// Adds a time.
    pub fn add(&mut self, time: Duration) {
        let ns = time.as_nanos() as u64;
        self.histogram.saturating_record(ns);
        self.sum_ns += ns;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds another one's times.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so that nothing can be out of them.
        let _ = self.histogram.add(&other.histogram);
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Number of times.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    fn mean_ns(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.sum_ns as f64 / self.count() as f64 }
    }

    /// The time that a share of them does not exceed. A bucket's upper end may lie above the largest time.
    fn quantile(&self, share: f64) -> u64 {
        self.histogram.value_at_quantile(share).min(self.max_ns)
    }

    /// What few of them have above so many times their median, over all of them: delays that interrupt the work, as when the
    /// machine is taken away. Within the width of a bucket.
    fn far_ns(&self) -> f64 {
        let limit = FAR * self.quantile(0.5).max(1);
        let above = self.histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()));
        let sum: u64 = above.map(|(ns, count)| ns.min(self.max_ns).saturating_sub(limit) * count).sum();
        if self.count() == 0 { 0.0 } else { sum as f64 / self.count() as f64 }
    }

    /// As round trips; none without any.
    pub fn round_trip(&self) -> Option<RoundTrip> {
        (self.count() > 0).then(|| RoundTrip {
            mean_ns: self.mean_ns(),
            far_ns: self.far_ns(),
            p50_ns: self.quantile(0.5),
            p90_ns: self.quantile(0.9),
            p99_ns: self.quantile(0.99),
            p999_ns: self.quantile(0.999),
            max_ns: self.max_ns,
        })
    }

    /// As completion times of a class of flows; none without any.
    pub fn flows(&self, class: &str, flow_bytes: Option<u64>) -> Option<FlowTimes> {
        (self.count() > 0).then(|| FlowTimes {
            class: class.into(),
            count: self.count(),
            flow_bytes,
            mean_ns: self.mean_ns(),
            p50_ns: Some(self.quantile(0.5)),
            p90_ns: Some(self.quantile(0.9)),
            p99_ns: Some(self.quantile(0.99)),
            max_ns: self.max_ns,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Times {
        let mut times = Times::new().unwrap();
        values.iter().for_each(|ns| times.add(Duration::from_nanos(*ns)));
        times
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_sorted_times(mut values in prop::collection::vec(1u64..10_000_000_000, 1..300)) {
            let trip = of(&values).round_trip().unwrap();
            values.sort_unstable();
            for (share, found) in [(0.5, trip.p50_ns), (0.9, trip.p90_ns), (0.99, trip.p99_ns), (0.999, trip.p999_ns)] {
                let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
                let exact = values[rank - 1];
                prop_assert!(found >= exact && found as f64 <= exact as f64 * 1.001 + 1.0, "{share}: {found} {exact}");
            }
            prop_assert_eq!(trip.max_ns, *values.last().unwrap());
            let mean = values.iter().sum::<u64>() as f64 / values.len() as f64;
            prop_assert!((trip.mean_ns - mean).abs() <= 1e-9 * mean);
        }

        #[test]
        fn merging_is_adding(a in prop::collection::vec(1u64..1_000_000, 0..50), b in prop::collection::vec(1u64..1_000_000, 0..50)) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(merged.round_trip(), of(&[a, b].concat()).round_trip());
        }
    }

    #[test]
    fn what_lies_far_above_the_median_is_known() {
        let mut values = vec![1000; 99];
        assert_eq!(of(&values).far_ns(), 0.0);
        values.push(500_000);
        let far = of(&values).far_ns();
        assert!((far / ((500_000.0 - 20_000.0) / 100.0) - 1.0).abs() < 0.002, "{far}");
    }

    #[test]
    fn without_times_there_are_no_figures() {
        assert_eq!(of(&[]).round_trip(), None);
        assert_eq!(of(&[]).flows("all", None), None);
        assert_eq!(of(&[LONGEST_NS * 2]).round_trip().unwrap().max_ns, LONGEST_NS * 2);
    }
}
