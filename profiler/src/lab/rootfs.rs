//! Small root directories with the lab's programs: for containers and for guests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    choices::external_programs,
    host::{process, program},
};

/// Where the worker is inside.
pub const WORKER: &str = "/usr/local/bin/netstrata";
const STEP: Duration = Duration::from_secs(10);

/// Fills `root` with this program, the benchmarks that are installed, busybox, and the libraries that those need.
pub fn fill(root: &Path) -> anyhow::Result<()> {
    for directory in ["proc", "sys", "dev", "etc", "tmp", "usr/local/bin", "usr/bin"] {
        fs::create_dir_all(root.join(directory))?;
    }
    // A web server looks for the user that it runs as.
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    copy_into(root, &program::netstrata()?, Path::new(WORKER))?;
    for found in external_programs().iter().chain(&["busybox"]).filter_map(|name| program::find_system(name)) {
        copy_into(root, &found, &found)?;
    }
    Ok(())
}

/// The words of a command as they are inside, where the worker has a path of its own.
pub fn words_inside(words: &[String]) -> Vec<String> {
    let worker = program::netstrata().unwrap_or_default();
    let inside = |word: &String| if worker.as_os_str() == word.as_str() { WORKER.to_owned() } else { word.clone() };
    words.iter().map(inside).collect()
}

/// Copies a program and the libraries that `ldd` names into `root`.
pub fn copy_into(root: &Path, program: &Path, target: &Path) -> anyhow::Result<()> {
    let copy = |from: &Path, to: &Path| -> anyhow::Result<()> {
        let to = root.join(to.strip_prefix("/").unwrap_or(to));
        if to.exists() {
            return Ok(());
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    };
    copy(program, target)?;
    let mut ldd = Command::new("ldd");
    ldd.arg(program);
    // A static program has none, and ldd fails.
    for library in libraries(&process::run(ldd, STEP, true).unwrap_or_default()) {
        copy(&library, &library)?;
    }
    Ok(())
}

/// The paths in ldd's output: `libc.so.6 => /lib/…/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    ldd.split_ascii_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_of_ldd() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        assert_eq!(
            libraries(text),
            [PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"), PathBuf::from("/lib64/ld-linux-x86-64.so.2")]
        );
        assert!(libraries("\tnot a dynamic executable\n").is_empty());
    }
}
