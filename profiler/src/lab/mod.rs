//! Networks of the program's own, and traffic through them.
//!
//! `lab run` builds each mode once, drives the same traffic through all of them in turns, records it, compares, and
//! removes everything: also on a failure, a panic, Ctrl-C and SIGTERM, and what a crashed run left goes at the next
//! start.

mod apart;
pub mod cleanup;
pub mod cni;
pub mod compare;
pub mod docker;
mod elsewhere;
pub mod guest;
mod ip;
mod mesh;
pub mod metrics;
pub mod modes;
mod namespace;
pub mod needs;
pub mod neighbours;
pub mod network;
pub mod networks;
pub mod options;
#[cfg(test)]
mod page;
pub mod programs;
pub mod rootfs;
pub mod traffic;
mod until;
pub mod workload;

use crate::note;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::{
    cleanup::Lab,
    compare::ModeRuns,
    modes::Mode,
    needs::Need,
    network::{Network, Shared},
    programs::Load,
    traffic::Driven,
    until::Until,
};
use crate::{
    choices::{Clock, Workload},
    cli::{FormatArgs, Ip, LabJobArgs, LabRunArgs, LabWorkerArgs, RecordArgs, TextFormat, TierArg},
    failure::Failure,
    host::{
        cpu::stay_on,
        facts::is_root,
        runtime,
        signal::{self, Interrupted},
    },
    output::print,
    profile::{self, Namespace, Profile, Topology, measures::Creation},
    record, store,
};

/// What one run of one mode gave.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What the traffic measured, and the client's command.
    pub driven: Driven,
    /// The recording, with both in its meta data; none with `--no-record`.
    pub profile: Option<Profile>,
    /// What the server's machine recorded, where each side is a machine that records itself.
    pub server: Option<Profile>,
}

/// Runs `netstrata lab list`.
pub fn list(args: &FormatArgs) -> anyhow::Result<ExitCode> {
    match args.format {
        TextFormat::Text => print(&modes::text()),
        TextFormat::Json => print(&format!("{:#}\n", modes::json())),
    }
}

