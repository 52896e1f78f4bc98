//! `-v` and `NETSTRATA_LOG`: what they tell goes to standard error, and results stay what they are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn netstrata(words: &[&str], level: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netstrata"));
    command.args(words).env_remove("NETSTRATA_LOG").envs(level.map(|level| ("NETSTRATA_LOG", level)));
    command.output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_word_that_is_no_level_is_wrong_usage() {
    let wrong = netstrata(&["lab", "list"], Some("loud"));
    let said = errors(&wrong);
    assert_eq!((wrong.status.code(), wrong.stdout.len(), said.lines().count()), (Some(2), 0, 1), "{said}");
    assert!(said.contains("NETSTRATA_LOG=loud") && said.contains("off, error, warn, info, debug, trace"), "{said}");
    assert_eq!(netstrata(&["lab", "list", "-v"], Some("loud")).status.code(), Some(0), "the command line goes first");
}

#[test]
fn results_are_the_same_at_every_level() {
    let profile = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/profiles/tcp-rr-bridge.prof");
    for format in ["text", "json", "folded", "svg"] {
        let words = ["report", profile, "--format", format];
        let plain = netstrata(&words, None);
        assert!(plain.status.success() && plain.stderr.is_empty(), "{}", errors(&plain));
        for (more, level) in [("-vvv", None), ("--verbose", Some("trace"))] {
            let told = netstrata(&[&words[..], &[more]].concat(), level);
            assert!(told.status.success() && told.stdout == plain.stdout, "{format} with {more}: {}", errors(&told));
        }
    }
}

#[test]
fn every_command_tells_of_it() {
    for words in [&["--help"][..], &["record", "--help"], &["lab", "run", "--help"], &["report", "-h"]] {
        let help = String::from_utf8(netstrata(words, None).stdout).unwrap();
        assert!(help.contains("-v, --verbose") && help.contains("NETSTRATA_LOG"), "{help}");
    }
}
