//! Directories that a guest sees, and the programs that serve them to kernels without 9p.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::net::UnixListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result};
use tokio::process::{Child, Command};

use crate::{
    failure::Failure,
    host::{
        facts::is_root,
        process::{die_with_parent, wait_for_end},
        runtime,
    },
};

/// Where Debian puts it: with qemu before 8.0, later alone.
const PROGRAMS: [&str; 2] = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// A directory that a guest sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// On the host.
    pub path: &'a Path,
    /// What the guest knows it by.
    pub tag: String,
    /// The guest only reads it.
    pub read_only: bool,
}

impl Share<'_> {
    /// Where its server is asked, in the directory of a run.
    pub fn socket(&self, run: &Path) -> PathBuf {
        run.join(format!("{}.sock", self.tag))
    }
}

/// The directories of a guest: the host's root, that of its run, and what it may write to.
pub fn shared<'a>(run: &'a Path, shares: &'a [PathBuf]) -> Vec<Share<'a>> {
    let share = |path, tag: String, read_only| Share { path, tag, read_only };
    let mut all = vec![share(Path::new("/"), "host".into(), true), share(run, "run".into(), false)];
    all.extend(shares.iter().enumerate().map(|(index, path)| share(path, format!("share{index}"), false)));
    all
}

/// The program that serves files to kernels without 9p.
///
/// # Errors
/// [`Failure::Refused`] where it is missing, or would not start.
pub fn find() -> Result<&'static Path, Failure> {
    if !is_root() {
        return Err(Failure::Refused("emulated machines with kernels for clouds need root: virtiofsd does".into()));
    }
    PROGRAMS.iter().map(Path::new).find(|path| path.is_file()).ok_or_else(|| {
        Failure::Refused(
            "emulated machines with kernels for clouds need virtiofsd: install qemu-system-common, or virtiofsd where that \
             has none"
                .into(),
        )
    })
}

/// The programs that serve a guest's directories; dropping them ends them.
#[derive(Debug)]
pub struct Servers(Vec<Child>);

impl Servers {
    /// Starts one for each directory. They can be asked at once: each is born with the socket at which it is.
    pub fn start(run: &Path, shares: &[PathBuf]) -> Result<Self> {
        let program = find()?;
        let runtime = runtime::current()?;
        let _within = runtime.enter();
        let mut servers = Self(Vec::new());
        let log = File::create(run.join("virtiofsd"))?;
        for share in shared(run, shares) {
            let socket = UnixListener::bind(share.socket(run)).context("cannot make a socket for a server of files")?;
            let descriptor = socket.as_raw_fd();
            // What the guest writes to the directory of its run must be seen there at once.
            let cache = if share.read_only { "always" } else { "none" };
            let mut command = Command::new(program);
            command.arg(format!("--fd={descriptor}"));
            command.arg("-o").arg(format!("source={},cache={cache},sandbox=chroot", share.path.display()));
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).process_group(0);
            // SAFETY: runs between fork and exec, and makes two system calls that are async-signal-safe; the descriptor is open
            // until the program was started.
            unsafe {
                command.pre_exec(move || {
                    if libc::fcntl(descriptor, libc::F_SETFD, 0) != 0 {
                        return Err(io::Error::last_os_error());
                    }
                    die_with_parent(libc::SIGKILL)
                });
            }
            servers.0.push(command.spawn().with_context(|| format!("cannot start {}", program.display()))?);
        }
        Ok(servers)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It has an id until it has been waited for.
            if let (Some(id), Ok(())) = (child.id(), child.start_kill()) {
                wait_for_end(id, None);
            }
        }
    }
}
