//! The account for a terminal of 100 columns.

use std::fmt::Write as _;

use anyhow::Result;

use super::{
    Cause, Explanation, Figure, Of, Proof, Side, WorkKind, parts,
    table::{self, signed},
};
use crate::{
    output::{clip, count, wrapped},
    report::text::benchmark_line,
};

/// It is said if layers change against the difference by more than this part of it.
const OPPOSED: f64 = 1.0;

/// The account as text.
pub(super) fn render(found: &Explanation) -> Result<String> {
    let mut out = String::new();
    head(&mut out, found)?;
    table::waterfall(&mut out, found)?;
    parts::table(&mut out, found)?;
    verdict(&mut out, found)?;
    Ok(out)
}

/// A rate, with half of its interval where that is known.
pub(super) fn rate(kind: WorkKind, value: Option<f64>, half: Option<f64>) -> String {
    let sure = |text: &dyn Fn(f64) -> String| half.map_or(String::new(), |half| format!(" ±{}", text(half)));
    let number = |value: f64| match kind {
        WorkKind::RequestResponse | WorkKind::Saturated => count(value.round() as u64),
        WorkKind::Stream => format!("{:.2}", value / 1e9),
    };
    let unit = match kind {
        WorkKind::RequestResponse | WorkKind::Saturated => "/s",
        WorkKind::Stream => "Gbit/s",
    };
    value.map_or("-".into(), |value| format!("{}{} {unit}", number(value), sure(&number)))
}

fn head(out: &mut String, found: &Explanation) -> std::fmt::Result {
    let (first, second) = (&found.baseline, &found.target);
    let what = match found.kind {
        WorkKind::RequestResponse => "request/response",
        WorkKind::Saturated => "request/response, limited by a full CPU",
        WorkKind::Stream => "stream",
    };
    lines(out, "", &format!("{} against {}: {what}", second.label, first.label))?;
    for side in [first, second] {
        if let Some(benchmark) = &side.benchmark {
            lines(out, "  ", &format!("{}: {}", side.label, benchmark_line(benchmark)))?;
        }
    }
    writeln!(out)?;
    row(out, "", [first.label.clone(), second.label.clone()], String::new())?;
    rates(out, found)?;
    station(out, found)?;
    if !first.cpus.is_empty() && !second.cpus.is_empty() {
        row(out, "busy share of each CPU", [busy(first), busy(second)], String::new())?;
    }
    row(out, "trust", [first, second].map(|side| side.verdict.name().into()), String::new())?;
    reasons(out, [first, second])
}

fn row(out: &mut String, name: &str, sides: [String; 2], more: String) -> std::fmt::Result {
    let [first, second] = sides.map(|text| clip(&text, 24));
    let line = format!("  {name:<32} {first:>24} {second:>24} {more:>10}");
    writeln!(out, "{}", line.trim_end())
}

fn change(first: Option<f64>, second: Option<f64>) -> String {
    match (first, second) {
        (Some(first), Some(second)) if first > 0.0 => format!("{:+.1} %", 100.0 * (second / first - 1.0)),
        _ => String::new(),
    }
}

/// What was measured and what is predicted.
fn rates(out: &mut String, found: &Explanation) -> std::fmt::Result {
    let (first, second) = (&found.baseline, &found.target);
    let mut both = |name: &str, of: fn(&Side) -> Option<f64>, figure: fn(Of) -> Figure| {
        let (first, second) = (of(first), of(second));
        if first.is_none() && second.is_none() {
            return Ok(());
        }
        let sides = [(first, Of::Baseline), (second, Of::Target)]
            .map(|(value, of)| rate(found.kind, value, found.sure.half(&figure(of))));
        row(out, name, sides, change(first, second))
    };
    both("measured", |side| side.measured, Figure::Measured)?;
    both("  while journeys were observed", |side| side.recorded, Figure::Recorded)?;
    both("predicted from its own spans", |side| side.predicted, Figure::Predicted)?;
    if first.predicted != first.predicted_raw || second.predicted != second.predicted_raw {
        both("  the same, probes included", |side| side.predicted_raw, Figure::PredictedRaw)?;
    }
    let from = match found.kind {
        WorkKind::RequestResponse => "predicted: baseline + layers",
        WorkKind::Saturated | WorkKind::Stream => "predicted: at the baseline's use",
    };
    let predicted = second.predicted_from_baseline;
    let text = rate(found.kind, predicted, found.sure.half(&Figure::FromBaseline));
    row(out, from, ["-".into(), text], change(first.measured, predicted))
}

