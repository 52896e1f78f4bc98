//! The lab on this machine: real namespaces, real traffic, and nothing left afterwards. Needs root.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/alone.rs"]
mod alone;

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use alone::ready;
use netstrata::{
    analysis,
    cli::{LabRunArgs, TierArg},
    lab::{
        cleanup::start_time,
        modes::{MODES, Mode},
    },
    profile::{PathRecord, Profile},
};
use netstrata_common::{Edge, End, Protocol};

const NOTHING: [&str; 0] = [];

struct Lab {
    child: Child,
    output: PathBuf,
}

impl Lab {
    fn start(words: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let output = std::env::temp_dir().join(format!("netstrata-lab-test-{}-{number}", std::process::id()));
        let child = Command::new(env!("CARGO_BIN_EXE_netstrata"))
            .args(["lab", "run"])
            .args(words)
            .arg("-o")
            .arg(&output)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, output }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a plain system call on a child that has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    fn wait(&mut self) -> (ExitStatus, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap(), out, err)
    }

    /// Waits until the workers of the measured run (not the short warm-up) run, and gives their ids.
    fn until_traffic(&self) -> Vec<u32> {
        let warm_up = Duration::from_secs(1);
        wait_for("workers", || children(self.pid()).len() >= 2);
        std::thread::sleep(warm_up);
        wait_for("workers", || children(self.pid()).len() >= 2);
        children(self.pid())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.output);
    }
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ids of the processes that run `pid` started, from the notes that it keeps.
fn children(pid: u32) -> Vec<u32> {
    let directory = Path::new("/run/netstrata-lab").join(pid.to_string()).join("children");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// What is left of run `pid`.
fn left(pid: u32) -> Vec<String> {
    let prefix = format!("nslab-{pid}-");
    let state = format!("/run/netstrata-lab/{pid}");
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let mut found: Vec<String> = namespaces
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect();
    if Path::new(&state).exists() {
        found.push(state.clone());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(&prefix) || line.contains(&state)).map(str::to_owned));
    found
}

#[test]
fn every_built_in_workload_crosses_the_own_networks_and_leaves_nothing() {
    let Some(_one) = ready("every_built_in_workload_crosses_the_own_networks") else { return };
    for workload in ["tcp-stream", "tcp-rr", "udp-stream", "udp-rr"] {
        let words = ["host", "bridge", "--no-record", "--duration", "300ms", "--pairs", "2", "--workload", workload];
        let mut lab = Lab::start(&words);
        let (status, out, err) = lab.wait();
        assert!(status.success(), "{workload}: {err}");
        assert!(out.contains("host") && out.contains("bridge") && out.contains("100.0 %"), "{out}");
        let text = fs::read_to_string(lab.output.join("comparison.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["schema"], "netstrata.comparison/1");
        assert_eq!(json["workload"], workload);
        for (row, mode) in json["modes"].as_array().unwrap().iter().zip(["host", "bridge"]) {
            assert_eq!(row["mode"], mode);
            assert!(row["median"].as_f64().unwrap() > 0.0, "{workload} {row}");
            if workload.ends_with("-rr") {
                assert!(row["round_trip_ns"]["median"].as_f64().unwrap() > 0.0, "{workload} {row}");
            }
        }
        assert_eq!(left(lab.pid()), NOTHING, "{workload}");
    }
}

#[test]
fn docker_modes_leave_neither_daemon_nor_containers() {
    let Some(_one) = ready("docker_modes_leave_neither_daemon_nor_containers") else { return };
    if let Some(reason) = netstrata::lab::docker::missing() {
        println!("skipped docker_modes_leave_neither_daemon_nor_containers: {reason}");
        return;
    }
    let mut lab = Lab::start(&["docker-host", "docker-bridge", "--no-record", "--duration", "300ms"]);
    let (status, out, err) = lab.wait();
    if err.contains("skipped docker") {
        println!("skipped docker_modes_leave_neither_daemon_nor_containers: {err}");
        return;
    }
    assert!(status.success(), "{err}");
    assert!(out.contains("docker-host") && out.contains("docker-bridge"), "{out}");
    assert_eq!(left(lab.pid()), NOTHING);
    assert_eq!(processes(lab.pid()), NOTHING);
}

/// Programs of engines and guests that run `pid` started and that still live: they name its directory.
fn processes(pid: u32) -> Vec<String> {
    let state = format!("/run/netstrata-lab/{pid}/");
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&state)).collect()
}

