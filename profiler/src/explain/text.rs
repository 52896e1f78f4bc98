//! The account for a terminal of 100 columns.

use std::fmt::Write as _;

use anyhow::Result;

use super::{
    Cause, Explanation, Proof, Side, WorkKind,
    parts::{self, grouped},
};
use crate::{
    output::{clip, wrapped},
    report::text::{benchmark_line, count},
};

const BAR: usize = 28;
/// It is said if layers change against the difference by more than this part of it.
const OPPOSED: f64 = 1.0;

/// The account as text.
pub(super) fn render(found: &Explanation) -> Result<String> {
    let mut out = String::new();
    head(&mut out, found)?;
    waterfall(&mut out, found)?;
    parts::table(&mut out, found)?;
    verdict(&mut out, found)?;
    Ok(out)
}

pub(super) fn rate(kind: WorkKind, value: Option<f64>) -> String {
    match (kind, value) {
        (_, None) => "-".into(),
        (WorkKind::RequestResponse, Some(value)) => format!("{} /s", count(value.round() as u64)),
        (WorkKind::Stream, Some(value)) => format!("{:.2} Gbit/s", value / 1e9),
    }
}

fn head(out: &mut String, found: &Explanation) -> std::fmt::Result {
    let (first, second) = (&found.baseline, &found.target);
    let what = match found.kind {
        WorkKind::RequestResponse => "request/response",
        WorkKind::Stream => "stream",
    };
    lines(out, "", &format!("{} against {}: {what}", second.label, first.label))?;
    for side in [first, second] {
        if let Some(benchmark) = &side.benchmark {
            lines(out, "  ", &format!("{}: {}", side.label, benchmark_line(benchmark)))?;
        }
    }
    writeln!(out)?;
    let mut row = |name: &str, first: String, second: String, more: String| {
        let line = format!("  {name:<38} {:>18} {:>18} {more:>12}", clip(&first, 18), clip(&second, 18));
        writeln!(out, "{}", line.trim_end())
    };
    let change = |first: Option<f64>, second: Option<f64>| match (first, second) {
        (Some(first), Some(second)) if first > 0.0 => format!("{:+.1} %", 100.0 * (second / first - 1.0)),
        _ => String::new(),
    };
    row("", first.label.clone(), second.label.clone(), String::new())?;
    let mut rates = |name: &str, of: fn(&Side) -> Option<f64>| {
        let (first, second) = (of(first), of(second));
        if first.is_none() && second.is_none() {
            return Ok(());
        }
        row(name, rate(found.kind, first), rate(found.kind, second), change(first, second))
    };
    rates("measured", |side| side.measured)?;
    rates("  while journeys were observed", |side| side.recorded)?;
    rates("predicted from its own spans", |side| side.predicted)?;
    if first.predicted != first.predicted_raw || second.predicted != second.predicted_raw {
        rates("  the same, probes included", |side| side.predicted_raw)?;
    }
    let from = match found.kind {
        WorkKind::RequestResponse => "predicted: baseline + layers",
        WorkKind::Stream => "predicted: CPU/byte, baseline's use",
    };
    row(
        from,
        "-".into(),
        rate(found.kind, second.predicted_from_baseline),
        change(first.measured, second.predicted_from_baseline),
    )?;
    if let [Some(a), Some(b)] = [&first.station, &second.station] {
        row("busiest station", a.name.clone(), b.name.clone(), String::new())?;
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        row("  its utilisation", percent(a.utilisation), percent(b.utilisation), String::new())?;
        let cost = |ns: f64| format!("{ns:.4} ns");
        let (x, y) = (a.cpu_ns_per_byte, b.cpu_ns_per_byte);
        row("  its CPU time per byte", cost(x), cost(y), change(Some(x), Some(y)))?;
        row("  of it in softirqs", percent(a.softirq_share), percent(b.softirq_share), String::new())?;
    }
    if !first.cpus.is_empty() && !second.cpus.is_empty() {
        row("busy share of each CPU", busy(first), busy(second), String::new())?;
    }
    row("trust", first.verdict.name().into(), second.verdict.name().into(), String::new())?;
    reasons(out, [first, second])
}

