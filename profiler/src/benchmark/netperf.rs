//! netperf's tables.

use super::option;
use crate::profile::Benchmark;

/// netperf's tables of the classic tests, with banner or without (`-P 0`).
pub fn read(words: &[&str], stdout: &str) -> Option<Benchmark> {
    let test = option(words, &["-t"]).unwrap_or("TCP_STREAM").to_ascii_uppercase();
    let rows: Vec<Vec<f64>> = stdout
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<f64>>>())
        .filter(|row| !row.is_empty())
        .collect();
    let protocol = if test.starts_with("UDP") { "udp" } else { "tcp" };
    let mut benchmark = Benchmark { tool: "netperf".into(), pairs: Some(1), ..Benchmark::default() };
    let connects = test.ends_with("_CRR");
    if connects || test.ends_with("_RR") {
        // send size, receive size, request, response, seconds, transactions a second; then the remote's sizes
        let row = rows.iter().find(|row| row.len() >= 6)?;
        benchmark.workload = format!("{protocol}-{}", if connects { "crr" } else { "rr" });
        benchmark.message_bytes = Some(row[2] as u64);
        benchmark.duration_s = Some(row[4]);
        benchmark.transactions_per_s = Some(row[5]);
        benchmark.round_trip_ns = (row[5] > 0.0).then(|| 1e9 / row[5]);
        return Some(benchmark);
    }
    let unit = unit_of(words, stdout);
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
fn unit_of(words: &[&str], stdout: &str) -> f64 {
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
    use crate::benchmark::testdata::read;

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
            let connects = read("netperf -t TCP_CRR -H 10.0.0.2", text);
            assert_eq!((connects.workload.as_str(), connects.transactions_per_s), ("tcp-crr", Some(25000.0)));
            let read = read("netperf -t TCP_RR -H 10.0.0.2", text);
            assert_eq!((read.workload.as_str(), read.transactions_per_s), ("tcp-rr", Some(25000.0)));
            assert_eq!((read.round_trip_ns, read.message_bytes), (Some(40000.0), Some(1)));
        }
        let giga = read("netperf -f g -P 0", "131072 16384 16384 10.00 17.82\n");
        assert_eq!(giga.throughput_bits_per_s, Some(17.82e9));
        let udp = "212992   65507   10.00      119614      0    6268.38\n212992           10.00      119463           6260.47\n";
        assert_eq!(read("netperf -t UDP_STREAM -P 0", udp).throughput_bits_per_s, Some(6260.47e6));
    }
}
