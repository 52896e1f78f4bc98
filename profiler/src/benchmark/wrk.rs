//! wrk's and wrk2's text.

use super::{
    Found,
    possible::too_many_at_a_time,
    text::{count, leading, line_of, number, quoted, time_ns, whole},
    words::Words,
};
use crate::profile::Benchmark;

/// How far a rate may be from requests by seconds, both rounded.
const ROUNDED: f64 = 0.02;

/// wrk's text. Its latency is the time of a request, which is a round trip of one connection.
pub fn read(words: &Words<'_>, text: &str) -> Result<Vec<Found>, String> {
    if let Some(line) =
        text.lines().find(|line| line.starts_with("unable to connect") || line.starts_with("unable to resolve"))
    {
        return Err(format!("an error: {}", quoted(line)));
    }
    let mut runs: Vec<String> = Vec::new();
    for line in text.lines() {
        if runs.is_empty() || line.starts_with("Running ") && line.contains(" test @ ") {
            runs.push(String::new());
        }
        if let Some(run) = runs.last_mut() {
            run.push_str(line);
            run.push('\n');
        }
    }
    if runs.len() > 1 && !runs[0].starts_with("Running ") {
        runs.remove(0);
    }
    runs.iter().map(|text| run(words, text)).collect()
}

fn run(words: &Words<'_>, text: &str) -> Result<Found, String> {
    if text.matches("Requests/sec:").count() > 1 {
        return Err("it holds several results, and more than one is not told apart".into());
    }
    let incomplete = || "it is incomplete: the rate at its end is missing".to_owned();
    let connections = text.lines().find_map(connections);
    // wrk2 does before it measures.
    let calibrated = text.contains("Thread calibration:");
    // Before its table a script may have printed anything.
    let text = text.find("  Thread Stats  ").map_or(text, |at| &text[at..]);
    let rate = line_of(text, "Requests/sec:").and_then(number).ok_or_else(incomplete)?;
    let (requests, took) = text.lines().find_map(requests).ok_or_else(incomplete)?;
    if requests == 0 {
        return Err("an error: no request was answered".into());
    }
    if (rate * took - requests as f64).abs() > ROUNDED * requests as f64 + rate * 0.01 {
        return Err("its rate contradicts its requests and seconds".into());
    }
    let latency = text.lines().find(|line| line.trim_start().starts_with("Latency  "));
    let column = |at: usize| time_ns(latency?.split_ascii_whitespace().nth(at)?);
    let percentiles = percentiles(text);
    let percentile = |share: f64| percentiles.iter().find(|(known, _)| *known == share).map(|(_, ns)| *ns);
    let benchmark = Benchmark {
        workload: "http".into(),
        transactions_per_s: Some(rate),
        round_trip_ns: column(1),
        round_trip_max_ns: column(3),
        round_trip_p50_ns: percentile(50.0),
        round_trip_p90_ns: percentile(90.0),
        round_trip_p99_ns: percentile(99.0),
        round_trip_p999_ns: percentile(99.9),
        pairs: connections,
        duration_s: Some(took),
        failed: Some(failed(text)),
        ..Benchmark::default()
    };
    let mut found = Found::from(benchmark);
    if column(1).is_none() {
        found.notes.push(if latency.is_some() { "its latency is no time" } else { "its latency is missing" }.into());
    }
    if text.lines().any(is_distribution) && percentiles.is_empty() {
        found.notes.push("its percentiles are no times".into());
    }
    let by_clock = text.contains("HdrHistogram") || calibrated || words.has(&["-R", "--rate"]) == Some(true);
    if by_clock {
        found.notes.push("wrk2 sends by the clock, and its times are only those since a request was due".into());
    }
    // For each stall wrk enters samples that it did not measure, none longer than it; its rate is a plain count.
    let made_up = !by_clock && found.benchmark.round_trip_ns.is_some_and(|ns| ns <= took * 1e9);
    if let Some(at_a_time) = too_many_at_a_time(&found.benchmark, 0.0).filter(|_| made_up) {
        let times = &mut found.benchmark;
        (times.round_trip_ns, times.round_trip_max_ns) = (None, None);
        (times.round_trip_p50_ns, times.round_trip_p90_ns) = (None, None);
        (times.round_trip_p99_ns, times.round_trip_p999_ns) = (None, None);
        found.notes.push(format!(
            "wrk's times hold samples that it made up for stalls, and contradict its rate ({at_a_time:.1} at a time by {} \
             connections): they are left out",
            connections.unwrap_or(1)
        ));
    }
    if found.benchmark.failed > Some(0) {
        found.notes.push(format!("{} errors and answers that are errors are among its requests", failed(text)));
    }
    Ok(found)
}

/// `  1 threads and 4 connections`
fn connections(line: &str) -> Option<u32> {
    let (threads, rest) = line.trim().split_once(" threads and ")?;
    number(threads)?;
    number(rest.strip_suffix(" connections")?).and_then(count)
}

/// `  90519 requests in 3.00s, 73.29MB read`
fn requests(line: &str) -> Option<(u64, f64)> {
    let (requests, rest) = line.trim().split_once(" requests in ")?;
    Some((number(requests).and_then(whole)?, time_ns(rest.split(',').next()?)? / 1e9))
}

fn is_distribution(line: &str) -> bool {
    let head = line.trim().strip_prefix("Latency Distribution");
    head.is_some_and(|rest| rest.is_empty() || rest.starts_with(" (HdrHistogram"))
}

/// The lines of the first distribution: `     50%  500.00us`, wrk2's `50.000%    1.25ms`.
fn percentiles(text: &str) -> Vec<(f64, f64)> {
    let lines = text.lines().skip_while(|line| !is_distribution(line)).skip(1);
    let one = |line: &str| {
        let (share, rest) = leading(line)?;
        Some((share, time_ns(rest.strip_prefix('%')?.trim())?))
    };
    lines.map_while(one).collect()
}

/// Requests that failed: at their sockets, or answered by an error.
fn failed(text: &str) -> u64 {
    let counts =
        |line: &str| line.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).fold(0, u64::saturating_add);
    let lines = ["Socket errors:", "Non-2xx or 3xx responses:"];
    lines.iter().filter_map(|name| line_of(text, name)).map(counts).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_wrk_made_up_cost_its_times_and_not_its_rate() {
        let of = |mean: &str| {
            let text = format!(
                "Running 2s test @ http://10.0.0.2/\n  1 threads and 2 connections\n  Thread Stats   Avg      Stdev     Max   \
                 +/- Stdev\n    Latency   {mean}     1.00ms  90.00ms   95.00%\n  Latency Distribution\n     50%    1.00ms\n  2000 \
                 requests in 2.00s, 1.00MB read\nRequests/sec:   1000.00\n"
            );
            read(&Words::unknown(), &text).expect("a result").remove(0)
        };
        let (plain, stalled) = (of("2.00ms"), of("9.00ms"));
        assert_eq!((plain.benchmark.round_trip_ns, plain.notes.len()), (Some(2e6), 0));
        let times = (stalled.benchmark.round_trip_ns, stalled.benchmark.round_trip_p50_ns);
        assert_eq!((times, stalled.benchmark.transactions_per_s), ((None, None), Some(1000.0)));
        assert!(stalled.notes[0].contains("9.0 at a time by 2 connections"), "{:?}", stalled.notes);
    }
}
