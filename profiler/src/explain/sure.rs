//! How sure the figures of an account are: the whole account is made again without each part of a recording, and each figure's
//! interval comes from what it differs by (jackknife). So every figure has one by the same rule, whatever it is made of.
//!
//! The parts are slices of the recording, or recordings where several were merged. Repeats that were made in turns are pairs: what
//! disturbs one disturbs the other, and each pair is left out as one.

use std::collections::BTreeMap;

use super::{Cause, Explanation, Side, Slot, WorkKind, compare, station::StationFacts, together};
use crate::{
    analysis::{Account, account},
    numbers::Spread,
    profile::{Even, Observer, Profile},
};

/// Of which profile, or of the step from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// The faster one.
    Baseline,
    /// The slower one.
    Target,
    /// Target less baseline.
    Change,
}

/// A figure of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// A row of the waterfall, in its unit.
    Row(Slot, Of),
    /// Rows that are shown together.
    Together(Vec<Slot>, Of),
    /// What the rows leave.
    Remainder(Of),
    /// A total.
    Total(Of),
    /// Share of the difference that has a layer.
    Share,
    /// What the benchmark measured.
    Measured(Of),
    /// See [`Side::recorded`].
    Recorded(Of),
    /// See [`Side::predicted`].
    Predicted(Of),
    /// See [`Side::predicted_raw`].
    PredictedRaw(Of),
    /// See [`Side::predicted_from_baseline`].
    FromBaseline,
    /// The station's utilisation.
    Utilisation(Of),
    /// What other work takes of the station's CPUs.
    OtherWork(Of),
    /// The station's CPU time per byte or transaction.
    CpuOfEach(Of),
    /// The part of the station in softirqs.
    Softirqs(Of),
    /// Busy share of a CPU.
    Cpu(u16, Of),
    /// Packets of a transaction.
    Packets(Of),
    /// Time of a leg or a turnaround, by its name.
    Part(String, Of),
    /// What proves a cause, by the cause's name and its own.
    Proof(&'static str, &'static str, Of),
}

/// Halves of the 95 % intervals of figures; a figure that rests on too little has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sure(BTreeMap<Figure, f64>);

impl Figure {
    /// Whether it is a step, or what is left: all others are never below 0.
    fn has_sign(&self) -> bool {
        let steps = matches!(self, Self::Row(_, Of::Change) | Self::Together(_, Of::Change) | Self::Total(Of::Change));
        // What a station has more or less of its time than the baseline's is a step, though it stands in a column of times.
        let more_or_less = matches!(self, Self::Row(Slot::OtherWork | Slot::Utilisation, _));
        steps || more_or_less || matches!(self, Self::Remainder(_) | Self::Share)
    }
}

impl Sure {
    /// Whether nothing is known of any figure.
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }

    /// Half of a figure's 95 % interval.
    pub fn half(&self, figure: &Figure) -> Option<f64> {
        self.0.get(figure).copied()
    }

    /// The 95 % interval of a figure with this value.
    pub fn interval(&self, figure: &Figure, value: f64) -> Option<[f64; 2]> {
        let least = if figure.has_sign() { f64::NEG_INFINITY } else { value.min(0.0) };
        self.half(figure).map(|half| [(value - half).max(least), value + half])
    }

    /// Whether a step cannot be told from nothing; `None` where it is not known.
    pub fn may_be_nothing(&self, figure: &Figure, value: f64) -> Option<bool> {
        self.half(figure).map(|half| value.abs() <= half)
    }
}

/// The figures of an account. The signs of the steps that no layer answers for are those of the account itself, so that the
/// share is a sum and not a sum of sizes, which errors always make larger.
fn figures(found: &Explanation, signs: &Explanation) -> BTreeMap<Figure, f64> {
    let mut all = BTreeMap::new();
    let fall = &found.waterfall;
    let three = |figure: fn(Slot, Of) -> Figure, slot: Slot, baseline: i64, target: i64| {
        [(Of::Baseline, baseline), (Of::Target, target), (Of::Change, target - baseline)]
            .map(|(of, value)| (figure(slot, of), value as f64))
    };
    for row in &fall.rows {
        all.extend(three(Figure::Row, row.slot, row.baseline.value, row.target.value));
    }
    let rest = &fall.remainder;
    all.extend(three(|_, of| Figure::Remainder(of), Slot::Unattributed, rest.baseline, rest.target));
    all.extend(three(|_, of| Figure::Total(of), Slot::Unattributed, fall.baseline, fall.target));
    if let Some(share) = fall.explained_like(&signs.waterfall) {
        all.insert(Figure::Share, share);
    }
    for (of, side) in [(Of::Baseline, &found.baseline), (Of::Target, &found.target)] {
        all.extend(of_side(side, of));
    }
    if let Some(rate) = found.target.predicted_from_baseline {
        all.insert(Figure::FromBaseline, rate);
    }
    for Cause { name, figures, .. } in &found.causes {
        for figure in figures {
            all.insert(Figure::Proof(name.name(), figure.name, Of::Baseline), figure.baseline);
            all.insert(Figure::Proof(name.name(), figure.name, Of::Target), figure.target);
        }
    }
    all
}

