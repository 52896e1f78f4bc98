//! Builds the kernel programs with whichever toolchain `cargo xtask setup` found.

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed=NETSTRATA_BPF_TOOLCHAIN");
    let name = std::env::var("NETSTRATA_BPF_TOOLCHAIN").unwrap_or_else(|_| default_toolchain());
    // A stable compiler is only accepted for the BPF target with this set; nightly ignores it.
    // SAFETY: a build script has a single thread here.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    aya_build::build_ebpf(
        [Package { name: "netstrata-ebpf", root_dir: "../profiler-ebpf", ..Default::default() }],
        Toolchain::Custom(&name),
    )
    .with_context(|| format!("building the kernel programs with toolchain `{name}` failed; run `cargo xtask setup`"))
}

/// The toolchain that `cargo xtask setup` links when Debian's compiler is used, if it is there;
/// otherwise rustup's nightly.
fn default_toolchain() -> String {
    let linked = std::process::Command::new("rustup")
        .args(["run", "netstrata-bpf", "rustc", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if linked { "netstrata-bpf".into() } else { "nightly".into() }
}
