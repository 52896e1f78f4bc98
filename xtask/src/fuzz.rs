//! `cargo xtask fuzz`: searches for inputs that break netstrata, guided by what of the program each reaches (`profiler/fuzz`).
//!
//! The stable compiler is enough: coverage needs no sanitizer, and there is next to no unsafe code in what is searched.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::exit::Exit;
use crate::packages::find_program;
use crate::run;

/// The search's program.
const VERSION: &str = "0.13.2";

/// Arguments of `fuzz`.
#[derive(Debug, Args)]
pub struct FuzzArgs {
    /// How long each target is searched, in minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// Which: directories of profiler/fuzz/corpus; without any, all, one after the other
    targets: Vec<String>,
}

/// Searches each target; an input that breaks one lies in profiler/fuzz/artifacts then.
pub fn fuzz(args: &FuzzArgs) -> Result<()> {
    let known = targets()?;
    if let Some(wrong) = args.targets.iter().find(|name| !known.contains(name)) {
        bail!(Exit::unusable(format!("there is no target {wrong}; there is: {}", known.join(", "))));
    }
    if find_program("g++").is_none() {
        bail!(Exit::unusable("the search is written in C++: install g++"));
    }
    if find_program("cargo-fuzz").is_none() {
        eprintln!("xtask: installing cargo-fuzz {VERSION}");
        let mut install = run::cargo();
        install.args(["install", "cargo-fuzz", "--version", VERSION, "--locked"]);
        // A directory of its own, not that of a workspace whose target directory is set.
        run::run(install.current_dir("/").env_remove("CARGO_TARGET_DIR"))?;
    }
    let mut broken = Vec::new();
    for target in if args.targets.is_empty() { &known } else { &args.targets } {
        if let Err(error) = search(target, args.minutes) {
            eprintln!("xtask: {error:#}");
            broken.push(target.clone());
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    let message = format!("{} broke; the inputs are in profiler/fuzz/artifacts", broken.join(", "));
    bail!(Exit { code: 1, message })
}

/// Names of the targets: each has a corpus.
fn targets() -> Result<Vec<String>> {
    let directory = directory().join("corpus");
    let entries = std::fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut names: Vec<String> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<std::io::Result<_>>()?;
    names.sort();
    Ok(names)
}

fn directory() -> PathBuf {
    run::workspace().join("profiler/fuzz")
}

fn search(target: &str, minutes: u32) -> Result<()> {
    let (build, fuzz) = (run::target_directory()?.join("fuzz"), directory());
    // What it finds interesting goes into the first of the two, and not among the files of the repository.
    let found = build.join("corpus").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let mut command = run::cargo();
    command.env("AYA_BUILD_SKIP", "1").current_dir(&fuzz);
    command.args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir"]).arg(&fuzz);
    command.arg("--target-dir").arg(&build).arg(target).arg(&found).arg(fuzz.join("corpus").join(target));
    command.arg("--").arg(format!("-max_total_time={}", 60 * u64::from(minutes)));
    // No input takes a second; the largest profiles of the corpus have 20 KiB.
    command.args(["-max_len=65536", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    run::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_those_with_a_corpus_and_others_are_refused() {
        let known = targets().expect("the corpus is there");
        assert!(known.iter().any(|name| name == "profile"), "{known:?}");
        let wrong = FuzzArgs { minutes: 1, targets: vec!["nothing".into()] };
        let error = fuzz(&wrong).expect_err("there is no such target");
        assert!(Exit::code_of(&error) == 2 && error.to_string().contains("profile"), "{error:#}");
    }
}
