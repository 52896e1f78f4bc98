//! fortio's JSON (`-json FILE`, `-json -`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Found, json::objects, text::count};
use crate::profile::Benchmark;

/// As far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Document {
    run_type: Option<String>,
    #[serde(rename = "ActualQPS")]
    actual_qps: Option<f64>,
    /// Nanoseconds.
    actual_duration: Option<f64>,
    num_threads: Option<f64>,
    duration_histogram: Option<Histogram>,
    ret_codes: BTreeMap<String, u64>,
}

/// Seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Histogram {
    count: Option<f64>,
    avg: Option<f64>,
    max: Option<f64>,
    percentiles: Option<Vec<Percentile>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Percentile {
    percentile: f64,
    value: f64,
}

/// One result for each object.
pub fn read(_: &[&str], text: &str) -> Result<Vec<Found>, String> {
    let objects = objects(text);
    let mut found = Vec::new();
    for object in &objects.whole {
        let document: Document =
            serde_json::from_str(object).map_err(|error| format!("a part of it is unknown: {error}"))?;
        if document.duration_histogram.is_some() {
            found.push(result(&document)?);
        }
    }
    match found.len() {
        _ if objects.broken_off => Err("it is incomplete: its JSON breaks off".into()),
        0 => Err("only its JSON is read: give it -json -".into()),
        _ => Ok(found),
    }
}

fn result(document: &Document) -> Result<Found, String> {
    let Document { run_type, actual_qps, actual_duration, num_threads, duration_histogram, ret_codes } = document;
    let workload = match run_type.as_deref() {
        Some("HTTP") => "http",
        Some("GRPC Health" | "GRPC Ping") => "grpc",
        Some("TCP") => "tcp-rr",
        Some("UDP") => "udp-rr",
        _ => return Err("its kind of run is unknown".into()),
    };
    let Some(histogram) = duration_histogram else { return Err("it holds no times".into()) };
    let good = |code: &str| matches!(code, "OK" | "SERVING") || code.starts_with(['2', '3']) && code.len() == 3;
    let answers: u64 = ret_codes.values().fold(0, |sum, count| sum.saturating_add(*count));
    // -1 stands for connections that failed.
    let failed: u64 =
        ret_codes.iter().filter(|(code, _)| !good(code)).fold(0, |sum, (_, count)| sum.saturating_add(*count));
    let unanswered = ret_codes.get("-1").copied().unwrap_or(0);
    if answers == unanswered || histogram.count.is_none_or(|count| count < 1.0) {
        return Err("an error: no request was answered".into());
    }
    let duration_s =
        actual_duration.map(|ns| ns / 1e9).filter(|seconds| *seconds > 0.0).ok_or("its duration is missing")?;
    let percentile = |share: f64| {
        let known = histogram.percentiles.iter().flatten().find(|known| known.percentile == share)?;
        Some(known.value * 1e9)
    };
    let rate = actual_qps.map(|rate| rate * (answers - unanswered) as f64 / answers as f64);
    let benchmark = Benchmark {
        workload: workload.into(),
        transactions_per_s: Some(rate.ok_or("its rate is missing")?),
        round_trip_ns: histogram.avg.map(|seconds| seconds * 1e9).filter(|_| unanswered == 0),
        round_trip_max_ns: histogram.max.map(|seconds| seconds * 1e9).filter(|_| unanswered == 0),
        round_trip_p50_ns: percentile(50.0).filter(|_| unanswered == 0),
        round_trip_p90_ns: percentile(90.0).filter(|_| unanswered == 0),
        round_trip_p99_ns: percentile(99.0).filter(|_| unanswered == 0),
        round_trip_p999_ns: percentile(99.9).filter(|_| unanswered == 0),
        pairs: num_threads.and_then(count),
        duration_s: Some(duration_s),
        failed: Some(failed),
        ..Benchmark::default()
    };
    let mut found = Found::from(benchmark);
    if failed > 0 {
        found.notes.push(format!("{failed} errors and answers that are errors"));
    }
    Ok(found)
}
