//! The modes of the lab: the only list of them.

use serde::Serialize;

use super::{
    needs::Need::{self, Cni, Device, Docker, Guest, Program},
    networks::{Build, cni, docker, guest, local},
};
use crate::failure::Failure;

/// A way to connect a client and a server.
#[derive(Debug, Serialize)]
pub struct Mode {
    /// Name on the command line.
    pub name: &'static str,
    /// What it is, in one line.
    pub text: &'static str,
    /// The devices between client and server, in order.
    pub chain: &'static [&'static str],
    /// Layers that a recording of it shows, each with the device it is charged to ("" where there is none, or where
    /// its name is the engine's choice).
    pub layers: &'static [(&'static str, &'static str)],
    /// What it needs of the machine.
    pub needs: &'static [Need],
    /// Builds it.
    #[serde(skip)]
    pub build: Build,
}

impl Mode {
    /// Whether it needs Docker.
    pub fn docker(&self) -> bool {
        self.needs.contains(&Docker)
    }
}

const IP: Need = Program("ip", "iproute2");

/// All modes.
pub const MODES: &[Mode] = &[
    Mode {
        name: "host",
        text: "client and server share one network namespace of the lab's own and talk over its loopback, so that \
               nothing of the host is touched",
        chain: &["client", "lo", "server"],
        layers: &[("loopback", "lo"), ("backlog", "lo")],
        needs: &[IP],
        build: local::host,
    },
    Mode {
        name: "bridge",
        text: "client and server in a namespace each, joined by veth pairs to a Linux bridge in a third",
        chain: &["client", "eth0", "veth-client", "br0", "veth-server", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", "veth-client"), ("bridge", "br0")],
        needs: &[IP, Device("veth"), Device("bridge")],
        build: local::bridge,
    },
    Mode {
        name: "docker-host",
        text: "two containers with `--network host` of a private Docker daemon; the host is a namespace of the lab's own",
        chain: &["client", "lo", "server"],
        layers: &[("loopback", "lo"), ("backlog", "lo")],
        needs: &[IP, Docker],
        build: docker::host,
    },
    Mode {
        name: "docker-bridge",
        text: "two containers on the default bridge of a private Docker daemon, with Docker's own netfilter rules",
        chain: &["client", "eth0", "veth…", "docker0", "veth…", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", ""), ("bridge", "docker0")],
        needs: &[IP, Docker],
        build: docker::bridge,
    },
    Mode {
        name: "docker-container",
        text: "the client's container joins the network namespace of the server's (`--network container:`)",
        chain: &["client", "lo", "server"],
        layers: &[("loopback", "lo"), ("backlog", "lo")],
        needs: &[IP, Docker],
        build: docker::shared,
    },
    Mode {
        name: "docker-macvlan",
        text: "two containers on Docker's macvlan in bridge mode; a veth end stands for the network card",
        chain: &["client", "eth0", "card0", "eth0", "server"],
        layers: &[("macvlan", "eth0"), ("backlog", "card0")],
        needs: &[IP, Docker, Device("macvlan")],
        build: docker::macvlan,
    },
    Mode {
        name: "docker-nat",
        text: "two hosts, a private Docker daemon each: from a container, masqueraded, to a published port of the \
               other host, translated, to a container there",
        chain: &["client", "eth0", "veth…", "docker0", "eth0", "eth0", "docker0", "veth…", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", "eth0"), ("bridge", "docker0"), ("ip", "eth0")],
        needs: &[IP, Docker],
        build: docker::nat,
    },
    Mode {
        name: "docker-overlay",
        text: "two hosts, a private Docker daemon each, are one swarm; a container on each, on an overlay network",
        chain: &[
            "client", "eth0", "veth…", "br0", "vxlan0", "eth0", "eth0", "vxlan0", "br0", "veth…", "eth0", "server",
        ],
        layers: &[("veth", "eth0"), ("bridge", "br0"), ("vxlan", "vxlan0"), ("ip", "eth0"), ("backlog", "vxlan0")],
        needs: &[IP, Docker, Device("vxlan")],
        build: docker::overlay,
    },
    Mode {
        name: "cni-bridge",
        text: "two containers on the bridge of the CNI plugin `bridge`, with its rules for masquerading",
        chain: &["client", "eth0", "veth…", "cni0", "veth…", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", ""), ("bridge", "cni0")],
        needs: &[IP, Cni("bridge")],
        build: cni::bridge,
    },
    Mode {
        name: "cni-ptp",
        text: "two containers, each with a veth pair of the CNI plugin `ptp` to the node, which routes between them",
        chain: &["client", "eth0", "veth…", "veth…", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", ""), ("ip", "")],
        needs: &[IP, Cni("ptp")],
        build: cni::ptp,
    },
    Mode {
        name: "cni-macvlan",
        text: "two containers on the macvlan of the CNI plugin of that name; a veth end stands for the network card",
        chain: &["client", "eth0", "card0", "eth0", "server"],
        layers: &[("macvlan", "eth0"), ("backlog", "card0")],
        needs: &[IP, Cni("macvlan"), Device("macvlan")],
        build: cni::macvlan,
    },
    Mode {
        name: "vm-bridge",
        text: "the client in an emulated guest, whose virtio network card is a tap device on a Linux bridge; the \
               device model is a program of the host",
        chain: &["client", "eth0", "tap0", "br0", "veth-server", "eth0", "server"],
        layers: &[("tun", "tap0"), ("bridge", "br0"), ("veth", "veth-server"), ("backlog", "eth0")],
        needs: &[IP, Guest, Device("bridge"), Device("tun")],
        build: guest::bridge,
    },
];

/// The mode of this name; an unknown name is wrong usage.
pub fn find(name: &str) -> Result<&'static Mode, Failure> {
    MODES.iter().find(|mode| mode.name == name).ok_or_else(|| {
        let known: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
        Failure::Usage(format!("unknown mode `{name}`; known: {}", known.join(", ")))
    })
}

/// The list for people.
pub fn text() -> String {
    let mut out = String::new();
    for mode in MODES {
        out.push_str(&format!("{:<20} {}\n{:<20}   {}\n", mode.name, mode.text, "", mode.chain.join(" ─ ")));
    }
    out
}

/// The list for programs: `netstrata.lab/1`.
pub fn json() -> serde_json::Value {
    let mut modes = serde_json::json!(MODES);
    for (row, mode) in modes.as_array_mut().into_iter().flatten().zip(MODES) {
        row["docker"] = mode.docker().into();
    }
    serde_json::json!({ "schema": "netstrata.lab/1", "modes": modes })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use netstrata_common::Layer;

    use super::*;

    #[test]
    fn unknown_modes_are_refused_with_the_known_ones() {
        let failure = find("overlay9").unwrap_err();
        assert_eq!(failure.code(), 2);
        for mode in MODES {
            assert!(failure.to_string().contains(mode.name), "{failure}");
        }
    }

    #[test]
    fn names_are_unique_and_every_chain_leads_from_client_to_server() {
        for (index, mode) in MODES.iter().enumerate() {
            assert!(MODES[..index].iter().all(|other| other.name != mode.name), "{} is there twice", mode.name);
            assert_eq!((mode.chain.first(), mode.chain.last()), (Some(&"client"), Some(&"server")), "{}", mode.name);
            assert!(text().contains(mode.name));
        }
        assert_eq!(json()["schema"], "netstrata.lab/1");
        assert_eq!(json()["modes"][0]["docker"], false);
    }

    #[test]
    fn layers_of_modes_are_known_ones() {
        for mode in MODES {
            assert!(!mode.layers.is_empty(), "{}", mode.name);
            for (layer, _) in mode.layers {
                assert!(Layer::from_name(layer).is_some_and(Layer::is_datapath), "{}: {layer}", mode.name);
            }
        }
    }
}
