//! Reads what benchmark programs print: iperf3 (`-J`), sockperf, netperf and the lab's own workers.

use super::{
    Benchmark,
    measures::{Datagrams, PairSpread, SideUse},
    worker::WorkerReport,
};

/// What the benchmark `command` measured, from its standard output; none where the output is not understood.
pub fn parse(command: &[String], stdout: &str) -> Option<Benchmark> {
    if let Some(report) = WorkerReport::find(stdout) {
        return Some(report.benchmark());
    }
    // The tool may stand behind others (`ip netns exec N iperf3 …`) or inside one word (`sh -c "iperf3 …"`).
    let words: Vec<&str> = command.iter().flat_map(|word| word.split_ascii_whitespace()).collect();
    let at = |tool: &str| words.iter().position(|word| word.rsplit('/').next() == Some(tool));
    if let Some(at) = at("iperf3") {
        iperf3(&words[at..], stdout)
    } else if let Some(at) = at("sockperf") {
        sockperf(&words[at..], stdout)
    } else if let Some(at) = at("netperf") {
        netperf(&words[at..], stdout)
    } else {
        None
    }
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

/// iperf3 `-J`: one JSON object; text around it (a warning, a shell's own output) is passed over.
fn iperf3(_words: &[&str], stdout: &str) -> Option<Benchmark> {
    let json = stdout.get(stdout.find('{')?..=stdout.rfind('}')?)?;
    let root: serde_json::Value = serde_json::from_str(json).ok()?;
    let start = &root["start"]["test_start"];
    let end = &root["end"];
    let udp = start["protocol"].as_str() == Some("UDP");
    let received = &end["sum_received"];
    // Before 3.11 UDP has only `sum`, whose rate is the sender's: what was lost is taken off.
    let throughput = match received["bits_per_second"].as_f64() {
        Some(rate) => rate,
        None => {
            end["sum"]["bits_per_second"].as_f64()? * (1.0 - end["sum"]["lost_percent"].as_f64().unwrap_or(0.0) / 100.0)
        }
    };
    let arrived = received["packets"].as_f64().zip(received["lost_packets"].as_f64()).map(|(all, lost)| all - lost);
    let duration_s = received["seconds"].as_f64().or_else(|| end["sum"]["seconds"].as_f64());
    let bytes = |sum: &str| end[sum]["bytes"].as_f64().or_else(|| end["sum"]["bytes"].as_f64());
    let side = |name: &str, sum: &str| iperf3_side(&end["cpu_utilization_percent"], name, duration_s, bytes(sum));
    let streams = end["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    // A UDP stream has one object, whose rate is the sender's.
    let rates: Vec<f64> = streams.iter().filter_map(|stream| stream["receiver"]["bits_per_second"].as_f64()).collect();
    Some(Benchmark {
        tool: "iperf3".into(),
        workload: if udp { "udp-stream" } else { "tcp-stream" }.into(),
        throughput_bits_per_s: Some(throughput),
        messages_per_s: arrived.zip(duration_s).filter(|(_, seconds)| *seconds > 0.0).map(|(count, s)| count / s),
        message_bytes: start["blksize"].as_u64(),
        pairs: start["num_streams"].as_u64().and_then(|pairs| u32::try_from(pairs).ok()),
        duration_s,
        retransmits: end["sum_sent"]["retransmits"].as_u64(),
        client: side("host", "sum_sent"),
        server: side("remote", "sum_received"),
        pair_spread: PairSpread::of("throughput_bits_per_s", &rates),
        datagrams: if udp { iperf3_datagrams(end) } else { None },
        ..Benchmark::default()
    })
}

/// iperf3 tells percents of one CPU for its own process and the other side's.
fn iperf3_side(percents: &serde_json::Value, name: &str, seconds: Option<f64>, bytes: Option<f64>) -> Option<SideUse> {
    let share = |part: &str| percents[format!("{name}_{part}")].as_f64().map(|percent| percent / 100.0);
    let ns = |part: &str| Some((share(part)? * seconds? * 1e9) as u64);
    let cpu_share = share("total")?;
    Some(SideUse {
        cpu_share,
        user_ns: ns("user"),
        system_ns: ns("system"),
        cpu_us_per_transaction: None,
        cpu_ns_per_byte: bytes.zip(seconds).filter(|(bytes, _)| *bytes > 0.0).map(|(b, s)| cpu_share * s * 1e9 / b),
    })
}

/// Datagrams of iperf3. Lost are the gaps before the last one that came: what was on its way at the end is neither
/// received nor lost.
fn iperf3_datagrams(end: &serde_json::Value) -> Option<Datagrams> {
    let lost = end["sum"]["lost_packets"].as_u64()?;
    let known = end["sum_received"]["packets"].as_u64().or_else(|| end["sum"]["packets"].as_u64())?;
    let streams = end["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reordered = streams.iter().map(|stream| stream["udp"]["out_of_order"].as_u64()).sum();
    Some(Datagrams {
        sent: end["sum"]["packets"].as_u64()?,
        received: known.saturating_sub(lost),
        lost,
        lost_share: if known > 0 { lost as f64 / known as f64 } else { 0.0 },
        reordered: if streams.is_empty() { None } else { reordered },
        ..Datagrams::default()
    })
}

/// sockperf's text. Its latency is half the round trip, except with `--full-rtt`, where it says "Round trip".
fn sockperf(words: &[&str], stdout: &str) -> Option<Benchmark> {
    let number = |after: &str, text: &str| -> Option<f64> {
        let rest = text[text.find(after)? + after.len()..].trim_start_matches([' ', '=']);
        rest.split(|c: char| !(c.is_ascii_digit() || c == '.')).next()?.parse().ok()
    };
    let seconds = |unit: &str| if unit.contains("[nsec]") || unit.contains("nsec") { 1e-9 } else { 1e-6 };
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

/// netperf's tables of the classic tests, with banner or without (`-P 0`).
fn netperf(words: &[&str], stdout: &str) -> Option<Benchmark> {
    let test = option(words, &["-t"]).unwrap_or("TCP_STREAM").to_ascii_uppercase();
    let rows: Vec<Vec<f64>> = stdout
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<f64>>>())
        .filter(|row| !row.is_empty())
        .collect();
    let protocol = if test.starts_with("UDP") { "udp" } else { "tcp" };
    let mut benchmark = Benchmark { tool: "netperf".into(), pairs: Some(1), ..Benchmark::default() };
    if test.ends_with("_RR") {
        // send size, receive size, request, response, seconds, transactions a second; then the remote's sizes
        let row = rows.iter().find(|row| row.len() >= 6)?;
        benchmark.workload = format!("{protocol}-rr");
        benchmark.message_bytes = Some(row[2] as u64);
        benchmark.duration_s = Some(row[4]);
        benchmark.transactions_per_s = Some(row[5]);
        benchmark.round_trip_ns = (row[5] > 0.0).then(|| 1e9 / row[5]);
        return Some(benchmark);
    }
    let unit = netperf_unit(words, stdout);
    benchmark.workload = format!("{protocol}-stream");
    if protocol == "udp" {
        // The sender's row: socket, message, seconds, messages, errors, rate; the receiver's: socket, seconds,
        // messages, rate.
        let at = rows.iter().position(|row| row.len() >= 6)?;
        let received = rows[at + 1..].iter().find(|row| row.len() == 4)?;
        benchmark.message_bytes = Some(rows[at][1] as u64);
        benchmark.duration_s = Some(received[1]);
        benchmark.messages_per_s = (received[1] > 0.0).then(|| received[2] / received[1]);
        benchmark.throughput_bits_per_s = Some(received[3] * unit);
    } else {
        // receive socket, send socket, message, seconds, rate
        let row = rows.iter().find(|row| row.len() >= 5)?;
        benchmark.message_bytes = Some(row[2] as u64);
        benchmark.duration_s = Some(row[3]);
        benchmark.throughput_bits_per_s = Some(row[4] * unit);
    }
    Some(benchmark)
}

/// Bits of one unit of netperf's throughput: the header tells; without it the option `-f`; else 10^6 bits.
fn netperf_unit(words: &[&str], stdout: &str) -> f64 {
    let headers = [
        ("10^3bits", 1e3),
        ("10^6bits", 1e6),
        ("10^9bits", 1e9),
        ("KBytes", 8.0 * 1024.0),
        ("MBytes", 8.0 * 1_048_576.0),
        ("GBytes", 8.0 * 1_073_741_824.0),
    ];
    if let Some((_, unit)) = headers.iter().find(|(name, _)| stdout.contains(name)) {
        return *unit;
    }
    match option(words, &["-f"]) {
        Some("k") => 1e3,
        Some("g") => 1e9,
        Some("K") => 8.0 * 1024.0,
        Some("M") => 8.0 * 1_048_576.0,
        Some("G") => 8.0 * 1_073_741_824.0,
        _ => 1e6,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::profile::worker::{RoundTrip, WORKER_SCHEMA};

    fn read(command: &str, stdout: &str) -> Benchmark {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        parse(&words, stdout).unwrap()
    }

    // Outputs of iperf3 3.12 and sockperf 3.7 on loopback, shortened to what is read and what lies around it.
    const IPERF3_TWO: &str = r#"{ "start": { "test_start": { "protocol": "TCP", "num_streams": 2, "blksize": 131072 } },
	"end": { "streams": [
		{ "sender": { "seconds": 1.015706, "bytes": 389283840 },
			"receiver": { "seconds": 1.015706, "bytes": 388890624, "bits_per_second": 3017817104.93259 } },
		{ "sender": { "seconds": 1.015706, "bytes": 391905280 },
			"receiver": { "seconds": 1.015706, "bytes": 391512064, "bits_per_second": 3038159653.668232 } } ],
		"sum_sent": { "seconds": 1.015706, "bytes": 781189120, "bits_per_second": 6152875891.25, "retransmits": 10 },
		"sum_received": { "seconds": 1.030919, "bytes": 780402688, "bits_per_second": 6055976758.6 },
		"cpu_utilization_percent": { "host_total": 15.38253665244967, "host_user": 0.18666423038270494,
			"host_system": 15.195968591170713, "remote_total": 13.67878773769754,
			"remote_user": 0.18759724210714188, "remote_system": 13.491093495982277 } } }"#;
    const IPERF3_TCP: &str = r#"{
	"start":	{ "version": "iperf 3.12",
		"test_start":	{ "protocol": "TCP", "num_streams": 1, "blksize": 131072, "omit": 0, "duration": 1 } },
	"end":	{
		"sum_sent":	{ "start": 0, "end": 1.000629, "seconds": 1.000629, "bytes": 2707816448,
			"bits_per_second": 21648914416.831814, "retransmits": 3, "sender": true },
		"sum_received":	{ "start": 0, "end": 1.004047, "seconds": 1.004047, "bytes": 2706505728,
			"bits_per_second": 21564773186.912567, "sender": true },
		"sender_tcp_congestion":	"bbr" } }"#;
    const IPERF3_UDP: &str = r#"{
	"start":	{ "test_start":	{ "protocol": "UDP", "num_streams": 1, "blksize": 32768 } },
	"end":	{
		"sum":	{ "start": 0, "end": 1.000288, "seconds": 1.000288, "bytes": 5266800640,
			"bits_per_second": 42131118892.726364, "lost_packets": 107836, "packets": 160730,
			"lost_percent": 67.09139550799478, "sender": true },
		"sum_sent":	{ "seconds": 1.000078, "bytes": 5266800640, "bits_per_second": 42131118892.726364 },
		"sum_received":	{ "seconds": 1.000288, "bytes": 1719140352, "bits_per_second": 13749163057.039572,
			"lost_packets": 107836, "packets": 160300, "lost_percent": 67.09139550799478, "sender": false } } }"#;
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
    fn iperf3_counts_what_the_receiver_got() {
        let tcp = read("ip netns exec a /usr/bin/iperf3 -c 127.0.0.1 -J", IPERF3_TCP);
        assert_eq!((tcp.tool.as_str(), tcp.workload.as_str()), ("iperf3", "tcp-stream"));
        assert_eq!(tcp.throughput_bits_per_s, Some(21564773186.912567));
        assert_eq!((tcp.retransmits, tcp.pairs, tcp.message_bytes), (Some(3), Some(1), Some(131072)));
        assert_eq!(tcp.duration_s, Some(1.004047));
        let udp = read("iperf3 -u -c 127.0.0.1 -J", &format!("warning: one\n{IPERF3_UDP}\n"));
        assert_eq!(udp.workload, "udp-stream");
        assert_eq!(udp.throughput_bits_per_s, Some(13749163057.039572));
        assert!((udp.messages_per_s.unwrap() - 52448.9).abs() < 1.0, "{udp:?}");
        let datagrams = udp.datagrams.unwrap();
        assert_eq!((datagrams.sent, datagrams.lost, datagrams.received), (160730, 107836, 52464));
        assert_eq!((datagrams.reordered, tcp.datagrams), (None, None));
    }

    #[test]
    fn iperf3_tells_the_cpu_of_both_sides_and_the_rate_of_each_stream() {
        let two = read("iperf3 -c 127.0.0.1 -J -P 2", IPERF3_TWO);
        let (client, server) = (two.client.unwrap(), two.server.unwrap());
        assert!((client.cpu_share - 0.153825).abs() < 1e-6 && (server.cpu_share - 0.136788).abs() < 1e-6);
        // 0.153825 × 1.030919 s over 781,189,120 bytes
        assert!((client.cpu_ns_per_byte.unwrap() - 0.203).abs() < 1e-3, "{client:?}");
        let spread = two.pair_spread.unwrap();
        assert_eq!((spread.min, spread.max), (3017817104.93259, 3038159653.668232));
    }

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

    #[test]
    fn netperf_tables_are_read_with_and_without_banner() {
        let stream = "MIGRATED TCP STREAM TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 10.0.0.2 () port 0 AF_INET\n\
                      Recv   Send    Send                          \nSocket Socket  Message  Elapsed              \n\
                      Size   Size    Size     Time     Throughput  \nbytes  bytes   bytes    secs.    10^6bits/sec  \n\n\
                      131072  16384  16384    10.00    17817.45   \n";
        let rr = "MIGRATED TCP REQUEST/RESPONSE TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 10.0.0.2 () port 0\n\
                  Local /Remote\nSocket Size   Request  Resp.   Elapsed  Trans.\nSend   Recv   Size     Size    Time     Rate\n\
                  bytes  Bytes  bytes    bytes   secs.    per sec   \n\n16384  131072 1        1       10.00    25000.00   \n\
                  16384  131072 \n";
        for text in [stream, "131072  16384  16384    10.00    17817.45   \n"] {
            let read = read("netperf -H 10.0.0.2 -P 0", text);
            assert_eq!((read.workload.as_str(), read.message_bytes), ("tcp-stream", Some(16384)));
            assert!((read.throughput_bits_per_s.unwrap() - 17817.45e6).abs() < 1.0);
        }
        for text in [rr, "16384  131072 1        1       10.00    25000.00   \n16384  131072 \n"] {
            let read = read("netperf -t TCP_RR -H 10.0.0.2", text);
            assert_eq!((read.workload.as_str(), read.transactions_per_s), ("tcp-rr", Some(25000.0)));
            assert_eq!((read.round_trip_ns, read.message_bytes), (Some(40000.0), Some(1)));
        }
        let giga = read("netperf -f g -P 0", "131072 16384 16384 10.00 17.82\n");
        assert_eq!(giga.throughput_bits_per_s, Some(17.82e9));
        let udp = "212992   65507   10.00      119614      0    6268.38\n212992           10.00      119463           6260.47\n";
        assert_eq!(read("netperf -t UDP_STREAM -P 0", udp).throughput_bits_per_s, Some(6260.47e6));
    }

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
            round_trip: Some(RoundTrip { mean_ns: 12.5, p50_ns: 12, p90_ns: 15, p99_ns: 20, p999_ns: 25, max_ns: 30 }),
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
