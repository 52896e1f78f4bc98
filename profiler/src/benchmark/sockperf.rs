//! sockperf's text.

use super::{
    Found,
    text::{behind, by_the_clock, leading, quoted, whole},
    words::Words,
};
use crate::profile::Benchmark;

/// Bytes of a message without `-m`.
const LEAST_MESSAGE: &str = "14";

/// Kinds of runs in which each message waits for the answer before.
const WAITING: &[&str] = &["ping-pong", "pp"];

/// sockperf's text. Its latency is half the round trip, except with `--full-rtt`, where it says "Round trip".
pub fn read(words: &Words<'_>, text: &str) -> Result<Vec<Found>, String> {
    if let Some(line) = text.lines().find(|line| line.contains("ERROR:") || line.contains("No messages were received"))
    {
        return Err(format!("an error: {}", quoted(line)));
    }
    if let Some(line) = text.lines().find(|line| line.contains("No valid observations")) {
        return Err(format!("an error: {}", quoted(line)));
    }
    // A run begins by its version and a list of sockets; what is before the first one is nobody's.
    let begins: Vec<usize> = text.match_indices("== version #").map(|(at, _)| at).collect();
    let begins = if begins.is_empty() { vec![0] } else { begins };
    let ends = begins.iter().skip(1).copied().chain([text.len()]);
    begins.iter().zip(ends).map(|(&from, to)| run(words, &text[from..to])).collect()
}

fn run(words: &Words<'_>, text: &str) -> Result<Found, String> {
    let summaries: Vec<&str> =
        text.lines().filter(|line| line.contains("Summary: ") && !line.contains("BandWidth")).collect();
    let summary = match summaries.as_slice() {
        [summary] => *summary,
        [] => return Err("it is incomplete: the summary at its end is missing".into()),
        several => return Err(format!("it holds {} summaries, and more than one is not told apart", several.len())),
    };
    let protocol = match (text.contains("# TCP"), text.contains("# UDP")) {
        (true, false) => "tcp",
        (false, true) => "udp",
        (true, true) if words.has(&["--tcp"]) != Some(true) => {
            return Err("it holds sockets of several protocols".into());
        }
        _ => match words.has(&["--tcp"]) {
            Some(true) => "tcp",
            Some(false) => "udp",
            None => return Err("it does not tell which protocol it used".into()),
        },
    };
    let mut found = Found::default();
    let sockets = text.lines().filter(|line| line.trim_start().starts_with('[') && line.contains("PORT =")).count();
    let burst = words.value(&["--burst", "-b"]).known().is_some_and(|burst| burst != "1");
    found.benchmark.pairs = (sockets < 2 && !burst).then_some(1);
    if found.benchmark.pairs.is_none() {
        found.notes.push("several sockets or messages at one time have no number of pairs".into());
    }
    let printed = behind(text, "msg-size=").and_then(whole);
    let varies = words.has(&["--range", "-r"]);
    if varies != Some(true) && !text.contains("average msg-size") {
        let asked = words.value(&["--msg-size", "-m"]);
        found.benchmark.message_bytes = printed.or_else(|| asked.or(LEAST_MESSAGE)?.parse().ok());
    }
    if let Some(rate) = behind(summary, "Message Rate is") {
        throughput(&mut found, protocol, rate, text)?;
    } else {
        latency(&mut found.benchmark, words, protocol, summary, text)?;
        paced(&mut found, text)?;
        // A kind of run that the words name needs no guess.
        if words.says(WAITING) != Some(true) {
            looks_paced(&mut found);
        }
        if words.value(&["--mps"]).known().is_some_and(|rate| rate != "max")
            && found.benchmark.transactions_per_s.is_some()
        {
            found.notes.push(by_the_clock("--mps"));
        }
    }
    Ok(found)
}

/// Messages one way. They are counted where they are sent: over TCP what was sent is received, and of datagrams nobody knows.
fn throughput(found: &mut Found, protocol: &str, rate: f64, text: &str) -> Result<(), String> {
    found.benchmark.workload = format!("{protocol}-stream");
    found.benchmark.duration_s = behind(text, "messages sent in").filter(|seconds| *seconds > 0.0);
    if protocol == "udp" {
        found
            .notes
            .push("sockperf counts what is sent only, and what the receiver got of the datagrams is not known".into());
        return Ok(());
    }
    let line = text.lines().find(|line| line.contains("BandWidth is")).ok_or("its bandwidth is missing")?;
    let bandwidth = bandwidth(line).ok_or("the unit of its bandwidth is unknown")?;
    // The exact size times the rate is finer than what is printed, and the same.
    let exact = found.benchmark.message_bytes.map(|size| rate * size as f64 * 8.0);
    let bits = exact.unwrap_or(bandwidth);
    let rounded = (rate.max(1.0)).recip().max(0.01);
    if (bits - bandwidth).abs() > rounded * bits.max(bandwidth) && bandwidth > 1e6 {
        return Err("its rate of messages of their size contradicts its bandwidth".into());
    }
    found.benchmark.messages_per_s = Some(rate);
    found.benchmark.throughput_bits_per_s = Some(bits);
    found.notes.push("sockperf counts what the sender's socket took".into());
    Ok(())
}

