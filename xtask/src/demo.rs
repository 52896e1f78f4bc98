//! `cargo xtask demo`: one stream and one ping-pong through the host and through a bridge, and where the time went.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::run;
use crate::setup::{Voice, setup};

/// What is run: directory, workload, where client and server run. Both have one CPU: waking another one out of its idle state
/// costs far more than a bridge does and would hide it, and a stream that has CPUs to spare is limited by none of them.
const WORKLOADS: [(&str, &str, &str); 2] = [("stream", "tcp-stream", "same"), ("rr", "tcp-rr", "same")];
/// The faster mode, then the slower.
const MODES: [&str; 2] = ["host", "bridge"];
/// Sets up, builds, measures and draws.
pub fn demo() -> Result<()> {
    setup(Voice::Brief)?;
    run::run(run::cargo().args(["build", "--release"]))?;
    let target = run::target_directory()?;
    let program = target.join("release/netstrata");
    let directory = target.join("demo");
    let formats = formats(&program)?;
    let mut written = Vec::new();
    for (name, workload, pin) in WORKLOADS {
        measure(&program, &formats, &directory.join(name), workload, pin, &mut written)?;
    }
    println!("\nWritten:");
    let here = std::env::current_dir().unwrap_or_default();
    for (file, shows) in written {
        println!("  {:44}{shows}", file.strip_prefix(&here).unwrap_or(&file).display());
    }
    Ok(())
}

/// What a command of the program writes besides what it prints by itself.
#[derive(Debug, PartialEq, Eq)]
struct Format {
    command: String,
    name: String,
    extension: String,
    shows: String,
}

/// The formats, as the program lists them: the first of each command is what comes without `--format`.
fn formats(program: &Path) -> Result<Vec<Format>> {
    let listed = run::output(Command::new(program).arg("formats"))?;
    let mut found: Vec<Format> = Vec::new();
    let mut printed = BTreeSet::new();
    for line in listed.lines() {
        let &[command, name, extension, shows] = line.split('\t').collect::<Vec<_>>().as_slice() else {
            bail!("netstrata lists a format in another way: {line}");
        };
        if !printed.insert(command.to_owned()) {
            let [command, name, extension, shows] = [command, name, extension, shows].map(str::to_owned);
            found.push(Format { command, name, extension, shows });
        }
    }
    Ok(found)
}

fn measure(
    program: &Path,
    formats: &[Format],
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
        for format in formats.iter().filter(|format| format.command == "report") {
            let file = directory.join(format!("{mode}.{}", format.extension));
            save(Command::new(program).arg("report").arg(profile).args(["--format", &format.name]), &file)?;
            written.push((file, format!("{workload} through {mode}. {}", format.shows)));
        }
    }
    run::run(Command::new(program).arg("explain").args([&baseline, &target]))?;
    for format in formats.iter().filter(|format| format.command == "explain") {
        let file = directory.join(format!("explain.{}", format.extension));
        save(Command::new(program).arg("explain").args([&baseline, &target]).args(["--format", &format.name]), &file)?;
        written.push((file, format!("{workload} through {}. {}", MODES.join(" and "), format.shows)));
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

    const LISTED: &str = "report\ttext\ttxt\tTables\nreport\tjson\tjson\tNames\nreport\tfolded\tstacks\tLines\n\
                          explain\ttext\ttxt\tTables\nexplain\tsvg\tsvg\tA picture\n";

    /// A program that prints its arguments, or its formats where they are asked for, and fails where `explain` is asked for
    /// if told so.
    fn stand_in(directory: &Path, explain_exit: u8) -> PathBuf {
        let program = directory.join("netstrata");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" != formats ] || exec printf %s '{LISTED}'\necho \"$@\"\n\
             [ \"$1\" != explain ] || exit {explain_exit}\n"
        );
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
        let program = stand_in(&directory, 0);
        let formats = formats(&program).expect("a list");
        let names: Vec<_> = formats.iter().map(|format| (format.command.as_str(), format.name.as_str())).collect();
        assert_eq!(names, [("report", "json"), ("report", "folded"), ("explain", "svg")]);
        let mut written = Vec::new();
        measure(&program, &formats, &directory, "tcp-rr", "same", &mut written).expect("runs");
        let files: Vec<_> = written.iter().filter(|(file, _)| file.extension().is_some_and(|e| e != "prof")).collect();
        assert_eq!(files.len(), 5);
        for (file, shows) in files {
            let text = std::fs::read_to_string(file).expect("written");
            let extension = file.extension().and_then(|e| e.to_str()).expect("extension");
            let format = formats.iter().find(|format| format.extension == extension).expect("a format");
            assert!(text.trim_end().ends_with(&format!("--format {}", format.name)), "{}: {text}", file.display());
            assert!(shows.ends_with(&format.shows), "{shows}");
        }
        std::fs::remove_dir_all(directory).expect("remove");
    }

    #[test]
    fn a_step_that_fails_gives_its_exit_code() {
        let directory = directory("code");
        let program = stand_in(&directory, 4);
        let error = measure(&program, &[], &directory, "tcp-rr", "same", &mut Vec::new()).expect_err("fails");
        assert_eq!(Exit::code_of(&error), 4);
        assert!(error.to_string().contains("netstrata explain"), "{error}");
        std::fs::remove_dir_all(directory).expect("remove");
    }
}
