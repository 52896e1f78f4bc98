//! What runs in the machine: traffic with and without recordings, and what the kernel counted of their programs meanwhile.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    RESULT,
    kernel::{self, Program},
    traffic::{self, Pair},
};
use crate::run::THIS_PROGRAM;

/// Arguments of the part that runs in the machine.
#[derive(Clone, Debug, Args)]
pub struct GuestArgs {
    /// The netstrata that is measured
    program: PathBuf,
    /// What recordings at the default budget take from traffic, too
    #[arg(long)]
    loss: bool,
    /// The traffic within one recording: which
    #[arg(long, value_enum, requires = "to")]
    within: Option<Recording>,
    /// Where to put what was seen
    #[arg(long)]
    to: Option<PathBuf>,
    /// Round trips of the traffic
    #[arg(long, default_value_t = ROUND_TRIPS)]
    round_trips: u32,
    /// Writes of the stream
    #[arg(long, default_value_t = 0)]
    writes: u32,
}

/// The recordings that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Recording {
    /// No packet is followed.
    Away,
    /// Every packet is.
    Followed,
    /// Every packet is, over functions.
    Functions,
    /// As users record.
    Default,
}

impl Recording {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Away => &["--tier", "tracepoint", "--sample-every", "1000000", "--frequency", "0"],
            Self::Followed => &["--tier", "tracepoint", "--sample-every", "1", "--frequency", "0"],
            Self::Functions => &["--tier", "function", "--sample-every", "1", "--frequency", "0"],
            Self::Default => &[],
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// In each network. A few interrupts fall into programs meanwhile, and the network counts into whose they do not.
const ROUND_TRIPS: u32 = 700;
/// How long traffic of the default recording takes without it: a few turns of attaching and detaching.
const LONG: Duration = Duration::from_secs(4);
/// Between two CPU samples, some thousands of which are taken: a prime, so that they meet the traffic everywhere.
const SAMPLE_NS: u64 = 100_003;
/// A tracepoint that each packet crosses twice.
const CROSSED: &CStr = c"net_dev_queue";
const SOFTIRQS: [&CStr; 4] = [c"softirq_raise", c"softirq_entry", c"softirq_exit", c"napi_poll"];

/// Measures, or makes the traffic within a recording.
pub fn run(args: &GuestArgs) -> Result<()> {
    if let (Some(recording), Some(to)) = (args.within, &args.to) {
        let seen = within(recording, args)?;
        return std::fs::write(to, seen.to_string()).with_context(|| format!("cannot write {}", to.display()));
    }
    // Read once before, so that no recording waits for the host.
    std::fs::read(&args.program).with_context(|| format!("cannot read {}", args.program.display()))?;
    traffic::networks()?;
    let mut pairs = Pair::all()?;
    let quiet = round_trip_ns(&mut pairs, ROUND_TRIPS)?;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut result = json!({
        "release": release.trim(),
        "round_trip_ns": quiet,
    });
    for recording in [Recording::Away, Recording::Followed, Recording::Functions] {
        eprintln!("cost: Linux {}: recording: {}", release.trim(), recording.name());
        result[recording.name()] = record(args, recording, ROUND_TRIPS, 0)?;
    }
    if args.loss {
        eprintln!("cost: Linux {}: recording: {}", release.trim(), Recording::Default.name());
        let pair = &mut pairs[0];
        let round_trips = (LONG.as_nanos() as f64 / quiet) as u32;
        let writes = (LONG.as_secs_f64() / (pair.stream(64)?.as_secs_f64() / 64.0)) as u32;
        let without = [pair.round_trips(round_trips)?, pair.stream(writes)?].map(|took| took.as_nanos() as u64);
        result["default"] = record(args, Recording::Default, round_trips, writes)?;
        result["default"]["without_ns"] = json!(without);
    }
    println!("{RESULT}{result}");
    Ok(())
}

/// Makes a recording; what its traffic saw, and how long it took to attach.
fn record(args: &GuestArgs, recording: Recording, round_trips: u32, writes: u32) -> Result<Value> {
    let to = Path::new("/tmp/cost.json");
    let mut command = Command::new(&args.program);
    command.args(["record", "-o", "/tmp/cost.prof"]).args(recording.arguments());
    command.arg("--").arg(&*THIS_PROGRAM).arg("cost-guest").arg(&args.program);
    command.args(["--within", &recording.name(), "--to"]).arg(to);
    command.args(["--round-trips", &round_trips.to_string(), "--writes", &writes.to_string()]);
    let output = command.stdin(Stdio::null()).output().context("cannot start netstrata")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "a recording failed: {said}");
    let mut seen: Value = serde_json::from_str(&std::fs::read_to_string(to)?).context("the traffic told no JSON")?;
    seen["ready_ms"] =
        attached_in(&said).with_context(|| format!("the recording does not say when it began: {said}"))?.into();
    Ok(seen)
}

/// The time in "(attached in 123 ms, ...".
fn attached_in(said: &str) -> Option<u64> {
    said.split_once("(attached in ")?.1.split_once(" ms")?.0.parse().ok()
}

