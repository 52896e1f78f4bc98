//! What batches of the calibration's traffic took, and which of them compare.

use super::traffic::{Batch, CALM};
use crate::numbers::median;

/// So many batches of each kind while it was calm are enough.
pub const ENOUGH: usize = 6;

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

    /// All at about a pace; of all paces if there is none at that one.
    fn at(&self, pace: f64) -> Vec<f64> {
        let alike = |batch: &&(f64, f64)| (pace / CALM..=pace * CALM).contains(&batch.1);
        let times: Vec<f64> = self.0.iter().filter(alike).map(|batch| batch.0).collect();
        if times.is_empty() { self.0.iter().map(|batch| batch.0).collect() } else { times }
    }
}
