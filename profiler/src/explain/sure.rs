//! How sure the figures of an account are: the whole account is made again without each part of a recording, and each figure's
//! interval comes from what it differs by (jackknife). So every figure has one by the same rule, whatever it is made of.
//!
//! The parts are slices of the recording, or recordings where several were merged. Repeats that were made in turns are pairs: what
//! disturbs one disturbs the other, and each pair is left out as one.

use std::collections::BTreeMap;

use super::{Cause, Explanation, Side, Slot, WorkKind, compare, station::StationFacts};
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
        let steps = matches!(self, Self::Row(_, Of::Change) | Self::Total(Of::Change));
        steps || matches!(self, Self::Remainder(_) | Self::Share)
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

/// The spread of each of `wanted` over accounts; nothing where one of them could not be made.
fn spreads(wanted: &BTreeMap<Figure, f64>, without: &[Option<BTreeMap<Figure, f64>>]) -> BTreeMap<Figure, Spread> {
    let of = |figure: &Figure| -> Option<Spread> {
        // A row that is not there is nothing; what was not found at all cannot be told.
        let missing = matches!(figure, Figure::Row(..) | Figure::Part(..)).then_some(0.0);
        let values = without.iter().map(|found| found.as_ref()?.get(figure).copied().or(missing));
        Spread::of(&values.collect::<Option<Vec<f64>>>()?)
    };
    wanted.keys().filter_map(|figure| Some((figure.clone(), of(figure)?))).collect()
}

/// How sure the figures of an account of two profiles are.
pub(super) fn sure(
    found: &Explanation,
    profiles: [&Profile; 2],
    accounts: [&Account; 2],
    labels: &[String; 2],
) -> Sure {
    let wanted = figures(found, found);
    let again = Again { profiles, accounts, labels, found };
    let even = match found.kind {
        WorkKind::RequestResponse => Even::Packets,
        WorkKind::Saturated | WorkKind::Stream => Even::Time,
    };
    let slices = profiles.map(|profile| profile.slices(even));
    let in_pairs = profiles.iter().zip(&slices).all(|(profile, slices)| profile.meta.parts.len() == slices.len())
        && slices[0].len() == slices[1].len();
    let sums: Vec<BTreeMap<Figure, Spread>> = if in_pairs && slices[0].len() >= 3 {
        let pair = |(a, b)| {
            let others = [profiles[0].without(a), profiles[1].without(b)];
            again.figures(others.each_ref().map(Some))
        };
        vec![spreads(&wanted, &slices[0].iter().zip(&slices[1]).map(pair).collect::<Vec<_>>())]
    } else {
        let of = |side: usize| {
            let without = slices[side].iter().map(|slice| again.with(side, &profiles[side].without(slice)));
            spreads(&wanted, &without.collect::<Vec<_>>())
        };
        vec![of(0), of(1)]
    };
    let correction = correction(&again);
    let half = |figure: &Figure| -> Option<f64> {
        let mut sum = Spread::known(0.0);
        for spreads in &sums {
            sum = sum.plus(*spreads.get(figure)?);
        }
        let of_correction = correction.as_ref().and_then(|halves| halves.get(figure)).copied();
        sum = sum.plus(Spread::known(of_correction.unwrap_or(0.0)));
        Some(sum.half())
    };
    // What is the same without each part, but for the last digits, was not told by them.
    let differs = |value: f64, half: &f64| *half > 1e-9 * value.abs();
    let known =
        |(figure, value): (&Figure, &f64)| Some((figure.clone(), half(figure).filter(|half| differs(*value, half))?));
    Sure(wanted.iter().filter_map(known).collect())
}

/// By how much figures change within what is known of the probes' own cost. It is not known whether what was not seen to grow
/// since it was measured did so, too; on one machine it is the one or the other in both profiles.
fn correction(again: &Again<'_>) -> Option<BTreeMap<Figure, f64>> {
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
    let (low, high) = (of(|observer| observer.ns_in_span_low)?, of(|observer| observer.ns_in_span_high)?);
    let half = |(figure, low): (Figure, f64)| {
        let half = (high.get(&figure)? - low).abs() / 2.0;
        Some((figure, half))
    };
    Some(low.into_iter().filter_map(half).collect())
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
    }
}
