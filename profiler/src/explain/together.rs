//! Rows that are shown as one, because too few samples tell them apart.
//!
//! CPU samples split a span over its layers. Where they are few, one layer gets what the other lacks, and the next recording has it
//! the other way round; what both took together is known far better. So layers whose sum is known twice as well as the worse known of
//! them are one row. Nothing is lost: JSON has all rows, and the sums.

use super::{Explanation, Figure, Of, Row, RowKind, Slot};

/// The sum of two is known better than the worse of both by this factor where they cannot be told apart.
const TOLD: f64 = 0.5;
/// A row that is known within this part of the difference is a row of its own.
const SMALL: f64 = 0.02;

/// A row as it is shown: one, or several together.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// What it stands for.
    pub slots: Vec<Slot>,
    /// In the baseline.
    pub baseline: i64,
    /// In the target.
    pub target: i64,
}

impl Shown {
    /// The step.
    pub fn delta(&self) -> i64 {
        self.target - self.baseline
    }

    /// What is known of it.
    pub fn figure(&self, of: Of) -> Figure {
        match self.slots[..] {
            [slot] => Figure::Row(slot, of),
            _ => Figure::Together(self.slots.clone(), of),
        }
    }
}

impl Explanation {
    /// The rows as they are shown, in their order.
    pub fn shown(&self) -> Vec<Shown> {
        let rows = &self.waterfall.rows;
        let group = |slot: Slot| self.together.iter().find(|slots| slots.contains(&slot));
        let first = |row: &&Row| group(row.slot).is_none_or(|slots| slots[0] == row.slot);
        let shown = |row: &Row| {
            let slots = group(row.slot).cloned().unwrap_or_else(|| vec![row.slot]);
            let sum = |value: fn(&Row) -> i64| rows.iter().filter(|row| slots.contains(&row.slot)).map(value).sum();
            Shown { baseline: sum(|row| row.baseline.value), target: sum(|row| row.target.value), slots }
        };
        rows.iter().filter(first).map(shown).collect()
    }

    /// The layers of a row in output.
    pub fn name(&self, shown: &Shown) -> String {
        let rows = self.waterfall.rows.iter().filter(|row| shown.slots.contains(&row.slot));
        rows.map(|row| self.waterfall.name(row)).collect::<Vec<_>>().join(" + ")
    }
}

/// Which rows are shown together, given half of the interval of the step of some of them.
pub(super) fn groups(found: &Explanation, half: impl Fn(&[Slot]) -> Option<f64>) -> Vec<Vec<Slot>> {
    let small = SMALL * found.waterfall.delta().unsigned_abs() as f64;
    let step = |slots: &[Slot]| {
        found.waterfall.rows.iter().filter(|row| slots.contains(&row.slot)).map(Row::delta).sum::<i64>() as f64
    };
    let split = |row: &&Row| matches!(row.slot, Slot::Layer(_, RowKind::Service | RowKind::Cpu));
    let rows = found.waterfall.rows.iter().filter(split).map(|row| row.slot);
    untold(rows, small, |one, other| one.kind() == other.kind(), step, half)
}

