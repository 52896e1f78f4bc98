//! Recorded outputs, and what they say: every file of `fixtures/benchmarks` against `expected.json` there.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod contradictions;
mod doubtful;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::profile::worker::{RoundTrip, WORKER_SCHEMA};

/// What a file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// The recorded command, whose words are parted by blanks; what stands between `'` is one.
    command: String,
    /// Every figure that is known; null where there is no result.
    figures: Option<BTreeMap<String, Value>>,
    /// A part of each note.
    notes: Vec<String>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/benchmarks")
}

fn text(name: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(fixtures().join(name)).unwrap()).into_owned()
}

fn words(command: &str) -> Vec<String> {
    let parts = command.split('\'').enumerate();
    let words = parts.flat_map(|(at, part)| if at % 2 == 1 { vec![part] } else { part.split_whitespace().collect() });
    words.map(str::to_owned).collect()
}

fn reading(command: &str, output: &str) -> Reading {
    read(&words(command), output, true)
}

/// An output with a part of it changed.
fn changed(name: &str, from: &str, to: &str) -> String {
    let whole = text(name);
    assert!(whole.contains(from), "{name} has no {from}");
    whole.replace(from, to)
}

/// A document with a place of it changed.
fn with(name: &str, place: &str, value: Value) -> String {
    let mut document: Value = serde_json::from_str(&text(name)).unwrap();
    *document.pointer_mut(place).unwrap() = value;
    document.to_string()
}

/// Figures that are known, those of parts as `client.cpu_share`.
fn figures(benchmark: &Benchmark) -> BTreeMap<String, Value> {
    fn enter(name: &str, value: Value, to: &mut BTreeMap<String, Value>) {
        match value {
            Value::Null => {}
            Value::Object(parts) => {
                parts.into_iter().for_each(|(part, value)| enter(&format!("{name}.{part}"), value, to))
            }
            Value::Array(values) if values.is_empty() => {}
            value => {
                to.insert(name.trim_start_matches('.').to_owned(), value);
            }
        }
    }
    let mut found = BTreeMap::new();
    enter("", serde_json::to_value(benchmark).unwrap(), &mut found);
    found.remove("tool");
    found
}

fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() <= 1e-6 * one.abs().max(other.abs()),
        _ => one == other,
    }
}

#[test]
fn recorded_outputs_say_what_is_expected_and_nothing_else() {
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&text("expected.json")).unwrap();
    let mut wrong = Vec::new();
    for (name, expected) in &expected {
        let Reading { benchmark, notes } = reading(&expected.command, &text(name));
        let found = benchmark.as_ref().map(figures);
        let alike = match (&found, &expected.figures) {
            (Some(found), Some(wanted)) => {
                found.len() == wanted.len()
                    && wanted.iter().all(|(figure, value)| found.get(figure).is_some_and(|known| same(known, value)))
            }
            (found, wanted) => found.is_none() && wanted.is_none(),
        };
        let told = notes.len() == expected.notes.len()
            && expected.notes.iter().all(|part| notes.iter().any(|note| note.contains(part)));
        if !alike || !told {
            let (found, wanted) =
                (serde_json::to_string(&found).unwrap(), serde_json::to_string(&expected.figures).unwrap());
            wrong.push(format!("{name}: {found}\n  not {wanted}\n  {notes:?}\n  not {:?}", expected.notes));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), expected.len(), wrong.join("\n"));
}

#[test]
fn every_recorded_output_is_expected_to_say_something() {
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&text("expected.json")).unwrap();
    let mut files = Vec::new();
    for tool in std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let names = std::fs::read_dir(&tool).unwrap().map(|entry| entry.unwrap().file_name());
        let tool = tool.file_name().unwrap().to_string_lossy().into_owned();
        files.extend(names.map(|name| format!("{tool}/{}", name.to_string_lossy())));
    }
    files.sort();
    assert_eq!(files, expected.keys().cloned().collect::<Vec<_>>());
}

/// Outputs that are whole, one for each form of each tool.
fn good() -> Vec<(String, String)> {
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&text("expected.json")).unwrap();
    let with_figures = expected.into_iter().filter(|(_, expected)| expected.figures.is_some());
    with_figures.map(|(name, expected)| (expected.command, text(&name))).collect()
}

