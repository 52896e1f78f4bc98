//! redis-benchmark's text, `-q` and `--csv`, of 5 to 7.

use super::{
    Found,
    text::{by_the_clock, count, has_hundredths, leading, number, whole},
    words::Words,
};
use crate::profile::Benchmark;

/// Its options that have no value.
pub const FLAGS: &[&str] =
    &["q", "l", "I", "e", "x", "2", "3", "csv", "cluster", "enable-tracking", "tls", "insecure", "help", "version"];

/// Whether a text looks like its output: a rate with two digits behind the point, or the head of its table.
pub fn signs(text: &str) -> bool {
    let written = |rate: &str| number(rate).is_some() && has_hundredths(rate);
    text.contains("\"test\",\"rps\"") || text.lines().filter_map(rate).any(|(rate, _)| written(rate))
}

/// `GET: 95238.10 requests per second, p50=0.055 msec`: the rate, and what follows. The name before may hold anything.
fn rate(line: &str) -> Option<(&str, &str)> {
    let (before, after) = line.rsplit_once(" requests per second")?;
    Some((before.rsplit([' ', ':']).next()?, after))
}

/// One result for each command of Redis; they run one after the other.
pub fn read(words: &Words<'_>, text: &str) -> Result<Vec<Found>, String> {
    let found = if text.lines().any(|line| line.starts_with('"')) { table(text) } else { lines(text) };
    if found.is_empty() {
        return Err("it is incomplete, or holds no rate of requests".into());
    }
    if words.has(&["-l"]) == Some(true) {
        return Err("with -l it runs again and again, and nothing tells whether this is all that it measured".into());
    }
    let depth = words.value(&["-P"]).or("1").and_then(number);
    let asked = words.value(&["-c"]).known().and_then(number).and_then(count);
    let mut found: Vec<Found> = found.into_iter().map(Found::from).collect();
    for one in &mut found {
        let benchmark = &mut one.benchmark;
        benchmark.workload = "redis".into();
        benchmark.pairs = benchmark.pairs.or(asked);
        let times = [
            &mut benchmark.round_trip_ns,
            &mut benchmark.round_trip_p50_ns,
            &mut benchmark.round_trip_p99_ns,
            &mut benchmark.round_trip_max_ns,
        ];
        if depth != Some(1.0) {
            let left_out = times.into_iter().filter_map(Option::take).count() > 0;
            one.notes.extend(Some(pipelined(depth)).filter(|_| left_out).map(str::to_owned));
        }
        if words.has(&["-rps"]) == Some(true) {
            one.notes.push(by_the_clock("--rps"));
        }
    }
    Ok(found)
}

/// Why its times are no round trips.
fn pipelined(depth: Option<f64>) -> &'static str {
    match depth {
        Some(_) => "several requests are on their way at one time (-P), so that their times are left out",
        None => "how many requests are on their way at one time (-P) is not known, so that their times are left out",
    }
}

/// Lines of `--csv`; before 6.2 a name and a rate alone.
fn table(text: &str) -> Vec<Benchmark> {
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with('"'))
        .map(|line| line.split(',').map(|word| word.trim().trim_matches('"')).collect())
        .collect();
    let head = rows.first().filter(|row| row.first() == Some(&"test")).cloned();
    let rows = rows.iter().skip(usize::from(head.is_some()));
    let head = head.unwrap_or_else(|| vec!["test", "rps"]);
    let one = |row: &Vec<&str>| {
        let column = |name: &str| number(row.get(head.iter().position(|known| *known == name)?)?);
        let ms = |name: &str| column(name).map(|ms| ms * 1e6);
        Some(Benchmark {
            transactions_per_s: Some(column("rps").filter(|_| row.len() == head.len())?),
            round_trip_ns: ms("avg_latency_ms"),
            round_trip_p50_ns: ms("p50_latency_ms"),
            round_trip_p99_ns: ms("p99_latency_ms"),
            round_trip_max_ns: ms("max_latency_ms"),
            ..Benchmark::default()
        })
    };
    rows.filter_map(one).collect()
}

/// The text: a rate ends what belongs to it, but for the times behind it.
fn lines(text: &str) -> Vec<Benchmark> {
    let mut found: Vec<Benchmark> = Vec::new();
    let mut next = Benchmark::default();
    let mut latencies = false;
    for line in text.lines().map(str::trim) {
        if line.ends_with(" parallel clients") {
            next.pairs = leading(line).and_then(|(clients, _)| count(clients));
        } else if line.ends_with(" bytes payload") {
            next.message_bytes = leading(line).and_then(|(bytes, _)| whole(bytes));
        } else if let Some((_, rest)) = line.split_once(" requests completed in ") {
            let seconds = leading(rest).map(|(seconds, _)| seconds).filter(|seconds| *seconds > 0.0);
            // Of hundredths of a second a tenth is known to 10 %.
            next.duration_s = seconds.filter(|seconds| *seconds >= 0.5);
        } else if let Some((rate, after)) = rate(line) {
            let rate = number(rate);
            let median = after.split_once("p50=").and_then(|(_, rest)| leading(rest)).map(|(ms, _)| ms * 1e6);
            let done = std::mem::take(&mut next);
            found.extend(rate.map(|rate| Benchmark {
                transactions_per_s: Some(rate),
                round_trip_p50_ns: median,
                ..done
            }));
        } else if line.split_whitespace().eq(["avg", "min", "p50", "p95", "p99", "max"]) {
            latencies = true;
        } else if std::mem::take(&mut latencies)
            && let Some(values) = line.split_whitespace().map(number).collect::<Option<Vec<f64>>>()
            && let ([avg, _, p50, _, p99, max], Some(last)) = (values.as_slice(), found.last_mut())
        {
            last.round_trip_ns = Some(avg * 1e6);
            last.round_trip_p50_ns = Some(p50 * 1e6);
            last.round_trip_p99_ns = Some(p99 * 1e6);
            last.round_trip_max_ns = Some(max * 1e6);
        }
    }
    found
}
