//! A check for a terminal: the verdict, the total, what changed, and what can be decided with this spread.

use std::fmt::Write as _;

use super::{
    figures::{By, Group},
    judge::{Figure, Judgment, Of, percent},
    rule::{ERROR, TAIL, Verdict, look_from},
};
use crate::{
    explain::Cause,
    output::{clip, count, printable, wrapped},
};

/// Columns of a figure's name.
const NAME: usize = 32;

/// The check as text.
pub(super) fn render(found: &Judgment) -> anyhow::Result<String> {
    let mut out = wrapped("", 2, &printable(&headline(found)));
    let [baseline, target] = &found.labels;
    out += &wrapped("  ", 2, &printable(&format!("{target} against {baseline}; {}", found.work)));
    out += &wrapped("  ", 2, &rule(found));
    writeln!(out, "\n{}", heading("Total"))?;
    let others = found.others.iter().filter(|figure| figure.key.group == Group::Other);
    for figure in std::iter::once(&found.total).chain(others) {
        writeln!(out, "{}", line(figure))?;
    }
    let changed = changed(found);
    writeln!(out, "\n{}", heading("What changed (all together err as seldom as the total)"))?;
    if changed.is_empty() {
        writeln!(out, "  nothing that could be told")?;
    }
    for figure in changed {
        writeln!(out, "{}", line(figure))?;
    }
    let count = |verdict| found.judged().filter(|figure| figure.verdict == verdict).count();
    writeln!(out, "  {} others are ok, {} undecided", count(Verdict::Ok), count(Verdict::Undecided))?;
    if !found.causes.is_empty() {
        writeln!(out, "\nWhat the target does that the baseline does not (netstrata explain tells more)")?;
        for cause in &found.causes {
            out += &wrapped("  ", 4, &printable(&self::cause(cause)));
        }
    }
    writeln!(out, "\nWhat can be decided")?;
    if let Some(arithmetic) = found.arithmetic() {
        out += &wrapped("  ", 2, &arithmetic);
    }
    if let Some(needed) = needed(found) {
        out += &wrapped("  ", 2, &needed);
    }
    for note in &found.notes {
        out += &wrapped("  ", 4, &printable(note));
    }
    Ok(out)
}

/// The verdict in a line.
pub(super) fn headline(found: &Judgment) -> String {
    let total = &found.total;
    let verdict = found.verdict.name();
    let change = total.change().map_or("how much it changed is not known".into(), |change| signed(change, total.of));
    let interval = total.interval().map_or(String::new(), |ends| format!(" ({})", range(ends, total.of)));
    let mut text = format!("{verdict}: {} {change}{interval}", total.key.title());
    let changed = changed(found);
    let names: Vec<String> = changed.iter().take(3).map(|figure| figure.key.title()).collect();
    if !names.is_empty() {
        let rest = changed.len() - names.len();
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let _ = write!(text, "; changed: {}{rest}", names.join(", "));
    }
    text
}

/// What changed, without the total by another instrument.
pub(super) fn changed(found: &Judgment) -> Vec<&Figure> {
    found.changed().into_iter().filter(|figure| figure.key.group != Group::Other).collect()
}

/// What it would take where it is not decided.
pub(super) fn needed(found: &Judgment) -> Option<String> {
    if found.verdict != Verdict::Undecided {
        return None;
    }
    let pairs = found.total.pairs_needed?;
    Some(match (look_from(pairs), look_from(found.looked_at as f64 + 1.0)) {
        (Some(enough), Some(next)) => {
            format!("undecided: {} pairs would decide if all goes on like this", enough.max(next))
        }
        (Some(_), None) => "undecided: there are no more looks; record longer, or decide on a larger threshold".into(),
        (None, _) => {
            format!("undecided: about {pairs:.0} pairs like these would decide, more than there are looks for")
        }
    })
}

/// A cause with the first figure that proves it.
pub(super) fn cause(cause: &Cause) -> String {
    let proof = cause.figures.first().map_or(String::new(), |proof| {
        let unit =
            if proof.unit.is_empty() || proof.unit == "share" { String::new() } else { format!(" {}", proof.unit) };
        format!(" ({}: {} -> {}{unit})", proof.name, number(proof.baseline), number(proof.target))
    });
    format!("{}: {}{proof}", cause.name.name(), cause.sentence)
}

/// How it was judged.
pub(super) fn rule(found: &Judgment) -> String {
    let of = match found.by {
        By::Pairs if found.looked_at > 0 => format!("{} pairs", found.looked_at),
        By::Pairs => format!("{} pairs", found.recordings[0].min(found.recordings[1])),
        By::Batches => "the batches of one recording of each".into(),
    };
    format!(
        "threshold {}, {of}, intervals of {:.1} %: {} chance of an error on either side over all looks",
        percent(found.threshold),
        100.0 - 200.0 * TAIL,
        percent(ERROR)
    )
}

fn heading(title: &str) -> String {
    let columns = format!("{:>10} {:>10}  {:<34}", "baseline", "target", "change");
    // A long title takes a line.
    if title.len() > NAME + 2 {
        return format!("{title}\n{:width$}{columns}verdict", "", width = NAME + 2).trim_end().to_owned();
    }
    format!("{title:<width$}{columns}verdict", width = NAME + 2).trim_end().to_owned()
}

fn line(figure: &Figure) -> String {
    let change = figure.change().map_or("not known".into(), |change| signed(change, figure.of));
    let interval = figure.interval().map_or(String::new(), |ends| format!(" ({})", range(ends, figure.of)));
    let [baseline, target] = [figure.baseline, figure.target].map(number);
    let name = clip(&printable(&figure.key.title()), NAME - 1);
    format!(
        "  {name:<NAME$}{baseline:>10} {target:>10}  {:<34}{}",
        format!("{change}{interval}"),
        figure.verdict.name()
    )
    .trim_end()
    .to_owned()
}

/// A value with about four digits, thousands apart.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{}{}", if value < 0.0 { "-" } else { "" }, count(size.round() as u64)),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".into(),
        _ => format!("{value:.4}"),
    }
}

/// A change with its sign, and of what it is a part.
pub(super) fn signed(change: f64, of: Of) -> String {
    let text = ends(change, of);
    match of {
        Of::Itself => format!("{text} %"),
        Of::Total => format!("{text} % of all"),
        Of::Packet => format!("{text} each"),
    }
}

fn ends(change: f64, of: Of) -> String {
    let value = if of == Of::Packet { change } else { 100.0 * change };
    let digits = match value.abs() {
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    // No "-0.00".
    let scale = 10_f64.powi(digits);
    let value = (value * scale).round() / scale + 0.0;
    format!("{value:+.*}", digits as usize)
}

/// The ends of an interval.
pub(super) fn range([low, high]: [f64; 2], of: Of) -> String {
    format!("{} to {}", ends(low, of), ends(high, of))
}