#[test]
fn an_output_that_breaks_off_says_the_same_or_nothing() {
    for (command, whole) in good() {
        let right = reading(&command, &whole).benchmark.unwrap();
        let ends: Vec<usize> = (0..whole.len()).filter(|at| whole.is_char_boundary(*at)).collect();
        for end in ends.iter().step_by(1 + ends.len() / 200) {
            let Reading { benchmark, notes } = reading(&command, &whole[..*end]);
            let Some(cut) = benchmark else {
                assert!(!notes.is_empty(), "{command} at {end}");
                continue;
            };
            let (cut, right) = (figures(&cut), figures(&right));
            let kept = [
                "throughput_bits_per_s",
                "transactions_per_s",
                "round_trip_ns",
                "duration_s",
                "pairs",
                "message_bytes",
            ];
            for figure in kept.iter().filter(|figure| cut.contains_key(**figure)) {
                let [one, other] =
                    [&cut, &right].map(|figures| figures.get(*figure).and_then(Value::as_f64).unwrap_or(0.0));
                // A round trip may be told, or follow from the rate.
                let alike = (one - other).abs() <= 0.01 * other;
                assert!(alike, "{figure} {one}, not {other}, of {command} at {end}: {:?}", &whole[..*end]);
            }
        }
    }
}

