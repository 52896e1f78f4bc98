//! `netstrata.claims/1`.

use serde_json::{Value, json};

use super::{
    Answer, Report,
    judge::{Estimated, Verdict},
    text,
    why::Why,
};

/// The claims as JSON.
pub(super) fn render(report: &Report<'_>) -> anyhow::Result<String> {
    Ok(format!("{:#}\n", value(report)))
}

fn value(report: &Report<'_>) -> Value {
    let counts: serde_json::Map<String, Value> =
        Verdict::ALL.iter().map(|verdict| (verdict.name().replace(' ', "_"), report.count(*verdict).into())).collect();
    json!({
        "schema": "netstrata.claims/1",
        "version": env!("CARGO_PKG_VERSION"),
        "kernel": report.kernel,
        "cpus": report.cpus,
        "quick": report.quick,
        "seconds": crate::numbers::rounded(report.seconds, 1),
        "exit_code": report.exit_code(),
        "verdicts": counts,
        "claims": report.answers.iter().map(claim).collect::<Vec<_>>(),
    })
}

fn claim(answer: &Answer<'_>) -> Value {
    let (claim, finding) = (answer.claim, &answer.finding);
    let test = claim.test.as_ref().ok();
    let steps = finding.steps.iter().map(|(name, found)| json!({ "name": name, "found": found.map(estimated) }));
    json!({
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "where": claim.place,
        "written": claim.written,
        "context": claim.context,
        "figure": test.map(|test| test.figure.name),
        "layer": test.and_then(|test| test.figure.layer).map(|layer| layer.name()),
        "claimed": test.map(text::claimed),
        "verdict": finding.verdict.name().replace(' ', "_"),
        "reason": finding.reason,
        "found": finding.found.map(estimated),
        "steps": steps.collect::<Vec<_>>(),
        "emulated": answer.on.and_then(|on| on.kernel),
        "clock": answer.on.map(|on| on.clock().name()),
        "measured": answer.made,
        "why": answer.why.as_ref().map(why),
        "note": claim.note,
    })
}

fn estimated(found: Estimated) -> Value {
    json!({ "value": found.value, "interval": found.interval, "runs": found.runs })
}

fn why(why: &Why) -> Value {
    let layers = why.layers.iter().map(|(name, part)| json!({ "layer": name, "part": part }));
    let causes = why
        .causes
        .iter()
        .map(|(name, sentence, figures)| json!({ "cause": name, "sentence": sentence, "figures": figures }));
    let said = why.said.iter().map(|(says, seen)| json!({ "says": says, "seen": seen.word() }));
    json!({
        "faster": why.modes[0],
        "slower": why.modes[1],
        "explained": why.share,
        "reason": why.reason,
        "layers": layers.collect::<Vec<_>>(),
        "causes": causes.collect::<Vec<_>>(),
        "said": said.collect::<Vec<_>>(),
    })
}
