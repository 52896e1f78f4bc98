//! Workloads and neighbours on this machine: figures that belong together agree, and nothing is left. Needs root.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use netstrata::profile::{PathRecord, Profile, read};
use netstrata_common::End;
use serde_json::Value;
use support::{
    errors,
    lab::{Ended, Lab, NOTHING, left},
    netstrata,
    ready::{is_installed, say_left_out},
    succeeded,
};

/// A short run without a recording.
fn done(words: &[&str]) -> Ended {
    let ended = Lab::run(&[&["--no-record", "--duration", "300ms"], words].concat());
    assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.err);
    ended
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {value:#}"))
}

/// Each value is at most the next.
fn ascending(run: &Value, names: &[&str]) {
    let values: Vec<f64> = names.iter().map(|name| number(run, name)).collect();
    assert!(values.is_sorted(), "{names:?} {values:?}");
    assert!(values[0] > 0.0, "{names:?} {values:?}");
}

/// What a comparison of these modes, of which the first is the whole, has.
fn compared(ended: &Ended, workload: &str, modes: &[&str]) {
    let comparison = &ended.comparison;
    assert_eq!((&comparison["schema"], &comparison["workload"]), (&"netstrata.comparison/1".into(), &workload.into()));
    let rows = comparison["modes"].as_array().unwrap();
    let found: Vec<&str> = rows.iter().map(|row| row["mode"].as_str().unwrap()).collect();
    assert_eq!(found, modes);
    for row in rows {
        assert!(number(row, "/median") > 0.0, "{workload} {row}");
        assert!(!workload.ends_with("-rr") || number(row, "/round_trip_ns/median") > 0.0, "{workload} {row}");
    }
    assert!(ended.out.contains("100.0 %") && modes.iter().all(|mode| ended.out.contains(mode)), "{}", ended.out);
}

/// What every run of a built-in workload has.
fn common(run: &Value, pairs: f64) {
    assert_eq!(number(run, "/pairs"), pairs);
    ascending(run, &["/creation/built_ns", "/creation/first_answer_ns"]);
    for side in ["client", "server"] {
        let used = (number(run, &format!("/{side}/user_ns")) + number(run, &format!("/{side}/system_ns"))) / 1e9;
        let share = number(run, &format!("/{side}/cpu_share"));
        assert!(used > 0.0 && share > 0.0, "{side} {run:#}");
        assert!((share * number(run, "/duration_s") - used).abs() <= 0.05 * used.max(share * 0.2), "{side} {run:#}");
    }
    let machine = &run["machine"];
    let whole = number(machine, "/elapsed_ns") * number(machine, "/cpus");
    assert!((number(machine, "/busy_share") - number(machine, "/busy_ns") / whole).abs() < 1e-6);
    if pairs > 1.0 {
        ascending(run, &["/pair_spread/min", "/pair_spread/median", "/pair_spread/max"]);
    } else {
        assert!(run["pair_spread"].is_null());
    }
}

#[test]
fn answers_have_percentiles_in_order_and_cost_cpu_on_both_sides() {
    let Some(_alone) = ready!() else { return };
    for workload in ["tcp-rr", "tcp-crr", "udp-rr"] {
        let outcome = done(&["host", "bridge", "--workload", workload, "--pairs", "3"]);
        compared(&outcome, workload, &["host", "bridge"]);
        for run in outcome.runs() {
            common(run, 3.0);
            let percentiles = ["p50", "p90", "p99", "p999", "max"].map(|name| format!("/round_trip_{name}_ns"));
            ascending(run, &percentiles.each_ref().map(String::as_str));
            assert!(number(run, "/round_trip_ns") <= number(run, "/round_trip_max_ns"));
            let transactions = number(run, "/transactions_per_s") * number(run, "/duration_s");
            for side in ["client", "server"] {
                let used = number(run, &format!("/{side}/user_ns")) + number(run, &format!("/{side}/system_ns"));
                let each = number(run, &format!("/{side}/cpu_us_per_transaction"));
                assert!((each * 1e3 * transactions - used).abs() < 0.01 * used, "{workload} {side} {run:#}");
            }
            // The sum of the pairs is the total, as far as pairs that end at slightly different times allow.
            let (least, most) = (number(run, "/pair_spread/min"), number(run, "/pair_spread/max"));
            let rate = number(run, "/transactions_per_s");
            assert!(2.9 * least <= rate && rate <= 3.1 * most, "{run:#}");
            assert!(number(run, "/failed") <= transactions);
            assert_eq!(run["retransmits"].is_null(), workload == "udp-rr", "{run:#}");
        }
        assert!(outcome.out.contains("p99.9 µs") && outcome.out.contains("client µs/t"), "{}", outcome.out);
    }
}

