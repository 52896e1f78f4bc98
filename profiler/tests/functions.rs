//! The function tier on real traffic: the same bridge, with rules, in the tracepoint tier and in the function tier. Where
//! this kernel lets no function be hooked the test tells so and passes; `cargo xtask vm` runs it where it does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// Runs a mode in a tier and returns its report; `None` if this kernel refuses the tier.
fn report(directory: &std::path::Path, tier: &str) -> Option<Value> {
    let output = directory.join(tier);
    let netstrata = env!("CARGO_BIN_EXE_netstrata");
    let run = Command::new(netstrata)
        .args(["lab", "run", "bridge", "--workload", "tcp-rr", "--duration", "4s", "--pin", "same", "--tier", tier])
        // Without CPU samples: a layer is what lies between two crossings, in both tiers.
        .args(["--sample-every", "8", "--frequency", "0", "-o"])
        .arg(&output)
        .output()
        .unwrap();
    if run.status.code() == Some(3) {
        return None;
    }
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let profile = std::fs::read_dir(&output)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "prof"));
    let text = Command::new(netstrata).arg("report").arg(profile.unwrap()).args(["--format", "json"]).output().unwrap();
    assert!(text.status.success());
    Some(serde_json::from_slice(&text.stdout).unwrap())
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
    // SAFETY: a query without arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root");
        return;
    }
    let directory = std::env::temp_dir().join(format!("netstrata-functions-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let Some(function) = report(&directory, "function") else {
        eprintln!("skipped: this kernel lets no function be hooked");
        std::fs::remove_dir_all(&directory).unwrap();
        return;
    };
    let tracepoint = report(&directory, "tracepoint").unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
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
    for path in function["paths"].as_array().unwrap() {
        let spans: u64 = path["spans"].as_array().unwrap().iter().map(|span| span["ns"]["sum"].as_u64().unwrap()).sum();
        let rest = path["unattributed_ns"]["sum"].as_u64().unwrap();
        assert_eq!(spans + rest, path["end_to_end_ns"]["sum"].as_u64().unwrap());
    }
    let (with, without) = (by_layer(&function), by_layer(&tracepoint));
    // Two runs differ on a clock that other programs share; where instructions are the clock they are the same run.
    let command_line = std::fs::read_to_string("/proc/cmdline").unwrap();
    if !command_line.contains("clock=instructions") {
        eprintln!("not compared: the clock is not instructions ({with:?}, {without:?})");
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
