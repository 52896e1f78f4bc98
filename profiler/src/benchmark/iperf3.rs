//! iperf3's JSON (`-J`).

use crate::profile::{
    Benchmark,
    measures::{Datagrams, PairSpread, SideUse},
};

/// iperf3 `-J`: one JSON object; text around it (a warning, a shell's own output) is passed over.
pub fn read(_words: &[&str], stdout: &str) -> Option<Benchmark> {
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
    let side = |name: &str, sum: &str| side_use(&end["cpu_utilization_percent"], name, duration_s, bytes(sum));
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
        datagrams: if udp { datagrams(end) } else { None },
        ..Benchmark::default()
    })
}

/// iperf3 tells percents of one CPU for its own process and the other side's.
fn side_use(percents: &serde_json::Value, name: &str, seconds: Option<f64>, bytes: Option<f64>) -> Option<SideUse> {
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
fn datagrams(end: &serde_json::Value) -> Option<Datagrams> {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use crate::benchmark::testdata::{IPERF3_TCP, read};

    // Outputs of iperf3 3.12 on loopback, shortened to what is read and what lies around it.
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
    const IPERF3_UDP: &str = r#"{
	"start":	{ "test_start":	{ "protocol": "UDP", "num_streams": 1, "blksize": 32768 } },
	"end":	{
		"sum":	{ "start": 0, "end": 1.000288, "seconds": 1.000288, "bytes": 5266800640,
			"bits_per_second": 42131118892.726364, "lost_packets": 107836, "packets": 160730,
			"lost_percent": 67.09139550799478, "sender": true },
		"sum_sent":	{ "seconds": 1.000078, "bytes": 5266800640, "bits_per_second": 42131118892.726364 },
		"sum_received":	{ "seconds": 1.000288, "bytes": 1719140352, "bits_per_second": 13749163057.039572,
			"lost_packets": 107836, "packets": 160300, "lost_percent": 67.09139550799478, "sender": false } } }"#;
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
}
