//! `netstrata check --before … --after …`: sets the host up one way and the other in turns, records a benchmark each time, and
//! stops as soon as it can be decided. What runs a mode of the lab against stored recordings is in `again`.

mod again;

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::{
    check::{self, LOOKS, Verdict},
    cli::CheckArgs,
    failure::Failure,
    host::{
        child, program, runtime,
        signal::{self, Interrupted},
    },
    note,
};

/// How long setting up, or one run of the benchmark with its recording, may take.
const LIMIT: Duration = Duration::from_secs(1800);
/// How long what was interrupted may take to end in order.
const GRACE: Duration = Duration::from_secs(15);

/// Runs `netstrata check`, where it measures by itself or judges what is there.
///
/// # Errors
/// If a command fails or is interrupted, and whatever judging gives.
pub fn run(args: &CheckArgs) -> Result<ExitCode> {
    let (Some(before), Some(after)) = (&args.before, &args.after) else {
        if again::is_wanted(args) {
            return again::run(args).or_else(|error| interrupted(error, "interrupted"));
        }
        if args.output.is_some() || args.at_most.is_some() {
            return Err(Failure::Usage(
                "-o and --at-most are for recordings that are made: give --before and --after, or modes of the lab"
                    .into(),
            )
            .into());
        }
        return check::run(args);
    };
    let restored = AtomicBool::new(false);
    let turns = Turns { set_up: [before, after], command: &args.command, directory: output(args), restored };
    claim(turns.directory)?;
    match runtime::in_thread("ns-check", || turns.take(args)) {
        Ok(()) => check::run(&turns.sides(args)),
        Err(error) => {
            let restored = turns.restored.load(Ordering::Relaxed);
            let state = if restored { "as --before sets it up" } else { "as the last command left it" };
            interrupted(error, &format!("interrupted; the host is {state}"))
        }
    }
}

/// The exit code of a signal, which is told; another error stays one.
fn interrupted(error: anyhow::Error, told: &str) -> Result<ExitCode> {
    match error.downcast_ref::<Interrupted>() {
        Some(Interrupted(number)) => {
            note!("netstrata: {told}");
            Ok(ExitCode::from(128u8.saturating_add(*number as u8)))
        }
        None => Err(error),
    }
}

/// Where recordings go if nothing is said.
const OUTPUT: &str = "netstrata-check";
/// How long recordings are made if nothing is said.
const AT_MOST: Duration = Duration::from_secs(1800);

fn output(args: &CheckArgs) -> &Path {
    args.output.as_deref().unwrap_or(Path::new(OUTPUT))
}

fn at_most(args: &CheckArgs) -> Duration {
    args.at_most.unwrap_or(AT_MOST)
}

/// Makes the directory, in which no other recordings may be.
fn claim(directory: &Path) -> Result<()> {
    let shown = directory.display();
    fs::create_dir_all(directory).with_context(|| format!("cannot make {shown}"))?;
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {shown}"))?;
    let is_recording = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "prof");
    if entries.flatten().map(|entry| entry.path()).any(|path| is_recording(&path)) {
        return Err(Failure::Usage(format!("{shown} holds recordings already: give another directory with -o")).into());
    }
    Ok(())
}

/// The names of the recordings of each side.
const SIDES: [&str; 2] = ["before", "after"];

struct Turns<'a> {
    set_up: [&'a str; 2],
    command: &'a [String],
    directory: &'a Path,
    /// The host is as it was, after all.
    restored: AtomicBool,
}

/// Sets the host up as it was, however the turns end.
struct Restore<'a>(&'a Turns<'a>);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        // Not heeding signals, and in a group of its own that a second Ctrl-C does not reach: this is what has to be done after one.
        let mut command = std::process::Command::new("sh");
        command.args(["-c", self.0.set_up[0]]).stdin(Stdio::null()).stdout(to_errors()).process_group(0);
        match command.status() {
            Ok(status) if status.success() => self.0.restored.store(true, Ordering::Relaxed),
            Ok(status) => note!("netstrata: --before failed ({status}) when it should restore the host"),
            Err(error) => note!("netstrata: --before could not be run to restore the host: {error}"),
        }
    }
}

impl Turns<'_> {
    /// The same arguments for what was recorded.
    fn sides(&self, args: &CheckArgs) -> CheckArgs {
        let [baseline, target] = SIDES.map(|side| vec![self.directory.join(side)]);
        CheckArgs { against: baseline, targets: target, ..args.clone() }
    }

    /// Pairs until it is decided, each in an order by chance: whatever the machine does meanwhile, what it adds to one pair tells
    /// nothing of what it adds to the next. In a fixed order it does, as machines are slow and fast in turns (A B, B A puts
    /// runs of one side beside each other, which are then alike).
    fn take(&self, args: &CheckArgs) -> Result<()> {
        signal::heed()?;
        let _restore = Restore(self);
        let begun = Instant::now();
        let most = LOOKS[LOOKS.len() - 1];
        for pair in 1..=most {
            let order = if by_chance() { [0, 1] } else { [1, 0] };
            for side in order {
                let file = self.record(side, pair)?;
                // What cannot be judged now will not be after six pairs.
                check::fits(&file)?;
            }
            if LOOKS.contains(&pair) {
                let found = check::of_sets(&self.sides(args))?;
                note!("netstrata: {pair} pairs in {:.0} s: {}", begun.elapsed().as_secs_f64(), found.headline());
                if found.verdict != Verdict::Undecided {
                    break;
                }
            }
            if begun.elapsed() >= at_most(args) {
                note!("netstrata: {pair} pairs in {:.0} s, and no more (--at-most)", begun.elapsed().as_secs_f64());
                break;
            }
        }
        Ok(())
    }

    fn record(&self, side: usize, pair: usize) -> Result<PathBuf> {
        let mut set_up = Command::new("sh");
        set_up.args(["-c", self.set_up[side]]);
        runtime::wait(finish(set_up, &format!("--{}", SIDES[side])))?;
        let file = self.directory.join(format!("{}-{pair}.prof", SIDES[side]));
        let mut record = Command::new(program::netstrata()?);
        record.arg("record").arg("-o").arg(&file).arg("--").args(self.command);
        runtime::wait(finish(record, "recording the benchmark")).inspect_err(|_| {
            // What was cut off is no repeat.
            let _ = fs::remove_file(&file);
        })?;
        Ok(file)
    }
}

/// The keys of the library's hashes are random.
fn by_chance() -> bool {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(0_u8).is_multiple_of(2)
}

/// Our standard output is for the verdict.
fn to_errors() -> Stdio {
    use std::os::fd::AsFd as _;
    std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from)
}

/// Runs a command to its end. A failure of it is wrong input; what a signal interrupts ends in order first.
async fn finish(mut command: Command, what: &str) -> Result<()> {
    command.stdout(to_errors());
    match child::to_end(command, what, LIMIT, GRACE).await? {
        // What the recorder refuses, it has said.
        Some(status) if status.code() == Some(3) && what.starts_with("recording") => {
            Err(Failure::Refused("nothing could be recorded".into()).into())
        }
        Some(status) if !status.success() => Err(Failure::Usage(format!("{what} failed ({status})")).into()),
        Some(_) => Ok(()),
        None => Err(Failure::Usage(format!("{what} did not end within {} minutes", LIMIT.as_secs() / 60)).into()),
    }
}
