//! hey's summary.

use super::{
    Found,
    text::{by_the_clock, count, leading, line_of, number, quoted, whole},
    words::Words,
};
use crate::profile::Benchmark;

/// Times are told in steps of 0.1 ms: below this they say too little.
const LEAST_NS: f64 = 1e6;
/// Its options that have no value.
pub const FLAGS: &[&str] = &["h2", "disable-compression", "disable-keepalive", "disable-redirects", "more"];
/// Workers without `-c`.
const WORKERS: &str = "50";

/// hey's summary. Its rate counts failed requests too, so that the answers are counted here.
pub fn read(words: &Words<'_>, text: &str) -> Result<Vec<Found>, String> {
    if text.starts_with("response-time,") {
        return Err("only its summary is read: give it no -o csv".into());
    }
    let summaries = text.lines().filter(|line| line.trim() == "Summary:").count();
    if summaries > 1 {
        return Err(format!("it holds {summaries} summaries, and more than one is not told apart"));
    }
    let incomplete = || "it is incomplete: its summary is missing".to_owned();
    let seconds = |name: &str| {
        let (value, unit) = leading(line_of(text, name)?)?;
        unit.trim().starts_with("secs").then_some(value)
    };
    let total = seconds("Total:").filter(|total| *total > 0.0).ok_or_else(incomplete)?;
    if !text.contains("Status code distribution:") {
        return Err(incomplete());
    }
    let (answers, errors) = (counts(text, "Status code distribution:"), counts(text, "Error distribution:"));
    let answered: u64 = answers.iter().map(|(_, count)| count).sum();
    let failed: u64 = errors.iter().map(|(_, count)| count).sum();
    // A list that breaks off has fewer requests than the summary.
    let all = line_of(text, "Requests/sec:").and_then(number).map(|rate| rate * total).ok_or_else(incomplete)?;
    if (all - (answered + failed) as f64).abs() > 0.5 + all * (0.01 + 1e-4 / total) {
        return Err("it is incomplete: its answers are not as many as its requests".into());
    }
    if answered == 0 {
        let why = text.lines().skip_while(|line| *line != "Error distribution:").nth(1).unwrap_or("");
        return Err(format!("an error: no request was answered: {}", quoted(why)));
    }
    let refused: u64 = answers.iter().filter(|(code, _)| !(200..400).contains(code)).map(|(_, count)| count).sum();
    let percentile = |share: &str| {
        let lines = text.lines().skip_while(|line| line.trim() != "Latency distribution:");
        let line = lines.map(str::trim).find_map(|line| line.strip_prefix(share))?;
        leading(line.trim_start().strip_prefix("in ")?).map(|(seconds, _)| seconds * 1e9)
    };
    let mut benchmark = Benchmark {
        workload: "http".into(),
        transactions_per_s: Some(answered as f64 / total),
        round_trip_ns: seconds("Average:").map(|seconds| seconds * 1e9),
        round_trip_max_ns: seconds("Slowest:").map(|seconds| seconds * 1e9),
        round_trip_p50_ns: percentile("50% "),
        round_trip_p90_ns: percentile("90% "),
        round_trip_p99_ns: percentile("99% "),
        pairs: words.value(&["-c"]).or(WORKERS).and_then(number).and_then(count),
        duration_s: Some(total),
        failed: Some(failed + refused),
        ..Benchmark::default()
    };
    let mut notes = Vec::new();
    if benchmark.round_trip_ns.is_none() {
        notes.push("its mean time is missing, or is none".into());
    }
    if leave_out_short(&mut benchmark) {
        notes.push("times below 1 ms are left out, which it rounds to 0.1 ms".into());
    }
    if failed + refused > 0 {
        notes.push(format!("{} errors and answers that are errors", failed + refused));
    }
    if words.value(&["-q"]).known().is_some_and(|rate| number(rate) != Some(0.0)) {
        notes.push(by_the_clock("-q"));
    }
    Ok(vec![Found { notes, ..Found::from(benchmark) }])
}

/// Takes away times that are rounded too much; whether there were such.
fn leave_out_short(benchmark: &mut Benchmark) -> bool {
    let times = [
        &mut benchmark.round_trip_ns,
        &mut benchmark.round_trip_p50_ns,
        &mut benchmark.round_trip_p90_ns,
        &mut benchmark.round_trip_p99_ns,
        &mut benchmark.round_trip_max_ns,
    ];
    times.into_iter().filter_map(|time| time.take_if(|ns| *ns < LEAST_NS)).count() > 0
}

/// `[200] 200 responses`: what stands in brackets, and how often. Errors have their count in the brackets.
fn counts(text: &str, head: &str) -> Vec<(u64, u64)> {
    let lines = text.lines().skip_while(|line| line.trim() != head).skip(1);
    let one = |line: &str| {
        let (code, rest) = line.trim().strip_prefix('[')?.split_once(']')?;
        let code = number(code).and_then(whole)?;
        let count = leading(rest).filter(|(_, unit)| unit.trim() == "responses").and_then(|(count, _)| whole(count));
        Some((code, count.unwrap_or(code)))
    };
    lines.map_while(one).collect()
}
