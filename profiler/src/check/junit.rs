//! A check as JUnit XML: a case for each figure. What fails is what the exit code is about: the total, and with it the layers
//! that answer for it.

use std::fmt::Write as _;

use super::{
    judge::{Figure, Judgment},
    rule::Verdict,
    text,
};
use crate::output::xml;

/// The check as a suite of tests.
pub(super) fn render(found: &Judgment) -> anyhow::Result<String> {
    let cases: Vec<String> =
        std::iter::once(&found.total).chain(found.judged()).map(|figure| case(found, figure)).collect();
    let count = |word: &str| cases.iter().filter(|case| case.contains(word)).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
        cases.len(),
        count("<failure "),
        count("<error "),
        count("<skipped ")
    );
    let [baseline, target] = &found.labels;
    let name = xml(&format!("netstrata check: {target} against {baseline}"));
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    writeln!(out, "<testsuites {counts}>\n  <testsuite name=\"{name}\" {counts}>")?;
    let property = |name: &str, value: &str| format!("      <property name=\"{name}\" value=\"{}\"/>", xml(value));
    let rule = text::rule(found);
    let rows = [("verdict", found.verdict.name()), ("work", &found.work), ("rule", &rule)];
    writeln!(out, "    <properties>")?;
    for (name, value) in rows {
        writeln!(out, "{}", property(name, value))?;
    }
    writeln!(out, "    </properties>")?;
    for case in cases {
        out += &case;
    }
    let said: Vec<String> = found.arithmetic().into_iter().chain(found.notes.iter().cloned()).collect();
    writeln!(out, "    <system-out>{}</system-out>", xml(&said.join("\n")))?;
    writeln!(out, "  </testsuite>\n</testsuites>")?;
    Ok(out)
}

fn case(found: &Judgment, figure: &Figure) -> String {
    let change = figure.change().map_or("a change that is not known".into(), |change| text::signed(change, figure.of));
    let interval = figure.interval().map_or(String::new(), |ends| format!(" ({})", text::range(ends, figure.of)));
    let [baseline, target] = [figure.baseline, figure.target].map(text::number);
    let told = xml(&format!("{}: {change}{interval}, {baseline} -> {target}", figure.verdict.name()));
    let is_total = *figure == found.total;
    let within = match figure.verdict {
        Verdict::Regressed if found.verdict == Verdict::Regressed => {
            format!("<failure type=\"regressed\" message=\"{told}\"/>")
        }
        Verdict::Undecided if is_total => format!("<error type=\"undecided\" message=\"{told}\"/>"),
        Verdict::Undecided => format!("<skipped message=\"{told}\"/>"),
        _ => format!("<system-out>{told}</system-out>"),
    };
    let class = format!("netstrata.check.{}", figure.key.group.name());
    format!("    <testcase classname=\"{class}\" name=\"{}\">{within}</testcase>\n", xml(&figure.key.title()))
}
