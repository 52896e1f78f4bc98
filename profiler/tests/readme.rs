//! The README's console blocks, run: `...` stands for any lines, `[..]` for any text within a line.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use support::{
    NETSTRATA,
    ready::{is_root, say_left_out},
};

/// A command and the lines that should follow it.
#[derive(Debug, PartialEq)]
struct Example {
    command: String,
    output: Vec<String>,
}

/// The commands of all blocks that are marked `console`.
fn examples(text: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut inside = false;
    let mut started = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside && line.trim() == "```console";
            started = false;
        } else if !inside {
        } else if let Some(command) = line.strip_prefix("$ ") {
            found.push(Example { command: command.into(), output: Vec::new() });
            started = true;
        } else if let Some(example) = found.last_mut().filter(|_| started) {
            example.output.push(line.into());
        }
    }
    found
}

/// Whether a line is as expected.
fn fits(expected: &str, line: &str) -> bool {
    let Some((before, after)) = expected.split_once("[..]") else { return expected.trim_end() == line.trim_end() };
    line.strip_prefix(before)
        .is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && fits(after, &rest[at..])))
}

/// Whether the lines are as expected.
fn all_fit(expected: &[String], lines: &[&str]) -> bool {
    match (expected.first(), lines.first()) {
        (None, None) => true,
        (Some(wanted), _) if wanted == "..." => {
            (0..=lines.len()).any(|skipped| all_fit(&expected[1..], &lines[skipped..]))
        }
        (Some(wanted), Some(line)) if fits(wanted, line) => all_fit(&expected[1..], &lines[1..]),
        _ => false,
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn needs_root(command: &str) -> bool {
    ["netstrata record", "netstrata doctor", "netstrata lab run"].iter().any(|beginning| command.starts_with(beginning))
}

#[test]
fn the_console_blocks_of_the_readme_do_what_they_show() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let examples = examples(&text);
    assert!(examples.iter().any(|example| example.command.starts_with("netstrata ")), "the README shows no command");
    let programs = Path::new(NETSTRATA).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    for example in examples.iter().filter(|example| example.command.starts_with("netstrata ")) {
        if needs_root(&example.command) && !is_root() {
            say_left_out(test_name!(), &example.command, "needs root");
            continue;
        }
        let output = Command::new("sh")
            .args(["-c", &example.command])
            .env("PATH", &path)
            .current_dir(root())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "`{}`: {err}", example.command);
        let lines: Vec<&str> = out.lines().collect();
        assert!(
            example.output.is_empty() || all_fit(&example.output, &lines),
            "`{}` should print\n{}\nand prints\n{out}",
            example.command,
            example.output.join("\n")
        );
    }
}

#[test]
fn blocks_are_found_and_wildcards_match() {
    let text = "a\n```console\n$ one\nx\n...\n$ two\n```\n$ no\n```\n$ no\n```\n";
    let found = examples(text);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].command.as_str(), found[0].output.len()), ("one", 2));
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    assert!(all_fit(&lines("a\n...\nd [..] f"), &["a", "b", "c", "d eee f"]));
    assert!(all_fit(&lines("a\n..."), &["a"]));
    assert!(!all_fit(&lines("a\n...\nd"), &["a", "b"]));
    assert!(!all_fit(&lines("a"), &["a", "b"]));
    assert!(fits("x [..]", "x …y") && !fits("x [..] z", "x y"));
}