fn of_side(side: &Side, of: Of) -> Vec<(Figure, f64)> {
    let rates = [
        (Figure::Measured(of), side.measured),
        (Figure::Recorded(of), side.recorded),
        (Figure::Predicted(of), side.predicted),
        (Figure::PredictedRaw(of), side.predicted_raw),
    ];
    let mut all: Vec<(Figure, f64)> = rates.into_iter().filter_map(|(figure, rate)| Some((figure, rate?))).collect();
    if let Some(station) = &side.station {
        all.push((Figure::Utilisation(of), station.utilisation));
        all.push((Figure::OtherWork(of), station.others));
        all.push((Figure::CpuOfEach(of), station.cpu_ns_each));
        all.push((Figure::Softirqs(of), station.softirq_share));
    }
    all.extend(side.cpus.iter().map(|(cpu, busy)| (Figure::Cpu(*cpu, of), *busy)));
    if let Some(transaction) = &side.transaction {
        all.push((Figure::Packets(of), transaction.packets));
        let legs = transaction.legs.iter().map(|leg| (leg.name(), leg.ns.value));
        let turns = transaction.turns.iter().map(|turn| (turn.key(), turn.ns.value));
        all.extend(legs.chain(turns).map(|(name, ns)| (Figure::Part(name, of), ns as f64)));
    }
    all
}

/// Makes the account of two profiles again.
struct Again<'a> {
    profiles: [&'a Profile; 2],
    accounts: [&'a Account; 2],
    labels: &'a [String; 2],
    found: &'a Explanation,
}

impl Again<'_> {
    /// The figures with others instead of one or both of the profiles.
    fn figures(&self, others: [Option<&Profile>; 2]) -> Option<BTreeMap<Figure, f64>> {
        let made = others.map(|other| other.map(account));
        let accounts = [0, 1].map(|index| made[index].as_ref().unwrap_or(self.accounts[index]));
        let profiles = [0, 1].map(|index| others[index].unwrap_or(self.profiles[index]));
        let stations = [&self.found.baseline.station, &self.found.target.station];
        let stations: [Option<&StationFacts>; 2] = stations.map(Option::as_ref);
        let found = compare(profiles, accounts, self.labels, stations).ok()?;
        Some(figures(&found, self.found))
    }

    /// The same with another instead of one of them.
    fn with(&self, side: usize, other: &Profile) -> Option<BTreeMap<Figure, f64>> {
        let mut others = [None, None];
        others[side] = Some(other);
        self.figures(others)
    }
}

/// What is known of figures: what they are in other accounts of the same.
struct Known {
    /// Without each part of one of the two, or of both where repeats are pairs; each list is independent of the others. None where one
    /// of the accounts could not be made.
    without: Vec<Vec<BTreeMap<Figure, f64>>>,
    /// With the least and the largest cost of the probes that is possible.
    bounds: Option<[BTreeMap<Figure, f64>; 2]>,
}

impl Known {
    /// Half of the 95 % interval of what is made of figures.
    fn half(&self, of: impl Fn(&BTreeMap<Figure, f64>) -> Option<f64>) -> Option<f64> {
        let mut sum = Spread::known(0.0);
        for accounts in &self.without {
            sum = sum.plus(Spread::of(&accounts.iter().map(&of).collect::<Option<Vec<f64>>>()?)?);
        }
        let bounds = self.bounds.as_ref().and_then(|[low, high]| of(low).zip(of(high)));
        Some(sum.plus(Spread::known(bounds.map_or(0.0, |(low, high)| (high - low).abs() / 2.0))).half())
    }

    fn half_of_rows(&self, slots: &[Slot], end: Of) -> Option<f64> {
        self.half(|all| slots.iter().map(|slot| figure_of(all, &Figure::Row(*slot, end))).sum())
    }
}

