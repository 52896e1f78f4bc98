//! Ground truth: a known cost put into a known layer is found in that layer and device, at its size, and nowhere else.
//! Needs root. `cargo test --release --test ground_truth -- --ignored --nocapture --test-threads 1` prints the tables.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use support::{
    inject::{Cost, Hook, TC_ACT_OK, TC_ACT_UNSPEC, inject},
    measure::{Awake, Load, Row},
    median,
    network::Network,
};

/// One at a time: the measurements would disturb each other.
static ONE: Mutex<()> = Mutex::new(());

fn ready(test: &str, programs: &[&str]) -> Option<MutexGuard<'static, ()>> {
    // SAFETY: a plain system call without arguments.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: needs root ({test})");
        return None;
    }
    for program in ["ip", "nsenter", "taskset", "chrt"].iter().chain(programs) {
        if Command::new(program).arg("-V").output().is_err() {
            println!("skipped: `{program}` is not installed ({test})");
            return None;
        }
    }
    Some(ONE.lock().unwrap_or_else(PoisonError::into_inner))
}

const SPIN_NS: i32 = 20_000;

fn spin(side: &'static str, device: &'static str, egress: bool, hook: Hook, verdict: i32) -> Cost {
    Cost::Spin { ns: SPIN_NS, side, device, egress, hook, verdict }
}

/// Name, cost, and where it must be found: layer and device.
fn scenarios() -> Vec<(&'static str, Cost, &'static str, &'static str)> {
    use Hook::{Clsact, Tcx};
    vec![
        ("ingress", spin("middle", "veth-client", false, Tcx, TC_ACT_OK), "tc", "middle/veth-client"),
        ("ingress-clsact", spin("middle", "veth-client", false, Clsact, TC_ACT_UNSPEC), "tc", "middle/veth-client"),
        ("egress", spin("middle", "veth-server", true, Tcx, TC_ACT_UNSPEC), "tc", "middle/veth-server"),
        ("egress-clsact", spin("middle", "veth-server", true, Clsact, TC_ACT_OK), "tc", "middle/veth-server"),
        ("egress-own", spin("client", "eth0", true, Tcx, TC_ACT_OK), "tc", "client/eth0"),
        ("rules", Cost::Rules(500), "netfilter", "middle/br0"),
        ("shape", Cost::Shape(10), "qdisc", "middle/veth-server"),
    ]
}

/// Median over pairs of what each row has more with the cost than without.
fn differences(pairs: &[[BTreeMap<Row, f64>; 2]]) -> BTreeMap<Row, (f64, f64)> {
    let rows: Vec<&Row> = pairs.iter().flatten().flat_map(BTreeMap::keys).collect();
    let value = |map: &BTreeMap<Row, f64>, row: &Row| map.get(row).copied().unwrap_or(0.0);
    rows.into_iter()
        .map(|row| {
            let without: Vec<f64> = pairs.iter().map(|pair| value(&pair[0], row)).collect();
            let more: Vec<f64> = pairs.iter().map(|pair| value(&pair[1], row) - value(&pair[0], row)).collect();
            (row.clone(), (median(&without), median(&more)))
        })
        .collect()
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(format!("NETSTRATA_TRUTH_{name}")).unwrap_or_else(|_| default.into())
}

