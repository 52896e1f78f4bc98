//! Arguments of the lab.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{FormatArgs, TierArg};
use crate::{
    choices::{self, Clock, ELEPHANT_BYTES, FLOW_BYTES, Kernel, Neighbour, RunsOn, kernel_versions},
    units,
};

/// Commands of the lab.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// List the modes and their chains of devices
    List(FormatArgs),
    /// Build each mode, drive traffic through it, record it, remove it
    Run(LabRunArgs),
    /// Run a command as root in an emulated machine, with a kernel of Debian's and this machine's files
    Machine(LabMachineArgs),
    /// One side of a built-in workload (the lab starts it inside its networks)
    #[command(hide = true)]
    Worker(LabWorkerArgs),
    /// One command in an emulated guest (the lab starts it for modes with a guest)
    #[command(hide = true)]
    Job(LabJobArgs),
}

/// Where client and server of a pair run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Pin {
    /// Where the scheduler puts them.
    #[default]
    None,
    /// Both on one CPU: round trips without wake-ups across CPUs, which vary most.
    Same,
    /// On different CPUs.
    Different,
}

/// The version of IP that the traffic speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Ip {
    /// IPv4.
    #[default]
    #[value(name = "4")]
    V4,
    /// IPv6.
    #[value(name = "6")]
    V6,
}

/// Arguments of `lab run`.
#[derive(Clone, Debug, Default, Args)]
pub struct LabRunArgs {
    /// Modes, like: host bridge docker-host docker-bridge
    #[arg(required = true)]
    pub modes: Vec<String>,
    /// Name of the workload
    #[arg(long, default_value = choices::DEFAULT_WORKLOAD, help = workload_help())]
    pub workload: String,
    /// Directory for the profiles and the comparison
    #[arg(short, long, default_value = "netstrata-lab")]
    pub output: PathBuf,
    /// How long each run measures
    #[arg(long, default_value = "5s", value_parser = units::parse_duration)]
    pub duration: std::time::Duration,
    /// Bytes of one message, or several sizes to be measured in turns
    #[arg(long, help = size_help(), value_delimiter = ',', value_parser = units::parse_bytes)]
    pub size: Vec<u64>,
    /// Bytes of one flow (fct)
    #[arg(long, help = format!("Bytes of one flow (fct), like 5MB; default: {}MB", FLOW_BYTES / 1_000_000))]
    #[arg(value_parser = units::parse_bytes)]
    pub flow_size: Option<u64>,
    /// Share of the flows that are elephants (fct), like 20%; default: none
    #[arg(long, value_parser = units::parse_share)]
    pub elephants: Option<f64>,
    /// Bytes of an elephant (fct)
    #[arg(long, help = format!("Bytes of an elephant (fct); default: {}MB", ELEPHANT_BYTES / 1_000_000))]
    #[arg(value_parser = units::parse_bytes)]
    pub elephant_size: Option<u64>,
    /// Pairs of client and server at one time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub pairs: u32,
    /// Runs of each mode, taken in turns
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeat: u32,
    /// Runs of each mode, in the order A B B A, until each explanation against the first mode is known within so much on
    /// either side, like 10%
    #[arg(long, value_parser = units::parse_share, conflicts_with_all = ["repeat", "no_record"])]
    pub until: Option<f64>,
    /// After so long --until begins no more runs
    #[arg(long, default_value = "5m", value_parser = units::parse_duration)]
    pub at_most: std::time::Duration,
    /// CPU time that the recording may cost, as a share of each CPU
    #[arg(long, help = budget_help(), value_parser = units::parse_share)]
    pub budget: Option<f64>,
    /// Follow one packet in N all the time, whatever it costs, instead of keeping to the budget
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub sample_every: Option<u32>,
    /// CPU samples a second on each CPU
    #[arg(long, help = frequency_help(), value_parser = clap::value_parser!(u64).range(0..=20_000))]
    pub frequency: Option<u64>,
    /// How finely the time of packets is split
    #[arg(long, value_enum, default_value = "auto")]
    pub tier: TierArg,
    /// Where client and server run (built-in workloads)
    #[arg(long, value_enum, default_value = "none")]
    pub pin: Pin,
    /// The version of IP that client and server speak; what carries a tunnel stays IPv4
    #[arg(long, value_enum, default_value = "4")]
    pub ip: Ip,
    /// Rate of the wire between two hosts, like 1gbit or 100mbit; without it as fast as it goes
    #[arg(long, value_parser = units::parse_rate)]
    pub wire_rate: Option<u64>,
    /// Delay of the wire between two hosts, each way, like 1ms
    #[arg(long, value_parser = units::parse_duration)]
    pub wire_delay: Option<std::time::Duration>,
    /// MTU of the wire between two hosts, bytes; tunnels take what it leaves
    #[arg(long, value_parser = clap::value_parser!(u32).range(1280..=65_535))]
    pub mtu: Option<u32>,
    /// What runs beside the pairs: N busy loops, N@10% (loops that use 10 % of a CPU each), udp-flood, or a list of them
    #[arg(long, alias = "neighbors", value_name = "N|N@SHARE|udp-flood", value_delimiter = ',')]
    #[arg(value_parser = choices::parse_neighbour)]
    pub neighbours: Vec<Neighbour>,
    /// Drive the traffic without recording (to see what recording costs)
    #[arg(long)]
    pub no_record: bool,
    /// Where to run
    #[arg(long, help = machine_help(), default_value = "here", value_parser = choices::parse_runs_on)]
    pub machine: RunsOn,
    /// What drives the clock of an emulated machine: instructions repeats, and is no wall time
    #[arg(long, value_enum, default_value = "wall")]
    pub clock: Clock,
    /// With --clock instructions: the seed and the addresses of this boot, which are otherwise the same in each; recordings
    /// bear its number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000), conflicts_with_all = ["repeat", "until"])]
    pub layout: Option<u32>,
}

