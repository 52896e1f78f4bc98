//! The command that is recorded.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use tokio::{
    sync::oneshot,
    time::{Instant, interval, sleep, timeout},
};

use super::{
    keeper::{Asking, Kept, Started},
    output::{Passing, Said},
};
use crate::{
    failure::Failure,
    host::{descriptors, program, signal},
    note, output,
};

/// How long a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// A grandchild may hold the pipe open for ever: its output is not waited for.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// Between two looks at the progress, where somebody sees it.
const PROGRESS: Duration = Duration::from_millis(100);

/// How a command ended.
pub struct Outcome {
    /// Exit code; 128 + signal if it was killed.
    pub exit_code: i32,
    /// It was asked to end, since the recording's time was over.
    pub asked_to: bool,
    /// Its standard output, or as much as is kept of it.
    pub output: String,
    /// That is all of it.
    pub whole: bool,
}

/// The file of the command's program.
pub fn find(name: &OsStr) -> Result<PathBuf> {
    let missing = || {
        let (there, name) = (Path::new(name).exists(), output::name(name.as_encoded_bytes()));
        let why = if there && name.contains('/') { "is no program that can be run" } else { "is no program" };
        Failure::Usage(format!("`{name}` {why}; nothing was recorded")).into()
    };
    program::find(name).ok_or_else(missing)
}

/// A command in words that a profile may hold; its own may be any bytes.
pub fn words(command: &[OsString]) -> Vec<String> {
    command.iter().map(|word| output::name(word.as_encoded_bytes())).collect()
}

/// Runs a command to its end, to the end of `duration`, or to a signal. Its output is passed on and kept.
pub async fn run(
    program: &Path,
    command: &[OsString],
    duration: Option<Duration>,
    progress: &ProgressBar,
    asking: Asking,
) -> Result<Outcome> {
    let (pipe, its) = std::io::pipe().context("cannot make a pipe")?;
    let mut child = Command::new(program);
    child.args(&command[1..]).stdout(its);
    // SAFETY: runs between fork and exec, and makes system calls that are async-signal-safe.
    unsafe {
        child.pre_exec(|| {
            signal::give_back();
            descriptors::give_back()
        })
    };
    let started = asking.start(child).await.with_context(|| format!("cannot start {}", program.display()))?;
    let Started { command, mut ended } = started;
    log::info!("the command is process {}", command.id());
    let passing = Passing::begin(pipe.into())?;
    let itself = tokio::select! {
        status = &mut ended => Some(status),
        () = over(duration, progress) => None,
    };
    let asked_to = itself.is_none();
    let status = match itself {
        Some(status) => status,
        None => end(&command, ended).await,
    };
    let status = status.context("nobody waits for the command")??;
    let Said { text: output, whole, refused } = passing.end(LAST_WORDS).await;
    if let Some(error) = refused {
        note!("netstrata: not all that the command said could be passed on: {error}");
    }
    log::info!("the command ended: {status}");
    let exit_code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(Outcome { exit_code, asked_to, output, whole })
}

/// Waits for the end of the duration, if there is one, or for a signal; shows how far it is.
pub async fn over(duration: Option<Duration>, progress: &ProgressBar) {
    let Some(duration) = duration else {
        signal::interrupted().await;
        return;
    };
    let begun = Instant::now();
    let shown = async {
        if progress.is_hidden() {
            return std::future::pending().await;
        }
        let mut looks = interval(PROGRESS);
        loop {
            looks.tick().await;
            progress.set_position(begun.elapsed().as_millis() as u64);
        }
    };
    tokio::select! {
        _ = signal::interrupted() => {}
        () = sleep(duration) => {}
        () = shown => {}
    }
}

type Ended = oneshot::Receiver<io::Result<ExitStatus>>;

/// Asks the command to end, and ends it if it does not.
async fn end(command: &Kept, mut ended: Ended) -> Result<io::Result<ExitStatus>, oneshot::error::RecvError> {
    log::info!("the command outlasts the recording and is asked to end");
    command.signal(libc::SIGTERM);
    if let Ok(status) = timeout(GRACE, &mut ended).await {
        return status;
    }
    command.signal(libc::SIGKILL);
    ended.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::runtime::{in_thread, in_thread_beside, wait},
        record::keeper::keeper,
    };

    /// Runs a shell's script.
    fn outcome(script: &str, duration: Option<Duration>) -> Outcome {
        let command = ["sh", "-c", script].map(OsString::from);
        let (asking, keeper) = keeper();
        let work = || wait(run(&find("sh".as_ref()).expect("sh"), &command, duration, &ProgressBar::hidden(), asking));
        // Who keeps it gives everything up.
        in_thread("ns-test-keeper", || in_thread_beside("ns-test", work, || keeper.serve())).expect("ran")
    }

    #[test]
    fn a_missing_program_is_wrong_usage() {
        let error = find("no-such-program-anywhere".as_ref()).expect_err("not found");
        assert!(matches!(error.downcast(), Ok(Failure::Usage(_))));
    }

    #[test]
    fn output_and_exit_code_are_kept() {
        let outcome = outcome("echo out; exit 3", None);
        assert_eq!((outcome.exit_code, outcome.asked_to, outcome.output.as_str()), (3, false, "out\n"));
    }

    #[test]
    fn a_command_that_outlasts_the_duration_is_ended() {
        let outcome = outcome("exec sleep 60", Some(Duration::from_millis(50)));
        assert_eq!((outcome.exit_code, outcome.asked_to), (128 + libc::SIGTERM, true));
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_is_not_waited_for() {
        let begun = Instant::now();
        let outcome = outcome("sleep 10 & echo out", None);
        assert_eq!((outcome.exit_code, outcome.output.as_str()), (0, "out\n"));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
