//! `netstrata lab machine`, and what is alike for every command that runs in a guest.

use crate::note;
use std::{path::Path, process::ExitCode};

use anyhow::Result;

use super::run::{self, Ended, Job};
use crate::{
    choices::{KERNELS, Kernel},
    cli::LabMachineArgs,
    failure::Failure,
    host::{
        emulated::inside,
        signal::{self, Interrupted},
    },
    output::print,
};

/// Runs `netstrata lab machine`.
pub fn run(args: &LabMachineArgs) -> Result<ExitCode> {
    if let Some((kernel, _)) = inside() {
        return Err(nested(kernel).into());
    }
    if args.list {
        return print(&KERNELS.iter().map(|kernel| format!("{}\n", kernel.version)).collect::<String>());
    }
    if args.get {
        let release = run::prepare(args.kernel, &mut |what| note!("netstrata: {what}"))?;
        return print(&format!("{release}\n"));
    }
    for directory in &args.share {
        if !directory.is_dir() {
            let said = format!("there is no directory {}; make it or share another", directory.display());
            return Err(Failure::Usage(said).into());
        }
    }
    run_job(&Job {
        kernel: args.kernel,
        clock: args.clock,
        cpus: args.cpus,
        layout: 0,
        command: args.command.clone(),
        shares: args.share.clone(),
        limit: args.limit,
    })
}

/// Runs a job in an emulated machine and passes its exit code on.
pub fn run_job(job: &Job) -> Result<ExitCode> {
    end(refuse_hidden(&job.command[0]).and_then(|()| run::run(job)))
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

/// The refusal of a machine within a machine, which has this kernel.
pub fn nested(kernel: &Kernel) -> Failure {
    Failure::Usage(format!("this is an emulated machine already, with Linux {}: none starts within", kernel.version))
}

/// Passes the exit code on, unless the kernel did not run well.
fn end(result: Result<Ended>) -> Result<ExitCode> {
    if let Err(Interrupted(number)) = signal::check()
        && result.is_err()
    {
        note!("netstrata: interrupted; the emulated machine is gone");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_the_guest_cannot_see_is_refused() {
        assert!(refuse_hidden("/run/user/0/netstrata").is_err());
        assert!(refuse_hidden("/runner/netstrata").is_ok());
        assert!(refuse_hidden("ls").is_ok());
    }

    #[test]
    fn a_command_that_ran_on_a_kernel_in_trouble_does_not_succeed() {
        let trouble = |kind| super::super::console::Trouble { kind, line: "said".into() };
        let ended = |exit_code, kind| end(Ok(Ended { exit_code, troubles: vec![trouble(kind)] }));
        use super::super::console::TroubleKind;
        let failure = ended(0, TroubleKind::Lockup).err();
        assert!(failure.is_some_and(|error| matches!(error.downcast(), Ok(Failure::Untrusted(_)))));
        assert!(ended(0, TroubleKind::Warning).is_ok());
        assert!(ended(7, TroubleKind::Oops).is_ok_and(|code| code == ExitCode::from(7)));
        assert_eq!(nested(&KERNELS[0]).code(), 2);
    }
}
