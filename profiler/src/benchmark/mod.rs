//! What benchmark programs print, read: a file for each tool, each with a function `read` from text to [`Benchmark`].
//! The lab's own workers print theirs as data, which `profile::worker` describes.

mod iperf3;
mod netperf;
mod sockperf;
#[cfg(test)]
mod testdata;
mod wrk;

use crate::profile::{Benchmark, worker::WorkerReport};

/// Reads the words of a command, from the tool's name on, and what it printed.
type Read = fn(&[&str], &str) -> Option<Benchmark>;

/// The tools by name; the first that a command names has run.
const TOOLS: &[(&str, Read)] =
    &[("iperf3", iperf3::read), ("sockperf", sockperf::read), ("netperf", netperf::read), ("wrk", wrk::read)];

/// What the benchmark `command` measured, from its standard output; none where the output is not understood.
pub fn parse(command: &[String], stdout: &str) -> Option<Benchmark> {
    if let Some(report) = WorkerReport::find(stdout) {
        return Some(report.benchmark());
    }
    // The tool may stand behind others (`ip netns exec N iperf3 …`) or inside one word (`sh -c "iperf3 …"`).
    let words: Vec<&str> = command.iter().flat_map(|word| word.split_ascii_whitespace()).collect();
    let at = |tool: &str| words.iter().position(|word| word.rsplit('/').next() == Some(tool));
    let (at, read) = TOOLS.iter().find_map(|(tool, read)| Some((at(tool)?, read)))?;
    read(&words[at..], stdout)
}

/// The value of an option: `-m 64`, `-m64`, `--msg-size 64` or `--msg-size=64`.
fn option<'a>(words: &[&'a str], names: &[&str]) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(at, word)| {
        names.iter().find_map(|name| {
            let rest = word.strip_prefix(name)?;
            match rest.strip_prefix('=') {
                Some(value) => Some(value),
                None if rest.is_empty() => words.get(at + 1).copied(),
                None if !name.starts_with("--") => Some(rest),
                None => None,
            }
        })
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::{
        testdata::{IPERF3_TCP, read},
        *,
    };
    use crate::profile::worker::{RoundTrip, WORKER_SCHEMA};

    #[test]
    fn workers_lines_are_read() {
        let report = WorkerReport {
            schema: WORKER_SCHEMA.into(),
            side: "client".into(),
            workload: "tcp-rr".into(),
            message_bytes: 64,
            pairs: 2,
            duration_ns: 500_000_000,
            bytes: 6400,
            transactions: 100,
            round_trip: Some(RoundTrip {
                mean_ns: 12.5,
                far_ns: 0.0,
                p50_ns: 12,
                p90_ns: 15,
                p99_ns: 20,
                p999_ns: 25,
                max_ns: 30,
            }),
            retransmits: Some(0),
            ..WorkerReport::default()
        };
        let line = format!("ready\n{}\n", serde_json::to_string(&report).unwrap());
        let read = read("netstrata lab worker", &line);
        assert_eq!((read.transactions_per_s, read.round_trip_ns), (Some(200.0), Some(12.5)));
        assert_eq!((read.throughput_bits_per_s, read.pairs), (None, Some(2)));
        assert_eq!((read.round_trip_p999_ns, read.round_trip_max_ns), (Some(25.0), Some(30.0)));
    }

    #[test]
    fn other_commands_and_broken_output_give_nothing() {
        let words = |command: &str| command.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parse(&words("curl http://10.0.0.2"), IPERF3_TCP), None);
        assert_eq!(parse(&words("iperf3 -c 10.0.0.2"), "[  5] 0.00-1.00 sec 2.5 GBytes"), None);
        assert_eq!(parse(&words("iperf3 -J"), "}{"), None);
        assert_eq!(parse(&words("sockperf pp"), "sockperf: ERROR"), None);
        assert_eq!(parse(&words("netperf"), "establish control: are you sure"), None);
    }
}
