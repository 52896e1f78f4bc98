//! The command line: arguments only, no work.

mod lab;

pub use lab::{Ip, LabCommand, LabJobArgs, LabMachineArgs, LabRunArgs, LabWorkerArgs, Pin};

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::{
    choices::{self, Clock, RunsOn},
    units::{self, Flow},
};

/// Where container network throughput goes, layer by layer.
#[derive(Debug, Parser)]
#[command(name = "netstrata", version, about, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done; 1 a verdict is negative; 2 wrong usage or input; 3 the kernel or a \
                        privilege refused; 4 the result cannot be trusted.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Tell on standard error what is done: -v info, -vv debug, -vvv trace; without it as NETSTRATA_LOG says
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 900)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell what this kernel allows, layer by layer, in plain words
    Doctor(FormatArgs),
    /// Print namespaces, devices, peers, masters, tunnels and container names
    Topology(FormatArgs),
    /// Record the datapath of this host, alone or while a command runs
    Record(RecordArgs),
    /// Print or draw a recording
    Report(ReportArgs),
    /// Networks of the program's own, and traffic through them
    Lab {
        /// What to do in the lab.
        #[command(subcommand)]
        command: LabCommand,
    },
    /// Explain why TARGET is slower than BASELINE, layer by layer
    Explain(ExplainArgs),
    /// Tell whether TARGET is slower than a baseline, in which layer, and by how much (for CI)
    Check(CheckArgs),
    /// Judge what papers, or files of your own, claim of networks
    Claims(ClaimsArgs),
    /// Add recordings of the same work into one file
    Merge(MergeArgs),
    /// Make a recording of what one left that was killed
    Recover(RecoverArgs),
    /// List what `report` and `explain` write (the demo asks)
    #[command(hide = true)]
    Formats,
}

/// Text or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TextFormat {
    /// For people.
    Text,
    /// For programs; stable and versioned.
    Json,
}

/// Arguments of commands that only print.
#[derive(Debug, Args)]
pub struct FormatArgs {
    /// Format of the output
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextFormat,
}

/// How finely spans are split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TierArg {
    /// Over functions where the kernel lets them be hooked and the budget is at least 5%, else by CPU samples.
    #[default]
    Auto,
    /// By tracepoints and CPU samples alone, which cost less.
    Tracepoint,
    /// Over functions; refused where the kernel has neither kprobes nor fentry.
    Function,
}

const FLOW_HELP: &str =
    "Only packets of this flow and its replies, like tcp:10.0.0.2:5201, tcp:[fd00::2]:5201, udp::53 or 10.0.0.2";

/// Arguments of `record`.
#[derive(Clone, Debug, Default, Args)]
pub struct RecordArgs {
    /// File to write the profile to
    #[arg(short, long, default_value = "netstrata.prof")]
    pub output: PathBuf,
    /// How long to record, like 10s, 500ms or 2m; without it until the command ends or Ctrl-C
    #[arg(long, value_parser = units::parse_duration)]
    pub duration: Option<std::time::Duration>,
    /// CPU time that the recording may cost, as a share of each CPU, like 1% or 0.5%
    #[arg(long, default_value = "1%", value_parser = units::parse_share)]
    pub budget: f64,
    /// How finely the time of packets is split
    #[arg(long, value_enum, default_value = "auto")]
    pub tier: TierArg,
    /// Follow one packet in N all the time, whatever it costs, instead of keeping to the budget
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub sample_every: Option<u32>,
    /// CPU samples a second on each CPU; 0: none
    #[arg(long, default_value_t = Clock::Wall.default_frequency(), value_parser = clap::value_parser!(u64).range(0..=20_000))]
    pub frequency: u64,
    /// Only packets that touch this network namespace (a name, a path or an inode number); may be repeated
    #[arg(long)]
    pub netns: Vec<String>,
    /// Only packets that touch this container (name or id); may be repeated
    #[arg(long)]
    pub container: Vec<String>,
    /// Only packets that cross this device; may be repeated
    #[arg(long)]
    pub device: Vec<String>,
    /// Only packets of this flow and its replies
    #[arg(long, help = FLOW_HELP, value_parser = units::parse_flow)]
    pub flow: Option<Flow>,
    /// Read the benchmark's result from this file, which holds what it printed elsewhere, at the end of the recording
    #[arg(long, value_name = "FILE")]
    pub benchmark: Option<PathBuf>,
    /// Slots for followed packets (testing: makes losses)
    #[arg(long, hide = true)]
    pub debug_slots: Option<u32>,
    /// Bytes of the ring of whole journeys (testing: makes losses)
    #[arg(long, hide = true)]
    pub debug_ring_bytes: Option<u32>,
    /// Nodes of the tree (testing: makes losses)
    #[arg(long, hide = true)]
    pub debug_nodes: Option<u32>,
    /// The command to run while recording
    #[arg(last = true)]
    pub command: Vec<OsString>,
}

