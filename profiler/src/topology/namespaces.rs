//! Which network namespaces exist, what a person would call them, and how to enter them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    Container, Namespace,
    containers::{FEW, of_namespaces},
    process::{Processes, host_netns, netns_of},
};
use crate::output::name;

/// Where tools keep namespaces alive by mounting them: the places that are cheap to look at often.
const DIRECTORIES: [&str; 3] = ["/run/netns", "/var/run/netns", "/run/docker/netns"];

/// A namespace, and paths that lead into it while it lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub namespace: Namespace,
    pub paths: Vec<PathBuf>,
}

/// A namespace that is mounted somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub inum: u32,
    pub name: String,
    pub path: PathBuf,
}

/// When a name of a namespace came or went last: much less work than to look at all of them.
pub(super) fn last_named() -> Option<SystemTime> {
    DIRECTORIES.iter().filter_map(|directory| fs::metadata(directory).ok()?.modified().ok()).max()
}

/// Named namespaces, by name.
pub(super) fn named() -> Vec<Named> {
    // A file there is a namespace only while one is mounted on it: then it is on the device of namespaces.
    let Ok(own) = fs::metadata("/proc/self/ns/net") else { return Vec::new() };
    let mut seen = Vec::new();
    let mut all = Vec::new();
    for directory in DIRECTORIES {
        let Ok(real) = fs::canonicalize(directory) else { continue };
        if seen.contains(&real) {
            continue;
        }
        let mut entries: Vec<_> = fs::read_dir(&real).into_iter().flatten().flatten().collect();
        seen.push(real);
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            let Ok(inum) = u32::try_from(metadata.ino()) else { continue };
            if metadata.dev() == own.dev() {
                let name = name(entry.file_name().as_encoded_bytes());
                all.push(Named { inum, name, path: entry.path() });
            }
        }
    }
    all
}

/// Namespaces that are mounted anywhere, those of [`named`] first: engines keep some of their own below a directory that
/// a user chooses, such as the bridge and the tunnel of Docker's overlay.
pub(super) fn mounted() -> Vec<Named> {
    let mut all = named();
    all.extend(in_mount_table(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()));
    all
}

/// Network namespaces in the text of `/proc/PID/mountinfo`: `44 43 0:4 net:[4026532177] /run/netns/a rw … - nsfs nsfs rw`.
fn in_mount_table(text: &str) -> Vec<Named> {
    let mounts = text.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let inum = fields.next()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()?;
        let path = PathBuf::from(fields.next()?);
        Some(Named { inum, name: path.file_name()?.to_str()?.to_owned(), path })
    });
    mounts.collect()
}

/// All namespaces, the initial one first.
pub(super) fn find(processes: &Processes, containers: &[Container], named: &[Named]) -> Vec<Found> {
    let own = netns_of("self").unwrap_or(0);
    let host = host_netns(own);
    let mut all: BTreeMap<u32, Found> = BTreeMap::new();
    let mut members: Vec<_> = processes.by_pid.iter().filter(|(_, process)| process.netns != 0).collect();
    members.sort_by_key(|(pid, _)| **pid);
    for (pid, process) in members {
        let found = all.entry(process.netns).or_insert_with(|| Found {
            namespace: Namespace {
                inum: process.netns,
                name: format!("pid {pid} ({})", process.comm),
                origin: "process".to_owned(),
                pids: Vec::new(),
            },
            paths: Vec::new(),
        });
        if found.namespace.pids.len() < FEW {
            found.namespace.pids.push(*pid);
            found.paths.push(PathBuf::from(format!("/proc/{pid}/ns/net")));
        }
    }
    for one in named {
        let found = all.entry(one.inum).or_default();
        found.paths.insert(0, one.path.clone());
        if found.namespace.origin != "named" {
            rename(&mut found.namespace, one.inum, &one.name, "named");
        }
    }
    for (inum, name) in of_namespaces(containers) {
        if inum != host
            && let Some(found) = all.get_mut(&inum)
        {
            rename(&mut found.namespace, inum, &name, "container");
        }
    }
    if own != 0 {
        all.entry(own).or_default().paths.insert(0, PathBuf::from("/proc/self/ns/net"));
    }
    if host != 0 {
        rename(&mut all.entry(host).or_default().namespace, host, "host", "host");
    }
    let mut list: Vec<Found> = all.into_values().collect();
    list.sort_by_key(|found| (found.namespace.inum != host, found.namespace.inum));
    list
}

fn rename(namespace: &mut Namespace, inum: u32, name: &str, origin: &str) {
    namespace.inum = inum;
    name.clone_into(&mut namespace.name);
    origin.clone_into(&mut namespace.origin);
}

/// Opens the namespace with this inode; "not found" if no path leads to it any more.
pub(super) fn open(inum: u32, paths: &[PathBuf]) -> io::Result<File> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for path in paths {
        match open_one(inum, path) {
            Ok(file) => return Ok(file),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open_one(inum: u32, path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    // The process id or the name may belong to another namespace by now.
    if file.metadata()?.ino() != u64::from(inum) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(file)
}

/// Moves the calling thread, and only it, into a network namespace.
pub(super) fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: setns reads no memory of ours; the descriptor is open for as long as `namespace` is borrowed.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_found_in_the_mount_table() {
        let text = "23 1 254:0 / / rw,noatime - ext4 /dev/vda rw\n\
                    44 43 0:4 net:[4026532177] /run/engine/netns/1-abc rw shared:2 - nsfs nsfs rw\n\
                    45 43 0:4 mnt:[4026532178] /run/engine/mnt rw - nsfs nsfs rw\n";
        let found = in_mount_table(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].inum, found[0].name.as_str()), (4_026_532_177, "1-abc"));
        assert_eq!(found[0].path, Path::new("/run/engine/netns/1-abc"));
    }

    #[test]
    fn the_host_comes_first_and_keeps_its_name() {
        let mut processes = Processes::default();
        processes.refresh();
        let host = host_netns(netns_of("self").unwrap());
        if host == 0 {
            return;
        }
        let containers = [Container { name: "hostnet".into(), netns: host, ..Container::default() }];
        let found = find(&processes, &containers, &[]);
        assert_eq!((found[0].namespace.inum, found[0].namespace.name.as_str()), (host, "host"));
    }
}
