//! Recordings on this kernel: real programs, namespaces and traffic. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    thread::sleep,
    time::Duration,
};

use netstrata::{
    analysis::{Verdict, account},
    profile::{Profile, read, write},
};
use netstrata_common::{End, Loss, Protocol};
use serde_json::Value;
use support::{
    NETSTRATA, command,
    directory::Directory,
    errors, netstrata,
    network::Network,
    process::Process,
    recording::Recording,
    report::{closed, report},
    run, succeeded,
    traffic::Traffic,
    wait::until,
};

/// Two sides of a veth pair, and a place for what is recorded between them.
struct Lab {
    network: Network,
    directory: Directory,
}

impl Lab {
    fn new() -> Self {
        Self { network: Network::pair(), directory: Directory::new() }
    }

    /// Records while the client sends requests to the server.
    fn record_requests(&self, file: &str, options: &[&str]) -> (Output, Profile) {
        self.record_traffic(Traffic::REQUESTS, file, options)
    }

    fn record_traffic(&self, traffic: Traffic, file: &str, options: &[&str]) -> (Output, Profile) {
        let _server = traffic.serve(&self.network);
        let output = Command::new(NETSTRATA)
            .args(["record", "-o"])
            .arg(self.directory.file(file))
            .args(options)
            .arg("--")
            .args(traffic.client(&self.network))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let profile = read(&self.directory.file(file)).unwrap();
        (output, profile)
    }

    /// Whether a path crosses the client's end of the pair, under its name.
    fn has_seen_left(&self, profile: &Profile) -> bool {
        let left = (self.network.namespace("client"), "left".to_owned());
        places(profile).iter().any(|path| path.contains(&left))
    }
}

/// Programs of ours that the kernel holds, as an outsider sees them; `None` without bpftool.
fn programs() -> Option<usize> {
    let output =
        Command::new("bpftool").args(["-j", "prog", "list"]).output().ok().filter(|out| out.status.success())?;
    let list: Value = serde_json::from_slice(&output.stdout).ok()?;
    let ours =
        |name: &str| name == "cpu_sample" || netstrata::record::PROBES.iter().any(|probe| probe.name.starts_with(name));
    Some(
        list.as_array()?
            .iter()
            .filter(|program| program["name"].as_str().is_some_and(|name| name.len() > 4 && ours(name)))
            .count(),
    )
}

/// Names of devices on all paths, with their namespaces.
fn places(profile: &Profile) -> Vec<Vec<(String, String)>> {
    let name = |netns, ifindex| {
        let device = profile.topology.device(netns, ifindex).map(|device| device.name.clone()).unwrap_or_default();
        (profile.topology.namespace_name(netns), device)
    };
    let paths = profile.paths.iter();
    paths.map(|path| path.crossings.iter().map(|crossing| name(crossing.netns, crossing.ifindex)).collect()).collect()
}

#[test]
fn a_command_is_recorded_and_every_path_closes() {
    let Some(_alone) = ready!("nsenter") else { return };
    let lab = Lab::new();
    // An emulated machine on a busy host makes 20 round trips a second.
    let requests = Traffic { duration: "6s", ..Traffic::REQUESTS };
    let (output, profile) = lab.record_traffic(requests, "whole", &["--sample-every", "1"]);
    assert!(succeeded(&output).contains("transactions"), "the command's output is passed on");
    assert!(profile.sampling.followed > 100, "{:?}", profile.sampling);
    assert!(!profile.journeys.is_empty());
    assert!(profile.paths.iter().any(|path| path.end == End::Copied && path.packets > 50));
    assert!(closed(&report(&lab.directory.file("whole"))) > 100);
    assert_eq!(profile.meta.exit_code, Some(0));
    // A recording goes on without a point that a kernel does not have; but each of these kernels takes every program.
    let refused = profile.meta.missing.iter().filter(|(_, why)| why.contains("the verifier refused"));
    assert_eq!(refused.collect::<Vec<_>>(), Vec::new());
    assert!(profile.meta.benchmark.as_ref().unwrap().transactions_per_s.unwrap() > 0.0);
    let [client, server] = ["client", "server"].map(|side| lab.network.namespace(side));
    let account = account(&profile);
    let has = |from: &str, to: &str, devices: [&str; 2]| {
        account.paths.iter().any(|path| path.from == from && path.to == to && path.devices == devices)
    };
    assert!(has(&client, &server, ["left", "right"]) && has(&server, &client, ["right", "left"]));
    assert!(account.paths.iter().all(|path| path.is_closed()));
}

