//! client eth0 — veth-client, br0, veth-server — server eth0, in three namespaces; gone when dropped.

use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use super::run;

/// A bridge network of its own.
pub struct Network {
    prefix: String,
    /// Whether both sides share the client's namespace and its loopback.
    host: bool,
}

impl Network {
    /// Two sides at a bridge.
    pub fn bridge() -> Self {
        let network = Self::named(false);
        let middle = network.namespace("middle");
        for side in ["middle", "client", "server"] {
            run(&["ip", "netns", "add", &network.namespace(side)]);
            run(&["ip", "-n", &network.namespace(side), "link", "set", "lo", "up"]);
        }
        run(&["ip", "-n", &middle, "link", "add", "br0", "type", "bridge"]);
        network.quieten("middle", "br0");
        run(&["ip", "-n", &middle, "link", "set", "br0", "up"]);
        for (side, address) in [("client", "10.203.0.2/24"), ("server", "10.203.0.3/24")] {
            let (name, port) = (network.namespace(side), format!("veth-{side}"));
            run(&["ip", "-n", &middle, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name]);
            network.quieten("middle", &port);
            run(&["ip", "-n", &middle, "link", "set", &port, "master", "br0", "up"]);
            network.quieten(side, "eth0");
            run(&["ip", "-n", &name, "addr", "add", address, "dev", "eth0"]);
            run(&["ip", "-n", &name, "link", "set", "eth0", "up"]);
        }
        network
    }

    /// Both sides on one loopback.
    pub fn host() -> Self {
        let network = Self::named(true);
        run(&["ip", "netns", "add", &network.namespace("client")]);
        run(&["ip", "-n", &network.namespace("client"), "link", "set", "lo", "up"]);
        network
    }

    fn named(host: bool) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { prefix: format!("nstest-gt-{}-{number}", std::process::id()), host }
    }

    /// Without an IPv6 address a device sends nothing by itself.
    fn quieten(&self, side: &str, device: &str) {
        let name = self.namespace(side);
        let _ = Command::new("ip").args(["-n", &name, "link", "set", device, "addrgenmode", "none"]).output();
    }

    /// Name of the namespace of `client`, `server` or `middle`.
    pub fn namespace(&self, side: &str) -> String {
        format!("{}-{}", self.prefix, if self.host { "client" } else { side })
    }

    /// The namespace's file.
    pub fn path(&self, side: &str) -> String {
        format!("/run/netns/{}", self.namespace(side))
    }

    /// Words that run a program in a namespace. Not `ip netns exec`, which hides the mounts below `/sys`.
    pub fn enter(&self, side: &str, words: &[&str]) -> Vec<String> {
        let mut all = vec!["nsenter".to_owned(), format!("--net={}", self.path(side))];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all
    }

    /// Runs a program in a namespace.
    pub fn run(&self, side: &str, words: &[&str]) -> String {
        let all = self.enter(side, words);
        run(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Where the server listens.
    pub fn address(&self) -> &'static str {
        if self.host { "127.0.0.1" } else { "10.203.0.3" }
    }
}

/// Removes what runs that were killed left.
fn sweep() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("nstest-gt-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !std::path::Path::new(&format!("/proc/{owner}")).exists()) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for side in ["client", "server", "middle"] {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(side)]).output();
        }
    }
}
