//! Builds the kernel programs with whichever toolchain `cargo xtask setup` found.

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

#[path = "bpf_toolchain.rs"]
mod bpf_toolchain;

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed={}", bpf_toolchain::TOOLCHAIN_VARIABLE);
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=bpf_toolchain.rs");
    // The layout of records is compiled into the programs, too.
    println!("cargo:rerun-if-changed=../profiler-common");
    let name = bpf_toolchain::find().unwrap_or_else(|| "nightly".into());
    // A stable compiler is only accepted for the BPF target with this set; nightly ignores it.
    // SAFETY: a build script has a single thread here.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    aya_build::build_ebpf(
        [Package { name: "netstrata-ebpf", root_dir: "../profiler-ebpf", ..Default::default() }],
        Toolchain::Custom(&name),
    )
    .with_context(|| format!("building the kernel programs with toolchain `{name}` failed; run `cargo xtask setup`"))
}
