//! Workloads: the built-in ones and the programs of others, with their options and their words.

use std::{net::SocketAddrV4, ops::RangeInclusive, time::Duration};

use anyhow::{Context as _, bail};

use super::{
    networks::Network,
    workload::{BUILTIN, Builtin},
};
use crate::{
    choices::Neighbour,
    cli::{LabRunArgs, Pin},
    failure::Failure,
    host::program,
};

/// Programs of others that the lab can drive.
pub const EXTERNAL_PROGRAMS: &[&str] = &["iperf3", "sockperf"];
/// The port of the first pair.
pub const PORT: u16 = 5201;
const FLOW_BYTES: u64 = 5_000_000;
const ELEPHANT_BYTES: u64 = 50_000_000;

/// A workload that a program of others drives.
#[derive(Debug, PartialEq, Eq)]
pub struct External {
    /// Name on the command line.
    pub name: &'static str,
    /// The program.
    pub program: &'static str,
    /// Whether it sends datagrams.
    pub udp: bool,
    /// What sockperf is to do; none for iperf3.
    test: Option<&'static str>,
    default_size: u64,
    sizes: RangeInclusive<u64>,
}

/// All of them.
pub const EXTERNAL: &[External] = &[
    External { name: "iperf3", program: "iperf3", udp: false, test: None, default_size: 131_072, sizes: 4..=1_048_576 },
    External { name: "iperf3-udp", program: "iperf3", udp: true, test: None, default_size: 1400, sizes: 16..=65_507 },
    External {
        name: "sockperf",
        program: "sockperf",
        udp: false,
        test: Some("ping-pong"),
        default_size: 64,
        sizes: 14..=65_507,
    },
    External {
        name: "sockperf-udp",
        program: "sockperf",
        udp: true,
        test: Some("ping-pong"),
        default_size: 64,
        sizes: 14..=65_507,
    },
    External {
        name: "sockperf-throughput",
        program: "sockperf",
        udp: false,
        test: Some("throughput"),
        default_size: 1400,
        sizes: 14..=65_507,
    },
];

/// What drives the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The lab's own workers.
    Builtin(Builtin),
    /// A program of others.
    External(&'static External),
}

/// Ports that a run uses, from [`PORT`] on: one for each pair, and one for each flood beside them.
pub fn ports_used(args: &LabRunArgs) -> u32 {
    let floods = args.neighbours.iter().filter(|neighbour| **neighbour == Neighbour::UdpFlood).count();
    args.pairs + floods as u32
}

impl Driver {
    /// The workload of this name, if its program is installed and it can do what is asked.
    pub fn find(args: &LabRunArgs) -> anyhow::Result<Self> {
        let name = args.workload.as_str();
        let external = EXTERNAL.iter().find(|external| external.name == name).map(Self::External);
        let Some(driver) = Builtin::find(name).map(Self::Builtin).or(external) else {
            let known = BUILTIN.iter().map(|entry| entry.0).chain(EXTERNAL.iter().map(|external| external.name));
            let known = known.collect::<Vec<_>>().join(", ");
            bail!(Failure::Usage(format!("unknown workload `{name}`; known: {known}")));
        };
        driver.check(args)?;
        Ok(driver)
    }

    fn check(self, args: &LabRunArgs) -> Result<(), Failure> {
        let name = &args.workload;
        let sizes = self.sizes();
        if let Some(size) = args.size.iter().find(|size| !sizes.contains(size)) {
            let (least, most) = (sizes.start(), sizes.end());
            return Err(Failure::Usage(format!(
                "--size of {name} lies within {least} and {most} bytes, and {size} does not"
            )));
        }
        let flows = args.flow_size.is_some() || args.elephants.is_some() || args.elephant_size.is_some();
        if flows && self != Self::Builtin(Builtin::Fct) {
            return Err(Failure::Usage(format!(
                "--flow-size, --elephants and --elephant-size belong to --workload fct, not to {name}"
            )));
        }
        if args.elephant_size.is_some() && args.elephants.is_none() {
            return Err(Failure::Usage("--elephant-size needs --elephants SHARE, like --elephants 20%".into()));
        }
        let Self::External(external) = self else { return Ok(()) };
        let program = external.program;
        if args.pin != Pin::None {
            return Err(Failure::Usage(format!("--pin works with the built-in workloads, not with {name}")));
        }
        if program::find_system(program).is_none() {
            return Err(Failure::Refused(format!("{program} is not installed (Debian: apt-get install {program})")));
        }
        if program == "sockperf" && args.pairs > 1 {
            return Err(Failure::Usage("sockperf drives one pair; use --pairs 1 or a built-in workload".into()));
        }
        Ok(())
    }

    fn sizes(self) -> RangeInclusive<u64> {
        match self {
            Self::Builtin(builtin) => 1..=builtin.largest_size(),
            Self::External(external) => external.sizes.clone(),
        }
    }

    /// Bytes of one message: the sizes that are asked for, or the workload's own.
    pub fn message_sizes(self, args: &LabRunArgs) -> Vec<u64> {
        if !args.size.is_empty() {
            return args.size.clone();
        }
        vec![match self {
            Self::Builtin(builtin) => builtin.default_size(),
            Self::External(external) => external.default_size,
        }]
    }

    /// What a run may take beyond its duration.
    pub fn grace(self) -> Duration {
        match self {
            Self::Builtin(builtin) => builtin.grace(),
            // They take whole seconds, and wait for each other.
            Self::External(_) => Builtin::TcpStream.grace(),
        }
    }

