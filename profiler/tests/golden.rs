//! Reports of recorded profiles against golden files, byte for byte. `NETSTRATA_BLESS=1` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::ValueEnum as _;
use netstrata::{cli::ReportFormat, report};

/// Every format of the command line, and what its files end in.
fn formats() -> impl Iterator<Item = (String, &'static str)> {
    let named = |format: &ReportFormat| format.to_possible_value().unwrap().get_name().to_owned();
    ReportFormat::value_variants().iter().map(move |format| (named(format), report::format(*format).extension))
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

fn printed(profile: &Path, format: &str) -> Vec<u8> {
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
        for (format, extension) in formats() {
            let stem = profile.file_stem().unwrap().to_str().unwrap();
            let golden = fixtures().join("golden").join(format!("{stem}.{extension}"));
            let got = printed(&profile, &format);
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
        for (format, _) in formats() {
            assert_eq!(printed(&profile, &format), printed(&profile, &format), "{} {format}", profile.display());
        }
    }
}

#[test]
fn the_demo_is_told_every_format_and_first_what_comes_without_asking() {
    let output = Command::new(env!("CARGO_BIN_EXE_netstrata")).arg("formats").output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == 4 && row.iter().all(|cell| !cell.is_empty())), "{listed}");
    let of_reports = rows.iter().filter(|row| row[0] == "report").map(|row| format!("{} {}", row[1], row[2]));
    assert!(of_reports.eq(formats().map(|(name, extension)| format!("{name} {extension}"))), "{listed}");
    for command in ["report", "explain"] {
        assert_eq!(rows.iter().find(|row| row[0] == command).unwrap()[1], "text");
    }
}

#[test]
fn every_format_is_on_the_page_of_output() {
    let page = fs::read_to_string(fixtures().join("../docs/output.md")).unwrap();
    for (format, _) in formats().filter(|(format, _)| format != "text") {
        assert!(page.contains(&format!("--format {format}`")), "docs/output.md does not tell of --format {format}");
    }
    assert!(page.contains("## The report as text"));
}

#[test]
fn the_text_fits_a_terminal_of_100_columns() {
    for profile in profiles() {
        let text = String::from_utf8(printed(&profile, "text")).unwrap();
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
