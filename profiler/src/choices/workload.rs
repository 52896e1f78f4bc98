//! Workloads: the built-in ones and those that programs of others drive. Command line, help and lab read this table.

use std::{ops::RangeInclusive, time::Duration};

/// What a built-in workload may take beyond its duration.
const GRACE: Duration = Duration::from_secs(30);
/// The same where flows are completed that began within it.
const FLOW_GRACE: Duration = Duration::from_secs(90);

/// Bytes of one flow where none are asked for.
pub const FLOW_BYTES: u64 = 5_000_000;
/// Bytes of an elephant where none are asked for.
pub const ELEPHANT_BYTES: u64 = 50_000_000;

/// How a workload loads a network, which decides the size of its messages where none is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Bytes over TCP.
    Bytes,
    /// Messages in one direction, each of them whole.
    Messages,
    /// A request, its answer, and again.
    Requests,
}

impl Traffic {
    const ALL: [Self; 3] = [Self::Bytes, Self::Messages, Self::Requests];

    /// Bytes of one message.
    const fn default_size(self) -> u64 {
        match self {
            Self::Bytes => 131_072,
            Self::Messages => 1400,
            Self::Requests => 64,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "TCP streams and flows",
            Self::Messages => "UDP streams",
            Self::Requests => "request/response",
        }
    }
}

/// A built-in workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// One direction, as fast as TCP takes it.
    TcpStream,
    /// Request and answer over TCP, one at a time.
    TcpRr,
    /// Connect, request, answer, close.
    TcpCrr,
    /// One direction, as fast as the socket takes datagrams.
    UdpStream,
    /// Request and answer over UDP, one at a time.
    UdpRr,
    /// Flows of given sizes over TCP, one after another, each timed.
    Fct,
    /// Each process sends a message to each other one and reads one of each, over TCP, again and again.
    AllToAll,
}

/// What drives a workload, of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// iperf3.
    Iperf3,
    /// sockperf, and what it is to do.
    Sockperf(&'static str),
    /// wrk asks a web server, nginx.
    Http,
    /// redis-benchmark asks redis-server.
    Redis,
}

/// A program, and Debian's package that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The package.
    pub package: &'static str,
}

const fn program(name: &'static str, package: &'static str) -> Program {
    Program { name, package }
}

impl Tool {
    /// The programs of server and client.
    pub const fn programs(self) -> [Program; 2] {
        match self {
            Self::Iperf3 => [program("iperf3", "iperf3"); 2],
            Self::Sockperf(_) => [program("sockperf", "sockperf"); 2],
            Self::Http => [program("nginx", "nginx"), program("wrk", "wrk")],
            Self::Redis => [program("redis-server", "redis-server"), program("redis-benchmark", "redis-tools")],
        }
    }

    /// Programs that the server's side needs beside its own.
    const fn helpers(self) -> &'static [&'static str] {
        match self {
            // Its configuration is written where it runs.
            Self::Http => &["sh", "mkdir"],
            Self::Iperf3 | Self::Sockperf(_) | Self::Redis => &[],
        }
    }

    /// Whether a run ends after so many requests, and not after a time.
    pub const fn counts_requests(self) -> bool {
        matches!(self, Self::Redis)
    }
}

/// How programs of others drive a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct External {
    /// What drives it.
    pub tool: Tool,
    /// Whether it sends datagrams.
    pub udp: bool,
}

/// What drives the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The lab's own workers.
    Builtin(Builtin),
    /// Programs of others.
    External(External),
}

/// A workload.
#[derive(Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// How it loads a network.
    pub traffic: Traffic,
    /// What drives it.
    pub driver: Driver,
    /// Bytes that a message may have.
    pub sizes: RangeInclusive<u64>,
}

/// The largest message over TCP: what a buffer may take.
const BUFFER: u64 = 64 << 20;
/// The largest message of all-to-all: buffers of sockets take it while nobody reads.
const ALL_TO_ALL: u64 = 16_384;
/// The largest datagram over IPv4.
const DATAGRAM: u64 = 65_507;

const fn builtin(name: &'static str, traffic: Traffic, builtin: Builtin, largest: u64) -> Workload {
    Workload { name, traffic, driver: Driver::Builtin(builtin), sizes: 1..=largest }
}

const fn external(name: &'static str, traffic: Traffic, udp: bool, tool: Tool, sizes: RangeInclusive<u64>) -> Workload {
    Workload { name, traffic, driver: Driver::External(External { tool, udp }), sizes }
}

const fn sockperf(name: &'static str, traffic: Traffic, udp: bool, test: &'static str) -> Workload {
    external(name, traffic, udp, Tool::Sockperf(test), 14..=DATAGRAM)
}

/// The largest page, which is handed to the server's side as a word.
const PAGE: u64 = 100_000;

