//! Every command that prints survives that nobody reads: `netstrata lab list | head -0` ends quietly.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use clap::CommandFactory as _;
use netstrata::cli::Cli;
use support::{NETSTRATA, directory::Directory, errors, ready::is_root};

/// Commands with what they need to print something.
fn commands(directory: &Directory) -> Vec<Vec<String>> {
    let profile = |name| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/profiles").join(name);
        file.to_str().unwrap().to_owned()
    };
    let [host, bridge] = ["tcp-rr-host.prof", "tcp-rr-bridge.prof"].map(profile);
    let mut all = vec![
        vec!["report", &bridge],
        vec!["explain", &host, &bridge],
        vec!["check", &bridge, "--against", &host],
        vec!["topology"],
        vec!["claims", "--only", "p3-lxc"],
        vec!["doctor"],
        vec!["lab", "list"],
        vec!["lab", "machine", "--list"],
        vec!["--help"],
        vec!["--version"],
    ];
    let (file, run) = (directory.word("recorded"), directory.word("run"));
    if is_root() {
        all.push(vec!["record", "-o", &file, "--", "echo", "said"]);
        all.push(vec!["lab", "run", "host", "--no-record", "--workload", "tcp-rr", "--duration", "100ms", "-o", &run]);
    }
    all.into_iter().map(|words| words.into_iter().map(str::to_owned).collect()).collect()
}

/// The formats that a command has; empty where it has one only.
fn formats(words: &[String]) -> Vec<String> {
    let mut command = Cli::command();
    for word in words {
        match command.find_subcommand(word) {
            Some(next) => command = next.clone(),
            None => break,
        }
    }
    let format = command.get_arguments().find(|argument| argument.get_id() == "format");
    let values = format.map(|format| format.get_possible_values()).unwrap_or_default();
    values.iter().map(|value| value.get_name().to_owned()).collect()
}

fn run(words: &[String], out: impl Into<Stdio>) -> Output {
    Command::new(NETSTRATA).args(words).stdin(Stdio::null()).stdout(out).output().unwrap()
}

/// What is wrong with a command whose reader is gone, compared with one that is read.
fn complaint(words: &[String]) -> Option<String> {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (read, unread) = (run(words, Stdio::piped()), run(words, writer.try_clone().unwrap()));
    assert!(!read.stdout.is_empty(), "{words:?} prints nothing: {}", errors(&read));
    let said = errors(&unread);
    let quiet = !said.contains("panicked") && !said.to_lowercase().contains("broken pipe");
    let ended = unread.status.code() == read.status.code() || unread.status.signal() == Some(libc::SIGPIPE);
    // `2>&1`: nobody hears a complaint, but the code tells of it.
    let mut deaf = Command::new(NETSTRATA);
    let deaf =
        deaf.args(words).stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
    let ended = ended && (deaf.code() == read.status.code() || deaf.signal() == Some(libc::SIGPIPE));
    (!quiet || !ended).then(|| format!("{words:?}: {:?}, {deaf:?}, read {:?}: {said}", unread.status, read.status))
}

#[test]
fn every_command_that_prints_survives_a_closed_pipe() {
    let directory = Directory::new();
    let mut complaints = Vec::new();
    for words in commands(&directory) {
        complaints.extend(complaint(&words));
        for format in formats(&words) {
            complaints.extend(complaint(&[&words[..], &["--format".to_owned(), format]].concat()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn no_command_is_forgotten() {
    let directory = Directory::new();
    let tried = commands(&directory);
    let is_tried = |path: &[&str]| tried.iter().any(|words| words.iter().take(path.len()).eq(path));
    // These need root, and so are tried by root only.
    let is_excused = |path: &[&str]| !is_root() && [&["record"][..], &["lab", "run"]].contains(&path);
    // These print nothing: what they make is a file.
    let is_silent = |path: &[&str]| path == ["merge"] || path == ["recover"];
    let command = Cli::command();
    let mut leaves = 0;
    for first in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let seconds: Vec<&str> =
            first.get_subcommands().filter(|next| !next.is_hide_set()).map(|next| next.get_name()).collect();
        let paths = if seconds.is_empty() {
            vec![vec![first.get_name()]]
        } else {
            seconds.into_iter().map(|second| vec![first.get_name(), second]).collect()
        };
        for path in paths {
            assert!(is_tried(&path) || is_excused(&path) || is_silent(&path), "no test closes the pipe of {path:?}");
            leaves += 1;
        }
    }
    assert!(leaves > 5, "{leaves} commands");
}
