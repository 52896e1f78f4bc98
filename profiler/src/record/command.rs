//! The command that is recorded.

use std::{
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    failure::Failure,
    host::{process::kill, program, signal},
};

/// Output beyond this is passed on but not kept for the benchmark's result.
const KEPT_OUTPUT: usize = 4 << 20;
/// How long a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// How a command ended.
pub struct Outcome {
    /// Exit code; 128 + signal if it was killed.
    pub exit_code: i32,
    /// Its standard output.
    pub output: String,
}

/// The file of the command's program.
pub fn find(name: &str) -> Result<PathBuf> {
    let missing = || Failure::Usage(format!("there is no program `{name}`; nothing was recorded")).into();
    program::find(name).ok_or_else(missing)
}

/// Runs a command to its end, to the end of `duration`, or to a signal. Its output is passed on and kept.
pub fn run(
    program: &Path,
    command: &[String],
    duration: Option<Duration>,
    progress: &indicatif::ProgressBar,
) -> Result<Outcome> {
    let mut child = Command::new(program)
        .args(&command[1..])
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let pipe = child.stdout.take();
    let reader = std::thread::spawn(move || pipe.map(pass_on).unwrap_or_default());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if signal::received() || duration.is_some_and(|duration| start.elapsed() >= duration) {
            break end(&mut child)?;
        }
        if duration.is_some() {
            progress.set_position(start.elapsed().as_millis() as u64);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // A grandchild may hold the pipe open for ever: do not wait for it.
    let patience = Instant::now();
    while !reader.is_finished() && patience.elapsed() < Duration::from_millis(300) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = if reader.is_finished() { reader.join().unwrap_or_default() } else { Vec::new() };
    Ok(Outcome {
        exit_code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}

/// Asks the command to end, and ends it if it does not.
fn end(child: &mut Child) -> Result<ExitStatus> {
    // Not yet waited for, so that the id is still its own.
    kill(child.id(), libc::SIGTERM);
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    Ok(child.wait()?)
}

fn pass_on(mut pipe: std::process::ChildStdout) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 8192];
    let mut out = std::io::stdout();
    while let Ok(length @ 1..) = pipe.read(&mut buffer) {
        // A reader of ours that went away must not end the benchmark.
        let _ = out.write_all(&buffer[..length]).and_then(|()| out.flush());
        if kept.len() + length <= KEPT_OUTPUT {
            kept.extend_from_slice(&buffer[..length]);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_wrong_usage() {
        let error = find("no-such-program-anywhere").expect_err("not found");
        assert!(matches!(error.downcast(), Ok(Failure::Usage(_))));
    }

    #[test]
    fn output_and_exit_code_are_kept() {
        let command = ["sh".to_owned(), "-c".into(), "echo out; exit 3".into()];
        let hidden = indicatif::ProgressBar::hidden();
        let outcome = run(&find("sh").expect("sh"), &command, None, &hidden).expect("ran");
        assert_eq!((outcome.exit_code, outcome.output.as_str()), (3, "out\n"));
    }

    #[test]
    fn a_command_that_outlasts_the_duration_is_ended() {
        let command = ["sleep".to_owned(), "60".into()];
        let hidden = indicatif::ProgressBar::hidden();
        let duration = Some(Duration::from_millis(50));
        let outcome = run(&find("sleep").expect("sleep"), &command, duration, &hidden).expect("ran");
        assert_eq!(outcome.exit_code, 128 + libc::SIGTERM);
    }
}