#[test]
#[ignore = "takes minutes; prints the table"]
fn table_of_injected_costs() {
    let Some(_one) = ready("table_of_injected_costs", &["nft", "tc"]) else { return };
    let only = setting("ONLY", "");
    let options = setting("OPTIONS", "--budget 20%");
    let options: Vec<&str> = options.split_whitespace().collect();
    let count: usize = setting("PAIRS", "3").parse().unwrap();
    let duration: &'static str = Box::leak(setting("DURATION", "4s").into_boxed_str());
    let load = Load { workload: "tcp-rr", duration, pinned: setting("PINNED", "1") == "1" };
    let _awake = Awake::start();
    for (name, cost, layer, device) in scenarios().into_iter().filter(|row| only.is_empty() || row.0 == only) {
        let network = Network::bridge();
        let (mut pairs, mut truths) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let trip = load.round_trip(&network);
            let without = load.record(&network, &options);
            let injected = inject(&network, cost);
            let with = load.record(&network, &options);
            let trip_with = load.round_trip(&network);
            drop(injected);
            truths.push(trip_with - trip);
            println!(
                "# trip {trip:.0} -> {trip_with:.0} recorded {:.0} -> {:.0}; samples {} {}; rate {} {}",
                without.round_trip_ns,
                with.round_trip_ns,
                without.report["cpu"]["samples"],
                with.report["cpu"]["samples"],
                without.report["trust"]["sample_rate"],
                with.report["trust"]["sample_rate"],
            );
            pairs.push([without.rows(), with.rows()]);
        }
        // The rules are met in both directions.
        let truth = median(&truths) / if matches!(cost, Cost::Rules(_)) { 2.0 } else { 1.0 };
        println!("\n{name} {cost:?}: one way {truth:.0} ns by the round trip; expected in {layer} at {device}");
        for (row, (without, more)) in differences(&pairs) {
            let mark = if row.layer == layer && row.device == device { "<==" } else { "" };
            if without.abs() + more.abs() > 0.005 * truth {
                println!(
                    "{:8} {:12} {:22} {:8} {without:9.0} {more:+9.0} {:+7.1} % {mark}",
                    if row.request { "request" } else { "reply" },
                    row.layer,
                    row.device,
                    row.kind,
                    100.0 * more / truth
                );
            }
        }
    }
}

#[test]
#[ignore = "takes minutes; prints the table"]
fn table_of_closure() {
    let Some(_one) = ready("table_of_closure", &[]) else { return };
    let count: usize = setting("PAIRS", "5").parse().unwrap();
    for (name, make) in [("host", Network::host as fn() -> Network), ("bridge", Network::bridge)] {
        let network = make();
        for pinned in [true, false] {
            for every in ["1", "64"] {
                let load = Load { workload: "tcp-rr", duration: "1s", pinned };
                let mut ratios = Vec::new();
                for _ in 0..count {
                    let plain = load.round_trip(&network);
                    let recorded = load.record(&network, &["--sample-every", every, "--frequency", "99"]);
                    let parts = recorded.parts();
                    let sum: f64 = parts.iter().sum();
                    ratios.push(sum / recorded.round_trip_ns);
                    println!(
                        "{name:7} pinned {pinned:5} 1/{every:3} plain {plain:7.0} trip {:7.0} ways {:7.0} {:7.0} turns {:7.0} \
                         sum/trip {:.3}",
                        recorded.round_trip_ns,
                        parts[0],
                        parts[1],
                        parts[2],
                        sum / recorded.round_trip_ns
                    );
                }
                println!("{name:7} pinned {pinned:5} 1/{every:3} median ratio {:.3}", median(&ratios));
            }
        }
    }
}

#[test]
#[ignore = "takes a minute; prints the table"]
fn table_of_losses() {
    let Some(_one) = ready("table_of_losses", &[]) else { return };
    for (name, make) in [("host", Network::host as fn() -> Network), ("bridge", Network::bridge)] {
        for workload in ["tcp-rr", "udp-rr", "tcp-stream", "udp-stream"] {
            for options in [&[][..], &["--debug-slots", "8"], &["--debug-nodes", "16"]] {
                let network = make();
                let load = Load { workload, duration: "1s", pinned: false };
                let recorded = load.record(&network, &[&["--sample-every", "1", "--frequency", "99"], options].concat());
                let trust = &recorded.report["trust"];
                let lost: Vec<String> = trust["lost"]
                    .as_object()
                    .unwrap()
                    .iter()
                    .filter(|(_, value)| value.as_u64() != Some(0))
                    .map(|(name, value)| format!("{name} {value}"))
                    .collect();
                println!("{name} {workload} {options:?}: {} lost: {}", trust["verdict"], lost.join(", "));
                for (device, sent, seen) in recorded.sent() {
                    println!("    {device:12} sent {sent:9.0} on paths {seen:9.0} missing {:7.0}", sent - seen);
                }
            }
        }
    }
}