    /// The words of server and client.
    pub fn words(self, args: &LabRunArgs, network: &Network, duration: Duration) -> anyhow::Result<[Vec<String>; 2]> {
        let size = self.message_sizes(args).first().copied().unwrap_or_default().to_string();
        let pairs = args.pairs.to_string();
        let target = network.target(PORT);
        let program = match self {
            Self::External(external) => program::find_system(external.program)
                .with_context(|| format!("{} is not installed", external.program))?,
            Self::Builtin(_) => program::netstrata()?,
        };
        let program = program.to_str().context("the program's path is not UTF-8")?.to_owned();
        let [server, client] = match self {
            Self::Builtin(builtin) => {
                let listen = SocketAddrV4::new(network.address, PORT).to_string();
                let mut common: Vec<String> =
                    ["--workload", &args.workload, "--size", &size, "--pairs", &pairs, "--duration"]
                        .map(str::to_owned)
                        .into();
                common.push(format!("{}ms", duration.as_millis().max(1)));
                if builtin == Builtin::Fct {
                    let elephant = args.elephant_size.unwrap_or(ELEPHANT_BYTES);
                    common.extend(["--flow-size".into(), args.flow_size.unwrap_or(FLOW_BYTES).to_string()]);
                    common.extend(["--elephant-size".into(), elephant.to_string()]);
                    common.extend(["--elephants".into(), args.elephants.unwrap_or(0.0).to_string()]);
                }
                let patience = network.client.patience();
                if !patience.is_zero() {
                    common.extend(["--patience".into(), format!("{}ms", patience.as_millis())]);
                }
                let (server, client): (&[&str], &[&str]) = match args.pin {
                    Pin::None => (&[], &[]),
                    Pin::Same => (&["--cpu", "0"], &["--cpu", "0"]),
                    Pin::Different => (&["--cpu", "1"], &["--cpu", "0"]),
                };
                [("--listen", listen, server), ("--connect", target.to_string(), client)].map(|(side, socket, cpu)| {
                    let words = ["lab", "worker", side, &socket].map(str::to_owned);
                    words.into_iter().chain(common.clone()).chain(cpu.iter().map(|word| (*word).to_owned())).collect()
                })
            }
            Self::External(external) => external.words(&size, &pairs, network, target, duration),
        };
        Ok([server, client].map(|words: Vec<String>| std::iter::once(program.clone()).chain(words).collect()))
    }
}

impl External {
    fn words(
        &self,
        size: &str,
        pairs: &str,
        network: &Network,
        target: SocketAddrV4,
        duration: Duration,
    ) -> [Vec<String>; 2] {
        let (port, address) = (PORT.to_string(), network.address.to_string());
        let (target_port, target_address) = (target.port().to_string(), target.ip().to_string());
        // Both programs take whole seconds.
        let seconds = duration.as_secs_f64().ceil().to_string();
        let words: [Vec<&str>; 2] = match self.test {
            None => {
                // As fast as the socket takes it, not iperf3's own 1 Mbit/s.
                let udp: &[&str] = if self.udp { &["-u", "-b", "0"] } else { &[] };
                let client = ["-c", &target_address, "-p", &target_port, "-t", &seconds, "-J", "-P", pairs, "-l", size];
                [vec!["-s", "-1", "-J", "-p", &port], [&client, udp].concat()]
            }
            Some(test) => {
                let tcp: &[&str] = if self.udp { &[] } else { &["--tcp"] };
                let server = ["server", "-i", &address, "-p", &port];
                let client = [test, "-i", &target_address, "-p", &target_port, "-t", &seconds, "-m", size];
                [[&server, tcp].concat(), [&client[..], tcp].concat()]
            }
        };
        words.map(|words| words.into_iter().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(workload: &str, change: impl FnOnce(&mut LabRunArgs)) -> Result<Driver, u8> {
        let mut args = LabRunArgs { workload: workload.into(), pairs: 1, ..LabRunArgs::default() };
        change(&mut args);
        Driver::find(&args).map_err(|error| error.downcast::<Failure>().expect("a failure").code())
    }

    #[test]
    fn unknown_workloads_and_sizes_are_wrong_usage() {
        assert_eq!(find("ftp", |_| ()), Err(2));
        assert_eq!(find("udp-rr", |args| args.size = vec![64, 70_000]), Err(2));
        assert_eq!(find("udp-stream", |args| args.size = vec![65_507]), Ok(Driver::Builtin(Builtin::UdpStream)));
        assert_eq!(find("udp-stream", |args| args.size = vec![65_508]), Err(2));
        assert_eq!(find("iperf3-udp", |args| args.size = vec![65_508]), Err(2));
        assert_eq!(find("tcp-rr", |args| args.size = vec![1]), Ok(Driver::Builtin(Builtin::TcpRr)));
    }

    #[test]
    fn options_of_flows_belong_to_flows() {
        assert_eq!(find("tcp-stream", |args| args.elephants = Some(0.2)), Err(2));
        assert_eq!(find("fct", |args| args.elephant_size = Some(1)), Err(2));
        assert_eq!(find("fct", |args| args.elephants = Some(0.2)), Ok(Driver::Builtin(Builtin::Fct)));
    }

    #[test]
    fn names_are_unique_and_programs_are_known() {
        let names: Vec<&str> =
            BUILTIN.iter().map(|entry| entry.0).chain(EXTERNAL.iter().map(|external| external.name)).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name} is there twice");
        }
        assert!(EXTERNAL.iter().all(|external| EXTERNAL_PROGRAMS.contains(&external.program)));
        assert!(EXTERNAL.iter().all(|external| external.sizes.contains(&external.default_size)));
    }

    #[test]
    fn floods_use_ports_behind_the_pairs() {
        let neighbours = vec![Neighbour::UdpFlood, Neighbour::Busy { count: 2, share: None }, Neighbour::UdpFlood];
        assert_eq!(ports_used(&LabRunArgs { pairs: 3, neighbours, ..LabRunArgs::default() }), 5);
    }
}