/// Formats of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Tables for a terminal of 100 columns.
    Text,
    /// The contract `netstrata.report/1`.
    Json,
    /// Stack lines under their layer, for flame graph tools.
    Folded,
    /// Two flame graphs: CPU by layer and stack; latency by path, layer and device.
    Svg,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Recordings, which are added if they are several: files, a directory of `lab run`, or DIRECTORY/MODE
    #[arg(required = true, value_name = "PROFILE")]
    pub files: Vec<PathBuf>,
    /// Format of the output
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
}

/// Formats of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// For a terminal of 100 columns.
    Text,
    /// The contract `netstrata.explain/1`.
    Json,
    /// The waterfall from baseline to target, layer by layer, as a picture.
    Svg,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Profile of the faster mode
    #[arg(required_unless_present = "baselines", conflicts_with_all = ["baselines", "targets"], requires = "target")]
    pub baseline: Option<PathBuf>,
    /// Profile of the slower mode, doing the same work
    pub target: Option<PathBuf>,
    /// Several recordings of the faster mode: files, a directory of `lab run`, or DIRECTORY/MODE
    #[arg(long = "baseline", value_name = "PROFILE", num_args = 1.., requires = "targets")]
    pub baselines: Vec<PathBuf>,
    /// Several recordings of the slower mode
    #[arg(long = "target", value_name = "PROFILE", num_args = 1.., requires = "baselines")]
    pub targets: Vec<PathBuf>,
    /// Format of the output
    #[arg(long, value_enum, default_value = "text")]
    pub format: ExplainFormat,
}

impl ExplainArgs {
    /// The recordings of the faster and of the slower mode.
    pub fn sides(&self) -> [Vec<PathBuf>; 2] {
        let side = |one: &Option<PathBuf>, several: &[PathBuf]| one.iter().chain(several).cloned().collect();
        [side(&self.baseline, &self.baselines), side(&self.target, &self.targets)]
    }
}

/// Formats of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For a terminal of 100 columns.
    Text,
    /// The contract `netstrata.check/1`.
    Json,
    /// A suite of tests in XML, a case for each figure.
    Junit,
    /// For the summary of a CI run.
    Markdown,
}

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit codes: 0 ok, improved or moved; 1 regressed; 2 what cannot be compared; 4 undecided.\n\n\
    Examples:\n  \
    netstrata lab run host bridge --workload tcp-rr --pin same --repeat 12 -o lab\n  \
    netstrata check lab/bridge --against lab/host\n  \
    netstrata check bridge --against stored\n  \
    netstrata check after-*.prof --against before-*.prof --threshold 2% --format junit > check.xml\n  \
    netstrata check today/vxlan --against stored/vxlan --format markdown --history vxlan.csv\n  \
    netstrata check --before 'sysctl -q net.bridge.bridge-nf-call-iptables=0' \\\n    \
    --after 'sysctl -q net.bridge.bridge-nf-call-iptables=1' -- sockperf ping-pong -i 172.17.0.2 --tcp -t 5")]
