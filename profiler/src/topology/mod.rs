//! Network namespaces, devices and containers of this machine.
//!
//! [`scan()`] looks once; a [`Watcher`] looks during a recording. Namespaces come from processes, from the directories
//! where tools keep them, and from containers; devices come over netlink from inside each namespace.

mod containers;
mod model;
mod namespaces;
mod netlink;
mod print;
mod process;
mod scan;
mod union;
mod watch;

pub use containers::container_of_pid;
pub use model::*;
pub use scan::{Snapshot, device_stats, scan, scan_with_notes, snapshot};
pub use watch::{Snapshotted, Watcher};

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::cli::{FormatArgs, TextFormat};

/// Runs `netstrata topology`.
///
/// # Errors
/// When not even the own namespace can be read, or the output cannot be written.
pub fn run(args: &FormatArgs) -> anyhow::Result<ExitCode> {
    let snapshot = snapshot()?;
    for note in &snapshot.notes {
        // Standard error may be closed: a note is not worth failing for.
        let _ = writeln!(io::stderr(), "netstrata: {note}");
    }
    let text = match args.format {
        TextFormat::Text => print::text(&snapshot.topology),
        TextFormat::Json => print::json(&snapshot.topology)? + "\n",
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // The reader, like `head`, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}
