//! What batches of the calibration's traffic took, and which of them compare.

use super::traffic::{Batch, CALM};
use crate::numbers::median;

/// So many batches of each kind while it was calm are enough.
pub const ENOUGH: usize = 6;

/// So many standard deviations below which a normal figure lies in 39 of 40 cases; of a median, by how many of the figures lie
/// above it.
const MOST_OF_NORMAL: f64 = 1.96;

/// Batches of one kind that are compared with as many of another: one of them is hardly disturbed, and the machine was about as fast.
const NEIGHBOURS: usize = 3;

/// The batches of one kind: nanoseconds, and the pace of the machine meanwhile.
#[derive(Default)]
pub struct Times(pub Vec<(f64, f64)>);

impl Times {
    pub fn add_all<T>(&mut self, batches: &[Batch<T>]) {
        self.0.extend(batches.iter().map(|batch| (batch.ns, batch.pace)));
    }

    /// A pace at which, or faster, there were enough of them.
    pub fn pace(&self) -> f64 {
        let mut paces: Vec<f64> = self.0.iter().map(|batch| batch.1).collect();
        paces.sort_by(f64::total_cmp);
        paces.get(ENOUGH - 1).or(paces.last()).copied().unwrap_or(f64::MAX)
    }

    /// The fastest at about a pace, because disturbances only add; 0 of none.
    pub fn fastest(&self, pace: f64) -> f64 {
        self.at(pace).into_iter().reduce(f64::min).unwrap_or(0.0)
    }

    /// The one in the middle at about a pace; 0 of none.
    pub fn middle(&self, pace: f64) -> f64 {
        median(&self.at(pace))
    }

    /// By how much these took longer than others that were made in turns with them, whatever the pace: of some neighbours the fastest of
    /// each kind, because disturbances only add; the difference in the middle, and what that is at most, in 39 of 40 cases.
    pub fn beyond(&self, others: &Self) -> [f64; 2] {
        let groups = self.0.len().min(others.0.len()).div_ceil(NEIGHBOURS);
        let fastest = |times: &Self, group: usize| {
            // Of one kind there may be a few more than of the other.
            let at = |group: usize| group * times.0.len() / groups;
            times.0[at(group)..at(group + 1)].iter().map(|batch| batch.0).fold(f64::MAX, f64::min)
        };
        let mut more: Vec<f64> = (0..groups).map(|group| fastest(self, group) - fastest(others, group)).collect();
        more.sort_by(f64::total_cmp);
        let half = MOST_OF_NORMAL * (groups as f64).sqrt() / 2.0;
        let most = ((groups as f64 / 2.0 + half).ceil() as usize).min(groups.saturating_sub(1));
        [median(&more), more.get(most).copied().unwrap_or(0.0)]
    }

    /// All at about a pace; of all paces if there is none at that one.
    fn at(&self, pace: f64) -> Vec<f64> {
        let alike = |batch: &&(f64, f64)| (pace / CALM..=pace * CALM).contains(&batch.1);
        let times: Vec<f64> = self.0.iter().filter(alike).map(|batch| batch.0).collect();
        if times.is_empty() { self.0.iter().map(|batch| batch.0).collect() } else { times }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_from_noise_has_a_bound_that_noise_does_not_lower() {
        let times = |of: &dyn Fn(usize) -> f64| Times((0..20).map(|at| (of(at), 100.0)).collect());
        // A machine that is slow at any time, for both kinds alike: neighbours tell what the fastest do not.
        let slow = |at: usize| 1000.0 + 400.0 * (at / 5) as f64 + (at * 7 % 5) as f64;
        assert_eq!(times(&|at| slow(at) + 60.0).beyond(&times(&slow)), [60.0, 60.0]);
        // One in three is disturbed, wherever it lies: that is not seen.
        let disturbed = times(&|at| 1060.0 + if at % 3 == 1 { 5000.0 } else { 0.0 });
        assert_eq!(disturbed.beyond(&times(&|_| 1000.0)), [60.0, 60.0]);
        let noisy = times(&|at| 1000.0 + if at / 3 % 2 == 0 { 300.0 } else { -300.0 });
        let [middle, most] = noisy.beyond(&times(&|_| 1000.0));
        assert!(middle.abs() <= 300.0 && most == 300.0, "{middle} {most}");
        assert_eq!(Times::default().beyond(&Times::default()), [0.0, 0.0]);
    }
}
