//! `netstrata.explain/1`. Adding names is allowed, renaming is not.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Cause, Explanation, Figure, Leg, Of, Part, Row, Shown, Side, Sure, Transaction, Turn, WorkKind,
    station::StationFacts,
};
use crate::numbers::rounded;

/// The account as JSON, for people too.
pub(super) fn render(found: &Explanation) -> Result<String> {
    Ok(format!("{:#}\n", account(found)))
}

fn account(found: &Explanation) -> Value {
    let unit = unit(found.kind);
    let value = |number: i64| scaled(found.kind, number);
    let waterfall = &found.waterfall;
    let delta = waterfall.delta();
    let mut total = json!({
        "baseline": value(waterfall.baseline),
        "target": value(waterfall.target),
        "delta": value(delta),
    });
    steps(&mut total, found, Figure::Total, [waterfall.baseline, waterfall.target]);
    let rest = &waterfall.remainder;
    let mut remainder = json!({
        "name": rest.name,
        "baseline": value(rest.baseline),
        "target": value(rest.target),
        "delta": value(rest.delta()),
        "share": part_of(found, rest.delta()),
    });
    steps(&mut remainder, found, Figure::Remainder, [rest.baseline, rest.target]);
    let of_share = found.explained_share.and_then(|share| found.sure.interval(&Figure::Share, share));
    json!({
        "schema": "netstrata.explain/1",
        "kind": found.kind.name(),
        "unit": unit,
        "rate_unit": found.kind.rate_unit(),
        "limited_by": found.kind.limited_by(),
        "baseline": side(&found.baseline, Of::Baseline, (&found.sure, found.kind)),
        "target": side(&found.target, Of::Target, (&found.sure, found.kind)),
        "total": total,
        "waterfall": waterfall.rows.iter().map(|of| row(found, of)).collect::<Vec<_>>(),
        "together": found.shown().iter().filter(|row| row.slots.len() > 1).map(|row| together(found, row)).collect::<Vec<_>>(),
        "remainder": remainder,
        "opposed": { "slower": value(waterfall.opposed().0), "faster": value(waterfall.opposed().1) },
        "explained_share": found.explained_share.map(|share| rounded(share, 6)),
        "explained_share_interval": of_share.map(|ends| ends.map(|end| rounded(end, 6))),
        "repeats_needed": found.repeats_needed(),
        "no_measurable_difference": found.no_difference,
        "causes": found.causes.iter().map(|of| cause(of, &found.sure)).collect::<Vec<_>>(),
        "notes": found.notes,
        "clock": found.clock.name(),
    })
}

/// A step as a share of the difference.
fn part_of(found: &Explanation, step: i64) -> Option<f64> {
    let delta = found.waterfall.delta();
    (delta != 0).then(|| rounded(step as f64 / delta as f64, 6))
}

fn row(found: &Explanation, row: &Row) -> Value {
    let value = |number: i64| scaled(found.kind, number);
    let mut out = json!({
        "layer": found.waterfall.name(row),
        "kind": row.slot.kind(),
        "baseline": value(row.baseline.value),
        "target": value(row.target.value),
        "delta": value(row.delta()),
        "share": part_of(found, row.delta()),
        "explained": row.slot.is_explained(),
    });
    let figure = |of| Figure::Row(row.slot, of);
    steps(&mut out, found, figure, [row.baseline.value, row.target.value]);
    out["may_be_nothing"] = json!(found.sure.may_be_nothing(&figure(Of::Change), row.delta() as f64));
    let both =
        |part: fn(&Part) -> i64| json!({"baseline": value(part(&row.baseline)), "target": value(part(&row.target))});
    let unit = unit(found.kind);
    out[unit] = both(|part| part.value);
    out[format!("raw_{unit}")] = both(|part| part.raw);
    out
}

/// Rows that cannot be told apart, as one.
fn together(found: &Explanation, row: &Shown) -> Value {
    let value = |number: i64| scaled(found.kind, number);
    let mut out = json!({
        "layers": row.slots.iter().map(|slot| slot.name()).collect::<Vec<_>>(),
        "kind": row.slots[0].kind(),
        "baseline": value(row.baseline),
        "target": value(row.target),
        "delta": value(row.delta()),
    });
    steps(&mut out, found, |of| row.figure(of), [row.baseline, row.target]);
    out
}

