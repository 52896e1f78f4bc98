//! What a mode needs of the machine, and whether it is there: asked by trying, not by the kernel's version.

use std::{process::Command, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use super::{cleanup::Lab, cni, docker, guest, namespace::Namespace};
use crate::host::{process, program, signal};

const LOAD_LIMIT: Duration = Duration::from_secs(10);
/// What to add to the refusal of a mode that needs something the running kernel lacks.
const HINT: &str = "; add `--machine emulated` to run it in an emulated machine with Debian's kernel";

/// Something that a mode needs.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// A kind of device, by the kernel's name for it.
    Device(&'static str),
    /// A program, and the Debian package that has it.
    Program(&'static str, &'static str),
    /// Something that the kernel must do: its name, and a program with words that does it in a scratch namespace.
    Kernel(&'static str, &'static [&'static str]),
    /// A Docker engine.
    Docker,
    /// A reference CNI plugin.
    Cni(&'static str),
    /// An emulated guest.
    Guest,
}

/// How a device of a kind is made on trial: a row for each kind that a mode needs.
pub(super) const TRIALS: &[(&str, &[&str])] = &[
    ("veth", &["link", "add", "trial", "type", "veth"]),
    ("bridge", &["link", "add", "trial", "type", "bridge"]),
    ("macvlan", &["link", "add", "trial", "link", "lower", "type", "macvlan", "mode", "bridge"]),
    ("ipvlan", &["link", "add", "trial", "link", "lower", "type", "ipvlan", "mode", "l2"]),
    ("vxlan", &["link", "add", "trial", "type", "vxlan", "id", "1", "dstport", "4789"]),
    ("geneve", &["link", "add", "trial", "type", "geneve", "id", "1", "remote", "127.0.0.2"]),
    ("ipip", &["link", "add", "trial", "type", "ipip", "local", "127.0.0.1", "remote", "127.0.0.2"]),
    ("gre", &["link", "add", "trial", "type", "gre", "local", "127.0.0.1", "remote", "127.0.0.2"]),
    ("vlan", &["link", "add", "trial", "link", "lower", "type", "vlan", "id", "10"]),
    ("wireguard", &["link", "add", "trial", "type", "wireguard"]),
    ("netkit", &["link", "add", "trial", "type", "netkit"]),
    ("ifb", &["link", "add", "trial", "type", "ifb"]),
    ("tun", &["tuntap", "add", "dev", "trial", "mode", "tun"]),
];

impl Need {
    /// Why it is missing here, in a sentence; none if it is there.
    pub fn missing(self, lab: &Lab) -> anyhow::Result<Option<String>> {
        match self {
            Self::Program(program, package) => Ok(program::find_system(program)
                .is_none()
                .then(|| format!("`{program}` is not installed (Debian: apt-get install {package})"))),
            Self::Docker => Ok(docker::missing()),
            Self::Cni(plugin) => Ok(cni::missing(plugin)),
            Self::Guest => Ok(guest::missing()),
            Self::Device(kind) => has_device(lab, kind),
            Self::Kernel(what, words) => {
                let done = Namespace::new(lab, "trial")?.run(words[0], &words[1..]);
                signal::check()?;
                Ok(done.is_err().then(|| format!("this kernel has no {what}")))
            }
        }
    }
}

/// Makes a device of this kind in a scratch namespace; its module is loaded where there is one.
fn has_device(lab: &Lab, kind: &str) -> anyhow::Result<Option<String>> {
    let scratch = Namespace::new(lab, "trial")?;
    scratch.ip(&["link", "add", "lower", "type", "veth", "peer", "name", "other"])?;
    // Most kinds are loaded when they are asked for; tun has no device file before.
    if let Some(modprobe) = program::find_system("modprobe") {
        let mut command = Command::new(modprobe);
        command.arg("--quiet").arg(kind);
        let _ = process::run(command, LOAD_LIMIT, true);
        signal::check()?;
    }
    let (_, words) = TRIALS.iter().find(|trial| trial.0 == kind).context("no trial of such a device is known")?;
    let made = scratch.ip(words);
    signal::check()?;
    Ok(made
        .is_err()
        .then(|| format!("this kernel has no {kind} devices (module `{kind}` is neither built in nor loadable)")))
}

/// Why this machine lacks one of `needs`, the first that is missing.
pub fn missing(needs: &[Need], lab: &Lab) -> anyhow::Result<Option<String>> {
    for need in needs {
        if let Some(reason) = need.missing(lab)? {
            let hint = if matches!(need, Need::Device(_) | Need::Kernel(..)) { HINT } else { "" };
            return Ok(Some(format!("{reason}{hint}")));
        }
    }
    Ok(None)
}
