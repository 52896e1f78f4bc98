//! Every loss of the table is counted where its row says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use netstrata_common::{Counter, Loss};

/// The code of a folder, without its tests.
fn code(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &code(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            all += text.split("#[cfg(test)]").next().unwrap_or_default();
        }
    }
    all
}

#[test]
fn every_loss_is_counted_where_its_row_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let programs = code(&root.join("profiler-ebpf/src"));
    let recorder = code(&root.join("profiler/src/record"));
    for loss in Loss::ALL {
        let (code, counts) = match loss.info().counted_by {
            Counter::Points => (&programs, format!("cpu.lost[Loss::{loss:?}] +=")),
            Counter::Functions => (&programs, format!("head.lost[Loss::{loss:?}] +=")),
            Counter::Recorder => (&recorder, format!("lost.insert(Loss::{loss:?}, ")),
        };
        assert!(code.contains(&counts), "nobody counts {}: no `{counts}`", loss.name());
    }
}
