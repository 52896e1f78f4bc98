//! What live tests stand on: whether they can run, networks, programs that run, recordings, reports, and costs of a known
//! size.

pub mod counters;
pub mod directory;
pub mod inject;
pub mod lab;
pub mod measure;
pub mod network;
pub mod process;
pub mod ready;
pub mod recording;
pub mod report;
pub mod traffic;
pub mod wait;

use std::process::{Command, Output, Stdio};

/// The program under test.
pub const NETSTRATA: &str = env!("CARGO_BIN_EXE_netstrata");

/// A program with its words, that reads nothing.
pub fn command<Word: AsRef<str>>(words: &[Word]) -> Command {
    let mut command = Command::new(words[0].as_ref());
    command.args(words[1..].iter().map(AsRef::as_ref)).stdin(Stdio::null());
    command
}

/// Runs a program to its end; its standard output.
pub fn run<Word: AsRef<str>>(words: &[Word]) -> String {
    succeeded(&command(words).output().unwrap())
}

/// Runs `netstrata` to its end, whatever that is.
pub fn netstrata<Word: AsRef<str>>(words: &[Word]) -> Output {
    Command::new(NETSTRATA).args(words.iter().map(AsRef::as_ref)).stdin(Stdio::null()).output().unwrap()
}

/// The standard output of a program that ended well.
pub fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{:?}: {}\n{}", output.status, errors(output), text(&output.stdout));
    text(&output.stdout)
}

/// What a program said on standard error.
pub fn errors(output: &Output) -> String {
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The middle of some values.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[length / 2],
        length => (values[length / 2 - 1] + values[length / 2]) / 2.0,
    }
}
