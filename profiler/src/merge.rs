//! `netstrata merge`: several recordings of the same work as one file.

use std::process::ExitCode;

use crate::{
    cli::MergeArgs,
    note,
    profile::{read_set, write},
};

/// Runs `netstrata merge`.
///
/// # Errors
/// If a recording cannot be read, they must not be added, or the file cannot be written.
pub fn run(args: &MergeArgs) -> anyhow::Result<ExitCode> {
    let (profile, _) = read_set(&args.profiles)?;
    write(&profile, &args.output)?;
    note!(
        "netstrata: {} recordings, {:.1} s, {} packets followed, {} paths -> {}",
        profile.meta.parts.len().max(1),
        profile.meta.duration_ns as f64 / 1e9,
        profile.sampling.followed,
        profile.paths.len(),
        args.output.display()
    );
    Ok(ExitCode::SUCCESS)
}
