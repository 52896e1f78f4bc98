//! Processes: which network namespace, cgroup and name each one has, read once per process.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use super::{cgroups, patience::within};
use crate::output::name;

/// What `/proc` tells about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Inode of its network namespace, 0 if it may not be read.
    pub netns: u32,
    /// The command's short name.
    pub comm: String,
    /// Its container.
    pub container: Option<cgroups::Place>,
    /// Sockets that a Docker daemon listens on.
    pub docker_sockets: Vec<PathBuf>,
    /// The machine that it runs, if it is systemd-nspawn.
    pub machine: Option<String>,
    /// Looked at so many times in full; a fresh process may still be moved to its cgroup and namespace.
    looks: u8,
}

/// All processes, kept from scan to scan.
#[derive(Debug, Default)]
pub(super) struct Processes {
    pub by_pid: HashMap<u32, Process>,
}

/// Process ids now.
pub(super) fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Inode of the network namespace of a process (or of "self", "thread-self").
pub(super) fn netns_of(pid: impl std::fmt::Display) -> std::io::Result<u32> {
    let link = fs::read_link(format!("/proc/{pid}/ns/net"))?;
    let text = link.to_string_lossy();
    text.strip_prefix("net:[")
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "unknown form of a namespace link"))
}

/// Whether processes have the numbers here that the kernel's programs tell: not in a process namespace of one's own, where another
/// process may have each. The first one has the same inode on every kernel.
pub fn numbers_are_the_kernels() -> bool {
    const FIRST: &str = "pid:[4026531836]";
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == FIRST)
}

/// The namespace of the host: that of its first process, if it is here, or of its kernel's threads, where the first process may do more
/// than this one. Where neither is, newer kernels have a number for it.
pub(super) fn host_netns(own: u32) -> u32 {
    const FIRST: u32 = 4_026_531_833;
    const KTHREADD: u32 = 2;
    match numbers_are_the_kernels() {
        true => netns_of(1).or_else(|_| netns_of(KTHREADD)).unwrap_or(own),
        false if own == FIRST => own,
        false => 0,
    }
}

impl Processes {
    /// Reads all processes. Returns how many did not let their namespace be read.
    pub fn refresh(&mut self) -> usize {
        let now = pids();
        let mut refused = 0;
        let mut kept = HashMap::with_capacity(now.len());
        for pid in now {
            let mut process = self.by_pid.remove(&pid).unwrap_or_default();
            match netns_of(pid) {
                Ok(netns) => {
                    if process.netns != netns {
                        process.looks = 0;
                    }
                    process.netns = netns;
                }
                // A zombie has no namespace any more.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(_) => refused += 1,
            }
            process.look(pid);
            kept.insert(pid, process);
        }
        self.by_pid = kept;
        refused
    }

    /// Whether a process started since `before` was the newest has a namespace that was not there either.
    pub fn new_namespace(&self, before: Option<u32>, newest: Option<u32>, known: &dyn Fn(u32) -> bool) -> bool {
        let is_new = |pid: u32| !self.by_pid.contains_key(&pid) && netns_of(pid).is_ok_and(|netns| !known(netns));
        match (before, newest) {
            // Asking for the few ids given out since is much cheaper than listing all processes.
            (Some(before), Some(newest)) if (before..before.saturating_add(FEW_NEW)).contains(&newest) => {
                (before + 1..=newest).any(is_new)
            }
            _ => pids().into_iter().any(is_new),
        }
    }
}

/// Up to so many new process ids are looked at one by one.
const FEW_NEW: u32 = 200;

/// The newest process id.
pub(super) fn newest_pid() -> Option<u32> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().last()?.parse().ok()
}

