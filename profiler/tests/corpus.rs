//! Inputs that a search guided by coverage found, and those that it began with (`profiler/fuzz/corpus`), through the same
//! functions: none panics, and none is thought about without an end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

#[path = "../fuzz/targets.rs"]
mod targets;

/// Far more than any takes: what takes longer has no end.
const PATIENCE: Duration = Duration::from_secs(120);

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_input_of_the_corpus_is_taken_or_refused() {
    let mut wrong = Vec::new();
    for (name, _) in targets::TARGETS {
        let run = targets::find(name);
        let directory = fuzz().join("corpus").join(name);
        let inputs = names(&directory);
        assert!(!inputs.is_empty(), "{name} has no inputs");
        for input in inputs {
            let bytes = fs::read(directory.join(&input)).unwrap();
            let (say, heard) = mpsc::channel::<()>();
            let thread = thread::spawn(move || {
                let _say = say;
                run(&bytes);
            });
            // Nothing is said: the other side goes when it is done, or panics.
            match heard.recv_timeout(PATIENCE) {
                Err(RecvTimeoutError::Timeout) => wrong.push(format!("{name}/{input}: it does not come to an end")),
                _ if thread.join().is_err() => wrong.push(format!("{name}/{input}: it panics, see above")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_target_has_its_program_and_its_corpus_and_no_other_is_there() {
    let known: BTreeSet<String> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus")), known);
    let programs = names(&fuzz().join("fuzz_targets"));
    assert_eq!(programs.iter().map(|file| file.trim_end_matches(".rs").to_owned()).collect::<BTreeSet<_>>(), known);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &known {
        assert!(manifest.contains(&format!("[[bin]]\nname = \"{name}\"")), "{name} is not built");
    }
}
