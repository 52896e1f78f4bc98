//! Processes that this program starts: in a namespace, in their own group, with an end in every case.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    os::{
        fd::AsRawFd as _,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{runs, signal};

const TICK: Duration = Duration::from_millis(10);
/// Between two looks for a signal while lines are waited for: benchmarks run meanwhile.
const LINE: Duration = Duration::from_millis(50);

/// A process. Dropping it kills its group and waits for it.
pub struct Process {
    child: Child,
    name: String,
    note: Option<PathBuf>,
    lines: Receiver<String>,
    errors: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
    status: Option<ExitStatus>,
    term: bool,
}

impl Process {
    /// Starts `command` in the network namespace at `netns` (this process's own without one). The process gets `death`
    /// when this program dies; `notes` is a directory where its id is kept for the next run's clean-up.
    pub fn spawn(
        command: Command,
        netns: Option<&Path>,
        death: libc::c_int,
        notes: Option<&Path>,
    ) -> anyhow::Result<Self> {
        Self::spawn_reading(command, Stdio::null(), netns, death, notes)
    }

    /// The same with something to read on standard input.
    pub fn spawn_reading(
        mut command: Command,
        input: impl Into<Stdio>,
        netns: Option<&Path>,
        death: libc::c_int,
        notes: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let namespace = match netns {
            Some(path) => Some(File::open(path).with_context(|| format!("cannot open namespace {}", path.display()))?),
            None => None,
        };
        let fd = namespace.as_ref().map(|file| file.as_raw_fd());
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        // SAFETY: runs between fork and exec: only system calls that are async-signal-safe, on numbers that were
        // copied into the closure; `namespace` stays open until after the spawn.
        unsafe {
            command.pre_exec(move || {
                if let Some(fd) = fd
                    && libc::setns(fd, libc::CLONE_NEWNET) != 0
                {
                    return Err(std::io::Error::last_os_error());
                }
                if libc::prctl(libc::PR_SET_PDEATHSIG, death) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        drop(namespace);
        let note = notes.and_then(|notes| runs::note_child(notes, child.id()).ok());
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                    if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                        break;
                    }
                }
            });
        }
        let errors = Arc::new(Mutex::new(String::new()));
        let kept = errors.clone();
        let listener = child.stderr.take().map(|stderr| {
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    // The last lines tell the cause; a talkative daemon must not fill the memory.
                    if kept.len() > 1 << 16 {
                        kept.clear();
                    }
                    kept.push_str(&String::from_utf8_lossy(&line));
                    kept.push('\n');
                }
            })
        });
        let term = death == libc::SIGTERM;
        Ok(Self { child, name, note, lines, errors, listener, status: None, term })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status.is_some()
    }

    /// Waits for a line of standard output that is `wanted`.
    pub fn wait_line(&mut self, wanted: &str, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            signal::check()?;
            match self.lines.recv_timeout(TICK) {
                Ok(line) if line.trim_end() == wanted => return Ok(()),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.failure("ended early")),
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    bail!("{} did not say `{wanted}` within {limit:?}", self.name)
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits until `done`, which the process brings about; its own end before is an error. `what` is what is waited for.
    pub fn wait_until(&mut self, what: &str, limit: Duration, done: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while !done() {
            signal::check()?;
            if self.ended() {
                return Err(self.failure("ended early"));
            }
            if Instant::now() > deadline {
                bail!("{}: no {what} within {limit:?}", self.name);
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Lines of its standard output that nobody has read yet.
    pub fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Waits for its end and gives its standard output; a failure or a time-out is an error. With `heed` a signal to
    /// this program ends the wait too.
    pub fn finish(mut self, limit: Duration, heed: bool) -> anyhow::Result<String> {
        let deadline = Instant::now() + limit;
        let mut output = String::new();
        let mut open = true;
        loop {
            if heed {
                signal::check()?;
            }
            if open {
                match self.lines.recv_timeout(LINE) {
                    Ok(line) => {
                        output.push_str(&line);
                        output.push('\n');
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => open = false,
                    Err(RecvTimeoutError::Timeout) => {}
                }
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
            if self.ended() && !open {
                break;
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {limit:?}", self.name);
            }
        }
        match self.status {
            Some(status) if status.success() => Ok(output),
            _ => {
                // A program that answers in JSON ends with brackets, which say nothing.
                let last = output.lines().rev().find(|line| line.contains(char::is_alphanumeric)).unwrap_or("").trim();
                let last = last.to_owned();
                Err(self.failure("failed").context(last))
            }
        }
    }

    /// Asks with `signal` and kills after `grace`.
    pub fn stop(&mut self, signal: libc::c_int, grace: Duration) {
        if !self.ended() {
            // Not yet waited for, so that the id is still its own.
            kill(self.child.id(), signal);
            let deadline = Instant::now() + grace;
            while !self.ended() && Instant::now() < deadline {
                std::thread::sleep(TICK);
            }
        }
        if !self.ended() {
            // SAFETY: a plain system call; the group is the child's own (`process_group(0)`).
            unsafe { libc::kill(-(self.child.id() as libc::pid_t), libc::SIGKILL) };
            self.status = self.child.wait().ok();
        }
        if let Some(note) = self.note.take() {
            let _ = std::fs::remove_file(note);
        }
    }

    /// Why it ended: status and the last lines of its standard error.
    pub fn reason(&mut self) -> anyhow::Error {
        self.failure("ended")
    }

    fn failure(&mut self, what: &str) -> anyhow::Error {
        self.stop(libc::SIGKILL, Duration::from_secs(1));
        // A grandchild may hold the pipe open, so the wait for the last words has an end.
        let deadline = Instant::now() + Duration::from_millis(500);
        while self.listener.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let status = match self.status {
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "unknown status".into(),
            },
            None => "unknown status".into(),
        };
        let lines: Vec<&str> = errors.trim().lines().collect();
        let last = lines[lines.len().saturating_sub(3)..].join(" / ");
        anyhow::anyhow!("{} {what} ({status}): {last}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let (signal, grace) =
            if self.term { (libc::SIGTERM, Duration::from_secs(15)) } else { (libc::SIGKILL, Duration::from_secs(1)) };
        self.stop(signal, grace);
    }
}

/// Sends a signal to a process that the caller knows to be one of ours; that it is gone already is no error.
pub fn kill(pid: u32, signal: libc::c_int) {
    // SAFETY: a plain system call.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// Runs a command of the set-up to its end and gives its standard output. With `heed` a signal ends the wait.
pub fn run(command: Command, limit: Duration, heed: bool) -> anyhow::Result<String> {
    run_in(command, None, limit, heed)
}

/// Like [`run`], in the network namespace at `netns`.
pub fn run_in(command: Command, netns: Option<&Path>, limit: Duration, heed: bool) -> anyhow::Result<String> {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    Process::spawn(command, netns, libc::SIGKILL, None)?.finish(limit, heed).with_context(|| words.join(" "))
}
