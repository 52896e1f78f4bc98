//! What the threads of a recording may do while it runs, and what the command that is recorded may.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{collections::BTreeMap, fs};

use netstrata::{
    kernel::confine::{RECORDING, WATCHING},
    profile,
};
use support::{
    NETSTRATA, command, directory::Directory, netstrata, network::Network, process::Process, succeeded,
    traffic::Traffic, wait::until,
};

/// A line of a status.
fn line(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
    line.trim().to_owned()
}

fn capabilities(status: &str) -> u64 {
    u64::from_str_radix(&line(status, "CapEff"), 16).unwrap()
}

/// The statuses of all threads of a process, by their names.
fn threads(pid: u32) -> BTreeMap<String, String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    statuses.map(|status| (line(&status, "Name"), status)).collect()
}

#[test]
fn once_all_is_attached_threads_keep_named_capabilities_only_and_the_command_has_all() {
    let Some(_alone) = ready!() else { return };
    let own = capabilities(&fs::read_to_string("/proc/thread-self/status").unwrap());
    let directory = Directory::new();
    let (file, said, go) = (directory.word("a.prof"), directory.word("said"), directory.word("go"));
    // It ends when it is told to, and when the test has failed.
    let script = format!(
        "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status > {said}.new; mv {said}.new {said}; \
         until [ -e {go} ] || [ ! -e {said} ]; do sleep 0.05; done"
    );
    let words = [NETSTRATA, "record", "--budget", "1%", "-o", &file, "--", "sh", "-c", &script];
    let mut recording = Process::quiet(&mut command(&words));
    let pid = recording.id();
    until("the command", || fs::exists(&said).unwrap());
    let child = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    assert_eq!(child.split_whitespace().count(), 1, "the command is a child of the first thread");
    let mask = |list: &[u32]| list.iter().fold(0, |mask, capability| mask | 1 << capability) & own;
    // Where the kernel gives performance counters to CAP_SYS_ADMIN alone.
    let paranoid: i32 = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap().trim().parse().unwrap();
    let recorder = mask(RECORDING) | if paranoid >= 3 { own & 1 << 21 } else { 0 };
    until("the end of the first thread's privileges", || {
        capabilities(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap()) == 0
    });
    let threads = threads(pid);
    for (name, keeps) in [("netstrata", 0), ("ns-output", 0), ("ns-watch", mask(WATCHING)), ("ns-recorder", recorder)] {
        let status = threads.get(name).unwrap_or_else(|| panic!("no thread {name}: {:?}", threads.keys()));
        assert_eq!(capabilities(status), keeps, "{name}");
        assert_eq!((line(status, "NoNewPrivs").as_str(), line(status, "CapInh")), ("1", "0".repeat(16)), "{name}");
        let bound = u64::from_str_radix(&line(status, "CapBnd"), 16).unwrap();
        // Of a thread that the recorder started when it had given up the right to say so, it is the recorder's.
        let may_bound = if name == "ns-output" { recorder } else { keeps };
        assert_eq!(bound & !may_bound, 0, "{name} can have more again");
    }
    let commands = fs::read_to_string(&said).unwrap();
    assert_eq!((capabilities(&commands), line(&commands, "NoNewPrivs").as_str()), (own, "0"), "the command");
    fs::write(&go, "").unwrap();
    assert_eq!(recording.end().code(), Some(0));
    let profile = profile::read(file.as_ref()).unwrap();
    assert!(!profile.topology.devices.is_empty() && profile.cpu.samples > 0);
    assert!(!profile.cpu.symbols.is_empty(), "names of functions are read at the end");
}

/// What attaches once needs the privileges of the beginning; what attaches in turns needs those that are kept.
#[test]
fn turns_observe_and_sample_with_what_is_kept() {
    let Some(_alone) = ready!("nsenter") else { return };
    let (network, directory) = (Network::pair(), Directory::new());
    // In an emulated machine on a busy host a turn costs so much that the budget lets the next one wait.
    for duration in ["8s", "24s", "72s"] {
        let traffic = Traffic { duration, ..Traffic::REQUESTS };
        let _server = traffic.serve(&network);
        let file = directory.word(&format!("{duration}.prof"));
        let client = traffic.client(&network);
        let words = ["record", "--budget", "1%", "-o", &file, "--"];
        let words = words.into_iter().chain(client.iter().map(String::as_str));
        succeeded(&netstrata(&words.collect::<Vec<_>>()));
        let profile = profile::read(file.as_ref()).unwrap();
        let windows = profile.batches.iter().flat_map(|batch| &batch.windows);
        let ends: Vec<u64> = windows.map(|(_, end)| *end).collect();
        let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
        if last - first > 1_000_000_000 && profile.cpu.burst_samples > 0 {
            assert!(profile.sampling.observed_ns < profile.meta.duration_ns / 10 * 9, "{:?}", profile.sampling);
            assert!(profile.sampling.followed > 0, "{:?}", profile.sampling);
            return;
        }
        println!("one turn in {duration}, {} samples in bursts: {ends:?}", profile.cpu.burst_samples);
    }
    panic!("one turn only, or nothing was sampled in one");
}
