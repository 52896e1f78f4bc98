//! Starting other programs: with a PATH that has the system directories and cargo's, and errors that name the command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

use anyhow::{Context as _, Result, anyhow};

use crate::exit::Exit;
use crate::packages::SYSTEM_DIRECTORIES;

/// PATH for everything that is started: as it is, then cargo's binaries and the system directories that it lacks.
pub fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let more = cargo_home.map(|home| home.join("bin")).into_iter().chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from));
    for directory in more {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    std::env::join_paths(directories).unwrap_or(path)
}

/// The cargo that started this program, in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The file of this program, for machines that shall run it. It is asked for when the program starts: tests build the
/// workspace with other features, which puts another file there, and the name of the old one is then no file's.
pub static THIS_PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::current_exe().unwrap_or_else(|_| std::env::args_os().next().unwrap_or_default().into()));

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let plain = argument.chars().all(|c| c.is_alphanumeric() || "-_=./:,@%+".contains(c)) && !argument.is_empty();
        line.push(' ');
        line.push_str(&if plain { argument } else { format!("'{argument}'").into() });
    }
    line
}

/// Runs a command to its end without input; a failure carries the exit code of the command.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    finish(command)
}

/// As [`run`], with the command unannounced.
pub fn finish(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Err(Exit { code, message: format!("`{}` failed: {status}", shown(command)) }.into())
}

/// The standard output of a command that must succeed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(anyhow!("`{}` failed: {}: {}", shown(command), output.status, said.trim()));
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed no UTF-8", shown(command)))
}

/// Runs jobs beside each other, as many as there are CPUs for them; their results in the order of the jobs. Each is an emulated
/// machine, which keeps one CPU busy, and of which more than two would only wait for each other's files.
pub fn at_once<T: Send, J: FnOnce() -> T + Send>(jobs: Vec<J>) -> Vec<T> {
    let workers = std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(2));
    let results: Vec<Mutex<Option<T>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let jobs = Mutex::new(jobs.into_iter().enumerate());
    let work = || {
        while let Some((index, job)) = jobs.lock().ok().and_then(|mut jobs| jobs.next()) {
            let result = job();
            if let Ok(mut place) = results[index].lock() {
                *place = Some(result);
            }
        }
    };
    // A job that panics ends all: the scope panics then.
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    results.into_iter().filter_map(|place| place.into_inner().ok().flatten()).collect()
}

/// Whether this process may do anything.
pub fn is_root() -> bool {
    // SAFETY: geteuid takes no argument, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// What cargo says about the workspace.
pub fn metadata() -> Result<serde_json::Value> {
    let text = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    serde_json::from_str(&text).context("`cargo metadata` printed no JSON")
}

/// Cargo's target directory, wherever the environment or the configuration puts it.
pub fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("`cargo metadata` names no target directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--test", "*", "-p=a"]);
        assert_eq!(shown(&command), "cargo test --test '*' -p=a");
    }

    #[test]
    fn results_come_in_the_order_of_their_jobs() {
        let jobs = (0..5u64).map(|index| {
            move || {
                std::thread::sleep(std::time::Duration::from_millis(10 * (5 - index)));
                index
            }
        });
        assert_eq!(at_once(jobs.collect()), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn system_directories_come_after_those_of_the_user() {
        let path = search_path();
        let directories: Vec<_> = std::env::split_paths(&path).collect();
        assert!(directories.contains(&PathBuf::from("/usr/sbin")));
        let given: Vec<_> = std::env::split_paths(&std::env::var_os("PATH").expect("PATH")).collect();
        assert_eq!(directories[..given.len()], given);
    }
}
