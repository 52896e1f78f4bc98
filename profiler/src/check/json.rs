//! `netstrata.check/1`. Its schema is `docs/check.schema.json`. Adding names is allowed, renaming is not.

use serde_json::{Value, json};

use super::{
    figures::{By, Group},
    judge::{Figure, Judgment, Of},
    rule::{ERROR, LOOKS, TAIL, look_from, pairs_for},
};
use crate::{
    explain::{Cause, Proof},
    numbers::rounded,
};

/// The check as JSON, for people too.
pub(super) fn render(found: &Judgment) -> anyhow::Result<String> {
    Ok(format!("{:#}\n", value(found)))
}

pub(super) fn value(found: &Judgment) -> Value {
    let side = |index: usize| json!({ "label": found.labels[index], "recordings": found.recordings[index] });
    let pairs = found.total.spread.map(|spread| pairs_for(spread, found.threshold.ln_1p()));
    json!({
        "schema": "netstrata.check/1",
        "verdict": found.verdict.name(),
        "exit_code": super::exit_code(found.verdict),
        "kind": found.kind.name(),
        "clock": found.clock.name(),
        "work": found.work,
        "threshold": rounded(found.threshold, 6),
        "error_of_a_side": ERROR,
        "error_of_a_look": rounded(TAIL, 9),
        "looks": LOOKS,
        "judged_by": match found.by { By::Pairs => "pairs", By::Batches => "batches" },
        "pairs_looked_at": found.looked_at,
        "baseline": side(0),
        "target": side(1),
        "decidable": {
            "spread_of_a_pair": found.total.spread.map(|spread| rounded(spread, 6)),
            "pairs": pairs.map(|pairs| rounded(pairs, 0)),
            "look": pairs.and_then(look_from),
        },
        "total": figure(&found.total),
        "figures": found.others.iter().map(figure).collect::<Vec<_>>(),
        "causes": found.causes.iter().map(cause).collect::<Vec<_>>(),
        "notes": found.notes,
    })
}

fn cause(cause: &Cause) -> Value {
    let proof = |proof: &Proof| {
        let [baseline, target] = [proof.baseline, proof.target].map(|value| rounded(value, 6));
        json!({ "name": proof.name, "unit": proof.unit, "baseline": baseline, "target": target })
    };
    json!({
        "name": cause.name.name(),
        "sentence": cause.sentence,
        "figures": cause.figures.iter().map(proof).collect::<Vec<_>>(),
    })
}

fn figure(figure: &Figure) -> Value {
    let of = match figure.of {
        Of::Itself => "itself",
        Of::Total => "total",
        Of::Packet => "packet",
    };
    json!({
        "name": figure.key.name,
        "title": figure.key.title(),
        "group": figure.key.group.name(),
        "unit": if figure.key.group == Group::Count { "count" } else { "ns" },
        "baseline": rounded(figure.baseline, 6),
        "target": rounded(figure.target, 6),
        "change": figure.change().map(|change| rounded(change, 6)),
        "change_of": of,
        "interval": figure.interval().map(|ends| ends.map(|end| rounded(end, 6))),
        "chance": figure.estimate.map(|estimate| rounded(estimate.chance(), 9)),
        "spread": figure.spread.map(|spread| rounded(spread, 6)),
        "verdict": figure.verdict.name(),
        "within": figure.within,
        "pairs_needed": figure.pairs_needed.map(|pairs| rounded(pairs, 0)),
    })
}
