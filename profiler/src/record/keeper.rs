//! The program's first thread while a recording runs: it starts the command that is recorded, with all that this program had when it
//! was started, gives up everything for itself, and waits for the command's end.

use std::{
    io,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use anyhow::{Context as _, Result};
use tokio::sync::oneshot;

use crate::{
    host::process::kill,
    kernel::confine::{Confined, confine},
};

/// What the recorder asks for, once, when all is attached.
enum Request {
    /// There is nothing to start.
    Nothing,
    /// To start this, and tell whether it was started, and how it ended.
    Start(Box<Command>, oneshot::Sender<io::Result<Arc<Kept>>>, oneshot::Sender<io::Result<ExitStatus>>),
}

/// The recorder's side: it asks.
pub(super) struct Asking(mpsc::Sender<Request>);

/// The first thread's side: it does.
pub(super) struct Keeper(mpsc::Receiver<Request>);

/// A command that was started.
pub(super) struct Kept {
    /// None when it has been waited for: its number may be another's.
    child: Mutex<Option<Child>>,
    id: u32,
}

/// The same, with its end.
pub(super) struct Started {
    pub command: Arc<Kept>,
    pub ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

/// Both sides.
pub(super) fn keeper() -> (Asking, Keeper) {
    let (asking, asked) = mpsc::channel();
    (Asking(asking), Keeper(asked))
}

impl Asking {
    /// Has a command started.
    pub async fn start(self, command: Command) -> Result<Started> {
        let ((told, started), (ending, ended)) = (oneshot::channel(), oneshot::channel());
        let gone = "nobody starts the command";
        self.0.send(Request::Start(Box::new(command), told, ending)).ok().context(gone)?;
        Ok(Started { command: started.await.context(gone)??, ended })
    }

    /// There is none.
    pub fn nothing(self) {
        let _ = self.0.send(Request::Nothing);
    }
}

impl Keeper {
    /// Does what is asked for, once. A recorder that fails asks for nothing.
    pub fn serve(self) {
        let Ok(request) = self.0.recv() else { return };
        let Request::Start(mut command, told, ending) = request else {
            give_all_up();
            return;
        };
        let started = command.spawn();
        // What it holds of the command's output would keep that open.
        drop(command);
        give_all_up();
        let child = match started {
            Ok(child) => child,
            Err(error) => {
                let _ = told.send(Err(error));
                return;
            }
        };
        let kept = Arc::new(Kept { id: child.id(), child: Mutex::new(Some(child)) });
        let _ = told.send(Ok(kept.clone()));
        let _ = ending.send(kept.wait());
    }
}

/// Nothing is left to do here that needs a privilege, or writes.
fn give_all_up() {
    confine(Confined { keeps: &[], writes: Some(&[]) });
}

impl Kept {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Sends it a signal, if it has not ended.
    pub fn signal(&self, signal: i32) {
        if self.lock().is_some() {
            kill(self.id, signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its end, during which it may get signals.
    fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            // SAFETY: an all-zero structure is valid, and outlives the call, which leaves the child to be waited for.
            let result = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                libc::waitid(libc::P_PID, self.id, &raw mut info, libc::WEXITED | libc::WNOWAIT)
            };
            match io::Error::last_os_error() {
                error if result != 0 && error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        match self.lock().take() {
            Some(mut child) => child.wait(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
