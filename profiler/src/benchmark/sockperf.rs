//! sockperf's text.

use super::option;
use crate::profile::Benchmark;

/// sockperf's text. Its latency is half the round trip, except with `--full-rtt`, where it says "Round trip".
pub fn read(words: &[&str], stdout: &str) -> Option<Benchmark> {
    let number = |after: &str, text: &str| -> Option<f64> {
        let rest = text[text.find(after)? + after.len()..].trim_start_matches([' ', '=']);
        rest.split(|c: char| !(c.is_ascii_digit() || c == '.')).next()?.parse().ok()
    };
    let seconds = |unit: &str| if unit.contains("nsec") { 1e-9 } else { 1e-6 };
    let protocol = if words.contains(&"--tcp") || stdout.contains("# TCP") { "tcp" } else { "udp" };
    let mut benchmark = Benchmark {
        tool: "sockperf".into(),
        message_bytes: option(words, &["--msg-size", "-m"]).map_or(Some(14), |size| size.parse().ok()),
        pairs: Some(1),
        ..Benchmark::default()
    };
    if let Some(rate) = number("Message Rate is", stdout) {
        benchmark.workload = format!("{protocol}-stream");
        benchmark.messages_per_s = Some(rate);
        // "MBps" are MiB; the exact size times the rate is finer where the size is known.
        benchmark.throughput_bits_per_s = match benchmark.message_bytes {
            Some(size) => Some(rate * size as f64 * 8.0),
            None => number("BandWidth is", stdout).map(|mib| mib * 1_048_576.0 * 8.0),
        };
        benchmark.duration_s = number("messages sent in", stdout);
        return Some(benchmark);
    }
    let summary = stdout.lines().find(|line| line.contains("Summary: "))?;
    let full = summary.contains("Round trip") || words.contains(&"--full-rtt");
    let scale = if full { 1.0 } else { 2.0 };
    let unit = seconds(summary) * 1e9;
    let mean = number("Latency is", summary).or_else(|| number("Round trip is", summary))?;
    let percentile = |name: &str| {
        let line = stdout.lines().find(|line| line.contains(name))?;
        Some(number("=", line)? * scale * unit)
    };
    benchmark.workload = match words.iter().find(|word| ["ping-pong", "pp", "under-load", "ul"].contains(word)) {
        Some(&("under-load" | "ul")) => format!("{protocol}-under-load"),
        _ => format!("{protocol}-rr"),
    };
    benchmark.round_trip_ns = Some(mean * scale * unit);
    benchmark.round_trip_p50_ns = percentile("percentile 50.000");
    benchmark.round_trip_p90_ns = percentile("percentile 90.000");
    benchmark.round_trip_p99_ns = percentile("percentile 99.000");
    benchmark.round_trip_p999_ns = percentile("percentile 99.900");
    benchmark.round_trip_max_ns = percentile("<MAX> observation");
    if let Some(valid) = stdout.lines().find(|line| line.contains("[Valid Duration]")) {
        benchmark.duration_s = number("RunTime", valid);
        let answered = number("ReceivedMessages", valid);
        benchmark.transactions_per_s =
            answered.zip(benchmark.duration_s).filter(|(_, time)| *time > 0.0).map(|(count, time)| count / time);
    }
    Some(benchmark)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use crate::benchmark::testdata::read;

    // Outputs of sockperf 3.7 on loopback, shortened to what is read and what lies around it.
    const SOCKPERF_PING_PONG: &str = "\
sockperf: \x1b[2;35m== version #3.7-no.git == \x1b[0m
sockperf[CLIENT] send on:sockperf: using recvfrom() to block on socket(s)

[ 0] IP = 127.0.0.1       PORT =  6001 # TCP
sockperf: Warmup stage (sending a few dummy messages)...
sockperf: Starting test...
sockperf: Test end (interrupted by timer)
sockperf: Test ended
sockperf: [Total Run] RunTime=1.000 sec; Warm up time=400 msec; SentMessages=71934; ReceivedMessages=71933
sockperf: ========= Printing statistics for Server No: 0
sockperf: [Valid Duration] RunTime=0.550 sec; SentMessages=39700; ReceivedMessages=39700
sockperf: \x1b[2;35m====> avg-latency=6.917 (std-dev=2.673)\x1b[0m
sockperf: # dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0
sockperf: Summary: Latency is 6.917 usec
sockperf: \x1b[2;35mTotal 39700 observations\x1b[0m; each percentile contains 397.00 observations
sockperf: ---> <MAX> observation =  468.867
sockperf: ---> percentile 99.999 =  468.867
sockperf: ---> percentile 99.990 =   50.614
sockperf: ---> percentile 99.900 =   24.275
sockperf: ---> percentile 99.000 =    8.978
sockperf: ---> percentile 90.000 =    7.090
sockperf: ---> percentile 75.000 =    6.940
sockperf: ---> percentile 50.000 =    6.674
sockperf: ---> percentile 25.000 =    6.649
sockperf: ---> <MIN> observation =    6.584
";
    const SOCKPERF_THROUGHPUT: &str = "\
[ 0] IP = 127.0.0.1       PORT =  6001 # TCP
sockperf: Total of 1133474 messages sent in 1.001 sec

sockperf: \x1b[2;35mNOTE: test was performed, using msg-size=64. For getting maximum throughput consider using --msg-size=1472\x1b[0m
sockperf: Summary: Message Rate is 1132906 [msg/sec]
sockperf: Summary: BandWidth is 69.147 MBps (553.177 Mbps)
";

    #[test]
    fn sockperf_latency_is_half_a_round_trip() {
        let pong = read("sockperf ping-pong --tcp -i 127.0.0.1 -m 64", SOCKPERF_PING_PONG);
        assert_eq!(pong.workload, "tcp-rr");
        assert!((pong.round_trip_ns.unwrap() - 13834.0).abs() < 0.01);
        assert!((pong.round_trip_p50_ns.unwrap() - 13348.0).abs() < 0.01);
        assert!((pong.round_trip_p99_ns.unwrap() - 17956.0).abs() < 0.01);
        assert!((pong.round_trip_p999_ns.unwrap() - 48550.0).abs() < 0.01);
        assert!((pong.round_trip_max_ns.unwrap() - 937734.0).abs() < 0.01);
        assert!((pong.transactions_per_s.unwrap() - 72181.8).abs() < 0.1);
        assert_eq!((pong.message_bytes, pong.throughput_bits_per_s), (Some(64), None));
        let load = read("sockperf under-load --tcp --msg-size=32", SOCKPERF_PING_PONG);
        assert_eq!((load.workload.as_str(), load.message_bytes), ("tcp-under-load", Some(32)));
        let full = SOCKPERF_PING_PONG.replace("Latency is", "Round trip is").replace("avg-latency", "avg-rtt");
        assert!((read("sockperf pp --full-rtt", &full).round_trip_ns.unwrap() - 6917.0).abs() < 0.01);
    }

    #[test]
    fn sockperf_throughput_is_rate_times_size() {
        let stream = read("sockperf tp --tcp -m 64", SOCKPERF_THROUGHPUT);
        assert_eq!((stream.workload.as_str(), stream.messages_per_s), ("tcp-stream", Some(1132906.0)));
        assert_eq!(stream.throughput_bits_per_s, Some(1132906.0 * 512.0));
        assert_eq!(stream.duration_s, Some(1.001));
    }
}
