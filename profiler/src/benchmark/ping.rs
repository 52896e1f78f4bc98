//! ping's summary: iputils of all versions, busybox, and BSD's.

use super::{
    Found,
    text::{behind, number, whole},
    words::Words,
};
use crate::profile::Benchmark;

/// Times are told in steps of 1 us: below this they say too little.
const LEAST_NS: f64 = 1e4;

/// Round trips of ping. It sends by the clock, so it has no rate of its own; its summary is what counts, not its lines.
pub fn read(_: &Words<'_>, text: &str) -> Result<Vec<Found>, String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let heads: Vec<usize> = (0..lines.len()).filter(|&at| is_head(lines[at])).collect();
    if heads.is_empty() {
        return Err("it is incomplete: the summary at its end is missing".into());
    }
    let ends = heads.iter().skip(1).copied().chain([lines.len()]);
    let size = lines.iter().find_map(|line| behind(line.strip_prefix("PING ")?.split_once(')')?.1, "").and_then(whole));
    heads.iter().zip(ends).map(|(&from, to)| summary(&lines[from + 1..to], size)).collect()
}

fn is_head(line: &str) -> bool {
    line.starts_with("--- ") && line.ends_with(" ping statistics ---")
}

fn summary(lines: &[&str], size: Option<u64>) -> Result<Found, String> {
    let counts = lines.iter().find(|line| line.contains(" packets transmitted")).ok_or("its summary is incomplete")?;
    let part = |name: &str| counts.split(',').map(str::trim).find(|part| part.contains(name));
    let first = |name: &str| part(name)?.split(' ').next().and_then(number).and_then(whole);
    let (sent, received) = (first("transmitted"), first("received"));
    let (Some(sent), Some(received)) = (sent, received) else { return Err("its summary is incomplete".into()) };
    if received == 0 {
        return Err(format!("it has no round trip: an error, of {sent} requests none was answered"));
    }
    let lost = part(" packet loss").and_then(|part| number(part.split('%').next()?));
    let by_counts = 100.0 * (1.0 - received as f64 / sent.max(1) as f64);
    if received > sent || lost.is_some_and(|lost| (lost - by_counts).abs() > 1.0) {
        return Err("its counts of answers contradict each other".into());
    }
    let mut benchmark = Benchmark {
        workload: "icmp-rr".into(),
        message_bytes: size,
        pairs: Some(1),
        duration_s: part("time ").and_then(|part| super::text::time_ns(part.strip_prefix("time ")?)).map(|ns| ns / 1e9),
        failed: Some(sent.saturating_sub(received)),
        ..Benchmark::default()
    };
    benchmark.duration_s = benchmark.duration_s.filter(|seconds| *seconds > 0.0);
    let times = lines.iter().find_map(|line| line.strip_prefix("rtt ").or_else(|| line.strip_prefix("round-trip ")));
    let [least, mean, largest] =
        times.and_then(trips).ok_or("it tells no round trips: messages of at least 16 bytes have a time")?;
    if least > mean || mean > largest {
        return Err("its round trips are not in their order".into());
    }
    benchmark.round_trip_ns = Some(mean).filter(|ns| *ns >= LEAST_NS);
    benchmark.round_trip_max_ns = Some(largest).filter(|ns| *ns >= LEAST_NS);
    let mut found = Found::from(benchmark);
    if mean < LEAST_NS {
        found.notes.push("times below 10 us are left out, which it rounds to 1 us".into());
    }
    Ok(found)
}

/// `min/avg/max/mdev = 0.054/0.079/0.128/0.034 ms`: the first three, in ns.
fn trips(line: &str) -> Option<[f64; 3]> {
    let (names, values) = line.split_once(" = ")?;
    if !names.starts_with("min/avg/max") {
        return None;
    }
    let (values, unit) = values.split_once(' ')?;
    if unit.split([' ', ',']).next() != Some("ms") {
        return None;
    }
    let mut values = values.split('/').map(|word| number(word).map(|ms| ms * 1e6));
    Some([values.next()??, values.next()??, values.next()??])
}
