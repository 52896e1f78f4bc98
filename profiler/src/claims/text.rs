//! Claims for a terminal of 100 columns, and what is to be measured for them.

use std::path::Path;

use super::{
    Answer, Report,
    figures::{Figure, minutes, number},
    in_words,
    judge::{Estimated, Verdict},
    model::{Bound, Cell, Claim, Claimed, Test},
    plan::Plan,
    why::Why,
};
use crate::output::{printable, wrapped};

/// Where what is told of a claim begins.
const INDENT: usize = 4;
/// Columns of a verdict.
const HEAD: usize = 20;

/// The claims as text.
pub(super) fn render(report: &Report<'_>) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut source = "";
    for answer in &report.answers {
        if answer.claim.source != source {
            source = &answer.claim.source;
            out += &wrapped("", 0, &printable(source));
            out.push('\n');
        }
        out += &one(answer);
        out.push('\n');
    }
    out += &wrapped("", 0, &report.summary());
    for line in legend(report) {
        out += &wrapped("", 0, &line);
    }
    Ok(out)
}

/// What verdicts mean, and what they rest on.
pub(super) fn legend(report: &Report<'_>) -> Vec<String> {
    let [groups, reused] = report.groups;
    let mut lines = vec![format!("measured with {}", report.machine())];
    if groups > 0 {
        let kept = if reused > 0 {
            format!("; {reused} of {groups} sets of runs were kept from before (--fresh measures anew)")
        } else {
            String::new()
        };
        lines.push(format!("in {}{kept}", minutes(report.seconds)));
    }
    lines.push("intervals are those of 95 %; a claim is judged by the whole of its interval".into());
    lines
}

fn one(answer: &Answer<'_>) -> String {
    let claim = answer.claim;
    let head = format!("{:<HEAD$}", answer.finding.verdict.name().to_uppercase());
    let mut out = wrapped(&head, HEAD, &printable(&format!("{}: {}", claim.id, claim.statement)));
    for line in lines(answer) {
        out += &wrapped(&" ".repeat(INDENT), INDENT + 2, &line);
    }
    out
}

/// What is told of a claim, a sentence each.
pub(super) fn lines(answer: &Answer<'_>) -> Vec<String> {
    let (claim, finding) = (answer.claim, &answer.finding);
    if let (Verdict::NotTestable, Some(reason)) = (finding.verdict, &finding.reason) {
        return vec![printable(reason)];
    }
    let mut lines = Vec::new();
    if let Some(said) = said(claim) {
        lines.push(said);
    }
    if let Some(found) = here(answer) {
        lines.push(format!("here: {found}"));
    }
    for (name, found) in &finding.steps {
        lines.push(format!("{name}: {}", found.map_or("not known".into(), |found| interval(&found, None))));
    }
    if let Some(reason) = &finding.reason {
        lines.push(printable(reason));
    }
    lines.extend(answer.why.iter().flat_map(because));
    lines.extend(claim.note.as_deref().map(|note| format!("note: {}", printable(note))));
    lines
}

/// What the source says in figures.
pub(super) fn said(claim: &Claim) -> Option<String> {
    let judged = claim.test.as_ref().ok().map(|test| format!("{} {}", test.figure.text(), claimed(test)));
    let then = claim.context.as_ref().map(|context| format!("then {context}"));
    let place = Some(claim.place.clone()).filter(|place| !place.is_empty());
    let behind: Vec<String> = place.into_iter().chain(then).collect();
    let behind = if behind.is_empty() { String::new() } else { format!(" ({})", behind.join("; ")) };
    judged.map(|judged| printable(&format!("said: {judged}{behind}")))
}

