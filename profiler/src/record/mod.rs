//! Recording: loads the kernel programs, attaches, collects, and leaves a profile.

mod assemble;
mod assemble_functions;
mod attach;
mod batched;
mod bill;
mod calibrate;
mod command;
mod crossing_cost;
mod filter;
mod first;
mod function_costs;
mod function_probe;
mod functions;
mod gathered;
mod governor;
mod hindrance;
mod hotplug;
mod interner;
mod keeper;
mod kept;
mod kernel_counters;
mod load;
mod look;
mod maps;
mod meanwhile;
mod messages;
mod object;
mod output;
mod priority;
mod probes;
mod recorder;
mod recording;
mod recover;
mod refusal;
mod session;
mod so_far;
mod softirqs;
mod spool;
mod tier;
mod times;
mod traffic;
mod tree;
mod turns;
mod whole;
mod within;

use crate::note;
use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Result;

pub use calibrate::{Calibration, calibrate};
pub use functions::{Attached, Candidate, Ways, candidates};
pub use load::Sizes;
pub use probes::{At, Group, PROBES, Probe, has_kprobes, stand_in, tracepoints};
pub use recorder::Recorder;
pub use recover::recover;
pub use refusal::Refusal;
pub use session::Session;

use keeper::Asking;
use spool::Spool;

use crate::{
    benchmark::{self, Recorded},
    cli::RecordArgs,
    failure::Failure,
    host::{
        runtime::{in_thread_beside, wait},
        signal,
    },
    kernel::confine::{Confined, RECORDING, confine},
    profile::{self, Meta, Profile, ProfileError},
    store::{self, Place},
    threads,
};

/// Runs `netstrata record`.
pub fn run(args: &RecordArgs) -> Result<ExitCode> {
    // Before anything is attached: a place that does not exist, or a command, is wrong usage.
    let place = store::claim(&args.output).map_err(|error| no_place(&args.output, &error))?;
    let program = args.command.first().map(|name| command::find(name)).transpose()?;
    let (asking, keeper) = keeper::keeper();
    // The program keeps its name while a thread of it has another and a priority of its own.
    let work = || {
        signal::heed()?;
        wait(record(args, program, place, asking))
    };
    in_thread_beside(threads::RECORD, work, || keeper.serve())
}

/// Why there is no place for a file.
fn no_place(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory if !parent.is_dir() => {
            Failure::Usage(format!("there is no directory {}; make it or give another -o", parent.display()))
        }
        ErrorKind::IsADirectory => Failure::Usage(format!("{shown} is a directory; give a file with -o")),
        // A pipe that is opened without a reader: no such device or address.
        _ if error.raw_os_error() == Some(libc::ENXIO) => {
            Failure::Usage(format!("nobody reads from {shown}; start its reader first, or give a file with -o"))
        }
        _ => Failure::Refused(format!("cannot write to {shown}: {error}; give another -o")),
    }
}

async fn record(args: &RecordArgs, program: Option<PathBuf>, place: Place, asking: Asking) -> Result<ExitCode> {
    let (started, since) = (Instant::now(), SystemTime::now());
    let mut recorder = Recorder::start(args)?;
    recorder.spool_to(place.unfinished());
    // All is attached.
    confine(Confined { keeps: RECORDING, writes: None });
    let attached_in = started.elapsed();
    log::info!("recording since {} ms after the start", attached_in.as_millis());
    let progress = progress(args, attached_in);
    let work = async {
        match program {
            Some(program) => command::run(&program, &args.command, args.duration, &progress, asking).await.map(Some),
            None => {
                asking.nothing();
                command::over(args.duration, &progress).await;
                Ok(None)
            }
        }
    };
    let outcome = recorder.collect(work).await??;
    progress.finish_and_clear();
    let spool = recorder.take_spool();
    let stopping = Instant::now();
    log::info!("what was waited for is over; detaching");
    let mut profile = recorder.stop().await?;
    profile.meta.command = command::words(&args.command);
    if let Some(outcome) = &outcome {
        profile.meta.exit_code = Some(outcome.exit_code);
    }
    measured(args, outcome.as_ref(), since, &mut profile.meta);
    if let Some(what) = profile::unsound(&profile) {
        note!("netstrata: this recording is broken, and cannot be read: {what}; please report it");
    }
    let written = profile::write_to(&profile, place, &args.output);
    if !matches!(written, Err(ProfileError::Write { rescued: None, .. })) {
        spool.into_iter().for_each(Spool::finish);
    }
    written?;
    summary(args, &profile, attached_in, stopping.elapsed());
    match outcome {
        Some(outcome) if outcome.exit_code != 0 => Err(Failure::Verdict(format!(
            "the command ended with code {}{}; the recording is in {}",
            outcome.exit_code,
            if outcome.asked_to { ", asked to because the recording was over" } else { "" },
            args.output.display()
        ))
        .into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Enters what the command's benchmark measured, or one elsewhere: its file is read at the end, when it has been written.
fn measured(args: &RecordArgs, outcome: Option<&command::Outcome>, since: SystemTime, meta: &mut Meta) {
    let read = match (&args.benchmark, outcome) {
        (Some(file), _) => {
            let recorded = Recorded { since, seconds: meta.duration_ns as f64 / 1e9 };
            benchmark::read_file(&meta.command, file, recorded)
        }
        (None, Some(outcome)) => {
            let read = benchmark::read(&meta.command, &outcome.output, outcome.whole);
            if outcome.asked_to { read.of_ended() } else { read }
        }
        (None, None) => return,
    };
    for text in &read.notes {
        note!("netstrata: {text}");
    }
    meta.benchmark = read.benchmark;
    meta.benchmark_notes = read.notes.into_iter().collect();
}

/// Records while `work` is waited for, which begins once all probes are attached.
pub async fn record_while<T>(args: &RecordArgs, work: impl Future<Output = Result<T>>) -> Result<(Profile, T)> {
    let mut recorder = Recorder::start(args)?;
    let result = recorder.collect(work).await?;
    let profile = recorder.stop().await?;
    Ok((profile, result?))
}

fn progress(args: &RecordArgs, attached_in: Duration) -> indicatif::ProgressBar {
    let bar = match args.duration {
        Some(duration) => indicatif::ProgressBar::new(duration.as_millis() as u64).with_style(
            indicatif::ProgressStyle::with_template("{msg} {bar:30} {percent} %")
                .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
        ),
        None => indicatif::ProgressBar::new_spinner(),
    };
    let until = if args.command.is_empty() && args.duration.is_none() { ", Ctrl-C ends it" } else { "" };
    bar.set_message(format!("recording (attached in {} ms{until})", attached_in.as_millis()));
    // A thread draws it, which would wake for nothing where nobody sees it.
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(250));
    }
    bar
}

/// How much a recording holds.
fn contents(profile: &Profile) -> String {
    format!(
        "{} packets followed for {}, {} CPU samples, {} paths",
        profile.sampling.followed,
        profile.sampling.packets,
        profile.cpu.samples,
        profile.paths.len()
    )
}

fn summary(args: &RecordArgs, profile: &Profile, attached_in: Duration, stopped_in: Duration) {
    note!(
        "netstrata: {:.1} s, {} -> {} (attached in {} ms, detached and written in {} ms)",
        profile.meta.duration_ns as f64 / 1e9,
        contents(profile),
        args.output.display(),
        attached_in.as_millis(),
        stopped_in.as_millis(),
    );
}
