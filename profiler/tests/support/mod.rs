//! A network of namespaces, costs of a known size to put into it, and what a recording says about them.

pub mod inject;
pub mod measure;
pub mod network;

use std::process::{Command, Output};

/// Runs a program to its end; its standard output.
pub fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    succeeded(words, &output)
}

/// The standard output of a program that ended well.
pub fn succeeded(words: &[&str], output: &Output) -> String {
    assert!(
        output.status.success(),
        "{} {:?}: {}\n{}",
        words.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
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