/// What is claimed, in words.
pub(super) fn claimed(test: &Test) -> String {
    let cell = |cell: &Cell| format!("{} ({})", cell.mode, cell.work.text());
    match &test.claimed {
        Claimed::Value { of, is } => match &of[..] {
            [(only, _)] => format!("of {}: {}", cell(only), is.with(&|value| test.figure.print(value))),
            [(one, _), (other, _)] if one.work == other.work => {
                format!("of {} / {} ({}): {}", one.mode, other.mode, one.work.text(), is.text())
            }
            [(one, _), (other, _)] => format!("of {} / {}: {}", cell(one), cell(other), is.text()),
            _ => {
                let ratio = |two: &[(Cell, f64)]| {
                    let names: Vec<String> = two.iter().map(|(other, _)| other.mode.to_owned()).collect();
                    format!("{} ({})", names.join(" / "), two[0].0.work.text())
                };
                format!("of {} by {}: {}", ratio(&of[..2]), ratio(&of[2..]), is.text())
            }
        },
        Claimed::Order(cells) => {
            let names: Vec<&str> = cells.iter().map(|cell| cell.mode).collect();
            format!("in this order, the most first: {} ({})", names.join(", "), cells[0].work.text())
        }
        Claimed::Growth { over, cells, is } => {
            let points: Vec<&str> = cells.iter().map(|cell| cell.work.point(over)).collect();
            let how = match is {
                Bound::More => "grows".to_owned(),
                Bound::Less => "falls".to_owned(),
                Bound::Equal(within) => format!("stays within {:.0} %", 100.0 * within),
                is => format!("becomes {} times", is.text()),
            };
            format!("of {}: {how} with {} {}", cells[0].mode, over.replace('_', " "), points.join(", "))
        }
    }
}

/// What was found, in words.
pub(super) fn here(answer: &Answer<'_>) -> Option<String> {
    let found = answer.finding.found?;
    let test = answer.claim.test.as_ref().ok()?;
    let alone = (test.claimed.cells().len() == 1).then_some(test.figure);
    let of = match &test.claimed {
        Claimed::Growth { .. } => " from the first to the last",
        Claimed::Order(_) => " from the first to the last",
        Claimed::Value { .. } => "",
    };
    let on = answer.on.filter(|on| on.kernel.is_some()).map_or(String::new(), |on| format!(", {}", on.text()));
    Some(format!("{}{of}, {} runs of each{on}", interval(&found, alone), found.runs))
}

/// A value with its interval: of a figure, or of a ratio.
pub(super) fn interval(found: &Estimated, alone: Option<Figure>) -> String {
    let print = |value: f64| alone.map_or_else(|| number(value), |figure| figure.print(value));
    let [low, high] = found.interval.map(print);
    let times = if alone.is_some() { "" } else { " times" };
    format!("{}{times} ({low} to {high})", print(found.value))
}

/// What answers for a difference.
pub(super) fn because(why: &Why) -> Vec<String> {
    let mut lines = Vec::new();
    let [faster, slower] = why.modes;
    let head = format!("why {slower} is slower than {faster}: ");
    match &why.reason {
        Some(reason) => lines.push(head + reason),
        None if !why.layers.is_empty() => {
            let layers = why.layers.iter().map(|(name, part)| format!("{name} {:+.0} %", 100.0 * part));
            let share = why.share.as_ref().map_or(String::new(), |share| format!("; layers answer for {share} of it"));
            lines.push(format!("{head}{}{share}", layers.collect::<Vec<_>>().join(", ")));
        }
        None => {}
    }
    for (says, seen) in &why.said {
        lines.push(format!("its cause, {}: {}", printable(says), seen.name()));
    }
    // One figure for each: the others are in the JSON, and `explain` tells what they mean.
    let first = |figures: &str| printable(figures.split("; ").next().unwrap_or_default());
    let causes = why.causes.iter().map(|(name, _, figures)| format!("{name} ({})", first(figures)));
    let causes: Vec<String> = causes.collect();
    if !causes.is_empty() {
        lines.push(format!("{slower} has {}", causes.join(", ")));
    }
    lines
}

/// What would be measured.
pub(super) fn plan(plan: &Plan, claims: &[Claim], keep: &Path) -> String {
    let mut out = String::new();
    let mut seconds = 0.0;
    for group in &plan.groups {
        seconds += group.seconds();
        let modes = group.modes().into_iter().collect::<Vec<_>>().join(", ");
        let runs = group.rounds * group.repeats;
        let head = format!("{:>7}  ", minutes(group.seconds()));
        let claims = in_words(group.claims.len());
        let text = format!("{} {}: {modes}; {runs} runs of each for {claims}", group.work.text(), group.on.text());
        out += &wrapped(&head, 9, &text);
    }
    for (claim, of) in claims.iter().zip(&plan.of) {
        if let Err(reason) = of {
            out += &wrapped("", 9, &format!("{} is not testable here: {}", claim.id, printable(reason)));
        }
    }
    out += &wrapped(
        "",
        0,
        &format!("about {} without what is kept in {}", minutes(seconds), printable(&keep.display().to_string())),
    );
    out
}
