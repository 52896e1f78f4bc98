//! A check as JUnit XML: a case for each figure. What fails is what the exit code is about: the total, and with it the layers
//! that answer for it.

use super::{
    judge::{Figure, Judgment},
    rule::Verdict,
    text,
};
use crate::output::junit::{Became, Case, Suite};

/// The check as a suite of tests.
pub(super) fn render(found: &Judgment) -> anyhow::Result<String> {
    let [baseline, target] = &found.labels;
    let causes = found.causes.iter().map(text::cause);
    let said: Vec<String> = causes.chain(found.arithmetic()).chain(found.notes.iter().cloned()).collect();
    let suite = Suite {
        name: format!("netstrata check: {target} against {baseline}"),
        properties: vec![
            ("verdict", found.verdict.name().into()),
            ("work", found.work.clone()),
            ("rule", text::rule(found)),
        ],
        cases: std::iter::once(&found.total).chain(found.judged()).map(|figure| case(found, figure)).collect(),
        said: said.join("\n"),
    };
    Ok(suite.render())
}

fn case(found: &Judgment, figure: &Figure) -> Case {
    let change = figure.change().map_or("a change that is not known".into(), |change| text::signed(change, figure.of));
    let interval = figure.interval().map_or(String::new(), |ends| format!(" ({})", text::range(ends, figure.of)));
    let [baseline, target] = [figure.baseline, figure.target].map(text::number);
    Case {
        class: format!("netstrata.check.{}", figure.key.group.name()),
        name: figure.key.title(),
        became: match figure.verdict {
            Verdict::Regressed if found.verdict == Verdict::Regressed => Became::Failed("regressed"),
            Verdict::Undecided if *figure == found.total => Became::Errored("undecided"),
            Verdict::Undecided => Became::Skipped,
            _ => Became::Passed,
        },
        told: format!("{}: {change}{interval}, {baseline} -> {target}", figure.verdict.name()),
    }
}
