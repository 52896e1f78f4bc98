//! What the lab leaves on a machine while it runs, and the removal of what a crashed run left.
//!
//! Everything is found from two names alone: namespaces `/run/netns/nslab-PID-…` and the directory
//! `/run/netstrata-lab/PID/`, which holds the start time of the lab (a reused process id is not the lab), the ids and
//! start times of its children, and Docker's state. Containers are in the control group `nslab-PID`.

use std::{
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::host::{
    facts::start_time,
    process::{kill, wait_for_end},
    runs::{self, names},
};

/// Where the lab keeps its state.
pub const STATE: &str = "/run/netstrata-lab";
/// Where named network namespaces are.
pub const NETNS: &str = "/run/netns";
const CGROUPS: &str = "/sys/fs/cgroup";

/// What dockerd and containerd make outside their own directories, the innermost first. The lab notes which of them
/// were not there before.
const STRAYS: &[&str] = &[
    "/etc/docker/key.json",
    "/etc/docker",
    "/run/docker/plugins",
    "/run/docker",
    "/run/containerd/s",
    "/run/containerd",
];

static ONE: Mutex<()> = Mutex::new(());

/// The lab of this process: what it leaves on the machine; one at a time. Dropping it removes everything that bears its name.
pub struct Lab {
    pid: u32,
    directory: PathBuf,
    _one: MutexGuard<'static, ()>,
}

impl Lab {
    /// Removes leftovers of crashed runs, then opens a lab for this process.
    pub fn open() -> anyhow::Result<Self> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let state = Path::new(STATE);
        let pid = std::process::id();
        for leftover in leftovers() {
            remove(leftover);
        }
        // The lock says that no other lab of this process is open, so whatever bears its id is stale.
        if state.join(pid.to_string()).exists() {
            remove(pid);
        }
        let directory = runs::claim(state)?;
        let children = directory.join("children");
        fs::create_dir_all(&children).with_context(|| format!("cannot make {}", children.display()))?;
        Ok(Self { pid, directory, _one: one })
    }

    /// The full name of a namespace of this lab.
    pub fn namespace(&self, name: &str) -> String {
        format!("nslab-{}-{name}", self.pid)
    }

    /// Directory of the lab.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Directory where ids of children are kept.
    pub fn children(&self) -> PathBuf {
        self.directory.join("children")
    }

    /// Notes which of Docker's directories outside the lab's are not there yet, to remove them again.
    pub fn note_strays(&self) -> io::Result<()> {
        let absent: Vec<&str> = STRAYS.iter().copied().filter(|path| !Path::new(path).exists()).collect();
        fs::write(self.directory.join("strays"), absent.join("\n"))
    }

    /// The control group under which containers are put.
    pub fn cgroup(&self) -> String {
        format!("nslab-{}", self.pid)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        remove(self.pid);
    }
}

/// Ids of labs that left a directory or a namespace and live no longer.
fn leftovers() -> Vec<u32> {
    runs::dead(Path::new(STATE), names(Path::new(NETNS)).iter().filter_map(|name| owner(name)))
}

fn owner(namespace: &str) -> Option<u32> {
    namespace.strip_prefix("nslab-")?.split_once('-')?.0.parse().ok()
}

/// Removes everything that bears the id of this run: processes, mounts, control groups, namespaces, directory.
fn remove(pid: u32) {
    let directory = Path::new(STATE).join(pid.to_string());
    if directory.exists() {
        stop_processes(&directory, pid);
    }
    remove_cgroups(pid);
    for name in names(Path::new(NETNS)).iter().filter(|name| owner(name) == Some(pid)) {
        remove_namespace(name);
    }
    remove_strays(&directory);
    if unmount_below(&directory) {
        let _ = fs::remove_dir_all(&directory);
    }
    // Succeeds only when no other run has a directory there.
    let _ = fs::remove_dir(STATE);
}

