//! The comparison of the modes: medians, intervals and ratios.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    metrics::{METRICS, Metric},
    options,
};
use crate::{cli::LabRunArgs, numbers::median, output::WIDTH, profile::Benchmark};

/// Figures without a column of their own: the first table has the one, and the other is throughput by message size.
const SAID_ELSEWHERE: &[&str] = &["round_trip_ns", "messages_per_s"];
/// Columns of one figure.
const COLUMN: usize = 12;

/// What one mode gave at one message size.
#[derive(Clone, Debug)]
pub struct ModeRuns {
    /// Name of the mode.
    pub mode: String,
    /// Bytes of one message.
    pub size: u64,
    /// One benchmark for each repeat.
    pub runs: Vec<Benchmark>,
}

/// Values of the repeats with their median.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Repeated {
    /// In the order of the repeats.
    pub values: Vec<f64>,
    /// Median.
    pub median: f64,
    /// Lower and upper end of the interval.
    pub interval: [f64; 2],
    /// "range" (smallest and largest; fewer than 6 repeats allow no more) or "median-95" (distribution-free).
    pub interval_kind: &'static str,
}

impl Repeated {
    /// Of these values; none without a value.
    pub fn new(values: Vec<f64>) -> Option<Self> {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let median = median(&sorted);
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

/// One mode in the comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the mode.
    pub mode: String,
    /// Bytes of one message.
    pub size: u64,
    /// What is compared: the name of a figure.
    pub figure: &'static str,
    /// Its values, median and interval.
    #[serde(flatten)]
    pub main: Repeated,
    /// Median over the first mode's median at this size; none where that one has no such figure.
    pub ratio: Option<f64>,
    /// Mean round trip.
    pub round_trip_ns: Option<Repeated>,
    /// All figures that the workload has, by name.
    pub figures: BTreeMap<&'static str, Repeated>,
    /// Whole benchmarks, one for each repeat.
    pub runs: Vec<Benchmark>,
}

/// Rows of the modes, in order. One figure is compared: the first that all have. A mode without it, where there is none that all have, is
/// told with its own.
pub fn rows(modes: &[ModeRuns]) -> Vec<Row> {
    let all: Vec<BTreeMap<&str, Repeated>> = modes.iter().map(figures).collect();
    let measured = || all.iter().filter(|figures| !figures.is_empty());
    let common = METRICS.iter().find(|metric| measured().all(|figures| figures.contains_key(metric.name)));
    let mut rows: Vec<Row> = Vec::new();
    for (mode, figures) in modes.iter().zip(all) {
        let own = common.or_else(|| METRICS.iter().find(|metric| figures.contains_key(metric.name)));
        let Some((figure, main)) =
            own.and_then(|metric| figures.get(metric.name).map(|main| (metric.name, main.clone())))
        else {
            continue;
        };
        let first = rows.iter().find(|row| row.size == mode.size);
        let base = first.map_or(main.median, |first| first.main.median);
        let same = first.is_none_or(|first| first.figure == figure);
        let ratio = same.then(|| if base > 0.0 { main.median / base } else { 0.0 });
        rows.push(Row {
            mode: mode.mode.clone(),
            size: mode.size,
            figure,
            ratio,
            main,
            round_trip_ns: figures.get("round_trip_ns").cloned(),
            figures,
            runs: mode.runs.clone(),
        });
    }
    rows
}

/// The figures that runs have, by name.
fn figures(mode: &ModeRuns) -> BTreeMap<&'static str, Repeated> {
    let of = |metric: &Metric| Repeated::new(mode.runs.iter().filter_map(metric.get).collect());
    METRICS.iter().filter_map(|metric| Some((metric.name, of(metric)?))).collect()
}

