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
        // A loss is added to, or told and added to.
        let of_programs = |state: &str| {
            let counts =
                [format!("{state}.lost[Loss::{loss:?}] +="), format!("lose(&mut {state}.lost, Loss::{loss:?}, ")];
            (&programs, counts.to_vec())
        };
        let (code, counts) = match loss.info().counted_by {
            Counter::Points => of_programs("cpu"),
            Counter::Functions => of_programs("head"),
            Counter::Recorder => (&recorder, vec![format!("lost.insert(Loss::{loss:?}, ")]),
        };
        assert!(counts.iter().any(|counts| code.contains(counts)), "nobody counts {}: none of {counts:?}", loss.name());
    }
}
