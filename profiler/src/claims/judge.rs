//! What runs say of a claim. Pure: the same figures give the same verdict. The rule is told in `docs/claims.md`.
//!
//! Cells of one group are measured in turns: what the machine does meanwhile meets all of them, so their ratio is taken turn by
//! turn. Cells of several groups are not, and each has an error of its own.

use std::collections::BTreeMap;

use super::model::{Bound, Cell, Claimed};
use crate::{check::Estimate, numbers::Spread};

/// Outside of an interval the truth lies with this chance on either side: 95 %.
const TAIL: f64 = 0.025;
/// A difference of less than this part of the claimed one is none.
const NOTHING: f64 = 0.1;

/// What a claim is worth here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it is said.
    Holds,
    /// On the side that is said, by another amount.
    HoldsInDirection,
    /// On the other side.
    Contradicted,
    /// It cannot be told yet.
    Undecided,
    /// This machine or this build cannot tell.
    NotTestable,
}

impl Verdict {
    /// All, in the order of summaries.
    pub const ALL: [Self; 5] =
        [Self::Holds, Self::HoldsInDirection, Self::Contradicted, Self::Undecided, Self::NotTestable];

    /// In output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::HoldsInDirection => "holds in direction",
            Self::Contradicted => "contradicted",
            Self::Undecided => "undecided",
            Self::NotTestable => "not testable here",
        }
    }
}

/// Values of a cell, by the turn in which they were measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// Cells with the same group were measured in turns.
    pub group: usize,
    /// A value for each turn.
    pub values: BTreeMap<u32, f64>,
}

/// A value with its 95 % interval: a ratio, or a figure in its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimated {
    /// The value.
    pub value: f64,
    /// Its interval.
    pub interval: [f64; 2],
    /// Runs of each cell that it rests on.
    pub runs: usize,
}

/// What was found of a claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// What it rests on.
    pub found: Option<Estimated>,
    /// Neighbours of an order or of a growth, each with its ratio.
    pub steps: Vec<(String, Option<Estimated>)>,
    /// Why it is undecided or cannot be tested.
    pub reason: Option<String>,
}

impl Finding {
    /// Without any figure.
    pub fn without(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self { verdict, found: None, steps: Vec::new(), reason: Some(reason.into()) }
    }
}

impl Estimated {
    /// Of cells that are multiplied (1) and divided (-1).
    pub fn of(cells: &[(&Cell, f64)], taken: &BTreeMap<Cell, Taken>) -> Option<Self> {
        let mut groups: BTreeMap<usize, Vec<(&Taken, f64)>> = BTreeMap::new();
        for (cell, sign) in cells {
            let of = taken.get(cell)?;
            groups.entry(of.group).or_default().push((of, *sign));
        }
        let (mut log, mut spread, mut runs) = (0.0, Spread { variance: 0.0, freedom: f64::INFINITY }, usize::MAX);
        for members in groups.values() {
            let first = members.first()?.0;
            let sum = |turn: &u32| -> Option<f64> {
                members.iter().map(|(of, sign)| of.values.get(turn).map(|value| sign * value.ln())).sum()
            };
            let pairs: Vec<f64> = first.values.keys().filter_map(sum).collect();
            let estimate = Estimate::of(&pairs)?;
            log += estimate.change;
            spread = if groups.len() == 1 {
                Spread { variance: estimate.error.powi(2), freedom: estimate.freedom }
            } else {
                spread.plus(Spread { variance: estimate.error.powi(2), freedom: estimate.freedom })
            };
            runs = runs.min(pairs.len());
        }
        let half = Estimate { change: log, error: spread.variance.sqrt(), freedom: spread.freedom }.half(TAIL);
        Some(Self { value: log.exp(), interval: [(log - half).exp(), (log + half).exp()], runs })
    }

    /// Whether it is told from 1.
    pub fn is_different(&self) -> bool {
        self.above(1.0) || self.below(1.0)
    }

    fn above(&self, value: f64) -> bool {
        self.interval[0] > value
    }

    fn below(&self, value: f64) -> bool {
        self.interval[1] < value
    }

    /// The verdict by what is claimed of it.
    pub fn verdict(&self, is: Bound) -> Verdict {
        match is {
            Bound::About { ratio, within } => self.about(ratio, within),
            Bound::Equal(within) => self.between(Some(1.0 / (1.0 + within)), Some(1.0 + within)),
            Bound::Between(least, most) => self.between(least, most),
            Bound::More if self.above(1.0) => Verdict::Holds,
            Bound::More if self.below(1.0) => Verdict::Contradicted,
            Bound::Less if self.below(1.0) => Verdict::Holds,
            Bound::Less if self.above(1.0) => Verdict::Contradicted,
            Bound::More | Bound::Less => Verdict::Undecided,
        }
    }

    fn about(&self, ratio: f64, within: f64) -> Verdict {
        let (right, wrong) =
            if ratio > 1.0 { (self.above(1.0), self.below(1.0)) } else { (self.below(1.0), self.above(1.0)) };
        let nothing = ratio.powf(NOTHING);
        let (low, high) = (nothing.min(1.0 / nothing), nothing.max(1.0 / nothing));
        if wrong || self.above(low) && self.below(high) {
            Verdict::Contradicted
        } else if !right {
            Verdict::Undecided
        } else if (self.value / ratio).ln().abs() <= (1.0 + within).ln() {
            Verdict::Holds
        } else {
            Verdict::HoldsInDirection
        }
    }

