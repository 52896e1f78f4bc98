//! Steps from one total to another that sum exactly.

use netstrata_common::Layer;

use crate::analysis::SpanKind;

/// What a layer's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKind {
    /// A CPU works on the packet.
    Service,
    /// The packet waits.
    Wait,
    /// CPU time of a station.
    Cpu,
}

impl RowKind {
    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Wait => "wait",
            Self::Cpu => "cpu",
        }
    }
}

impl From<SpanKind> for RowKind {
    fn from(kind: SpanKind) -> Self {
        match kind {
            SpanKind::Service => Self::Service,
            SpanKind::Wait => Self::Wait,
        }
    }
}

/// What a row of a waterfall stands for, in the order of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// A layer.
    Layer(Layer, RowKind),
    /// The application's own time between a read and its next send.
    Turnaround,
    /// Ending a connection and setting up the next one, without what its packets took.
    Connection,
    /// What a transaction takes without what was seen of it: it goes on beyond a device of this host.
    Beyond,
    /// What few transactions take that are far longer than most, as the benchmark measured it.
    Delays,
    /// What other work, none of the traffic's, took of the station's CPUs.
    OtherWork,
    /// Time or samples that no layer has.
    Unattributed,
    /// The station was more or less busy than the baseline's.
    Utilisation,
}

impl Slot {
    /// The layer in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layer(layer, _) => layer.name(),
            Self::Turnaround => Layer::Userspace.name(),
            Self::Connection => "connection",
            Self::Beyond => "beyond",
            Self::Delays => "rare delays",
            Self::OtherWork => "other work",
            Self::Unattributed => "unattributed",
            Self::Utilisation => "utilisation",
        }
    }

    /// The kind in output; empty where there is none.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Layer(_, kind) => kind.name(),
            Self::Turnaround => RowKind::Service.name(),
            _ => "",
        }
    }

    /// Whether a layer answers for the row, or the benchmark itself, or work that was seen beside it, so that it counts as explained.
    pub fn is_explained(self) -> bool {
        matches!(self, Self::Layer(..) | Self::Turnaround | Self::Delays | Self::OtherWork)
    }
}

/// A value of one profile. Requests: nanoseconds per transaction. Streams: femtoseconds of wall time per byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// As recorded.
    pub raw: i64,
    /// Without what the probes themselves took.
    pub value: i64,
}

impl Part {
    /// A value that the probes have no part in.
    pub fn plain(value: i64) -> Self {
        Self { raw: value, value }
    }
}

/// The largest of a waterfall's values, in nanoseconds two years: a file may hold figures whose ratio is any number, and a hundred of
/// these can be added.
const MOST: f64 = (1_u64 << 56) as f64;

/// A value in whole units.
pub(super) fn whole(value: f64) -> i64 {
    value.round().clamp(-MOST, MOST) as i64
}

/// A step of a waterfall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it stands for.
    pub slot: Slot,
    /// In the baseline.
    pub baseline: Part,
    /// In the target.
    pub target: Part,
}

impl Row {
    /// The step.
    pub fn delta(&self) -> i64 {
        self.target.value - self.baseline.value
    }
}

/// What the rows leave of the totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// "remainder", or what is known to be in it.
    pub name: &'static str,
    /// The baseline's total without its rows.
    pub baseline: i64,
    /// The target's total without its rows.
    pub target: i64,
}

impl Remainder {
    /// What the rows do not explain, rounding included.
    pub fn delta(&self) -> i64 {
        self.target - self.baseline
    }
}

/// Steps from a baseline's total to a target's: `baseline + Σ rows + remainder = target`, in integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waterfall {
    /// The baseline's total.
    pub baseline: i64,
    /// The target's total.
    pub target: i64,
    /// The steps.
    pub rows: Vec<Row>,
    /// What they leave.
    pub remainder: Remainder,
    /// The devices beyond which a part of the work is that this host does not see; empty without any.
    pub beyond: String,
}

impl Waterfall {
    /// A waterfall; the remainder takes whatever the rows leave, so that it always closes.
    pub fn new(baseline: i64, target: i64, rows: Vec<Row>, name: &'static str) -> Self {
        let rest = |total: i64, part: fn(&Row) -> i64| total - rows.iter().map(part).sum::<i64>();
        let remainder = Remainder {
            name,
            baseline: rest(baseline, |row| row.baseline.value),
            target: rest(target, |row| row.target.value),
        };
        Self { baseline, target, rows, remainder, beyond: String::new() }
    }

    /// The layer of a row in output, with the device where it is one beyond.
    pub fn name(&self, row: &Row) -> String {
        match row.slot {
            Slot::Beyond => format!("{} {}", row.slot.name(), self.beyond),
            slot => slot.name().into(),
        }
    }

    /// The difference of the totals.
    pub fn delta(&self) -> i64 {
        self.target - self.baseline
    }

    /// Whether it sums.
    pub fn is_closed(&self) -> bool {
        self.baseline + self.rows.iter().map(Row::delta).sum::<i64>() + self.remainder.delta() == self.target
    }

