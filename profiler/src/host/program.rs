//! Where programs are.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Directories of the system's own programs, which a user's `PATH` may lack.
const SYSTEM: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// The file of a program as a shell finds it: in `PATH`, or where the name itself says.
pub fn find(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let name = name.as_ref();
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|path| can_run(path));
    }
    in_directories(name, std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()))
}

/// The file of a program that the set-up of a network or of a machine calls: in `PATH`, and where the system has its own.
pub fn find_system(name: &str) -> Option<PathBuf> {
    find(name).or_else(|| in_directories(name.as_ref(), SYSTEM.into_iter().map(PathBuf::from)))
}

/// The `netstrata` program, to be started as a worker: this one, or the one that was built beside it (tests and the
/// demonstration call the library from other programs).
pub fn netstrata() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's file")?;
    if own.file_name().is_some_and(|name| name == "netstrata") {
        return Ok(own);
    }
    let beside = own.ancestors().skip(1).take(2).map(|directory| directory.join("netstrata"));
    beside.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("no `netstrata` beside {}: the lab starts it as its worker; build it first", own.display())
    })
}

fn in_directories(name: &OsStr, mut directories: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    directories.find_map(|directory| Some(directory.join(name)).filter(|path| can_run(path)))
}

fn can_run(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_a_file_that_can_be_run() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find("/bin/sh"), Some("/bin/sh".into()));
        assert_eq!(find("no-such-program-anywhere"), None);
        assert_eq!(find("/etc/passwd"), None, "a file, but no program");
        assert_eq!(find_system("sh"), find("sh"));
    }
}