/// Which of some rows cannot be told apart: a step is not clear, and the sum is known far better than the worse of both. `small`:
/// what is known within so much stands for itself; `alike`: which may be one row at all; `step` and `half` tell the step of a sum and half
/// of its interval.
pub fn untold<T: Clone + Ord>(
    rows: impl Iterator<Item = T>,
    small: f64,
    alike: impl Fn(&T, &T) -> bool,
    step: impl Fn(&[T]) -> f64,
    half: impl Fn(&[T]) -> Option<f64>,
) -> Vec<Vec<T>> {
    let mut groups: Vec<(Vec<T>, f64)> = rows
        .filter_map(|row| {
            let alone = vec![row];
            let half = half(&alone)?;
            Some((alone, half))
        })
        .collect();
    loop {
        let mut best: Option<(f64, usize, usize, Vec<T>, f64)> = None;
        for (at, (first, one)) in groups.iter().enumerate() {
            for (other, (second, two)) in groups.iter().enumerate().skip(at + 1) {
                let unclear = step(first).abs() <= *one || step(second).abs() <= *two;
                if !alike(&first[0], &second[0]) || one.max(*two) <= small || !unclear {
                    continue;
                }
                let mut both = [&first[..], second].concat();
                both.sort_unstable();
                let Some(sum) = half(&both) else { continue };
                let part = sum / one.max(*two);
                if part < best.as_ref().map_or(TOLD, |best| best.0) {
                    best = Some((part, at, other, both, sum));
                }
            }
        }
        let Some((_, at, other, both, sum)) = best else { break };
        groups.remove(other);
        groups[at] = (both, sum);
    }
    groups.into_iter().map(|group| group.0).filter(|slots| slots.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{Part, Waterfall, explain, testdata::*};
    use netstrata_common::Layer;

    /// What is known of rows whose errors are these in each of some recordings.
    fn half(errors: &[(Layer, [f64; 3])], slots: &[Slot]) -> Option<f64> {
        let of = |layer: Layer| slots.iter().any(|slot| matches!(slot, Slot::Layer(own, _) if *own == layer));
        let sum = |at: usize| errors.iter().filter(|error| of(error.0)).map(|error| error.1[at]).sum::<f64>();
        Some((0..3).map(|at| sum(at).powi(2)).sum::<f64>().sqrt())
    }

    fn found(steps: &[(Layer, i64)]) -> Explanation {
        let mut found = explain(&rr(1, 1e9 / 7000.0), &rr(2, 1e9 / 8000.0), &labels()).expect("the test has it");
        let row = |(layer, step): &(Layer, i64)| Row {
            slot: Slot::Layer(*layer, RowKind::Service),
            baseline: Part::plain(100),
            target: Part::plain(100 + step),
        };
        found.waterfall = Waterfall::new(10_000, 11_000, steps.iter().map(row).collect(), "remainder");
        found
    }

    #[test]
    fn layers_whose_errors_cancel_are_one_row_and_others_are_not() {
        let steps = [(Layer::Tcp, -900), (Layer::Ip, 1000), (Layer::Bridge, 800), (Layer::Veth, 100)];
        let mut found = found(&steps);
        let errors = [
            (Layer::Tcp, [900.0, -900.0, 50.0]),
            (Layer::Ip, [-880.0, 910.0, -30.0]),
            (Layer::Bridge, [300.0, 200.0, 100.0]),
            (Layer::Veth, [10.0, 0.0, 0.0]),
        ];
        found.together = groups(&found, |slots| half(&errors, slots));
        let shown = found.shown();
        let told: Vec<(String, i64)> = shown.iter().map(|row| (found.name(row), row.delta())).collect();
        assert_eq!(told, [("tcp + ip".into(), 100), ("bridge".into(), 800), ("veth".into(), 100)]);
        assert!(matches!(shown[0].figure(Of::Change), Figure::Together(..)));
        assert_eq!(shown.iter().map(Shown::delta).sum::<i64>(), 1000, "of all rows");
    }

    #[test]
    fn layers_that_are_known_well_or_not_at_all_stay_apart() {
        let steps = [(Layer::Tcp, -900), (Layer::Ip, 1000)];
        let found = found(&steps);
        let apart = [(Layer::Tcp, [15.0, -15.0, 0.0]), (Layer::Ip, [-15.0, 15.0, 0.0])];
        assert!(
            groups(&found, |slots| half(&apart, slots)).is_empty(),
            "each is known within a small part of the whole"
        );
        let clear = [(Layer::Tcp, [300.0, -300.0, 0.0]), (Layer::Ip, [-300.0, 300.0, 0.0])];
        assert!(groups(&found, |slots| half(&clear, slots)).is_empty(), "both steps are clear");
        assert!(groups(&found, |_| None).is_empty());
    }
}
