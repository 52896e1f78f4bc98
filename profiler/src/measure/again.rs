//! `netstrata check MODE… --against DIR`: runs a mode of the lab as the recordings in DIR were made, and judges it by them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::{at_most, claim, finish, output};
use crate::{
    check::{self, LOOKS, Verdict},
    choices::Clock,
    cli::{CheckArgs, CheckFormat},
    failure::Failure,
    host::{program, runtime, signal},
    lab, note, profile,
};

/// Whether modes are to be run: targets that are modes of the lab, and of which no recordings are here.
pub(super) fn is_wanted(args: &CheckArgs) -> bool {
    let is_mode = |target: &PathBuf| {
        let name = target.to_str().unwrap_or_default();
        lab::modes::find(name).is_ok() && !target.exists() && profile::read_each(std::slice::from_ref(target)).is_err()
    };
    !args.targets.is_empty() && args.targets.iter().all(is_mode)
}

/// Runs the modes, one after the other; the exit code is the worst one.
pub(super) fn run(args: &CheckArgs) -> Result<ExitCode> {
    if args.targets.len() > 1 && (args.history.is_some() || args.format != CheckFormat::Text) {
        return Err(Failure::Usage(
            "several modes are several checks: give one mode with --history, or with a --format for programs".into(),
        )
        .into());
    }
    claim(output(args))?;
    let ended: Vec<ExitCode> =
        args.targets.iter().map(|mode| of_mode(&mode.to_string_lossy(), args)).collect::<Result<_>>()?;
    let worst = [1, 4].map(ExitCode::from).into_iter().find(|code| ended.contains(code));
    Ok(worst.unwrap_or(ExitCode::SUCCESS))
}

/// The same arguments for what was recorded and what is recorded.
fn of_sets(mode: &str, stored: &Path, args: &CheckArgs) -> CheckArgs {
    CheckArgs { against: vec![stored.join(mode)], targets: vec![output(args).join(mode)], ..args.clone() }
}

fn of_mode(mode: &str, args: &CheckArgs) -> Result<ExitCode> {
    let stored = match &args.against[..] {
        [one] if one.is_dir() => one.as_path(),
        _ => {
            return Err(
                Failure::Usage(format!("--against of the mode {mode} is a directory that `lab run` wrote")).into()
            );
        }
    };
    let there = profile::read_each(&[stored.join(mode)])?.0.len();
    let (options, like) = lab::options::kept(stored, mode)?;
    let refusal = if there < LOOKS[0] {
        Some(format!("{} holds {there} recordings of {mode}, and at least {} are needed", stored.display(), LOOKS[0]))
    } else if like.size.len() > 1 || like.no_record {
        Some(format!("{} was made with several sizes of messages: give a directory with one", stored.display()))
    } else {
        None
    };
    if let Some(refusal) = refusal {
        return Err(Failure::Usage(refusal).into());
    }
    let sets = of_sets(mode, stored, args);
    runtime::in_thread("ns-check", || {
        signal::heed()?;
        let begun = Instant::now();
        for pair in 1..=there {
            record(mode, &options, (like.clock == Clock::Instructions).then_some(pair), output(args), pair)?;
            if LOOKS.contains(&pair) {
                let found = check::of_sets(&sets)?;
                let seconds = begun.elapsed().as_secs_f64();
                note!("netstrata: {mode}, {pair} runs in {seconds:.0} s: {}", found.headline());
                if found.verdict != Verdict::Undecided {
                    break;
                }
            }
            if begun.elapsed() >= at_most(args) {
                note!("netstrata: {mode}, {pair} runs, and no more (--at-most)");
                break;
            }
        }
        anyhow::Ok(())
    })?;
    check::run(&sets)
}

/// One run of a mode, which builds its network, or boots its machine, anew.
fn record(mode: &str, options: &[String], layout: Option<usize>, directory: &Path, pair: usize) -> Result<()> {
    let own = directory.join(format!("{mode}-run"));
    let mut command = Command::new(program::netstrata()?);
    command.args(["lab", "run", mode]).args(options).arg("-o").arg(&own);
    // Boots that differ as those of the baseline did: a layout has its own alignment, and each pair has another one.
    if let Some(layout) = layout {
        command.args(["--layout", &layout.to_string()]);
    }
    let result = runtime::wait(finish(command, &format!("recording {mode}"))).and_then(|()| {
        let made = fs::read_dir(&own)?.flatten().map(|entry| entry.path());
        let made: Vec<PathBuf> = made.filter(|file| file.extension().is_some_and(|ending| ending == "prof")).collect();
        let made = made.first().with_context(|| format!("{mode} left no recording"))?;
        let file = directory.join(format!("{mode}-{pair}.prof"));
        fs::rename(made, &file)?;
        check::fits(&file)
    });
    let _ = fs::remove_dir_all(&own);
    result
}
