//! Reports of recorded profiles against golden files, byte for byte. `NETSTRATA_BLESS=1` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::ValueEnum as _;
use netstrata::cli::ReportFormat;

/// Every format that the command line knows, and how its files end.
fn formats() -> Vec<(String, String)> {
    let names = ReportFormat::value_variants().iter().map(|format| format.to_possible_value().unwrap());
    names.map(|value| (value.get_name().to_owned(), value.get_name().replace("text", "txt"))).collect()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// The recorded profiles, by name.
fn profiles() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(fixtures().join("profiles")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "prof"));
    files.sort();
    assert!(!files.is_empty());
    files
}

fn report(profile: &Path, format: &str) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netstrata"));
    let output = command.args(["report", "--format", format]).arg(profile).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn reports_are_the_golden_ones_byte_for_byte() {
    let bless = std::env::var_os("NETSTRATA_BLESS").is_some();
    for profile in profiles() {
        for (format, extension) in &formats() {
            let stem = profile.file_stem().unwrap().to_str().unwrap();
            let golden = fixtures().join("golden").join(format!("{stem}.{extension}"));
            let got = report(&profile, format);
            if bless {
                fs::create_dir_all(golden.parent().unwrap()).unwrap();
                fs::write(&golden, &got).unwrap();
                continue;
            }
            let wanted = fs::read(&golden).unwrap_or_default();
            if got != wanted {
                let (got, wanted) = (String::from_utf8_lossy(&got), String::from_utf8_lossy(&wanted));
                let mut lines = got.lines().zip(wanted.lines()).enumerate();
                let first = lines.find(|(_, (got, wanted))| got != wanted);
                panic!(
                    "{stem}.{extension} differs from the golden file (NETSTRATA_BLESS=1 writes it anew): {} and {} \
                     lines; first difference: {first:?}",
                    got.lines().count(),
                    wanted.lines().count()
                );
            }
        }
    }
}

#[test]
fn the_same_profile_gives_the_same_bytes() {
    for profile in profiles() {
        for (format, _) in &formats() {
            assert_eq!(report(&profile, format), report(&profile, format), "{} {format}", profile.display());
        }
    }
}

#[test]
fn the_text_fits_a_terminal_of_100_columns() {
    for profile in profiles() {
        let text = String::from_utf8(report(&profile, "text")).unwrap();
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
        }
    }
}

#[test]
fn fixtures_name_no_machine() {
    for path in profiles() {
        let profile = netstrata::profile::read(&path).unwrap();
        assert_eq!(profile.meta.command.first().map(String::as_str), Some("netstrata"));
        let text = serde_json::to_string(&profile).unwrap();
        for word in ["/home", "/root", "/tmp", "/usr"] {
            assert!(!text.contains(word), "{} contains {word}", path.display());
        }
    }
}
