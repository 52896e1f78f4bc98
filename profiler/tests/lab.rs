//! The lab on this machine: real namespaces, real traffic, and nothing left afterwards. Needs root.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::time::Duration;

use netstrata::{
    analysis,
    cli::{LabRunArgs, TierArg},
    lab::modes::{MODES, Mode},
    profile::{PathRecord, Profile, read},
};
use netstrata_common::{Edge, End, Protocol};
use support::{
    lab::{Lab, NOTHING, left, programs, until_gone},
    ready::{say_left_out, say_skipped},
};

/// In one run, since starting daemons takes longer than the traffic.
#[test]
fn every_mode_of_docker_shows_its_layers_by_name_and_device() {
    let Some(_alone) = ready!() else { return };
    let modes: Vec<&Mode> = MODES.iter().filter(|mode| mode.docker()).collect();
    assert!(modes.len() > 1);
    let mut words: Vec<&str> = modes.iter().map(|mode| mode.name).collect();
    words.extend(["--workload", "tcp-rr", "--duration", "3s", "--sample-every", "8"]);
    let mut lab = Lab::start(&words);
    let ended = lab.end();
    assert_eq!(left(lab.id()), NOTHING, "neither daemons nor containers");
    let skipped: Vec<&str> = ended.err.lines().filter(|line| line.starts_with("skipped ")).collect();
    if skipped.len() == modes.len() {
        skip!("{}", skipped.join("; "));
    }
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for mode in modes {
        if let Some(reason) = skipped.iter().find(|line| line.starts_with(&format!("skipped {}:", mode.name))) {
            say_left_out(test_name!(), mode.name, reason);
            continue;
        }
        let profile = read(&lab.file(&format!("{}.prof", mode.name))).unwrap();
        let mut missing = mode.layers.to_vec();
        check_account(mode, &profile, &mut missing);
        assert!(missing.is_empty(), "{}: not seen: {missing:?}", mode.name);
    }
}

#[test]
fn what_a_killed_run_with_daemons_and_a_guest_left_goes_at_the_next() {
    let Some(_alone) = ready!() else { return };
    let lacking = netstrata::lab::docker::missing().or_else(|| netstrata::lab::cni::missing("bridge"));
    if let Some(reason) = lacking.or_else(netstrata::lab::guest::missing) {
        skip!("{reason}");
    }
    let mut killed = Lab::start(&["cni-bridge", "docker-nat", "vm-bridge", "--no-record", "--duration", "30s"]);
    killed.until_exists(&format!("/run/netstrata-lab/{}/guest-tap0/console", killed.id()));
    killed.signal(libc::SIGKILL);
    let ended = killed.end();
    if ended.err.contains("skipped ") {
        skip!("{}", ended.err);
    }
    assert!(!programs(killed.id()).is_empty(), "a killed run cannot end its daemons: {}", ended.err);
    run_next();
    assert_eq!(left(killed.id()), NOTHING);
}

