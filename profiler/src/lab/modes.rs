//! The modes of the lab: the only list of them.

use serde::Serialize;

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
    /// Whether it needs Docker.
    pub docker: bool,
}

/// All modes.
pub const MODES: &[Mode] = &[
    Mode {
        name: "host",
        text: "client and server share one network namespace of the lab's own and talk over its loopback, so that \
               nothing of the host is touched",
        chain: &["client", "lo", "server"],
        docker: false,
    },
    Mode {
        name: "bridge",
        text: "client and server in a namespace each, joined by veth pairs to a Linux bridge in a third",
        chain: &["client", "eth0", "veth-client", "br0", "veth-server", "eth0", "server"],
        docker: false,
    },
    Mode {
        name: "docker-host",
        text: "two containers with `--network host` of a private Docker daemon; the host is a namespace of the lab's own",
        chain: &["client", "lo", "server"],
        docker: true,
    },
    Mode {
        name: "docker-bridge",
        text: "two containers on the default bridge of a private Docker daemon, with Docker's own netfilter rules",
        chain: &["client", "eth0", "veth…", "docker0", "veth…", "eth0", "server"],
        docker: true,
    },
    Mode { name: "docker-container", text: "t", chain: &["client", "server"], docker: true },
    Mode { name: "docker-macvlan", text: "t", chain: &["client", "server"], docker: true },
    Mode { name: "docker-nat", text: "t", chain: &["client", "server"], docker: true },
    Mode { name: "docker-overlay", text: "t", chain: &["client", "server"], docker: true },
    Mode { name: "cni-bridge", text: "t", chain: &["client", "server"], docker: true },
    Mode { name: "cni-ptp", text: "t", chain: &["client", "server"], docker: true },
    Mode { name: "cni-macvlan", text: "t", chain: &["client", "server"], docker: true },
    Mode { name: "vm-bridge", text: "t", chain: &["client", "server"], docker: true },
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
        out.push_str(&format!("{:<14} {}\n{:<14}   {}\n", mode.name, mode.text, "", mode.chain.join(" ─ ")));
    }
    out
}

/// The list for programs: `netstrata.lab/1`.
pub fn json() -> serde_json::Value {
    serde_json::json!({ "schema": "netstrata.lab/1", "modes": MODES })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn unknown_modes_are_refused_with_the_known_ones() {
        let failure = find("overlay9").unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains("host, bridge, docker-host, docker-bridge"), "{failure}");
    }

    #[test]
    fn every_chain_leads_from_client_to_server() {
        for mode in MODES {
            assert_eq!((mode.chain.first(), mode.chain.last()), (Some(&"client"), Some(&"server")), "{}", mode.name);
            assert!(text().contains(mode.name));
        }
        assert_eq!(json()["schema"], "netstrata.lab/1");
    }
}
