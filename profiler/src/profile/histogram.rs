//! Distributions: exact sums, log-linear buckets.

use netstrata_common::{KEPT_BUCKETS, bucket_high, bucket_low, bucket_of};
use serde::{Deserialize, Serialize};

/// Weighted values with an exact sum and a log-linear histogram.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Histogram {
    /// Values, not weighted.
    pub samples: u64,
    /// Values, weighted.
    pub count: u64,
    /// Weighted sum.
    pub sum: u64,
    /// Largest value.
    pub max: u64,
    /// Crossings of other packets on the same CPU meanwhile, weighted: each took what a packet costs that is turned away.
    #[serde(skip_serializing_if = "super::batch::is_default")]
    pub others: u64,
    /// (bucket, weighted count) of the buckets that are not empty, ascending.
    pub buckets: Vec<(u16, u64)>,
}

/// Values that are far larger than most.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Far {
    /// How many, not weighted.
    pub values: f64,
    /// What they have above the limit, weighted.
    pub sum: u64,
}

impl Far {
    /// Whether there are none.
    pub fn is_nothing(&self) -> bool {
        self.sum == 0
    }

    /// Both.
    pub fn plus(self, other: Self) -> Self {
        Self { values: self.values + other.values, sum: self.sum + other.sum }
    }

    /// What they have above the limit, if they are so few that they say little about how often such ones are.
    pub fn rare_sum(&self) -> u64 {
        if self.values < FEW { self.sum } else { 0 }
    }
}

/// The part of a number that is of so many of all.
pub(super) fn part(number: u64, of: u64, all: u64) -> u64 {
    (u128::from(number) * u128::from(of) / u128::from(all.max(1))) as u64
}

/// How many times the median a value is that is far from it.
pub const FAR: u64 = 20;
/// Fewer values than this say little about how often such ones are.
const FEW: f64 = 10.0;

impl Histogram {
    /// Adds a value with a weight.
    pub fn add(&mut self, value: u64, weight: u64) {
        self.merge(&Self {
            samples: 1,
            count: weight,
            sum: value * weight,
            max: value,
            others: 0,
            buckets: vec![(bucket_of(value) as u16, weight)],
        });
    }

    /// Adds another histogram: associative and commutative.
    pub fn merge(&mut self, other: &Self) {
        self.samples += other.samples;
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
        self.others += other.others;
        for &(bucket, count) in &other.buckets {
            match self.buckets.binary_search_by_key(&bucket, |entry| entry.0) {
                Ok(at) => self.buckets[at].1 += count,
                Err(at) => self.buckets.insert(at, (bucket, count)),
            }
        }
    }

    /// From dense buckets as the kernel keeps them.
    pub fn from_dense([samples, count, sum, max, others]: [u64; 5], dense: &[u32; KEPT_BUCKETS]) -> Self {
        let buckets = dense
            .iter()
            .enumerate()
            .filter(|entry| *entry.1 > 0)
            .map(|(at, count)| (at as u16, u64::from(*count)))
            .collect();
        Self { samples, count, sum, max, others, buckets }
    }

    /// Mean, or 0 without values.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// Holds as much as this instead; of what else is counted the same part. Its distribution stays.
    pub(super) fn hold(&mut self, count: u64, sum: u64) {
        self.others = part(self.others, count, self.count);
        (self.count, self.sum) = (count, sum);
    }

    /// Values above 20 times the median of `all`, which these are among; within the width of a bucket.
    pub fn far(&self, all: &Self) -> Far {
        let limit = FAR * all.quantile(0.5).max(1);
        let far = self.buckets.iter().filter(|(bucket, _)| bucket_low(*bucket as usize) > limit);
        let (mut count, mut sum) = (0, 0);
        for &(bucket, weight) in far {
            let (low, high) = (bucket_low(bucket as usize), bucket_high(bucket as usize));
            count += weight;
            // CPUs that see their largest values at one moment may keep the smaller one.
            sum += (low + (high - low) / 2).min(self.max).saturating_sub(limit) * weight;
        }
        let values = count as f64 * self.samples as f64 / self.count.max(1) as f64;
        Far { values, sum: sum.min(self.sum) }
    }

    /// The value below which `share` (0 to 1) of the values lie, within 6.25 %; never above the largest value.
    pub fn quantile(&self, share: f64) -> u64 {
        let Some(bucket) = self.bucket_at(share) else { return self.max };
        let (low, high) = (bucket_low(bucket), bucket_high(bucket));
        (low + (high - low) / 2).min(self.max)
    }

    /// What all but `share` (0 to 1) of the values are at least, within 12.5 % and never more; 0 of none.
    pub fn at_least(&self, share: f64) -> u64 {
        self.bucket_at(share).map_or(0, bucket_low)
    }

    /// The bucket in which the value lies below which `share` of the values lie.
    fn bucket_at(&self, share: f64) -> Option<usize> {
        let total: u64 = self.buckets.iter().map(|entry| entry.1).sum();
        let rank = ((share * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        for &(bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Some(bucket as usize);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_far_values_are_rare_and_many_are_not() {
        let mut histogram = Histogram::default();
        for _ in 0..1000 {
            histogram.add(100, 8);
        }
        assert_eq!(histogram.far(&histogram).rare_sum(), 0);
        histogram.add(1_000_000, 8);
        // What lies above 20 times the median, within the width of a bucket.
        let rare = histogram.far(&histogram).rare_sum() as f64 / 8.0;
        assert!((rare / 998_000.0 - 1.0).abs() < 0.07, "{rare}");
        for _ in 0..20 {
            histogram.add(1_000_000, 8);
        }
        assert_eq!(histogram.far(&histogram).rare_sum(), 0);
        assert_eq!(Histogram::default().far(&Histogram::default()).rare_sum(), 0);
    }
}
