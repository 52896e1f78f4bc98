//! Every command that prints ends quietly when nobody reads any more, as in `netstrata lab list | head -0`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Runs the program with a standard output that nobody reads; its exit code and what it said about it.
fn unread(words: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_netstrata"));
    let output = command.args(words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let profile = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/profiles").join(name);
        path.to_str().unwrap().to_owned()
    };
    let (host, bridge) = (profile("tcp-rr-host.prof"), profile("tcp-rr-bridge.prof"));
    let mut commands: Vec<Vec<&str>> =
        vec![vec!["--help"], vec!["lab", "run", "--help"], vec!["--version"], vec!["lab", "machine", "--list"]];
    for format in ["text", "json"] {
        commands.push(vec!["lab", "list", "--format", format]);
        commands.push(vec!["topology", "--format", format]);
        commands.push(vec!["doctor", "--format", format]);
    }
    for format in ["text", "json", "folded", "svg"] {
        commands.push(vec!["report", &bridge, "--format", format]);
    }
    for format in ["text", "json", "svg"] {
        commands.push(vec!["explain", &host, &bridge, "--format", format]);
    }
    for words in commands {
        let (code, said) = unread(&words);
        // `doctor` tells with 3 that nothing can be recorded here.
        let well = code == Some(0) || words[0] == "doctor" && code == Some(3);
        assert!(well && !said.contains("panicked") && !said.contains("roken pipe"), "{words:?}: {code:?}: {said}");
    }
}
