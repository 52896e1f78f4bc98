//! `cargo xtask test`: set-up, build, and every kind of test, with one line at the end that counts them.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::exit::Exit;
use crate::run;
use crate::setup::{Voice, setup};
use crate::tally::Tally;
use crate::vm;

/// Sets up, builds and tests.
pub fn test() -> Result<()> {
    setup(Voice::Brief)?;
    if !run::is_root() {
        eprintln!("xtask: not root: the live tests, which load kernel programs and make namespaces, will be skipped");
    }
    run::run(run::cargo().arg("build"))?;

    let mut all = Tally::default();
    let mut broken = Vec::new();
    for (name, arguments) in rounds(has_integration_tests()?) {
        let (tally, succeeded) = stream(run::cargo().args(COMMON).args(arguments))?;
        // A round that ends badly without a failed test did not build or was killed: that is no success either.
        if !succeeded && !tally.failed() {
            broken.push(name);
        }
        all.add(tally);
    }
    match vm::matrix("all", vm::Matrix::Part) {
        Ok(tally) => all.add(tally),
        Err(error) => {
            eprintln!("xtask: emulated machines: {error:#}");
            broken.push("live tests and costs in emulated machines");
        }
    }
    for line in all.why() {
        println!("{line}");
    }
    println!("\n{all}");
    if !broken.is_empty() {
        bail!(Exit { code: 1, message: format!("tests that did not run to their end: {}", broken.join(", ")) });
    }
    if all.failed() {
        bail!(Exit { code: 1, message: "tests failed".to_owned() });
    }
    Ok(())
}

const COMMON: [&str; 5] = ["test", "--workspace", "--exclude", "netstrata-ebpf", "--no-fail-fast"];

/// The rounds, live tests last and one at a time: they share the kernel.
fn rounds(integration: bool) -> Vec<(&'static str, &'static [&'static str])> {
    let mut rounds: Vec<(_, &'static [_])> = vec![
        ("unit and property tests", &["--lib", "--bins", "--", "--show-output"]),
        ("examples in the documentation", &["--doc", "--", "--show-output"]),
    ];
    if integration {
        rounds.push(("golden and live tests", &["--test", "*", "--", "--show-output", "--test-threads=1"]));
    }
    rounds
}

/// Whether a crate has a directory of tests; cargo refuses a pattern that matches none.
fn has_integration_tests() -> Result<bool> {
    let metadata = run::metadata()?;
    let packages = metadata["packages"].as_array().context("`cargo metadata` lists no packages")?;
    let is_test = |target: &serde_json::Value| target["kind"][0] == "test";
    Ok(packages.iter().filter_map(|package| package["targets"].as_array()).flatten().any(is_test))
}

/// Runs a command, passes its output on as it comes, and counts the tests in it.
pub(crate) fn stream(command: &mut Command) -> Result<(Tally, bool)> {
    eprintln!("$ {}", run::shown(command));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", run::shown(command)))?;
    let errors = child.stderr.take().context("no standard error")?;
    let results = child.stdout.take().context("no standard output")?;
    let errors = std::thread::spawn(move || pass_on(errors, std::io::stderr()));
    let mut tally = pass_on(results, std::io::stdout())?;
    let Ok(other) = errors.join() else { bail!("the reader of standard error panicked") };
    tally.add(other?);
    let status = child.wait().context("cannot wait for the tests")?;
    Ok((tally, status.success()))
}

/// Runs a command and keeps its output, both kinds as they came; counts the tests in it.
pub(crate) fn collect(mut command: Command) -> Result<(Vec<u8>, Tally, bool)> {
    let (from, to) = std::io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(to.try_clone()?)
        .stderr(to)
        .spawn()
        .with_context(|| format!("cannot start `{}`", run::shown(&command)))?;
    // The command holds ends of the pipe, too; reading would not end.
    drop(command);
    let mut said = Vec::new();
    let tally = pass_on(from, &mut said)?;
    let status = child.wait().context("cannot wait for the tests")?;
    Ok((said, tally, status.success()))
}

fn pass_on(from: impl Read, mut to: impl Write) -> Result<Tally> {
    let mut from = BufReader::new(from);
    let mut tally = Tally::default();
    let mut line = Vec::new();
    // Bytes, not strings: a test may print anything.
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        tally.read(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_tests_come_last_and_one_at_a_time() {
        let rounds = rounds(true);
        let (_, last) = rounds.last().expect("a round");
        assert!(last.contains(&"--test-threads=1"));
        assert!(rounds[..rounds.len() - 1].iter().all(|(_, arguments)| !arguments.contains(&"--test")));
    }

    #[test]
    fn output_is_passed_on_unchanged_and_counted() {
        let said =
            b"skipped: a: no \xff\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\nno end".as_slice();
        let mut heard = Vec::new();
        let tally = pass_on(said, &mut heard).expect("memory can be read");
        assert_eq!(heard, said);
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn both_kinds_of_output_are_kept_in_their_order() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo skipped: three"]);
        let (said, tally, succeeded) = collect(command).expect("sh starts");
        assert_eq!((String::from_utf8_lossy(&said).as_ref(), succeeded), ("one\ntwo\nskipped: three\n", true));
        assert_eq!(tally.columns()[2], 1);
    }

    #[test]
    fn a_command_that_fails_is_noticed() {
        let (tally, succeeded) = stream(Command::new("sh").args(["-c", "echo hello; exit 3"])).expect("sh starts");
        assert_eq!((tally, succeeded), (Tally::default(), false));
    }
}
