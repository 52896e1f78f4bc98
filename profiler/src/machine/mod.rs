//! Emulated machines: Debian's own kernels, booted by qemu on any machine, with this machine's files.
//!
//! The root of the guest is the host's root directory, read over 9p, under an overlay in the guest's memory: every program
//! of the host is there, and what the guest writes goes nowhere. Only directories that are asked for are written through.
//! The processor is emulated too (tcg), since stock kernels do not start in every virtual machine that has no nested
//! virtualisation of its own.

pub mod command;
pub mod console;
pub mod guest;
pub mod image;
pub mod initramfs;
pub mod packages;
pub mod qemu;

use crate::{failure::Failure, profile::Clock};

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

/// The kernel of this version.
pub fn find(version: &str) -> Result<&'static Kernel, Failure> {
    KERNELS.iter().find(|kernel| kernel.version == version).ok_or_else(|| {
        let known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.version).collect();
        Failure::Usage(format!("there is no emulated machine with Linux {version}; there is: {}", known.join(", ")))
    })
}

/// Reads the version of a kernel on the command line.
pub fn parse_kernel(text: &str) -> Result<&'static Kernel, String> {
    find(text).map_err(|failure| failure.to_string())
}

/// Where the lab runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On this machine, with its kernel.
    #[default]
    Here,
    /// In an emulated machine with this kernel.
    Emulated(&'static Kernel),
}

/// Reads `here`, `emulated` or `emulated:KERNEL`.
pub fn parse_place(text: &str) -> Result<Place, String> {
    match text.split_once(':') {
        None if text == "here" => Ok(Place::Here),
        None if text == "emulated" => parse_kernel(DEFAULT_KERNEL).map(Place::Emulated),
        Some(("emulated", version)) => parse_kernel(version).map(Place::Emulated),
        _ => Err("a machine is `here`, `emulated` or `emulated:KERNEL`".into()),
    }
}

const PARAMETER: &str = "netstrata.machine";
const CLOCK_PARAMETER: &str = "netstrata.clock";

/// Parameters of the guest's kernel from which a program in it knows where it is.
pub(crate) fn kernel_parameters(kernel: &Kernel, clock: Clock) -> String {
    format!("{PARAMETER}={} {CLOCK_PARAMETER}={}", kernel.version, clock.name())
}

/// The emulated machine that this program itself runs in, from the command line of the kernel: version and clock.
pub fn inside() -> Option<(&'static Kernel, Clock)> {
    inside_of(&std::fs::read_to_string("/proc/cmdline").ok()?)
}

fn inside_of(command_line: &str) -> Option<(&'static Kernel, Clock)> {
    let value = |name: &str| {
        let mut words = command_line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        words.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let kernel = find(value(PARAMETER)?).ok()?;
    let clock =
        if value(CLOCK_PARAMETER) == Some(Clock::Instructions.name()) { Clock::Instructions } else { Clock::Wall };
    Some((kernel, clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_others_refused_with_what_there_is() {
        assert_eq!(parse_place("here"), Ok(Place::Here));
        assert_eq!(parse_place("emulated"), Ok(Place::Emulated(&KERNELS[2])));
        assert_eq!(parse_place("emulated:5.10"), Ok(Place::Emulated(&KERNELS[0])));
        assert!(parse_place("emulated:4.19").is_err_and(|said| said.contains("5.10, 6.1, 6.12, 7.2")));
        assert!(parse_place("there").is_err_and(|said| said.contains("`here`")));
    }

    #[test]
    fn a_program_knows_the_machine_it_is_in_by_the_parameters_of_the_kernel() {
        for kernel in KERNELS {
            for clock in [Clock::Wall, Clock::Instructions] {
                let line = format!("console=ttyS0 {} panic=-1\n", kernel_parameters(kernel, clock));
                assert_eq!(inside_of(&line), Some((kernel, clock)));
            }
        }
        assert_eq!(inside_of("root=/dev/vda ro quiet\n"), None);
    }
}