impl Process {
    fn look(&mut self, pid: u32) {
        if self.looks >= 3 {
            return;
        }
        self.looks += 1;
        self.comm = name(&fs::read(format!("/proc/{pid}/comm")).unwrap_or_default()).trim_end().to_owned();
        self.container = cgroups::container_in(&cgroups::of_pid(pid));
        // Anybody may be called so, and name any socket.
        if matches!(self.comm.as_str(), "dockerd" | "systemd-nspawn") && is_trusted(&users(&pid.to_string())) {
            // Of all that is read here only this waits for the process's memory.
            let line = within(PATIENCE, move || fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
            let line = line.unwrap_or_default();
            match self.comm.as_str() {
                "dockerd" => self.docker_sockets = docker_sockets(&line),
                _ => self.machine = machine(&line),
            }
        }
    }
}

/// How long a command line is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// When a process was started, in clock ticks since the boot: with its number this tells it from all others.
pub(super) fn started(pid: u32) -> Option<u64> {
    let text = name(&fs::read(format!("/proc/{pid}/stat")).ok()?);
    text.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The first child of a process's first thread.
pub(super) fn first_child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// The users that a process runs as; none where it is not told. The owner of its directory says less: it is root where the process
/// hides its memory.
fn users(pid: &str) -> Vec<u32> {
    let status = fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|user| user.parse().ok()).collect()
}

/// Whether what these users say of other people's processes is believed: root, and whoever asks.
pub(super) fn is_trusted(who: &[u32]) -> bool {
    static OWN: LazyLock<Option<u32>> = LazyLock::new(|| users("self").get(1).copied());
    !who.is_empty() && who.iter().all(|user| *user == 0 || Some(*user) == *OWN)
}

/// Words of a command line, which are separated by NUL.
fn words(line: &[u8]) -> impl Iterator<Item = String> {
    line.split(|byte| *byte == 0).map(name)
}

/// The value of an option: "-o VALUE", "-oVALUE", "--option VALUE", "--option=VALUE", all there are.
fn values(line: &[u8], short: &str, long: &str) -> Vec<String> {
    let mut words = words(line);
    let mut values = Vec::new();
    while let Some(word) = words.next() {
        if word == short || word == long {
            values.extend(words.next());
        } else if let Some(rest) = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('=')) {
            values.push(rest.to_owned());
        } else if let Some(rest) = word.strip_prefix(short).filter(|_| !word.starts_with("--")) {
            values.push(rest.strip_prefix('=').unwrap_or(rest).to_owned());
        }
    }
    values
}

/// Sockets in the command line of a Docker daemon.
fn docker_sockets(line: &[u8]) -> Vec<PathBuf> {
    let hosts = values(line, "-H", "--host");
    hosts.iter().filter_map(|host| host.strip_prefix("unix://")).map(PathBuf::from).collect()
}

/// The machine in the command line of systemd-nspawn: its name, or that of its directory or image.
fn machine(line: &[u8]) -> Option<String> {
    let of_path = |path: String| Some(Path::new(&path).file_name()?.to_str()?.to_owned());
    values(line, "-M", "--machine").pop().or_else(|| {
        let directory = values(line, "-D", "--directory").pop().and_then(of_path);
        directory
            .or_else(|| Some(values(line, "-i", "--image").pop().and_then(of_path)?.trim_end_matches(".raw").into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_who_asks_are_believed() {
        let own = users(&std::process::id().to_string());
        assert_eq!(own.len(), 4);
        assert!(is_trusted(&own) && is_trusted(&[0; 4]));
        assert!(!is_trusted(&[]) && !is_trusted(&[0, 4_000_000, 0, 0]));
        assert!(users("none").is_empty());
    }

    #[test]
    fn a_docker_daemon_names_its_sockets() {
        let line = b"/usr/bin/dockerd\0-H\0unix:///a.sock\0--host=unix:///b.sock\0-Hunix:///c.sock\0-H\0tcp://:1\0";
        assert_eq!(docker_sockets(line), ["/a.sock", "/b.sock", "/c.sock"].map(PathBuf::from));
    }

    #[test]
    fn nspawn_names_its_machine() {
        let named = |line: &[u8]| machine(line).unwrap_or_default();
        assert_eq!(named(b"systemd-nspawn\0-q\0-M\0box\0-D\0/srv/other\0"), "box");
        assert_eq!(named(b"systemd-nspawn\0--machine=box\0--boot\0"), "box");
        assert_eq!(named(b"systemd-nspawn\0-D/srv/box\0"), "box");
        assert_eq!(named(b"systemd-nspawn\0--image=/srv/box.raw\0"), "box");
        assert_eq!(named(b"systemd-nspawn\0-b\0"), "");
    }

    #[test]
    fn a_process_is_told_from_others_of_its_number() {
        let own = std::process::id();
        assert!(started(own).is_some_and(|ticks| ticks > 0) && started(0).is_none());
        assert_eq!(started(own), started(own));
    }
}