#[test]
fn exit_codes_of_commands_are_told_apart() {
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    let file = directory.file("codes");
    let record = |words: &[&str]| {
        let _ = fs::remove_file(&file);
        let output = netstrata(&[&["record", "-o", file.to_str().unwrap()], words].concat());
        (output.status.code(), file.exists(), errors(&output))
    };
    let (code, written, _) = record(&["--", "true"]);
    assert_eq!((code, written), (Some(0), true));
    let (code, written, text) = record(&["--", "sh", "-c", "exit 7"]);
    assert_eq!((code, written), (Some(1), true), "{text}");
    assert!(text.contains("code 7"), "{text}");
    assert_eq!(read(&file).unwrap().meta.exit_code, Some(7));
    let (code, written, text) = record(&["--", "no-such-program-anywhere"]);
    assert_eq!((code, written), (Some(2), false), "{text}");
    assert!(text.contains("no-such-program-anywhere") && text.lines().count() == 1, "{text}");
    let (code, written, text) = record(&["-o", "/no/such/directory/file", "--duration", "1s"]);
    assert_eq!((code, written), (Some(2), false), "{text}");
}

#[test]
fn a_duration_ends_a_recording() {
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    let output = netstrata(&["record", "--duration", "300ms", "-o", &directory.word("duration")]);
    assert!(succeeded(&output).is_empty());
    let profile = read(&directory.file("duration")).unwrap();
    assert!(profile.meta.duration_ns >= 300_000_000);
    assert!(profile.cpu.samples > 0);
}

#[test]
fn a_result_made_elsewhere_is_read_from_its_file() {
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    let recorded = |result: &str| {
        let file = directory.word("elsewhere");
        // Written and begun while it is recorded, as a benchmark elsewhere would be.
        let here = directory.word("result");
        let now = "s/\\(\"timesecs\":\\s*\\)[0-9]*/\\1'$(date +%s)'/";
        let copy = format!("cp {result} {here} && sed -i '{now}' {here}");
        netstrata(&["record", "--benchmark", &here, "-o", &file, "--", "sh", "-c", &format!("sleep 1; {copy}")]);
        report(&directory.file("elsewhere"))["meta"].clone()
    };
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/benchmarks");
    let meta = recorded(&format!("{fixtures}/iperf3/3.9-tcp.json"));
    assert_eq!((meta["benchmark"]["tool"].as_str(), meta["benchmark_notes"].as_array()), (Some("iperf3"), None));
    let meta = recorded(&format!("{fixtures}/iperf3/3.1.7-refused.json"));
    assert_eq!(meta["benchmark"], Value::Null);
    assert!(meta["benchmark_notes"][0].as_str().unwrap().contains("Connection refused"), "{meta}");
    // Nothing is copied: what is there is of the run before.
    let before = std::time::SystemTime::now() - Duration::from_secs(60);
    std::fs::File::options().write(true).open(directory.file("result")).unwrap().set_modified(before).unwrap();
    for why in ["before the recording began", "no such file"] {
        let meta = recorded("/nowhere");
        assert!(meta["benchmark"].is_null() && meta["benchmark_notes"][0].as_str().unwrap().contains(why), "{meta}");
        let _ = std::fs::remove_file(directory.file("result"));
    }
}

#[test]
fn ctrl_c_and_sigterm_end_a_recording_with_its_profile() {
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let file = directory.file(&format!("signal-{signal}"));
        let mut recording = Recording::start(&file, &[]);
        recording.0.signal(signal);
        assert_eq!(recording.0.end().code(), Some(0));
        assert!(read(&file).unwrap().meta.duration_ns > 0);
    }
    // Around a command, the command is ended too.
    let file = directory.file("signal-command");
    let mut recording = Recording::start(&file, &["--", "sleep", "60"]);
    recording.0.signal(libc::SIGTERM);
    assert_eq!(recording.0.end().code(), Some(1));
    assert_eq!(read(&file).unwrap().meta.exit_code, Some(128 + libc::SIGTERM));
}

#[test]
fn nothing_remains_in_the_kernel_after_kill_9() {
    let Some(_alone) = ready!() else { return };
    let Some(before) = programs() else { skip!("needs bpftool") };
    let directory = Directory::new();
    let file = directory.file("killed");
    let mut recording = Recording::start(&file, &[]);
    assert!(programs().unwrap() > before);
    recording.0.signal(libc::SIGKILL);
    recording.0.end();
    // The kernel frees programs after a grace period. Another recording of the same machine may have ended meanwhile.
    until("the kernel to free the programs", || programs().unwrap() <= before);
    assert!(!file.exists());
    // Where no file system of this kind is mounted, nothing is pinned.
    let find = command(&["find", "/sys/fs/bpf", "-iname", "*netstrata*", "-o", "-iname", "net_dev_queue"]).output();
    let pinned = find.unwrap();
    assert!(pinned.stdout.is_empty(), "{}", String::from_utf8_lossy(&pinned.stdout));
}

