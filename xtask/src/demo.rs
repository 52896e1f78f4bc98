//! `cargo xtask demo`: one stream and one ping-pong through the host and through a bridge, and where the time went.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run;
use crate::setup::{Voice, setup};

/// What is run: directory, workload, where client and server run. The stream has both CPUs; the ping-pong has one, because
/// waking a CPU out of its idle state costs far more than a bridge does and would hide it.
const WORKLOADS: [(&str, &str, &str); 2] = [("stream", "tcp-stream", "none"), ("rr", "tcp-rr", "same")];
/// The faster mode, then the slower.
const MODES: [&str; 2] = ["host", "bridge"];
/// Files of a report: format, what it shows.
const REPORTS: [(&str, &str); 3] = [
    ("json", "the report for programs"),
    ("folded", "stack lines under their layer, for flame graph tools"),
    ("svg", "flame graphs: CPU by layer and stack, latency by path, layer and device"),
];
/// Files of an explanation: format, what it shows.
const EXPLANATIONS: [(&str, &str); 2] =
    [("json", "the explanation for programs"), ("svg", "the waterfall from host to bridge, layer by layer")];

/// Sets up, builds, measures and draws.
pub fn demo() -> Result<()> {
    setup(Voice::Brief)?;
    run::run(run::cargo().args(["build", "--release"]))?;
    let target = run::target_directory()?;
    let program = target.join("release/netstrata");
    let directory = target.join("demo");
    let mut written = Vec::new();
    for (name, workload, pin) in WORKLOADS {
        measure(&program, &directory.join(name), workload, pin, &mut written)?;
    }
    println!("\nWritten:");
    let here = std::env::current_dir().unwrap_or_default();
    for (file, shows) in written {
        println!("  {:44}{shows}", file.strip_prefix(&here).unwrap_or(&file).display());
    }
    Ok(())
}

fn measure(
    program: &Path,
    directory: &Path,
    workload: &str,
    pin: &str,
    written: &mut Vec<(PathBuf, String)>,
) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut lab = Command::new(program);
    lab.args(["lab", "run"])
        .args(MODES)
        .args(["--workload", workload, "--pin", pin, "--duration", "5s", "-o"])
        .arg(directory);
    run::run(&mut lab)?;
    let [baseline, target] = MODES.map(|mode| directory.join(format!("{mode}.prof")));
    for (mode, profile) in MODES.iter().zip([&baseline, &target]) {
        written.push((profile.clone(), format!("the recording of {workload} through {mode}")));
        run::run(Command::new(program).arg("report").arg(profile))?;
        for (format, shows) in REPORTS {
            let file = directory.join(format!("{mode}.{format}"));
            save(Command::new(program).arg("report").arg(profile).args(["--format", format]), &file)?;
            written.push((file, format!("{workload} through {mode}: {shows}")));
        }
    }
    run::run(Command::new(program).arg("explain").args([&baseline, &target]))?;
    for (format, shows) in EXPLANATIONS {
        let file = directory.join(format!("explain.{format}"));
        save(Command::new(program).arg("explain").args([&baseline, &target]).args(["--format", format]), &file)?;
        written.push((file, format!("{workload}: {shows}")));
    }
    Ok(())
}

/// Writes what a command prints to a file.
fn save(command: &mut Command, file: &Path) -> Result<()> {
    let output = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    run::finish(command.stdout(output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    /// A program that prints its arguments, and fails where `explain` is asked for if told so.
    fn stand_in(directory: &Path, explain_exit: u8) -> PathBuf {
        let program = directory.join("netstrata");
        let script = format!("#!/bin/sh\necho \"$@\"\n[ \"$1\" != explain ] || exit {explain_exit}\n");
        // Another process writes it: a file that this one has open for writing could leak into a child of another
        // test, and would then be refused as "text file busy".
        let write = "printf %s \"$1\" > \"$0\" && chmod +x \"$0\"";
        let status = Command::new("sh").args(["-c", write]).arg(&program).arg(script).status().expect("sh starts");
        assert!(status.success());
        program
    }

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("netstrata-demo-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("mkdir");
        directory
    }

    #[test]
    fn every_file_that_is_listed_holds_what_the_command_printed() {
        let directory = directory("files");
        let mut written = Vec::new();
        measure(&stand_in(&directory, 0), &directory, "tcp-rr", "same", &mut written).expect("runs");
        let files: Vec<_> = written.iter().filter(|(file, _)| file.extension().is_some_and(|e| e != "prof")).collect();
        assert_eq!(files.len(), 8);
        for (file, _) in files {
            let text = std::fs::read_to_string(file).expect("written");
            let format = file.extension().and_then(|e| e.to_str()).expect("format");
            assert!(text.trim_end().ends_with(&format!("--format {format}")), "{}: {text}", file.display());
        }
        std::fs::remove_dir_all(directory).expect("remove");
    }

    #[test]
    fn a_step_that_fails_gives_its_exit_code() {
        let directory = directory("code");
        let error =
            measure(&stand_in(&directory, 4), &directory, "tcp-rr", "same", &mut Vec::new()).expect_err("fails");
        assert_eq!(Exit::code_of(&error), 4);
        assert!(error.to_string().contains("netstrata explain"), "{error}");
        std::fs::remove_dir_all(directory).expect("remove");
    }
}