/// Ends the processes that the run started and that still live: children by id and start time; Docker's helpers by
/// the run's directory in their command line; containers by control group.
fn stop_processes(directory: &Path, pid: u32) {
    let noted = || {
        names(&directory.join("children")).into_iter().filter_map(|name| {
            let child: u32 = name.parse().ok()?;
            let start: u64 = fs::read_to_string(directory.join("children").join(&name)).ok()?.trim().parse().ok()?;
            (start_time(child) == Some(start)).then_some(child)
        })
    };
    let marker = format!("{}/", directory.display());
    let helpers = || {
        names(Path::new("/proc")).into_iter().filter_map(|name| {
            let process: u32 = name.parse().ok()?;
            let line = fs::read(format!("/proc/{process}/cmdline")).ok()?;
            let program = line.split(|byte| *byte == 0).next()?.rsplit(|byte| *byte == b'/').next()?;
            let known = [&b"dockerd"[..], b"containerd", b"containerd-shim", b"containerd-shim-runc-v2"];
            let ours = String::from_utf8_lossy(&line).contains(&marker);
            (ours && known.contains(&program)).then_some(process)
        })
    };
    let contained = || cgroups(pid).into_iter().flat_map(|group| members(&group));
    let mut asked = false;
    for process in noted() {
        kill(process, libc::SIGTERM);
        asked = true;
    }
    if asked {
        wait_for_all(Duration::from_secs(20), || noted().next());
    }
    for process in contained().chain(noted()).chain(helpers()) {
        kill(process, libc::SIGKILL);
    }
    wait_for_all(Duration::from_secs(5), || contained().chain(noted()).chain(helpers()).next());
}

fn remove_strays(directory: &Path) {
    let noted = fs::read_to_string(directory.join("strays")).unwrap_or_default();
    for path in STRAYS.iter().filter(|stray| noted.lines().any(|line| line == **stray)).map(Path::new) {
        // A directory that someone else uses meanwhile is not empty and stays.
        let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    }
}

/// Waits until none lives any more; `living` gives one that does.
fn wait_for_all(limit: Duration, living: impl Fn() -> Option<u32>) {
    let deadline = Instant::now() + limit;
    while let Some(pid) = living() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        wait_for_end(pid, Some(left));
    }
}

/// Directories of the run's control group in every hierarchy (version 2: the root is the only one).
fn cgroups(pid: u32) -> Vec<PathBuf> {
    let root = Path::new(CGROUPS);
    let name = format!("nslab-{pid}");
    let hierarchies = names(root).into_iter().map(|entry| root.join(entry));
    std::iter::once(root.to_owned())
        .chain(hierarchies)
        .map(|base| base.join(&name))
        .filter(|path| path.is_dir())
        .collect()
}

fn members(group: &Path) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for child in subdirectories(group) {
        found.extend(members(&child));
    }
    found
}

fn subdirectories(group: &Path) -> Vec<PathBuf> {
    names(group).into_iter().map(|name| group.join(name)).filter(|path| path.is_dir()).collect()
}

pub(super) fn remove_cgroups(pid: u32) {
    fn remove_tree(group: &Path) {
        for child in subdirectories(group) {
            remove_tree(&child);
        }
        let _ = fs::remove_dir(group);
    }
    for group in cgroups(pid) {
        remove_tree(&group);
    }
}

/// Takes a named namespace away; it dies with its last process.
pub fn remove_namespace(name: &str) {
    let path = Path::new(NETNS).join(name);
    unmount(&path);
    let _ = fs::remove_file(path);
}

fn unmount(path: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    if let Ok(path) = CString::new(path.as_os_str().as_bytes()) {
        // SAFETY: `path` is a C string that outlives the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}

/// Unmounts everything below `directory`, the newest first; whether nothing is mounted there afterwards.
fn unmount_below(directory: &Path) -> bool {
    for path in mounts_below(directory).into_iter().rev() {
        unmount(&path);
    }
    mounts_below(directory).is_empty()
}

fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(directory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_tells_which_lab_made_it() {
        assert_eq!(owner("nslab-14-host"), Some(14));
        assert_eq!(owner("nslab-11-bridge-client"), Some(11));
        for other in ["cni-1234", "nslab-x-host", "nslab-16", "host"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
