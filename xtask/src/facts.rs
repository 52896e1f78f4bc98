//! Looks at the machine: toolchains, linker, packages.

use std::process::{Command, Stdio};

use crate::bpf_toolchain;
use crate::packages::{PACKAGES, Package, find_program};
use crate::plan::{Action, Facts, Linker, Toolchain};
use crate::run::{is_root, output};

/// Looks at everything that the plan depends on.
pub fn gather(offered: Option<Vec<String>>, tried: Vec<Action>) -> Facts {
    let asked = std::env::var(bpf_toolchain::TOOLCHAIN_VARIABLE).ok().filter(|name| !name.is_empty());
    let toolchain = bpf_toolchain::find().and_then(|name| toolchain(&name));
    let llvm = toolchain.as_ref().map_or(0, |toolchain| toolchain.llvm);
    Facts {
        apt: find_program("apt-get").is_some(),
        offered,
        root: is_root(),
        rustup: bpf_toolchain::has_rustup(),
        asked,
        toolchain,
        linker: linker(),
        absent: PACKAGES.iter().copied().filter(|package| package.find(llvm).is_none()).collect(),
        tried,
    }
}

fn toolchain(name: &str) -> Option<Toolchain> {
    let text = output(bpf_toolchain::rustc(name).arg("-vV")).ok()?;
    let (release, llvm) = parse_rustc(&text)?;
    Some(Toolchain { name: name.to_owned(), release, llvm })
}

/// Release and LLVM major version from `rustc -vV`.
fn parse_rustc(text: &str) -> Option<(String, u32)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let llvm = field("LLVM version:")?.split('.').next()?.parse().ok()?;
    Some((field("release:")?.to_owned(), llvm))
}

fn linker() -> Option<Linker> {
    let program = find_program("bpf-linker").or_else(|| {
        std::env::split_paths(&crate::run::search_path()).map(|at| at.join("bpf-linker")).find(|file| file.is_file())
    })?;
    // That it starts shows that the LLVM it is linked to is still there.
    let text = output(Command::new(&program).arg("--version").stderr(Stdio::null())).ok()?;
    let version = text.trim().strip_prefix("bpf-linker ")?.to_owned();
    let notes = program.parent()?.parent()?.join(".crates2.json");
    let llvm = std::fs::read_to_string(notes).ok().and_then(|notes| parse_features(&notes, &version));
    Some(Linker { version, llvm })
}

/// The LLVM major version in cargo's notes of what it installed, by the feature that bpf-linker was built with.
fn parse_features(notes: &str, version: &str) -> Option<u32> {
    let notes: serde_json::Value = serde_json::from_str(notes).ok()?;
    let key = format!("bpf-linker {version} ");
    let (_, install) = notes["installs"].as_object()?.iter().find(|(name, _)| name.starts_with(&key))?;
    let features = install["features"].as_array()?;
    features.iter().find_map(|feature| feature.as_str()?.strip_prefix("llvm-")?.parse().ok())
}

/// The packages of the table that the archive offers; asks about no others.
pub fn offered(llvm: u32) -> Vec<String> {
    PACKAGES.iter().map(|package: &Package| package.name_for(llvm)).filter(|name| is_offered(name)).collect()
}

fn is_offered(name: &str) -> bool {
    let mut command = Command::new("apt-cache");
    command.args(["policy", name]).env("LC_ALL", "C");
    output(&mut command).is_ok_and(|text| has_candidate(&text))
}

/// Whether `apt-cache policy` names a version to install.
fn has_candidate(text: &str) -> bool {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate:"))
        .any(|version| !version.trim().is_empty() && version.trim() != "(none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustc_names_its_release_and_llvm() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(parse_rustc(text), Some(("1.96.0".to_owned(), 22)));
        assert_eq!(parse_rustc("rustc 1.96.0"), None);
    }

    #[test]
    fn cargo_notes_the_llvm_of_the_linker() {
        let notes = r#"{"installs":{"bpf-linker 0.13.0 (registry)":{"features":["llvm-22"]},
                        "bpf-linker 0.9.0 (registry)":{"features":["llvm-17"]}}}"#;
        assert_eq!(parse_features(notes, "0.13.0"), Some(22));
        assert_eq!(parse_features(notes, "0.12.0"), None);
        assert_eq!(parse_features("", "0.13.0"), None);
    }

    #[test]
    fn a_package_without_candidate_is_not_offered() {
        assert!(has_candidate("iperf3:\n  Installed: (none)\n  Candidate: 3.12-1\n"));
        assert!(!has_candidate("rustc-web:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }
}
