//! Recordings on this kernel: real programs, namespaces and traffic. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use netstrata::{
    analysis::{Verdict, account},
    profile::{Profile, read},
};
use netstrata_common::{End, Protocol};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_netstrata");
/// For things that take far less on any machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the programs to be verified, which takes an emulated processor twenty seconds.
const VERIFYING: Duration = Duration::from_secs(60);

/// The tests share a kernel.
static ONE: Mutex<()> = Mutex::new(());

/// Two namespaces joined by a veth pair, with an answering server; and a directory. All goes when it is dropped.
struct Lab {
    a: String,
    b: String,
    server: Option<Child>,
    directory: PathBuf,
    _one: MutexGuard<'static, ()>,
}

fn run(line: &str) -> Output {
    let words: Vec<&str> = line.split_whitespace().collect();
    Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output().unwrap()
}

fn ip(line: &str) {
    let output = run(&format!("ip {line}"));
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Tests whether live tests can run; prints the reason if not.
fn allowed() -> bool {
    // SAFETY: a plain system call without arguments.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: needs root");
        return false;
    }
    if Command::new("ip").arg("-V").output().is_err() {
        println!("skipped: needs ip of iproute2");
        return false;
    }
    true
}

impl Lab {
    /// The lab, or `None` where it cannot be had.
    fn open() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !allowed() {
            return None;
        }
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(format!("nstest-rec-{id}"));
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        let lab =
            Self { a: format!("nstest-rec-{id}a"), b: format!("nstest-rec-{id}b"), server: None, directory, _one: one };
        let (a, b) = (&lab.a, &lab.b);
        ip(&format!("netns add {a}"));
        ip(&format!("netns add {b}"));
        ip(&format!("-n {a} link add left type veth peer name right netns {b}"));
        ip(&format!("-n {a} addr add 198.18.5.1/24 dev left"));
        ip(&format!("-n {b} addr add 198.18.5.2/24 dev right"));
        for (namespace, device) in [(a, "left"), (b, "right"), (a, "lo"), (b, "lo")] {
            ip(&format!("-n {namespace} link set {device} up"));
        }
        Some(lab)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Starts a server for one client in namespace b, or on its loopback.
    fn serve(&mut self, address: &str, workload: &str) {
        self.stop_server();
        let child = Command::new("ip")
            .args(["netns", "exec", &self.b, PROGRAM, "lab", "worker", "--size", "64", "--duration", "10s"])
            .args(["--workload", workload, "--listen", address])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.server = Some(child);
        let out = self.server.as_mut().unwrap().stdout.as_mut().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        assert_eq!(line.trim(), "ready");
    }