/// Why a recording is not to be trusted as it is.
fn reasons(out: &mut String, sides: [&Side; 2]) -> std::fmt::Result {
    for side in sides {
        for reason in &side.reasons {
            lines(out, "    ", &format!("{}: {reason}", side.label))?;
        }
    }
    Ok(())
}

/// The busy shares of a side's CPUs, as far as they fit.
fn busy(side: &Side) -> String {
    let shares: Vec<String> = side.cpus.iter().map(|(_, share)| format!("{:.0}", 100.0 * share)).collect();
    if shares.len() > 4 { format!("{} CPUs", shares.len()) } else { format!("{} %", shares.join(", ")) }
}

fn value(kind: WorkKind, number: i64) -> String {
    match kind {
        WorkKind::RequestResponse => grouped(number),
        // To the shown digit first: no "-0.00000".
        WorkKind::Stream => format!("{:.5}", ((number as f64 / 10.0).round() + 0.0) / 1e5),
    }
}

fn signed(kind: WorkKind, number: i64) -> String {
    let text = value(kind, number);
    let zero = text.chars().all(|letter| matches!(letter, '0' | '.'));
    format!("{}{text}", if number > 0 && !zero { "+" } else { "" })
}

fn waterfall(out: &mut String, found: &Explanation) -> std::fmt::Result {
    let (kind, fall) = (found.kind, &found.waterfall);
    let title = match kind {
        WorkKind::RequestResponse => &format!("Time of one transaction of one pair, in ns ({})", parts::of_what(found)),
        WorkKind::Stream => "Wall time per byte, in ns (the busiest station's CPU time over its utilisation)",
    };
    writeln!(out, "\n{title}")?;
    let unit = if kind == WorkKind::Stream { "Gbit/s" } else { "" };
    let line = |cells: [&str; 6], bar: &str| {
        let [layer, work, first, second, delta, rate] = cells;
        let line = format!("  {layer:<14} {work:<8} {first:>10} {second:>10} {delta:>10} {rate:>8}  {bar}");
        format!("{}\n", line.trim_end())
    };
    out.push_str(&line(["layer", "kind", "baseline", "target", "change", unit], ""));
    let rate = |total: i64| match kind {
        WorkKind::Stream if total > 0 => format!("{:.2}", 8e6 / total as f64),
        _ => String::new(),
    };
    let ends =
        if found.baseline.measured.is_some() && found.target.measured.is_some() { "measured" } else { "account" };
    out.push_str(&line(["baseline", ends, &value(kind, fall.baseline), "", "", &rate(fall.baseline)], ""));
    let deltas = fall.rows.iter().map(|row| row.delta()).chain([fall.remainder.delta()]);
    let largest = deltas.map(i64::unsigned_abs).max().unwrap_or(0).max(1);
    let bar = |delta: i64| {
        let cells = (delta.unsigned_abs() as f64 / largest as f64 * BAR as f64).round() as usize;
        if delta < 0 { "-".repeat(cells) } else { "#".repeat(cells) }
    };
    let mut total = fall.baseline;
    for row in fall.rows.iter().filter(|row| row.baseline.value != 0 || row.target.value != 0) {
        total += row.delta();
        let name = fall.name(row);
        let (name, work) = if name.len() > 14 { (name, "") } else { (name, row.slot.kind()) };
        out.push_str(&line(
            [
                &clip(&name, 23),
                work,
                &value(kind, row.baseline.value),
                &value(kind, row.target.value),
                &signed(kind, row.delta()),
                &rate(total),
            ],
            &bar(row.delta()),
        ));
    }
    let rest = &fall.remainder;
    total += rest.delta();
    let cells = [value(kind, rest.baseline), value(kind, rest.target), signed(kind, rest.delta())];
    let name = if rest.name.len() > 23 {
        writeln!(out, "  {}", rest.name)?;
        ""
    } else {
        rest.name
    };
    out.push_str(&line([name, "", &cells[0], &cells[1], &cells[2], &rate(total)], &bar(rest.delta())));
    let delta = signed(kind, fall.delta());
    out.push_str(&line(["target", ends, "", &value(kind, fall.target), &delta, &rate(fall.target)], ""));
    Ok(())
}

