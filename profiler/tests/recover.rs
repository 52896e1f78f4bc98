//! Recordings that are killed: what they leave, and what becomes of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher as _, RandomState},
    net::UdpSocket,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::Duration,
};

use netstrata::profile;
use support::{
    NETSTRATA, command, directory::Directory, errors, netstrata, process::Process, recording::Recording, wait::until,
};

/// Programs that are loaded.
fn programs() -> BTreeSet<u32> {
    // One may go between its number and a look at it.
    aya::programs::loaded_programs().flatten().map(|program| program.id()).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Datagrams over the loopback until it is told to end.
fn traffic(ends: &AtomicBool) {
    let (from, to) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let place = to.local_addr().unwrap();
    while !ends.load(Ordering::Relaxed) {
        from.send_to(b"hello", place).unwrap();
        to.recv(&mut [0; 8]).unwrap();
        sleep(Duration::from_micros(300));
    }
}

/// A moment of ten that differ, each somewhere in its part of 4 s.
fn moment(number: u64) -> Duration {
    Duration::from_millis(400 * number + RandomState::new().hash_one(number) % 400)
}

#[test]
fn a_recording_that_is_killed_at_any_moment_leaves_nothing_but_what_can_be_recovered() {
    let Some(_alone) = ready!() else { return };
    let before = programs();
    let ends = AtomicBool::new(false);
    let mut recovered = 0;
    thread::scope(|scope| {
        scope.spawn(|| traffic(&ends));
        for number in 0..10 {
            let after = moment(number);
            let result = std::panic::catch_unwind(|| killed(after, &before));
            if result.is_err() {
                ends.store(true, Ordering::Relaxed);
            }
            recovered += u32::from(result.unwrap());
        }
        ends.store(true, Ordering::Relaxed);
    });
    assert!(recovered >= 1, "no recording had batches");
}

/// Whether there was something of a recording that was killed so long after its start.
fn killed(after: Duration, before: &BTreeSet<u32>) -> bool {
    let directory = Directory::new();
    let file = directory.word("a.prof");
    let words = [NETSTRATA, "record", "-o", &file, "--budget", "20%", "--duration", "60s"];
    let mut recording = Process::quiet(&mut command(&words));
    sleep(after);
    recording.signal(libc::SIGKILL);
    recording.end();
    until("the end of its programs", || programs().is_subset(before));
    let there = names(&directory.file(""));
    let left = format!("a.prof.{}.unfinished", recording.id());
    assert!(there.iter().all(|name| name.starts_with(&left) || name.ends_with(".part")), "{after:?}: {there:?}");
    let again = directory.word("again.prof");
    let output = netstrata(&["recover", &file, "-o", &again]);
    let said = errors(&output);
    assert_eq!(said.lines().count(), 1, "{said}");
    if there.contains(&left) {
        assert!(output.status.success(), "{after:?}: {said}");
        assert_eq!(names(&directory.file("")), ["again.prof"]);
        let profile = profile::read(Path::new(&again)).unwrap();
        assert!(profile.meta.cut_off && !profile.batches.is_empty(), "{after:?}");
        assert!(!profile.cpu.symbols.iter().any(|name| name.starts_with("0x")), "functions have no names");
        let report = netstrata(&["report", &again, "--format", "json"]);
        assert!(String::from_utf8_lossy(&report.stdout).contains("cut off: "), "{}", errors(&report));
        return true;
    }
    assert!(output.status.code() == Some(2) && said.contains("before its first batches"), "{after:?}: {said}");
    assert_eq!(names(&directory.file("")), Vec::<String>::new(), "{after:?}");
    false
}

#[test]
fn a_recording_that_runs_is_left_alone_and_one_that_ends_leaves_its_file_only() {
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    let (file, again) = (directory.file("a.prof"), directory.word("again.prof"));
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| traffic(&ends));
        let recording = Recording::start(&file, &["--budget", "20%"]);
        let left = directory.file(&format!("a.prof.{}.unfinished", recording.0.id()));
        until("what there is so far", || left.exists());
        let output = netstrata(&["recover", left.to_str().unwrap(), "-o", &again]);
        assert!(output.status.code() == Some(2) && errors(&output).contains("still runs"), "{}", errors(&output));
        let profile = recording.stop(&file);
        ends.store(true, Ordering::Relaxed);
        assert!(!profile.meta.cut_off);
    });
    assert_eq!(names(&directory.file("")), ["a.prof"]);
}

#[test]
fn what_is_not_there_or_not_clear_is_told_in_a_sentence() {
    let directory = Directory::new();
    let again = directory.word("again.prof");
    let recover = |words: &[&str]| {
        let mut command = Command::new(NETSTRATA);
        let output =
            command.arg("recover").args(words).args(["-o", &again]).current_dir(directory.file("")).output().unwrap();
        assert_eq!((output.status.code(), errors(&output).lines().count()), (Some(2), 1), "{}", errors(&output));
        errors(&output)
    };
    assert!(recover(&[]).contains("no recording was cut off"));
    // No process has such a number.
    fs::write(directory.file("a.prof.4194305.unfinished.new"), "NETSTRAT").unwrap();
    assert!(recover(&["a.prof"]).contains("before its first batches"));
    for name in ["a.prof.4194305.unfinished", "b.prof.4194306.unfinished"] {
        fs::write(directory.file(name), "NETSTRAT").unwrap();
    }
    let several = recover(&[]);
    assert!(several.contains("./a.prof.4194305.unfinished, ./b.prof.4194306.unfinished"), "{several}");
    assert!(recover(&["b.prof"]).contains("truncated"));
    assert_eq!(names(&directory.file("")), ["a.prof.4194305.unfinished", "b.prof.4194306.unfinished"]);
}