    fn stop_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// The words that run a client in namespace a.
    fn client(&self, address: &str, workload: &str, duration: &str) -> Vec<String> {
        let line = format!(
            "ip netns exec {} {PROGRAM} lab worker --workload {workload} --size 64 --duration {duration} --connect \
             {address}",
            self.a
        );
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// Records while a client sends requests from a to b.
    fn record_requests(&mut self, file: &str, options: &[&str]) -> (Output, Profile) {
        self.serve("198.18.5.2:7001", "tcp-rr");
        let output = Command::new(PROGRAM)
            .args(["record", "-o"])
            .arg(self.file(file))
            .args(options)
            .arg("--")
            .args(self.client("198.18.5.2:7001", "tcp-rr", "600ms"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let profile = read(&self.file(file)).unwrap();
        (output, profile)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop_server();
        for namespace in [&self.a, &self.b] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A recording that runs, ended if the test fails.
struct Recording(Child);

impl Recording {
    /// Starts one and waits until it has attached: without a terminal it says nothing, so its descriptors tell.
    fn start(words: &[&str]) -> Self {
        let child = Command::new(PROGRAM)
            .arg("record")
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut recording = Self(child);
        wait_for("attached probes", VERIFYING, || {
            assert!(recording.0.try_wait().unwrap().is_none(), "it ended early");
            attached(recording.0.id()) > 0
        });
        // That may still have been the calibration.
        std::thread::sleep(Duration::from_millis(1500));
        recording
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a plain system call on a child that has not been waited for.
        unsafe { libc::kill(self.0.id() as i32, signal) };
    }

    /// Waits for its end within the patience.
    fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience, "waited for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Descriptors of BPF links and perf events that a process holds.
fn attached(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .filter(|link| matches!(link.to_str(), Some("anon_inode:[perf_event]" | "anon_inode:bpf_link")))
        .count()
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

/// Checks closure of every path from the JSON alone, and gives the packets.
fn closed(file: &Path) -> u64 {
    let output = Command::new(PROGRAM).args(["report", "--format", "json"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sum = |value: &Value| value["sum"].as_u64().unwrap();
    let mut packets = 0;
    for path in report["paths"].as_array().unwrap() {
        let spans: u64 = path["spans"].as_array().unwrap().iter().map(|span| sum(&span["ns"])).sum();
        assert_eq!(spans + sum(&path["unattributed_ns"]), sum(&path["end_to_end_ns"]), "{path}");
        packets += path["packets"].as_u64().unwrap();
    }
    packets
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
    let Some(mut lab) = Lab::open() else { return };
    let (output, profile) = lab.record_requests("whole", &["--sample-every", "1"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("transactions"), "the command's output is passed on");
    assert!(profile.sampling.followed > 100, "{:?}", profile.sampling);
    assert!(!profile.journeys.is_empty());
    assert!(profile.paths.iter().any(|path| path.end == End::Copied && path.packets > 50));
    assert!(closed(&lab.file("whole")) > 100);
    assert_eq!(profile.meta.exit_code, Some(0));
    assert!(profile.meta.benchmark.unwrap().transactions_per_s.unwrap() > 0.0);
    let (a, b) = (lab.a.clone(), lab.b.clone());
    let account = account(&read(&lab.file("whole")).unwrap());
    assert!(account.paths.iter().any(|path| path.from == a && path.to == b && path.devices == ["left", "right"]));
    assert!(account.paths.iter().any(|path| path.from == b && path.to == a && path.devices == ["right", "left"]));
    assert!(account.paths.iter().all(|path| path.is_closed()));
}

#[test]
fn exit_codes_of_commands_are_told_apart() {
    let Some(lab) = Lab::open() else { return };
    let record = |words: &[&str]| {
        let file = lab.file("codes");
        let _ = fs::remove_file(&file);
        let output = Command::new(PROGRAM).args(["record", "-o"]).arg(&file).args(words).output().unwrap();
        (output.status.code(), file.exists(), said(&output))
    };
    let (code, written, _) = record(&["--", "true"]);
    assert_eq!((code, written), (Some(0), true));
    let (code, written, text) = record(&["--", "sh", "-c", "exit 7"]);
    assert_eq!((code, written), (Some(1), true), "{text}");
    assert!(text.contains("code 7"), "{text}");
    assert_eq!(read(&lab.file("codes")).unwrap().meta.exit_code, Some(7));
    let (code, written, text) = record(&["--", "no-such-program-anywhere"]);
    assert_eq!((code, written), (Some(2), false), "{text}");
    assert!(text.contains("no-such-program-anywhere") && text.lines().count() == 1, "{text}");
    let (code, written, text) = record(&["-o", "/no/such/directory/file", "--duration", "1s"]);
    assert_eq!((code, written), (Some(2), false), "{text}");
}

#[test]
fn a_duration_ends_a_recording() {
    let Some(lab) = Lab::open() else { return };
    let output =
        Command::new(PROGRAM).args(["record", "--duration", "300ms", "-o"]).arg(lab.file("duration")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(output.stdout.is_empty());
    let profile = read(&lab.file("duration")).unwrap();
    assert!(profile.meta.duration_ns >= 300_000_000);
    assert!(profile.cpu.samples > 0);
}

#[test]
fn ctrl_c_and_sigterm_end_a_recording_with_its_profile() {
    let Some(lab) = Lab::open() else { return };
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let file = lab.file(&format!("signal-{signal}"));
        let mut recording = Recording::start(&["-o", file.to_str().unwrap()]);
        recording.signal(signal);
        assert_eq!(recording.end(), Some(0));
        assert!(read(&file).unwrap().meta.duration_ns > 0);
    }
    // Around a command, the command is ended too.
    let file = lab.file("signal-command");
    let mut recording = Recording::start(&["-o", file.to_str().unwrap(), "--", "sleep", "60"]);
    recording.signal(libc::SIGTERM);
    assert_eq!(recording.end(), Some(1));
    assert_eq!(read(&file).unwrap().meta.exit_code, Some(128 + libc::SIGTERM));
}

#[test]
fn nothing_remains_in_the_kernel_after_kill_9() {
    let Some(lab) = Lab::open() else { return };
    let Some(before) = programs() else {
        println!("skipped: nothing_remains_in_the_kernel_after_kill_9: needs bpftool");
        return;
    };
    let mut recording = Recording::start(&["-o", lab.file("killed").to_str().unwrap()]);
    assert!(programs().unwrap() > before);
    recording.signal(libc::SIGKILL);
    recording.end();
    // The kernel frees programs after a grace period. Another recording of the same machine may have ended meanwhile.
    wait_for("the kernel to free the programs", PATIENCE, || programs().unwrap() <= before);
    assert!(!lab.file("killed").exists());
    let pinned = run("find /sys/fs/bpf -iname *netstrata* -o -iname net_dev_queue");
    assert!(pinned.stdout.is_empty(), "{}", String::from_utf8_lossy(&pinned.stdout));
}

#[test]
fn two_recordings_at_once_both_see_packets() {
    let Some(mut lab) = Lab::open() else { return };
    let other = lab.file("other");
    let mut recording = Recording::start(&["-o", other.to_str().unwrap(), "--sample-every", "4"]);
    let (_, profile) = lab.record_requests("one", &["--sample-every", "4"]);
    recording.signal(libc::SIGINT);
    assert_eq!(recording.end(), Some(0));
    for profile in [profile, read(&other).unwrap()] {
        let seen = places(&profile).iter().any(|path| path.contains(&(lab.a.clone(), "left".into())));
        assert!(seen && profile.sampling.followed > 20, "{:?}", profile.sampling);
    }
    assert!(closed(&other) > 0 && closed(&lab.file("one")) > 0);
}

/// Runs a copy of the program as nobody with these capabilities only.
fn as_nobody(lab: &Lab, capabilities: &str, words: &[&str]) -> Option<Output> {
    let copy = lab.file("netstrata");
    if !copy.exists() {
        fs::copy(PROGRAM, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let list: String = capabilities.split_whitespace().map(|name| format!(",+{name}")).collect();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([format!("--inh-caps=-all{list}"), format!("--ambient-caps=-all{list}")])
        .arg(format!("--bounding-set=-all{list}"))
        .arg(copy)
        .args(words)
        .stdin(Stdio::null())
        .output();
    if output.is_err() {
        println!("skipped: needs setpriv of util-linux");
    }
    output.ok()
}

#[test]
fn without_privilege_the_missing_capabilities_are_named() {
    let Some(lab) = Lab::open() else { return };
    let file = lab.file("refused");
    let Some(output) = as_nobody(&lab, "", &["record", "--duration", "1s", "-o", file.to_str().unwrap()]) else {
        return;
    };
    assert_eq!(output.status.code(), Some(3));
    let text = said(&output);
    assert!(text.contains("CAP_BPF") && text.contains("CAP_PERFMON") && text.lines().count() == 1, "{text}");
    assert!(!file.exists());
    let doctor = as_nobody(&lab, "", &["doctor"]).unwrap();
    assert_eq!(doctor.status.code(), Some(3), "{}", said(&doctor));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("Can record: no"));
}

#[test]
fn few_capabilities_suffice() {
    let Some(mut lab) = Lab::open() else { return };
    // Copies the program, which takes its time.
    let _ = as_nobody(&lab, "", &["--version"]);
    // As docs/privileges.md says; and whether devices in other namespaces have names.
    for (capabilities, named) in [
        ("bpf perfmon syslog", false),
        ("bpf perfmon syslog sys_admin", true),
        ("bpf perfmon syslog sys_admin sys_ptrace net_admin", true),
    ] {
        lab.serve("198.18.5.2:7001", "tcp-rr");
        let words = lab.client("198.18.5.2:7001", "tcp-rr", "8s");
        let mut client = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).spawn().unwrap();
        let file = lab.file("capable");
        let _ = fs::remove_file(&file);
        let record = [
            "record",
            "--duration",
            "800ms",
            "--sample-every",
            "4",
            "--flow",
            "tcp:198.18.5.2:7001",
            "-o",
            file.to_str().unwrap(),
        ];
        let output = as_nobody(&lab, capabilities, &record);
        client.kill().unwrap();
        client.wait().unwrap();
        let Some(output) = output else { return };
        assert_eq!(output.status.code(), Some(0), "{capabilities}: {}", said(&output));
        let profile = read(&file).unwrap();
        assert!(profile.sampling.followed > 20 && profile.cpu.samples > 0, "{capabilities}: {}", said(&output));
        let seen = places(&profile).iter().any(|path| path.contains(&(lab.a.clone(), "left".into())));
        assert_eq!(seen, named, "{capabilities}: {:?}", places(&profile).first());
    }
}

#[test]
fn tiny_tables_lose_loudly() {
    let Some(mut lab) = Lab::open() else { return };
    for (option, value, cause) in [
        ("--debug-nodes", "4", "nodes_full"),
        ("--debug-slots", "1", "slot_busy"),
        ("--debug-ring-bytes", "4096", "ring_full"),
    ] {
        let (_, profile) = lab.record_requests("tiny", &["--sample-every", "1", option, value]);
        let lost = profile.lost[cause];
        if cause == "ring_full" && lost == 0 {
            // The ring takes about 20 journeys a second and is emptied every 25 ms: it may have sufficed.
            continue;
        }
        assert!(lost > 0, "{option}: {:?}", profile.lost);
        let trust = account(&profile).trust;
        assert_ne!(trust.verdict, Verdict::Ok, "{option}: {:?}", profile.lost);
        assert!(trust.reasons.iter().any(|reason| reason.contains(cause)), "{option}: {:?}", trust.reasons);
        closed(&lab.file("tiny"));
    }
}

#[test]
fn filters_keep_only_what_they_name() {
    let Some(mut lab) = Lab::open() else { return };
    // Noise that no filter below names: another port, on the loopback of namespace b.
    lab.serve("127.0.0.1:7009", "udp-rr");
    let noise = format!(
        "ip netns exec {} {PROGRAM} lab worker --workload udp-rr --size 64 --duration 20s --connect 127.0.0.1:7009",
        lab.b
    );
    let words: Vec<&str> = noise.split_whitespace().collect();
    let noise_server = lab.server.take();
    let noise = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _noise = [Recording(noise), Recording(noise_server.unwrap())];
    let (a, b) = (lab.a.clone(), lab.b.clone());

    let (_, profile) = lab.record_requests("all", &["--sample-every", "1"]);
    assert!(places(&profile).iter().any(|path| path.contains(&(b.clone(), "lo".into()))), "the noise is seen");

    for options in [["--netns", a.as_str()], ["--device", "left"]] {
        let (_, profile) = lab.record_requests("some", &["--sample-every", "1", options[0], options[1]]);
        let paths = places(&profile);
        assert!(!paths.is_empty(), "{options:?}");
        for path in paths {
            assert!(path.iter().any(|place| place.0 == a), "{options:?}: {path:?}");
        }
        assert_eq!(profile.meta.filters.len(), 1);
    }
    for flow in ["tcp:198.18.5.2:7001", "tcp:198.18.5.1", "tcp:7001"] {
        let (_, profile) = lab.record_requests("flow", &["--sample-every", "1", "--flow", flow]);
        let paths = places(&profile);
        let from = |device: &str| paths.iter().any(|path| path.iter().any(|place| place.1 == device));
        assert!(from("left") && from("right"), "{flow}: both directions: {paths:?}");
        for path in &profile.paths {
            assert_eq!(path.protocol, Protocol::TCP, "{flow}");
        }
        assert!(paths.iter().flatten().all(|place| place.1 != "lo"), "{flow}: {paths:?}");
    }
    let (_, profile) = lab.record_requests("none", &["--sample-every", "1", "--flow", "tcp:198.18.5.2:7999"]);
    assert!(profile.paths.is_empty(), "{:?}", places(&profile));
}

#[test]
fn names_that_do_not_exist_are_wrong_usage() {
    let Some(lab) = Lab::open() else { return };
    let file = lab.file("never");
    for words in [
        ["--netns", "no-such-namespace"],
        ["--device", "nosuchdevice0"],
        ["--container", "no-such-container"],
        ["--flow", "sctp:nowhere"],
        ["--duration", "long"],
        ["--budget", "0%"],
    ] {
        let output = Command::new(PROGRAM)
            .args(
                ["record", "--duration", "1s", "-o"]
                    .iter()
                    .filter(|word| words[0] != "--duration" || !["--duration", "1s"].contains(word)),
            )
            .arg(&file)
            .args(words)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", said(&output));
        assert!(!file.exists());
    }
}

#[test]
fn files_that_are_no_good_profiles_are_refused_in_a_sentence() {
    let good = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/profiles/tcp-rr-bridge.prof")).unwrap();
    let directory = std::env::temp_dir().join(format!("nstest-files-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
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
        let file = directory.join(name);
        if let Some(bytes) = bytes {
            fs::write(&file, bytes).unwrap();
        }
        let output = Command::new(PROGRAM).arg("report").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {}", said(&output));
        assert!(output.stdout.is_empty());
        let text = said(&output);
        assert!(text.contains(words) && text.lines().count() == 1, "{name}: {text}");
    }
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn devices_and_namespaces_may_vanish_meanwhile() {
    let Some(mut lab) = Lab::open() else { return };
    lab.serve("198.18.5.2:7001", "tcp-rr");
    let file = lab.file("vanished");
    let mut recording = Recording::start(&["-o", file.to_str().unwrap(), "--sample-every", "1"]);
    let words = lab.client("198.18.5.2:7001", "tcp-rr", "500ms");
    assert!(Command::new(&words[0]).args(&words[1..]).output().unwrap().status.success());
    // Time for a scan of the topology to see them.
    std::thread::sleep(Duration::from_millis(1500));
    ip(&format!("-n {} link del left", lab.a));
    lab.stop_server();
    ip(&format!("netns del {}", lab.b));
    std::thread::sleep(Duration::from_millis(700));
    recording.signal(libc::SIGINT);
    assert_eq!(recording.end(), Some(0));
    let profile = read(&file).unwrap();
    assert!(closed(&file) > 0);
    assert!(places(&profile).iter().any(|path| path.contains(&(lab.b.clone(), "right".into()))), "names are kept");
}
