//! `netstrata lab machine`, and `netstrata lab run --machine emulated`: the same command line, run again in the guest.

use std::{fs, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    KERNELS, Kernel, Place,
    guest::{self, Job, Outcome},
    inside,
};
use crate::{
    cli::{LabMachineArgs, LabRunArgs},
    failure::Failure,
    lab::{
        external::Driver,
        modes,
        signal::{self, Interrupted},
    },
    profile::Clock,
};

/// Runs `netstrata lab machine`.
pub fn run(args: &LabMachineArgs) -> Result<ExitCode> {
    if let Some((kernel, _)) = inside() {
        return Err(nested(kernel));
    }
    if args.list {
        KERNELS.iter().for_each(|kernel| println!("{}", kernel.version));
        return Ok(ExitCode::SUCCESS);
    }
    if args.get {
        println!("{}", guest::prepare(args.kernel, &mut |what| eprintln!("netstrata: {what}"))?);
        return Ok(ExitCode::SUCCESS);
    }
    for directory in &args.share {
        if !directory.is_dir() {
            let said = format!("there is no directory {}; make it or share another", directory.display());
            return Err(Failure::Usage(said).into());
        }
    }
    end(run_job(&Job {
        kernel: args.kernel,
        clock: args.clock,
        command: args.command.clone(),
        shares: args.share.clone(),
        limit: args.limit,
    }))
}

/// Whether `lab run` has to go to an emulated machine, and the result if it did.
pub fn lab_run(args: &LabRunArgs) -> Option<Result<ExitCode>> {
    let Place::Emulated(kernel) = args.machine else {
        let refused = args.clock == Clock::Instructions && inside().is_none();
        return refused.then(|| {
            Err(Failure::Usage(
                "a real processor has no clock that counts instructions: give --machine emulated with it".into(),
            )
            .into())
        });
    };
    match inside() {
        // This is the same command line, in the guest.
        Some((here, _)) if here == kernel => None,
        Some((here, _)) => Some(Err(nested(here))),
        None => Some(end(lab_in_guest(args, kernel))),
    }
}

fn lab_in_guest(args: &LabRunArgs, kernel: &'static Kernel) -> Result<Outcome> {
    // What is wrong with the words is said before anything starts.
    args.modes.iter().try_for_each(|mode| modes::find(mode).map(|_| ()))?;
    Driver::find(args)?;
    fs::create_dir_all(&args.output).with_context(|| format!("cannot make {}", args.output.display()))?;
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let mut command = vec![program.to_string_lossy().into_owned()];
    command.extend(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()));
    eprintln!(
        "netstrata: this runs in an emulated machine with Debian's Linux {} because of --machine; results go to {}",
        kernel.version,
        args.output.display()
    );
    let runs = args.modes.len() as u32 * args.repeat * args.size.len().max(1) as u32;
    run_job(&Job {
        kernel,
        clock: args.clock,
        command,
        shares: vec![args.output.clone()],
        // An emulated processor is many times slower, and with a clock of its own time itself passes slower.
        limit: Duration::from_secs(600) + (args.duration * 60 + Duration::from_secs(60)) * runs,
    })
}

fn run_job(job: &Job) -> Result<Outcome> {
    refuse_hidden(&job.command[0])?;
    guest::run(job)
}

/// The guest has file systems of its own in some places; a program there would not be found.
fn refuse_hidden(program: &str) -> Result<()> {
    let path = Path::new(program);
    let hidden = ["/run", "/dev", "/proc", "/sys"].iter().find(|place| path.starts_with(place));
    match hidden {
        Some(place) => Err(Failure::Usage(format!(
            "an emulated machine does not see the files of this machine's {place}: copy {program} elsewhere"
        ))
        .into()),
        None => Ok(()),
    }
}

fn nested(kernel: &Kernel) -> anyhow::Error {
    let said = format!("this is an emulated machine already, with Linux {}: none starts within", kernel.version);
    Failure::Usage(said).into()
}

/// Passes the exit code on, unless the kernel did not run well.
fn end(result: Result<Outcome>) -> Result<ExitCode> {
    if let Err(Interrupted(number)) = signal::check()
        && result.is_err()
    {
        eprintln!("netstrata: interrupted; the emulated machine is gone");
        return Ok(ExitCode::from(128u8.saturating_add(number as u8)));
    }
    let outcome = result?;
    if let (0, Some(worst)) = (outcome.exit_code, outcome.troubles.iter().find(|trouble| trouble.kind.is_failure())) {
        return Err(Failure::Untrusted(format!(
            "the command ended well, but its kernel did not run well ({}): nothing it measured counts",
            worst.kind
        ))
        .into());
    }
    Ok(ExitCode::from(outcome.exit_code))
}

/// What to add to the refusal of a mode that needs something the running kernel lacks.
pub fn hint() -> &'static str {
    "; add `--machine emulated` to run it in an emulated machine with Debian's kernel"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_counts_instructions_needs_an_emulated_machine() {
        let args = LabRunArgs { clock: Clock::Instructions, ..LabRunArgs::default() };
        let refusal = lab_run(&args).and_then(Result::err);
        assert!(refusal.is_some_and(|error| error.to_string().contains("--machine emulated")));
        assert!(lab_run(&LabRunArgs::default()).is_none(), "nothing is asked for");
    }

    #[test]
    fn a_program_that_the_guest_cannot_see_is_refused() {
        assert!(refuse_hidden("/run/user/0/netstrata").is_err());
        assert!(refuse_hidden("/runner/netstrata").is_ok());
        assert!(refuse_hidden("ls").is_ok());
    }

    #[test]
    fn a_command_that_ran_on_a_kernel_in_trouble_does_not_succeed() {
        let trouble = |kind| super::super::console::Trouble { kind, line: "said".into() };
        let ended = |exit_code, kind| end(Ok(Outcome { exit_code, troubles: vec![trouble(kind)] }));
        use super::super::console::Kind;
        let failure = ended(0, Kind::Lockup).err();
        assert_eq!(failure.as_ref().map(crate::failure::exit_code), Some(4));
        assert!(ended(0, Kind::Warning).is_ok());
        assert!(ended(7, Kind::Oops).is_ok_and(|code| code == ExitCode::from(7)));
        assert_eq!(crate::failure::exit_code(&nested(&KERNELS[0])), 2);
    }
}
