//! The `netstrata` command.

use netstrata::note;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use netstrata::{
    claims,
    cli::{Cli, Command, LabCommand},
    doctor, exit, explain, lab, logger, machine, measure, merge, output, record, report, topology,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match logger::begin(cli.verbose).map_err(Into::into).and_then(|()| run(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            note!("netstrata: {}", exit::sentence(&error));
            ExitCode::from(exit::code(&error))
        }
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