/// `BandWidth is 451.793 MBps (3614.342 Mbps)`, with `--giga-size` GBps: powers of 1024.
fn bandwidth(line: &str) -> Option<f64> {
    let (value, unit) = leading(line.split_once("BandWidth is")?.1)?;
    let bytes = match unit.split_whitespace().next()? {
        "MBps" => 1_048_576.0,
        "GBps" => 1_073_741_824.0,
        _ => return None,
    };
    Some(value * bytes * 8.0)
}

fn latency(
    benchmark: &mut Benchmark,
    words: &Words<'_>,
    protocol: &str,
    summary: &str,
    text: &str,
) -> Result<(), String> {
    let full = summary.contains("Round trip is");
    let scale = if full { 1.0 } else { 2.0 };
    let unit = match (summary.contains("usec"), summary.contains("nsec")) {
        (true, false) => 1e3,
        (false, true) => 1.0,
        _ => return Err("the unit of its latency is unknown".into()),
    };
    let mean = behind(summary, "Latency is").or_else(|| behind(summary, "Round trip is"));
    let mean = mean.ok_or("its summary is of an unknown kind")?;
    let percentile = |name: &str| {
        let line = text.lines().find(|line| line.contains(name))?;
        Some(behind(line, "=")? * scale * unit)
    };
    let paced = words.says(&["under-load", "ul", "playback", "pb"]) == Some(true);
    benchmark.workload = if paced { format!("{protocol}-under-load") } else { format!("{protocol}-rr") };
    benchmark.round_trip_ns = Some(mean * scale * unit);
    benchmark.round_trip_p50_ns = percentile("percentile 50.000");
    benchmark.round_trip_p90_ns = percentile("percentile 90.000");
    benchmark.round_trip_p99_ns = percentile("percentile 99.000");
    benchmark.round_trip_p999_ns = percentile("percentile 99.900");
    benchmark.round_trip_max_ns = percentile("<MAX> observation");
    benchmark.failed = text.lines().find_map(|line| behind(line, "# dropped messages")).and_then(whole);
    Ok(())
}

/// Without the words a run that waits for each answer is known by its rate: its round trips fill the time.
fn looks_paced(found: &mut Found) {
    let benchmark = &mut found.benchmark;
    let filled = benchmark.transactions_per_s.zip(benchmark.round_trip_ns).map(|(rate, trip)| rate * trip / 1e9);
    if filled.is_some_and(|filled| !(0.5..1.1).contains(&filled)) {
        benchmark.transactions_per_s = None;
        benchmark.workload = benchmark.workload.replace("-rr", "-under-load");
        found
            .notes
            .push("it does not look as if each message waited for the answer before: its rate is left out".into());
    }
}

/// Messages by the time they took: a ping-pong has as many answers as requests; under load only some are answered, and how many
/// a second was the client's choice.
fn paced(found: &mut Found, text: &str) -> Result<(), String> {
    let Some(valid) = text.lines().find(|line| line.contains("[Valid Duration]")) else {
        found.notes.push("how long it ran is missing, and with it the rate".into());
        return Ok(());
    };
    found.benchmark.duration_s = behind(valid, "RunTime").filter(|seconds| *seconds > 0.0);
    let (sent, answered) = (behind(valid, "SentMessages"), behind(valid, "ReceivedMessages"));
    let (Some(sent), Some(answered), Some(seconds)) = (sent, answered, found.benchmark.duration_s) else {
        found.notes.push("its counts of messages or their time are missing, and with them the rate".into());
        return Ok(());
    };
    let total = text.lines().find(|line| line.contains("[Total Run]"));
    let of_all = |name: &str| total.and_then(|line| behind(line, name));
    let observed = text.lines().find(|line| line.contains(" observations;")).and_then(|line| behind(line, "Total "));
    let more = |part: f64, name: &str| of_all(name).is_some_and(|all| part > all);
    if answered > sent
        || more(seconds, "RunTime")
        || more(sent, "SentMessages")
        || more(answered, "ReceivedMessages")
        || observed.is_some_and(|observed| (observed - answered).abs() > 0.01 * answered + 1.0)
    {
        return Err("its counts of messages contradict each other".into());
    }
    // It sends before and behind the time that it measures: in a short run as long as in it.
    found.benchmark.unmeasured_s = of_all("RunTime").map(|all| all - seconds).filter(|seconds| *seconds > 0.0);
    if found.benchmark.workload.ends_with("-rr") && answered >= 0.5 * sent {
        found.benchmark.transactions_per_s = Some(answered / seconds);
    } else {
        // Without the words it looks like a ping-pong, and is none.
        found.benchmark.workload = found.benchmark.workload.replace("-rr", "-under-load");
        found.notes.push("it sends at a rate of its own, which is no rate of transactions".into());
    }
    Ok(())
}