#[test]
fn two_recordings_at_once_both_see_packets() {
    let Some(_alone) = ready!("nsenter") else { return };
    let lab = Lab::new();
    let [one, other] = ["one", "other"].map(|name| lab.directory.file(name));
    let recording = Recording::start(&other, &["--sample-every", "4"]);
    let (_, profile) = lab.record_requests("one", &["--sample-every", "4"]);
    for profile in [profile, recording.stop(&other)] {
        assert!(lab.has_seen_left(&profile) && profile.sampling.followed > 20, "{:?}", profile.sampling);
    }
    assert!(closed(&report(&other)) > 0 && closed(&report(&one)) > 0);
}

/// A program that nobody with these capabilities only runs.
fn as_nobody(program: &str, capabilities: &str, words: &[&str]) -> Output {
    let list: String = capabilities.split_whitespace().map(|name| format!(",+{name}")).collect();
    Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([format!("--inh-caps=-all{list}"), format!("--ambient-caps=-all{list}")])
        .arg(format!("--bounding-set=-all{list}"))
        .arg(program)
        .args(words)
        .output()
        .unwrap()
}

/// A copy of the program that everybody may run.
fn copy_for_all(directory: &Directory) -> String {
    let copy = directory.file("netstrata");
    fs::copy(NETSTRATA, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    directory.word("netstrata")
}

#[test]
fn without_privilege_the_missing_capabilities_are_named() {
    let Some(_alone) = ready!("setpriv") else { return };
    let directory = Directory::new();
    let program = copy_for_all(&directory);
    let output = as_nobody(&program, "", &["record", "--duration", "1s", "-o", &directory.word("refused")]);
    assert_eq!(output.status.code(), Some(3));
    let text = errors(&output);
    assert!(text.contains("CAP_BPF") && text.contains("CAP_PERFMON") && text.lines().count() == 1, "{text}");
    assert!(!directory.file("refused").exists());
    let doctor = as_nobody(&program, "", &["doctor"]);
    assert_eq!(doctor.status.code(), Some(3), "{}", errors(&doctor));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("Can record: no"));
}

