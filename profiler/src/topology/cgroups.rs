//! Control groups: engines tell by their names which container a process is in.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::output::name;

/// Which container a control group is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Id of the container; where it has none its name.
    pub id: String,
    /// Its engine.
    pub engine: &'static str,
    /// Id of the Kubernetes pod that it is of.
    pub pod: Option<String>,
}

/// What `/proc/PID/cgroup` holds: no process can keep its reader waiting.
pub(super) fn of_pid(pid: u32) -> String {
    name(&fs::read(format!("/proc/{pid}/cgroup")).unwrap_or_default())
}

/// The container that a `/proc/PID/cgroup` places the process in.
pub(super) fn container_in(text: &str) -> Option<Place> {
    text.lines().find_map(|line| in_path(line.splitn(3, ':').nth(2)?)).map(|(place, _)| place)
}

/// The innermost container in a path, and the part of the path that is its directory.
fn in_path(path: &str) -> Option<(Place, &str)> {
    let mut end = path.len();
    loop {
        let start = path[..end].rfind('/').map_or(0, |slash| slash + 1);
        if let Some((id, engine)) = in_part(path, start, end) {
            return Some((Place { id, engine, pod: pod_in(&path[..end]) }, &path[..end]));
        }
        end = start.checked_sub(1)?;
    }
}

/// The container that a part of a path is of.
fn in_part(path: &str, start: usize, end: usize) -> Option<(String, &'static str)> {
    let (above, part) = (&path[..start], &path[start..end]);
    // "lxc.payload.NAME" of LXC and Incus, "lxc.payload/NAME" and "lxc/NAME" of older ones.
    let lxc = part
        .strip_prefix("lxc.payload.")
        .or_else(|| (above.ends_with("/lxc.payload/") || above.ends_with("/lxc/")).then_some(part));
    if let Some(name) = lxc.filter(|name| !name.is_empty()) {
        return Some((name.to_owned(), "lxc"));
    }
    // "systemd-nspawn@NAME.service/payload": beside it is nspawn itself.
    if part == "payload" {
        let unit = above.trim_end_matches('/').rsplit('/').next()?;
        let name = unit.strip_prefix("systemd-nspawn@")?.strip_suffix(".service")?;
        return Some((unescaped(name), "nspawn"));
    }
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    // "docker-ID", "libpod-ID", "crio-ID", "cri-containerd-ID", "cri-containerd:ID", or the id alone.
    let (prefix, id) = match bare.rfind(['-', ':']) {
        Some(dash) => (&bare[..dash], &bare[dash + 1..]),
        None => ("", bare),
    };
    // conmon is the engine's helper beside the container, not in it; and a pod of podman has an id, too.
    if !is_id(id) || prefix.ends_with("conmon") || prefix.is_empty() && above.ends_with("/libpod_parent/") {
        return None;
    }
    let engine = if path[..end].contains("kubepods") {
        "kubernetes"
    } else if prefix == "docker" || above.ends_with("/docker/") {
        "docker"
    } else if prefix.starts_with("libpod") || above.contains("libpod") {
        "podman"
    } else if prefix == "crio" {
        "cri-o"
    } else if prefix.starts_with("cri-containerd") || prefix.starts_with("nerdctl") {
        "containerd"
    } else {
        "unknown"
    };
    Some((id.to_owned(), engine))
}

/// Whether text is an id as engines make them.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The pod of Kubernetes that a path is of: "pod1234-…", or "kubepods-burstable-pod1234_….slice" where systemd makes groups.
fn pod_in(path: &str) -> Option<String> {
    let parts = path.split(['/', ':']).rev();
    let mut ids = parts.filter_map(|part| match part.strip_suffix(".slice") {
        Some(slice) => {
            slice.starts_with("kubepods").then(|| slice.rsplit_once("-pod"))?.map(|(_, id)| id.replace('_', "-"))
        }
        None => part.strip_prefix("pod").map(str::to_owned),
    });
    path.contains("kubepods").then(|| ids.next())?
}

/// The name in a name of systemd's: what may not stand there is written like `\x2d`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = || std::str::from_utf8(more.strip_prefix(b"x")?.get(..2)?).ok();
        match digits().filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[3..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    name(&bytes)
}

