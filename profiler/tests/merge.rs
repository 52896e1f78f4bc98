//! `netstrata merge`, and commands that take several recordings.

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

/// As many repeats of a recording as if it had been made again: what the kernel numbers has other numbers each time.
fn repeats(directory: &Directory, mode: &str, count: u32) -> Vec<String> {
    let words = (1..=count).map(|repeat| {
        let mut profile = recorded(&format!("tcp-rr-{mode}.prof"));
        profile.meta.started_ns = u64::from(repeat);
        let moved = |netns: u32| if netns == 0 { 0 } else { netns ^ repeat };
        profile.topology.namespaces.iter_mut().for_each(|namespace| namespace.inum = moved(namespace.inum));
        for device in &mut profile.topology.devices {
            device.netns = moved(device.netns);
            device.peer = device.peer.map(|(netns, index)| (moved(netns), index));
            device.lower = device.lower.map(|(netns, index)| (moved(netns), index));
        }
        for path in &mut profile.paths {
            path.crossings.iter_mut().for_each(|crossing| crossing.netns = moved(crossing.netns));
            // What is the same in all has no interval.
            let more = 1000 * u64::from(repeat);
            if let Some(sums) = profile.batches.iter_mut().find_map(|batch| batch.paths.get_mut(&path.id)) {
                sums.sum_ns += more;
            }
        }
        for sample in profile.cpu.entries.iter_mut().chain(&mut profile.cpu.bursts) {
            sample.place.iter_mut().for_each(|place| place.netns = moved(place.netns));
        }
        profile.turnarounds.iter_mut().for_each(|turn| turn.netns = moved(turn.netns));
        let turns = profile.batches.iter_mut().flat_map(|batch| &mut batch.turnarounds);
        turns.for_each(|turn| turn.netns = moved(turn.netns));
        profile.devices.iter_mut().for_each(|device| device.netns = moved(device.netns));
        let name = format!("{mode}-{repeat}.prof");
        write(&profile, &directory.file(&name)).unwrap();
        directory.word(&name)
    });
    words.collect()
}

fn words<'a>(parts: &[&'a [String]]) -> Vec<&'a str> {
    parts.iter().flat_map(|part| part.iter().map(String::as_str)).collect()
}

/// Merges into a file of this name; its bytes.
fn merge(directory: &Directory, files: &[&str], name: &str) -> Vec<u8> {
    let output = netstrata(&[&["merge"], files, &["-o", &directory.word(name)]].concat());
    succeeded(&output);
    let (said, note) = (errors(&output), format!("-> {}\n", directory.word(name)));
    assert!(output.stdout.is_empty() && said.starts_with("netstrata: ") && said.ends_with(&note), "{said}");
    fs::read(directory.file(name)).unwrap()
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&succeeded(&netstrata(&[words, &["--format", "json"]].concat()))).unwrap()
}

#[test]
fn the_bytes_are_the_same_whichever_way_a_set_is_put_together() {
    let directory = Directory::new();
    let files = repeats(&directory, "bridge", 3);
    let [a, b, c] = [&files[0], &files[1], &files[2]].map(String::as_str);
    let (ab, ca) = (directory.word("ab"), directory.word("ca"));
    merge(&directory, &[a, b], "ab");
    merge(&directory, &[c, a], "ca");
    let all = merge(&directory, &[a, b, c], "all");
    assert_eq!(all, merge(&directory, &[c, &ab], "one"));
    assert_eq!(all, merge(&directory, &[&ca, b], "other"));
    assert_eq!(all, merge(&directory, &[&directory.word("bridge")], "of-mode"));
}

#[test]
fn a_report_of_several_is_that_of_all_together() {
    let directory = Directory::new();
    let files = repeats(&directory, "bridge", 3);
    let all = json(&words(&[&["report".into()], &files]));
    let one = json(&["report", &files[0]]);
    assert_eq!((&all["meta"]["recordings"], &one["meta"]["recordings"]), (&3.into(), &Value::Null));
    let (paths, of_one) = (all["paths"].as_array().unwrap(), one["paths"].as_array().unwrap());
    assert_eq!(paths.len(), of_one.len());
    for (path, alone) in paths.iter().zip(of_one) {
        let layers = |path: &Value| {
            let spans = path["spans"].as_array().unwrap().iter();
            spans.map(|span| (span["layer"].clone(), span["device"].clone())).collect::<Vec<_>>()
        };
        // Three times as many samples split more of the spans.
        let (found, least) = (layers(path), layers(alone));
        assert!(path["from"] == alone["from"] && least.iter().all(|row| found.contains(row)), "{found:?} {least:?}");
        assert_eq!(path["packets"].as_u64(), alone["packets"].as_u64().map(|packets| 3 * packets));
        assert_eq!(path["end_to_end_ns"]["mean"], alone["end_to_end_ns"]["mean"]);
        assert!(path["end_to_end_ns"]["interval"].is_array(), "three recordings have an interval: {path}");
    }
    merge(&directory, &words(&[&files]), "merged");
    for format in ["text", "json", "folded", "svg"] {
        let of = |files: &[&str]| succeeded(&netstrata(&[&["report", "--format", format], files].concat()));
        assert_eq!(of(&[&directory.word("merged")]), of(&words(&[&files])), "{format}");
    }
    let text = succeeded(&netstrata(&["report", &directory.word("bridge")]));
    assert!(text.lines().nth(1).is_some_and(|line| line == "sum of 3 recordings"), "{text}");
}

