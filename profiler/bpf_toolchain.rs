// Which rustup toolchain builds the kernel programs: one rule, included by `profiler/build.rs` and by `xtask`, so that
// a plain `cargo build` takes what `cargo xtask setup` prepared.

use std::path::PathBuf;
use std::process::Command;

/// The variable that names a toolchain and goes before the rule.
pub const TOOLCHAIN_VARIABLE: &str = "NETSTRATA_BPF_TOOLCHAIN";
/// The name under which the set-up links Debian's compiler. It goes before nightly: it exists only where the set-up
/// (or the user) decided for it.
pub const LINKED: &str = "netstrata-bpf";
/// The name that stands for the compiler in PATH on a machine without rustup.
pub const CURRENT: &str = "current";

/// The toolchain to build with: the first that has the sources of `core`, which no toolchain ships built for BPF.
pub fn find() -> Option<String> {
    if let Some(name) = std::env::var(TOOLCHAIN_VARIABLE).ok().filter(|name| !name.is_empty()) {
        return has_sources(&name).then_some(name);
    }
    let candidates: &[&str] = if has_rustup() { &[LINKED, "nightly"] } else { &[CURRENT] };
    candidates.iter().copied().find(|name| has_sources(name)).map(str::to_owned)
}

/// Whether toolchains can be chosen by name.
pub fn has_rustup() -> bool {
    Command::new("rustup").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// `rustc` of a toolchain; never lets rustup download one.
pub fn rustc(toolchain: &str) -> Command {
    let mut command = Command::new(if toolchain == CURRENT { "rustc" } else { "rustup" });
    if toolchain != CURRENT {
        command.args(["run", toolchain, "rustc"]).env("RUSTUP_AUTO_INSTALL", "0");
    }
    command
}

fn has_sources(toolchain: &str) -> bool {
    let Ok(output) = rustc(toolchain).args(["--print", "sysroot"]).output() else { return false };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    output.status.success() && sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
}
