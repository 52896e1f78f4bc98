//! Ground truth: a known cost put into a known layer is found in that layer and device, at its size, and nowhere else.
//! Needs root. `cargo test --release --test ground_truth -- --ignored --nocapture --test-threads 1` prints the tables.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::collections::BTreeMap;

use support::{
    inject::{Cost, Hook, TC_ACT_OK, TC_ACT_UNSPEC, inject},
    measure::{Awake, Row, record, round_trip},
    median,
    network::Network,
    traffic::Traffic,
};

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

/// Long enough for a thousand samples, at a budget that allows them.
const SHORT: Traffic = Traffic { duration: "1500ms", pinned: true, ..Traffic::REQUESTS };
const ENOUGH: [&str; 2] = ["--budget", "20%"];

/// Nanoseconds per packet of a layer in a direction: at a device, and elsewhere. Both by service and wait.
fn found(rows: &BTreeMap<Row, f64>, request: bool, layer: &str, device: &str) -> (f64, f64) {
    let of_layer = || rows.iter().filter(|(row, _)| row.layer == layer);
    let here: f64 = of_layer().filter(|(row, _)| row.device == device && row.request == request).map(|row| row.1).sum();
    (here, of_layer().map(|row| row.1).sum::<f64>() - here)
}

/// Wide, because machines that run tests are shared: what is tested is the place, not the time.
fn assert_about(what: &str, measured: f64, truth: f64) {
    assert!(measured > truth / 2.0 && measured < truth * 2.0, "{what}: {measured:.0} ns, {truth:.0} were put there");
}

#[test]
fn a_spinning_program_is_found_at_its_device_and_direction() {
    let Some(_alone) = ready!("nsenter", "taskset", "chrt", "tc") else { return };
    let network = Network::bridge();
    for (side, device, egress, verdict) in [
        ("middle", "veth-client", false, TC_ACT_OK),
        ("middle", "veth-server", true, TC_ACT_UNSPEC),
        ("client", "eth0", true, TC_ACT_OK),
    ] {
        let _injected = inject(&network, spin(side, device, egress, Hook::Clsact, verdict));
        let rows = record(&SHORT, &network, &ENOUGH).rows();
        let (here, elsewhere) = found(&rows, true, "tc", &format!("{side}/{device}"));
        assert_about(&format!("{side}/{device} egress {egress}"), here, f64::from(SPIN_NS));
        assert!(elsewhere < 0.25 * f64::from(SPIN_NS), "{side}/{device}: {elsewhere:.0} ns of tc elsewhere: {rows:#?}");
    }
}

#[test]
fn rules_of_the_bridge_are_netfilter_at_the_bridge_in_both_directions() {
    let Some(_alone) = ready!("nsenter", "taskset", "chrt", "nft") else { return };
    let network = Network::bridge();
    let without = record(&SHORT, &network, &ENOUGH);
    let _injected = inject(&network, Cost::Rules(2000));
    let with = record(&SHORT, &network, &ENOUGH);
    let truth = (with.round_trip_ns - without.round_trip_ns) / 2.0;
    for request in [true, false] {
        let more = |device| {
            let of = |rows| found(&rows, request, "netfilter", device).0;
            of(with.rows()) - of(without.rows())
        };
        assert_about("netfilter at br0", more("middle/br0"), truth);
    }
    let more =
        |layer, device| found(&with.rows(), true, layer, device).0 - found(&without.rows(), true, layer, device).0;
    assert!(more("bridge", "middle/br0") < 0.25 * truth, "the bridge itself: {:#?}", with.rows());
}

#[test]
fn a_shaped_device_is_a_wait_in_its_qdisc() {
    let Some(_alone) = ready!("nsenter", "taskset", "chrt", "tc") else { return };
    let network = Network::bridge();
    // A request is 64 bytes with 66 of headers: at 1 Mbit/s its tokens take 1040 us to come, and that is the round trip:
    // all else takes less, on a busy machine, too.
    let _injected = inject(&network, Cost::Shape(1));
    let recorded = record(&SHORT, &network, &ENOUGH);
    let rows = recorded.rows();
    let (wait, elsewhere) = found(&rows, true, "qdisc", "middle/veth-server");
    assert_about("qdisc at veth-server", wait, 1_040_000.0);
    assert!(wait < recorded.round_trip_ns, "{wait:.0} of {:.0} ns", recorded.round_trip_ns);
    assert!(elsewhere < 0.1 * wait, "{rows:#?}");
    let kind =
        |kind: &str| rows.iter().filter(|(row, _)| row.layer == "qdisc" && row.kind == kind).map(|row| row.1).sum();
    let (service, waiting): (f64, f64) = (kind("service"), kind("wait"));
    assert!(waiting > 10.0 * service, "{rows:#?}");
}

