//! Figures of figures.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// The value in the middle, or the mean of the two; 0 without any.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// How much a figure differs from what would be found another time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Of the figure.
    pub variance: f64,
    /// Degrees of freedom of the variance; infinite where it is known.
    pub freedom: f64,
}

impl Spread {
    /// From what the figure is without each of the parts that it is of (jackknife). The parts come in the order of time, hardly
    /// depend on each other, and are of about the same size. None of fewer than three: two hold no more than their difference.
    pub fn of(without: &[f64]) -> Option<Self> {
        let count = without.len() as f64;
        if without.len() < 3 || without.iter().any(|figure| !figure.is_finite()) {
            return None;
        }
        let mean = without.iter().sum::<f64>() / count;
        let off: Vec<f64> = without.iter().map(|figure| figure - mean).collect();
        let squares: f64 = off.iter().map(|off| off * off).sum();
        Some(Self { variance: (count - 1.0) / count * squares * alike(&off), freedom: count - 1.0 })
    }

    /// Of an error that lies within this on either side in 95 of 100 cases, and is the same in all parts.
    pub fn known(half: f64) -> Self {
        Self { variance: (half / NORMAL).powi(2), freedom: f64::INFINITY }
    }

    /// Of a sum of two figures that do not depend on each other; degrees of freedom by Welch and Satterthwaite.
    pub fn plus(self, other: Self) -> Self {
        let variance = self.variance + other.variance;
        let freedom =
            variance.powi(2) / (self.variance.powi(2) / self.freedom + other.variance.powi(2) / other.freedom);
        Self { variance, freedom: if freedom.is_nan() { f64::INFINITY } else { freedom } }
    }

    /// Half of the 95 % interval.
    pub fn half(self) -> f64 {
        let times = match StudentsT::new(0.0, 1.0, self.freedom.clamp(1.0, 1e6)) {
            Ok(distribution) => distribution.inverse_cdf(0.975),
            Err(_) => NORMAL,
        };
        times * self.variance.sqrt()
    }
}

/// Standard deviations on either side that hold 95 of 100 values.
const NORMAL: f64 = 1.959_964;

/// A 95 % interval of a ratio of sums whose parts come in batches that hardly depend on each other; `whole` is the ratio that
/// it is of, which may hold a little that is in no batch. Jackknife, with Student's t and a degree of freedom less than there
/// are batches; see [`Spread::of`].
pub fn ratio_interval(batches: &[(f64, f64)], whole: f64) -> Option<[f64; 2]> {
    let batches: Vec<&(f64, f64)> = batches.iter().filter(|batch| batch.1 > 0.0).collect();
    let (up, down) = batches.iter().fold((0.0, 0.0), |sum, batch| (sum.0 + batch.0, sum.1 + batch.1));
    let without: Vec<f64> = batches.iter().map(|batch| (up - batch.0) / (down - batch.1)).collect();
    let half = Spread::of(&without)?.half();
    Some([whole - half, whole + half])
}

/// By how much the variance of a figure is larger because neighbours are alike, as the state of a machine outlasts a batch: from
/// what the influence of a batch has in common with that of the next one, which is less by one in their number where they
/// have nothing in common.
fn alike(off: &[f64]) -> f64 {
    let squares: f64 = off.iter().map(|off| off * off).sum();
    if squares == 0.0 {
        return 1.0;
    }
    let common = off.windows(2).map(|two| two[0] * two[1]).sum::<f64>() / squares + 1.0 / off.len() as f64;
    let common = common.clamp(0.0, MOST_ALIKE);
    (1.0 + common) / (1.0 - common)
}

/// Batches that have more in common than this are as good as one.
const MOST_ALIKE: f64 = 0.8;

/// A value with so many decimals, and no "-0".
pub fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, test_runner::TestRunner};

    /// Batches of which some are disturbed and neighbours are alike, of a mean of 100.
    fn recording(random: &mut impl FnMut() -> f64, batches: usize) -> Vec<(f64, f64)> {
        let mut drift = 0.0;
        (0..batches)
            .map(|_| {
                let packets = (20.0 + 200.0 * random()).round();
                drift = 0.3 * drift + 10.0 * (random() + random() + random() - 1.5);
                let heavy = -20.0 * (1.0 - random()).ln() - 20.0;
                ((100.0 + drift + heavy) * packets, packets)
            })
            .collect()
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for batches in [8, 20, 64] {
            let held = (0..4000).filter(|_| {
                let parts = recording(&mut random, batches);
                let (up, down) = parts.iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
                let [low, high] = ratio_interval(&parts, up / down).expect("enough batches");
                low <= 100.0 && 100.0 <= high
            });
            let share = held.count() as f64 / 4000.0;
            assert!((0.9..=0.97).contains(&share), "{batches} batches: {share}");
        }
    }

    #[test]
    fn fewer_than_three_batches_tell_nothing_and_empty_ones_do_not_count() {
        assert_eq!(ratio_interval(&[], 1.0), None);
        assert_eq!(ratio_interval(&[(1.0, 1.0), (2.0, 1.0), (0.0, 0.0)], 1.5), None);
        // Student's t of two degrees of freedom is 4.303; the standard error of 1, 3, 2 is 0.577, and neighbours differ.
        let [low, high] = ratio_interval(&[(1.0, 1.0), (3.0, 1.0), (2.0, 1.0)], 2.0).expect("three");
        assert!((high - 2.0 - 4.303 * 0.577_35).abs() < 1e-3 && (low + high - 4.0).abs() < 1e-9);
    }

    #[test]
    fn the_order_of_batches_does_not_matter() {
        let pairs = proptest::collection::vec((0.0..1e9f64, 1.0..1e6f64), 3..20);
        let mut runner = TestRunner::deterministic();
        runner
            .run(&pairs, |pairs| {
                let turned: Vec<_> = pairs.iter().rev().copied().collect();
                let [one, other] = [&pairs, &turned].map(|pairs| ratio_interval(pairs, 0.0).expect("enough"));
                prop_assert!((one[1] - other[1]).abs() <= 1e-6 * one[1].abs().max(1.0));
                Ok(())
            })
            .expect("in whichever order");
    }

    #[test]
    fn the_median_lies_in_the_middle_in_whatever_order_they_come() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