#[test]
fn streams_deliver_what_was_sent_or_say_what_was_lost() {
    let Some(_alone) = ready!() else { return };
    let outcome = done(&["host", "bridge", "--workload", "tcp-stream", "--pairs", "2"]);
    compared(&outcome, "tcp-stream", &["host", "bridge"]);
    for run in outcome.runs() {
        common(run, 2.0);
        assert!(number(run, "/throughput_bits_per_s") > 0.0 && number(run, "/client/cpu_ns_per_byte") > 0.0);
        assert!(run["transactions_per_s"].is_null() && run["datagrams"].is_null() && !run["retransmits"].is_null());
    }
    let outcome = done(&["host", "bridge", "--workload", "udp-stream", "--size", "64,1400"]);
    compared(&outcome, "udp-stream", &["host", "host", "bridge", "bridge"]);
    for run in outcome.runs() {
        common(run, 1.0);
        let datagram = |name: &str| number(run, &format!("/datagrams/{name}"));
        assert!(datagram("received") > 0.0);
        assert_eq!(datagram("received") + datagram("lost"), datagram("sent"));
        assert!(datagram("lost_at_socket") <= datagram("lost"));
        assert!((datagram("lost_share") * datagram("sent") - datagram("lost")).abs() < 1e-3 * datagram("sent"));
        // Nothing on these ways overtakes.
        assert_eq!(datagram("reordered"), 0.0);
    }
}

#[test]
fn flows_have_the_sizes_and_the_share_that_were_asked_for() {
    let Some(_alone) = ready!() else { return };
    let flows = ["--flow-size", "100kB", "--elephants", "20%", "--elephant-size", "1MB"];
    let outcome = done(&[&["host", "bridge", "--workload", "fct", "--pairs", "2"][..], &flows].concat());
    for run in outcome.runs() {
        common(run, 2.0);
        let classes: Vec<&str> =
            run["flows"].as_array().unwrap().iter().map(|flows| flows["class"].as_str().unwrap()).collect();
        assert_eq!(classes, ["all", "mice", "elephants"]);
        for class in 0..3 {
            let names = ["p50", "p90", "p99", "max"].map(|name| format!("/flows/{class}/{name}_ns"));
            ascending(run, &names.each_ref().map(String::as_str));
        }
        let [all, mice, elephants] = [0, 1, 2].map(|class| number(run, &format!("/flows/{class}/count")));
        assert_eq!(all, mice + elephants);
        // Each of the two pairs may be one flow away from the share.
        assert!((elephants - 0.2 * all).abs() <= 2.0 + 1e-6, "{run:#}");
        let bytes = number(run, "/throughput_bits_per_s") * number(run, "/duration_s") / 8.0;
        assert!((bytes - mice * 1e5 - elephants * 1e6).abs() < 1e-3 * bytes, "{run:#}");
    }
}

#[test]
fn neighbours_run_beside_the_pairs_and_end_with_them() {
    let Some(_alone) = ready!() else { return };
    for mode in ["host", "bridge"] {
        let outcome = done(&[mode, "--workload", "udp-rr", "--neighbours", "1,2@10%,udp-flood"]);
        let run = outcome.runs()[0];
        let kinds: Vec<&str> =
            run["neighbours"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["busy", "busy", "udp-flood"]);
        assert_eq!((number(run, "/neighbours/1/count"), number(run, "/neighbours/1/asked_share")), (2.0, 0.1));
        assert!((0..3).all(|index| number(run, &format!("/neighbours/{index}/cpu_share")) > 0.0), "{run:#}");
        // Loops that rest use what they were asked to, or less where others are in their way.
        assert!(number(run, "/neighbours/1/cpu_share") < 0.4, "{run:#}");
        let flood = &run["neighbours"][2];
        assert!(number(flood, "/received_bits_per_s") > 0.0 && number(flood, "/sent_bits_per_s") > 0.0, "{run:#}");
        assert!(number(run, "/transactions_per_s") > 0.0);
    }
}