/// Inode of the cgroup v2 directory of the container that a process is in; 0 if it has none of its own.
pub(super) fn inode(pid: u32) -> u64 {
    let path = |text: &str| text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned);
    let Some(whole) = path(&of_pid(pid)) else { return 0 };
    // A container without a group of its own is in that of whoever started it, with all that is there.
    let is_shared = |other: u32| path(&of_pid(other)).as_deref() == Some(&whole);
    let directory = match in_path(&whole) {
        Some((_, directory)) => directory,
        None if is_shared(std::process::id()) || is_shared(1) => return 0,
        None => &whole,
    };
    if directory == "/" || directory.contains("/..") {
        return 0;
    }
    ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .iter()
        .find_map(|mount| {
            // Only a v2 mount has this file; with a hybrid layout the first one is it.
            let mount = Path::new(mount);
            mount.join("cgroup.controllers").exists().then_some(())?;
            fs::metadata(mount.join(directory.trim_start_matches('/'))).ok()
        })
        .map_or(0, |metadata| metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn engine(text: &str) -> Option<(String, &'static str)> {
        container_in(text).map(|place| (place.id, place.engine))
    }

    #[test]
    fn a_cgroup_path_tells_engine_and_id() {
        let cases = [
            (format!("0::/system.slice/docker-{ID}.scope"), Some("docker")),
            (format!("4:memory:/docker/{ID}\n0::/"), Some("docker")),
            (format!("0::/docker/{ID}/init.scope"), Some("docker")),
            (format!("0::/machine.slice/libpod-{ID}.scope/container"), Some("podman")),
            (format!("0::/libpod_parent/libpod-{ID}"), Some("podman")),
            (format!("0::/machine.slice/libpod-conmon-{ID}.scope"), None),
            (format!("0::/libpod_parent/{ID}/conmon"), None),
            (
                format!(
                    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{ID}.scope"
                ),
                Some("kubernetes"),
            ),
            (format!("0::/kubepods/besteffort/pod1234/{ID}"), Some("kubernetes")),
            (format!("0::/system.slice/cri-containerd-{ID}.scope"), Some("containerd")),
            (format!("0::/system.slice/containerd.service/kubepods-x.slice:cri-containerd:{ID}"), Some("kubernetes")),
            (format!("0::/system.slice/crio-{ID}.scope"), Some("cri-o")),
            (format!("0::/default/{ID}"), Some("unknown")),
            ("0::/user.slice/user-1000.slice/session-2.scope".to_owned(), None),
            ("0::/docker/0123456789ab".to_owned(), None),
            (String::new(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(engine(&text), expected.map(|engine| (ID.to_owned(), engine)), "{text}");
        }
    }

    #[test]
    fn containers_without_an_id_are_known_by_their_names() {
        let cases = [
            ("0::/lxc.payload.box-a", Some(("box-a", "lxc"))),
            ("0::/lxc.payload.box-a/system.slice/ssh.service", Some(("box-a", "lxc"))),
            ("0::/lxc.payload/a b", Some(("a b", "lxc"))),
            ("12:cpu:/lxc/old", Some(("old", "lxc"))),
            ("0::/lxc.monitor.box-a", None),
            (r"0::/machine.slice/systemd-nspawn@my\x2dbox.service/payload/init.scope", Some(("my-box", "nspawn"))),
            (r"0::/machine.slice/systemd-nspawn@a\xff\.service/payload", Some((r"a\xff\", "nspawn"))),
            ("0::/machine.slice/systemd-nspawn@my.service/supervisor", None),
            ("0::/payload", None),
        ];
        for (text, expected) in cases {
            assert_eq!(engine(text), expected.map(|(name, engine)| (name.to_owned(), engine)), "{text}");
        }
    }

    #[test]
    fn a_pod_is_known_by_its_id() {
        let pod = |text: String| container_in(&text).and_then(|place| place.pod);
        let by_systemd = "0::/kubepods.slice/kubepods-pod0a_1b.slice";
        assert_eq!(pod(format!("{by_systemd}/cri-containerd-{ID}.scope")).as_deref(), Some("0a-1b"));
        assert_eq!(
            pod(format!("0::/system.slice/containerd.service/kubepods-besteffort-pod0a_1b.slice:cri-containerd:{ID}"))
                .as_deref(),
            Some("0a-1b")
        );
        assert_eq!(pod(format!("0::/kubepods/burstable/pod0a-1b/{ID}")).as_deref(), Some("0a-1b"));
        assert_eq!(pod(format!("0::/podracers/{ID}")), None);
    }

    #[test]
    fn the_innermost_of_nested_containers_counts() {
        let inner = ID.replace('0', "f");
        let text = format!("0::/docker/{ID}/docker/{inner}/x");
        assert_eq!(engine(&text), Some((inner.clone(), "docker")));
        let path = format!("/docker/{ID}/docker/{inner}/x");
        assert_eq!(in_path(&path).map(|found| found.1), Some(&path[..path.len() - 2]));
        assert_eq!(engine(&format!("0::/lxc.payload.box/docker/{inner}")), Some((inner, "docker")));
    }
}
