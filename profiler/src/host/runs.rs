//! Directories of runs: one for each living process, so that what a crashed one left is found by the next.
//!
//! `BASE/PID/start` holds the start time of the process: an id that was given to another process is not the run.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::facts::start_time;

/// Makes the directory of this process's run.
pub fn claim(base: &Path) -> Result<PathBuf> {
    let pid = std::process::id();
    let directory = base.join(pid.to_string());
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let start = start_time(pid).context("cannot read /proc/self/stat")?;
    fs::write(directory.join("start"), start.to_string())?;
    Ok(directory)
}

/// Keeps the id and the start time of a child in `notes`.
pub fn note_child(notes: &Path, pid: u32) -> io::Result<PathBuf> {
    let path = notes.join(pid.to_string());
    fs::write(&path, start_time(pid).unwrap_or(0).to_string())?;
    Ok(path)
}

/// Ids of runs that left something and live no longer: those with a directory in `base`, and `others` that left
/// something elsewhere.
pub fn dead(base: &Path, others: impl IntoIterator<Item = u32>) -> Vec<u32> {
    dead_among(base, others, start_time)
}

/// `alive` gives the start time of a living process.
fn dead_among(base: &Path, others: impl IntoIterator<Item = u32>, alive: impl Fn(u32) -> Option<u64>) -> Vec<u32> {
    let mut pids: Vec<u32> = names(base).iter().filter_map(|name| name.parse().ok()).collect();
    pids.extend(others);
    pids.sort_unstable();
    pids.dedup();
    pids.retain(|&pid| match alive(pid) {
        None => true,
        Some(start) => {
            // Alive with another start time: the id was reused. Without a directory nothing tells, so it stays.
            match fs::read_to_string(base.join(pid.to_string()).join("start")) {
                Ok(text) => text.trim().parse() != Ok(start),
                Err(_) => false,
            }
        }
    });
    pids
}

/// Names in a directory; none if there is no such directory.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn dead_runs_are_those_that_ended_or_whose_id_was_reused() {
        let base = std::env::temp_dir().join(format!("netstrata-runs-{}", std::process::id()));
        for (pid, start) in [("10", Some("100")), ("11", Some("100")), ("12", Some("99")), ("13", None)] {
            fs::create_dir_all(base.join(pid)).unwrap();
            if let Some(start) = start {
                fs::write(base.join(pid).join("start"), start).unwrap();
            }
        }
        // 10 is dead, 11 lives, 12 is another process now, 13 is just starting, 14 is dead, 15 lives.
        let alive = |pid| [11, 12, 13, 15].contains(&pid).then_some(100);
        assert_eq!(dead_among(&base, [11, 14, 15], alive), [10, 12, 14]);
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_claimed_directory_is_not_of_a_dead_run() {
        let base = std::env::temp_dir().join(format!("netstrata-claim-{}", std::process::id()));
        let directory = claim(&base).unwrap();
        assert!(dead(&base, []).is_empty());
        fs::write(directory.join("start"), "1").unwrap();
        assert_eq!(dead(&base, []), [std::process::id()]);
        fs::remove_dir_all(base).unwrap();
    }
}
