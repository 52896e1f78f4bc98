//! What no benchmark can have measured is no figure, whatever a program printed.

use crate::profile::Benchmark;

/// 100 Tbit/s.
const MOST_BITS: f64 = 1e14;
const MOST_RATE: f64 = 1e10;
/// Ten days.
const LONGEST_NS: f64 = 1e15;
/// Three years.
const LONGEST_S: f64 = 1e8;
/// Of so many times as many at a time as there are connections. Tools that send by the clock count the wait for it.
const MOST_AT_A_TIME: f64 = 2.0;
/// Percentiles are rounded.
const ROUNDED: f64 = 1.02;

/// Takes away what cannot be; says what. `ahead`: how many requests of a connection may be under way beside the first.
pub fn check(benchmark: &mut Benchmark, ahead: f64) -> Vec<String> {
    let mut notes = Vec::new();
    let timed = benchmark.duration_s.is_some();
    let mut bounded = |name: &str, figure: &mut Option<f64>, least: f64, most: f64| {
        if let Some(value) = figure.filter(|value| !(least..=most).contains(value)) {
            *figure = None;
            notes.push(format!("{name} of {value:e} cannot be"));
        }
    };
    let shortest = 1e-3;
    bounded("a throughput", &mut benchmark.throughput_bits_per_s, 0.0, MOST_BITS);
    bounded("a rate of transactions", &mut benchmark.transactions_per_s, 0.0, MOST_RATE);
    bounded("a rate of messages", &mut benchmark.messages_per_s, 0.0, MOST_RATE);
    bounded("a duration in seconds", &mut benchmark.duration_s, 1e-6, LONGEST_S);
    bounded("a round trip in ns", &mut benchmark.round_trip_ns, shortest, LONGEST_NS);
    bounded("a median in ns", &mut benchmark.round_trip_p50_ns, shortest, LONGEST_NS);
    bounded("a 90th percentile in ns", &mut benchmark.round_trip_p90_ns, shortest, LONGEST_NS);
    bounded("a 99th percentile in ns", &mut benchmark.round_trip_p99_ns, shortest, LONGEST_NS);
    bounded("a 99.9th percentile in ns", &mut benchmark.round_trip_p999_ns, shortest, LONGEST_NS);
    bounded("a maximum in ns", &mut benchmark.round_trip_max_ns, shortest, LONGEST_NS);
    for (name, side) in [("client", &mut benchmark.client), ("server", &mut benchmark.server)] {
        if let Some(used) = side.filter(|used| !(0.0..=100_000.0).contains(&used.cpu_share)) {
            *side = None;
            notes.push(format!("{:e} CPUs of the {name} cannot be", used.cpu_share));
        }
    }
    if timed && benchmark.duration_s.is_none() {
        (benchmark.throughput_bits_per_s, benchmark.transactions_per_s, benchmark.messages_per_s) = (None, None, None);
        notes.push("without a time that can be there is no rate".into());
    }
    if [benchmark.throughput_bits_per_s, benchmark.transactions_per_s].contains(&Some(0.0)) {
        notes.push("it says that nothing arrived: a rate of 0".into());
    }
    if let Some(at_a_time) = too_many_at_a_time(benchmark, ahead) {
        (benchmark.transactions_per_s, benchmark.round_trip_ns) = (None, None);
        notes.push(format!(
            "its rate and its mean round trip contradict each other: {at_a_time:.1} at a time by {} connections",
            benchmark.pairs.unwrap_or(1)
        ));
    }
    if !in_order(benchmark) {
        benchmark.round_trip_ns = None;
        benchmark.round_trip_p50_ns = None;
        benchmark.round_trip_p90_ns = None;
        benchmark.round_trip_p99_ns = None;
        benchmark.round_trip_p999_ns = None;
        benchmark.round_trip_max_ns = None;
        notes.push("round trips that are not in their order cannot be".into());
    }
    notes
}

/// How many transactions were under way at a time by rate and round trip (Little's law), if it is more than connections can have.
pub(super) fn too_many_at_a_time(benchmark: &Benchmark, ahead: f64) -> Option<f64> {
    let pairs = f64::from(benchmark.pairs?) * (1.0 + ahead);
    let at_a_time = benchmark.transactions_per_s? * benchmark.round_trip_ns? / 1e9;
    Some(at_a_time).filter(|at_a_time| *at_a_time > MOST_AT_A_TIME * pairs)
}

/// Whether each percentile is at least the one before, and the largest at least the mean.
fn in_order(benchmark: &Benchmark) -> bool {
    let steps = [
        benchmark.round_trip_p50_ns,
        benchmark.round_trip_p90_ns,
        benchmark.round_trip_p99_ns,
        benchmark.round_trip_p999_ns,
        benchmark.round_trip_max_ns,
    ];
    let known: Vec<f64> = steps.into_iter().flatten().collect();
    let rising = known.windows(2).all(|pair| pair[0] <= pair[1] * ROUNDED);
    let mean = benchmark.round_trip_ns.zip(benchmark.round_trip_max_ns).is_none_or(|(mean, max)| mean <= max * ROUNDED);
    rising && mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_cannot_be_go_with_a_word_and_others_stay() {
        for value in [-1.0, f64::NAN, f64::INFINITY, 1e20] {
            let mut benchmark =
                Benchmark { throughput_bits_per_s: Some(value), duration_s: Some(10.0), ..Benchmark::default() };
            let notes = check(&mut benchmark, 0.0);
            assert_eq!((benchmark.throughput_bits_per_s, benchmark.duration_s, notes.len()), (None, Some(10.0), 1));
        }
        let mut good =
            Benchmark { throughput_bits_per_s: Some(4e11), round_trip_ns: Some(1.0), ..Benchmark::default() };
        assert!(check(&mut good, 0.0).is_empty());
        assert_eq!(good.throughput_bits_per_s, Some(4e11));
    }

    #[test]
    fn one_connection_has_one_request_at_a_time() {
        let of = |pairs, rate| Benchmark {
            transactions_per_s: Some(rate),
            round_trip_ns: Some(1e6),
            pairs: Some(pairs),
            ..Benchmark::default()
        };
        for (mut benchmark, notes) in [(of(1, 990.0), 0), (of(1, 5000.0), 1), (of(8, 7900.0), 0)] {
            assert_eq!(check(&mut benchmark, 0.0).len(), notes);
            assert_eq!(
                (benchmark.transactions_per_s.is_none(), benchmark.round_trip_ns.is_none()),
                (notes == 1, notes == 1)
            );
        }
    }

    #[test]
    fn percentiles_rise() {
        let mut benchmark = Benchmark {
            round_trip_p50_ns: Some(50.0),
            round_trip_p99_ns: Some(40.0),
            transactions_per_s: Some(1.0),
            ..Benchmark::default()
        };
        assert_eq!(check(&mut benchmark, 0.0).len(), 1);
        assert_eq!((benchmark.round_trip_p50_ns, benchmark.transactions_per_s), (None, Some(1.0)));
    }
}
