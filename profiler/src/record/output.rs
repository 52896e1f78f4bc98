//! What the recorded command says: passed on as it comes, and its beginning kept for the benchmark's result.
//!
//! In a thread that waits with the command, in whichever way the command's reader lets it: so the recorder, which keeps time,
//! neither waits nor copies. Beyond what is kept the kernel moves the pages of pipes and files (splice), which `io::copy`
//! asks it for.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsFd as _, OwnedFd},
    string::FromUtf8Error,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    kernel::confine::{Confined, confine},
    threads,
};

/// Output beyond this is passed on but not kept.
///
/// iperf3's JSON of 128 streams and four minutes has 10 MB.
const KEPT: usize = 16 << 20;
/// As much as a pipe holds.
const PIECE: usize = 64 << 10;

/// What there is of it.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// Why some of it could not be passed on; a reader that went away is no reason.
    refused: Option<io::Error>,
}

/// What a command said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub text: String,
    /// That is all of it.
    pub whole: bool,
    /// Why some of it was not passed on.
    pub refused: Option<io::Error>,
}

/// Output that is being passed on.
pub(super) struct Passing {
    kept: Arc<Mutex<Kept>>,
    /// Its other end is dropped at the end of the output.
    over: oneshot::Receiver<()>,
}

impl Passing {
    /// Begins to pass on to standard output what comes through a pipe.
    pub fn begin(pipe: OwnedFd) -> Result<Self> {
        // Unbuffered: what was said is seen, and may be moved without a copy.
        let out = File::from(io::stdout().as_fd().try_clone_to_owned().context("cannot pass the output on")?);
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (done, over) = oneshot::channel::<()>();
        let keep = kept.clone();
        let work = move || {
            confine(Confined { keeps: &[], writes: Some(&[]) });
            pass_on(pipe.into(), out, &keep);
            drop(done);
        };
        thread::Builder::new().name(threads::OUTPUT.into()).spawn(work).context("cannot start a thread")?;
        Ok(Self { kept, over })
    }

    /// Waits for the end of the output, but no longer than this. The thread is left behind then.
    pub async fn end(self, patience: Duration) -> Said {
        let _ = timeout(patience, self.over).await;
        let Kept { bytes, refused } = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let whole = bytes.len() < KEPT;
        let lossy = |error: FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
        Said { text: String::from_utf8(bytes).unwrap_or_else(lossy), whole, refused }
    }
}

/// A piece is read when the one before is written: a command that says more than is taken waits, as it would without us.
fn pass_on(mut pipe: File, mut out: File, kept: &Mutex<Kept>) {
    let mut left = KEPT;
    let keep = |piece: &[u8], written: io::Result<()>| {
        let piece = &piece[..piece.len().min(left)];
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes.extend_from_slice(piece);
        let refused = written.err().filter(|error| error.kind() != ErrorKind::BrokenPipe);
        kept.refused = kept.refused.take().or(refused);
        left -= piece.len();
        left > 0
    };
    if pieces(&mut pipe, &mut out, keep) && io::copy(&mut pipe, &mut out).is_err() {
        pieces(&mut pipe, &mut out, |_, _| true);
    }
}

/// Passes on piece after piece while `goes_on` says so; whether there may be more. What cannot be written is lost: a reader of
/// ours that went away must not end the benchmark.
fn pieces(pipe: &mut impl Read, out: &mut impl Write, mut goes_on: impl FnMut(&[u8], io::Result<()>) -> bool) -> bool {
    let mut buffer = vec![0; PIECE];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => {
                let written = out.write_all(&buffer[..length]);
                if !goes_on(&buffer[..length], written) {
                    return true;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// What of so many bytes is passed on to where they are read, if they are, and kept.
    fn passed(bytes: usize, is_read: bool) -> (Vec<u8>, Vec<u8>) {
        let ((pipe, mut command), (mut reader, out)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let said: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        let saying = thread::spawn(move || command.write_all(&said).unwrap());
        let reading = is_read.then(|| {
            thread::spawn(move || {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).map(|_| read).unwrap()
            })
        });
        let kept = Mutex::new(Kept::default());
        pass_on(OwnedFd::from(pipe).into(), OwnedFd::from(out).into(), &kept);
        saying.join().unwrap();
        (reading.map(|reading| reading.join().unwrap()).unwrap_or_default(), kept.into_inner().unwrap().bytes)
    }

    #[test]
    fn everything_is_passed_on_and_the_beginning_kept() {
        for bytes in [0, 1, PIECE + 1, KEPT - 1, KEPT, KEPT + 1, KEPT + 3 * PIECE + 7] {
            let (passed, kept) = passed(bytes, true);
            let as_said = |all: &[u8]| all.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8);
            assert_eq!((passed.len(), kept.len()), (bytes, bytes.min(KEPT)));
            assert!(as_said(&passed) && as_said(&kept), "{bytes} bytes");
        }
    }

    #[test]
    fn what_has_no_room_is_told() {
        let (pipe, mut command) = io::pipe().unwrap();
        command.write_all(b"said").unwrap();
        drop(command);
        let (kept, full) = (Mutex::new(Kept::default()), File::options().write(true).open("/dev/full").unwrap());
        pass_on(OwnedFd::from(pipe).into(), full, &kept);
        let kept = kept.into_inner().unwrap();
        assert_eq!(
            (kept.bytes, kept.refused.map(|error| error.kind())),
            (b"said".to_vec(), Some(ErrorKind::StorageFull))
        );
    }

    #[test]
    fn a_command_says_all_though_nobody_reads() {
        let (_, kept) = passed(KEPT + 3 * PIECE, false);
        assert_eq!(kept.len(), KEPT);
    }
}
