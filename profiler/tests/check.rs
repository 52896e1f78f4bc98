//! `netstrata check`: sets, verdicts, exit codes and formats.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{fs, path::PathBuf};

use netstrata::profile::{Profile, read, write};
use serde_json::Value;
use support::{directory::Directory, errors, netstrata, succeeded};

fn recorded(name: &str) -> Profile {
    read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/profiles").join(name)).unwrap()
}

/// Repeats of a recording: the work takes `times` as long as it did, and a little more or less each time.
fn repeats(directory: &Directory, name: &str, mode: &str, count: u32, times: f64) {
    for repeat in 1..=count {
        let mut profile = recorded(&format!("tcp-rr-{mode}.prof"));
        let of_set = name.bytes().fold(7, |sum, byte| (31 * sum + u64::from(byte)) % 97);
        profile.meta.started_ns = 100 * u64::from(repeat) + of_set;
        // Sets that were made in turns, of which no two began in the same second.
        profile.meta.began_unix_ns = (1_700_000_000 + profile.meta.started_ns) * 1_000_000_000;
        let noise = 1.0 + 0.001 * f64::from(repeat * 5 % 7);
        let benchmark = profile.meta.benchmark.as_mut().unwrap();
        benchmark.transactions_per_s = benchmark.transactions_per_s.map(|rate| rate / times / noise);
        write(&profile, &directory.file(&format!("{name}-{repeat}.prof"))).unwrap();
    }
}

fn check(directory: &Directory, target: &str, baseline: &str, more: &[&str]) -> (Option<i32>, String) {
    let output =
        netstrata(&[&["check", &directory.word(target), "--against", &directory.word(baseline)], more].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &errors(&output);
    (output.status.code(), said)
}

#[test]
fn a_verdict_has_its_exit_code_in_every_format() {
    let directory = Directory::new();
    repeats(&directory, "before", "host", 12, 1.0);
    repeats(&directory, "after", "host", 12, 1.0);
    repeats(&directory, "slower", "host", 12, 1.03);
    repeats(&directory, "few", "host", 3, 1.0);
    for (target, code, verdict) in [("after", 0, "ok"), ("slower", 1, "regressed"), ("few", 4, "undecided")] {
        for format in ["text", "json", "junit", "markdown"] {
            let (found, said) = check(&directory, target, "before", &["--format", format]);
            assert_eq!(found, Some(code), "{target} {format}: {said}");
            assert!(said.contains(verdict), "{said}");
            assert_eq!(check(&directory, target, "before", &["--format", format]).1, said, "the same bytes");
        }
        let (_, text) = check(&directory, target, "before", &[]);
        assert!(text.starts_with(&format!("{verdict}: time per transaction ")), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100 && line == line.trim_end()), "{text}");
    }
    assert_eq!(check(&directory, "before", "slower", &[]).0, Some(0), "faster is no failure");
    assert_eq!(check(&directory, "slower", "before", &["--threshold", "10%"]).0, Some(0));
}

#[test]
fn a_layer_that_came_is_named() {
    let directory = Directory::new();
    repeats(&directory, "host", "host", 6, 1.0);
    repeats(&directory, "bridge", "bridge", 6, 1.0);
    let (code, said) = check(&directory, "bridge", "host", &["--format", "json"]);
    assert_eq!(code, Some(1), "{said}");
    let found: Value = serde_json::from_str(&said).unwrap();
    let regressed: Vec<&str> = (found["figures"].as_array().unwrap().iter())
        .filter(|figure| figure["verdict"] == "regressed")
        .filter_map(|figure| figure["title"].as_str())
        .collect();
    for layer in ["bridge", "veth"] {
        assert!(regressed.iter().any(|title| title.starts_with(layer)), "{layer}: {regressed:?}");
    }
}