#[test]
fn fifty_pairs_run_at_one_time() {
    let Some(_alone) = ready!() else { return };
    for workload in ["tcp-stream", "tcp-rr", "tcp-crr", "udp-stream"] {
        let outcome = done(&["bridge", "--workload", workload, "--pairs", "50"]);
        let run = outcome.runs()[0];
        assert_eq!(number(run, "/pairs"), 50.0);
        assert!(number(run, "/pair_spread/max") > 0.0, "{workload} {run:#}");
    }
}

#[test]
fn sizes_and_repeats_have_rows_intervals_and_profiles_of_their_own() {
    let Some(_alone) = ready!() else { return };
    let words = ["host", "bridge", "--workload", "tcp-rr", "--size", "1,4K", "--repeat", "2", "--pin", "same"];
    let mut lab = Lab::start(&[&words[..], &["--duration", "300ms"]].concat());
    let outcome = lab.end();
    if outcome.code != Some(0) && outcome.err.contains("BTF") {
        skip!("{}", outcome.err);
    }
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let rows: Vec<(&str, u64)> = outcome.comparison["modes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["mode"].as_str().unwrap(), row["size"].as_u64().unwrap()))
        .collect();
    assert_eq!(rows, [("host", 1), ("host", 4096), ("bridge", 1), ("bridge", 4096)]);
    for row in outcome.comparison["modes"].as_array().unwrap() {
        assert_eq!(row["figures"]["round_trip_p99_ns"]["interval_kind"], "range");
        for figure in row["figures"].as_object().unwrap().values() {
            assert_eq!(figure["values"].as_array().unwrap().len(), 2);
            ascending_or_zero(figure);
        }
        assert_eq!((&row["runs"][0]["message_bytes"], &row["runs"][0]["pin"]), (&row["size"], &"same".into()));
    }
    for name in ["host-1B-1.prof", "host-4096B-2.prof", "bridge-1B-2.prof", "bridge-4096B-1.prof"] {
        assert!(outcome.files.iter().any(|file| file == name), "{name} of {:?}", outcome.files);
    }
    assert_eq!(outcome.files.len(), 9);
    // The repeats of a mode and size are a set by their name; of different sizes there is no sum.
    let [host, bridge, both] = ["host-1B", "bridge-1B", "bridge"].map(|set| lab.file(set).to_str().unwrap().to_owned());
    let report = succeeded(&netstrata(&["report", &bridge, "--format", "json"]));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((number(&report, "/meta/recordings"), number(&report, "/meta/benchmark/message_bytes")), (2.0, 1.0));
    let output = netstrata(&["explain", "--baseline", &host, "--target", &bridge]);
    // Runs as short as these may be told to prove nothing.
    let said = String::from_utf8(output.stdout.clone()).unwrap() + &errors(&output);
    assert!(matches!(output.status.code(), Some(0 | 4)) && said.contains("1B (2 recordings)"), "{said}");
    let refused = netstrata(&["report", &both]);
    assert!(refused.status.code() == Some(2) && errors(&refused).contains("message sizes"), "{}", errors(&refused));
}

fn ascending_or_zero(figure: &Value) {
    let values = ["/interval/0", "/median", "/interval/1"].map(|name| number(figure, name));
    assert!(values.is_sorted(), "{figure}");
}

#[test]
fn programs_of_others_report_what_they_can() {
    let Some(_alone) = ready!() else { return };
    if is_installed("iperf3") {
        for (workload, udp) in [("iperf3", false), ("iperf3-udp", true)] {
            let outcome = done(&["bridge", "--workload", workload, "--pairs", "2"]);
            let run = outcome.runs()[0];
            assert!(number(run, "/throughput_bits_per_s") > 0.0 && number(run, "/client/cpu_share") > 0.0);
            assert_eq!(run["datagrams"].is_null(), !udp, "{run:#}");
            assert_eq!(run["pair_spread"].is_null(), udp, "{run:#}");
        }
    } else {
        say_left_out(test_name!(), "iperf3", "not installed");
    }
    if is_installed("sockperf") {
        for workload in ["sockperf", "sockperf-udp"] {
            let outcome = done(&["bridge", "--workload", workload]);
            ascending(outcome.runs()[0], &["/round_trip_p50_ns", "/round_trip_p99_ns", "/round_trip_max_ns"]);
        }
    } else {
        say_left_out(test_name!(), "sockperf", "not installed");
    }
}

/// Packets that a reader in the server's namespace got, all of them followed.
fn read_by_the_server(profile: &Profile) -> f64 {
    let ends = |path: &&PathRecord| {
        let netns = path.crossings.last().map_or(0, |crossing| crossing.netns);
        path.end == End::Copied && profile.topology.namespace_name(netns) == "server"
    };
    profile.paths.iter().filter(ends).map(|path| path.packets).sum::<u64>() as f64
}

#[test]
fn requests_of_a_web_server_and_of_redis_are_the_packets_that_the_server_reads() {
    let Some(_alone) = ready!() else { return };
    for (workload, programs) in [("http", ["nginx", "wrk"]), ("redis", ["redis-server", "redis-benchmark"])] {
        if let Some(missing) = programs.iter().find(|program| !is_installed(program)) {
            say_left_out(test_name!(), workload, &format!("{missing} is not installed"));
            continue;
        }
        let words = ["bridge", "--workload", workload, "--pairs", "3", "--duration", "1s", "--sample-every", "1"];
        let mut lab = Lab::start(&words);
        let outcome = lab.end();
        assert_eq!(outcome.code, Some(0), "{}", outcome.err);
        assert_eq!(left(lab.id()), NOTHING, "{workload}");
        let run = outcome.runs()[0].clone();
        assert_eq!((&run["workload"], number(&run, "/pairs")), (&workload.into(), 3.0));
        for side in ["client", "server"] {
            let used = number(&run, &format!("/{side}/cpu_share"));
            assert!(used > 0.0 && used < 2.0, "{side} {run:#}");
        }
        ascending(&run, &["/round_trip_p50_ns", "/round_trip_p99_ns", "/round_trip_max_ns"]);
        let profile = read(&lab.file("bridge.prof")).unwrap();
        let requests = number(&run, "/transactions_per_s") * number(&run, "/duration_s");
        let packets = read_by_the_server(&profile);
        assert!((packets / requests - 1.0).abs() < 0.05, "{workload}: {packets} packets, {requests} requests");
    }
}

#[test]
fn wrong_options_are_wrong_usage_with_what_is_right() {
    for (words, said) in [
        (&["host", "--workload", "udp-stream", "--size", "65508"][..], "65507"),
        (&["host", "--workload", "tcp-rr", "--size", "64,big"][..], "kB, MB, GB"),
        (&["host", "--workload", "tcp-rr", "--elephants", "20%"][..], "--workload fct"),
        (&["host", "--workload", "fct", "--elephant-size", "5MB"][..], "--elephants"),
        (&["host", "--neighbours", "tcp-flood"][..], "udp-flood"),
        (&["host", "--neighbours", "2@200%"][..], "100 %"),
        (&["host", "--pairs", "51"][..], "1..=50"),
        (&["host", "--workload", "sockperf", "--pairs", "2"][..], "--pairs 1"),
    ] {
        let outcome = Lab::run(words);
        // Without sockperf the lab refuses for that reason first.
        let refused = outcome.code == Some(3) && outcome.err.contains("not installed");
        assert!(outcome.code == Some(2) && outcome.err.contains(said) || refused, "{words:?} {}", outcome.err);
    }
}