/// Arguments of `lab machine`.
#[derive(Clone, Debug, Args)]
pub struct LabMachineArgs {
    /// Which kernel
    #[arg(long, help = format!("Which kernel: {}", kernel_versions(" or ")), default_value = choices::DEFAULT_KERNEL, value_parser = choices::parse_kernel)]
    pub kernel: &'static Kernel,
    /// What drives the clock of the machine
    #[arg(long, value_enum, default_value = "wall")]
    pub clock: Clock,
    /// How many CPUs the machine has; with a clock that counts instructions it has one
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub cpus: u32,
    /// A directory that the command may write to; everything else it writes is gone afterwards. May be repeated
    #[arg(long, value_name = "DIR")]
    pub share: Vec<PathBuf>,
    /// How long the command may take
    #[arg(long, default_value = "30m", value_parser = units::parse_duration)]
    pub limit: std::time::Duration,
    /// Only download and unpack the kernel, and print its release
    #[arg(long, conflicts_with_all = ["command", "share"])]
    pub get: bool,
    /// Only list the kernels that there are
    #[arg(long, conflicts_with_all = ["command", "share", "get"])]
    pub list: bool,
    /// The command
    #[arg(last = true, required_unless_present_any = ["get", "list"])]
    pub command: Vec<String>,
}

/// Arguments of `lab job`: one command in a guest of the lab.
#[derive(Clone, Debug, Args)]
pub struct LabJobArgs {
    /// The guest's port
    pub port: PathBuf,
    /// The command
    #[arg(last = true, required = true)]
    pub words: Vec<String>,
}

/// Arguments of `lab worker`: one side of a built-in workload.
#[derive(Clone, Debug, Default, Args)]
pub struct LabWorkerArgs {
    /// Name of a built-in workload, or of what runs beside one
    #[arg(long)]
    pub workload: String,
    /// Listen on this address (server) …
    #[arg(long, conflicts_with = "connect")]
    pub listen: Option<std::net::SocketAddr>,
    /// … or connect to this one (client), pair N using port + N
    #[arg(long)]
    pub connect: Option<std::net::SocketAddr>,
    /// Bytes of one message
    #[arg(long)]
    pub size: u64,
    /// How long the client measures
    #[arg(long, default_value = "5s", value_parser = units::parse_duration)]
    pub duration: std::time::Duration,
    /// Pairs at one time
    #[arg(long, default_value_t = 1)]
    pub pairs: u32,
    /// Run on this CPU only
    #[arg(long)]
    pub cpu: Option<u32>,
    /// How much longer than usual the other side may take: it may be on an emulated processor
    #[arg(long, value_parser = units::parse_duration)]
    pub patience: Option<std::time::Duration>,
    /// Bytes of a flow
    #[arg(long, default_value_t = 0)]
    pub flow_size: u64,
    /// Bytes of an elephant
    #[arg(long, default_value_t = 0)]
    pub elephant_size: u64,
    /// Share of flows that are elephants
    #[arg(long, default_value_t = 0.0)]
    pub elephants: f64,
    /// Share of one CPU (busy loops)
    #[arg(long, default_value_t = 1.0)]
    pub share: f64,
    /// Which of the peers this process is (all-to-all)
    #[arg(long, default_value_t = 0)]
    pub rank: u32,
    /// Addresses of all processes (all-to-all)
    #[arg(long, value_delimiter = ',')]
    pub peers: Vec<std::net::SocketAddr>,
    /// Say when the first answer came, before anything is measured (tcp-rr)
    #[arg(long)]
    pub announce: bool,
}

fn workload_help() -> String {
    let (builtin, external) = (choices::workload_names(true), choices::workload_names(false));
    format!("{builtin} (built in); {external} (when installed)")
}

fn size_help() -> String {
    let sizes = choices::default_sizes();
    format!("Bytes of one message, or several sizes to be measured in turns, like 64,1K,64K; default: {sizes}")
}

fn frequency_help() -> String {
    let [wall, instructions] = [Clock::Wall, Clock::Instructions].map(Clock::default_frequency);
    format!("CPU samples a second on each CPU; 0: none; default: {wall}, and {instructions} with --clock instructions")
}

fn budget_help() -> String {
    let [wall, instructions] = [Clock::Wall, Clock::Instructions].map(|clock| clock.default_budget() * 100.0);
    format!(
        "CPU time that the recording may cost, as a share of each CPU; default: {wall}%, and {instructions}% with --clock \
         instructions, there without hooks of functions"
    )
}

fn machine_help() -> String {
    let kernels = kernel_versions(", ");
    format!("Where to run: here, emulated or emulated:KERNEL ({kernels}; for modes that this kernel lacks)")
}
