//! The built-in workloads as traffic of a test.

use super::{NETSTRATA, command, network::Network, process::Process};

/// A workload between two sides of a network.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Its name.
    pub workload: &'static str,
    /// Bytes of a message.
    pub size: u32,
    /// How long.
    pub duration: &'static str,
    /// The server's port.
    pub port: u16,
    /// Both sides on CPU 0, so that waking the other CPU is no part of it.
    pub pinned: bool,
}

impl Traffic {
    /// Requests of 64 bytes over TCP.
    pub const REQUESTS: Self = Self { workload: "tcp-rr", size: 64, duration: "600ms", port: 5300, pinned: false };

    fn words(&self, network: &Network, side: &str, role: &str, address: &str) -> Vec<String> {
        let (size, address) = (self.size.to_string(), format!("{address}:{}", self.port));
        // Batch tasks do not preempt each other when they are woken: else the scheduler's choice, which flips from run
        // to run, moves microseconds between the two ends.
        let mut words = if self.pinned { vec!["taskset", "-c", "0", "chrt", "-b", "0"] } else { Vec::new() };
        words.extend([NETSTRATA, "lab", "worker", "--workload", self.workload, "--size", &size]);
        words.extend(["--duration", self.duration, role, &address]);
        network.enter(side, &words)
    }

    /// Starts a server for one client and waits until it listens.
    pub fn serve(&self, network: &Network) -> Process {
        let words = self.words(network, "server", "--listen", network.address());
        Process::saying(&mut command(&words), "ready")
    }

    /// Words that run the client.
    pub fn client(&self, network: &Network) -> Vec<String> {
        self.words(network, "client", "--connect", network.address())
    }

    /// Starts both sides over the loopback of the server's namespace.
    pub fn beside_the_server(&self, network: &Network) -> [Process; 2] {
        let words = |role| self.words(network, "server", role, "127.0.0.1");
        let server = Process::saying(&mut command(&words("--listen")), "ready");
        [server, Process::quiet(&mut command(&words("--connect")))]
    }
}