/// Name of the unit of a waterfall.
fn unit(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::RequestResponse | WorkKind::Saturated => "ns",
        WorkKind::Stream => "ns_per_byte",
    }
}

/// A value in its unit: whole nanoseconds, or nanoseconds per byte with six digits, in which sums are exact too.
fn scaled(kind: WorkKind, number: i64) -> Value {
    match kind {
        WorkKind::RequestResponse | WorkKind::Saturated => json!(number),
        WorkKind::Stream => json!(number as f64 / 1e6),
    }
}

/// Enters the intervals of two values and of the step between them, which is the object's main figure.
fn steps(out: &mut Value, found: &Explanation, figure: impl Fn(Of) -> Figure, [baseline, target]: [i64; 2]) {
    let ends = |of, number: i64| {
        let interval = found.sure.interval(&figure(of), number as f64);
        interval.map(|ends| ends.map(|end| scaled(found.kind, end.round() as i64)))
    };
    let delta = ends(Of::Change, target - baseline);
    out["intervals"] = json!({
        "baseline": ends(Of::Baseline, baseline),
        "target": ends(Of::Target, target),
        "delta": delta,
    });
    out["interval"] = json!(delta);
}

/// The interval of a figure, to so many digits.
fn ends(sure: &Sure, figure: &Figure, value: Option<f64>, digits: i32) -> Option<[f64; 2]> {
    Some(sure.interval(figure, value?)?.map(|end| rounded(end, digits)))
}

fn station(station: &StationFacts, of: Of, (sure, kind): (&Sure, WorkKind)) -> Value {
    let stream = kind == WorkKind::Stream;
    let (cost, rate) =
        if stream { ("cpu_ns_per_byte", "bytes_per_s") } else { ("cpu_ns_per_transaction", "transactions_per_s") };
    json!({
        "pid": station.pid,
        "name": station.name,
        "container": station.container,
        "utilisation": rounded(station.utilisation, 6),
        "other_work": rounded(station.others, 6),
        cost: rounded(station.cpu_ns_each, 9),
        rate: rounded(station.per_s, 3),
        "samples": station.samples,
        "softirq_share": rounded(station.softirq_share, 6),
        "intervals": {
            "utilisation": ends(sure, &Figure::Utilisation(of), Some(station.utilisation), 6),
            "other_work": ends(sure, &Figure::OtherWork(of), Some(station.others), 6),
            cost: ends(sure, &Figure::CpuOfEach(of), Some(station.cpu_ns_each), 9),
            "softirq_share": ends(sure, &Figure::Softirqs(of), Some(station.softirq_share), 6),
        },
    })
}

fn side(side: &Side, of: Of, (sure, kind): (&Sure, WorkKind)) -> Value {
    let rate = |value: Option<f64>| value.map(|value| rounded(value, 3));
    let cpu = |(cpu, busy): &(u16, f64)| {
        json!({
            "cpu": cpu,
            "busy_share": rounded(*busy, 6),
            "interval": ends(sure, &Figure::Cpu(*cpu, of), Some(*busy), 6),
        })
    };
    json!({
        "label": side.label,
        "benchmark": side.benchmark,
        "measured": rate(side.measured),
        "recorded": rate(side.recorded),
        "predicted": rate(side.predicted),
        "predicted_raw": rate(side.predicted_raw),
        "predicted_from_baseline": rate(side.predicted_from_baseline),
        "trust": { "verdict": side.verdict.name(), "reasons": side.reasons },
        "intervals": {
            "measured": ends(sure, &Figure::Measured(of), side.measured, 3),
            "recorded": ends(sure, &Figure::Recorded(of), side.recorded, 3),
            "predicted": ends(sure, &Figure::Predicted(of), side.predicted, 3),
            "predicted_raw": ends(sure, &Figure::PredictedRaw(of), side.predicted_raw, 3),
            "predicted_from_baseline": ends(sure, &Figure::FromBaseline, side.predicted_from_baseline, 3),
        },
        "transaction": side.transaction.as_ref().map(|all| transaction(all, of, sure)),
        "station": side.station.as_ref().map(|found| station(found, of, (sure, kind))),
        "cpus": side.cpus.iter().map(cpu).collect::<Vec<_>>(),
    })
}

