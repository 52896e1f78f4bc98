//! How long files may be.

use std::path::Path;

use crate::run::workspace;

/// A reader finds a thing by the name of its file, which holds one.
const LONGEST: usize = 500;

/// Files that are longer, and why.
const TABLES: &[(&str, &str)] = &[
    ("profiler/src/cpu/symbols.rs", "a table: which layer each function of the kernel is at work for"),
    ("profiler/src/lab/modes.rs", "a table: the modes of the lab"),
];

/// The Rust files below a directory, with their lines.
fn files(directory: &Path, found: &mut Vec<(String, usize)>) {
    for entry in std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if entry.is_dir() && name != "target" && !name.starts_with('.') {
            files(&entry, found);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&entry).expect("a text");
            let path = entry.strip_prefix(workspace()).expect("a path in the workspace");
            found.push((path.to_string_lossy().into_owned(), text.lines().count()));
        }
    }
}

#[test]
fn only_tables_have_more_than_500_lines_and_those_that_are_named_do() {
    let mut found = Vec::new();
    files(workspace(), &mut found);
    assert!(found.len() > 150 && found.iter().any(|(path, _)| path == "xtask/src/sizes.rs"), "{found:?}");
    let long = found.iter().filter(|(_, lines)| *lines > LONGEST);
    let mut long: Vec<String> = long.map(|(path, lines)| format!("{path}: {lines} lines")).collect();
    for (path, reason) in TABLES {
        let before = long.len();
        long.retain(|file| !file.starts_with(&format!("{path}:")));
        assert!(long.len() < before && !reason.is_empty(), "{path} need not be named");
    }
    assert!(long.is_empty(), "longer than {LONGEST} lines, and no table: {long:?}");
}
