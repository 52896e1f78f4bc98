//! Workloads and who drives them: the built-in workers, iperf3 and sockperf.

use std::{
    fs,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    cleanup::Session,
    networks::{Network, Place},
    process::{Process, find_program},
    signal, worker_program,
    workload::{BUILTIN, Builtin, GRACE},
};
use crate::{
    cli::{LabRunArgs, Pin},
    failure::Failure,
    profile::{
        Benchmark,
        benchmark::{self, WorkerReport},
    },
};

/// Programs of others that the lab can drive.
pub const EXTERNAL_PROGRAMS: &[&str] = &["iperf3", "sockperf"];
/// The port of the first pair.
pub const PORT: u16 = 5201;
const READY_LIMIT: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_millis(300);

/// What drives the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The lab's own workers.
    Builtin(Builtin),
    /// iperf3, a TCP stream.
    Iperf3,
    /// sockperf ping-pong over TCP.
    Sockperf,
    /// sockperf throughput over TCP.
    SockperfThroughput,
}

/// What one run of the traffic gave.
#[derive(Clone, Debug)]
pub struct Driven {
    /// What it measured.
    pub benchmark: Benchmark,
    /// The client's command.
    pub command: Vec<String>,
    /// Reports of client and server (built-in workloads).
    pub reports: Option<(WorkerReport, WorkerReport)>,
}

impl Driver {
    /// The workload of this name, if its program is installed and it can do what is asked.
    pub fn find(args: &LabRunArgs) -> anyhow::Result<Self> {
        let name = args.workload.as_str();
        let driver = match name {
            "iperf3" => Self::Iperf3,
            "sockperf" => Self::Sockperf,
            "sockperf-throughput" => Self::SockperfThroughput,
            _ => match Builtin::find(name) {
                Some(builtin) => Self::Builtin(builtin),
                None => {
                    let known: Vec<&str> = BUILTIN.iter().map(|entry| entry.0).collect();
                    bail!(Failure::Usage(format!(
                        "unknown workload `{name}`; known: {}, iperf3, sockperf, sockperf-throughput",
                        known.join(", ")
                    )));
                }
            },
        };
        if args.pin != Pin::None && !matches!(driver, Self::Builtin(_)) {
            bail!(Failure::Usage(format!("--pin works with the built-in workloads, not with {name}")));
        }
        if let Self::Builtin(builtin) = driver
            && args.size.is_some_and(|size| !(1..=builtin.largest_size()).contains(&size))
        {
            let largest = builtin.largest_size();
            bail!(Failure::Usage(format!("--size of {name} lies within 1 and {largest} bytes")));
        }
        if let Some(program) = driver.program() {
            if find_program(program).is_none() {
                bail!(Failure::Refused(format!("{program} is not installed (Debian: apt-get install {program})")));
            }
            if program == "sockperf" && args.pairs > 1 {
                bail!(Failure::Usage("sockperf drives one pair; use --pairs 1 or a built-in workload".into()));
            }
        }
        Ok(driver)
    }

    fn program(self) -> Option<&'static str> {
        match self {
            Self::Builtin(_) => None,
            Self::Iperf3 => Some("iperf3"),
            Self::Sockperf | Self::SockperfThroughput => Some("sockperf"),
        }
    }

    /// Bytes of one message.
    pub fn size(self, args: &LabRunArgs) -> u64 {
        args.size.unwrap_or(match self {
            Self::Builtin(builtin) => builtin.default_size(),
            Self::Iperf3 => 131_072,
            Self::Sockperf => 64,
            Self::SockperfThroughput => 1400,
        })
    }

    /// The words of server and client.
    fn words(self, args: &LabRunArgs, network: &Network, duration: Duration) -> anyhow::Result<[Vec<String>; 2]> {
        let (size, pairs) = (self.size(args).to_string(), args.pairs.to_string());
        let target = network.target(PORT);
        let (port, address) = (PORT.to_string(), network.address.to_string());
        let (target_port, target_address) = (target.port().to_string(), target.ip().to_string());
        // Both programs take whole seconds.
        let seconds = duration.as_secs_f64().ceil().to_string();
        let program = match self.program() {
            Some(name) => find_program(name).with_context(|| format!("{name} is not installed"))?,
            None => worker_program()?,
        };
        let program = program.to_str().context("the program's path is not UTF-8")?.to_owned();
        let milliseconds = format!("{}ms", duration.as_millis().max(1));
        let [listen, connect] = [SocketAddrV4::new(network.address, PORT), target].map(|socket| socket.to_string());
        let patience = format!("{}ms", network.client.patience().as_millis());
        let (server, client): (Vec<&str>, Vec<&str>) = match self {
            Self::Builtin(_) => {
                let common =
                    ["--workload", &args.workload, "--size", &size, "--pairs", &pairs, "--duration", &milliseconds];
                let side = |option, socket, cpu: &'static [&'static str]| {
                    [&["lab", "worker", option, socket][..], &common, cpu].concat()
                };
                let (server, client): (&[&str], &[&str]) = match args.pin {
                    Pin::None => (&[], &[]),
                    Pin::Same => (&["--cpu", "0"], &["--cpu", "0"]),
                    Pin::Different => (&["--cpu", "1"], &["--cpu", "0"]),
                };
                let mut sides = [side("--listen", &listen, server), side("--connect", &connect, client)];
                if !network.client.patience().is_zero() {
                    sides.iter_mut().for_each(|words| words.extend(["--patience", patience.as_str()]));
                }
                sides.into()
            }
            Self::Iperf3 => (
                vec!["-s", "-1", "-J", "-p", &port],
                vec!["-c", &target_address, "-p", &target_port, "-t", &seconds, "-J", "-P", &pairs, "-l", &size],
            ),
            Self::Sockperf | Self::SockperfThroughput => {
                let test = if self == Self::Sockperf { "ping-pong" } else { "throughput" };
                let client = [test, "--tcp", "-i", &target_address, "-p", &target_port, "-t", &seconds, "-m", &size];
                (vec!["server", "--tcp", "-i", &address, "-p", &port], client.to_vec())
            }
        };
        Ok([server, client].map(|words| std::iter::once(program.as_str()).chain(words).map(str::to_owned).collect()))
    }

    /// Drives the traffic once: server, client, both reports.
    fn drive_for(
        self,
        args: &LabRunArgs,
        session: &Session,
        network: &Network,
        duration: Duration,
    ) -> anyhow::Result<Driven> {
        let running = self.start_server(args, session, network, duration)?;
        running.drive(args, session, network, duration)
    }

    /// Starts a server and waits until it listens.
    fn start_server(
        self,
        args: &LabRunArgs,
        session: &Session,
        network: &Network,
        duration: Duration,
    ) -> anyhow::Result<Server> {
        let [words, _] = self.words(args, network, duration)?;
        let mut process = network.server.spawn(session, &words).context("cannot start the server")?;
        match self {
            Self::Builtin(_) => process.wait_line("ready", READY_LIMIT)?,
            _ => wait_listening(&mut process, network.server.as_ref(), PORT)?,
        }
        Ok(Server { driver: self, process })
    }

    /// Runs the same traffic for a short time: caches, neighbour entries, bridge learning, frequency.
    pub fn warm_up(self, args: &LabRunArgs, session: &Session, network: &Network) -> anyhow::Result<()> {
        self.drive_for(args, session, network, WARM_UP).map(drop).context("warm-up")
    }

    /// Starts the server of a measured run.
    pub fn serve(self, args: &LabRunArgs, session: &Session, network: &Network) -> anyhow::Result<Server> {
        self.start_server(args, session, network, args.duration)
    }
}

