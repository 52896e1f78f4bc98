//! Builds the kernel programs with whichever toolchain `cargo xtask setup` found.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

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
    let output = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    share(&output).context("cannot share the directory of the kernel programs' build")?;
    // A build that leaves the programs out (AYA_BUILD_SKIP) compiles without them, and can record nothing.
    let object = output.join("netstrata-ebpf");
    if !object.exists() {
        fs::write(object, [])?;
    }
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

/// Lets all builds of this package (checked, tested, released, each has an output directory of its own) build the kernel
/// programs in one directory, which cargo locks: the programs are the same for all, and take a minute, most of it `core`.
fn share(output: &Path) -> Result<()> {
    // Seen from TARGET/PROFILE/build/PACKAGE/out, so that a copy of the target directory has its own.
    let (shared, link) = (Path::new("../../../../kernel-programs"), output.join("aya-build"));
    fs::create_dir_all(output.join(shared))?;
    match fs::symlink_metadata(&link) {
        Ok(metadata) if metadata.is_symlink() && fs::read_link(&link)? == shared => return Ok(()),
        Ok(metadata) if metadata.is_symlink() => fs::remove_file(&link)?,
        // Of a build before directories were shared.
        Ok(_) => fs::remove_dir_all(&link)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok(symlink(shared, link)?)
}