#[test]
fn one_recording_alone_stays_as_it_is() {
    let directory = Directory::new();
    let files = repeats(&directory, "bridge", 1);
    assert_eq!(merge(&directory, &[&files[0]], "alone"), fs::read(&files[0]).unwrap());
    let (short, long) = (netstrata(&["report", &directory.word("bridge")]), netstrata(&["report", &files[0]]));
    assert_eq!(succeeded(&short), succeeded(&long));
}

#[test]
fn explain_takes_sets_and_directories_as_the_lab_leaves_them() {
    let directory = Directory::new();
    let (host, bridge) = (repeats(&directory, "host", 2), repeats(&directory, "bridge", 3));
    let one = json(&["explain", &host[0], &bridge[0]]);
    let sets = json(&words(&[&["explain".into(), "--baseline".into()], &host, &["--target".into()], &bridge]));
    let modes = json(&["explain", "--baseline", &directory.word("host"), "--target", &directory.word("bridge")]);
    assert_eq!(sets, modes);
    assert_eq!(modes, json(&["explain", &directory.word("host"), &directory.word("bridge")]));
    assert_eq!(
        (&sets["baseline"]["label"], &sets["target"]["label"]),
        (&"host (2 recordings)".into(), &"bridge (3 recordings)".into())
    );
    // The same work again and again has the same account.
    for side in ["baseline", "target"] {
        assert_eq!(one[side]["measured"], sets[side]["measured"]);
        let turns = |found: &Value| found[side]["transaction"]["turnarounds"].as_array().map(Vec::len);
        assert_eq!(turns(&one), turns(&sets));
    }
    let text = succeeded(&netstrata(&["explain", &directory.word("host"), &directory.word("bridge")]));
    assert!(text.contains("bridge (3 recordings) against host (2 recordings)"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    // A directory of one mode.
    let only = Directory::new();
    repeats(&only, "bridge", 3);
    let output = netstrata(&["explain", "--baseline", &host[0], &host[1], "--target", &only.word("")]);
    assert!(succeeded(&output).contains("bridge (3 recordings)"));
}

/// What a command says that is refused as wrong usage.
fn refusal(words: &[&str]) -> String {
    let output = netstrata(words);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
    assert!(output.stdout.is_empty());
    said
}

#[test]
fn what_must_not_be_added_is_refused_in_a_sentence() {
    let directory = Directory::new();
    let files = repeats(&directory, "bridge", 2);
    let mut other = read(files[1].as_ref()).unwrap();
    other.meta.kernel = "6.1.0".into();
    write(&other, &directory.file("kernel")).unwrap();
    other = read(files[1].as_ref()).unwrap();
    other.meta.benchmark = None;
    write(&other, &directory.file("unmeasured")).unwrap();
    fs::write(directory.file("broken"), &fs::read(&files[0]).unwrap()[..500]).unwrap();
    let first = files[0].as_str();
    let stream = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/profiles/tcp-stream-bridge.prof");
    let [kernel, unmeasured, broken, absent] =
        ["kernel", "unmeasured", "broken", "absent"].map(|name| directory.word(name));
    let into = directory.word("into");
    for (second, wanted) in [
        (kernel.as_str(), "their kernels differ, 6.18.44 and 6.1.0"),
        (&unmeasured, "only the first holds a benchmark's result"),
        (stream, "their workloads differ, tcp-rr and tcp-stream"),
        (&broken, "is truncated"),
        (&absent, "cannot read the profile"),
        (first, "hold the same recording"),
    ] {
        for command in [&["merge", "-o", &into][..], &["report"], &["explain", "--target", first, "--baseline"]] {
            let said = refusal(&[command, &[first, second]].concat());
            assert!(said.contains(wanted) && said.contains(second) && said.lines().count() == 1, "{said}");
        }
    }
    assert!(!directory.file("into").exists());
    let said = refusal(&["merge", first, &files[1], "-o", &directory.word("no/where")]);
    assert!(said.contains("cannot write the profile") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_directory_of_several_modes_asks_which_one() {
    let directory = Directory::new();
    repeats(&directory, "host", 2);
    repeats(&directory, "bridge", 2);
    let said = refusal(&["report", &directory.word("")]);
    assert!(said.contains("(bridge, host)") && said.contains(&directory.word("bridge")), "{said}");
    let empty = Directory::new();
    assert!(refusal(&["merge", &empty.word(""), "-o", &empty.word("all")]).contains("holds no recordings"));
}

#[test]
fn half_of_an_explanation_is_wrong_usage() {
    for words in [
        &["explain", "a"][..],
        &["explain", "--baseline", "a"],
        &["explain", "--target", "a"],
        &["explain", "a", "--target", "b"],
        &["explain", "a", "b", "--baseline", "c", "--target", "d"],
        &["merge", "a"],
        &["merge", "-o", "a"],
        &["report"],
    ] {
        assert!(!refusal(words).contains("cannot read"), "{words:?}");
    }
}