/// Less of a CPU that other work took is not worth a line.
const SEEN_BESIDE: f64 = 0.001;

/// The busiest station of a stream.
fn station(out: &mut String, found: &Explanation) -> std::fmt::Result {
    let [Some(a), Some(b)] = [&found.baseline.station, &found.target.station] else { return Ok(()) };
    row(out, "busiest station", [a.name.clone(), b.name.clone()], String::new())?;
    let both = |figure: fn(Of) -> Figure, ends: [f64; 2], text: &dyn Fn(f64) -> String, unit: &str| {
        [(Of::Baseline, ends[0]), (Of::Target, ends[1])].map(|(of, value)| {
            let half = found.sure.half(&figure(of)).map_or(String::new(), |half| format!(" ±{}", text(half)));
            format!("{}{half} {unit}", text(value))
        })
    };
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let utilisation = both(Figure::Utilisation, [a.utilisation, b.utilisation], &percent, "%");
    row(out, "  its utilisation", utilisation, String::new())?;
    if a.others.max(b.others) >= SEEN_BESIDE {
        let others = both(Figure::OtherWork, [a.others, b.others], &percent, "%");
        row(out, "  other work on its CPUs", others, String::new())?;
    }
    let costs = [a.cpu_ns_each, b.cpu_ns_each];
    let stream = found.kind == WorkKind::Stream;
    let digits = if stream { 4 } else { 0 };
    let cost = both(Figure::CpuOfEach, costs, &|ns| format!("{ns:.digits$}"), "ns");
    let name = if stream { "  its CPU time per byte" } else { "  its CPU time per transaction" };
    row(out, name, cost, change(Some(costs[0]), Some(costs[1])))?;
    let softirqs = both(Figure::Softirqs, [a.softirq_share, b.softirq_share], &percent, "%");
    row(out, "  of it in softirqs", softirqs, String::new())
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

fn verdict(out: &mut String, found: &Explanation) -> std::fmt::Result {
    writeln!(out)?;
    match found.explained_share {
        // A share of which nothing tells how sure it is is none.
        Some(_) if found.sure.half(&Figure::Share).is_none() => unsure(out, found)?,
        Some(share) if share >= 0.0 => {
            unsure(out, found)?;
            writeln!(out, "Layers answer for {} of the measured difference.", found.percent(share))?;
            opposed(out, found)?;
        }
        Some(_) => {
            unsure(out, found)?;
            writeln!(out, "The layers do not explain the measured difference: they miss it by more than its size.")?
        }
        None if found.sure.is_unknown() => {
            unsure(out, found)?;
            nothing(out, found)?;
        }
        None => nothing(out, found)?,
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

/// Why there is no share.
fn nothing(out: &mut String, found: &Explanation) -> std::fmt::Result {
    if found.no_difference {
        return writeln!(
            out,
            "The two do not differ measurably (less than 2 %): the rows show where time moved, not a loss."
        );
    }
    writeln!(out, "Nothing was measured on both sides: the rows are the profiles' own account.")
}

/// What is to be known first: that the pair cannot be explained exactly, and what it takes.
fn unsure(out: &mut String, found: &Explanation) -> std::fmt::Result {
    let Some(half) = found.sure.half(&Figure::Share) else {
        return lines(
            out,
            "",
            "How sure this is cannot be told: the recordings are too short to hold three parts that were observed. Record for \
             longer, or merge several.",
        );
    };
    let Some(repeats) = found.repeats_needed() else { return Ok(()) };
    let longer = (repeats as f64 / found.recordings as f64).ceil();
    let sentence = format!(
        "This pair cannot be explained more exactly than ±{:.0} points: recordings {longer:.0} times as long, or {repeats} of each \
         (explain --baseline A1 A2 ... --target B1 B2 ...), would tell it within ±{:.0}.",
        100.0 * half,
        100.0 * super::SURE
    );
    lines(out, "", &sentence)
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
    fn that_nothing_tells_how_sure_it_is_is_said_also_where_nothing_was_measured() {
        let mut profiles = [rr(1, 90_000.0), rr(3, 70_000.0)];
        for profile in &mut profiles {
            profile.meta.benchmark = None;
        }
        let found = explain(&profiles[0], &profiles[1], &labels()).expect("the test has it");
        assert!(found.sure.is_unknown());
        let text = render(&found).expect("the test has it");
        assert!(text.contains("How sure this is cannot be told") && text.contains("Nothing was measured"), "{text}");
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