/// In one run, since starting daemons takes longer than the traffic.
#[test]
fn every_mode_of_docker_shows_its_layers_by_name_and_device() {
    let test = "every_mode_of_docker_shows_its_layers_by_name_and_device";
    let Some(_one) = ready(test) else { return };
    let modes: Vec<&Mode> = MODES.iter().filter(|mode| mode.docker()).collect();
    let mut words: Vec<&str> = modes.iter().map(|mode| mode.name).collect();
    words.extend(["--workload", "tcp-rr", "--duration", "3s", "--sample-every", "8"]);
    let mut lab = Lab::start(&words);
    let (status, _, err) = lab.wait();
    let skipped: Vec<&str> = err.lines().filter(|line| line.starts_with("skipped ")).collect();
    if skipped.len() == modes.len() {
        println!("skipped {test}: {}", skipped.join("; "));
        return;
    }
    assert!(status.success(), "{err}");
    for mode in modes {
        if let Some(reason) = skipped.iter().find(|line| line.starts_with(&format!("skipped {}:", mode.name))) {
            println!("{test}: {reason}");
            continue;
        }
        let profile = netstrata::profile::read(&lab.output.join(format!("{}.prof", mode.name))).unwrap();
        let mut missing = mode.layers.to_vec();
        check_account(mode, &profile, &mut missing);
        assert!(missing.is_empty(), "{}: not seen: {missing:?}", mode.name);
    }
    assert_eq!(left(lab.pid()), NOTHING);
    assert_eq!(processes(lab.pid()), NOTHING);
}

#[test]
fn what_a_killed_run_with_daemons_and_a_guest_left_goes_at_the_next() {
    let test = "what_a_killed_run_with_daemons_and_a_guest_left_goes_at_the_next";
    let Some(_one) = ready(test) else { return };
    let lacking = netstrata::lab::docker::missing().or_else(|| netstrata::lab::cni::missing("bridge"));
    if let Some(reason) = lacking.or_else(netstrata::lab::guest::missing) {
        println!("skipped {test}: {reason}");
        return;
    }
    let mut killed = Lab::start(&["cni-bridge", "docker-nat", "vm-bridge", "--no-record", "--duration", "30s"]);
    let console = format!("/run/netstrata-lab/{}/guest-tap0/console", killed.pid());
    let deadline = Instant::now() + Duration::from_secs(300);
    while !Path::new(&console).exists() && killed.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "no guest");
        std::thread::sleep(Duration::from_millis(50));
    }
    killed.signal(libc::SIGKILL);
    let (_, _, err) = killed.wait();
    if err.contains("skipped ") {
        println!("skipped {test}: {err}");
        return;
    }
    assert!(!processes(killed.pid()).is_empty(), "a killed run cannot end its daemons");
    let mut next = Lab::start(&["host", "--no-record", "--duration", "100ms", "--workload", "tcp-rr"]);
    let (status, _, err) = next.wait();
    assert!(status.success(), "{err}");
    assert_eq!(left(killed.pid()), NOTHING);
    assert_eq!(processes(killed.pid()), NOTHING);
}