/// All workloads, the built-in ones first.
pub const WORKLOADS: &[Workload] = &[
    builtin("tcp-stream", Traffic::Bytes, Builtin::TcpStream, BUFFER),
    builtin("tcp-rr", Traffic::Requests, Builtin::TcpRr, BUFFER),
    builtin("tcp-crr", Traffic::Requests, Builtin::TcpCrr, BUFFER),
    builtin("udp-stream", Traffic::Messages, Builtin::UdpStream, DATAGRAM),
    builtin("udp-rr", Traffic::Requests, Builtin::UdpRr, DATAGRAM),
    builtin("fct", Traffic::Bytes, Builtin::Fct, BUFFER),
    builtin("all-to-all", Traffic::Requests, Builtin::AllToAll, ALL_TO_ALL),
    external("iperf3", Traffic::Bytes, false, Tool::Iperf3, 4..=1_048_576),
    external("iperf3-udp", Traffic::Messages, true, Tool::Iperf3, 16..=DATAGRAM),
    sockperf("sockperf", Traffic::Requests, false, "ping-pong"),
    sockperf("sockperf-udp", Traffic::Requests, true, "ping-pong"),
    sockperf("sockperf-throughput", Traffic::Messages, false, "throughput"),
    external("http", Traffic::Requests, false, Tool::Http, 1..=PAGE),
    external("redis", Traffic::Requests, false, Tool::Redis, 1..=BUFFER),
];

/// The workload where none is asked for.
pub const DEFAULT_WORKLOAD: &str = "tcp-stream";

impl Workload {
    /// The workload of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        WORKLOADS.iter().find(|workload| workload.name == name)
    }

    /// The built-in workload of this name.
    pub fn find_builtin(name: &str) -> Option<(&'static Self, Builtin)> {
        let workload = Self::find(name)?;
        match workload.driver {
            Driver::Builtin(builtin) => Some((workload, builtin)),
            Driver::External(_) => None,
        }
    }

    /// Bytes of one message where none are asked for.
    pub fn default_size(&self) -> u64 {
        self.traffic.default_size()
    }

    /// What a run may take beyond its duration.
    pub fn grace(&self) -> Duration {
        match self.driver {
            Driver::Builtin(Builtin::Fct) => FLOW_GRACE,
            // Programs of others take whole seconds, and wait for each other.
            Driver::Builtin(_) | Driver::External(_) => GRACE,
        }
    }
}

impl Builtin {
    /// Whether it sends datagrams.
    pub fn is_udp(self) -> bool {
        match self {
            Self::UdpStream | Self::UdpRr => true,
            Self::TcpStream | Self::TcpRr | Self::TcpCrr | Self::Fct | Self::AllToAll => false,
        }
    }
}

/// Names of the built-in workloads, or of those that programs of others drive.
pub fn workload_names(builtin: bool) -> String {
    let wanted = WORKLOADS.iter().filter(|workload| matches!(workload.driver, Driver::Builtin(_)) == builtin);
    wanted.map(|workload| workload.name).collect::<Vec<_>>().join(", ")
}

/// Default sizes of messages, in words.
pub fn default_sizes() -> String {
    Traffic::ALL.map(|traffic| format!("{} for {}", traffic.default_size(), traffic.name())).join(", ")
}

/// The programs of others, and what these need, each once.
pub fn external_programs() -> Vec<&'static str> {
    let mut found: Vec<&str> = WORKLOADS
        .iter()
        .filter_map(|workload| match workload.driver {
            Driver::External(external) => Some(external.tool),
            Driver::Builtin(_) => None,
        })
        .flat_map(|tool| tool.programs().into_iter().map(|program| program.name).chain(tool.helpers().iter().copied()))
        .collect();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_on_the_page_of_workloads() {
        let page = include_str!("../../../docs/workloads.md");
        let (_, table) = page.split_once("## What is driven").expect("the page has its table");
        let rows: Vec<&str> =
            table.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).collect();
        for workload in WORKLOADS {
            let name = format!("`{}`", workload.name);
            assert!(rows.iter().any(|row| row.split('|').nth(1).is_some_and(|cell| cell.contains(&name))), "{name}");
        }
    }

    #[test]
    fn names_are_unique_and_default_sizes_are_possible() {
        for (index, workload) in WORKLOADS.iter().enumerate() {
            assert!(WORKLOADS[..index].iter().all(|other| other.name != workload.name), "{}", workload.name);
            assert!(workload.sizes.contains(&workload.default_size()), "{}", workload.name);
        }
        assert!(Workload::find(DEFAULT_WORKLOAD).is_some());
        let programs = ["iperf3", "sockperf", "nginx", "wrk", "sh", "mkdir", "redis-server", "redis-benchmark"];
        assert_eq!(external_programs(), programs);
    }
}
