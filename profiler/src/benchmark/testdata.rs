//! What tests of several tools use.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::parse;
use crate::profile::Benchmark;

/// What a command, given in a line, measured.
pub fn read(command: &str, stdout: &str) -> Benchmark {
    let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    parse(&words, stdout).unwrap()
}

/// Output of iperf3 3.12 on loopback, shortened to what is read and what lies around it.
pub const IPERF3_TCP: &str = r#"{
	"start":	{ "version": "iperf 3.12",
		"test_start":	{ "protocol": "TCP", "num_streams": 1, "blksize": 131072, "omit": 0, "duration": 1 } },
	"end":	{
		"sum_sent":	{ "start": 0, "end": 1.000629, "seconds": 1.000629, "bytes": 2707816448,
			"bits_per_second": 21648914416.831814, "retransmits": 3, "sender": true },
		"sum_received":	{ "start": 0, "end": 1.004047, "seconds": 1.004047, "bytes": 2706505728,
			"bits_per_second": 21564773186.912567, "sender": true },
		"sender_tcp_congestion":	"bbr" } }"#;