#[test]
fn a_mode_can_be_run_from_a_program() {
    let Some(_one) = ready("a_mode_can_be_run_from_a_program") else { return };
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
        budget: 0.2,
        // Attaching hooks takes most of a minute in an emulated machine.
        tier: TierArg::Tracepoint,
        ..LabRunArgs::default()
    };
    let mut missing: Vec<(&str, &str)> = mode.layers.to_vec();
    for _ in 0..RUNS {
        let measured = match netstrata::lab::run_mode(mode.name, &args) {
            Ok(measured) => measured,
            Err(error) if netstrata::failure::exit_code(&error) == 3 => return Err(format!("{error:#}")),
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

#[test]
fn every_mode_that_this_kernel_can_do_shows_its_layers_by_name_and_device() {
    let Some(_one) = ready("every_mode_shows_its_layers") else { return };
    for mode in MODES.iter().filter(|mode| !mode.docker()) {
        if let Err(reason) = check_layers(mode) {
            println!("skipped every_mode_shows_its_layers in mode {}: {reason}", mode.name);
        }
    }
}

/// For emulated machines, which are too slow for all modes.
#[test]
fn modes_that_few_kernels_have_show_their_layers_by_name_and_device() {
    let test = "modes_that_few_kernels_have_show_their_layers_by_name_and_device";
    let Some(_one) = ready(test) else { return };
    for mode in MODES.iter().filter(|mode| ["ovs", "ipip"].contains(&mode.name)) {
        if let Err(reason) = check_layers(mode) {
            println!("skipped {test} in mode {}: {reason}", mode.name);
        }
    }
}

#[test]
fn a_packet_goes_through_open_vswitchs_daemon_and_back() {
    let test = "a_packet_goes_through_open_vswitchs_daemon_and_back";
    let Some(_one) = ready(test) else { return };
    let args = LabRunArgs {
        workload: "tcp-rr".into(),
        duration: Duration::from_secs(1),
        pairs: 1,
        repeat: 1,
        budget: 0.2,
        tier: TierArg::Tracepoint,
        ..LabRunArgs::default()
    };
    let measured = match netstrata::lab::run_mode("ovs-upcall", &args) {
        Ok(measured) => measured,
        Err(error) if netstrata::failure::exit_code(&error) == 3 => {
            println!("skipped {test}: {error:#}");
            return;
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
    let Some(_one) = ready("a_wire_is_as_slow_as_it_is_asked_to_be") else { return };
    let mut lab = Lab::start(&["vxlan", "--no-record", "--duration", "1s", "--wire-rate", "100mbit", "--mtu", "1400"]);
    let (status, _, err) = lab.wait();
    if status.code() == Some(3) {
        println!("skipped a_wire_is_as_slow_as_it_is_asked_to_be: {err}");
        return;
    }
    assert!(status.success(), "{err}");
    let text = fs::read_to_string(lab.output.join("comparison.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    // No machine is too slow for it, and outer headers take their share of the rate.
    let rate = json["modes"][0]["median"].as_f64().unwrap();
    assert!(rate > 0.0 && rate <= 1e8, "{rate}");
    assert_eq!(left(lab.pid()), NOTHING);
}

#[test]
fn ctrl_c_and_sigterm_clean_up_and_show_in_the_exit_code() {
    let Some(_one) = ready("ctrl_c_and_sigterm_clean_up") else { return };
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let mut lab = Lab::start(&["bridge", "--no-record", "--duration", "30s"]);
        let workers = lab.until_traffic();
        lab.signal(signal);
        let (status, _, err) = lab.wait();
        assert_eq!(status.code(), Some(code), "{err}");
        assert!(err.contains("interrupted"), "{err}");
        assert_eq!(left(lab.pid()), NOTHING);
        wait_for("end of the workers", || workers.iter().all(|pid| start_time(*pid).is_none()));
    }
}

#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let Some(_one) = ready("the_next_run_removes_what_a_killed_one_left") else { return };
    let mut killed = Lab::start(&["bridge", "--no-record", "--duration", "30s"]);
    let workers = killed.until_traffic();
    killed.signal(libc::SIGKILL);
    killed.child.wait().unwrap();
    assert!(!left(killed.pid()).is_empty(), "a killed run cannot clean up");
    let mut next = Lab::start(&["host", "--no-record", "--duration", "100ms", "--workload", "tcp-rr"]);
    let (status, _, err) = next.wait();
    assert!(status.success(), "{err}");
    assert_eq!(left(killed.pid()), NOTHING);
    assert_eq!(left(next.pid()), NOTHING);
    wait_for("end of the workers", || workers.iter().all(|pid| start_time(*pid).is_none()));
}

#[test]
fn wrong_words_are_wrong_usage() {
    for (words, said) in [
        (&["overlay9", "--no-record"][..], "known: none, host, container, bridge"),
        (&["host", "--workload", "ftp"][..], "known: tcp-stream"),
        (&["host", "--workload", "udp-rr", "--size", "70000"][..], "65507"),
    ] {
        let mut lab = Lab::start(words);
        let (status, _, err) = lab.wait();
        assert_eq!(status.code(), Some(2), "{err}");
        assert!(err.contains(said), "{err}");
    }
}
