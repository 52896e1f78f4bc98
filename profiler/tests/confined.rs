//! Recordings where something is limited, missing or refused: they work, or end with a sentence and the code of a refusal, and
//! nothing stays. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use netstrata::profile::{self, Profile};
use support::{
    NETSTRATA, command,
    directory::Directory,
    errors,
    network::Network,
    process::Process,
    recording::Recording,
    report::{closed, report},
    traffic::Traffic,
    wait::until,
};

/// A recording of nothing in particular, beside a word that changes what it may.
struct Confined {
    directory: Directory,
    command: Command,
}

impl Confined {
    fn new() -> Self {
        Self::by(command(&[NETSTRATA]))
    }

    /// Begun by other words, which end with the program.
    fn by(mut command: Command) -> Self {
        let directory = Directory::new();
        command.args(["record", "--duration", "300ms", "-o"]).arg(directory.file("it.prof"));
        Self { directory, command }
    }

    /// What this does in the process before it becomes the program.
    fn after(mut self, change: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Self {
        // SAFETY: each change makes system calls that are async-signal-safe, and nothing else.
        unsafe { self.command.pre_exec(change) };
        self
    }

    /// With a shell's words before, in a mount namespace of its own.
    fn behind(script: &str) -> Self {
        let line = format!("mount --make-rprivate /; {script} || exit 77; exec \"$0\" \"$@\"");
        Self::by(command(&["unshare", "--mount", "sh", "-c", &line, NETSTRATA]))
    }

    fn run(mut self) -> (Output, Directory) {
        (self.command.output().unwrap(), self.directory)
    }

    /// It works.
    fn records(self) -> Profile {
        let (output, directory) = self.run();
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        profile::read(&directory.file("it.prof")).unwrap()
    }

    /// It is refused in a sentence with all of these words, and leaves nothing.
    fn must_be_refused(self, words: &[&str]) {
        let (output, directory) = self.run();
        let said = errors(&output);
        assert!(output.status.code() == Some(3) && said.lines().count() == 1, "{:?}: {said}", output.status);
        words.iter().for_each(|word| assert!(said.contains(word), "no {word}: {said}"));
        let left: Vec<_> = fs::read_dir(directory.file("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// At most so many open files, of which it may ask for so many.
fn with_files(soft: u64, hard: u64) -> Confined {
    Confined::new().after(move || {
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the structure outlives the call.
        done(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
    })
}

#[test]
fn few_descriptors_are_enough_or_refused_before_anything_is_loaded() {
    let Some(_alone) = ready!() else { return };
    with_files(64, 4096).records();
    for few in [64, 10] {
        with_files(few, few).must_be_refused(&["files open", &format!("may have {few}"), "ulimit -n"]);
    }
}

#[test]
fn a_command_has_the_limit_that_the_recorder_was_given() {
    let Some(_alone) = ready!() else { return };
    let mut limited = with_files(64, 4096);
    limited.command.args(["--", "sh", "-c", "ulimit -n"]);
    let (output, _directory) = limited.run();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "64", "{}", errors(&output));
}

/// Every call of this number is refused: what a container's filter does.
fn without_call(number: libc::c_long) -> Confined {
    Confined::new().after(move || {
        let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
        let (load, equal, end) =
            (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_RET);
        let mut steps = [
            step(load as u16, 0, 0),
            step(equal as u16, 1, number as u32),
            step(end as u16, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            step(end as u16, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        // SAFETY: the filter and its steps outlive the calls, which are plain system calls.
        unsafe {
            done(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            done(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter))
        }
    })
}

#[test]
fn calls_that_a_filter_refuses_are_named_with_the_filter() {
    let Some(_alone) = ready!() else { return };
    without_call(libc::SYS_bpf).must_be_refused(&["Operation not permitted", "seccomp"]);
    without_call(libc::SYS_perf_event_open).must_be_refused(&["perf_event_open", "seccomp"]);
}

#[test]
fn what_the_kernel_does_not_tell_is_missed_or_refused_by_name() {
    let Some(_alone) = ready!("unshare", "mount") else { return };
    Confined::behind(
        "umount -R /sys/kernel/tracing /sys/kernel/debug 2>/dev/null; \
         for place in tracing debug; do test ! -d /sys/kernel/$place || mount -t tmpfs none /sys/kernel/$place; done",
    )
    .records();
    Confined::behind("mount -t tmpfs none /sys/kernel/btf")
        .must_be_refused(&["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"]);
    Confined::behind("mount --bind /etc/passwd /sys/kernel/btf/vmlinux").must_be_refused(&["no type information"]);
    Confined::behind("mount --bind /dev/null /proc/kallsyms").must_be_refused(&["symbol", "kptr_restrict"]);
}

#[test]
fn what_of_the_host_is_not_seen_is_in_the_report() {
    let Some(_alone) = ready!("setpriv") else { return };
    let _others = Network::pair();
    let few = ["setpriv", "--inh-caps=-sys_admin", "--bounding-set=-sys_admin", NETSTRATA];
    let profile = Confined::by(command(&few)).records();
    let said = profile.meta.missing.get("topology").unwrap();
    assert!(said.contains("cannot be seen") && said.contains("CAP_SYS_ADMIN"), "{said}");
    let account = netstrata::analysis::account_with_intervals(&profile);
    assert!(netstrata::report::text::render(&profile, &account).contains("missing topology: "));
}

/// A control group with a limit of memory, of either version; it goes when this is dropped.
struct Group(PathBuf);

impl Group {
    fn with(mib: u64) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let (place, limit) = mounts.lines().find_map(Self::place)?;
        let group = Self(place.join(format!("netstrata-confined-{}-{mib}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join(limit), (mib << 20).to_string()).unwrap();
        Some(group)
    }

    /// Where groups with a limit are made, if it is in this mount, and the name of the limit.
    fn place(mount: &str) -> Option<(PathBuf, &'static str)> {
        let words: Vec<&str> = mount.split_whitespace().collect();
        let place = PathBuf::from(words.get(1)?);
        let names = |text: &str, parted: char| text.split(parted).any(|name| name.trim() == "memory");
        match *words.get(2)? {
            "cgroup2" => {
                let controls = place.join("cgroup.subtree_control");
                let _ = fs::write(&controls, "+memory");
                names(&fs::read_to_string(controls).unwrap_or_default(), ' ').then_some((place, "memory.max"))
            }
            "cgroup" if names(words.get(3)?, ',') => Some((place, "memory.limit_in_bytes")),
            _ => None,
        }
    }

    /// These words in it.
    fn enter(&self, words: &[&str]) -> Command {
        let line = "echo $$ >\"$0/cgroup.procs\" || exit 77; exec \"$@\"";
        command(&[&["sh", "-c", line, self.0.to_str().unwrap()], words].concat())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel counts a process to it for a moment after its end.
        until("the control group to be empty", || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn memory_of_128_mib_is_enough_and_64_are_refused() {
    let Some(_alone) = ready!() else { return };
    let (Some(enough), Some(little)) = (Group::with(128), Group::with(64)) else {
        skip!("needs control groups that limit memory")
    };
    Confined::by(enough.enter(&[NETSTRATA])).records();
    Confined::by(little.enter(&[NETSTRATA])).must_be_refused(&["memory", "control group"]);
}

/// What a kernel keeps for each CPU grows with them: maps, samplers, what is read of them.
#[test]
fn a_ping_pong_is_recorded_within_150_mib_on_however_many_cpus() {
    let Some(_alone) = ready!("nsenter") else { return };
    let Some(group) = Group::with(150) else { skip!("needs control groups that limit memory") };
    let (network, directory) = (Network::pair(), Directory::new());
    let requests = Traffic { duration: "2s", ..Traffic::REQUESTS };
    let _server = requests.serve(&network);
    let file = directory.file("it.prof");
    let output = group
        .enter(&[NETSTRATA, "record", "--tier", "tracepoint", "--sample-every", "1", "-o"])
        .arg(&file)
        .arg("--")
        .args(requests.client(&network))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let profile = profile::read(&file).unwrap();
    // SAFETY: a plain call without memory of ours.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    assert_eq!(i64::from(profile.meta.cpus), online);
    assert!(profile.sampling.followed > 20 && profile.cpu.samples > 0, "{:?}", profile.sampling);
    assert!(closed(&report(&file)) > 10);
    println!("{online} CPUs: {} MiB resident, {}", profile.observer.recorder_rss_bytes >> 20, errors(&output).trim());
}

/// What a kernel that is locked down refuses. It stays so until it boots again, so only a machine of our own is.
#[test]
fn a_kernel_that_is_locked_down_is_named() {
    const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
    let Some(_alone) = ready!("mount") else { return };
    if netstrata::host::emulated::inside().is_none() {
        skip!("needs an emulated machine, which is thrown away");
    }
    if !Path::new(LOCKDOWN).exists() {
        assert!(command(&["mount", "-t", "securityfs", "none", "/sys/kernel/security"]).status().unwrap().success());
    }
    fs::write(LOCKDOWN, "integrity").unwrap();
    Confined::new().records();
    fs::write(LOCKDOWN, "confidentiality").unwrap();
    Confined::new().must_be_refused(&["lockdown=confidentiality", "lockdown=integrity"]);
}

/// Sets the clock of the day ahead, or back.
fn step_the_clock(seconds: i64) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure outlives the calls.
    unsafe {
        assert_eq!(libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now), 0);
        now.tv_sec += seconds;
        assert_eq!(libc::clock_settime(libc::CLOCK_REALTIME, &raw const now), 0);
    }
}

#[test]
fn steps_of_the_clock_change_no_figure() {
    let Some(_alone) = ready!("nsenter") else { return };
    if netstrata::host::emulated::inside().is_none() {
        skip!("needs an emulated machine, whose clock is its own");
    }
    let (network, directory) = (Network::pair(), Directory::new());
    let requests = Traffic { duration: "5m", ..Traffic::REQUESTS };
    let _server = requests.serve(&network);
    let _client = Process::quiet(&mut command(&requests.client(&network)));
    let file = directory.file("it.prof");
    let (begun, recording) = (Instant::now(), Recording::start(&file, &["--sample-every", "1"]));
    const DAY: i64 = 86_400;
    for seconds in [DAY, -2 * DAY, DAY] {
        step_the_clock(seconds);
        thread::sleep(Duration::from_millis(500));
    }
    let profile = recording.stop(&file);
    let most = begun.elapsed().as_nanos() as u64;
    assert!(profile.meta.duration_ns < most && profile.sampling.followed > 20, "{:?}", profile.meta);
    for path in &profile.paths {
        assert!(path.end_to_end.max < most && path.spans.iter().all(|span| span.max < most), "{path:?}");
    }
    assert!(closed(&report(&file)) > 10);
}
