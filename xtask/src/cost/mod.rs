//! `cargo xtask cost`: what the kernel programs cost, in instructions, and whether that is what is on record.
//!
//! A machine whose clock counts instructions makes the same traffic in three recordings; the kernel's own statistics of its
//! programs tell how long each ran, which on that clock is how many instructions. Nothing is asked of netstrata but to
//! record, so that any version of it can be measured. See `docs/cost.md`.

mod figures;
mod guest;
mod kernel;
mod record;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use self::{figures::Measured, record::Record};
use crate::exit::Exit;
use crate::run;
use crate::setup::{Voice, setup};
use crate::tally::Tally;
use crate::vm;

pub use guest::{GuestArgs, run as guest};

/// Before the result of a machine in what it prints.
const RESULT: &str = "cost: result: ";
/// How long a machine may take; about a minute where nothing else runs, two with `--loss`.
const LIMIT: &str = "20m";
/// The kernels that a change is judged by: with and without the tracepoint of ready sockets, and both are long in use.
pub const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// Arguments of `cargo xtask cost`.
#[derive(Clone, Debug, Args)]
pub struct CostArgs {
    /// Those that `netstrata lab machine --list` names, one or several with commas, or all
    #[arg(long, default_value = "all", value_delimiter = ',')]
    kernel: Vec<String>,
    /// Measure, too, what a recording at the default budget takes from round trips and from a stream
    #[arg(long)]
    loss: bool,
    /// Write down what was measured instead of comparing it; with the losses
    #[arg(long, value_name = "COLUMN", num_args = 0..=1, default_missing_value = "now")]
    bless: Option<Column>,
    /// Another netstrata than that of this directory
    #[arg(long, hide = true, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// A column of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Column {
    /// The code as it is.
    Now,
    /// The code that it is compared with.
    Before,
}

/// Runs `cargo xtask cost`.
pub fn cost(args: &CostArgs) -> Result<()> {
    let program = match &args.program {
        Some(program) => std::fs::canonicalize(program).with_context(|| format!("no file {}", program.display()))?,
        None => {
            setup(Voice::Brief)?;
            run::run(run::cargo().args(["build", "--release"]))?;
            vm::program()?
        }
    };
    let mut kernels = Vec::new();
    for asked in &args.kernel {
        kernels.extend(vm::kernels(&program, asked)?);
    }
    let loss = args.loss || args.bless.is_some();
    let jobs = kernels.iter().map(|kernel| || measure(&program, kernel, loss));
    let measured = run::at_once(jobs.collect());
    let mut record = Record::read()?;
    let (mut failed, mut measured_any) = (Vec::new(), false);
    for (kernel, result) in kernels.into_iter().zip(measured) {
        let measured = match result? {
            Outcome::Measured(measured) => measured,
            Outcome::Skipped(reason) => {
                println!("skipped: costs with Linux {kernel}: {reason}");
                continue;
            }
        };
        measured_any = true;
        let (text, fails) = record::judge(&kernel, record.now.get(&kernel), &measured);
        println!("{text}");
        match args.bless {
            Some(Column::Now) => drop(record.now.insert(kernel, measured)),
            Some(Column::Before) => drop(record.before.insert(kernel, measured)),
            None if fails => failed.push(kernel),
            None => {}
        }
    }
    if args.bless.is_some() && measured_any {
        return record.write();
    }
    if !failed.is_empty() {
        bail!(Exit { code: 1, message: verdict(&failed.join(", ")) });
    }
    Ok(())
}

/// The sentence for costs that are not those on record.
fn verdict(kernels: &str) -> String {
    format!(
        "with Linux {kernels} the costs are not those on record; if they shall be so, `cargo xtask cost --bless` writes them down"
    )
}

/// Measures with a kernel and compares with the record; what to print, and whether it passed.
pub fn gate(program: &Path, kernel: &str) -> (Vec<u8>, Tally) {
    let mut tally = Tally::default();
    let compared = Record::read().and_then(|record| {
        let measured = in_machine(program, kernel, false)?;
        let (text, fails) = record::judge(kernel, record.now.get(kernel), &measured);
        Ok(if fails { (format!("{text}xtask: {}\n", verdict(kernel)), true) } else { (text, false) })
    });
    let (text, fails) =
        compared.unwrap_or_else(|error| (format!("xtask: costs with Linux {kernel}: {error:#}\n"), true));
    if fails {
        tally.went_wrong()
    } else {
        tally.went_well()
    }
    (text.into_bytes(), tally)
}

/// How measuring ended.
enum Outcome {
    Measured(Measured),
    /// The kernel cannot be had here, for this reason.
    Skipped(String),
}

/// Measures with a kernel, if it can be had.
fn measure(program: &Path, kernel: &str, loss: bool) -> Result<Outcome> {
    match vm::get(program, kernel) {
        Ok(()) => in_machine(program, kernel, loss).map(Outcome::Measured),
        Err(reason) => Ok(Outcome::Skipped(reason)),
    }
}

/// Measures with a kernel that is there.
fn in_machine(program: &Path, kernel: &str, loss: bool) -> Result<Measured> {
    eprintln!("cost: Linux {kernel}: starting");
    let mut machine = Command::new(program);
    machine.args(["lab", "machine", "--kernel", kernel, "--clock", "instructions", "--limit", LIMIT, "--"]);
    machine.arg(&*run::THIS_PROGRAM).arg("cost-guest").arg(program);
    if loss {
        machine.arg("--loss");
    }
    let output = machine.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot start netstrata")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let result = said.lines().find_map(|line| line.strip_prefix(RESULT));
    let result = result.filter(|_| output.status.success());
    let result =
        result.with_context(|| format!("the machine with Linux {kernel} measured nothing: {}", output.status))?;
    Measured::from_result(&serde_json::from_str(result)?).with_context(|| format!("Linux {kernel}"))
}