/// `netstrata.comparison/1`.
pub fn json(rows: &[Row], args: &LabRunArgs, sizes: &[u64], skipped: &[(&str, String)]) -> serde_json::Value {
    let skipped: Vec<_> =
        skipped.iter().map(|(mode, reason)| serde_json::json!({ "mode": mode, "reason": reason })).collect();
    serde_json::json!({
        "schema": "netstrata.comparison/1",
        "workload": args.workload,
        "size": sizes.first(),
        "sizes": sizes,
        "pairs": args.pairs,
        "repeats": args.repeat,
        "recorded": !args.no_record,
        "options": options::given(args, std::env::args_os().skip(1)),
        "modes": rows,
        "skipped": skipped,
    })
}

/// The tables for people.
pub fn table(rows: &[Row]) -> String {
    let names: Vec<String> = names(rows);
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(14);
    let trips = rows.iter().any(|row| row.round_trip_ns.is_some());
    let mut out = format!("{:<width$} {:>16} {:>25}", "mode", "median", "interval");
    if trips {
        out.push_str(&format!(" {:>12}", "round trip"));
    }
    out.push_str("   ratio\n");
    for (row, name) in rows.iter().zip(&names) {
        let Some(metric) = METRICS.iter().find(|metric| metric.name == row.figure) else { continue };
        let value = |number: f64| metric.print(number);
        let [low, high] = row.main.interval;
        out.push_str(&format!(
            "{name:<width$} {:>16} {:>25}",
            format!("{} {}", value(row.main.median), metric.unit),
            format!("{} … {}", value(low), value(high))
        ));
        if trips {
            let trip = row.round_trip_ns.as_ref().map_or("-".into(), |trip| format!("{:.2} µs", trip.median / 1e3));
            out.push_str(&format!(" {trip:>12}"));
        }
        out.push_str(&row.ratio.map_or("        -\n".into(), |ratio| format!("  {:>5.1} %\n", ratio * 100.0)));
    }
    if rows.iter().any(|row| row.figure == "flow_completion_mean_ns") {
        out.push_str("mean flow completion time: less is better\n");
    }
    let kinds = rows.iter().map(|row| (row.main.interval_kind, row.main.values.len())).max_by_key(|kind| kind.1);
    out.push_str(match kinds {
        Some(("median-95", _)) => "interval: 95 % for the median, whatever the distribution\n",
        Some((_, 1)) => "one run of each mode: no interval; --repeat 6 or more gives one\n",
        _ => "interval: smallest and largest run; --repeat 6 or more gives a 95 % interval of the median\n",
    });
    out.push_str(&details(rows, &names, width));
    out
}

/// Names of the rows: the mode, with the size where there are several.
fn names(rows: &[Row]) -> Vec<String> {
    let sweep = rows.iter().any(|row| row.size != rows[0].size);
    let name = |row: &Row| if sweep { format!("{} {} B", row.mode, row.size) } else { row.mode.clone() };
    rows.iter().map(name).collect()
}

