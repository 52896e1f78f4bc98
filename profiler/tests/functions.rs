//! The function tier on real traffic: the same bridge, with rules, in the tracepoint tier and in the function tier. Where
//! this kernel lets no function be hooked the test tells so and passes; `cargo xtask vm` runs it where it does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use support::{
    lab::Lab,
    ready::say_left_out,
    report::{closed, report},
};

/// Runs a mode in a tier and returns its report; `Err` tells why this kernel refuses the tier.
fn run(tier: &str) -> Result<Value, String> {
    let bridge = ["bridge", "--workload", "tcp-rr", "--duration", "4s", "--pin", "same", "--tier", tier];
    // Without CPU samples: a layer is what lies between two crossings, in both tiers.
    let mut lab = Lab::start(&[&bridge[..], &["--sample-every", "8", "--frequency", "0"]].concat());
    let ended = lab.end();
    if ended.code == Some(3) {
        return Err(ended.err);
    }
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    Ok(report(&lab.file("bridge.prof")))
}

/// Corrected time per packet of each layer as tracepoints divide it: the parts that functions made of a span count for the
/// span's own layer, which is that of its first part.
fn by_layer(report: &Value) -> BTreeMap<(String, String), f64> {
    let mut times = BTreeMap::new();
    let mut packets = 0.0;
    for path in report["paths"].as_array().unwrap().iter().filter(|path| path["protocol"] == "tcp") {
        packets += path["packets"].as_f64().unwrap();
        let mut layer = (Value::Null, String::new());
        for span in path["spans"].as_array().unwrap() {
            if span["span"] != layer.0 {
                layer = (span["span"].clone(), span["layer"].as_str().unwrap().to_owned());
            }
            *times.entry((span["kind"].as_str().unwrap().to_owned(), layer.1.clone())).or_insert(0.0) +=
                span["corrected_mean_ns"].as_f64().unwrap() * span["count"].as_f64().unwrap();
        }
    }
    times.values_mut().for_each(|time| *time /= packets);
    times
}

#[test]
fn the_tiers_agree_on_the_same_traffic() {
    let Some(_alone) = ready!() else { return };
    let function = match run("function") {
        Ok(report) => report,
        Err(reason) => {
            assert!(!Path::new("/sys/bus/event_source/devices/kprobe").exists(), "this kernel has kprobes: {reason}");
            skip!("{reason}");
        }
    };
    let tracepoint = run("tracepoint").unwrap();
    let hooks: Vec<&str> = function["functions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| (row["calls_per_packet"].as_f64()? > 0.5).then(|| row["hook"].as_str())?)
        .collect();
    for hook in ["bridge: handle", "bridge: learn", "bridge: forward", "ip: receive", "tcp: established", "veth: send"]
    {
        assert!(hooks.contains(&hook), "{hook} is not among {hooks:?}");
    }
    closed(&function);
    let (with, without) = (by_layer(&function), by_layer(&tracepoint));
    // Two runs differ on a clock that other programs share; where instructions are the clock they are the same run.
    let command_line = std::fs::read_to_string("/proc/cmdline").unwrap();
    if !command_line.contains("clock=instructions") {
        say_left_out(test_name!(), "comparison of times", &format!("no clock of instructions: {with:?}, {without:?}"));
        return;
    }
    for (layer, time) in &without {
        let other = with.get(layer).copied().unwrap_or(0.0);
        eprintln!("{} {}: {time:.0} ns by tracepoints, {other:.0} ns by functions", layer.0, layer.1);
    }
    // How long a reader waits depends on what else the one CPU has to do.
    let compared = without.iter().filter(|(layer, _)| layer.0 == "service" || layer.1 == "backlog");
    for (key, time) in compared {
        let (layer, other) = (&key.1, with.get(key).copied().unwrap_or(0.0));
        // A look at the clock costs 20 ns of this clock: what is off by that is not the correction's fault.
        let off = (other - time).abs() - 20.0;
        assert!(off <= 0.1 * time, "{layer}: {time:.0} ns by tracepoints, {other:.0} ns by functions");
    }
    let sums = [&without, &with].map(|times| times.values().sum::<f64>());
    assert!((sums[1] - sums[0]).abs() <= 0.1 * sums[0], "all layers: {sums:?} ns");
}
