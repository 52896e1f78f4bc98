//! Processes: which network namespace, cgroup and name each one has, read once per process.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::output::name;

/// What `/proc` tells about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Inode of its network namespace, 0 if it may not be read.
    pub netns: u32,
    /// The command's short name.
    pub comm: String,
    /// Engine and id of its container.
    pub container: Option<(String, &'static str)>,
    /// Sockets that a Docker daemon listens on.
    pub docker_sockets: Vec<String>,
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

/// The namespace of the host: that of its first process, if it is here. Where it is not, newer kernels have a number for it.
pub(super) fn host_netns(own: u32) -> u32 {
    const FIRST: u32 = 4_026_531_833;
    match numbers_are_the_kernels() {
        true => netns_of(1).unwrap_or(own),
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
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        self.container = container_in_cgroups(&cgroups);
        // Anybody may be called so, and name any socket.
        if self.comm == "dockerd" && is_trusted(&users(&pid.to_string())) {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            self.docker_sockets = docker_sockets(&String::from_utf8_lossy(&line));
        }
    }
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
    let own = users("self").get(1).copied();
    !who.is_empty() && who.iter().all(|user| *user == 0 || Some(*user) == own)
}

/// Sockets in the command line of a Docker daemon, its words separated by NUL.
fn docker_sockets(line: &str) -> Vec<String> {
    let mut sockets = Vec::new();
    let mut words = line.split('\0');
    while let Some(word) = words.next() {
        let value = match word {
            "-H" | "--host" => words.next(),
            _ => word
                .strip_prefix("--host=")
                .or_else(|| word.strip_prefix("-H="))
                .or_else(|| word.strip_prefix("-H").filter(|rest| !rest.is_empty())),
        };
        sockets.extend(value.and_then(|value| value.strip_prefix("unix://")).map(str::to_owned));
    }
    sockets
}

/// Engine and id of the container that a `/proc/PID/cgroup` places the process in.
pub(super) fn container_in_cgroups(text: &str) -> Option<(String, &'static str)> {
    text.lines().find_map(|line| container_in_path(line.splitn(3, ':').nth(2)?)).map(|(id, engine, _)| (id, engine))
}

/// The innermost container in a cgroup path: its id, its engine, and the part of the path that is its directory.
fn container_in_path(path: &str) -> Option<(String, &'static str, &str)> {
    let mut end = path.len();
    loop {
        let start = path[..end].rfind('/').map_or(0, |slash| slash + 1);
        let part = &path[start..end];
        let bare = part.strip_suffix(".scope").unwrap_or(part);
        // "docker-ID", "libpod-ID", "cri-containerd-ID", "cri-containerd:ID", or the id alone.
        let (prefix, id) = match bare.rfind(['-', ':']) {
            Some(dash) => (&bare[..dash], &bare[dash + 1..]),
            None => ("", bare),
        };
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        // conmon is the engine's helper beside the container, not in it.
        if is_id && !prefix.ends_with("conmon") {
            let engine = if path[..end].contains("kubepods") {
                "kubernetes"
            } else if prefix == "docker" || path[..start].ends_with("/docker/") {
                "docker"
            } else if prefix.starts_with("libpod") || path[..start].contains("libpod") {
                "podman"
            } else if prefix.starts_with("cri-containerd") || prefix.starts_with("nerdctl") {
                "containerd"
            } else {
                "unknown"
            };
            return Some((id.to_owned(), engine, &path[..end]));
        }
        end = start.checked_sub(1)?;
    }
}

/// Inode of the cgroup v2 directory of the container that a process is in; 0 if it has none of its own.
pub(super) fn cgroup_inode(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::")) else { return 0 };
    let path = container_in_path(path).map_or(path, |(_, _, directory)| directory);
    if path == "/" || path.contains("/..") {
        return 0;
    }
    ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .iter()
        .find_map(|mount| {
            // Only a v2 mount has this file; with a hybrid layout the first one is it.
            let mount = Path::new(mount);
            mount.join("cgroup.controllers").exists().then_some(())?;
            fs::metadata(mount.join(path.trim_start_matches('/'))).ok()
        })
        .map_or(0, |metadata| metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_cgroup_path_tells_engine_and_id() {
        let cases = [
            (format!("0::/system.slice/docker-{ID}.scope"), Some("docker")),
            (format!("4:memory:/docker/{ID}\n0::/"), Some("docker")),
            (format!("0::/docker/{ID}/init.scope"), Some("docker")),
            (format!("0::/machine.slice/libpod-{ID}.scope/container"), Some("podman")),
            (format!("0::/libpod_parent/libpod-{ID}"), Some("podman")),
            (format!("0::/machine.slice/libpod-conmon-{ID}.scope"), None),
            (
                format!(
                    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{ID}.scope"
                ),
                Some("kubernetes"),
            ),
            (format!("0::/kubepods/besteffort/pod1234/{ID}"), Some("kubernetes")),
            (format!("0::/system.slice/cri-containerd-{ID}.scope"), Some("containerd")),
            (format!("0::/system.slice/containerd.service/kubepods-x.slice:cri-containerd:{ID}"), Some("kubernetes")),
            (format!("0::/default/{ID}"), Some("unknown")),
            ("0::/user.slice/user-1000.slice/session-2.scope".to_owned(), None),
            ("0::/docker/0123456789ab".to_owned(), None),
            (String::new(), None),
        ];
        for (text, engine) in cases {
            assert_eq!(container_in_cgroups(&text), engine.map(|engine| (ID.to_owned(), engine)), "{text}");
        }
    }

    #[test]
    fn the_innermost_of_nested_containers_counts() {
        let inner = ID.replace('0', "f");
        let text = format!("0::/docker/{ID}/docker/{inner}/x");
        assert_eq!(container_in_cgroups(&text), Some((inner.clone(), "docker")));
        let path = format!("/docker/{ID}/docker/{inner}/x");
        assert_eq!(container_in_path(&path).map(|found| found.2), Some(&path[..path.len() - 2]));
    }

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
        let line = "/usr/bin/dockerd\0-H\0unix:///a.sock\0--host=unix:///b.sock\0-Hunix:///c.sock\0-H\0tcp://:1\0";
        assert_eq!(docker_sockets(line), ["/a.sock", "/b.sock", "/c.sock"]);
    }
}
