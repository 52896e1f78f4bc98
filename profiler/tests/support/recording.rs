//! A recording that runs beside the test.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use netstrata::profile::{Profile, read};

use super::{NETSTRATA, process::Process, wait::until_within};

/// For the programs to be verified, and to be taken away again: an emulated processor takes twenty seconds for the first and five for
/// the second, and several times that on a busy host.
const SLOWEST: Duration = Duration::from_secs(180);
/// What it says on a terminal from then on.
const STARTED: &str = "recording (attached in";
/// Packets that are used up unseen end 20 ms after they moved last, on a busy machine some time later.
const UNSEEN: Duration = Duration::from_millis(300);

/// A recording; killed when dropped.
pub struct Recording(pub Process);

impl Recording {
    /// Starts one with these options and waits until all is attached. Only on a terminal does it say so.
    pub fn start(file: &Path, options: &[&str]) -> Self {
        let (ours, its) = terminal();
        let child = Command::new(NETSTRATA)
            .args(["record", "-o"])
            .arg(file)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(its)
            .spawn()
            .unwrap();
        let recording = Self(Process(child));
        let heard = listen(ours);
        let deadline = Instant::now() + SLOWEST;
        let mut said = String::new();
        while !said.contains(STARTED) {
            match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(more) => said += &more,
                Err(RecvTimeoutError::Timeout) => panic!("no recording within {SLOWEST:?}: {said}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended early: {said}"),
            }
        }
        recording
    }

    /// Lets followed packets end, ends the recording as Ctrl-C does, and reads what it wrote.
    pub fn stop(mut self, file: &Path) -> Profile {
        thread::sleep(UNSEEN);
        self.0.signal(libc::SIGINT);
        until_within(SLOWEST, "the end of a recording", || !self.0.is_running());
        assert_eq!(self.0.end().code(), Some(0));
        read(file).unwrap()
    }
}

/// Both ends of a new terminal.
fn terminal() -> (File, Stdio) {
    let size = libc::winsize { ws_row: 24, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut ours, mut its) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: what is pointed to outlives the calls; the descriptors are new, and nobody else's.
    unsafe {
        let result = libc::openpty(&raw mut ours, &raw mut its, none, std::ptr::null(), &raw const size);
        assert_eq!(result, 0, "no terminal: {}", std::io::Error::last_os_error());
        let (ours, its) = (File::from_raw_fd(ours), OwnedFd::from_raw_fd(its));
        // Programs that hold it would keep it open.
        assert_eq!(libc::fcntl(ours.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC), 0);
        (ours, its.into())
    }
}

/// Passes on what is said, as long as somebody hears it, and reads it to its end in any case: who writes would wait.
fn listen(mut terminal: File) -> mpsc::Receiver<String> {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        // The end of the other side is an error here.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            let _ = said.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    });
    heard
}