#[test]
fn few_capabilities_suffice() {
    let Some(_alone) = ready!("nsenter", "setpriv") else { return };
    let lab = Lab::new();
    let program = copy_for_all(&lab.directory);
    let requests = Traffic { duration: "5m", ..Traffic::REQUESTS };
    let _server = requests.serve(&lab.network);
    let _client = Process::quiet(&mut command(&requests.client(&lab.network)));
    let (file, flow) = (lab.directory.file("capable"), format!("tcp:{}:{}", lab.network.address(), requests.port));
    // As docs/privileges.md says; and whether devices in other namespaces have names.
    for (capabilities, named) in [
        ("bpf perfmon syslog", false),
        ("bpf perfmon syslog sys_admin", true),
        ("bpf perfmon syslog sys_admin sys_ptrace net_admin", true),
    ] {
        let _ = fs::remove_file(&file);
        let record = ["record", "--duration", "800ms", "--sample-every", "4", "--flow", &flow, "-o"];
        let output = as_nobody(&program, capabilities, &[&record[..], &[file.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(0), "{capabilities}: {}", errors(&output));
        let profile = read(&file).unwrap();
        assert!(profile.sampling.followed > 20 && profile.cpu.samples > 0, "{capabilities}: {}", errors(&output));
        assert_eq!(lab.has_seen_left(&profile), named, "{capabilities}: {:?}", places(&profile).first());
    }
}

/// The loss is counted, judged, and named to the reader.
fn assert_loud(profile: &Profile, loss: Loss) {
    let cause = loss.name();
    assert!(profile.lost[&loss] > 0, "{cause}: {:?}", profile.lost);
    let trust = account(profile).trust;
    assert_ne!(trust.verdict, Verdict::Ok, "{cause}: {:?}", profile.lost);
    assert!(trust.reasons.iter().any(|reason| reason.contains(cause)), "{cause}: {:?}", trust.reasons);
}

#[test]
fn tiny_tables_lose_loudly() {
    let Some(_alone) = ready!("nsenter") else { return };
    let lab = Lab::new();
    // Of requests there is one at a time, and one slot would do but for chance: a stream has many packets on their way.
    let stream = Traffic { workload: "tcp-stream", size: 131_072, ..Traffic::REQUESTS };
    for (option, value, cause, traffic) in
        [("--debug-nodes", "4", Loss::NodesFull, Traffic::REQUESTS), ("--debug-slots", "1", Loss::SlotBusy, stream)]
    {
        let (_, profile) = lab.record_traffic(traffic, "tiny", &["--sample-every", "1", option, value]);
        assert_loud(&profile, cause);
        closed(&report(&lab.directory.file("tiny")));
    }
}

#[test]
fn programs_speak_if_asked_and_nothing_else_changes() {
    let Some(_alone) = ready!("nsenter") else { return };
    let lab = Lab::new();
    let options = ["--sample-every", "1", "--debug-nodes", "4"];
    let record = |file: &str, more: &[&str]| lab.record_requests(file, &[&options, more].concat());
    let ((silent, before), (told, after)) = (record("silent", &[]), record("told", &["-vv"]));
    let (silent, told) = (errors(&silent), errors(&told));
    assert_eq!(silent.lines().count(), 1, "only what every user is told: {silent}");
    let has = |level: &str, words: &str| {
        let start = format!("netstrata: {level} ");
        told.lines().any(|line| line.starts_with(&start) && line.contains(words))
    };
    assert!(has("warn", " programs: CPU ") && told.contains(Loss::NodesFull.name()), "{told}");
    assert!(has("debug", " record::turns: ") && has("info", " record::load: "), "{told}");
    let facts = |profile: Profile| {
        // How many processes there are meanwhile is told with some of what is missing.
        let missing: Vec<String> = profile.meta.missing.into_keys().collect();
        (profile.meta.probes, missing, profile.meta.tiers, profile.meta.exit_code, profile.meta.filters)
    };
    assert_eq!(facts(before), facts(after));
    let said = |options: &[&str]| {
        let file = lab.directory.word("said");
        succeeded(&netstrata(&[&["record", "-o", &file], options, &["--", "echo", "said"]].concat()))
    };
    assert_eq!([said(&[]), said(&["-vvv"])], ["said\n", "said\n"]);
}

/// The recorder, which empties the ring, is stopped while packets go: what does not fit is lost for certain, and as much as
/// the client and the paths say.
#[test]
fn journeys_that_a_full_ring_refused_are_counted() {
    let Some(_alone) = ready!("nsenter") else { return };
    let lab = Lab::new();
    let file = lab.directory.file("stopped");
    let requests = Traffic { duration: "200ms", ..Traffic::REQUESTS };
    let client = lab.network.namespace("client");
    let options = ["--sample-every", "1", "--frequency", "0", "--netns", &client, "--debug-ring-bytes", "4096"];
    let recording = Recording::start(&file, &options);
    // It looks at the load every 50 ms, and sends every whole journey to the ring where there are few.
    sleep(Duration::from_millis(300));
    let _server = requests.serve(&lab.network);
    recording.0.signal(libc::SIGSTOP);
    let said = run(&requests.client(&lab.network));
    recording.0.signal(libc::SIGCONT);
    let profile = recording.stop(&file);
    assert_loud(&profile, Loss::RingFull);
    let reported: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let messages = 2 * reported["transactions"].as_u64().unwrap();
    let packets: u64 = profile.paths.iter().map(|path| path.packets).sum();
    let (lost, kept) = (profile.lost[&Loss::RingFull], profile.journeys.len() as u64);
    let figures = format!("{messages} messages, {packets} packets on paths, {kept} journeys, {lost} refused");
    assert!(packets >= messages && kept > 0, "{figures}");
    // Each CPU may have skipped some until it knew that all are wanted.
    assert!(lost + kept <= packets && lost + kept + 64 * u64::from(profile.meta.cpus) >= packets, "{figures}");
}

#[test]
fn filters_keep_only_what_they_name() {
    let Some(_alone) = ready!("nsenter") else { return };
    let lab = Lab::new();
    // Noise that no filter below names: another port, on the loopback of the server's namespace.
    let noise = Traffic { workload: "udp-rr", duration: "5m", port: 7009, ..Traffic::REQUESTS };
    let _noise = noise.beside_the_server(&lab.network);
    let [client, server] = ["client", "server"].map(|side| lab.network.namespace(side));

    let (_, profile) = lab.record_requests("all", &["--sample-every", "1"]);
    assert!(places(&profile).iter().any(|path| path.contains(&(server.clone(), "lo".into()))), "the noise is seen");

    for options in [["--netns", client.as_str()], ["--device", "left"]] {
        let (_, profile) = lab.record_requests("some", &["--sample-every", "1", options[0], options[1]]);
        let paths = places(&profile);
        assert!(!paths.is_empty(), "{options:?}");
        for path in paths {
            assert!(path.iter().any(|place| place.0 == client), "{options:?}: {path:?}");
        }
        assert_eq!(profile.meta.filters.len(), 1);
    }
    for flow in ["tcp:10.203.0.3:5300", "tcp:10.203.0.2", "tcp:5300"] {
        let (_, profile) = lab.record_requests("flow", &["--sample-every", "1", "--flow", flow]);
        let paths = places(&profile);
        let from = |device: &str| paths.iter().any(|path| path.iter().any(|place| place.1 == device));
        assert!(from("left") && from("right"), "{flow}: both directions: {paths:?}");
        assert!(profile.paths.iter().all(|path| path.protocol == Protocol::TCP), "{flow}");
        assert!(paths.iter().flatten().all(|place| place.1 != "lo"), "{flow}: {paths:?}");
    }
    let (_, profile) = lab.record_requests("none", &["--sample-every", "1", "--flow", "tcp:10.203.0.3:7999"]);
    assert!(profile.paths.is_empty(), "{:?}", places(&profile));
}

#[test]
fn names_that_do_not_exist_are_wrong_usage() {
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    let file = directory.word("never");
    let record = ["record", "-o", &file];
    for words in [
        &["--netns", "no-such-namespace"][..],
        &["--device", "nosuchdevice0"],
        &["--container", "no-such-container"],
        &["--flow", "sctp:nowhere"],
        &["--budget", "0%"],
        &["--duration", "long"],
    ] {
        // None records for longer, should it not be refused.
        let rest: &[&str] = if words[0] == "--duration" { &[] } else { &["--duration", "1s"] };
        let output = netstrata(&[&record, words, rest].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", errors(&output));
        assert!(!Path::new(&file).exists());
    }
}

#[test]
fn files_that_are_no_good_profiles_are_refused_in_a_sentence() {
    let good = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/profiles/tcp-rr-bridge.prof")).unwrap();
    let directory = Directory::new();
    let mut newer = good.clone();
    newer[8] = 99;
    let mut corrupt = good.clone();
    corrupt[100] ^= 0x40;
    let cases: [(&str, Option<&[u8]>, &str); 6] = [
        ("truncated", Some(&good[..good.len() / 2]), "truncated"),
        ("head-only", Some(&good[..10]), "truncated"),
        ("corrupt", Some(&corrupt), "corrupted"),
        ("newer", Some(&newer), "format 99"),
        ("other", Some(b"{\"hello\": 1}"), "not a netstrata profile"),
        ("absent", None, "cannot read"),
    ];
    for (name, bytes, words) in cases {
        let file = directory.file(name);
        if let Some(bytes) = bytes {
            fs::write(&file, bytes).unwrap();
        }
        let output = netstrata(&["report", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", errors(&output));
        assert!(output.stdout.is_empty());
        let text = errors(&output);
        assert!(text.contains(words) && text.lines().count() == 1, "{name}: {text}");
    }
}

#[test]
fn a_void_profile_is_not_judged_by() {
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/profiles/tcp-rr-bridge.prof");
    let directory = Directory::new();
    let mut profile = read(good.as_ref()).unwrap();
    profile.meta.steal_share = 0.9;
    write(&profile, &directory.file("void")).unwrap();
    for [base, target] in [[good, &directory.word("void")], [&directory.word("void"), good]] {
        let output = netstrata(&["explain", base, target]);
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(4), "{text}");
        assert!(text.contains("void") && text.contains("hypervisor") && text.lines().count() == 1, "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn devices_and_namespaces_may_vanish_meanwhile() {
    let Some(_alone) = ready!("nsenter") else { return };
    let lab = Lab::new();
    let server = Traffic::REQUESTS.serve(&lab.network);
    let file = lab.directory.file("vanished");
    let recording = Recording::start(&file, &["--sample-every", "1"]);
    run(&Traffic::REQUESTS.client(&lab.network));
    lab.network.ip("client", "link del left");
    drop(server);
    lab.network.remove("server");
    // The last look at the topology finds them gone.
    let profile = recording.stop(&file);
    assert!(closed(&report(&file)) > 0);
    let right = (lab.network.namespace("server"), "right".to_owned());
    assert!(places(&profile).iter().any(|path| path.contains(&right)), "names are kept");
}
