//! fortio's JSON (`-json FILE`, `-json -`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Found,
    json::objects,
    text::{by_the_clock, count},
    words::Words,
};
use crate::profile::Benchmark;

/// How far a rate may be from requests by seconds.
const ROUNDED: f64 = 0.02;

/// As far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Document {
    run_type: Option<String>,
    start_time: Option<String>,
    #[serde(rename = "RequestedQPS")]
    requested_qps: Option<String>,
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
pub fn read(_: &Words<'_>, text: &str) -> Result<Vec<Found>, String> {
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

/// What is asked, which has answers of its own kinds.
#[derive(Clone, Copy)]
struct Kind {
    workload: &'static str,
    /// Whether a code stands for an answer; else the request had none.
    answered: fn(&str) -> bool,
    /// Whether an answer is a good one.
    good: fn(&str) -> bool,
}

impl Kind {
    fn of(run_type: &str) -> Option<Self> {
        // Errors of TCP and UDP stand there by their texts.
        let exchanged: fn(&str) -> bool = |code| code == "OK";
        let status = |code: &str| code.len() == 3 && code.starts_with(['1', '2', '3', '4', '5']);
        match run_type.split(' ').next()? {
            "HTTP" => Some(Self { workload: "http", answered: status, good: |code| code.starts_with(['2', '3']) }),
            "GRPC" if run_type.starts_with("GRPC Health") || run_type.starts_with("GRPC Ping") => Some(Self {
                workload: "grpc",
                answered: |code| !matches!(code, "ERROR" | "-1"),
                good: |code| matches!(code, "OK" | "SERVING" | "1"),
            }),
            "TCP" => Some(Self { workload: "tcp-rr", answered: exchanged, good: exchanged }),
            "UDP" => Some(Self { workload: "udp-rr", answered: exchanged, good: exchanged }),
            _ => None,
        }
    }
}

fn result(document: &Document) -> Result<Found, String> {
    let Document { actual_duration, num_threads, duration_histogram, ret_codes, .. } = document;
    let kind = document.run_type.as_deref().and_then(Kind::of).ok_or("its kind of run is unknown")?;
    let Some(histogram) = duration_histogram else { return Err("it holds no times".into()) };
    let sum = |counts: &dyn Fn(&str) -> bool| {
        let counted = ret_codes.iter().filter(|(code, _)| counts(code));
        counted.fold(0_u64, |sum, (_, count)| sum.saturating_add(*count))
    };
    let requests = sum(&|_| true);
    let unanswered = sum(&|code| !(kind.answered)(code));
    let failed = sum(&|code| !((kind.answered)(code) && (kind.good)(code)));
    if requests == unanswered || histogram.count.is_none_or(|count| count < 1.0) {
        return Err("an error: no request was answered".into());
    }
    let duration_s =
        actual_duration.map(|ns| ns / 1e9).filter(|seconds| *seconds > 0.0).ok_or("its duration is missing")?;
    let rate = document.actual_qps.ok_or("its rate is missing")?;
    if histogram.count.is_some_and(|count| (rate * duration_s - count).abs() > ROUNDED * count + 1.0) {
        return Err("its rate contradicts its requests and seconds".into());
    }
    // Its times are those of requests without an answer, too.
    let ns = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e9).filter(|_| unanswered == 0);
    let percentile = |share: f64| {
        ns(histogram.percentiles.iter().flatten().find(|known| known.percentile == share).map(|known| known.value))
    };
    let benchmark = Benchmark {
        workload: kind.workload.into(),
        transactions_per_s: Some(rate * (requests - unanswered) as f64 / requests as f64),
        round_trip_ns: ns(histogram.avg),
        round_trip_max_ns: ns(histogram.max),
        round_trip_p50_ns: percentile(50.0),
        round_trip_p90_ns: percentile(90.0),
        round_trip_p99_ns: percentile(99.0),
        round_trip_p999_ns: percentile(99.9),
        pairs: num_threads.and_then(count),
        duration_s: Some(duration_s),
        failed: Some(failed),
        ..Benchmark::default()
    };
    let mut found = Found { began_s: document.start_time.as_deref().and_then(since_1970), ..Found::from(benchmark) };
    if failed > 0 {
        found.notes.push(format!("{failed} errors and answers that are errors"));
    }
    if document.requested_qps.as_ref().is_some_and(|rate| rate != "max") {
        found.notes.push(by_the_clock("-qps"));
    }
    Ok(found)
}

/// Seconds since 1970 of a time as RFC 3339 writes it: `2024-03-01T10:00:00.5+01:00`.
fn since_1970(time: &str) -> Option<f64> {
    Some(time.parse::<Timestamp>().ok()?.as_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_seconds_since_1970() {
        for (time, seconds) in [
            ("1970-01-01T00:00:00Z", 0.0),
            ("2024-02-29T23:59:59.999999999Z", 1_709_251_199.0),
            ("2024-03-01T10:00:00.000000000Z", 1_709_287_200.0),
            ("2024-03-01T11:00:00+01:00", 1_709_287_200.0),
            ("2024-03-01T04:30:00.5-05:30", 1_709_287_200.0),
        ] {
            assert_eq!(since_1970(time), Some(seconds), "{time}");
        }
        assert_eq!(
            [
                "",
                "yesterday",
                "2024-03-01T10:00:00",
                "2024-03-01T10:00:00+9999999999999999999:00",
                "é024-03-01T10:00:00Z"
            ]
            .map(since_1970),
            [None; 5]
        );
    }
}