fn verdict(out: &mut String, found: &Explanation) -> std::fmt::Result {
    writeln!(out)?;
    match found.explained_share {
        Some(share) if share >= 0.0 => {
            writeln!(out, "Layers answer for {:.0} % of the measured difference.", 100.0 * share)?;
            opposed(out, found)?;
        }
        Some(_) => {
            writeln!(out, "The layers do not explain the measured difference: they miss it by more than its size.")?
        }
        None if found.no_difference => writeln!(
            out,
            "The two do not differ measurably (less than 2 %): the rows show where time moved, not a loss."
        )?,
        None => writeln!(out, "Nothing was measured on both sides: the rows are the profiles' own account.")?,
    }
    for note in &found.notes {
        lines(out, "note: ", note)?;
    }
    if found.causes.is_empty() {
        return writeln!(out, "\nCauses: none was found");
    }
    writeln!(out, "\nCauses")?;
    for Cause { name, sentence, figures } in &found.causes {
        lines(out, "  ", &format!("{}: {sentence}", name.name()))?;
        for figure in figures {
            writeln!(
                out,
                "      {}: {} -> {}",
                figure.name,
                amount(figure, figure.baseline),
                amount(figure, figure.target)
            )?;
        }
    }
    Ok(())
}

/// Layers that add and layers that take away are told where a small difference is the rest of large ones.
fn opposed(out: &mut String, found: &Explanation) -> std::fmt::Result {
    let ((slower, faster), all) = (found.waterfall.opposed(), found.waterfall.delta());
    let less = if all < 0 { slower } else { -faster };
    if less as f64 <= OPPOSED * all.unsigned_abs() as f64 {
        return Ok(());
    }
    let step = |number: i64| signed(found.kind, number);
    writeln!(out, "They add {} and take away {}: the difference is what is left of both.", step(slower), step(faster))
}

fn amount(figure: &Proof, value: f64) -> String {
    match figure.unit {
        "share" => format!("{:.1} %", 100.0 * value),
        "ns" | "B" => format!("{} {}", count(value.round() as u64), figure.unit),
        "1/s" => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Writes a sentence in lines, the second and later ones indented.
fn lines(out: &mut String, lead: &str, sentence: &str) -> std::fmt::Result {
    out.write_str(&wrapped(lead, 6, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        explain::{explain, testdata::*},
        output::WIDTH,
    };

    #[test]
    fn the_text_fits_a_terminal_and_tells_what_it_knows() {
        let mut silent = [rr(1, 90_000.0), rr(3, 70_000.0)];
        for profile in &mut silent {
            profile.turnarounds.clear();
        }
        let rows = [(1, TCP, 700), (1, GSO, 60), (2, TCP, 300)];
        for (first, second) in [
            (rr(1, 100_000.0), rr(3, 80_000.0)),
            (silent[0].clone(), silent[1].clone()),
            (stream(&[(1, TCP, 500)]), stream(&rows)),
        ] {
            let labels = ["a".repeat(40), "b".repeat(40)];
            let found = explain(&first, &second, &labels).expect("the test has it");
            let text = render(&found).expect("the test has it");
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
                assert_eq!(line, line.trim_end());
            }
            assert!(text.contains("Causes"));
        }
    }

    #[test]
    fn a_difference_too_small_to_split_is_said() {
        let found = explain(&rr(1, 20_000.0), &rr(2, 19_900.0), &labels()).expect("the test has it");
        let text = render(&found).expect("the test has it");
        assert!(text.contains("do not differ measurably"), "{text}");
    }

    #[test]
    fn a_relays_legs_and_processes_are_told_and_a_plain_transactions_are_not() {
        let plain = explain(&rr(1, 1e9 / 7000.0), &rr(2, 1e9 / 8000.0), &labels()).expect("the test has it");
        let text = render(&plain).expect("the test has it");
        assert!(
            text.contains("(two packets, two turnarounds)") && !text.contains("by packets and processes"),
            "{text}"
        );
        let found = explain(&rr(1, 1e9 / 7000.0), &relayed(1e9 / 20_000.0), &labels()).expect("the test has it");
        let text = render(&found).expect("the test has it");
        for wanted in
            ["packets that reach a reader: 2 against 4", "netns:2 -> netns:2", "0 -> 2", "a process in netns:2"]
        {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
}