#[test]
fn packets_on_paths_and_lost_ones_are_what_the_devices_counted() {
    let Some(_alone) = ready!("nsenter", "taskset", "chrt") else { return };
    for workload in ["tcp-rr", "udp-rr"] {
        for slots in [None, Some("8")] {
            let network = Network::bridge();
            let mut options = vec!["--sample-every", "1", "--frequency", "99"];
            options.extend(slots.iter().flat_map(|slots| ["--debug-slots", slots]));
            let traffic = Traffic { workload, duration: "500ms", ..Traffic::REQUESTS };
            let recorded = record(&traffic, &network, &options);
            let trust = &recorded.report["trust"];
            let (sent, seen) = recorded.sent().iter().fold((0.0, 0.0), |sum, row| (sum.0 + row.1, sum.1 + row.2));
            let lost: f64 =
                ["slot_busy", "in_flight_at_end", "paths_full", "map_busy", "missed_nested", "address_reused"]
                    .iter()
                    .map(|cause| trust["lost"][cause].as_f64().unwrap())
                    .sum();
            assert!(sent > 100.0, "{:?}", recorded.report["devices"]);
            // What other networks of this machine lost is in `lost` too, so only its lack is an error.
            assert!(
                sent - seen <= lost + 0.005 * sent + 2.0,
                "{workload} {slots:?}: sent {sent}, on paths {seen}, lost {}",
                trust["lost"]
            );
            assert!(seen <= sent * 1.005 + 2.0, "{workload} {slots:?}: sent {sent}, on paths {seen}");
        }
    }
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(format!("NETSTRATA_TRUTH_{name}")).unwrap_or_else(|_| default.into())
}

#[test]
#[ignore = "takes minutes; prints the table"]
fn table_of_injected_costs() {
    let Some(_alone) = ready!("nsenter", "taskset", "chrt", "nft", "tc") else { return };
    let only = setting("ONLY", "");
    let options = setting("OPTIONS", "--budget 20%");
    let options: Vec<&str> = options.split_whitespace().collect();
    let count: usize = setting("PAIRS", "3").parse().unwrap();
    let duration: &'static str = Box::leak(setting("DURATION", "4s").into_boxed_str());
    let traffic = Traffic { duration, pinned: setting("PINNED", "1") == "1", ..Traffic::REQUESTS };
    let _awake = Awake::start(1);
    for (name, cost, layer, device) in scenarios().into_iter().filter(|row| only.is_empty() || row.0 == only) {
        let network = Network::bridge();
        let (mut pairs, mut truths) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let trip = round_trip(&traffic, &network);
            let without = record(&traffic, &network, &options);
            let injected = inject(&network, cost);
            let with = record(&traffic, &network, &options);
            let trip_with = round_trip(&traffic, &network);
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
    let Some(_alone) = ready!("nsenter", "taskset", "chrt") else { return };
    let count: usize = setting("PAIRS", "5").parse().unwrap();
    for (name, make) in [("host", Network::host as fn() -> Network), ("bridge", Network::bridge)] {
        let network = make();
        for pinned in [true, false] {
            for every in ["1", "64"] {
                let traffic = Traffic { duration: "1s", pinned, ..Traffic::REQUESTS };
                let mut ratios = Vec::new();
                for _ in 0..count {
                    let plain = round_trip(&traffic, &network);
                    let recorded = record(&traffic, &network, &["--sample-every", every, "--frequency", "99"]);
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
    let Some(_alone) = ready!("nsenter", "taskset", "chrt") else { return };
    for (name, make) in [("host", Network::host as fn() -> Network), ("bridge", Network::bridge)] {
        for workload in ["tcp-rr", "udp-rr", "tcp-stream", "udp-stream"] {
            for options in [&[][..], &["--debug-slots", "8"], &["--debug-nodes", "16"]] {
                let network = make();
                let size = if workload == "udp-stream" { 1400 } else { 64 };
                let traffic = Traffic { workload, size, duration: "1s", ..Traffic::REQUESTS };
                let all = [&["--sample-every", "1", "--frequency", "99"], options].concat();
                let recorded = record(&traffic, &network, &all);
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
