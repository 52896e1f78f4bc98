//! Emulated machines: Debian's own kernels, booted by qemu on any machine, with this machine's files.
//!
//! The root of the guest is the host's root directory, read over 9p or virtiofs, under an overlay in the guest's memory: every program
//! of the host is there, and what the guest writes goes nowhere. Only directories that are asked for are written through.
//! The processor is emulated too (tcg), since stock kernels do not start in every virtual machine that has no nested
//! virtualisation of its own.

pub mod command;
pub mod console;
pub mod files;
pub mod image;
pub mod initramfs;
pub mod packages;
pub mod qemu;
pub mod run;

pub use command::{nested, run_job};
pub use qemu::CPUS;