/// The traffic within a recording.
fn within(recording: Recording, args: &GuestArgs) -> Result<Value> {
    let mut pairs = Pair::all()?;
    if recording == Recording::Default {
        let took = [pairs[0].round_trips(args.round_trips)?, pairs[0].stream(args.writes)?];
        return Ok(json!({"took_ns": took.map(|took| took.as_nanos() as u64)}));
    }
    let mut seen = json!({"round_trip_ns": round_trip_ns(&mut pairs, args.round_trips)?});
    let nothing = kernel::attach_nothing(CROSSED)?;
    seen["programs"] = shown(&least(&counted(&mut pairs, args.round_trips)?));
    drop(nothing);
    if recording == Recording::Away {
        let loaded = kernel::programs()?;
        let find = |name: &CStr| {
            let name = name.to_string_lossy();
            loaded.iter().find(|program| program.name == name).with_context(|| format!("no program {name}"))
        };
        let sampler = kernel::attach_to_clock(find(c"cpu_sample")?.id, SAMPLE_NS)?;
        seen["sampled"] = shown(&summed(&counted(&mut pairs, args.round_trips)?));
        drop(sampler);
        let links = SOFTIRQS
            .iter()
            .map(|name| kernel::attach_to_tracepoint(find(name)?.id, name))
            .collect::<Result<Vec<_>>>()?;
        seen["softirqs"] = shown(&least(&counted(&mut pairs, args.round_trips)?));
        drop(links);
    }
    Ok(seen)
}

/// A round trip in the network where it is shortest.
fn round_trip_ns(pairs: &mut [Pair], round_trips: u32) -> Result<f64> {
    let took = pairs.iter_mut().map(|pair| pair.round_trips(round_trips)).collect::<Result<Vec<_>>>()?;
    Ok(took.iter().min().context("no network")?.as_nanos() as f64 / f64::from(round_trips))
}

/// What programs did during round trips, network by network.
fn counted(pairs: &mut [Pair], round_trips: u32) -> Result<Vec<Vec<Program>>> {
    let mut all = Vec::new();
    for pair in pairs {
        let before = kernel::programs()?;
        kernel::statistics(true)?;
        let result = pair.round_trips(round_trips);
        kernel::statistics(false)?;
        result?;
        let since = |program: Program| {
            let earlier = before.iter().find(|earlier| earlier.id == program.id);
            let (ns, runs) = earlier.map_or((0, 0), |earlier| (earlier.run_ns, earlier.runs));
            Program { run_ns: program.run_ns.saturating_sub(ns), runs: program.runs.saturating_sub(runs), ..program }
        };
        all.push(kernel::programs()?.into_iter().map(since).collect());
    }
    Ok(all)
}

/// Of each program the network in which a run took least.
fn least(networks: &[Vec<Program>]) -> Vec<Program> {
    combined(networks, |best, program| {
        // Means, compared without dividing.
        let of = |one: &Program, other: &Program| u128::from(one.run_ns) * u128::from(other.runs);
        if best.runs == 0 || program.runs > 0 && of(program, best) < of(best, program) {
            *best = program.clone();
        }
    })
}

/// Of each program the sum over all networks.
fn summed(networks: &[Vec<Program>]) -> Vec<Program> {
    combined(networks, |sum, program| {
        sum.run_ns += program.run_ns;
        sum.runs += program.runs;
    })
}

fn combined(networks: &[Vec<Program>], combine: impl Fn(&mut Program, &Program)) -> Vec<Program> {
    let mut all: Vec<Program> = Vec::new();
    for program in networks.iter().flatten() {
        match all.iter_mut().find(|known| known.id == program.id) {
            Some(known) => combine(known, program),
            None => all.push(program.clone()),
        }
    }
    all
}

fn shown(programs: &[Program]) -> Value {
    programs.iter().map(Program::to_json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_combined_program_by_program() {
        let program = |id, run_ns, runs| Program { id, name: id.to_string(), run_ns, runs, verified: 0, bytes: 0 };
        let networks = [vec![program(1, 300, 3), program(2, 0, 0)], vec![program(1, 180, 2), program(2, 50, 1)]];
        let figures = |programs: Vec<Program>| -> Vec<(u64, u64)> {
            programs.iter().map(|program| (program.run_ns, program.runs)).collect()
        };
        assert_eq!(figures(least(&networks)), [(180, 2), (50, 1)]);
        assert_eq!(figures(summed(&networks)), [(480, 5), (50, 1)]);
        let reversed = [networks[1].clone(), networks[0].clone()];
        assert_eq!(figures(least(&reversed)), [(180, 2), (50, 1)]);
    }

    #[test]
    fn the_time_until_a_recording_began_is_in_what_it_says() {
        let said = "netstrata: 0.2 s, 0 packets followed for 0, 0 CPU samples, 0 paths -> a.prof (attached in 5642 ms, \
                    detached and written in 192 ms)";
        assert_eq!(attached_in(said), Some(5642));
        assert_eq!(attached_in("netstrata: killed"), None);
    }
}
