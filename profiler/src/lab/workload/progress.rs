//! How much a pair has done when, in steps of some milliseconds: so a recording knows what was done while it looked.

use std::time::{Duration, Instant};

use crate::{host::clock::monotonic_ns, profile::Progress};

/// Length of a step of a short run.
const STEP: Duration = Duration::from_millis(5);
/// With more steps than this they become twice as long.
const MOST_STEPS: usize = 2048;

/// What a pair has done so far. Steps begin at multiples of their length, so that those of all pairs are the same.
pub struct Steps {
    origin: Instant,
    origin_ns: u64,
    step_ns: u64,
    first: u64,
    done: Vec<u64>,
}

impl Steps {
    /// Nothing was done yet.
    pub fn new() -> Self {
        let (origin, origin_ns, step_ns) = (Instant::now(), monotonic_ns(), STEP.as_nanos() as u64);
        Self { origin, origin_ns, step_ns, first: origin_ns / step_ns, done: Vec::with_capacity(MOST_STEPS) }
    }

    fn at_ns(&self, at: Instant) -> u64 {
        self.origin_ns + at.saturating_duration_since(self.origin).as_nanos() as u64
    }

    /// Adds what was done until now.
    pub fn add(&mut self, now: Instant, done: u64) {
        let mut step = (self.at_ns(now) / self.step_ns - self.first) as usize;
        while step >= MOST_STEPS {
            self.double();
            step = (self.at_ns(now) / self.step_ns - self.first) as usize;
        }
        if step >= self.done.len() {
            self.done.resize(step + 1, 0);
        }
        self.done[step] += done;
    }

    /// Makes steps twice as long.
    fn double(&mut self) {
        let mut longer = vec![0; self.done.len() / 2 + 1];
        for (step, done) in self.done.iter().enumerate() {
            longer[((self.first + step as u64) / 2 - self.first / 2) as usize] += done;
        }
        (self.first, self.step_ns, self.done) = (self.first / 2, 2 * self.step_ns, longer);
    }

    /// The progress of a run that took this time.
    pub fn progress(mut self, from: Instant, until: Instant) -> Progress {
        while self.done.last() == Some(&0) {
            self.done.pop();
        }
        Progress {
            begin_ns: self.first * self.step_ns,
            step_ns: self.step_ns,
            from_ns: self.at_ns(from),
            until_ns: self.at_ns(until),
            done: self.done,
        }
    }
}

/// The progress of all pairs; none without any.
pub fn all(parts: impl Iterator<Item = Progress>) -> Option<Progress> {
    let mut parts: Vec<Progress> = parts.collect();
    let step_ns = parts.iter().map(|part| part.step_ns).max()?;
    let begin = parts.iter().map(|part| part.begin_ns / step_ns).min()?;
    let mut sum = Progress { begin_ns: begin * step_ns, step_ns, from_ns: u64::MAX, ..Progress::default() };
    for part in parts.drain(..) {
        (sum.from_ns, sum.until_ns) = (sum.from_ns.min(part.from_ns), sum.until_ns.max(part.until_ns));
        for (step, done) in part.done.into_iter().enumerate() {
            let at = ((part.begin_ns + step as u64 * part.step_ns) / step_ns - begin) as usize;
            sum.done.resize(sum.done.len().max(at + 1), 0);
            sum.done[at] += done;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_become_longer_and_lose_nothing() {
        let mut steps = Steps::new();
        let start = steps.origin;
        for millisecond in 0..60_000 {
            steps.add(start + Duration::from_millis(millisecond), 3);
        }
        let progress = steps.progress(start, start + Duration::from_secs(60));
        assert!(progress.done.len() <= MOST_STEPS && progress.step_ns > STEP.as_nanos() as u64);
        assert_eq!(progress.done.iter().sum::<u64>(), 180_000);
        assert!(progress.begin_ns.is_multiple_of(progress.step_ns) && progress.begin_ns <= progress.from_ns);
        // All steps but those at the ends hold the same.
        let each = 3 * progress.step_ns / 1_000_000;
        assert!(progress.done[1..progress.done.len() - 1].iter().all(|done| *done == each), "{:?}", progress.done);
    }

    #[test]
    fn pairs_with_steps_of_other_lengths_are_summed() {
        let part = |begin_ns, step_ns, done: &[u64]| Progress {
            begin_ns,
            step_ns,
            done: done.to_vec(),
            from_ns: begin_ns,
            until_ns: 100,
        };
        let sum = all([part(30, 10, &[1, 2, 3]), part(20, 20, &[10, 20])].into_iter()).expect("two");
        assert_eq!((sum.begin_ns, sum.step_ns, sum.done, sum.from_ns), (20, 20, vec![11, 25], 20));
        assert_eq!(all(std::iter::empty()), None);
    }
}