#[test]
fn an_output_with_a_line_less_or_twice_says_the_same_or_nothing() {
    let mut wrong = Vec::new();
    for (command, whole) in good() {
        let right = reading(&command, &whole).benchmark.unwrap();
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        for at in (0..lines.len()).step_by(1 + lines.len() / 60) {
            for again in [0, 2] {
                let text: String = [lines[..at].concat(), lines[at].repeat(again), lines[at + 1..].concat()].concat();
                let Some(other) = reading(&command, &text).benchmark else { continue };
                for (one, other) in [
                    (right.throughput_bits_per_s, other.throughput_bits_per_s),
                    (right.transactions_per_s, other.transactions_per_s),
                ] {
                    if other.is_some_and(|other| (one.unwrap_or(0.0) - other).abs() > 1e-3 * other) {
                        wrong.push(format!("{command}: {other:?}, not {one:?}, with {again} of {:?}", lines[at]));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn colours_other_line_ends_and_bytes_that_are_no_text_change_nothing() {
    for (command, whole) in good() {
        let right = reading(&command, &whole);
        assert_eq!(reading(&command, &whole.replace('\n', "\r\n")), right, "{command}");
        assert_eq!(reading(&command, &format!("\u{feff}\x1b[1m{whole}\x1b[0m")), right, "{command}");
        let mut bytes = b"\xff\xfe\n".to_vec();
        bytes.extend(whole.as_bytes());
        bytes.extend(b"\n\xff\xc3(\n");
        let broken = reading(&command, &String::from_utf8_lossy(&bytes));
        assert!(broken.benchmark.is_none() || broken.benchmark == right.benchmark, "{command}: {broken:?}");
    }
}

#[test]
fn numbers_that_cannot_be_are_no_figures() {
    for (command, whole) in good() {
        let right = figures(&reading(&command, &whole).benchmark.unwrap());
        let numbers: Vec<&str> = whole
            .split(|letter: char| !(letter.is_ascii_digit() || letter == '.'))
            .filter(|word| word.parse::<f64>().is_ok_and(|number| number > 0.0))
            .collect();
        for number in numbers.iter().take(25) {
            for other in ["nan", "-inf", "-1", "1e999", "99999999999999999999999999999"] {
                let text = whole.replacen(number, other, 1);
                let Some(benchmark) = reading(&command, &text).benchmark else { continue };
                for (name, value) in figures(&benchmark) {
                    let value = value.as_f64().unwrap_or(0.0);
                    assert!(value.is_finite() && value >= 0.0, "{name} {value} of {command}, {other} for {number}");
                    let kinds = ["throughput_bits_per_s", "transactions_per_s"];
                    let known = right.get(&name).and_then(Value::as_f64).unwrap_or(0.0);
                    assert!(
                        !kinds.contains(&name.as_str()) || value <= 1e3 * known,
                        "{name} {value} of {command}, {other} for {number}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_same_output_twice_is_no_result_of_one_client() {
    for (command, whole) in good().into_iter().filter(|(command, _)| !command.contains("iperf3")) {
        let twice = reading(&command, &format!("{whole}{whole}"));
        assert_eq!(twice.benchmark, None, "{command}");
        assert!(twice.notes[0].contains("not understood"), "{twice:?}");
    }
}

#[test]
fn a_file_is_of_the_tool_that_it_looks_like() {
    for (command, whole) in good() {
        let right = reading(&command, &whole);
        // Without a banner only the words know.
        if let Some(told) = read_text(&[], &whole) {
            let right = right.benchmark.as_ref().unwrap();
            match told.benchmark {
                Some(told) => assert_eq!(
                    (told.tool, told.throughput_bits_per_s),
                    (right.tool.clone(), right.throughput_bits_per_s)
                ),
                None => assert!(!told.notes.is_empty(), "{command}"),
            }
        }
        assert_eq!(read_text(&words(&command), &whole), Some(right), "{command}");
    }
    assert_eq!(read_text(&[], "nothing that is known\n"), None);
    let missing =
        read_file(&[], Path::new("/nowhere/at/all"), Recorded { since: SystemTime::UNIX_EPOCH, seconds: 1.0 });
    assert!(missing.benchmark.is_none() && missing.notes[0].contains("no such file"), "{missing:?}");
}

#[test]
fn two_clients_at_one_time_are_summed_and_others_refused() {
    let one = text("iperf3/3.9-tcp.json");
    let other = one.replace("\"cookie\":\t\"", "\"cookie\":\t\"other");
    assert_ne!(one, other);
    let both = format!("{one}{other}");
    let alone = reading("iperf3 -c A -J", &one).benchmark.unwrap();
    let sum = reading("sh -c 'iperf3 -c A -J & iperf3 -c B -J & wait'", &both).benchmark.unwrap();
    let double = |figure: fn(&Benchmark) -> Option<f64>| (figure(&sum).unwrap(), 2.0 * figure(&alone).unwrap());
    for (found, wanted) in
        [double(|one| one.throughput_bits_per_s), double(|one| one.client.map(|side| side.cpu_share))]
    {
        assert!((found - wanted).abs() < 1e-6 * wanted);
    }
    assert_eq!((sum.pairs, sum.duration_s), (Some(2), alone.duration_s));
    assert_eq!(sum.retransmits, alone.retransmits.map(|count| 2 * count));
    let per_byte = |one: &Benchmark| one.server.unwrap().cpu_ns_per_byte.unwrap();
    assert!((per_byte(&sum) - per_byte(&alone)).abs() < 1e-9 * per_byte(&alone));
    for (command, output, why) in [
        ("sh -c 'iperf3 -c A -J; iperf3 -c B -J'", &both, "same time"),
        ("sh -c 'for i in 1 2; do iperf3 -c A -J; done'", &both, "more than one"),
        ("sh -c 'iperf3 -c A -J & iperf3 -c B -J & wait'", &one, "2 clients"),
        ("sh -c 'iperf3 -c A -J & wrk http://B'", &one, "more than one"),
        ("sh -c 'iperf3 -c A -J & iperf3 -R -c B -J & wait'", &both, "options that differ"),
        ("sh -c 'hey -c 4 http://A & hey -c 8 http://B & wait'", &both, "options that differ"),
    ] {
        let refused = reading(command, output);
        assert_eq!(refused.benchmark, None, "{command}");
        assert!(refused.notes[0].contains(why), "{command}: {refused:?}");
    }
    let pinged = reading("sh -c 'ping -c 1 A && iperf3 -c A -J'", &format!("{}{one}", text("ping/20221126-plain.txt")));
    assert_eq!(pinged.benchmark, Some(alone));
    assert!(pinged.notes[0].contains("ping"), "{pinged:?}");
    let hosts = reading("sh -c 'iperf3 -c a -p 1 -J & iperf3 -c 10.0.0.2 -p 2 -J & wait'", &both).benchmark;
    assert_eq!(hosts.as_ref(), Some(&sum));
    let late = other.replace("\"timesecs\":\t", "\"timesecs\":\t1");
    let late = reading("sh -c 'iperf3 -c A -J & iperf3 -c B -J & wait'", &format!("{one}{late}"));
    assert!(late.benchmark.is_none() && late.notes[0].contains("different times"), "{late:?}");
}

#[test]
fn a_test_that_both_sides_tell_is_one() {
    let client = text("iperf3/3.9-tcp.json");
    let cookie = client.split("\"cookie\":\t\"").nth(1).unwrap().split('"').next().unwrap();
    let server = text("iperf3/3.9-server.json");
    let own = server.split("\"cookie\":\t\"").nth(1).unwrap().split('"').next().unwrap();
    let server = server.replace(own, cookie);
    let right = reading("iperf3 -c A -J", &client).benchmark;
    for output in [format!("{client}{server}"), format!("{server}{client}"), format!("{client}{client}")] {
        let found = reading("sh -c 'iperf3 -s -1 -J & iperf3 -c A -J; wait'", &output);
        assert_eq!(found.benchmark, right);
        assert!(found.notes.is_empty());
    }
}

#[test]
fn json_of_other_programs_is_passed_over() {
    let one = text("iperf3/3.9-tcp.json");
    let right = reading("iperf3 -c A -J", &one);
    for other in ["{\"error\": \"none\"}", "{\"start\": 1}", "{\"event\": \"x\"}", "{\"end\": {\"a\": 1}}", "[{}]"] {
        assert_eq!(reading("sh -c 'x; iperf3 -c A -J'", &format!("{other}\n{one}{other}\n")), right, "{other}");
    }
}

#[test]
fn too_much_and_nothing_are_told() {
    let long = read(&words("iperf3 -c A -J"), &text("iperf3/3.9-tcp.json"), false);
    assert!(long.benchmark.is_none() && long.notes[0].contains("too long"), "{long:?}");
    for tool in [
        "iperf3 -c A -J",
        "sockperf pp",
        "netperf",
        "qperf A tcp_bw",
        "wrk http://A",
        "hey http://A",
        "fortio load A",
        "ping A",
    ] {
        for output in ["", "\n\n", "}{", "{", "[  5] 0.00-1.00 sec 2.5 GBytes", "\u{fffd}\0\x1b["] {
            let Reading { benchmark, notes } = reading(tool, output);
            let name = tool.split(' ').next().unwrap();
            assert!(
                benchmark.is_none() && notes[0].contains(name) && notes[0].contains("not understood"),
                "{tool}: {notes:?}"
            );
            assert!(!notes[0].contains(['\x1b', '\n', '\0']), "{notes:?}");
        }
    }
    assert_eq!(reading("curl http://A", &text("iperf3/3.9-tcp.json")), Reading::default());
}

#[test]
fn much_text_takes_no_long_time() {
    let line = "{\"a\": [1, 2, {\"b\": \"c\"}]} wrk iperf3 { 12 requests in\n";
    let large = line.repeat((16 << 20) / line.len());
    assert!(reading("iperf3 -c A -J", &large).benchmark.is_none());
    assert!(reading("ping A", &large).benchmark.is_none());
}

#[test]
fn workers_lines_are_read() {
    let report = WorkerReport {
        schema: WORKER_SCHEMA.into(),
        side: "client".into(),
        workload: "tcp-rr".into(),
        message_bytes: 64,
        pairs: 2,
        duration_ns: 500_000_000,
        bytes: 6400,
        transactions: 100,
        round_trip: Some(RoundTrip {
            mean_ns: 12.5,
            far_ns: 0.0,
            p50_ns: 12,
            p90_ns: 15,
            p99_ns: 20,
            p999_ns: 25,
            max_ns: 30,
        }),
        retransmits: Some(0),
        ..WorkerReport::default()
    };
    let line = format!("ready\n{}\n", serde_json::to_string(&report).unwrap());
    let read = reading("netstrata lab worker", &line).benchmark.unwrap();
    assert_eq!((read.transactions_per_s, read.round_trip_ns), (Some(200.0), Some(12.5)));
    assert_eq!((read.throughput_bits_per_s, read.pairs), (None, Some(2)));
    assert_eq!((read.round_trip_p999_ns, read.round_trip_max_ns), (Some(25.0), Some(30.0)));
}