    fn between(&self, least: Option<f64>, most: Option<f64>) -> Verdict {
        let [low, high] = self.interval;
        if least.is_none_or(|least| low >= least) && most.is_none_or(|most| high <= most) {
            Verdict::Holds
        } else if least.is_some_and(|least| high < least) || most.is_some_and(|most| low > most) {
            Verdict::Contradicted
        } else {
            Verdict::Undecided
        }
    }
}

/// Judges a claim by what was taken.
pub fn judge(claimed: &Claimed, taken: &BTreeMap<Cell, Taken>) -> Finding {
    if let Some((found, is)) = nothing_at_all(claimed, taken) {
        return Finding { verdict: found.verdict(is), found: Some(found), steps: Vec::new(), reason: None };
    }
    if let Some(reason) = cannot(claimed, taken) {
        return Finding::without(Verdict::Undecided, reason);
    }
    match claimed {
        Claimed::Value { of, is } => {
            let cells: Vec<(&Cell, f64)> = of.iter().map(|(cell, sign)| (cell, *sign)).collect();
            let found = Estimated::of(&cells, taken);
            let verdict = found.map_or(Verdict::Undecided, |found| found.verdict(*is));
            Finding { verdict, found, steps: Vec::new(), reason: None }
        }
        Claimed::Order(cells) => order(cells, taken),
        Claimed::Growth { over, cells, is } => growth(over, cells, *is, taken),
    }
}

/// A figure that is compared with nothing but a bound, and is 0 in every run: it needs no ratio.
fn nothing_at_all(claimed: &Claimed, taken: &BTreeMap<Cell, Taken>) -> Option<(Estimated, Bound)> {
    let Claimed::Value { of, is: is @ Bound::Between(..) } = claimed else { return None };
    let [(cell, _)] = of.as_slice() else { return None };
    let values = &taken.get(cell)?.values;
    let nothing = values.len() >= 2 && values.values().all(|value| *value == 0.0);
    nothing.then_some((Estimated { value: 0.0, interval: [0.0; 2], runs: values.len() }, *is))
}

/// Why figures tell nothing.
fn cannot(claimed: &Claimed, taken: &BTreeMap<Cell, Taken>) -> Option<String> {
    for cell in claimed.cells() {
        let values = taken.get(cell).map(|of| &of.values);
        let Some(values) = values.filter(|values| !values.is_empty()) else {
            return Some(format!("runs of {} have no such figure", cell.mode));
        };
        if values.values().any(|value| !value.is_finite() || *value <= 0.0) {
            return Some(format!("the figure is 0 in a run of {}, and has no ratio", cell.mode));
        }
        if values.len() < 2 {
            return Some(format!("one run of {} tells nothing of how runs differ", cell.mode));
        }
    }
    None
}

fn ratio(over: &Cell, under: &Cell, taken: &BTreeMap<Cell, Taken>) -> Option<Estimated> {
    Estimated::of(&[(over, 1.0), (under, -1.0)], taken)
}

fn order(cells: &[Cell], taken: &BTreeMap<Cell, Taken>) -> Finding {
    let step = |two: &[Cell]| (format!("{} / {}", two[0].mode, two[1].mode), ratio(&two[0], &two[1], taken));
    let steps: Vec<_> = cells.windows(2).map(step).collect();
    let found = ratio(&cells[0], &cells[cells.len() - 1], taken);
    let each = |verdict| {
        steps.iter().filter(move |(_, found)| found.is_some_and(|found| found.verdict(Bound::More) == verdict))
    };
    let verdict = if each(Verdict::Contradicted).next().is_some() {
        Verdict::Contradicted
    } else if each(Verdict::Holds).count() == steps.len() {
        Verdict::Holds
    } else if found.is_some_and(|found| found.verdict(Bound::More) == Verdict::Holds) {
        Verdict::HoldsInDirection
    } else {
        Verdict::Undecided
    };
    Finding { verdict, found, steps, reason: None }
}

fn growth(over: &str, cells: &[Cell], is: Bound, taken: &BTreeMap<Cell, Taken>) -> Finding {
    let point = |cell: &Cell| cell.work.point(over).to_owned();
    let step = |two: &[Cell]| (format!("{} / {}", point(&two[1]), point(&two[0])), ratio(&two[1], &two[0], taken));
    let steps: Vec<_> = cells.windows(2).map(step).collect();
    let found = ratio(&cells[cells.len() - 1], &cells[0], taken);
    let whole = found.map_or(Verdict::Undecided, |found| found.verdict(is));
    let each = steps.iter().all(|(_, found)| found.is_some_and(|found| found.verdict(is) == Verdict::Holds));
    let verdict = match (is, whole) {
        (Bound::More | Bound::Less, Verdict::Holds) if !each => Verdict::HoldsInDirection,
        (_, whole) => whole,
    };
    Finding { verdict, found, steps, reason: None }
}

#[cfg(test)]
mod tests;