/// The next run, which removes what others left.
fn run_next() {
    let ended = Lab::run(&["host", "--no-record", "--duration", "100ms", "--workload", "tcp-rr"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn a_mode_can_be_run_from_a_program() {
    let Some(_alone) = ready!() else { return };
    let args = LabRunArgs {
        workload: "tcp-rr".into(),
        duration: Duration::from_millis(200),
        pairs: 1,
        repeat: 1,
        no_record: true,
        ..LabRunArgs::default()
    };
    let measured = netstrata::lab::run_mode("host", &args).unwrap();
    assert!(measured.profile.is_none());
    let (client, server) = measured.driven.reports.unwrap();
    assert_eq!((client.side.as_str(), server.side.as_str()), ("client", "server"));
    assert!(client.transactions > 0 && client.user_ns + client.system_ns > 0);
    assert!(measured.driven.command.iter().any(|word| word == "--connect"), "{:?}", measured.driven.command);
    assert_eq!(left(std::process::id()), NOTHING);
}

/// A way of each kind: bridged, translated, routed by hosts, in a tunnel.
#[test]
fn traffic_of_ipv6_goes_the_ways_that_traffic_of_ipv4_goes() {
    let Some(_alone) = ready!() else { return };
    let modes = ["host", "bridge", "nat", "nat-iptables", "macvlan", "ipip", "vxlan", "vm-bridge"];
    let options = ["--ip", "6", "--workload", "tcp-rr", "--duration", "500ms", "--sample-every", "1"];
    let mut lab = Lab::start(&[&modes[..], &options].concat());
    let ended = lab.end();
    assert_eq!(left(lab.id()), NOTHING);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("skipped vm-bridge: "), "a guest has none: {}", ended.err);
    for mode in modes {
        if ended.err.contains(&format!("skipped {mode}: ")) {
            say_left_out(test_name!(), mode, "needs what this machine lacks");
            continue;
        }
        let profile = read(&lab.file(&format!("{mode}.prof"))).unwrap();
        let benchmark = profile.meta.benchmark.as_ref().unwrap();
        let whole = profile.paths.iter().filter(|path| path.protocol == Protocol::TCP && path.end == End::Copied);
        let read: u64 = whole.map(|path| path.packets).sum();
        let transactions = benchmark.transactions_per_s.unwrap() * benchmark.duration_s.unwrap();
        assert!(read as f64 > transactions, "{mode}: {read} packets were read of {transactions} transactions");
        assert_eq!(benchmark.ip, Some(6));
        assert!(profile.meta.command.iter().any(|word| word.starts_with('[')), "{:?}", profile.meta.command);
    }
    let comparison = std::fs::read_to_string(lab.file("comparison.json")).unwrap();
    assert!(comparison.contains("\"--ip\""), "it can be run the same way again");
}

/// Layers are split by CPU samples; a short run can lack one of a small layer.
const RUNS: usize = 4;

/// Every journey of the recording must close and be attributed; the layers that it shows are no longer missing.
fn check_account(mode: &Mode, profile: &Profile, missing: &mut Vec<(&str, &str)>) {
    let account = analysis::account(profile);
    let ours = |netns| !profile.topology.namespace_name(netns).starts_with("nslab-");
    let paths = || account.paths.iter().filter(|path| ours(path.record.crossings[0].netns));
    assert!(paths().next().is_some(), "{}: no packet was seen", mode.name);
    for path in paths() {
        assert!(path.is_closed(), "{}: {path:?}", mode.name);
    }
    let unattributed: u64 = paths().map(|path| path.unattributed_ns).sum();
    let all: u64 = paths().map(|path| path.record.end_to_end.sum).sum();
    assert!(unattributed as f64 <= 0.05 * all as f64, "{}: {unattributed} of {all} ns", mode.name);
    missing.retain(|(layer, device)| {
        !paths().flat_map(|path| &path.spans).any(|span| {
            span.layer.is_some_and(|found| found.name() == *layer) && (device.is_empty() || span.device == *device)
        })
    });
}

/// Runs a mode until all of its layers were seen by name and device; every run must close and be attributed. `Err` tells
/// why this machine cannot run it.
fn check_layers(mode: &Mode) -> Result<(), String> {
    let args = LabRunArgs {
        workload: "tcp-stream".into(),
        duration: Duration::from_secs(2),
        pairs: 1,
        repeat: 1,
        budget: Some(0.2),
        // Attaching hooks takes most of a minute in an emulated machine.
        tier: TierArg::Tracepoint,
        ..LabRunArgs::default()
    };
    let mut missing: Vec<(&str, &str)> = mode.layers.to_vec();
    for _ in 0..RUNS {
        let measured = match netstrata::lab::run_mode(mode.name, &args) {
            Ok(measured) => measured,
            Err(error) if netstrata::exit::code(&error) == 3 => return Err(format!("{error:#}")),
            Err(error) => panic!("{}: {error:#}", mode.name),
        };
        assert_eq!(left(std::process::id()), NOTHING, "{}", mode.name);
        let profile = measured.profile.unwrap();
        check_account(mode, &profile, &mut missing);
        if missing.is_empty() {
            return Ok(());
        }
    }
    panic!("{}: not seen in {RUNS} runs: {missing:?}", mode.name);
}

/// Checks these modes; those that this machine cannot run are left out, and named.
fn check_modes<'a>(test: &str, modes: impl Iterator<Item = &'a Mode>) {
    let (mut left_out, mut checked) = (Vec::new(), 0);
    for mode in modes {
        match check_layers(mode) {
            Ok(()) => checked += 1,
            Err(reason) => left_out.push((mode.name, reason)),
        }
    }
    if checked == 0 {
        let reasons: Vec<String> = left_out.iter().map(|(mode, reason)| format!("{mode}: {reason}")).collect();
        assert!(!reasons.is_empty(), "there are no such modes");
        return say_skipped(test, &reasons.join("; "));
    }
    left_out.iter().for_each(|(mode, reason)| say_left_out(test, mode, reason));
}

#[test]
fn every_mode_that_this_kernel_can_do_shows_its_layers_by_name_and_device() {
    let Some(_alone) = ready!() else { return };
    // Two machines are a test of their own: `tests/wire.rs`.
    let is_ours = |mode: &&Mode| !mode.docker() && !netstrata::lab::modes::has_machines(mode.name);
    check_modes(test_name!(), MODES.iter().filter(is_ours));
}

/// For emulated machines, which are too slow for all modes.
#[test]
fn modes_that_few_kernels_have_show_their_layers_by_name_and_device() {
    let Some(_alone) = ready!() else { return };
    check_modes(test_name!(), MODES.iter().filter(|mode| ["ovs", "ipip"].contains(&mode.name)));
}

/// For one emulated machine.
#[test]
fn modes_of_devices_that_one_kernel_has_show_their_layers_by_name_and_device() {
    let Some(_alone) = ready!() else { return };
    let modes = ["vlan-bridge", "wireguard", "netkit"];
    check_modes(test_name!(), MODES.iter().filter(|mode| modes.contains(&mode.name)));
}

#[test]
fn a_packet_goes_through_open_vswitchs_daemon_and_back() {
    let Some(_alone) = ready!() else { return };
    let args = LabRunArgs {
        workload: "tcp-rr".into(),
        duration: Duration::from_secs(1),
        pairs: 1,
        repeat: 1,
        budget: Some(0.2),
        tier: TierArg::Tracepoint,
        ..LabRunArgs::default()
    };
    let measured = match netstrata::lab::run_mode("ovs-upcall", &args) {
        Ok(measured) => measured,
        Err(error) if netstrata::exit::code(&error) == 3 => {
            skip!("{error:#}");
        }
        Err(error) => panic!("{error:#}"),
    };
    let profile = measured.profile.unwrap();
    let read = |path: &&PathRecord| path.protocol == Protocol::TCP && path.end == End::Copied;
    let packets = |through: bool| {
        let is_through = |path: &&PathRecord| path.edges.iter().any(|edge| edge.1 == Edge::Userspace) == through;
        profile.paths.iter().filter(read).filter(is_through).map(|path| path.packets).sum::<u64>()
    };
    // The datapath may keep no flow.
    assert!(packets(true) > 0 && packets(false) * 20 < packets(true), "{} {}", packets(true), packets(false));
    assert_eq!(left(std::process::id()), NOTHING);
}

#[test]
fn a_wire_is_as_slow_as_it_is_asked_to_be() {
    let Some(_alone) = ready!() else { return };
    let ended = Lab::run(&["vxlan", "--no-record", "--duration", "1s", "--wire-rate", "100mbit", "--mtu", "1400"]);
    if ended.code == Some(3) {
        skip!("{}", ended.err);
    }
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    // No machine is too slow for it, and outer headers take their share of the rate.
    let rate = ended.comparison["modes"][0]["median"].as_f64().unwrap();
    assert!(rate > 0.0 && rate <= 1e8, "{rate}");
}

#[test]
fn ctrl_c_and_sigterm_clean_up_and_show_in_the_exit_code() {
    let Some(_alone) = ready!() else { return };
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let mut lab = Lab::start(&["bridge", "--no-record", "--duration", "30s"]);
        let workers = lab.until_workers_of(30_000);
        lab.signal(signal);
        let ended = lab.end();
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        assert!(ended.err.contains("interrupted"), "{}", ended.err);
        assert_eq!(left(lab.id()), NOTHING);
        until_gone(&workers);
    }
}