    /// 1 − Σ |step that no layer answers for| / |difference|; none without a difference. Each such step counts by its size:
    /// errors of two rows that cancel are two errors. Negative where they are larger than the difference.
    pub fn explained_share(&self) -> Option<f64> {
        let others = self.rows.iter().filter(|row| !row.slot.is_explained()).map(Row::delta);
        let left: u64 = others.chain([self.remainder.delta()]).map(i64::unsigned_abs).sum();
        (self.delta() != 0).then(|| 1.0 - left as f64 / self.delta().unsigned_abs() as f64)
    }

    /// The same where each step that no layer answers for counts with the sign that it has in another waterfall: a sum, to which
    /// errors add nothing in the mean.
    pub fn explained_like(&self, other: &Self) -> Option<f64> {
        let sign = |slot: Option<Slot>| {
            let step = match slot {
                Some(slot) => other.rows.iter().find(|row| row.slot == slot).map_or(0, Row::delta),
                None => other.remainder.delta(),
            };
            // Nothing left is as sure as a little of either sign.
            if step < 0 { -1 } else { 1 }
        };
        let others = self.rows.iter().filter(|row| !row.slot.is_explained());
        let left: i64 = others.map(|row| sign(Some(row.slot)) * row.delta()).sum();
        let left = left + sign(None) * self.remainder.delta();
        (self.delta() != 0).then(|| 1.0 - left as f64 / (other.delta().signum() * self.delta()) as f64)
    }

    /// What the layers add and what they take away, each for itself.
    pub fn opposed(&self) -> (i64, i64) {
        let steps = self.rows.iter().filter(|row| row.slot.is_explained()).map(Row::delta);
        (steps.clone().filter(|step| *step > 0).sum(), steps.filter(|step| *step < 0).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_waterfall_closes(
            totals in (0i64..1 << 40, 0i64..1 << 40),
            parts in proptest::collection::vec((0i64..1 << 40, 0i64..1 << 40), 0..40),
        ) {
            let rows = parts.iter().map(|&(baseline, target)| Row {
                slot: Slot::Layer(Layer::Ip, RowKind::Service),
                baseline: Part::plain(baseline),
                target: Part::plain(target),
            });
            let waterfall = Waterfall::new(totals.0, totals.1, rows.collect(), "remainder");
            prop_assert!(waterfall.is_closed());
        }
    }

    #[test]
    fn only_layers_explain() {
        let row = |slot, target| Row { slot, baseline: Part::plain(0), target: Part::plain(target) };
        let share = |rows| Waterfall::new(100, 200, rows, "remainder").explained_share().expect("the test has it");
        assert_eq!(share(vec![row(Slot::Layer(Layer::Bridge, RowKind::Service), 100)]), 1.0);
        assert_eq!(share(vec![row(Slot::Turnaround, 60)]), 0.6);
        assert_eq!(share(vec![row(Slot::Unattributed, 100)]), 0.0);
        assert_eq!(share(vec![row(Slot::Utilisation, 40), row(Slot::Layer(Layer::Ip, RowKind::Cpu), 60)]), 0.6);
        assert_eq!(share(vec![row(Slot::Layer(Layer::Ip, RowKind::Cpu), -50)]), -0.5);
        assert_eq!(share(vec![row(Slot::Beyond, 40), row(Slot::Layer(Layer::Ip, RowKind::Wait), 60)]), 0.6);
        assert_eq!(Waterfall::new(1, 1, vec![], "remainder").explained_share(), None);
    }

    #[test]
    fn a_share_of_which_nothing_is_left_differs_with_the_accounts() {
        let row = |target| Row {
            slot: Slot::Layer(Layer::Ip, RowKind::Service),
            baseline: Part::plain(0),
            target: Part::plain(target),
        };
        let [all, more, less] = [100, 110, 90].map(|ns| Waterfall::new(100, 200, vec![row(ns)], "remainder"));
        let share = |found: &Waterfall| found.explained_like(&all).expect("the test has it");
        assert_eq!((share(&all), share(&more), share(&less)), (1.0, 1.1, 0.9));
    }

    #[test]
    fn errors_do_not_cancel_and_opposite_layers_are_told_apart() {
        let row = |slot, target| Row { slot, baseline: Part::plain(0), target: Part::plain(target) };
        let layer = Slot::Layer(Layer::Ip, RowKind::Service);
        // 30 that no layer has, and 30 that the rows have too much.
        let found = Waterfall::new(100, 200, vec![row(layer, 100), row(Slot::Unattributed, 30)], "remainder");
        assert_eq!(found.remainder.delta(), -30);
        assert!((found.explained_share().expect("the test has it") - 0.4).abs() < 1e-9);
        let rows = vec![row(layer, 900), row(Slot::Turnaround, -800), row(Slot::Utilisation, 20)];
        let found = Waterfall::new(100, 200, rows, "remainder");
        assert_eq!(found.opposed(), (900, -800));
        assert!((found.explained_share().expect("the test has it") - 0.6).abs() < 1e-9);
    }
}
