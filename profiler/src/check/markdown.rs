//! A check as Markdown, for the summary of a CI run.

use std::fmt::Write as _;

use super::{
    judge::{Figure, Judgment},
    rule::Verdict,
    text,
};
use crate::output::markdown as escape;

/// The check as Markdown.
pub(super) fn render(found: &Judgment) -> anyhow::Result<String> {
    let mut out = String::new();
    let [baseline, target] = &found.labels;
    let headline = text::headline(found);
    let (verdict, rest) = headline.split_once(": ").unwrap_or((&headline, ""));
    writeln!(out, "### netstrata check: {verdict}\n\n{}\n", escape(rest))?;
    writeln!(out, "{} against {}; {}  ", escape(target), escape(baseline), escape(&found.work))?;
    writeln!(out, "{}\n", escape(&text::rule(found)))?;
    writeln!(out, "| figure | baseline | target | change | interval | verdict |\n|---|--:|--:|--:|---|---|")?;
    row(&mut out, &found.total)?;
    for figure in text::changed(found) {
        row(&mut out, figure)?;
    }
    let count = |verdict| found.judged().filter(|figure| figure.verdict == verdict).count();
    writeln!(out, "\n{} other figures are ok, {} undecided.\n", count(Verdict::Ok), count(Verdict::Undecided))?;
    for cause in &found.causes {
        writeln!(out, "- {}", escape(&text::cause(cause)))?;
    }
    for note in found.arithmetic().iter().chain(&text::needed(found)).chain(&found.notes) {
        writeln!(out, "- {}", escape(note))?;
    }
    Ok(out)
}

fn row(out: &mut String, figure: &Figure) -> std::fmt::Result {
    let change = figure.change().map_or("not known".into(), |change| text::signed(change, figure.of));
    let interval = figure.interval().map_or(String::new(), |ends| text::range(ends, figure.of));
    let [baseline, target] = [figure.baseline, figure.target].map(text::number);
    let (name, verdict) = (escape(&figure.key.title()), figure.verdict.name());
    let verdict = if figure.verdict.is_change() { format!("**{verdict}**") } else { verdict.into() };
    writeln!(out, "| {name} | {baseline} | {target} | {change} | {interval} | {verdict} |")
}
