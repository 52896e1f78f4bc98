//! The kernels of emulated machines, and whether the lab runs on one of them.

use crate::failure::Failure;

/// A kernel that a machine can have.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its version, as on the command line.
    pub version: &'static str,
    /// The release of Debian whose kernel it is.
    pub suite: &'static str,
}

/// All kernels, the oldest first.
pub const KERNELS: &[Kernel] = &[
    Kernel { version: "5.10", suite: "bullseye" },
    Kernel { version: "6.1", suite: "bookworm" },
    Kernel { version: "6.12", suite: "trixie" },
    Kernel { version: "7.2", suite: "sid" },
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
        assert!(parse_runs_on("emulated:4.19").is_err_and(|said| said.contains("5.10, 6.1, 6.12, 7.2")));
        assert!(parse_runs_on("there").is_err_and(|said| said.contains("`here`")));
    }
}