#[test]
fn one_recording_of_each_has_intervals_by_its_batches_and_is_not_judged() {
    let directory = Directory::new();
    repeats(&directory, "host", "host", 1, 1.0);
    repeats(&directory, "bridge", "bridge", 1, 1.0);
    let (code, said) = check(&directory, "bridge", "host", &["--format", "json"]);
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &found["verdict"]), (Some(4), &"undecided".into()), "{said}");
    assert_eq!(found["judged_by"], "batches");
    assert!(found["total"]["interval"].is_array(), "{said}");
    assert!(found["notes"].to_string().contains("at least 6 pairs are needed"), "{said}");
}

#[test]
fn the_json_keeps_to_its_schema() {
    let schema = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/check.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let directory = Directory::new();
    repeats(&directory, "host", "host", 6, 1.0);
    repeats(&directory, "bridge", "bridge", 6, 1.0);
    repeats(&directory, "few", "bridge", 2, 1.0);
    for target in ["bridge", "few", "bridge-1"] {
        let (_, said) = check(&directory, target, "host", &["--format", "json"]);
        let found: Value = serde_json::from_str(&said).unwrap();
        let complaints: Vec<String> = validator.iter_errors(&found).map(|error| error.to_string()).collect();
        assert!(complaints.is_empty(), "{target}: {complaints:#?}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused_with_code_2() {
    let directory = Directory::new();
    repeats(&directory, "host", "host", 6, 1.0);
    repeats(&directory, "kernel", "host", 6, 1.0);
    let mut other = read(&directory.file("kernel-4.prof")).unwrap();
    other.meta.kernel = "6.1.0".into();
    write(&other, &directory.file("kernel-4.prof")).unwrap();
    write(&recorded("tcp-stream-host.prof"), &directory.file("stream-1.prof")).unwrap();
    for (target, wanted) in [
        ("kernel", "cannot be compared: their kernels differ, 6.18.44 and 6.1.0"),
        ("stream", "cannot be compared: their workloads differ, tcp-rr and tcp-stream"),
        ("host", "hold the same recording"),
        ("absent", "cannot read the profile"),
    ] {
        let (code, said) = check(&directory, target, "host", &[]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(wanted) && said.lines().count() == 1, "{said}");
    }
    for words in [
        &["check"][..],
        &["check", "a"],
        &["check", "--against", "a"],
        &["check", "a", "--against", "b", "--threshold", "0"],
        &["check", "a", "--against", "b", "--threshold", "1"],
        &["check", "a", "--against", "b", "-o", "c"],
        &["check", "a", "--against", "b", "--at-most", "1m"],
    ] {
        assert_eq!(netstrata(words).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn a_history_has_one_header_and_a_row_for_each_check() {
    let directory = Directory::new();
    repeats(&directory, "host", "host", 6, 1.0);
    repeats(&directory, "bridge", "bridge", 6, 1.0);
    let file = directory.word("history.csv");
    for _ in 0..2 {
        check(&directory, "bridge", "host", &["--history", &file]);
    }
    let text = fs::read_to_string(&file).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2, "a check that is repeated is no further point: {text}");
    assert_eq!(rows[0][..2], ["time", "time_per_transaction_ns"]);
    assert!(rows[0].contains(&"bridge_service_ns"), "{text}");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
    assert!(rows[1][1..].iter().all(|value| value.parse::<f64>().is_ok()), "{text}");
    // A layer less: it took no time. A layer more: nor did it in the rows before.
    let (code, said) = check(&directory, "host", "bridge", &["--history", &file]);
    assert_eq!(code, Some(0), "{said}");
    let new = directory.word("new.csv");
    for target in ["host", "bridge"] {
        check(&directory, target, if target == "host" { "bridge" } else { "host" }, &["--history", &new]);
    }
    for file in [&file, &new] {
        let text = fs::read_to_string(file).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let bridge = rows[0].iter().position(|name| *name == "bridge_service_ns").unwrap();
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
        assert_eq!(rows[1..].iter().filter(|row| row[bridge] == "0").count(), 1, "{text}");
    }
    // What cannot be kept does not hide what was found.
    fs::write(&file, "time,other\n").unwrap();
    let (code, said) = check(&directory, "bridge", "host", &["--history", &file]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("regressed: ") && said.contains("is of other work"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "time,other\n");
    let (code, said) = check(&directory, "bridge", "host", &["--history", "/dev/zero"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("regressed: ") && said.contains("/dev/zero is no regular file"), "{said}");
}

#[test]
fn a_pipe_is_refused_at_once() {
    let directory = Directory::new();
    let pipe = directory.file("pipe.prof");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    repeats(&directory, "host", "host", 2, 1.0);
    let (code, said) = check(&directory, "pipe.prof", "host", &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is no regular file"), "{said}");
    assert_eq!(netstrata(&["report", &directory.word("pipe.prof")]).status.code(), Some(2));
}

#[test]
fn sides_of_the_same_name_are_told_apart() {
    let directory = Directory::new();
    for (place, times) in [("today", 1.0), ("stored", 1.0)] {
        fs::create_dir(directory.file(place)).unwrap();
        repeats(&directory, &format!("{place}/bridge"), "bridge", 6, times);
    }
    let (_, said) = check(&directory, "today/bridge", "stored/bridge", &[]);
    let line = said.lines().nth(1).unwrap();
    assert!(line.contains("today/bridge]") && said.contains("stored/bridge]"), "{said}");
}

#[test]
fn names_cannot_break_out_of_a_format() {
    let directory = Directory::new();
    repeats(&directory, "<b>&\"'\u{1b}[31m|x", "host", 6, 1.0);
    repeats(&directory, "host", "host", 6, 1.02);
    let target = "<b>&\"'\u{1b}[31m|x";
    for format in ["text", "junit", "markdown"] {
        let (_, said) = check(&directory, target, "host", &["--format", format]);
        assert!(!said.contains('\u{1b}'), "{said:?}");
        if format != "text" {
            assert!(!said.contains("<b>") && said.contains("&lt;b"), "{said}");
        }
    }
    let page = succeeded(&netstrata(&["check", "--help"]));
    assert!(page.contains("--against") && page.contains("Examples:"), "{page}");
}

#[test]
fn what_measures_by_itself_sets_the_host_up_and_leaves_it_as_it_was() {
    let directory = Directory::new();
    let (log, out) = (directory.word("log"), directory.word("out"));
    let says = |word: &str, code: u32| format!("echo {word} >> '{log}'; exit {code}");
    let check = |before: &str, after: &str| {
        netstrata(&["check", "--before", before, "--after", after, "-o", &out, "--at-most", "1s", "--", "true"])
    };
    let failed = check(&says("before", 7), &says("after", 7));
    assert_eq!(failed.status.code(), Some(2), "{}", errors(&failed));
    assert!(errors(&failed).contains("failed (exit status: 7)"), "{}", errors(&failed));
    // Once to set up, whichever comes first by chance, and once to restore.
    let order = fs::read_to_string(&log).unwrap();
    assert!(["before\nbefore\n", "after\nbefore\n"].contains(&order.as_str()), "{order}");
    write(&recorded("tcp-rr-host.prof"), &directory.file("out/old.prof")).unwrap();
    let refused = check("true", "true");
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors(&refused).contains("holds recordings already"), "{}", errors(&refused));
    for words in [
        &["check", "--before", "true", "--", "true"][..],
        &["check", "--before", "true", "--after", "true"],
        &["check", "a", "--against", "b", "--before", "true", "--after", "true", "--", "true"],
        &["check", "a", "--against", "b", "--", "true"],
    ] {
        assert_eq!(netstrata(words).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn a_mode_is_run_only_against_recordings_that_say_how() {
    let directory = Directory::new();
    fs::create_dir(directory.file("stored")).unwrap();
    repeats(&directory, "stored/bridge", "bridge", 3, 1.0);
    let (stored, out) = (directory.word("stored"), directory.word("out"));
    let refused = |words: &[&str]| {
        let output = netstrata(&[&["check"], words, &["--against", &stored, "-o", &out]].concat());
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        errors(&output)
    };
    assert!(refused(&["bridge"]).contains("comparison.json does not tell how"));
    fs::write(directory.file("stored/comparison.json"), r#"{"options":["--workload","tcp-rr"]}"#).unwrap();
    assert!(refused(&["bridge"]).contains("holds 3 recordings of bridge, and at least 6 are needed"));
    assert!(refused(&["host"]).contains("cannot read the profile"));
    assert!(refused(&["bridge", "host", "--format", "json"]).contains("several checks"));
    // What is neither a mode nor a recording is not there.
    assert!(refused(&["bridgehead"]).contains("-o and --at-most are for recordings that are made"));
}

#[test]
fn a_mode_is_run_as_the_stored_recordings_were() {
    let Some(_alone) = support::ready::ready_for(test_name!(), &[]) else { return };
    let directory = Directory::new();
    let (stored, out) = (directory.word("stored"), directory.word("out"));
    let run = ["lab", "run", "host", "--workload", "tcp-rr", "--duration", "300ms", "--repeat", "6", "-o", &stored];
    succeeded(&netstrata(&run));
    let output = netstrata(&["check", "host", "--against", &stored, "-o", &out, "--format", "json"]);
    assert!(matches!(output.status.code(), Some(0 | 1 | 4)), "{}", errors(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["judged_by"], &found["pairs_looked_at"]), (&"pairs".into(), &6.into()));
    assert!(errors(&output).contains("host, 6 runs in "), "{}", errors(&output));
    assert!(directory.file("out/host-6.prof").is_file() && !directory.file("out/host-run").exists());
}

#[test]
fn a_benchmark_without_traffic_ends_it_at_once_and_the_host_is_restored() {
    let Some(_alone) = support::ready::ready_for(test_name!(), &[]) else { return };
    let directory = Directory::new();
    let (log, out) = (directory.word("log"), directory.word("out"));
    let says = |word: &str| format!("echo {word} >> '{log}'");
    let (before, after) = (says("before"), says("after"));
    let words = ["check", "--before", &before, "--after", &after, "-o", &out, "--", "sleep", "0.3"];
    let output = netstrata(&words);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    assert!(errors(&output).contains("-1.prof "), "{}", errors(&output));
    let order = fs::read_to_string(&log).unwrap();
    assert!(["before\nbefore\n", "after\nbefore\n"].contains(&order.as_str()), "{order}");
}

#[test]
fn a_benchmark_is_recorded_both_ways_in_turns() {
    let Some(_alone) = support::ready::ready_for(test_name!(), &[]) else { return };
    let directory = Directory::new();
    let (log, out) = (directory.word("log"), directory.word("out"));
    let says = |word: &str| format!("echo {word} >> '{log}'");
    let worker = format!("{} lab worker --workload tcp-rr --size 64 --duration 300ms", support::NETSTRATA);
    let both = format!("{worker} --listen 127.0.0.1:5391 & sleep 0.3; {worker} --connect 127.0.0.1:5391");
    let words =
        ["--before", &says("before"), "--after", &says("after"), "-o", &out, "--at-most", "1ms"].map(str::to_owned);
    let words: Vec<&str> = ["check"].into_iter().chain(words.iter().map(String::as_str)).collect();
    let output = netstrata(&[&words[..], &["--format", "json", "--", "sh", "-c", &both]].concat());
    assert_eq!(output.status.code(), Some(4), "{}", errors(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["verdict"], &found["judged_by"]), (&"undecided".into(), &"batches".into()));
    let order = fs::read_to_string(&log).unwrap();
    // By chance, and restored in the end.
    assert!(["before\nafter\nbefore\n", "after\nbefore\nbefore\n"].contains(&order.as_str()), "{order}");
    assert!(directory.file("out/before-1.prof").is_file() && directory.file("out/after-1.prof").is_file());
}
