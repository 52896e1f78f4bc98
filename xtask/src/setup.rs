//! `cargo xtask setup`: looks, does the next step of the plan, and looks again, until nothing is left to do.

use std::process::Command;

use anyhow::{Result, bail};

use crate::bpf_toolchain::LINKED;
use crate::exit::Exit;
use crate::packages::{Need, PACKAGES};
use crate::plan::{self, Action, Facts, LINKER_VERSION};
use crate::services::Quiet;
use crate::{facts, run};

/// More steps than any plan has.
const MOST_STEPS: usize = 16;

/// How much the set-up says when nothing is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// Every item, what shows that it is there, and why it is needed.
    Full,
    /// Only what is missing or done.
    Brief,
}

/// Makes the machine able to build, test and demonstrate; does nothing where all is there.
pub fn setup(voice: Voice) -> Result<()> {
    let mut offered = None;
    let mut tried = Vec::new();
    for _ in 0..MOST_STEPS {
        let facts = facts::gather(offered.clone(), tried.clone());
        let next = plan::next(&facts).inspect_err(|_| print_missing(&facts))?;
        let Some(action) = next else {
            report(&facts, voice);
            return Ok(());
        };
        if let Err(error) = perform(&action, &facts) {
            eprintln!("setup: {error:#}");
        }
        let llvm = facts.toolchain.as_ref().map_or(0, |toolchain| toolchain.llvm);
        // Names of packages depend on the compiler, so the archive is asked again after each step.
        if offered.is_some() || action == Action::UpdateLists {
            offered = Some(facts::offered(llvm));
        }
        tried.push(action);
    }
    bail!(Exit::refused("the set-up does not come to an end; please report what it printed"))
}

fn perform(action: &Action, facts: &Facts) -> Result<()> {
    match action {
        Action::UpdateLists => run::run(apt_get().arg("update")),
        Action::Install(names) => {
            for package in PACKAGES {
                let llvm = facts.toolchain.as_ref().map_or(0, |toolchain| toolchain.llvm);
                let name = package.name_for(llvm);
                if names.contains(&name) {
                    eprintln!("setup: installing {name}: {}", package.why);
                }
            }
            let _quiet = Quiet::keep();
            let install = || run::run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(names));
            install().or_else(|error| {
                eprintln!("setup: {error:#}; trying once more");
                run::run(apt_get().arg("update"))?;
                install()
            })
        }
        Action::LinkToolchain => {
            eprintln!("setup: linking Debian's compiler as toolchain {LINKED}, to build the kernel programs");
            run::run(Command::new("rustup").args(["toolchain", "link", LINKED, "/usr"]))
        }
        Action::InstallNightly => {
            eprintln!("setup: installing nightly with the sources of `core`, to build the kernel programs");
            run::run(
                Command::new("rustup")
                    .args(["toolchain", "install", "nightly", "--profile", "minimal"])
                    .args(["--component", "rust-src"]),
            )
        }
        Action::InstallLinker { llvm, packaged } => {
            eprintln!("setup: building bpf-linker {LINKER_VERSION} with LLVM {llvm}, the compiler's");
            let mut command = run::cargo();
            command.args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--force"]);
            command.args(["--no-default-features", "--features", &format!("llvm-{llvm}")]);
            // A directory of its own per user, not that of a workspace whose target directory is set.
            command.current_dir("/").env_remove("CARGO_TARGET_DIR");
            if *packaged {
                command.env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"));
            }
            run::run(&mut command)
        }
    }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Prints what is missing, each with its reason, for those who install by hand.
fn print_missing(facts: &Facts) {
    let llvm = facts.toolchain.as_ref().map(|toolchain| toolchain.llvm);
    for package in &facts.absent {
        let needed = match package.need {
            Need::Tool => true,
            Need::Compiler => facts.toolchain.is_none(),
            Need::Linker => facts.toolchain.is_some() && !facts.linker_fits(),
        };
        if needed {
            eprintln!("missing  {:16}  {}", package.name_for(llvm.unwrap_or(0)), package.why);
        }
    }
    match &facts.toolchain {
        None => {
            eprintln!("missing  {:16}  a compiler with the sources of `core`, to build the kernel programs", "rust")
        }
        Some(toolchain) if !facts.linker_fits() => {
            let why = format!("version {LINKER_VERSION} with LLVM {}, links the kernel programs", toolchain.llvm);
            eprintln!("missing  {:16}  {why}", "bpf-linker");
        }
        Some(_) => {}
    }
}

fn report(facts: &Facts, voice: Voice) {
    for package in plan::unavailable(facts) {
        eprintln!("setup: {} could not be had; tests that use it are skipped: {}", package.name, package.why);
    }
    if voice == Voice::Brief {
        return;
    }
    if let Some(toolchain) = &facts.toolchain {
        println!("compiler    {}", plan::describe(toolchain));
    }
    if let Some(linker) = &facts.linker {
        let llvm = linker.llvm.map_or_else(|| "an LLVM of its own".to_owned(), |llvm| format!("LLVM {llvm}"));
        println!("bpf-linker  {} with {llvm}: links the kernel programs", linker.version);
    }
    println!();
    for package in PACKAGES.iter().filter(|package| package.need == Need::Tool) {
        if let Some(path) = package.find(0) {
            println!("{:16}{:24}{}", package.name, path.display(), package.why);
        }
    }
    println!("\nAll is there.");
}