fn transaction(all: &Transaction, of: Of, sure: &Sure) -> Value {
    let part = |name: String, ns: i64| ends(sure, &Figure::Part(name, of), Some(ns as f64), 0);
    let leg = |leg: &Leg| {
        json!({
            "from": leg.from,
            "to": leg.to,
            "fate": leg.fate,
            "packets": rounded(leg.packets, 3),
            "times": rounded(leg.times, 3),
            "ns": leg.ns.value,
            "raw_ns": leg.ns.raw,
            "interval": part(leg.name(), leg.ns.value),
        })
    };
    let turn = |turn: &Turn| {
        json!({
            "pid": turn.pid,
            "name": turn.name,
            "netns": turn.netns,
            "times": rounded(turn.times, 3),
            "ns": turn.ns.value,
            "connects": turn.connects,
            "interval": part(turn.key(), turn.ns.value),
        })
    };
    json!({
        "packets": rounded(all.packets, 3),
        "interval": ends(sure, &Figure::Packets(of), Some(all.packets), 3),
        "legs": all.legs.iter().map(leg).collect::<Vec<_>>(),
        "turnarounds": all.turns.iter().map(turn).collect::<Vec<_>>(),
        "beyond": all.beyond.as_ref().map(|(device, ns)| json!({"device": device, "ns": ns})),
    })
}

fn cause(cause: &Cause, sure: &Sure) -> Value {
    let figures = cause.figures.iter().map(|figure| {
        let of = |of, value| ends(sure, &Figure::Proof(cause.name.name(), figure.name, of), Some(value), 6);
        json!({
            "intervals": { "baseline": of(Of::Baseline, figure.baseline), "target": of(Of::Target, figure.target) },
            "name": figure.name,
            "unit": figure.unit,
            "baseline": rounded(figure.baseline, 6),
            "target": rounded(figure.target, 6),
        })
    });
    json!({ "name": cause.name, "sentence": cause.sentence, "figures": figures.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{explain, testdata::*};

    #[test]
    fn the_names_of_the_contract_are_there_and_the_sum_closes() {
        let found = account(&explain(&rr(1, 100_000.0), &rr(3, 80_000.0), &labels()).expect("the test has it"));
        assert_eq!(found["schema"], "netstrata.explain/1");
        assert_eq!(found["baseline"]["label"], "fast");
        assert_eq!(found["target"]["trust"]["verdict"], "ok");
        let sum: i64 = found["waterfall"]
            .as_array()
            .expect("the test has it")
            .iter()
            .map(|row| row["delta"].as_i64().expect("the test has it"))
            .sum();
        let left = found["remainder"]["delta"].as_i64().expect("the test has it");
        let ends = ["baseline", "target"].map(|end| found["total"][end].as_i64().expect("the test has it"));
        assert_eq!(ends[0] + sum + left, ends[1]);
        for row in found["waterfall"].as_array().expect("the test has it") {
            for name in ["layer", "kind", "baseline", "target", "delta", "share", "ns", "raw_ns"] {
                assert!(row.get(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn what_a_transaction_consists_of_adds_up_with_the_remainder() {
        let found =
            account(&explain(&rr(1, 1e9 / 7000.0), &relayed(1e9 / 16_000.0), &labels()).expect("the test has it"));
        let of = &found["target"]["transaction"];
        assert_eq!((of["packets"].as_f64(), of["beyond"].is_null()), (Some(4.0), true));
        let sum = |name: &str| -> i64 {
            let parts = of[name].as_array().expect("the test has it").iter();
            parts.map(|part| part["ns"].as_i64().expect("the test has it")).sum()
        };
        let rest = found["remainder"]["target"].as_i64().expect("the test has it");
        assert_eq!(sum("legs") + sum("turnarounds") + rest, 16_000);
        assert!(found["opposed"]["slower"].as_i64() > Some(0));
    }

    #[test]
    fn streams_are_in_nanoseconds_per_byte() {
        let found = account(
            &explain(&stream(&[(1, TCP, 900)]), &stream(&[(1, TCP, 950)]), &labels()).expect("the test has it"),
        );
        assert_eq!(found["unit"], "ns_per_byte");
        assert_eq!(found["total"]["baseline"], 1.0);
        assert_eq!(found["baseline"]["station"]["utilisation"], 0.9);
        assert_eq!(found["waterfall"][0]["raw_ns_per_byte"]["baseline"], 1.0);
    }
}
