//! Claims as JUnit XML: a case for each. What is contradicted fails; what is undecided is an error; what cannot be tested here is
//! skipped.

use super::{Answer, Report, judge::Verdict, text};
use crate::output::junit::{Became, Case, Suite};

/// The claims as a suite of tests.
pub(super) fn render(report: &Report<'_>) -> anyhow::Result<String> {
    let suite = Suite {
        name: "netstrata claims".into(),
        properties: vec![("machine", report.machine()), ("summary", report.summary())],
        cases: report.answers.iter().map(case).collect(),
        said: text::legend(report).join("\n"),
    };
    Ok(suite.render())
}

fn case(answer: &Answer<'_>) -> Case {
    let (claim, verdict) = (answer.claim, answer.finding.verdict);
    let told = std::iter::once(claim.statement.clone()).chain(text::lines(answer));
    Case {
        class: format!("netstrata.claims.{}", claim.source.split_whitespace().next().unwrap_or_default()),
        name: claim.id.clone(),
        became: match verdict {
            Verdict::Holds | Verdict::HoldsInDirection => Became::Passed,
            Verdict::Contradicted => Became::Failed("contradicted"),
            Verdict::Undecided => Became::Errored("undecided"),
            Verdict::NotTestable => Became::Skipped,
        },
        told: format!("{}: {}", verdict.name(), told.collect::<Vec<_>>().join("\n")),
    }
}