pub struct CheckArgs {
    /// Recordings to be judged: files, a directory of `lab run`, or DIRECTORY/MODE; or a mode of the lab of which none are here: it is
    /// run as the recordings of the baseline were
    #[arg(required_unless_present = "before", conflicts_with = "before", value_name = "TARGET", requires = "against")]
    pub targets: Vec<PathBuf>,
    /// Recordings of the same work as it was, made in turns with those of TARGET
    #[arg(long, num_args = 1.., value_name = "BASELINE", requires = "targets")]
    pub against: Vec<PathBuf>,
    /// Measure: the shell command that sets the host up as it was (run at the end, too), in turns with --after
    #[arg(long, value_name = "COMMAND", requires = "after", requires = "command")]
    pub before: Option<String>,
    /// Measure: the shell command that sets the host up with the change
    #[arg(long, value_name = "COMMAND", requires = "before")]
    pub after: Option<String>,
    /// Directory for the recordings that are made [default: netstrata-check]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// After so long no more recordings are made [default: 30m]
    #[arg(long, value_parser = units::parse_duration)]
    pub at_most: Option<std::time::Duration>,
    /// From which change on it is a regression, like 1% or 0.5%; at most 50%
    #[arg(long, default_value = "1%", value_parser = units::parse_threshold)]
    pub threshold: f64,
    /// Format of the output
    #[arg(long, value_enum, default_value = "text")]
    pub format: CheckFormat,
    /// Append the target's figures to this file, a column each (CSV as Apache Otava reads it)
    #[arg(long, value_name = "FILE.csv")]
    pub history: Option<PathBuf>,
    /// The benchmark to record each time (with --before and --after)
    #[arg(last = true, requires = "before")]
    pub command: Vec<String>,
}

/// Formats of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClaimsFormat {
    /// For a terminal of 100 columns.
    Text,
    /// The contract `netstrata.claims/1`.
    Json,
    /// A suite of tests in XML, a case for each claim.
    Junit,
    /// A page of tables.
    Markdown,
}

/// Arguments of `claims`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit codes: 0 what can be tested here holds, at least in direction; 1 a claim is contradicted; 2 a file is \
    wrong; 3 nothing can be measured; 4 a claim is undecided, and none contradicted.\n\n\
    Examples:\n  \
    netstrata claims --paper P0 --quick\n  \
    netstrata claims our-network.toml --format junit > claims.xml\n  \
    netstrata claims --paper P1 --only p1-overlay-tcp,p1-overlay-rr --fresh\n  \
    netstrata claims --quick --plan"
)]
pub struct ClaimsArgs {
    /// Files of claims (TOML, docs/claims.md); without any and without --paper the claims of all papers
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Claims of this paper, P0 to P4; or a list of them
    #[arg(long, value_name = "PAPER", value_delimiter = ',')]
    pub paper: Vec<String>,
    /// Only the claims with these ids
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Fewer and shorter runs: within 15 minutes instead of 2 hours
    #[arg(long)]
    pub quick: bool,
    /// Only tell what would be measured, and how long it would take
    #[arg(long)]
    pub plan: bool,
    /// Measure anew what was kept
    #[arg(long)]
    pub fresh: bool,
    /// Measure nothing: judge by what was kept
    #[arg(long, conflicts_with = "fresh")]
    pub kept: bool,
    /// Directory in which recordings are kept, to serve again; default: netstrata's cache
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Where to measure everything; without it here, and what this kernel lacks in emulated machines
    #[arg(long, value_parser = choices::parse_runs_on)]
    pub machine: Option<RunsOn>,
    /// What drives the clock of emulated machines; without it what suits each claim
    #[arg(long, value_enum)]
    pub clock: Option<Clock>,
    /// Format of the output
    #[arg(long, value_enum, default_value = "text")]
    pub format: ClaimsFormat,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Recordings of the same work: files, a directory of `lab run`, or DIRECTORY/MODE
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<PathBuf>,
    /// File to write the profile to that all are together
    #[arg(short, long)]
    pub output: PathBuf,
}

/// Arguments of `recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// What the recording left (FILE.PID.unfinished), or the file that it was to write; without it what lies in this directory
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// File to write the profile to
    #[arg(short, long)]
    pub output: PathBuf,
}
