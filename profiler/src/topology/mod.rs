//! Network namespaces, devices and containers of this machine.
//!
//! [`scan()`] looks once; a [`Watcher`] looks during a recording. Namespaces come from processes, from the directories
//! where tools keep them, and from containers; devices come over netlink from inside each namespace.

mod answers;
mod believed;
mod cgroups;
mod conntrack;
mod containers;
mod mended;
mod namespaces;
mod netlink;
mod patience;
mod print;
mod process;
mod scan;
mod union;
mod watch;

pub use containers::container_of_pid;
#[doc(hidden)]
pub use netlink::devices_of;
pub use process::numbers_are_the_kernels;
pub use scan::{Snapshot, device_stats, scan, snapshot};
pub use watch::{Snapshotted, Watcher};

use std::process::ExitCode;

pub use crate::profile::{Container, Device, DeviceCounters, Namespace, Topology, Tunnel};
use crate::{
    cli::{FormatArgs, TextFormat},
    note,
    output::print,
};

/// Runs `netstrata topology`.
///
/// # Errors
/// When not even the own namespace can be read, or the output cannot be written.
pub fn run(args: &FormatArgs) -> anyhow::Result<ExitCode> {
    let snapshot = snapshot()?;
    for note in &snapshot.notes {
        note!("netstrata: {note}");
    }
    let text = match args.format {
        TextFormat::Text => print::text(&snapshot.topology),
        TextFormat::Json => print::json(&snapshot.topology)? + "\n",
    };
    print(&text)
}
