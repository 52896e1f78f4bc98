//! What changes in a directory, told by the kernel.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, Result};
use tokio::io::unix::AsyncFd;

use super::runtime;

/// Files of a directory that are made and that grow.
pub struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    /// From now on. This thread must be within its runtime.
    pub fn of(directory: &Path) -> Result<Self> {
        let name = CString::new(directory.as_os_str().as_bytes())?;
        // SAFETY: the descriptor, if there is one, is new and nobody else's; the name is a C string that outlives its call.
        let watched = unsafe {
            match libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) {
                fd @ 0.. => {
                    let events = OwnedFd::from_raw_fd(fd);
                    let added = libc::inotify_add_watch(fd, name.as_ptr(), libc::IN_CREATE | libc::IN_MODIFY);
                    if added < 0 { Err(io::Error::last_os_error()) } else { Ok(events) }
                }
                _ => Err(io::Error::last_os_error()),
            }
        };
        let events = watched.with_context(|| format!("cannot watch {}", directory.display()))?;
        runtime::readable(events).map(Self)
    }

    /// Waits until something has changed since the last call.
    pub async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            // What has changed is nothing that anybody asks.
            let read = ready.try_io(|events| {
                let mut buffer = [0_u8; 4096];
                // SAFETY: the buffer is of the length that is told, and outlives the call.
                match unsafe { libc::read(events.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) } {
                    ..0 => Err(io::Error::last_os_error()),
                    _ => Ok(()),
                }
            });
            if let Ok(result) = read {
                return result;
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{fs, time::Duration};

    use tokio::time::timeout;

    use super::*;
    use crate::host::runtime::wait;

    #[test]
    fn a_file_that_grows_is_a_change_and_silence_is_none() {
        let directory = std::env::temp_dir().join(format!("netstrata-changes-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        wait(async {
            let changes = Changes::of(&directory)?;
            fs::write(directory.join("file"), "words")?;
            timeout(Duration::from_secs(20), changes.next()).await??;
            while timeout(Duration::from_millis(50), changes.next()).await.is_ok() {}
            fs::File::options()
                .append(true)
                .open(directory.join("file"))
                .and_then(|mut file| io::Write::write_all(&mut file, b" more"))?;
            timeout(Duration::from_secs(20), changes.next()).await??;
            assert!(timeout(Duration::from_millis(50), changes.next()).await.is_err());
            Ok(())
        })
        .unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert!(wait(async { Ok(Changes::of(&directory).is_err()) }).unwrap());
    }
}
