//! How much a workload had done when: what it did in a part of its time.

use serde::{Deserialize, Serialize};

use super::{BatchWork, Profile};

/// What was done, by time.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Progress {
    /// CLOCK_MONOTONIC of the beginning of the first step.
    pub begin_ns: u64,
    /// Length of a step.
    pub step_ns: u64,
    /// What was done in each step: transactions, or bytes that were read.
    pub done: Vec<u64>,
    /// CLOCK_MONOTONIC when the work began and ended.
    pub from_ns: u64,
    /// See `from_ns`.
    pub until_ns: u64,
}

impl Progress {
    /// What was done between two times; within a step evenly.
    fn between(&self, from: u64, until: u64) -> BatchWork {
        let (from, until) = (from.max(self.from_ns), until.min(self.until_ns));
        if from >= until || self.step_ns == 0 {
            return BatchWork::default();
        }
        let done = self.done.iter().enumerate().map(|(step, done)| {
            let begin = self.begin_ns + step as u64 * self.step_ns;
            // The work may have begun or ended within it.
            let (begin, end) = (begin.max(self.from_ns), (begin + self.step_ns).min(self.until_ns));
            let common = end.min(until).saturating_sub(begin.max(from));
            *done as f64 * common as f64 / end.saturating_sub(begin).max(1) as f64
        });
        BatchWork { ns: until - from, done: done.sum::<f64>().round() as u64 }
    }
}

impl Profile {
    /// Enters into the batches what was done in their time.
    pub fn enter_work(&mut self, progress: &Progress) {
        let started = self.meta.started_ns;
        for batch in &mut self.batches {
            let sum = |times: &[(u64, u64)]| {
                times.iter().map(|(from, until)| progress.between(started + from, started + until)).sum()
            };
            batch.work_in_windows = Some(sum(&batch.windows));
            batch.work = Some(sum(&[(batch.end_ns.saturating_sub(batch.samples_ns), batch.end_ns)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::BatchRecord;

    #[test]
    fn what_was_done_in_a_window_is_the_part_of_its_steps() {
        let progress = Progress { begin_ns: 1000, step_ns: 100, done: vec![10, 20, 30], from_ns: 1050, until_ns: 1300 };
        // The first step holds 50 ns of work.
        assert_eq!(progress.between(0, 5000), BatchWork { ns: 250, done: 60 });
        assert_eq!(progress.between(1075, 1150), BatchWork { ns: 75, done: 15 });
        assert_eq!(progress.between(2000, 3000), BatchWork::default());
    }

    #[test]
    fn batches_hold_the_work_of_their_windows_and_of_their_time() {
        let mut profile = Profile::default();
        profile.meta.started_ns = 1000;
        let batch =
            BatchRecord { end_ns: 200, samples_ns: 200, windows: vec![(0, 50), (100, 150)], ..BatchRecord::default() };
        profile.batches = vec![batch];
        profile.enter_work(&Progress {
            begin_ns: 1000,
            step_ns: 100,
            done: vec![10, 20],
            from_ns: 1000,
            until_ns: 1200,
        });
        assert_eq!(profile.batches[0].work_in_windows, Some(BatchWork { ns: 100, done: 15 }));
        assert_eq!(profile.batches[0].work, Some(BatchWork { ns: 200, done: 30 }));
    }
}
