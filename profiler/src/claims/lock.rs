//! One `netstrata claims` at a time measures into a directory of kept runs: two of them would take each other's rounds, and
//! disturb each other's figures.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};

use super::figures::minutes;
use crate::failure::Failure;

/// The file in the directory. It stays: whoever removed it might remove another one's.
const FILE: &str = "lock";

/// The right to measure into a directory; the kernel takes it back when this process ends, however it does.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "the lock is that of the open file")] File);

/// Takes the right to measure.
///
/// # Errors
/// [`Failure::Refused`], with who measures and for how long, where another process has it.
pub fn take(keep: &Path) -> Result<Held> {
    let shown = keep.display();
    fs::create_dir_all(keep).with_context(|| format!("cannot make {shown}"))?;
    let path = keep.join(FILE);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    // SAFETY: a plain system call about an open file.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        note_owner(&file).with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(Held(file));
    }
    let error = std::io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EWOULDBLOCK) {
        return Err(error).with_context(|| format!("cannot lock {}", path.display()));
    }
    let who = owner(&file).map_or(String::new(), |(pid, since)| {
        format!(" (process {pid}) has measured for {} and", minutes(now().saturating_sub(since) as f64))
    });
    Err(Failure::Refused(format!(
        "another `netstrata claims`{who} keeps its runs in {shown}: wait for its end, or give another directory with --keep"
    ))
    .into())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Who it is and since when, for those who come meanwhile.
fn note_owner(mut file: &File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.write_all(format!("{} {}\n", std::process::id(), now()).as_bytes())
}

fn owner(file: &File) -> Option<(u32, u64)> {
    let mut text = String::new();
    file.take(64).read_to_string(&mut text).ok()?;
    let (pid, since) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, since.parse().ok()?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_measures_and_may_when_that_has_ended() {
        let keep = std::env::temp_dir().join(format!("netstrata-claims-lock-{}", std::process::id()));
        let held = take(&keep).unwrap();
        let refused = take(&keep).unwrap_err();
        let own = format!("another `netstrata claims` (process {}) has measured for ", std::process::id());
        assert!(refused.to_string().starts_with(&own) && refused.to_string().contains("--keep"), "{refused}");
        assert_eq!(refused.downcast_ref::<Failure>().unwrap().code(), 3);
        drop(held);
        // What a process left that was killed is no lock.
        fs::write(keep.join(FILE), "no owner").unwrap();
        let again = take(&keep).unwrap();
        fs::write(keep.join(FILE), "").unwrap();
        assert!(take(&keep).unwrap_err().to_string().starts_with("another `netstrata claims` keeps its runs in "));
        drop(again);
        fs::remove_dir_all(&keep).unwrap();
    }
}
