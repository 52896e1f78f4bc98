//! Processes that this program starts: in a namespace, in their own group, with an end in every case.

use std::{
    fs::File,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::Child,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{runs, runtime, signal};

/// Between two looks for what a process brings about and nothing announces.
const TICK: Duration = Duration::from_millis(10);
/// The last words of a process that has ended: a grandchild may hold the pipe open, so the wait for them has an end.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Of a talkative daemon only the last words are kept.
const MOST_ERRORS: usize = 1 << 16;

/// A process. Dropping it kills its group and waits for it.
pub struct Process {
    child: Child,
    id: u32,
    name: String,
    note: Option<PathBuf>,
    lines: UnboundedReceiver<String>,
    errors: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
    status: Option<ExitStatus>,
    term: bool,
}

impl Process {
    /// Starts `command` in the network namespace at `netns` (this process's own without one). The process gets `death`
    /// when this program dies; `notes` is a directory where its id is kept for the next run's clean-up. It belongs to the
    /// runtime of this thread.
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
        command: Command,
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
        let mut command = tokio::process::Command::from(command);
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
                die_with_parent(death)
            });
        }
        let runtime = runtime::current()?;
        let _within = runtime.enter();
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        drop(namespace);
        let id = child.id().with_context(|| format!("{name} has no id"))?;
        let note = notes.and_then(|notes| runs::note_child(notes, id).ok());
        let (sender, lines) = unbounded_channel();
        if let Some(stdout) = child.stdout.take() {
            runtime.spawn(each_line(stdout, move |line| sender.send(line).is_ok()));
        }
        let errors = Arc::new(Mutex::new(String::new()));
        let kept = errors.clone();
        let listener = child.stderr.take().map(|stderr| {
            runtime.spawn(each_line(stderr, move |line| {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() > MOST_ERRORS {
                    kept.clear();
                }
                kept.push_str(&line);
                kept.push('\n');
                true
            }))
        });
        let term = death == libc::SIGTERM;
        Ok(Self { child, id, name, note, lines, errors, listener, status: None, term })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status.is_some()
    }

    /// Waits for a line of standard output that is `wanted`.
    pub async fn wait_line(&mut self, wanted: &str, limit: Duration) -> anyhow::Result<()> {
        let said = async {
            while let Some(line) = self.lines.recv().await {
                if line.trim_end() == wanted {
                    return true;
                }
            }
            false
        };
        let said = tokio::select! {
            biased;
            signal = signal::interrupted() => bail!(signal),
            said = said => said,
            () = sleep(limit) => bail!("{} did not say `{wanted}` within {limit:?}", self.name),
        };
        if said { Ok(()) } else { Err(self.failure("ended early").await) }
    }

    /// Waits until `done`, which the process brings about and nothing announces; its own end before is an error. `what` is
    /// what is waited for.
    pub fn wait_until(&mut self, what: &str, limit: Duration, done: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while !done() {
            runtime::wait(self.goes_on(TICK))?;
            if Instant::now() > deadline {
                bail!("{}: no {what} within {limit:?}", self.name);
            }
        }
        Ok(())
    }

    /// Waits for a time; the process's end meanwhile is an error.
    pub async fn goes_on(&mut self, time: Duration) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            signal = signal::interrupted() => bail!(signal),
            status = self.child.wait() => self.status = Some(status?),
            () = sleep(time) => return Ok(()),
        }
        Err(self.failure("ended early").await)
    }

    /// Lines of its standard output that nobody has read yet; of a process that has ended all, unless a grandchild holds
    /// the pipe open.
    pub async fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        let all = async {
            while let Some(line) = self.lines.recv().await {
                said.push(line);
            }
        };
        // A time-out is no error: then there are no more.
        let _ = timeout(LAST_WORDS, all).await;
        said
    }

    /// Waits for its end and gives its standard output; a failure or a time-out is an error. With `heed` a signal to
    /// this program ends the wait too.
    pub async fn finish(mut self, limit: Duration, heed: bool) -> anyhow::Result<String> {
        let mut output = String::new();
        let ended = async {
            while let Some(line) = self.lines.recv().await {
                output.push_str(&line);
                output.push('\n');
            }
            self.child.wait().await
        };
        let status = tokio::select! {
            biased;
            signal = signal::interrupted(), if heed => bail!(signal),
            status = ended => status?,
            () = sleep(limit) => bail!("{} did not end within {limit:?}", self.name),
        };
        self.status = Some(status);
        if status.success() {
            return Ok(output);
        }
        // A program that answers in JSON ends with brackets, which say nothing.
        let last = output.lines().rev().find(|line| line.contains(char::is_alphanumeric)).unwrap_or("").trim();
        Err(self.failure("failed").await.context(last.to_owned()))
    }

    /// Asks with `signal` and kills after `grace`.
    pub fn stop(&mut self, signal: libc::c_int, grace: Duration) {
        if !self.ended() {
            // Not yet waited for, so that the id is still its own.
            kill(self.id, signal);
            wait_for_end(self.id, Some(grace));
        }
        if !self.ended() {
            // SAFETY: a plain system call; the group is the child's own (`process_group(0)`).
            unsafe { libc::kill(-(self.id as libc::pid_t), libc::SIGKILL) };
            wait_for_end(self.id, None);
            self.ended();
        }
        if let Some(note) = self.note.take() {
            let _ = std::fs::remove_file(note);
        }
    }

    /// Why it ended: status and the last lines of its standard error.
    pub async fn reason(&mut self) -> anyhow::Error {
        self.failure("ended").await
    }

    async fn failure(&mut self, what: &str) -> anyhow::Error {
        self.stop(libc::SIGKILL, Duration::from_secs(1));
        if let Some(listener) = self.listener.take() {
            let _ = timeout(LAST_WORDS, listener).await;
        }
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let status = match self.status.map(|status| (status.code(), status.signal())) {
            Some((Some(code), _)) => format!("exit code {code}"),
            Some((None, Some(signal))) => format!("signal {signal}"),
            Some((None, None)) | None => "unknown status".into(),
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

/// Gives each line to `take`, until the end or until that wants no more.
async fn each_line(from: impl AsyncRead + Unpin, mut take: impl FnMut(String) -> bool) {
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        if !take(String::from_utf8_lossy(&line).into_owned()) {
            break;
        }
    }
}

/// For a child between fork and exec: it gets this signal when the thread that started it ends.
pub fn die_with_parent(signal: libc::c_int) -> std::io::Result<()> {
    // SAFETY: a plain system call about the calling process, which is async-signal-safe.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Sends a signal to a process that the caller knows to be one of ours; that it is gone already is no error.
pub fn kill(pid: u32, signal: libc::c_int) {
    // SAFETY: a plain system call.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// Waits until a process has ended, for so long at most; it may also be a child that nobody has waited for. For guards, which
/// are dropped where nothing can be awaited.
pub fn wait_for_end(pid: u32, limit: Option<Duration>) {
    // SAFETY: plain system calls; the descriptor, if there is one, is new and nobody else's.
    let process = unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) {
            fd @ 0.. => OwnedFd::from_raw_fd(fd as i32),
            // Ended, and waited for.
            _ => return,
        }
    };
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Rounded up, or it would be asked again and again in the last millisecond.
        let left = left.map_or(-1, |left| i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
        let mut wanted = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, which outlives the call; the descriptor is open.
        let ready = unsafe { libc::poll(&raw mut wanted, 1, left) };
        // A signal may interrupt it.
        if ready != -1 {
            return;
        }
    }
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
    let process = Process::spawn(command, netns, libc::SIGKILL, None)?;
    runtime::wait(process.finish(limit, heed)).with_context(|| words.join(" "))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn(command, None, libc::SIGKILL, None).unwrap()
    }

    #[test]
    fn what_a_process_says_is_its_result_and_what_it_complains_of_the_reason() {
        assert_eq!(runtime::wait(shell("echo one; echo two").finish(LIMIT, true)).unwrap(), "one\ntwo\n");
        let failed = runtime::wait(shell("echo said; echo why >&2; exit 3").finish(LIMIT, true)).unwrap_err();
        assert_eq!(format!("{failed:#}"), "said: sh failed (exit code 3): why");
        let late = runtime::wait(shell("sleep 60").finish(TICK, true)).unwrap_err();
        assert_eq!(late.to_string(), "sh did not end within 10ms");
    }

    #[test]
    fn a_line_is_waited_for_and_an_early_end_is_told() {
        let mut process = shell("echo no; echo yes; sleep 60");
        runtime::wait(process.wait_line("yes", LIMIT)).unwrap();
        assert!(!process.ended());
        let early = runtime::wait(async { shell("echo no; echo bad >&2").wait_line("yes", LIMIT).await }).unwrap_err();
        assert!(early.to_string().starts_with("sh ended early ("), "{early}");
        assert!(early.to_string().ends_with(": bad"), "{early}");
        let early = shell("exit 4").wait_until("light", LIMIT, || false).unwrap_err();
        assert_eq!(early.to_string(), "sh ended early (exit code 4): ");
    }

    #[test]
    fn a_process_that_does_not_listen_is_killed_with_its_children_after_a_grace() {
        let mut process = shell("trap '' TERM; sleep 60 & echo $!; wait");
        let child = runtime::wait(async { Ok(process.lines.recv().await) }).unwrap().unwrap();
        let begun = Instant::now();
        process.stop(libc::SIGTERM, Duration::from_millis(100));
        assert!(process.ended() && begun.elapsed() >= Duration::from_millis(100) && begun.elapsed() < LIMIT);
        // An orphan whose new parent has not waited for it yet is no process with a start time any more.
        wait_for_end(child.parse().unwrap(), Some(LIMIT));
        assert_eq!(super::super::facts::start_time(child.parse().unwrap()), None);
        wait_for_end(u32::MAX >> 1, None);
    }
}
