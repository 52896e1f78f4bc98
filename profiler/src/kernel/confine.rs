//! Threads that give up what they do not need. All of it is of the calling thread, and of those that it starts later.
//!
//! | thread | keeps | for |
//! |---|---|---|
//! | the program's first | nothing | waiting for the command that is recorded |
//! | `ns-output` | nothing | passing on what the command says |
//! | `ns-spool` | [`WRITING`] | writing what there is so far |
//! | `ns-watch`, `ns-scan` | [`WATCHING`] | reading devices of all namespaces |
//! | `ns-recorder` | [`RECORDING`] | attaching probes in turns, reading tables, writing the recording |

use std::{io, path::Path};

mod landlock;

/// Numbers in `linux/capability.h`.
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_FOWNER: u32 = 3;
const CAP_KILL: u32 = 5;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_NICE: u32 = 23;
const CAP_SYSLOG: u32 = 34;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// From this level of `kernel.perf_event_paranoid` on, which Debian's kernels and others have beyond those of Linux itself, events of
/// performance counters are for CAP_SYS_ADMIN alone.
const MOST_PARANOID: i32 = 3;

/// Writing files where root may, and in the place of others' files in `/tmp`.
pub const WRITING: &[u32] = &[CAP_DAC_OVERRIDE, CAP_FOWNER];
/// Entering network namespaces, seeing those of other users' processes, and reading what engines keep.
pub const WATCHING: &[u32] = &[CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH];
/// Tables and programs, probes and samples, names of functions, which container a sampled process is in, a priority of its own,
/// ending a command that has another user, and the file.
pub const RECORDING: &[u32] =
    &[CAP_BPF, CAP_PERFMON, CAP_SYSLOG, CAP_SYS_PTRACE, CAP_SYS_NICE, CAP_KILL, CAP_DAC_OVERRIDE, CAP_FOWNER];

/// Structures of capset(2), of its third version.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

const VERSION: u32 = 0x2008_0522;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// What a thread gives up.
#[derive(Clone, Copy, Debug)]
pub struct Confined<'a> {
    /// Of the capabilities that it has it keeps these.
    pub keeps: &'a [u32],
    /// Where alone it may make, write and remove files, if it is to be held to that; then it sees no more of other users' processes
    /// than anybody.
    pub writes: Option<&'a [&'a Path]>,
}

/// Gives up capabilities, also for ever: no program that this thread could start would have others. What the system does not let it give up
/// stays, which is told in the log: it is no reason not to record.
pub fn confine(what: Confined<'_>) {
    let told = |result: io::Result<()>, step: &str| {
        if let Err(error) = result {
            log::debug!("a thread keeps what it does not need: {step}: {error}");
        }
    };
    let keeps = mask(what.keeps);
    for capability in (0..64).filter(|capability| keeps >> capability & 1 == 0) {
        // SAFETY: a plain system call about this thread; it fails beyond the last capability, and without CAP_SETPCAP.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    // SAFETY: plain system calls about this thread.
    unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        told(result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into()), "no new privileges");
    }
    // Before capabilities: it needs none, but after no new privileges.
    if let Some(places) = what.writes {
        told(landlock::write_only_in(places), "landlock");
    }
    told(keep(keeps), "capabilities");
}

/// What of its own this process has of these.
fn mask(keeps: &[u32]) -> u64 {
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    // Where it cannot be read it may be any.
    let paranoid = paranoid.ok().and_then(|level| level.trim().parse().ok()).unwrap_or(MOST_PARANOID);
    mask_of(keeps, super::privilege::effective(), paranoid)
}

/// CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON where a process lacks them, and where the kernel asks for it.
fn mask_of(keeps: &[u32], own: u64, paranoid: i32) -> u64 {
    let bit = |capability: u32| 1u64 << capability;
    let wanted = keeps.iter().fold(0, |mask, capability| mask | bit(*capability));
    let lacks = wanted & (bit(CAP_BPF) | bit(CAP_PERFMON)) & !own != 0;
    let asked_for = wanted & bit(CAP_PERFMON) != 0 && paranoid >= MOST_PARANOID;
    (wanted | if lacks || asked_for { bit(CAP_SYS_ADMIN) } else { 0 }) & own
}

fn keep(mask: u64) -> io::Result<()> {
    let mut header = Header { version: VERSION, pid: 0 };
    let half = |mask: u64| Sets { effective: mask as u32, permitted: mask as u32, inheritable: 0 };
    let sets = [half(mask), half(mask >> 32)];
    // SAFETY: both are laid out as the kernel wants them in this version, and outlive the call, which is about this thread.
    result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })
}

fn result(returned: libc::c_long) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{fs, thread};

    use super::*;

    /// A line of `/proc/thread-self/status`.
    fn line(name: &str) -> String {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
        line.trim().to_owned()
    }

    #[test]
    fn a_thread_keeps_what_it_needs_and_others_all_they_had() {
        let before = line("CapEff");
        let kept = thread::spawn(|| {
            confine(Confined { keeps: &[CAP_KILL], writes: None });
            ["CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs"].map(line)
        });
        let own = u64::from_str_radix(&before, 16).unwrap() & 1 << CAP_KILL;
        let (some, none) = (format!("{own:016x}"), format!("{:016x}", 0));
        assert_eq!(kept.join().unwrap(), [some.clone(), some, none.clone(), none.clone(), "1".into()]);
        assert_eq!(line("CapEff"), before);
        let nothing = thread::spawn(|| {
            confine(Confined { keeps: &[], writes: None });
            line("CapEff")
        });
        assert_eq!(nothing.join().unwrap(), none);
    }

    #[test]
    fn samples_are_attached_in_turns_on_kernels_that_ask_for_more_than_they_should() {
        let bit = |capability: u32| 1u64 << capability;
        let keeps = &[CAP_BPF, CAP_PERFMON];
        let both = bit(CAP_BPF) | bit(CAP_PERFMON);
        assert_eq!(mask_of(keeps, u64::MAX, 2), both);
        assert_eq!(mask_of(keeps, u64::MAX, 3), both | bit(CAP_SYS_ADMIN));
        assert_eq!(mask_of(keeps, bit(CAP_SYS_ADMIN), 2), bit(CAP_SYS_ADMIN), "a kernel's older way");
        assert_eq!(mask_of(keeps, both, 3), both, "what it never had");
        assert_eq!(mask_of(&[CAP_KILL], u64::MAX, 3), bit(CAP_KILL), "needs none of it");
    }

    #[test]
    fn a_thread_writes_where_it_may_and_nowhere_else() {
        let directory = std::env::temp_dir().join(format!("netstrata-confine-{}", std::process::id()));
        let (inside, outside) = (directory.join("in"), directory.join("out"));
        for path in [&inside, &outside] {
            fs::create_dir_all(path).unwrap();
        }
        let (allowed, file) = (inside.clone(), outside.join("x"));
        let written = thread::spawn(move || {
            confine(Confined { keeps: &[], writes: Some(&[&allowed]) });
            let moved =
                fs::write(allowed.join("a"), "1").and_then(|()| fs::rename(allowed.join("a"), allowed.join("b")));
            (moved.is_ok(), fs::read(allowed.join("b")).is_ok(), fs::write(file, "2").is_ok())
        });
        let (moved, read, elsewhere) = written.join().unwrap();
        assert!(moved && read);
        assert_eq!(elsewhere, !landlock::is_there(), "outside of its directory");
        fs::remove_dir_all(directory).unwrap();
    }
}
