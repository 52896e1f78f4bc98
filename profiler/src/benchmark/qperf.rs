//! qperf's text: blocks of a test's name and its figures.

use super::{
    Found,
    text::{leading, quoted, time_ns, whole},
    words::Words,
};
use crate::profile::Benchmark;

/// Whether a text looks like its output.
pub fn signs(text: &str) -> bool {
    let names = ["tcp_bw:", "tcp_lat:", "udp_bw:", "udp_lat:", "sctp_bw:", "sctp_lat:"];
    text.lines().any(|line| names.contains(&line)) && text.contains("  =  ")
}

/// Whether the words name no other host: only options, one of which has the number of a port.
pub fn serves(words: &[&str]) -> bool {
    let port = |at: usize| at > 0 && matches!(words[at - 1], "-lp" | "--listen_port");
    words.iter().enumerate().all(|(at, word)| word.starts_with('-') || port(at))
}

/// One result for each block; they ran one after the other.
pub fn read(_: &Words<'_>, text: &str) -> Result<Vec<Found>, String> {
    let mut blocks: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.contains(' ') && !name.is_empty()) {
            blocks.push((name, Vec::new()));
        } else if let Some((name, value)) = line.split_once(" = ")
            && let Some((_, lines)) = blocks.last_mut()
        {
            lines.push((name.trim(), value.trim()));
        }
    }
    blocks.retain(|(name, _)| !matches!(*name, "conf" | "quit"));
    if blocks.is_empty() {
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
        return Err(format!("it holds no test: {}", quoted(line)));
    }
    blocks.iter().map(|(name, lines)| block(name, lines)).collect()
}

fn block(name: &str, lines: &[(&str, &str)]) -> Result<Found, String> {
    let value = |name: &str| lines.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let missing = |what: &str| format!("{what} of {} is missing or of an unknown unit", quoted(name));
    let (protocol, work) = name.rsplit_once('_').ok_or_else(|| format!("its test {} is unknown", quoted(name)))?;
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(format!("its test {} is of no protocol that is known", quoted(name)));
    }
    let mut benchmark = Benchmark {
        pairs: Some(1),
        message_bytes: value("msg_size").and_then(bytes).and_then(whole),
        duration_s: value("time").and_then(time_ns).map(|ns| ns / 1e9),
        ..Benchmark::default()
    };
    match work {
        "bw" => {
            benchmark.workload = format!("{protocol}-stream");
            let received = value("bw").or_else(|| value("recv_bw")).and_then(bits);
            benchmark.throughput_bits_per_s = Some(received.ok_or_else(|| missing("the bandwidth"))?);
        }
        "lat" => {
            benchmark.workload = format!("{protocol}-rr");
            // Its latency is the time of a message: half a round trip.
            let latency = value("latency").and_then(time_ns).ok_or_else(|| missing("the latency"))?;
            benchmark.round_trip_ns = Some(2.0 * latency);
        }
        _ => return Err(format!("its test {} is unknown", quoted(name))),
    }
    Ok(benchmark.into())
}

/// Bits a second: `1.31 GB/sec`, with `-b` `9.4 Gb/sec`; powers of 1000.
fn bits(value: &str) -> Option<f64> {
    let (value, unit) = leading(value)?;
    let factor = match unit.trim().strip_suffix("/sec")? {
        "bytes" => 8.0,
        "KB" => 8e3,
        "MB" => 8e6,
        "GB" => 8e9,
        "TB" => 8e12,
        "bits" => 1.0,
        "Kb" => 1e3,
        "Mb" => 1e6,
        "Gb" => 1e9,
        "Tb" => 1e12,
        _ => return None,
    };
    Some(value * factor)
}

/// Bytes of a message: `1 bytes`, `64 KiB (65,536)`.
fn bytes(value: &str) -> Option<f64> {
    let (value, unit) = leading(value)?;
    let factor = match unit.trim().split(' ').next()? {
        "bytes" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "KB" => 1e3,
        "MB" => 1e6,
        _ => return None,
    };
    Some(value * factor)
}
