//! Whoever starts it, and with whatever words: signals that were ignored, arguments of any bytes, filters that name nothing. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    ffi::OsStr,
    io,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    process::{Command, Output},
};

use netstrata::profile::{Profile, read};
use support::{NETSTRATA, directory::Directory, errors, netstrata};

/// A recording of a command, begun in a process in which this was done before.
fn record(command: &[&OsStr], before: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> (Output, Profile) {
    let directory = Directory::new();
    let file = directory.file("it.prof");
    let mut recording = Command::new(NETSTRATA);
    recording.args(["record", "--tier", "tracepoint", "-o"]).arg(&file).arg("--").args(command);
    // SAFETY: what is done before makes system calls that are async-signal-safe, and nothing else.
    unsafe { recording.pre_exec(before) };
    let output = recording.output().unwrap();
    assert!(file.exists(), "{:?}: {}", output.status, errors(&output));
    let profile = read(&file).unwrap();
    (output, profile)
}

/// Ignores a signal or does not, as whoever starts it may.
fn with(signal: i32, handler: libc::sighandler_t) -> impl FnMut() -> io::Result<()> + Send + Sync + 'static {
    move || match unsafe {
        // SAFETY: a plain system call; no handler is given that could be called.
        libc::signal(signal, handler)
    } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn shell(script: &str) -> [&OsStr; 3] {
    ["sh", "-c", script].map(OsStr::new)
}

#[test]
fn a_recording_outlives_its_terminal_where_it_shall() {
    let Some(_alone) = ready!() else { return };
    let (_, profile) = record(&shell("kill -HUP $PPID; sleep 1; exit 7"), with(libc::SIGHUP, libc::SIG_IGN));
    assert_eq!(profile.meta.exit_code, Some(7));
    // Else the command is asked to end.
    let (_, profile) = record(&shell("kill -HUP $PPID; exec sleep 60"), with(libc::SIGHUP, libc::SIG_DFL));
    assert_eq!(profile.meta.exit_code, Some(128 + libc::SIGTERM));
}

#[test]
fn ends_of_children_are_heard_though_they_were_ignored() {
    let Some(_alone) = ready!() else { return };
    let (_, profile) = record(&shell("exit 5"), with(libc::SIGCHLD, libc::SIG_IGN));
    assert_eq!(profile.meta.exit_code, Some(5));
}

#[test]
fn arguments_of_any_bytes_reach_the_command_and_are_told_in_letters() {
    let Some(_alone) = ready!() else { return };
    let words = [OsStr::new("printf"), OsStr::new("%s"), OsStr::from_bytes(b"a\xffb")];
    let (output, profile) = record(&words, || Ok(()));
    assert_eq!(output.stdout, b"a\xffb");
    assert_eq!(profile.meta.command, ["printf", "%s", r"a\xffb"]);
}

#[test]
fn what_is_wrong_with_words_is_told_in_letters() {
    let output = netstrata(&["record", "--duration", "\x1b[31mX\x1b]0;t\x07"]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains('\x1b') && said.contains(r"\x1b[31mX") && said.contains("--help"), "{said}");
}

#[test]
fn filters_that_name_no_network_namespace_are_refused() {
    let Some(_alone) = ready!() else { return };
    for name in ["/dev/null", "/", "..", "", "../../etc/passwd"] {
        let output = netstrata(&["record", "--duration", "100ms", &format!("--netns={name}")]);
        let said = errors(&output);
        assert!(output.status.code() == Some(2) && said.contains("network namespace"), "{name}: {said}");
    }
}

#[test]
fn a_limit_of_files_is_a_refusal_and_no_signal() {
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    let mut recording = Command::new(NETSTRATA);
    recording.args(["record", "--duration", "100ms", "-o"]).arg(directory.file("it.prof"));
    let limited = || {
        let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
        // SAFETY: the structure outlives the call.
        match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: it makes a system call that is async-signal-safe, and nothing else.
    unsafe { recording.pre_exec(limited) };
    let output = recording.output().unwrap();
    let said = errors(&output);
    assert!(output.status.code() == Some(3) && said.lines().count() == 1, "{:?}: {said}", output.status);
    assert_eq!(std::fs::read_dir(directory.file("")).unwrap().count(), 0);
}
