//! Machines that systemd-machined knows, and who manages containers of LXC.

use super::known::Known;
use crate::{output::name, topology::believed::Files};

const MACHINES: &str = "/run/systemd/machines";
/// Where managers of LXC keep a container of a name.
const MANAGERS: [(&str, &str); 3] = [
    ("/var/lib/incus/containers", "incus"),
    ("/var/lib/lxd/containers", "lxd"),
    ("/var/snap/lxd/common/lxd/containers", "lxd"),
];

/// Containers that are registered as machines, by name.
pub(super) fn all(files: &Files) -> Vec<(String, Known)> {
    let machines = files.list(MACHINES).into_iter().filter_map(|entry| {
        // Links there lead from units to machines.
        let text = files.read(format!("{MACHINES}/{}", entry.to_str()?))?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        if field("CLASS") != Some("container") {
            return None;
        }
        let engine = if field("SERVICE") == Some("systemd-nspawn") { "nspawn" } else { "machine" };
        let name = name(entry.as_os_str().as_encoded_bytes());
        let pid = field("LEADER")?.parse().ok()?;
        Some((name.clone(), Known { name, engine, pid, started: None }))
    });
    machines.collect()
}

/// Whose a container of LXC is.
pub(super) fn manager(files: &Files, name: &str) -> &'static str {
    let known = |(place, _): &&(&str, &str)| !name.contains('/') && files.is_there(format!("{place}/{name}"));
    MANAGERS.iter().find(known).map_or("lxc", |(_, engine)| engine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::believed::tests::Root;

    #[test]
    fn machines_are_known_by_their_leaders() {
        let root = Root::new("machines");
        let text = |class: &str, service: &str| {
            format!("# This is private data. Do not parse.\nNAME=box\nSERVICE={service}\nLEADER=77\nCLASS={class}\n")
        };
        root.put("/run/systemd/machines/box", text("container", "systemd-nspawn"));
        root.put("/run/systemd/machines/box-2", text("container", "libvirt-lxc"));
        root.put("/run/systemd/machines/vm", text("vm", "libvirt-qemu"));
        let known = |name: &str, engine| (name.to_owned(), Known { name: name.into(), engine, pid: 77, started: None });
        assert_eq!(all(&root.files()), [known("box", "nspawn"), known("box-2", "machine")]);
    }

    #[test]
    fn containers_of_lxc_are_their_managers() {
        let root = Root::new("lxc");
        root.put("/var/lib/incus/containers/web/x", "");
        root.put("/var/snap/lxd/common/lxd/containers/old/x", "");
        let manager = |name| manager(&root.files(), name);
        assert_eq!(["web", "old", "plain", "../containers/web"].map(manager), ["incus", "lxd", "lxc", "lxc"]);
    }
}