/// Medians of the other figures, in as many tables as the width of a terminal asks for.
fn details(rows: &[Row], names: &[String], width: usize) -> String {
    let shown = |metric: &&Metric| {
        !SAID_ELSEWHERE.contains(&metric.name)
            && rows.iter().any(|row| row.figure != metric.name && row.figures.contains_key(metric.name))
    };
    let metrics: Vec<&Metric> = METRICS.iter().filter(shown).collect();
    if metrics.is_empty() {
        return String::new();
    }
    let mut out = String::from("\nmedians (their intervals are in comparison.json)\n");
    for chunk in metrics.chunks((WIDTH.saturating_sub(width) / COLUMN).max(1)) {
        out.push_str(&format!("{:<width$}", "mode"));
        chunk.iter().for_each(|metric| out.push_str(&format!("{:>COLUMN$}", metric.heading)));
        out.push('\n');
        for (row, name) in rows.iter().zip(names) {
            out.push_str(&format!("{name:<width$}"));
            for metric in chunk {
                let value = row.figures.get(metric.name).map_or("-".into(), |figure| metric.print(figure.median));
                out.push_str(&format!("{value:>COLUMN$}"));
            }
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

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
        let few = Repeated::new(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((few.median, few.interval, few.interval_kind), (2.0, [1.0, 3.0], "range"));
        let many = Repeated::new((1..=9).rev().map(f64::from).collect()).unwrap();
        assert_eq!((many.median, many.interval, many.interval_kind), (5.0, [2.0, 8.0], "median-95"));
        assert_eq!(Repeated::new(vec![1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Repeated::new(vec![]), None);
    }

    #[test]
    fn ratios_are_to_the_first_mode() {
        let run = |gigabits: f64| Benchmark { throughput_bits_per_s: Some(gigabits * 1e9), ..Benchmark::default() };
        let modes = [
            ModeRuns { mode: "host".into(), size: 1, runs: vec![run(40.0), run(42.0), run(44.0)] },
            ModeRuns { mode: "bridge".into(), size: 1, runs: vec![run(20.0), run(21.0), run(22.0)] },
        ];
        let rows = rows(&modes);
        assert_eq!(rows[1].ratio, Some(0.5));
        let text = table(&rows);
        assert!(text.contains("21.00 Gbit/s") && text.contains("20.00 … 22.00") && text.contains("50.0 %"), "{text}");
        let json = json(&rows, &LabRunArgs { pairs: 1, ..LabRunArgs::default() }, &[1], &[("ovs", "why".into())]);
        assert_eq!(json["skipped"][0]["reason"], "why");
        assert_eq!(json["modes"][1]["median"], 21e9);
        assert_eq!(json["modes"][0]["interval"][1], 44e9);
    }

    #[test]
    fn sizes_are_compared_with_their_own() {
        let runs = |mode: &str, size, rate: f64| ModeRuns {
            mode: mode.into(),
            size,
            runs: vec![Benchmark {
                transactions_per_s: Some(rate),
                round_trip_p99_ns: Some(1e9 / rate),
                ..Benchmark::default()
            }],
        };
        let rows =
            rows(&[runs("host", 1, 100.0), runs("host", 9, 50.0), runs("bridge", 1, 50.0), runs("bridge", 9, 40.0)]);
        assert_eq!(rows.iter().map(|row| row.ratio).collect::<Vec<_>>(), [1.0, 1.0, 0.5, 0.8].map(Some));
        let text = table(&rows);
        assert!(text.contains("bridge 9 B") && text.contains("p99 µs"), "{text}");
        assert_eq!(rows[2].figures["round_trip_p99_ns"].median, 2e7);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn one_figure_is_compared_or_no_ratio_is_told() {
        let runs = |mode: &str, rate, p50| ModeRuns {
            mode: mode.into(),
            size: 1,
            runs: vec![Benchmark { transactions_per_s: rate, round_trip_p50_ns: p50, ..Benchmark::default() }],
        };
        let found = |modes: &[ModeRuns]| rows(modes).iter().map(|row| (row.figure, row.ratio)).collect::<Vec<_>>();
        let (rate, p50) = ("transactions_per_s", "round_trip_p50_ns");
        let host = || runs("host", Some(70_000.0), Some(10_000.0));
        assert_eq!(found(&[host(), runs("bridge", Some(35_000.0), None)]), [(rate, Some(1.0)), (rate, Some(0.5))]);
        // A mode whose rate was not understood is compared by what both have.
        assert_eq!(found(&[host(), runs("bridge", None, Some(15_000.0))]), [(p50, Some(1.0)), (p50, Some(1.5))]);
        let apart = [runs("host", Some(70_000.0), None), runs("bridge", None, Some(15_000.0))];
        assert_eq!(found(&apart), [(rate, Some(1.0)), (p50, None)]);
        assert!(table(&rows(&apart)).contains("-\n"));
    }

    proptest! {
        #[test]
        fn a_median_lies_within_its_interval(values in prop::collection::vec(0.0f64..1e12, 1..40)) {
            let figure = Repeated::new(values.clone()).unwrap();
            prop_assert!(figure.interval[0] <= figure.median && figure.median <= figure.interval[1]);
            let mut turned = values;
            turned.reverse();
            prop_assert_eq!(figure.median, Repeated::new(turned).unwrap().median);
        }
    }
}
