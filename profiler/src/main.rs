//! The `netstrata` command.

use netstrata::note;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, Parser as _, builder::Styles};
use netstrata::{
    claims,
    cli::{Cli, Command, LabCommand},
    doctor, exit, explain,
    host::signal,
    lab, logger, machine, measure, merge, output, record, report, topology,
};

fn main() -> ExitCode {
    signal::prepare();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and the version are wanted; what is wrong may hold words of anybody's.
        Err(told) if !told.use_stderr() => told.exit(),
        Err(_) => {
            note!("{}", complaint());
            return ExitCode::from(exit::usage());
        }
    };
    match logger::begin(cli.verbose).map_err(Into::into).and_then(|()| run(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            note!("netstrata: {}", exit::sentence(&error));
            ExitCode::from(exit::code(&error))
        }
    }
}

/// What is wrong with the words of the command line, in letters without a style: theirs are seen.
fn complaint() -> String {
    match Cli::command().styles(Styles::plain()).try_get_matches() {
        Ok(_) => String::new(),
        Err(wrong) => wrong.render().ansi().to_string().trim_end().to_owned(),
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Doctor(args) => doctor::run(&args),
        Command::Topology(args) => topology::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Check(args) => measure::run(&args),
        Command::Claims(args) => claims::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Recover(args) => record::recover(&args),
        Command::Formats => output::print(&(report::formats() + &explain::formats())),
        Command::Lab { command: LabCommand::List(args) } => lab::list(&args),
        Command::Lab { command: LabCommand::Run(args) } => lab::run(&args),
        Command::Lab { command: LabCommand::Machine(args) } => machine::command::run(&args),
        Command::Lab { command: LabCommand::Worker(args) } => lab::worker(&args),
        Command::Lab { command: LabCommand::Job(args) } => lab::job(&args),
    }
}