/// A server that listens.
pub struct Server {
    driver: Driver,
    process: Process,
}

impl Server {
    /// Runs the client and waits for both.
    pub fn drive(
        self,
        args: &LabRunArgs,
        session: &Session,
        network: &Network,
        duration: Duration,
    ) -> anyhow::Result<Driven> {
        let [_, words] = self.driver.words(args, network, duration)?;
        let limit = duration + GRACE + Duration::from_secs(2) + network.client.patience();
        let client = network.client.spawn(session, &words).context("cannot start the client")?;
        let said = client.finish(limit, true).context("the client of the workload");
        if said.is_err() {
            network.client.sweep();
            network.server.sweep();
        }
        let said = said?;
        let result = match self.driver {
            Driver::Builtin(builtin) => {
                let heard = self.process.finish(GRACE, true).context("the server of the workload")?;
                let client = WorkerReport::find(&said).context("the client printed no report")?;
                let server = WorkerReport::find(&heard).context("the server printed no report")?;
                combine(builtin, words, client, server)
            }
            _ => {
                drop(self.process);
                network.server.sweep();
                let benchmark = benchmark::parse(&words, &said)
                    .with_context(|| format!("cannot read what {} printed", words[0]))?;
                Driven { benchmark, command: words, reports: None }
            }
        };
        Ok(result)
    }
}

/// Round trips are the client's, bytes are the receiver's.
fn combine(builtin: Builtin, command: Vec<String>, client: WorkerReport, server: WorkerReport) -> Driven {
    let benchmark = match builtin {
        Builtin::TcpRr | Builtin::UdpRr => client.benchmark(),
        Builtin::TcpStream | Builtin::UdpStream => Benchmark { retransmits: client.retransmits, ..server.benchmark() },
    };
    Driven { benchmark, command, reports: Some((client, server)) }
}

/// Waits until a TCP socket listens on `port` in the network namespace of the server.
fn wait_listening(server: &mut Process, place: &dyn Place, port: u16) -> anyhow::Result<()> {
    let pid = place.inside(server.id());
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        signal::check()?;
        let tables =
            ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
        if tables.iter().any(|table| listens(table, port)) {
            return Ok(());
        }
        if server.ended() {
            bail!(server.reason());
        }
        if Instant::now() > deadline {
            bail!("the server did not listen within {READY_LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether `/proc/PID/net/tcp` has a listening socket (state 0A) on `port`.
fn listens(table: &str, port: u16) -> bool {
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields.len() > 3 && fields[1].ends_with(&suffix) && fields[3] == "0A"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_seen() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                     0: 0100007F:1451 00000000:0000 0A 00000000:00000000\n\
                     1: 0100007F:1452 0100007F:9999 01 00000000:00000000\n";
        assert!(listens(table, 5201));
        assert!(!listens(table, 5202));
    }

    #[test]
    fn unknown_workloads_and_sizes_are_wrong_usage() {
        let find = |workload: &str, size| {
            let args = LabRunArgs { workload: workload.into(), size, pairs: 1, ..LabRunArgs::default() };
            Driver::find(&args).map_err(|error| crate::failure::exit_code(&error))
        };
        assert_eq!(find("ftp", None), Err(2));
        assert_eq!(find("udp-rr", Some(70_000)), Err(2));
        assert_eq!(find("tcp-rr", Some(1)), Ok(Driver::Builtin(Builtin::TcpRr)));
    }
}
