//! The waterfall for a terminal: a row for each step, how sure it is, and a bar.

use std::fmt::Write as _;

use super::{
    Explanation, Figure, Of, Shown, WorkKind,
    parts::{self, grouped},
};
use crate::output::clip;

const BAR: usize = 18;
/// A name longer than this takes the column of the kind, too; one longer than both a line.
const NAME: usize = 14;
const LONG_NAME: usize = 23;

/// A value of the waterfall in its unit.
fn value(kind: WorkKind, number: i64) -> String {
    match kind {
        WorkKind::RequestResponse | WorkKind::Saturated => grouped(number),
        // To the shown digit first: no "-0.00000".
        WorkKind::Stream => format!("{:.5}", ((number as f64 / 10.0).round() + 0.0) / 1e5),
    }
}

/// A step of the waterfall in its unit.
pub(super) fn signed(kind: WorkKind, number: i64) -> String {
    let text = value(kind, number);
    let zero = text.chars().all(|letter| matches!(letter, '0' | '.'));
    format!("{}{text}", if number > 0 && !zero { "+" } else { "" })
}

/// The columns of a line.
struct Line<'a> {
    layer: &'a str,
    work: &'a str,
    values: [String; 3],
    sure: String,
    rate: String,
    bar: String,
}

impl Line<'_> {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { layer, work, values: [first, second, delta], sure, rate, bar } = self;
        let line =
            format!("  {layer:<NAME$} {work:<8} {first:>10} {second:>10} {delta:>10} {sure:>9} {rate:>8}  {bar}");
        writeln!(out, "{}", line.trim_end())
    }
}

/// What is the same for all lines.
struct Table<'a> {
    found: &'a Explanation,
    /// The largest step, which has the longest bar.
    largest: u64,
}

impl Table<'_> {
    /// Half of a figure's interval, where that is known.
    fn sure(&self, figure: &Figure) -> String {
        let half = self.found.sure.half(figure);
        half.map_or(String::new(), |half| format!("±{}", value(self.found.kind, half.round() as i64)))
    }

    fn may_be_nothing(&self, figure: &Figure, delta: i64) -> bool {
        self.found.sure.may_be_nothing(figure, delta as f64) == Some(true)
    }

    /// What a stream's bytes a second are where a wall time per byte is so much.
    fn rate(&self, total: i64) -> String {
        let shown = self.found.kind == WorkKind::Stream && total > 0;
        if shown { format!("{:.2}", 8e6 / total as f64) } else { String::new() }
    }

    fn step(
        &self,
        out: &mut String,
        [layer, work]: [&str; 2],
        ends: [i64; 2],
        figure: &Figure,
        total: i64,
    ) -> std::fmt::Result {
        let (kind, delta) = (self.found.kind, ends[1] - ends[0]);
        let letter = match delta {
            _ if self.may_be_nothing(figure, delta) => ".",
            delta if delta < 0 => "-",
            _ => "#",
        };
        let cells = (delta.unsigned_abs() as f64 / self.largest as f64 * BAR as f64).round() as usize;
        Line {
            layer,
            work,
            values: [value(kind, ends[0]), value(kind, ends[1]), signed(kind, delta)],
            sure: self.sure(figure),
            rate: self.rate(total),
            bar: letter.repeat(cells),
        }
        .write(out)
    }
}

/// The table, with its title.
pub(super) fn waterfall(out: &mut String, found: &Explanation) -> std::fmt::Result {
    let (kind, fall) = (found.kind, &found.waterfall);
    let title = match kind {
        WorkKind::RequestResponse => &format!("Time of one transaction of one pair, in ns ({})", parts::of_what(found)),
        WorkKind::Saturated => "Wall time per transaction, in ns (the full station's CPU time over its utilisation)",
        WorkKind::Stream => "Wall time per byte, in ns (the busiest station's CPU time over its utilisation)",
    };
    writeln!(out, "\n{title}")?;
    let shown = found.shown();
    let steps = shown.iter().map(Shown::delta).chain([fall.remainder.delta()]);
    let table = Table { found, largest: steps.map(i64::unsigned_abs).max().unwrap_or(0).max(1) };
    let unit = if kind == WorkKind::Stream { "Gbit/s" } else { "" };
    let values = ["baseline", "target", "change"].map(str::to_owned);
    Line { layer: "layer", work: "kind", values, sure: "95 %".into(), rate: unit.into(), bar: String::new() }
        .write(out)?;
    let measured = found.baseline.measured.is_some() && found.target.measured.is_some();
    let work = if measured { "measured" } else { "account" };
    let end =
        |layer, values, sure, total| Line { layer, work, values, sure, rate: table.rate(total), bar: String::new() };
    end("baseline", [value(kind, fall.baseline), String::new(), String::new()], String::new(), fall.baseline)
        .write(out)?;
    let (mut total, mut dotted) = (fall.baseline, false);
    for row in shown.iter().filter(|row| row.baseline != 0 || row.target != 0) {
        let (mut name, figure) = (found.name(row), row.figure(Of::Change));
        let mut work = row.slots[0].kind();
        if let [_] = row.slots[..] {
            name = clip(&name, LONG_NAME);
            work = if name.len() > NAME { "" } else { work };
        } else if name.len() > NAME {
            writeln!(out, "  {name}")?;
            name.clear();
        }
        total += row.delta();
        table.step(out, [&name, work], [row.baseline, row.target], &figure, total)?;
        dotted |= table.may_be_nothing(&figure, row.delta());
    }
    let rest = &fall.remainder;
    let name = if rest.name.len() > LONG_NAME {
        writeln!(out, "  {}", rest.name)?;
        ""
    } else {
        rest.name
    };
    let figure = Figure::Remainder(Of::Change);
    table.step(out, [name, ""], [rest.baseline, rest.target], &figure, total + rest.delta())?;
    dotted |= table.may_be_nothing(&figure, rest.delta());
    let sure = table.sure(&Figure::Total(Of::Change));
    end("target", [String::new(), value(kind, fall.target), signed(kind, fall.delta())], sure, fall.target)
        .write(out)?;
    if dotted {
        writeln!(out, "  dotted: a change that cannot be told from nothing")?;
    }
    if !found.together.is_empty() {
        writeln!(out, "  layers in one row: too few samples tell them apart")?;
    }
    Ok(())
}
