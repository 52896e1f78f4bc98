//! `cargo xtask overhead`: what recording at the default budget costs the traffic that is recorded.
//!
//! Runs with and without recording alternate, so that a drift of the machine meets both; each pair gives one loss, and the
//! median over the pairs is printed with its distribution-free 95 % interval, beside the share that the recordings
//! themselves report.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::run;

const MODES: [&str; 2] = ["host", "bridge"];
/// Workload, figure in the comparison, where client and server run. Round trips across CPUs measure wake-ups, which vary
/// far more than any probe costs.
const WORKLOADS: [(&str, &str, &str); 2] =
    [("tcp-stream", "throughput_bits_per_s", "none"), ("tcp-rr", "transactions_per_s", "same")];

/// Builds, runs the pairs, prints the table.
pub fn overhead(pairs: u32, duration: &str) -> Result<()> {
    run::run(run::cargo().args(["build", "--release"]))?;
    let target = run::target_directory()?;
    let program = target.join("release/netstrata");
    let directory = target.join("overhead");
    println!(
        "{:<12} {:<8} {:>8} {:>20} {:>12} {:>10}",
        "workload", "mode", "loss", "95 % interval", "reported", "pairs"
    );
    for (workload, figure, pin) in WORKLOADS {
        for mode in MODES {
            let mut losses = Vec::new();
            let mut reported = Vec::new();
            for _ in 0..pairs {
                let rate = |record: bool| -> Result<f64> {
                    let mut lab = Command::new(&program);
                    lab.args(["lab", "run", mode, "--workload", workload, "--pin", pin, "--duration", duration, "-o"]);
                    lab.arg(&directory);
                    if !record {
                        lab.arg("--no-record");
                    }
                    let output = lab.output().context("cannot start netstrata")?;
                    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                    let text = std::fs::read_to_string(directory.join("comparison.json"))?;
                    let comparison: Value = serde_json::from_str(&text)?;
                    let run = &comparison["modes"][0]["runs"][0];
                    run[figure].as_f64().with_context(|| format!("no {figure} in the comparison"))
                };
                let (without, with) = (rate(false)?, rate(true)?);
                losses.push(1.0 - with / without);
                reported.push(reported_share(&program, &directory.join(format!("{mode}.prof")))?);
            }
            let (median, low, high) = median_interval(&mut losses);
            let (share, ..) = median_interval(&mut reported);
            let interval = format!("{:+.1} % … {:+.1} %", 100.0 * low, 100.0 * high);
            println!(
                "{workload:<12} {mode:<8} {:>6.1} % {interval:>20} {:>10.1} % {pairs:>10}",
                100.0 * median,
                100.0 * share
            );
        }
    }
    Ok(())
}

/// What a recording says that it cost, as a share of the time of all CPUs.
fn reported_share(program: &Path, profile: &Path) -> Result<f64> {
    let output = Command::new(program).arg("report").arg(profile).args(["--format", "json"]).output()?;
    let report: Value = serde_json::from_slice(&output.stdout).context("the report is not JSON")?;
    report["trust"]["observer"]["cpu_share"].as_f64().context("no observer in the report")
}

/// The median and its distribution-free 95 % interval; the range for fewer than six values.
fn median_interval(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let median = (values[(count - 1) / 2] + values[count / 2]) / 2.0;
    // Largest rank k whose binomial tail below stays under 2.5 %.
    let (mut tail, mut term, mut rank) = (0.0, 0.5f64.powi(count as i32), 0);
    for index in 0..count / 2 {
        tail += term;
        if tail > 0.025 {
            break;
        }
        rank = index;
        term *= (count - index) as f64 / (index + 1) as f64;
    }
    (median, values[rank], values[count - 1 - rank])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_dozen_is_from_the_third_to_the_tenth() {
        let mut values: Vec<f64> = (1..=12).rev().map(f64::from).collect();
        assert_eq!(median_interval(&mut values), (6.5, 3.0, 10.0));
    }

    #[test]
    fn few_values_give_their_range() {
        assert_eq!(median_interval(&mut [3.0, 1.0, 2.0]), (2.0, 1.0, 3.0));
    }
}
