//! The rule by which a change is judged: pairs, a trimmed mean with its interval, and an error that is spent once over a fixed
//! number of looks. Pure numbers; `docs/ci.md` has what simulations make of it.
//!
//! A pair is the logarithm of target / baseline of two recordings made in turns. The tenth at either end is cut off where there
//! are enough pairs (Tukey and McLaughlin's interval: the trimmed mean, the Winsorized variance, Student's t of what is left):
//! a neighbour that disturbs some pairs widens no interval then. The exact signed-rank interval is as good (simulated), but it
//! cannot fall below 2^-n: with few pairs, or many layers, it could never decide.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// Numbers of pairs at which is looked. What lies between two of them waits for the next one: a check that is repeated until
/// it alarms would otherwise do so sooner or later.
pub const LOOKS: [usize; 5] = [6, 12, 24, 48, 96];
/// Chance of an error on either side, of all looks together.
pub const ERROR: f64 = 0.01;
/// The part of it that one look may spend.
pub const TAIL: f64 = ERROR / LOOKS.len() as f64;
/// The part of the pairs that is cut off at either end.
const TRIMMED: f64 = 0.1;
/// With fewer pairs nothing is cut off.
const TRIM_FROM: usize = 12;

/// A figure of [`crate::check`], or all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not worse by the threshold.
    Ok,
    /// Worse.
    Regressed,
    /// Better.
    Improved,
    /// Layers changed, the total did not (only of all figures together).
    Moved,
    /// It cannot be told yet.
    Undecided,
}

impl Verdict {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Regressed => "regressed",
            Self::Improved => "improved",
            Self::Moved => "moved",
            Self::Undecided => "undecided",
        }
    }

    /// Whether a figure changed.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Regressed | Self::Improved)
    }
}

/// How many of so many pairs are looked at: none before the first look.
pub fn look(pairs: usize) -> usize {
    LOOKS.into_iter().rev().find(|look| *look <= pairs).unwrap_or(0)
}

/// The first look at which there are so many pairs; `None` beyond the last one.
pub fn look_from(pairs: f64) -> Option<usize> {
    LOOKS.into_iter().find(|look| *look as f64 >= pairs)
}

/// A change, as the logarithm of a ratio or as a part of something, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The change.
    pub change: f64,
    /// Its standard error.
    pub error: f64,
    /// Degrees of freedom of that.
    pub freedom: f64,
}

impl Estimate {
    /// Of pairs; `None` of fewer than two.
    pub fn of(pairs: &[f64]) -> Option<Self> {
        if pairs.len() < 2 || pairs.iter().any(|pair| !pair.is_finite()) {
            return None;
        }
        let count = pairs.len();
        let kept: Vec<f64> = kept(pairs).into_iter().map(|at| pairs[at]).collect();
        let change = kept.iter().sum::<f64>() / kept.len() as f64;
        let ends = [kept[0], kept[kept.len() - 1]];
        let deviation = standard_deviation(pairs.iter().map(|pair| pair.clamp(ends[0], ends[1])));
        let left = kept.len() as f64 / count as f64;
        let freedom = kept.len() as f64 - 1.0;
        Some(Self { change, error: deviation / (left * (count as f64).sqrt()), freedom })
    }

    /// Half of the interval outside of which the truth lies with this chance on either side.
    pub fn half(&self, tail: f64) -> f64 {
        if self.error > 0.0 { self.error * quantile(self.freedom, tail) } else { 0.0 }
    }

    /// That interval.
    pub fn interval(&self, tail: f64) -> [f64; 2] {
        let half = self.half(tail);
        [self.change - half, self.change + half]
    }

    /// The chance of such a change to the side on which it lies, where there is none.
    pub fn chance(&self) -> f64 {
        if self.error > 0.0 {
            student(self.freedom).map_or(1.0, |student| student.cdf(-self.change.abs() / self.error))
        } else if self.change == 0.0 {
            0.5
        } else {
            0.0
        }
    }

    /// The verdict by a threshold; `is_sure`: the change is told from none, by whichever part of the error is left for it.
    pub fn verdict(&self, threshold: f64, is_sure: bool) -> Verdict {
        if is_sure && self.change >= threshold / 2.0 {
            Verdict::Regressed
        } else if is_sure && self.change <= -threshold / 2.0 {
            Verdict::Improved
        } else if self.change + self.half(TAIL) < threshold {
            Verdict::Ok
        } else {
            Verdict::Undecided
        }
    }

    /// The verdict of a figure that is judged alone.
    pub fn alone(&self, threshold: f64) -> Verdict {
        self.verdict(threshold, self.chance() < TAIL)
    }

    /// How many times the pairs it would take until it is told from the threshold, or from none: intervals narrow with the root
    /// of their number, and Student's t with their number.
    pub fn times_needed(&self, threshold: f64) -> f64 {
        let room = (threshold - self.change).abs().max(self.change.abs());
        let half = self.error * quantile(f64::INFINITY, TAIL);
        (half / room).powi(2)
    }
}

/// Which pairs the mean is of, the lowest one first: the tenth at either end is cut off where there are enough.
pub fn kept(pairs: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|one, other| pairs[*one].total_cmp(&pairs[*other]));
    let cut = if pairs.len() < TRIM_FROM { 0 } else { (TRIMMED * pairs.len() as f64) as usize };
    order[cut..pairs.len() - cut].to_vec()
}

/// How many pairs tell none from a change by the threshold, where one pair spreads by so much.
pub fn pairs_for(spread: f64, threshold: f64) -> f64 {
    LOOKS
        .into_iter()
        .map(|look| look as f64)
        .find(|look| spread / look.sqrt() * quantile(look - 1.0, TAIL) < threshold)
        .unwrap_or_else(|| (spread * quantile(f64::INFINITY, TAIL) / threshold).powi(2).ceil())
}

/// Which of several changes are told from none so that the chance of any error is `tail` (Holm): the least likely one bears
/// all of them, the next one those that are left.
pub fn holm(chances: &[f64], tail: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|one, other| chances[*one].total_cmp(&chances[*other]));
    let mut sure = vec![false; chances.len()];
    for (rank, index) in order.into_iter().enumerate() {
        if chances[index] >= tail / (chances.len() - rank) as f64 {
            break;
        }
        sure[index] = true;
    }
    sure
}

/// How much pairs that follow each other are alike (-1 to 1), where that is more than chance makes of so many: intervals are too
/// narrow then.
pub fn likeness(pairs: &[f64]) -> Option<f64> {
    let mean = pairs.iter().sum::<f64>() / pairs.len() as f64;
    let off: Vec<f64> = pairs.iter().map(|pair| pair - mean).collect();
    let squares: f64 = off.iter().map(|off| off * off).sum();
    let likeness = off.windows(2).map(|two| two[0] * two[1]).sum::<f64>() / squares;
    (likeness > 2.0 / (pairs.len() as f64).sqrt()).then_some(likeness)
}

/// The standard deviation of a sample.
fn standard_deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (values.map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt()
}

fn student(freedom: f64) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, freedom.clamp(1.0, 1e6)).ok()
}

/// Where so much of Student's t lies above.
fn quantile(freedom: f64, tail: f64) -> f64 {
    student(freedom).map_or(f64::INFINITY, |student| student.inverse_cdf(1.0 - tail))
}

#[cfg(test)]
mod tests;
