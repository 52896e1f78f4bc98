//! The `netstrata` command.

use std::process::ExitCode;

use clap::Parser as _;
use netstrata::{
    cli::{Cli, Command, LabCommand},
    doctor, exit, explain, lab, machine, output, record, report, topology,
};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Doctor(args) => doctor::run(&args),
        Command::Topology(args) => topology::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Formats => output::print(&(report::formats() + &explain::formats())),
        Command::Lab { command: LabCommand::List(args) } => lab::list(&args),
        Command::Lab { command: LabCommand::Run(args) } => lab::run(&args),
        Command::Lab { command: LabCommand::Machine(args) } => machine::command::run(&args),
        Command::Lab { command: LabCommand::Worker(args) } => lab::worker(&args),
        Command::Lab { command: LabCommand::Job(args) } => lab::job(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("netstrata: {error:#}");
            ExitCode::from(exit::code(&error))
        }
    }
}
