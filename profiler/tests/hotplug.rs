//! A CPU that goes and comes back while a recording runs. Needs root, and an emulated machine: what else runs on the host keeps its CPUs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{fs, os::unix::fs::symlink, path::Path, thread, time::Duration};

use netstrata::profile::Profile;
use support::{
    command,
    directory::Directory,
    network::Network,
    process::Process,
    recording::Recording,
    report::{closed, report},
    traffic::Traffic,
};

/// The first CPU cannot go.
const CPU: &str = "1";
const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
/// Long enough that samples of a program that spins cannot all fall beside it.
const SPIN: Duration = Duration::from_secs(1);

/// A shell of this name spins on the CPU that goes.
fn spin_as(name: &str, directory: &Directory) -> Process {
    let program = directory.file(name);
    symlink("/bin/sh", &program).unwrap();
    let mut spinning = command(&["taskset", "-c", CPU]);
    let spinning = Process::quiet(spinning.arg(program).args(["-c", "while :; do :; done"]));
    thread::sleep(SPIN);
    spinning
}

/// How many samples a thread of this name has.
fn samples_of(profile: &Profile, name: &str) -> u64 {
    let (tasks, entries) = (&profile.cpu.tasks, &profile.cpu.entries);
    entries.iter().filter(|entry| tasks[entry.task as usize].comm == name).map(|entry| entry.count).sum()
}

#[test]
fn a_cpu_that_comes_back_is_sampled_again_and_journeys_go_on() {
    let Some(_alone) = ready!("nsenter", "taskset") else { return };
    if netstrata::host::emulated::inside().is_none() {
        skip!("needs an emulated machine, whose CPUs are its own");
    }
    if !Path::new(ONLINE).exists() {
        skip!("needs a second CPU that can be taken away");
    }
    let (network, directory) = (Network::pair(), Directory::new());
    let requests = Traffic { duration: "5m", ..Traffic::REQUESTS };
    let _server = requests.serve(&network);
    let _client = Process::quiet(&mut command(&requests.client(&network)));
    let file = directory.file("it.prof");
    let recording = Recording::start(&file, &["--sample-every", "1"]);
    drop(spin_as("ns-before", &directory));
    fs::write(ONLINE, "0").unwrap();
    thread::sleep(SPIN);
    fs::write(ONLINE, "1").unwrap();
    let after = spin_as("ns-after", &directory);
    // It is looked for a few times a second.
    thread::sleep(SPIN);
    drop(after);
    let profile = recording.stop(&file);
    for name in ["ns-before", "ns-after"] {
        assert!(samples_of(&profile, name) > 0, "no sample of {name}: {:?}", profile.cpu.tasks);
    }
    assert!(profile.sampling.followed > 20, "{:?}", profile.sampling);
    assert!(closed(&report(&file)) > 10);
}
