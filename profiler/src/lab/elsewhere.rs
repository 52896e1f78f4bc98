//! Where `lab run` runs: here, or in an emulated machine, where the same command line runs again.

use crate::note;
use std::{fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};

use super::{modes, programs};
use crate::{
    choices::{Clock, Kernel, RunsOn},
    cli::LabRunArgs,
    failure::Failure,
    host::emulated::inside,
    machine::{self, run::Job},
};

/// Whether `lab run` has to go to an emulated machine, and the result if it did.
pub fn run(args: &LabRunArgs) -> Option<Result<ExitCode>> {
    if args.layout.is_some() && args.clock != Clock::Instructions {
        return Some(Err(Failure::Usage(
            "--layout belongs to --clock instructions: elsewhere every boot has its own".into(),
        )
        .into()));
    }
    let RunsOn::Emulated(kernel) = args.machine else {
        let refused = args.clock == Clock::Instructions && inside().is_none();
        return refused.then(|| {
            Err(Failure::Usage(
                "a real processor has no clock that counts instructions: give --machine emulated with it".into(),
            )
            .into())
        });
    };
    // These boot machines with that kernel themselves.
    if args.modes.iter().all(|mode| modes::has_machines(mode)) {
        return None;
    }
    match inside() {
        // This is the same command line, in the guest.
        Some((here, _)) if here == kernel => None,
        Some((here, _)) => Some(Err(machine::nested(here).into())),
        None => Some(in_guest(args, kernel)),
    }
}

fn in_guest(args: &LabRunArgs, kernel: &'static Kernel) -> Result<ExitCode> {
    // What is wrong with the words is said before anything starts.
    args.modes.iter().try_for_each(|mode| modes::find(mode).map(|_| ()))?;
    programs::find(args)?;
    fs::create_dir_all(&args.output).with_context(|| format!("cannot make {}", args.output.display()))?;
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let mut command = vec![program.to_string_lossy().into_owned()];
    command.extend(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()));
    note!(
        "netstrata: this runs in an emulated machine with Debian's Linux {} because of --machine; results go to {}",
        kernel.version,
        args.output.display()
    );
    let runs = args.modes.len() as u32 * args.repeat * args.size.len().max(1) as u32;
    machine::run_job(&Job {
        kernel,
        clock: args.clock,
        cpus: machine::CPUS,
        layout: args.layout.unwrap_or(0),
        command,
        shares: vec![args.output.clone()],
        // An emulated processor is many times slower, and with a clock of its own time itself passes slower.
        limit: Duration::from_secs(600) + (args.duration * 60 + Duration::from_secs(60)) * runs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_counts_instructions_needs_an_emulated_machine() {
        let args = LabRunArgs { clock: Clock::Instructions, ..LabRunArgs::default() };
        let refusal = run(&args).and_then(Result::err);
        assert!(refusal.is_some_and(|error| error.to_string().contains("--machine emulated")));
        assert!(run(&LabRunArgs::default()).is_none(), "nothing is asked for");
    }
}
