//! Runs a command in an emulated machine: its output as it comes, its exit code, and what the console tells.

use crate::note;
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    console,
    console::{Trouble, TroubleKind},
    files::{self, Servers},
    image, initramfs, qemu,
};
use crate::{
    choices::{Clock, Files, Kernel},
    failure::Failure,
    host::{
        changes::Changes,
        facts::user,
        process::{die_with_parent, wait_for_end},
        program::find_system,
        runs, runtime,
        shell::{self, quoted},
        signal,
    },
};

/// Time for a guest to come up; it takes about ten seconds on an idle host.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// And for each of its CPUs, which are emulated in turns.
const BOOT_LIMIT_CPU: Duration = Duration::from_secs(5);

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Job {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// What drives the clock.
    pub clock: Clock,
    /// See [`qemu::Setup::cpus`].
    pub cpus: u32,
    /// See [`qemu::Setup::layout`].
    pub layout: u32,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Directories that the command may write to; they exist.
    pub shares: Vec<PathBuf>,
    /// How long it may take once the machine is up.
    pub limit: Duration,
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The command's exit code.
    pub exit_code: u8,
    /// What the console told.
    pub troubles: Vec<Trouble>,
}

/// Runs the job; its standard output and standard error become this program's.
pub fn run(job: &Job) -> Result<Ended> {
    signal::heed()?;
    let (program, version) = qemu::find()?;
    let busybox = busybox()?;
    let progress = spinner();
    let image = image::get(job.kernel, &mut |what| progress.set_message(what.to_owned()))?;
    signal::check()?;
    let directory = RunDirectory::new()?;
    initramfs::write(&image, job.kernel.files, &busybox, &directory.0.join("initramfs"))?;
    fs::write(directory.0.join("command"), script(&job.command, &std::env::current_dir()?))?;
    let shares: Vec<PathBuf> = job.shares.iter().map(fs::canonicalize).collect::<io::Result<_>>()?;
    let list: String = shares.iter().map(|path| format!("{}\n", path.display())).collect();
    fs::write(directory.0.join("shares"), list)?;
    let setup = qemu::Setup {
        kernel: job.kernel,
        image: &image,
        clock: job.clock,
        cpus: job.cpus,
        layout: job.layout,
        run: &directory.0,
        shares: &shares,
    };
    // Longer than the machine, which asks them.
    let _servers = match job.kernel.files {
        Files::NineP => None,
        Files::Virtio => Some(Servers::start(&directory.0, &shares)?),
    };
    let mut machine = Machine::start(&program, &qemu::arguments(&setup, version), &directory.0)?;
    progress.set_message(format!("booting Linux {}", image.release));
    let outcome = runtime::wait(machine.watch(job, &directory.0, &progress));
    progress.finish_and_clear();
    outcome
}

/// The program that guests start with.
fn busybox() -> Result<PathBuf, Failure> {
    find_system("busybox")
        .ok_or_else(|| Failure::Refused("emulated machines need busybox: install busybox-static".into()))
}

/// Fetches what a machine with this kernel needs, and refuses if it cannot be had. Gives the kernel's release.
pub fn prepare(kernel: &Kernel, say: &mut dyn FnMut(&str)) -> Result<String> {
    qemu::find()?;
    busybox()?;
    if kernel.files == Files::Virtio {
        files::find()?;
    }
    Ok(image::get(kernel, say)?.release)
}

/// A spinner on a terminal, nothing elsewhere.
fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})").unwrap_or_else(|_| {
        ProgressStyle::default_spinner() // cannot happen: the template is constant
    }));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The shell script of a command, in this directory and with the settings of this program's own environment.
fn script(command: &[String], directory: &Path) -> String {
    let mut script = String::new();
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("NETSTRATA_") || name == "RUST_BACKTRACE")
    {
        script.push_str(&format!("export {name}={}\n", quoted(&value)));
    }
    script.push_str(&format!("cd {} || exit 2\nexec {}\n", quoted(&directory.to_string_lossy()), shell::line(command)));
    script
}

/// The directory that host and guest share for one run; it goes when this is dropped.
struct RunDirectory(PathBuf);

impl RunDirectory {
    fn new() -> Result<Self> {
        let base = std::env::temp_dir().join(format!("netstrata-machine-{}", user()));
        for pid in runs::dead(&base, []) {
            let _ = fs::remove_dir_all(base.join(pid.to_string()));
        }
        let directory = runs::claim(&base)?;
        for name in ["stdout", "stderr", "console"] {
            File::create(directory.join(name))?;
        }
        Ok(Self(directory))
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        if let Some(base) = self.0.parent() {
            // Succeeds when no other run is there.
            let _ = fs::remove_dir(base);
        }
    }
}

/// A running qemu; dropping it ends it.
struct Machine {
    child: Child,
}

