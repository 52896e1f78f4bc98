//! Claims as Markdown: a table, and below it what is told of each.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{Answer, Report, judge::Verdict, text};
use crate::output::{markdown as escape, time};

/// The claims as Markdown.
pub(super) fn render(report: &Report<'_>) -> anyhow::Result<String> {
    let mut out = String::from("# What holds of claims about networks\n\n");
    writeln!(out, "{}\n", escape(&report.summary()))?;
    writeln!(out, "{}  ", escape(&format!("Measured with {}", report.machine())))?;
    let days: BTreeSet<String> = report.answers.iter().filter_map(|answer| answer.made).map(day).collect();
    if let (Some(first), Some(last)) = (days.first(), days.last()) {
        let days = if first == last { first.clone() } else { format!("{first} to {last}") };
        writeln!(out, "Runs made: {days}  ")?;
    }
    let places: BTreeSet<String> = report
        .answers
        .iter()
        .filter(|answer| answer.finding.found.is_some())
        .filter_map(|answer| answer.on)
        .map(super::On::text)
        .collect();
    writeln!(
        out,
        "Where: {}; clocks are said with each claim that was not measured here\n",
        escape(&places.into_iter().collect::<Vec<_>>().join("; "))
    )?;
    let mut source = "";
    for answer in &report.answers {
        if answer.claim.source != source {
            source = &answer.claim.source;
            writeln!(out, "\n## {}\n", escape(source))?;
            writeln!(out, "| claim | where | here | verdict |\n|---|---|---|---|")?;
        }
        row(&mut out, answer)?;
    }
    writeln!(out, "\n## One by one")?;
    for answer in report.answers.iter().filter(|answer| answer.finding.verdict != Verdict::NotTestable) {
        let claim = answer.claim;
        writeln!(
            out,
            "\n### {}\n\n{}: **{}**\n",
            escape(&claim.id),
            escape(&claim.statement),
            answer.finding.verdict.name()
        )?;
        for line in text::lines(answer) {
            writeln!(out, "- {}", escape(&line))?;
        }
    }
    Ok(out)
}

fn row(out: &mut String, answer: &Answer<'_>) -> std::fmt::Result {
    let (claim, finding) = (answer.claim, &answer.finding);
    let found = text::here(answer).or_else(|| finding.reason.clone()).unwrap_or_default();
    let verdict = match finding.verdict {
        Verdict::Contradicted => format!("**{}**", finding.verdict.name()),
        verdict => verdict.name().into(),
    };
    let [statement, place, found] = [&claim.statement, &claim.place, &found].map(|text| escape(text));
    writeln!(out, "| {statement} | {place} | {found} | {verdict} |")
}

/// The day of a time, like 2026-11-26.
fn day(seconds: u64) -> String {
    time(seconds, "%Y-%m-%d")
}

#[cfg(test)]
mod tests {
    use super::day;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(1_795_651_200), "2026-11-26");
        assert_eq!(day(4_107_542_399), "2100-02-28");
    }
}