/// Runs `netstrata lab run`.
pub fn run(args: &LabRunArgs) -> anyhow::Result<ExitCode> {
    if let Some(result) = elsewhere::run(args) {
        return result;
    }
    // The program keeps its name while a thread of it records.
    let result = runtime::in_thread("ns-lab", || run_all(args));
    // The recorder may turn a signal into an error of its own: the flag decides.
    let interrupted = signal::check().err().or_else(|| result.as_ref().err()?.downcast_ref::<Interrupted>().copied());
    if let (Some(Interrupted(number)), true) = (interrupted, result.is_err()) {
        note!("netstrata: interrupted; everything that the lab made is removed");
        return Ok(ExitCode::from(128u8.saturating_add(number as u8)));
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// Why modes cannot run here, the first thing that each lacks; those that can run are left out.
///
/// # Errors
/// [`Failure::Refused`] without root, and if a signal comes.
pub fn lacking(
    wanted: impl IntoIterator<Item = &'static str>,
) -> anyhow::Result<BTreeMap<&'static str, (Need, String)>> {
    need_root()?;
    let lab = Lab::open()?;
    let mut known: Vec<(Need, Option<String>)> = Vec::new();
    let mut found = BTreeMap::new();
    for name in wanted {
        for need in modes::find(name)?.needs {
            let reason = match known.iter().find(|(other, _)| other == need) {
                Some((_, reason)) => reason.clone(),
                None => {
                    let reason = need.missing(&lab)?;
                    known.push((*need, reason.clone()));
                    reason
                }
            };
            if let Some(reason) = reason {
                found.insert(name, (*need, reason));
                break;
            }
        }
    }
    Ok(found)
}

/// Runs `netstrata lab worker`.
pub fn worker(args: &LabWorkerArgs) -> anyhow::Result<ExitCode> {
    if args.workload == "idle" {
        return idle(args.duration);
    }
    if let Some(cpu) = args.cpu {
        let refused = |_| Failure::Usage(format!("this machine has no CPU {cpu} for --pin"));
        stay_on(cpu as usize).map_err(refused)?;
    }
    if let Some(ended) = workload::neighbour::run(args) {
        return ended.map(|()| ExitCode::SUCCESS);
    }
    let report = workload::work(args)?;
    print(&(serde_json::to_string(&report)? + "\n"))
}

/// Runs `netstrata lab job`.
pub fn job(args: &LabJobArgs) -> anyhow::Result<ExitCode> {
    guest::job::run(&args.port, &args.words)
}

/// The first process of a container: waits for a signal. As process 1 it needs a handler, or signals are ignored.
fn idle(limit: Duration) -> anyhow::Result<ExitCode> {
    signal::heed()?;
    // Either is what was waited for.
    let _ = runtime::wait(signal::pause(limit));
    Ok(ExitCode::SUCCESS)
}

/// Builds the network of one mode, drives the traffic once and records it; everything is removed afterwards.
///
/// A mode that cannot run here (no Docker) is [`Failure::Refused`].
pub fn run_mode(mode: &str, args: &LabRunArgs) -> anyhow::Result<Measured> {
    signal::heed()?;
    Standing::build(mode, args)?.measure(args)
}

/// The network of a mode, kept to be measured more than once; removed when dropped.
pub struct Standing {
    built: Built,
    _shared: Shared,
    lab: Lab,
}

impl Standing {
    /// Builds the network. A mode that cannot run here is [`Failure::Refused`].
    pub fn build(mode: &str, args: &LabRunArgs) -> anyhow::Result<Self> {
        let mode = modes::find(mode)?;
        programs::find(args)?;
        need_root()?;
        let lab = Lab::open()?;
        let mut shared = Shared::default();
        let built = prepare(mode, &lab, args, &mut shared)?.map_err(Failure::Refused)?;
        Ok(Self { built, _shared: shared, lab })
    }

    /// Drives the traffic once, and records it unless the arguments say otherwise.
    pub fn measure(&self, args: &LabRunArgs) -> anyhow::Result<Measured> {
        runtime::wait(measure(programs::find(args)?, args, &self.lab, &self.built, &args.output))
    }

    /// The file of a namespace, by the name that recordings show.
    pub fn namespace(&self, role: &str) -> PathBuf {
        Path::new(cleanup::NETNS).join(self.lab.namespace(&format!("{}-{role}", self.built.mode)))
    }
}

fn run_all(args: &LabRunArgs) -> anyhow::Result<()> {
    let wanted: Vec<&'static Mode> = args.modes.iter().map(|name| modes::find(name)).collect::<Result<_, _>>()?;
    let workload = programs::find(args)?;
    if args.until.is_some() && wanted.iter().all(|mode| mode.name == wanted[0].name) {
        return Err(Failure::Usage("--until explains modes against the first one: give at least two".into()).into());
    }
    need_root()?;
    fs::create_dir_all(&args.output).with_context(|| format!("cannot make {}", args.output.display()))?;
    let path = args.output.join("comparison.json");
    let place = store::claim(&path).with_context(|| format!("cannot write {}", path.display()))?;
    signal::heed()?;
    let progress = progress();
    let lab = Lab::open()?;
    let mut shared = Shared::default();
    let sizes = programs::message_sizes(workload, args);
    let mut built: Vec<Built> = Vec::new();
    let mut skipped: Vec<(&str, String)> = Vec::new();
    for mode in wanted {
        if built.iter().any(|built| built.mode == mode.name) {
            continue;
        }
        progress.set_message(format!("building {}", mode.name));
        match prepare(mode, &lab, args, &mut shared)? {
            Ok(network) => built.push(network),
            Err(reason) => {
                progress.suspend(|| note!("skipped {}: {reason}", mode.name));
                skipped.push((mode.name, reason));
            }
        }
    }
    if built.is_empty() {
        let reasons = skipped.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>().join("; ");
        return Err(Failure::Refused(format!("no mode could run: {reasons}")).into());
    }
    let turns: Vec<(&Built, u64)> =
        built.iter().flat_map(|built| sizes.iter().map(move |size| (built, *size))).collect();
    let (runs, summary) = take_turns(args, workload, &lab, &turns, &progress)?;
    progress.finish_and_clear();
    // Away with the networks first: a reader that closes the pipe early must not keep them.
    drop(turns);
    drop(built);
    drop(shared);
    drop(lab);
    let rows = compare::rows(&runs);
    let json = compare::json(&rows, args, &sizes, &skipped);
    place.write(format!("{json:#}\n").as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    print(&(compare::table(&rows) + &summary)).map(drop)
}

/// Runs all networks in turns, as often as it is asked for; with what the explanations say where that decides it.
fn take_turns(
    args: &LabRunArgs,
    workload: &'static Workload,
    lab: &Lab,
    turns: &[(&Built, u64)],
    progress: &ProgressBar,
) -> anyhow::Result<(Vec<ModeRuns>, String)> {
    let mut runs: Vec<ModeRuns> =
        turns.iter().map(|(built, size)| ModeRuns { mode: built.mode.into(), size: *size, runs: Vec::new() }).collect();
    let sizes = turns.iter().filter(|(built, _)| built.mode == turns[0].0.mode).count();
    let mut until = turns.first().and_then(|(first, _)| Until::new(args, first.mode));
    let numbered = args.repeat > 1 || until.is_some() || args.layout.is_some();
    let mut said = String::new();
    for repeat in 1.. {
        // There and back, so that what drifts does so for all alike.
        let mut order: Vec<usize> = (0..turns.len()).collect();
        if until.is_some() && repeat % 2 == 0 {
            order.reverse();
        }
        progress.set_length(turns.len() as u64 * u64::from(if until.is_some() { repeat } else { args.repeat }));
        for at in order {
            let (network, size) = turns[at];
            let number = args.layout.unwrap_or(repeat);
            let name = run_name(network.mode, (sizes > 1).then_some(size), numbered.then_some(number));
            progress.set_message(format!("{name}{said}"));
            let file = args.output.join(format!("{name}.prof"));
            let of_size = LabRunArgs { size: vec![size], ..args.clone() };
            let measured = runtime::wait(measure(workload, &of_size, lab, network, &file))
                .with_context(|| format!("mode {}, {size} B, run {repeat}", network.mode))?;
            if let Some(profile) = measured.server {
                profile::write(&profile, &args.output.join(format!("{name}-server.prof")))?;
            }
            if let Some(profile) = measured.profile {
                profile::write(&profile, &file)?;
                if let Some(until) = &mut until {
                    until.add(network.mode, size, name, profile);
                }
            }
            runs[at].runs.push(measured.driven.benchmark);
            progress.inc(1);
        }
        let enough = match &mut until {
            None => repeat >= args.repeat,
            Some(until) => {
                let (enough, present) = until.enough(repeat);
                said = format!(" (explained within {present})");
                enough
            }
        };
        if enough {
            break;
        }
    }
    Ok((runs, until.map(|until| until.summary()).unwrap_or_default()))
}

/// Name of a run's profile: with the size where there are several, with the number of the repeat where there are more.
fn run_name(mode: &str, size: Option<u64>, repeat: Option<u32>) -> String {
    let size = size.map(|size| format!("-{size}B")).unwrap_or_default();
    let repeat = repeat.map(|repeat| format!("-{repeat}")).unwrap_or_default();
    format!("{mode}{size}{repeat}")
}

/// The network of a mode.
struct Built {
    mode: &'static str,
    network: Network,
    creation: Creation,
}

fn need_root() -> Result<(), Failure> {
    if is_root() {
        return Ok(());
    }
    Err(Failure::Refused("the lab makes network namespaces and needs root; run it with sudo".into()))
}

fn progress() -> ProgressBar {
    use std::io::IsTerminal as _;
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Builds a mode and sends a first request through it; the inner error is the reason why this machine cannot run it.
fn prepare(
    mode: &'static Mode,
    lab: &Lab,
    args: &LabRunArgs,
    shared: &mut Shared,
) -> anyhow::Result<Result<Built, String>> {
    if let Some(reason) = needs::missing(mode.needs, lab)? {
        return Ok(Err(reason));
    }
    let of_ip6 = args.ip == Ip::V6;
    if let Some(reason) = of_ip6.then(|| ip::missing(mode.name)).flatten() {
        return Ok(Err(reason));
    }
    let start = Instant::now();
    let mut build = || -> anyhow::Result<Built> {
        let network = mode.build(lab, args, shared)?.speaking(args.ip);
        let built = start.elapsed();
        let answered =
            runtime::wait(traffic::first_answer(args, lab, &network)).with_context(|| format!("mode {}", mode.name))?;
        let first_answer_ns = answered.duration_since(start).as_nanos() as u64;
        let creation = Creation { built_ns: built.as_nanos() as u64, first_answer_ns };
        Ok(Built { mode: mode.name, network, creation })
    };
    match build() {
        Ok(built) => Ok(Ok(built)),
        // A Docker that does not start is a property of the machine, and so is what is refused; our own namespaces are
        // not, and neither are words that are wrong or a guest that cannot be trusted. That a kernel or a program has no
        // part of IPv6 is found by trying.
        Err(error)
            if signal::check().is_ok()
                && (mode.docker() || of_ip6 || matches!(error.downcast_ref(), Some(Failure::Refused(_)))) =>
        {
            Ok(Err(format!("{error:#}")))
        }
        Err(error) => Err(error),
    }
}

/// What is given, or what follows from a budget that is given. The default one of a counted clock would pay for hooks, but they take
/// more than all layers together.
fn tier(args: &LabRunArgs) -> TierArg {
    let said = args.budget.is_some() || args.sample_every.is_some() || args.tier != TierArg::Auto;
    if args.clock == Clock::Instructions && !said { TierArg::Tracepoint } else { args.tier }
}

/// Warms up, then drives the traffic while recording. Nothing in here may wait but by awaiting.
async fn measure(
    workload: &'static Workload,
    args: &LabRunArgs,
    lab: &Lab,
    built: &Built,
    file: &Path,
) -> anyhow::Result<Measured> {
    let network = &built.network;
    let rate = traffic::warm_up(workload, args, lab, network).await?;
    let load = Load { duration: args.duration, rate };
    if let (Some(client), Some(server), false) = (network.client.recorder(), network.server.recorder(), args.no_record)
    {
        return apart::measure(workload, args, lab, built, load, [client, server]).await;
    }
    let server = traffic::start_server(workload, args, lab, network, args.duration).await?;
    let drive = async {
        signal::check()?;
        let mut driven = server.drive(args, lab, network, load).await?;
        driven.benchmark.creation = Some(built.creation);
        driven.benchmark.ip = (args.ip == Ip::V6).then_some(args.ip.number());
        Ok(driven)
    };
    if args.no_record {
        return Ok(Measured { driven: drive.await?, profile: None, server: None });
    }
    let record_args = RecordArgs {
        tier: tier(args),
        output: file.to_owned(),
        budget: args.budget.unwrap_or(args.clock.default_budget()),
        sample_every: args.sample_every,
        frequency: args.frequency.unwrap_or(args.clock.default_frequency()),
        ..RecordArgs::default()
    };
    let (mut profile, driven) = record::record_while(&record_args, drive).await?;
    signal::check()?;
    leave_out_others(&mut profile);
    name_by_role(&mut profile.topology, built.mode, network);
    enter(&mut profile, &driven);
    Ok(Measured { driven, profile: Some(profile), server: None })
}

/// Enters what was driven, and what it measured, into a recording of it.
fn enter(profile: &mut Profile, driven: &Driven) {
    profile.meta.command = driven.command.clone();
    if let Some(program) = profile.meta.command.first_mut() {
        // Where this build lies is nothing that a recording should tell.
        *program = Path::new(program).file_name().map_or_else(|| program.clone(), |name| name.to_string_lossy().into());
    }
    profile.meta.exit_code = Some(0);
    profile.meta.benchmark = Some(driven.benchmark.clone());
    profile.meta.benchmark_notes = driven.notes.iter().cloned().collect();
    if let Some(progress) = driven.progress() {
        profile.enter_work(progress);
    }
}

/// The lab's traffic never leaves namespaces of its own: what only touched the host's, or those of another lab, is not
/// part of the run. The CPU account stays that of the whole machine.
fn leave_out_others(profile: &mut Profile) {
    let own = format!("nslab-{}-", std::process::id());
    let foreign = |namespace: &Namespace| {
        namespace.origin == "host" || namespace.name.starts_with("nslab-") && !namespace.name.starts_with(&own)
    };
    let foreign: Vec<u32> =
        profile.topology.namespaces.iter().filter(|namespace| foreign(namespace)).map(|found| found.inum).collect();
    profile.paths.retain(|path| path.crossings.iter().any(|crossing| !foreign.contains(&crossing.netns)));
    let kept: Vec<u64> = profile.paths.iter().map(|path| path.id).collect();
    profile.journeys.retain(|journey| kept.contains(&journey.path));
    profile.turnarounds.retain(|turn| !foreign.contains(&turn.netns));
}

/// Names of the lab's namespaces say which run made them; in a recording their role is what counts.
fn name_by_role(topology: &mut Topology, mode: &str, network: &Network) {
    let prefix = format!("nslab-{}-", std::process::id());
    for namespace in &mut topology.namespaces {
        if let Some((_, role)) = network.roles.iter().find(|(inode, _)| *inode == u64::from(namespace.inum)) {
            namespace.name.clone_from(role);
        }
        // Containers that share a namespace share its name.
        let parts = namespace.name.split('+').map(|part| {
            let Some(rest) = part.strip_prefix(&prefix) else { return part };
            rest.strip_prefix(mode).and_then(|role| role.strip_prefix('-')).unwrap_or(rest)
        });
        namespace.name = parts.collect::<Vec<_>>().join("+");
    }
}