/// A figure of an account. A row that is not there is nothing; what was not found at all cannot be told.
fn figure_of(all: &BTreeMap<Figure, f64>, figure: &Figure) -> Option<f64> {
    let missing = matches!(figure, Figure::Row(..) | Figure::Part(..)).then_some(0.0);
    all.get(figure).copied().or(missing)
}

/// Tells how sure the figures of an account of two profiles are, and which rows cannot be told apart.
pub(super) fn tell(found: &mut Explanation, profiles: [&Profile; 2], accounts: [&Account; 2], labels: &[String; 2]) {
    let wanted = figures(found, found);
    let known = known(&Again { profiles, accounts, labels, found });
    let mut halves: BTreeMap<Figure, f64> = BTreeMap::new();
    for (figure, value) in &wanted {
        // What is the same without each part, but for the last digits, was not told by them.
        let half = known.half(|all| figure_of(all, figure)).filter(|half| *half > 1e-9 * value.abs());
        halves.extend(half.map(|half| (figure.clone(), half)));
    }
    found.together = together::groups(found, |slots| known.half_of_rows(slots, Of::Change));
    for slots in &found.together {
        let all = [Of::Baseline, Of::Target, Of::Change].map(|of| (of, known.half_of_rows(slots, of)));
        halves.extend(all.into_iter().filter_map(|(of, half)| Some((Figure::Together(slots.clone(), of), half?))));
    }
    found.sure = Sure(halves);
}

/// Makes the account of two profiles again without each of their parts.
fn known(again: &Again<'_>) -> Known {
    let profiles = again.profiles;
    let even = match again.found.kind {
        WorkKind::RequestResponse => Even::Packets,
        WorkKind::Saturated | WorkKind::Stream => Even::Time,
    };
    let slices = profiles.map(|profile| profile.slices(even));
    let in_pairs = profiles.iter().zip(&slices).all(|(profile, slices)| profile.meta.parts.len() == slices.len())
        && slices[0].len() == slices[1].len();
    let all = |accounts: Vec<Option<BTreeMap<Figure, f64>>>| {
        accounts.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default()
    };
    let without = if in_pairs && slices[0].len() >= 3 {
        let pair = |(a, b)| {
            let others = [profiles[0].without(a), profiles[1].without(b)];
            again.figures(others.each_ref().map(Some))
        };
        vec![all(slices[0].iter().zip(&slices[1]).map(pair).collect())]
    } else {
        let of = |side: usize| {
            let without = slices[side].iter().map(|slice| again.with(side, &profiles[side].without(slice)));
            all(without.collect())
        };
        vec![of(0), of(1)]
    };
    Known { without, bounds: bounds(again) }
}

/// The figures with the least and the largest cost of the probes. It is not known whether what was not seen to grow since it was
/// measured did so, too; on one machine it is the one or the other in both profiles.
fn bounds(again: &Again<'_>) -> Option<[BTreeMap<Figure, f64>; 2]> {
    if !again.profiles.iter().any(|profile| profile.observer.has_interval()) {
        return None;
    }
    let of = |ns: fn(&Observer) -> f64| {
        let others = again.profiles.map(|profile| {
            let mut other = profile.clone();
            if other.observer.has_interval() {
                other.observer.ns_in_span_per_crossing = ns(&other.observer);
            }
            other
        });
        again.figures(others.each_ref().map(Some))
    };
    Some([of(|observer| observer.ns_in_span_low)?, of(|observer| observer.ns_in_span_high)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_steps_and_what_is_left_may_be_below_nothing() {
        let [rate, step] = [Figure::Predicted(Of::Target), Figure::Remainder(Of::Change)];
        let sure = Sure(BTreeMap::from([(rate.clone(), 30.0), (step.clone(), 30.0)]));
        assert_eq!((sure.interval(&rate, 10.0), sure.interval(&step, 10.0)), (Some([0.0, 40.0]), Some([-20.0, 40.0])));
        assert_eq!((sure.may_be_nothing(&step, 10.0), sure.may_be_nothing(&step, -40.0)), (Some(true), Some(false)));
        assert_eq!(sure.interval(&Figure::Share, 1.0), None);
        let other = Figure::Row(Slot::OtherWork, Of::Target);
        let sure = Sure(BTreeMap::from([(other.clone(), 30.0)]));
        assert_eq!(sure.interval(&other, -40.0), Some([-70.0, -10.0]), "the target has less of it");
    }
}
