//! The kernels of emulated machines, and whether the lab runs on one of them.

use crate::failure::Failure;

/// A kernel that a machine can have.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its version, as on the command line.
    pub version: &'static str,
    /// The release of Debian whose kernel it is.
    pub suite: &'static str,
    /// Debian's package that names the current one.
    pub package: &'static str,
    /// How it reaches the files of the host.
    pub files: Files,
}

/// How a machine reaches the files of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// 9p, which qemu itself serves.
    NineP,
    /// virtiofs, which a program beside qemu serves: kernels for clouds have no 9p.
    Virtio,
}

const fn plain(version: &'static str, suite: &'static str) -> Kernel {
    Kernel { version, suite, package: "linux-image-amd64", files: Files::NineP }
}

const fn real_time(version: &'static str, suite: &'static str) -> Kernel {
    Kernel { version, suite, package: "linux-image-rt-amd64", files: Files::NineP }
}

const fn cloud(version: &'static str, suite: &'static str) -> Kernel {
    Kernel { version, suite, package: "linux-image-cloud-amd64", files: Files::Virtio }
}

impl Kernel {
    /// The version of Linux, without what tells its build from others.
    pub fn linux(&self) -> &'static str {
        self.version.split_once('-').map_or(self.version, |(linux, _)| linux)
    }
}

/// All kernels, the oldest first; then those that are built otherwise, of the releases in use.
pub const KERNELS: &[Kernel] = &[
    plain("5.10", "bullseye"),
    plain("6.1", "bookworm"),
    plain("6.12", "trixie"),
    plain("7.2", "sid"),
    real_time("6.1-rt", "bookworm"),
    real_time("6.12-rt", "trixie"),
    cloud("6.1-cloud", "bookworm"),
    cloud("6.12-cloud", "trixie"),
];

/// The kernel where none is asked for.
pub const DEFAULT_KERNEL: &str = "6.12";

/// The versions of all kernels, with this before the last.
pub fn kernel_versions(last: &str) -> String {
    let versions: Vec<&str> = KERNELS.iter().map(|kernel| kernel.version).collect();
    versions.split_last().map_or_else(String::new, |(newest, others)| format!("{}{last}{newest}", others.join(", ")))
}

/// The kernel of this version.
pub fn find_kernel(version: &str) -> Result<&'static Kernel, Failure> {
    KERNELS.iter().find(|kernel| kernel.version == version).ok_or_else(|| {
        let known = kernel_versions(", ");
        Failure::Usage(format!("there is no emulated machine with Linux {version}; there is: {known}"))
    })
}

/// Reads the version of a kernel on the command line.
pub fn parse_kernel(text: &str) -> Result<&'static Kernel, String> {
    find_kernel(text).map_err(|failure| failure.to_string())
}

/// What the lab runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunsOn {
    /// This machine, with its kernel.
    #[default]
    Here,
    /// An emulated machine with this kernel.
    Emulated(&'static Kernel),
}

/// Reads `here`, `emulated` or `emulated:KERNEL`.
pub fn parse_runs_on(text: &str) -> Result<RunsOn, String> {
    match text.split_once(':') {
        None if text == "here" => Ok(RunsOn::Here),
        None if text == "emulated" => parse_kernel(DEFAULT_KERNEL).map(RunsOn::Emulated),
        Some(("emulated", version)) => parse_kernel(version).map(RunsOn::Emulated),
        _ => Err("a machine is `here`, `emulated` or `emulated:KERNEL`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_read_and_others_refused_with_what_there_is() {
        assert_eq!(parse_runs_on("here"), Ok(RunsOn::Here));
        assert_eq!(parse_runs_on("emulated"), Ok(RunsOn::Emulated(&KERNELS[2])));
        assert_eq!(parse_runs_on("emulated:5.10"), Ok(RunsOn::Emulated(&KERNELS[0])));
        assert!(parse_runs_on("emulated:4.19").is_err_and(|said| said.contains("5.10, 6.1, 6.12, 7.2, 6.1-rt")));
        assert!(
            parse_runs_on("emulated:6.12-rt")
                .is_ok_and(|there| matches!(there, RunsOn::Emulated(k) if k.linux() == "6.12"))
        );
        assert!(parse_runs_on("there").is_err_and(|said| said.contains("`here`")));
    }
}
