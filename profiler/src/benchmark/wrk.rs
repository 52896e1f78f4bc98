//! wrk's text.

use crate::profile::Benchmark;

/// wrk's text. Its latency is the time of a request, which is a round trip of one connection.
pub fn read(_: &[&str], stdout: &str) -> Option<Benchmark> {
    let rate = after(stdout, "Requests/sec:")?.parse().ok()?;
    let connections = stdout.lines().find_map(|line| {
        let (before, _) = line.split_once(" connections")?;
        before.rsplit(' ').next()?.parse().ok()
    });
    let (requests, took) = stdout.lines().find_map(|line| {
        let (requests, rest) = line.trim().split_once(" requests in ")?;
        Some((requests.parse::<u64>().ok()?, time(rest.split(',').next()?)?))
    })?;
    let column = |name: &str, at: usize| {
        let line = stdout.lines().find(|line| line.trim_start().starts_with(name))?;
        time(line.split_ascii_whitespace().nth(at)?)
    };
    let percentile = |name: &str| column(name, 1).map(|seconds| seconds * 1e9);
    Some(Benchmark {
        tool: "wrk".into(),
        workload: "http".into(),
        transactions_per_s: Some(rate).filter(|_| requests > 0),
        round_trip_ns: column("Latency ", 1).map(|seconds| seconds * 1e9),
        round_trip_max_ns: column("Latency ", 3).map(|seconds| seconds * 1e9),
        round_trip_p50_ns: percentile("50%"),
        round_trip_p90_ns: percentile("90%"),
        round_trip_p99_ns: percentile("99%"),
        pairs: connections,
        duration_s: Some(took),
        failed: Some(failed(stdout)),
        ..Benchmark::default()
    })
}

fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim)
}

/// Requests that failed: at their sockets, or answered by an error.
fn failed(text: &str) -> u64 {
    let counts = |line: &str| line.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
    let lines = ["Socket errors:", "Non-2xx or 3xx responses:"];
    lines.iter().filter_map(|name| after(text, name)).map(counts).sum()
}

/// A time with its unit, in seconds.
fn time(word: &str) -> Option<f64> {
    let at = word.find(|letter: char| letter.is_ascii_alphabetic())?;
    let number: f64 = word[..at].parse().ok()?;
    let unit = match &word[at..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Some(number * unit)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use crate::benchmark::testdata::read;

    const WRK: &str = "\
Running 3s test @ http://10.0.0.2:80/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   530.10us  123.22us   5.60ms   92.50%
    Req/Sec    30.31k     1.20k   32.10k    75.00%
  Latency Distribution
     50%  500.00us
     75%  540.00us
     90%  600.00us
     99%    1.10ms
  90519 requests in 3.00s, 73.29MB read
  Socket errors: connect 0, read 2, write 0, timeout 1
  Non-2xx or 3xx responses: 4
Requests/sec:  30167.21
Transfer/sec:     24.42MB
";

    #[test]
    fn requests_are_transactions_of_so_many_connections() {
        let found = read("wrk -t1 -c16 -d3s http://10.0.0.2:80/", WRK);
        assert_eq!((found.transactions_per_s, found.pairs, found.duration_s), (Some(30167.21), Some(16), Some(3.0)));
        assert!((found.round_trip_ns.unwrap() - 530_100.0).abs() < 1e-6);
        assert!((found.round_trip_p99_ns.unwrap() - 1_100_000.0).abs() < 1e-6);
        assert!((found.round_trip_max_ns.unwrap() - 5_600_000.0).abs() < 1e-6);
        assert_eq!(found.failed, Some(7));
        assert_eq!((found.throughput_bits_per_s, found.workload.as_str()), (None, "http"));
    }

    #[test]
    fn output_that_is_cut_off_is_no_result() {
        let cut = &WRK[..WRK.find("  90519").unwrap()];
        let words = ["wrk".to_owned()];
        assert_eq!(crate::benchmark::parse(&words, cut), None);
        assert_eq!(crate::benchmark::parse(&words, "unable to connect to 10.0.0.2:80 Connection refused\n"), None);
    }
}
