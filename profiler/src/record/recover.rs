//! `netstrata recover`: a recording of what one left that was killed.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Result;

use super::{contents, interner::Interner};
use crate::{
    cli::RecoverArgs,
    failure::Failure,
    host::{
        clock::{monotonic_ns, unix_ns},
        facts::kernel_release,
    },
    kernel::symbols::Symbols,
    note,
    profile::{self, Profile},
    store::{self, Left},
    threads,
};

/// How the name of a function begins that has not been read.
const UNREAD: &str = "0x";
/// Of the same boot the times of it are this near: clocks that count since then begin together.
const ALIKE: Duration = Duration::from_secs(1);
/// Why functions have no names.
const NO_NAMES: &str = "this is another boot than the recording's, or names are hidden: functions have addresses";

/// What a function is called as long as its name is not read.
pub(super) fn unread(address: u64) -> String {
    format!("{UNREAD}{address:x}")
}

/// Runs `netstrata recover`.
///
/// # Errors
/// If nothing was left, several recordings were, one still runs, or what is left cannot be read or written anew.
pub fn recover(args: &RecoverArgs) -> Result<ExitCode> {
    let left = chosen(args)?;
    let Some(file) = left.unfinished.clone() else {
        left.remove();
        return Err(Failure::Usage(NOTHING_YET.into()).into());
    };
    let mut profile = profile::read(&file)?;
    if !name_functions(&mut profile) {
        profile.meta.missing.insert("names of functions".into(), NO_NAMES.into());
    }
    profile::write(&profile, &args.output)?;
    left.remove();
    note!(
        "netstrata: the first {:.1} s of a recording that was cut off, {} -> {}",
        profile.meta.duration_ns as f64 / 1e9,
        contents(&profile),
        args.output.display(),
    );
    Ok(ExitCode::SUCCESS)
}

const NOTHING_YET: &str = "the recording was cut off before its first batches were written: nothing of it is left";

/// What is meant; what else processes left that are gone, and is of no use, is removed.
fn chosen(args: &RecoverArgs) -> Result<Left> {
    let place = args.file.as_deref().unwrap_or(Path::new("."));
    let found = if place.is_dir() { store::left_in(place) } else { store::left_beside(place) };
    let (running, left): (Vec<Left>, Vec<Left>) = found.into_iter().partition(|left| records(left.pid));
    let (mut whole, useless): (Vec<Left>, Vec<Left>) = left.into_iter().partition(|left| left.unfinished.is_some());
    let was_something = !useless.is_empty();
    match (whole.len(), running.len()) {
        (1, _) => {}
        (0, 0) if was_something => {
            useless.into_iter().for_each(Left::remove);
            return Err(Failure::Usage(NOTHING_YET.into()).into());
        }
        (0, 0) => {
            let place = place.display();
            return Err(Failure::Usage(format!(
                "no recording was cut off at {place} (FILE.PID.unfinished): it ended in order, or was cut off before its first batches"
            ))
            .into());
        }
        (0, _) => {
            let pid = running[0].pid;
            return Err(Failure::Usage(format!(
                "the recording still runs as process {pid}; Ctrl-C, or SIGINT, ends it"
            ))
            .into());
        }
        _ => {
            let names: Vec<String> =
                whole.iter().filter_map(|left| Some(left.unfinished.as_ref()?.display().to_string())).collect();
            return Err(
                Failure::Usage(format!("several recordings were cut off: give one of {}", names.join(", "))).into()
            );
        }
    }
    useless.into_iter().for_each(Left::remove);
    Ok(whole.swap_remove(0))
}

/// Whether a process is a recording.
fn records(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.into_iter().any(|name| name.trim_end() == threads::RECORD)
}

/// Gives functions their names, if this is the boot of the recording; whether they have names now.
fn name_functions(profile: &mut Profile) -> bool {
    let is_unread = |name: &String| address(name).is_some();
    if !profile.cpu.symbols.iter().any(is_unread) && !profile.drops.iter().any(|drop| is_unread(&drop.function)) {
        return true;
    }
    let boot = |unix: u64, monotonic: u64| Duration::from_nanos(unix.saturating_sub(monotonic));
    let (then, now) = (boot(profile.meta.began_unix_ns, profile.meta.started_ns), boot(unix_ns(), monotonic_ns()));
    if profile.meta.kernel != kernel_release() || then.abs_diff(now) > ALIKE {
        return false;
    }
    let Ok(symbols) = Symbols::running() else { return false };
    rename(profile, |address| symbols.name(address).to_owned());
    true
}

/// The address that stands for a name.
fn address(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(UNREAD)?, 16).ok()
}

/// Functions of one name become one.
fn rename(profile: &mut Profile, name: impl Fn(u64) -> String) {
    let named = |text: &String| address(text).map_or_else(|| text.clone(), &name);
    let (mut symbols, mut stacks) = (Interner::default(), Interner::default());
    let numbers: Vec<u32> = profile.cpu.symbols.iter().map(|symbol| symbols.index(named(symbol))).collect();
    let frames = |stack: &Vec<u32>| stack.iter().map(|frame| numbers[*frame as usize]).collect::<Vec<u32>>();
    let places: Vec<u32> = profile.cpu.stacks.iter().map(|stack| stacks.index(frames(stack))).collect();
    let samples = profile.cpu.entries.iter_mut().chain(&mut profile.cpu.bursts);
    samples.filter_map(|sample| sample.stack.as_mut()).for_each(|stack| *stack = places[*stack as usize]);
    (profile.cpu.symbols, profile.cpu.stacks) = (symbols.items, stacks.items);
    profile.drops.iter_mut().for_each(|drop| drop.function = named(&drop.function));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{CpuRecord, DropRecord, SampleRecord};

    #[test]
    fn functions_that_had_addresses_have_names() {
        let sample = |stack| SampleRecord { stack: Some(stack), count: 1, ..SampleRecord::default() };
        let cpu = CpuRecord {
            symbols: [unread(0x1010), unread(0x1020), unread(0x2000), "[unknown]".into()].into(),
            stacks: vec![vec![0, 2], vec![1, 2], vec![3]],
            entries: vec![sample(0), sample(1), sample(2)],
            bursts: vec![sample(1)],
            ..CpuRecord::default()
        };
        let drops = vec![DropRecord { function: unread(0x2010), ..DropRecord::default() }];
        let mut profile = Profile { cpu, drops, ..Profile::default() };
        rename(&mut profile, |address| format!("function_{}", address >> 12));
        assert_eq!(profile.cpu.symbols, ["function_1", "function_2", "[unknown]"]);
        assert_eq!(profile.cpu.stacks, [vec![0, 1], vec![2]]);
        let stacks: Vec<_> =
            profile.cpu.entries.iter().chain(&profile.cpu.bursts).filter_map(|one| one.stack).collect();
        assert_eq!(stacks, [0, 0, 1, 0]);
        assert_eq!(profile.drops[0].function, "function_2");
        assert!(name_functions(&mut profile), "they have names already");
    }

    #[test]
    fn names_of_another_boot_are_not_read() {
        let mut profile = Profile::default();
        profile.cpu.symbols = vec![unread(0x1010)];
        profile.meta.kernel = kernel_release();
        assert!(!name_functions(&mut profile));
        assert_eq!(profile.cpu.symbols, ["0x1010"]);
    }
}