impl Machine {
    fn start(program: &Path, arguments: &[String], directory: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments.iter().map(OsStr::new)).stdin(Stdio::null()).process_group(0);
        let log = File::create(directory.join("qemu"))?;
        command.stdout(log.try_clone()?).stderr(log);
        // SAFETY: runs between fork and exec, and makes one system call that is async-signal-safe.
        unsafe { command.pre_exec(|| die_with_parent(libc::SIGKILL)) };
        let runtime = runtime::current()?;
        let _within = runtime.enter();
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child })
    }

    /// Passes output on until the machine is off.
    async fn watch(&mut self, job: &Job, directory: &Path, progress: &ProgressBar) -> Result<Ended> {
        let ended = self.run(job, directory, progress).await?;
        outcome(job, directory, ended)
    }

    /// Passes output on as it comes; how qemu ended.
    async fn run(&mut self, job: &Job, directory: &Path, progress: &ProgressBar) -> Result<ExitStatus> {
        let changes = Changes::of(directory)?;
        let (mut out, mut err) = (Tail::open(directory, "stdout")?, Tail::open(directory, "stderr")?);
        let mut pass_on = || progress.suspend(|| out.pass_on(&mut io::stdout()).and(err.pass_on(&mut io::stderr())));
        let boot_limit = BOOT_LIMIT + BOOT_LIMIT_CPU * job.cpus;
        let limit = sleep(boot_limit);
        tokio::pin!(limit);
        let mut booted = false;
        loop {
            tokio::select! {
                biased;
                signal = signal::interrupted() => bail!(signal),
                ended = self.child.wait() => {
                    pass_on()?;
                    return Ok(ended?);
                }
                () = &mut limit => {
                    let (limit, what) = match booted {
                        false => (boot_limit, "did not come up"),
                        true => (job.limit, "did not come to an end"),
                    };
                    let console = read(&directory.join("console"));
                    let last = console::tail(&console, 3).join(" / ");
                    bail!(Failure::Refused(format!(
                        "the emulated machine with Linux {} {what} within {limit:?}; its console ends: {last}",
                        job.kernel.version
                    )));
                }
                changed = changes.next() => changed?,
            }
            pass_on()?;
            if !booted && directory.join("booted").exists() {
                booted = true;
                limit.as_mut().reset(Instant::now() + job.limit);
                progress.set_message(format!("running in Linux {}", job.kernel.version));
            }
        }
    }
}

/// What the machine left, once it is off.
fn outcome(job: &Job, directory: &Path, ended: ExitStatus) -> Result<Ended> {
    let console = read(&directory.join("console"));
    let troubles = console::troubles(&console);
    for trouble in &troubles {
        note!("netstrata: console of Linux {}: {}: {}", job.kernel.version, trouble.kind, trouble.line);
    }
    if let Ok(code) = fs::read_to_string(directory.join("exit")) {
        let exit_code = code.trim().parse().context("the guest gave no exit code")?;
        return Ok(Ended { exit_code, troubles });
    }
    let first = |kind: TroubleKind| troubles.iter().find(|trouble| trouble.kind == kind);
    let cause = first(TroubleKind::Panic).or_else(|| first(TroubleKind::Start)).map(|trouble| trouble.line.clone());
    let said = read(&directory.join("qemu"));
    let cause = cause.or_else(|| said.lines().last().map(str::to_owned)).unwrap_or_else(|| {
        format!("qemu ended with {ended}; the console ends: {}", console::tail(&console, 3).join(" / "))
    });
    Err(Failure::Refused(format!(
        "the emulated machine with Linux {} died before the command was over: {cause}",
        job.kernel.version
    ))
    .into())
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has an id until it has been waited for.
        if let (Some(id), Ok(())) = (self.child.id(), self.child.start_kill()) {
            wait_for_end(id, None);
        }
    }
}

/// A file of any bytes, as text.
fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A file that grows.
struct Tail {
    file: File,
}

impl Tail {
    fn open(directory: &Path, name: &str) -> io::Result<Self> {
        let mut file = File::open(directory.join(name))?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file })
    }

    fn pass_on(&mut self, to: &mut dyn io::Write) -> io::Result<()> {
        let mut new = Vec::new();
        self.file.read_to_end(&mut new)?;
        if !new.is_empty() {
            // A reader of ours that went away must not end the run.
            let _ = to.write_all(&new).and_then(|()| to.flush());
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::{io::Write as _, process::Command as Shell};

    use super::*;

    #[test]
    fn commands_reach_the_shell_unchanged() {
        let words = ["printf", "%s|", "it's", "a b", "$HOME", "", "*", "-x=\"1\""].map(str::to_owned);
        let directory = std::env::temp_dir();
        let done = Shell::new("sh").arg("-c").arg(script(&words, &directory)).output().unwrap();
        assert_eq!(String::from_utf8(done.stdout).unwrap(), "it's|a b|$HOME||*|-x=\"1\"|");
    }

    #[test]
    fn a_directory_that_does_not_exist_ends_the_command() {
        let done = Shell::new("sh").arg("-c").arg(script(&["true".into()], Path::new("/nonexistent"))).status();
        assert_eq!(done.unwrap().code(), Some(2));
    }

    #[test]
    fn a_growing_file_is_passed_on_once() {
        let directory = RunDirectory::new().unwrap();
        let mut tail = Tail::open(&directory.0, "stdout").unwrap();
        let mut writer = File::options().append(true).open(directory.0.join("stdout")).unwrap();
        let mut heard = Vec::new();
        for part in ["one", "", " two"] {
            writer.write_all(part.as_bytes()).unwrap();
            tail.pass_on(&mut heard).unwrap();
        }
        assert_eq!(heard, b"one two");
        let path = directory.0.clone();
        drop(directory);
        assert!(!path.exists());
    }
}
