//! Set-up, demo and tests: `cargo xtask setup`, `cargo xtask demo`, `cargo xtask test`, `cargo xtask vm`.

mod btf_reduce;
mod cost;
mod demo;
mod exit;
mod facts;
mod fuzz;
mod overhead;
mod packages;
mod plan;
mod run;
mod services;
mod setup;
#[cfg(test)]
mod sizes;
mod tally;
mod test;
mod vm;

#[path = "../../profiler/bpf_toolchain.rs"]
mod bpf_toolchain;
#[expect(dead_code, reason = "the fields are for those who read them")]
#[path = "../../profiler-common/src/offset.rs"]
mod offset;

use std::process::ExitCode;

use clap::Parser;

/// Set-up, demo and tests of netstrata.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done; 1 a test failed; 2 something is missing that cannot be installed here; 3 \
                        a privilege or a step was refused. A step of the demo that fails gives its own code.")]
enum Cli {
    /// Install what building, testing and the demo need; does nothing where all is there
    Setup,
    /// Set up, build, and run every test: unit, property, golden and live
    Test,
    /// Run live tests, or a command, in emulated machines with Debian's kernels
    Vm(vm::VmArgs),
    /// Measure what recording costs: interleaved pairs with and without it
    Overhead {
        /// Pairs of runs for each mode and workload
        #[arg(long, default_value_t = 12)]
        pairs: u32,
        /// Length of a run, like 2s
        #[arg(long, default_value = "2s")]
        duration: String,
    },
    /// Count the instructions of the kernel programs in emulated machines, and compare them with docs/cost.md
    Cost(cost::CostArgs),
    /// The part of `cost` that runs in the machine
    #[command(hide = true)]
    CostGuest(cost::GuestArgs),
    /// Search for inputs that break the program, guided by coverage (see docs/testing.md)
    Fuzz(fuzz::FuzzArgs),
    /// Set up, build, and measure where a bridge takes time, with pictures in target/demo
    Demo,
    /// Make a kernel's BTF small enough for fixtures/kernels (see docs/testing.md)
    BtfReduce {
        /// The section .BTF of a kernel
        from: std::path::PathBuf,
        /// The file to write
        to: std::path::PathBuf,
        /// Of a module: the section .BTF of its kernel
        #[arg(long)]
        base: Option<std::path::PathBuf>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // SAFETY: no other thread exists yet, so nobody reads the environment meanwhile.
    unsafe { std::env::set_var("PATH", run::search_path()) };
    std::sync::LazyLock::force(&run::THIS_PROGRAM);
    let result = match cli {
        Cli::Setup => setup::setup(setup::Voice::Full),
        Cli::Test => test::test(),
        Cli::Vm(args) => vm::vm(&args),
        Cli::Overhead { pairs, duration } => overhead::overhead(pairs, &duration),
        Cli::Cost(args) => cost::cost(&args),
        Cli::CostGuest(args) => cost::guest(&args),
        Cli::Fuzz(args) => fuzz::fuzz(&args),
        Cli::Demo => demo::demo(),
        Cli::BtfReduce { from, to, base } => btf_reduce::run(&from, &to, base.as_deref()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(exit::Exit::code_of(&error))
        }
    }
}