#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let Some(_alone) = ready!() else { return };
    let mut killed = Lab::start(&["bridge", "--no-record", "--duration", "30s"]);
    let workers = killed.until_workers_of(30_000);
    killed.signal(libc::SIGKILL);
    killed.end();
    assert!(!left(killed.id()).is_empty(), "a killed run cannot clean up");
    run_next();
    assert_eq!(left(killed.id()), NOTHING);
    until_gone(&workers);
}

#[test]
fn wrong_words_are_wrong_usage() {
    for (words, said) in [
        (&["overlay9", "--no-record"][..], "known: none, host, container, bridge"),
        (&["host", "--workload", "ftp"][..], "known: tcp-stream"),
        (&["host", "--workload", "udp-rr", "--size", "70000"][..], "65507"),
    ] {
        let ended = Lab::run(words);
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains(said), "{}", ended.err);
    }
}

#[test]
fn all_to_all_has_a_container_for_each_process_or_is_refused() {
    let Some(_alone) = ready!() else { return };
    let words = ["--workload", "all-to-all", "--pairs", "4", "--duration", "200ms", "--no-record"];
    let ended = Lab::run(&[&["none", "bridge"], &words[..]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let runs = ended.runs();
    assert_eq!(runs.len(), 2, "{}", ended.comparison);
    for run in runs {
        assert!(run["transactions_per_s"].as_f64().unwrap() > 0.0 && run["pairs"] == 4, "{run:#}");
    }
    let refused = Lab::run(&[&["nested-host-bridge"], &words[..]].concat());
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(refused.err.contains("needs a container for each"), "{}", refused.err);
}
