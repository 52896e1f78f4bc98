//! The comparison of the modes: medians, intervals and ratios.

use serde::Serialize;

use crate::profile::Benchmark;

/// What one mode gave.
#[derive(Clone, Debug)]
pub struct ModeRuns {
    /// Name of the mode.
    pub mode: String,
    /// One benchmark for each repeat.
    pub runs: Vec<Benchmark>,
}

/// Values of the repeats with their median.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Figure {
    /// In the order of the repeats.
    pub values: Vec<f64>,
    /// Median.
    pub median: f64,
    /// Lower and upper end of the interval.
    pub interval: [f64; 2],
    /// "range" (smallest and largest; fewer than 6 repeats allow no more) or "median-95" (distribution-free).
    pub interval_kind: &'static str,
}

impl Figure {
    /// Of these values; none without a value.
    pub fn new(values: Vec<f64>) -> Option<Self> {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 };
        Some(match order_statistic(sorted.len()) {
            Some(rank) => {
                let interval = [sorted[rank - 1], sorted[sorted.len() - rank]];
                Self { values, median, interval, interval_kind: "median-95" }
            }
            None => Self { values, median, interval: [first, last], interval_kind: "range" },
        })
    }
}

/// The largest rank k so that the k-th smallest and the k-th largest of `n` values hold the median with at least 95 %,
/// whatever the distribution: 2 P(Binomial(n, 1/2) < k) ≤ 5 %. None for fewer than 6 values.
pub fn order_statistic(n: usize) -> Option<usize> {
    let mut term = 0.5f64.powi(i32::try_from(n).ok()?);
    let mut below = 0.0;
    let mut rank = 0;
    for k in 0..n / 2 {
        below += term;
        if 2.0 * below > 0.05 {
            break;
        }
        rank = k + 1;
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    (rank > 0).then_some(rank)
}

/// Which figure of a benchmark is compared: (name in JSON, its value).
fn main_figure(benchmark: &Benchmark) -> Option<(&'static str, f64)> {
    let stream = benchmark.throughput_bits_per_s.map(|value| ("throughput_bits_per_s", value));
    stream
        .or(benchmark.transactions_per_s.map(|value| ("transactions_per_s", value)))
        .or(benchmark.messages_per_s.map(|value| ("messages_per_s", value)))
}

/// One mode of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the mode.
    pub mode: String,
    /// What is compared: "throughput_bits_per_s" or "transactions_per_s".
    pub figure: &'static str,
    /// Its values, median and interval.
    #[serde(flatten)]
    pub main: Figure,
    /// Median over the first mode's median.
    pub ratio: f64,
    /// Mean round trip.
    pub round_trip_ns: Option<Figure>,
    /// Whole benchmarks, one for each repeat.
    pub runs: Vec<Benchmark>,
}

/// Rows of the modes, in order.
pub fn rows(modes: &[ModeRuns]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for mode in modes {
        let found: Vec<(&str, f64)> = mode.runs.iter().filter_map(main_figure).collect();
        let Some(figure) = found.first().map(|entry| entry.0) else { continue };
        let Some(main) = Figure::new(found.iter().map(|entry| entry.1).collect()) else { continue };
        let base = rows.first().map_or(main.median, |first| first.main.median);
        rows.push(Row {
            mode: mode.mode.clone(),
            figure,
            ratio: if base > 0.0 { main.median / base } else { 0.0 },
            main,
            round_trip_ns: Figure::new(mode.runs.iter().filter_map(|run| run.round_trip_ns).collect()),
            runs: mode.runs.clone(),
        });
    }
    rows
}

/// `netstrata.comparison/1`.
pub fn json(rows: &[Row], workload: &str, size: u64, pairs: u32, recorded: bool) -> serde_json::Value {
    serde_json::json!({
        "schema": "netstrata.comparison/1",
        "workload": workload,
        "size": size,
        "pairs": pairs,
        "recorded": recorded,
        "modes": rows,
    })
}

/// The table for people.
pub fn table(rows: &[Row]) -> String {
    let trips = rows.iter().any(|row| row.round_trip_ns.is_some());
    let mut out = format!("{:<14} {:>16} {:>25}", "mode", "median", "interval");
    if trips {
        out.push_str(&format!(" {:>12}", "round trip"));
    }
    out.push_str("   ratio\n");
    for row in rows {
        let (scale, unit, digits) = match row.figure {
            "throughput_bits_per_s" => (1e-9, "Gbit/s", 2),
            "transactions_per_s" => (1.0, "/s", 0),
            _ => (1.0, "msg/s", 0),
        };
        let value = |number: f64| format!("{:.digits$}", number * scale);
        let [low, high] = row.main.interval;
        out.push_str(&format!(
            "{:<14} {:>16} {:>25}",
            row.mode,
            format!("{} {unit}", value(row.main.median)),
            format!("{} … {}", value(low), value(high))
        ));
        if trips {
            let trip = row.round_trip_ns.as_ref().map_or("-".into(), |trip| format!("{:.2} µs", trip.median / 1e3));
            out.push_str(&format!(" {trip:>12}"));
        }
        out.push_str(&format!("  {:>5.1} %\n", row.ratio * 100.0));
    }
    let kinds = rows.iter().map(|row| (row.main.interval_kind, row.main.values.len())).max_by_key(|kind| kind.1);
    out.push_str(match kinds {
        Some(("median-95", _)) => "interval: 95 % for the median, whatever the distribution\n",
        Some((_, 1)) => "one run of each mode: no interval; --repeat 6 or more gives one\n",
        _ => "interval: smallest and largest run; --repeat 6 or more gives a 95 % interval of the median\n",
    });
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_sign_test() {
        // Two-sided 5 % critical ranks of the sign test, as printed in tables.
        let known = [
            (1, None),
            (5, None),
            (6, Some(1)),
            (8, Some(1)),
            (9, Some(2)),
            (11, Some(2)),
            (12, Some(3)),
            (15, Some(4)),
            (20, Some(6)),
            (30, Some(10)),
            (100, Some(40)),
        ];
        for (n, rank) in known {
            assert_eq!(order_statistic(n), rank, "{n}");
        }
    }

    #[test]
    fn few_runs_have_a_range_and_many_an_interval() {
        let few = Figure::new(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((few.median, few.interval, few.interval_kind), (2.0, [1.0, 3.0], "range"));
        let many = Figure::new((1..=9).rev().map(f64::from).collect()).unwrap();
        assert_eq!((many.median, many.interval, many.interval_kind), (5.0, [2.0, 8.0], "median-95"));
        assert_eq!(Figure::new(vec![1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Figure::new(vec![]), None);
    }

    #[test]
    fn ratios_are_to_the_first_mode() {
        let run = |gigabits: f64| Benchmark { throughput_bits_per_s: Some(gigabits * 1e9), ..Benchmark::default() };
        let modes = [
            ModeRuns { mode: "host".into(), runs: vec![run(40.0), run(42.0), run(44.0)] },
            ModeRuns { mode: "bridge".into(), runs: vec![run(20.0), run(21.0), run(22.0)] },
        ];
        let rows = rows(&modes);
        assert_eq!(rows[1].ratio, 0.5);
        let text = table(&rows);
        assert!(text.contains("21.00 Gbit/s") && text.contains("20.00 … 22.00") && text.contains("50.0 %"), "{text}");
        let json = json(&rows, "tcp-stream", 131072, 1, false);
        assert_eq!(json["modes"][1]["median"], 21e9);
        assert_eq!(json["modes"][0]["interval"][1], 44e9);
    }
}
