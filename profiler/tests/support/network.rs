//! Namespaces that are joined; gone when dropped.

use std::{
    fs::File,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    sync::atomic::{AtomicU32, Ordering},
    thread::{self, JoinHandle},
};

use super::{command, run};

/// How the two sides are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Both are one namespace, over its loopback.
    Host,
    /// Not at all.
    Apart,
    /// client left — right server.
    Pair,
    /// client eth0 — veth-client, br0, veth-server — server eth0.
    Bridge,
}

/// A network of its own with two sides, `client` and `server`.
pub struct Network {
    prefix: String,
    way: Way,
}

impl Network {
    /// Both sides on one loopback.
    pub fn host() -> Self {
        let network = Self::named(Way::Host);
        network.add("client");
        network
    }

    /// Two sides that nothing joins yet.
    pub fn apart() -> Self {
        let network = Self::named(Way::Apart);
        network.add("client");
        network.add("server");
        network
    }

    /// Two sides, the ends of a veth pair: `left` of the client, `right` of the server.
    pub fn pair() -> Self {
        let network = Self::named(Way::Pair);
        network.add("client");
        network.add("server");
        let server = network.namespace("server");
        network.ip("client", &format!("link add left type veth peer name right netns {server}"));
        for (side, device, address) in [("client", "left", "10.203.0.2/24"), ("server", "right", "10.203.0.3/24")] {
            network.ip(side, &format!("addr add {address} dev {device}"));
            network.ip(side, &format!("link set {device} up"));
        }
        network
    }

    /// Two sides at a bridge in a third namespace, `middle`.
    pub fn bridge() -> Self {
        let network = Self::named(Way::Bridge);
        for side in ["middle", "client", "server"] {
            network.add(side);
        }
        network.ip("middle", "link add br0 type bridge");
        network.quieten("middle", "br0");
        network.ip("middle", "link set br0 up");
        for (side, address) in [("client", "10.203.0.2/24"), ("server", "10.203.0.3/24")] {
            let (name, port) = (network.namespace(side), format!("veth-{side}"));
            network.ip("middle", &format!("link add {port} type veth peer name eth0 netns {name}"));
            network.quieten("middle", &port);
            network.ip("middle", &format!("link set {port} master br0 up"));
            network.quieten(side, "eth0");
            network.ip(side, &format!("addr add {address} dev eth0"));
            network.ip(side, "link set eth0 up");
        }
        network
    }

    fn named(way: Way) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { prefix: format!("nstest-{}-{number}", std::process::id()), way }
    }

    /// Makes the namespace of a side.
    pub fn add(&self, side: &str) {
        run(&["ip", "netns", "add", &self.namespace(side)]);
        self.ip(side, "link set lo up");
    }

    /// Runs `ip` for the namespace of a side.
    pub fn ip(&self, side: &str, words: &str) {
        let name = self.namespace(side);
        run(&["ip", "-n", &name].into_iter().chain(words.split(' ')).collect::<Vec<_>>());
    }

    /// Without an IPv6 address a device sends nothing by itself.
    fn quieten(&self, side: &str, device: &str) {
        // Not every kernel has IPv6.
        let _ = command(&["ip", "-n", &self.namespace(side), "link", "set", device, "addrgenmode", "none"]).output();
    }

    /// Removes the namespace of a side.
    pub fn remove(&self, side: &str) {
        run(&["ip", "netns", "del", &self.namespace(side)]);
    }

    /// Name of the namespace of a side, and of `middle` between them.
    pub fn namespace(&self, side: &str) -> String {
        format!("{}-{}", self.prefix, if self.way == Way::Host { "client" } else { side })
    }

    /// The namespace's file.
    pub fn path(&self, side: &str) -> String {
        format!("/run/netns/{}", self.namespace(side))
    }

    /// The namespace's number.
    pub fn inode(&self, side: &str) -> u32 {
        std::fs::metadata(self.path(side)).unwrap().ino() as u32
    }

    /// Words that run a program in a namespace. Not `ip netns exec`, which hides the mounts below `/sys`.
    pub fn enter<Word: AsRef<str>>(&self, side: &str, words: &[Word]) -> Vec<String> {
        let mut all = vec!["nsenter".to_owned(), format!("--net={}", self.path(side))];
        all.extend(words.iter().map(|word| word.as_ref().to_owned()));
        all
    }

    /// Runs a program in a namespace.
    pub fn run(&self, side: &str, words: &[&str]) -> String {
        run(&self.enter(side, words))
    }

    /// Does something in the namespace of a side.
    pub fn inside<T: Send + 'static>(&self, side: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        inside(&self.path(side), work)
    }

    /// Where the server listens.
    pub fn address(&self) -> &'static str {
        if self.way == Way::Host { "127.0.0.1" } else { "10.203.0.3" }
    }
}

/// Does something in a namespace, in a thread of its own.
pub fn inside<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let namespace = File::open(namespace).unwrap();
    thread::spawn(move || {
        // SAFETY: affects this thread only, which ends after the work.
        let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(result, 0, "cannot enter the namespace");
        work()
    })
}

/// Removes what runs that were killed left.
fn sweep() {
    remove(|name| {
        let owner = name.strip_prefix("nstest-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        owner.is_some_and(|owner| !std::path::Path::new(&format!("/proc/{owner}")).exists())
    });
}

/// Removes the namespaces with such names.
fn remove(is_meant: impl Fn(&str) -> bool) {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_meant(&name) {
            // Another test may be as fast.
            let _ = command(&["ip", "netns", "del", &name]).output();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(|name| name.starts_with(&format!("{}-", self.prefix)));
    }
}
