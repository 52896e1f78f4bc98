//! `docs/report.schema.json` against what `report --format json` emits, and against the contract's names.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use netstrata::{
    analysis::account_with_intervals,
    profile::{
        BatchPath, BatchRecord, Benchmark, CpuRecord, CrossingRecord, DropRecord, Histogram, PathRecord, Profile,
        SampleRecord, TaskRecord, TurnRecord,
        measures::{Creation, Datagrams, FlowTimes, MachineUse, NeighbourUse, PairSpread, SideUse},
        merge, read,
    },
    report::json::value,
};
use netstrata_common::{End, Loss, Point, Protocol};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn schema() -> Value {
    serde_json::from_slice(&std::fs::read(root().join("docs/report.schema.json")).unwrap()).unwrap()
}

fn report(profile: &Profile) -> Value {
    value(profile, &account_with_intervals(profile))
}

/// What the schema says against a report, in words.
fn complaints(report: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    validator.iter_errors(report).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn recorded() -> Vec<Profile> {
    let directory = std::fs::read_dir(root().join("fixtures/profiles")).unwrap();
    let profiles: Vec<Profile> = directory.map(|entry| read(&entry.unwrap().path()).unwrap()).collect();
    assert!(!profiles.is_empty());
    profiles
}

fn histogram(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    values.iter().for_each(|value| histogram.add(*value, 4));
    histogram
}

/// A profile with something in every list.
fn hand_made() -> Profile {
    let crossing = |point, ifindex| CrossingRecord { point, netns: 1, ifindex };
    let mut profile = Profile::default();
    profile.meta.command = vec!["iperf3".into()];
    profile.meta.exit_code = Some(143);
    profile.meta.benchmark = Some(Benchmark {
        tool: "netstrata".into(),
        client: Some(SideUse::default()),
        server: Some(SideUse::default()),
        machine: Some(MachineUse::default()),
        pair_spread: PairSpread::of("transactions_per_s", &[1.0, 2.0]),
        flows: vec![FlowTimes { class: "mice".into(), ..FlowTimes::default() }],
        datagrams: Some(Datagrams::default()),
        creation: Some(Creation::default()),
        neighbours: vec![NeighbourUse { kind: "busy".into(), ..NeighbourUse::default() }],
        ..Benchmark::default()
    });
    profile.meta.missing.insert("sk_data_ready".into(), "not in this kernel".into());
    profile.sampling.rates = vec![(0, 64), (5, 8)];
    // More than the first span has room for.
    profile.observer.ns_in_span_per_crossing = 18.0;
    (profile.observer.ns_in_span_low, profile.observer.ns_in_span_high) = (12.0, 20.0);
    profile.lost.insert(Loss::RingFull, 3);
    profile.paths.push(PathRecord {
        id: u64::MAX,
        crossings: vec![crossing(Point::Queue, 1), crossing(Point::Xmit, 1), crossing(Point::Drop, 1)],
        end: End::Dropped,
        reason: Some("NETFILTER_DROP".into()),
        protocol: Protocol::TCP,
        packets: 8,
        end_to_end: histogram(&[30, 70]),
        spans: vec![histogram(&[10, 20]), histogram(&[20, 50])],
        ..PathRecord::default()
    });
    profile.cpu = CpuRecord {
        source: "cpu-clock".into(),
        period_ns: 1_000_000,
        samples: 7,
        tasks: vec![TaskRecord { pid: 9, comm: "iperf3".into(), container: Some("web".into()) }],
        entries: vec![SampleRecord { user: true, count: 7, ..SampleRecord::default() }],
        ..CpuRecord::default()
    };
    profile.drops.push(DropRecord { reason: "NO_SOCKET".into(), count: 2, ..DropRecord::default() });
    profile.turnarounds.push(TurnRecord { netns: 1, pid: 9, ns: histogram(&[100]) });
    for (packets, sum_ns) in [(3, 150), (3, 130), (2, 120)] {
        let path =
            BatchPath { packets, sum_ns, spans_ns: vec![sum_ns / 3, sum_ns - sum_ns / 3], ..BatchPath::default() };
        profile.batches.push(BatchRecord { paths: [(u64::MAX, path)].into(), ..BatchRecord::default() });
    }
    profile
}

#[test]
fn reports_of_recorded_profiles_keep_to_the_schema() {
    for profile in recorded() {
        assert_eq!(complaints(&report(&profile)), Vec::<String>::new());
    }
}

#[test]
fn reports_of_hand_made_profiles_keep_to_the_schema() {
    let mut folded = hand_made();
    folded.fold(0);
    assert_eq!(report(&folded)["meta"]["folded_paths"], 1);
    for profile in [Profile::default(), hand_made(), folded] {
        assert_eq!(complaints(&report(&profile)), Vec::<String>::new());
    }
}

#[test]
fn what_batches_tell_apart_has_intervals() {
    let report = report(&hand_made());
    let layer = report["layers"].as_array().unwrap().iter().find(|row| row["layer"] == "qdisc").unwrap();
    let [low, high] = [0, 1].map(|end| layer["intervals"]["latency_ns_per_packet"][end].as_f64().unwrap());
    assert!(low < layer["latency_ns_per_packet"].as_f64().unwrap() && low < high, "{layer}");
    assert_eq!(layer["interval"], layer["intervals"]["latency_ns_per_packet"]);
    let path = &report["paths"][0];
    assert!(path["spans"][0]["ns"]["interval"].is_array() && path["corrected_end_to_end_ns"]["interval"].is_array());
}

#[test]
fn reports_of_several_recordings_keep_to_the_schema() {
    let mut again = hand_made();
    again.meta.started_ns = 1;
    let report = report(&merge(vec![("one".into(), hand_made()), ("other".into(), again)]).unwrap());
    assert_eq!(report["meta"]["recordings"], 2);
    assert_eq!(report["meta"]["benchmark"]["flows"][0]["p50_ns"], Value::Null);
    assert_eq!(complaints(&report), Vec::<String>::new());
}

#[test]
fn the_schema_refuses_what_breaks_the_contract() {
    let good = report(&hand_made());
    let broken = |edit: &dyn Fn(&mut Value)| {
        let mut report = good.clone();
        edit(&mut report);
        complaints(&report)
    };
    assert!(!broken(&|report| report["schema"] = "netstrata.report/2".into()).is_empty());
    assert!(!broken(&|report| report["paths"][0]["end_to_end_ns"]["sum"] = Value::Null).is_empty());
    assert!(!broken(&|report| report["trust"]["verdict"] = "fine".into()).is_empty());
    assert!(!broken(&|report| drop(report.as_object_mut().unwrap().remove("drops"))).is_empty());
    assert!(!broken(&|report| report["paths"][0]["spans"][0]["kind"] = "busy".into()).is_empty());
    for interval in ["/paths/0/end_to_end_ns/interval", "/paths/0/spans/0/ns/interval"] {
        assert!(good.pointer(interval).is_some_and(Value::is_array), "{interval}");
        assert!(!broken(&|report| *report.pointer_mut(interval).unwrap() = 1.into()).is_empty(), "{interval}");
    }
    assert!(broken(&|report| report["added_later"] = 1.into()).is_empty());
}

/// The names of the contract, each with where it stands.
const CONTRACT: &[(&str, &[&str])] = &[
    ("", &["schema", "meta", "trust", "paths", "layers", "cpu", "drops"]),
    ("/meta", &["kernel", "cpus", "duration_ns", "tiers", "command", "benchmark"]),
    ("/trust", &["verdict", "reasons", "sample_rate", "lost", "observer", "steal_share"]),
    ("/trust/observer", &["cpu_share", "ns_per_crossing"]),
    (
        "/paths/0",
        &[
            "id",
            "from",
            "to",
            "protocol",
            "packets",
            "wire_packets",
            "bytes",
            "end_to_end_ns",
            "unattributed_ns",
            "softirqs_per_packet",
            "cpu_hops_per_packet",
            "spans",
        ],
    ),
    ("/paths/0/end_to_end_ns", &["count", "sum", "mean", "p50", "p90", "p99", "max"]),
    ("/paths/0/unattributed_ns", &["count", "sum", "mean", "p50", "p90", "p99", "max"]),
    ("/paths/0/spans/0", &["layer", "device", "netns", "kind", "tier", "count", "ns", "share"]),
    ("/paths/0/spans/0/ns", &["sum", "mean", "p50", "p90", "p99", "max"]),
    (
        "/layers/0",
        &["layer", "latency_ns_per_packet", "cpu_ns_per_packet", "cpu_ns_per_byte", "cpu_share", "wait_share"],
    ),
    ("/cpu", &["samples", "period_ns", "busy_ns", "unattributed_share", "by_context"]),
    ("/drops/0", &["reason", "layer", "device", "count"]),
];

#[test]
fn every_name_of_the_contract_is_emitted_and_required() {
    let whole = report(&hand_made());
    for (place, names) in CONTRACT {
        for name in *names {
            let object = whole.pointer(place).and_then(Value::as_object).unwrap_or_else(|| panic!("no {place}"));
            assert!(object.contains_key(*name), "{place}/{name} is not emitted");
            let mut without = whole.clone();
            without.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(*name);
            assert!(!complaints(&without).is_empty(), "the schema does not require {place}/{name}");
        }
    }
}

#[test]
fn every_name_that_is_emitted_is_described() {
    fn names(value: &Value, found: &mut std::collections::BTreeSet<String>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(name, value)| {
                found.insert(name.clone());
                // These two are keyed by what was found, not by names of the format.
                if name != "lost" && name != "missing" {
                    names(value, found);
                }
            }),
            Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }
    let mut emitted = std::collections::BTreeSet::new();
    names(&report(&hand_made()), &mut emitted);
    recorded().iter().for_each(|profile| names(&report(profile), &mut emitted));
    let schema = schema().to_string();
    let page = std::fs::read_to_string(root().join("docs/output.md")).unwrap();
    for name in emitted {
        assert!(schema.contains(&format!("\"{name}\":{{")), "the schema does not describe `{name}`");
        assert!(page.contains(&format!("`{name}`")), "docs/output.md does not describe `{name}`");
    }
}

#[test]
fn the_recorded_profiles_close_in_integers() {
    for profile in recorded() {
        for path in report(&profile)["paths"].as_array().unwrap() {
            let spans: u64 =
                path["spans"].as_array().unwrap().iter().map(|span| span["ns"]["sum"].as_u64().unwrap()).sum();
            let total = path["end_to_end_ns"]["sum"].as_u64().unwrap();
            assert_eq!(spans + path["unattributed_ns"]["sum"].as_u64().unwrap(), total, "{}", path["id"]);
        }
    }
}
