//! Files of results: of this user alone, whole or not at all, past whatever waits at their name.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

mod unfinished;

pub use unfinished::{Left, Unfinished, left_beside, left_in};

/// Results hold command lines, addresses and names.
const PRIVATE: u32 = 0o600;
/// What must have room before work begins for the sake of a file.
const ROOM: usize = 64 << 10;
/// Names that are tried for a file beside the one that is written: somebody may have taken some.
const NAMES: u32 = 100;
/// How long a pipe's reader may read nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether something is there that is no regular file: reading a pipe waits for a writer, a device may have no end. Asked before
/// it is opened, which waits already.
pub fn may_never_end(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file())
}

/// Where a file can be written.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// A pipe, a device, or a file that is open already: nothing that could be put in the place of another.
    open: Option<File>,
}

/// Looks whether a file can be written there, before there is anything to write.
///
/// # Errors
/// What the system says: the directory is not there or may not be written to, its disk is full, the name is a directory's, or a
/// pipe's that nobody reads.
pub fn claim(path: &Path) -> io::Result<Place> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() || is_handed_over(path) => {
            // Without waiting for a reader, who may never come.
            let nonblocking = there.file_type().is_fifo();
            let flags = if nonblocking { O_NONBLOCK } else { 0 };
            // Behind what whoever opened it has written already.
            let open = OpenOptions::new().append(true).custom_flags(flags).open(path)?;
            return Ok(Place { path: path.to_owned(), open: Some(open) });
        }
        _ => {}
    }
    can_be_replaced(path)?;
    let (mut file, partial) = beside(path)?;
    let room = file.write_all(&[0; ROOM]);
    drop(file);
    fs::remove_file(&partial)?;
    room.map(|()| Place { path: path.to_owned(), open: None })
}

/// Whether what has this name, if anything, gives way to a file that is moved there: a name that is too long, a file that is mounted
/// there, and one that nobody may change do not. Links do.
fn can_be_replaced(path: &Path) -> io::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        there => there?,
    };
    if there.is_symlink() {
        return Ok(());
    }
    if is_mounted(path)? {
        return Err(ErrorKind::ResourceBusy.into());
    }
    match OpenOptions::new().append(true).custom_flags(O_NONBLOCK).open(path) {
        Err(error) if error.raw_os_error() == Some(EPERM) => Err(error),
        _ => Ok(()),
    }
}

/// Whether something is mounted at this very name, as far as the kernel tells. That its device is another's than its directory's tells
/// nothing: so it is with plain files of overlays, which containers have.
fn is_mounted(path: &Path) -> io::Result<bool> {
    let name = fs::canonicalize(path)?;
    // Blanks and the like stand there as `\040`.
    let odd = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\\');
    let write = |byte: &u8| if odd(byte) { format!("\\{byte:03o}").into_bytes() } else { vec![*byte] };
    let name: Vec<u8> = name.as_os_str().as_encoded_bytes().iter().flat_map(write).collect();
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    Ok(mounts.split(|byte| *byte == b'\n').any(|line| line.split(|byte| *byte == b' ').nth(4) == Some(&name[..])))
}

impl Place {
    /// Writes it.
    ///
    /// # Errors
    /// What the system says; nothing is left then.
    pub fn write(self, bytes: &[u8]) -> io::Result<()> {
        if let Some(mut file) = self.open {
            return all(&mut file, bytes);
        }
        let (mut file, partial) = beside(&self.path)?;
        let written = file.write_all(bytes).and_then(|()| synced(&file));
        drop(file);
        let there = written.and_then(|()| fs::rename(&partial, &self.path));
        if there.is_err() {
            let _ = fs::remove_file(&partial);
        }
        there
    }
}

/// Writes a file.
///
/// # Errors
/// What the system says; nothing is left then.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() || is_handed_over(path) => claim(path)?.write(bytes),
        _ => Place { path: path.to_owned(), open: None }.write(bytes),
    }
}

/// Writes a file where files go that have no place: what took long to make is not to be lost with it.
///
/// # Errors
/// What the system says.
pub fn rescue(bytes: &[u8], name: &str) -> io::Result<PathBuf> {
    let (mut file, path) = new(|number| std::env::temp_dir().join(format!("{number}-{name}")))?;
    let written = file.write_all(bytes).and_then(|()| synced(&file));
    if let Err(error) = written {
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok(path)
}

/// On the disk, where its file system knows what that is.
fn synced(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// As `libc` has them on every machine that netstrata is built for.
const O_NONBLOCK: i32 = 0o4000;
const EPERM: i32 = 1;

/// Whether a path is of a file that whoever started this process has opened for it, like `/dev/stdout`: no name of a file.
fn is_handed_over(path: &Path) -> bool {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink())
        && (real == Path::new("/dev") || real.starts_with("/proc"))
}

/// A new file beside another, with its path. It is in no way of anybody: it has a name that is not taken, not by a link either.
fn beside(path: &Path) -> io::Result<(File, PathBuf)> {
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
    let end = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if end {
        return Err(ErrorKind::IsADirectory.into());
    }
    new(|number| {
        let mut partial = std::ffi::OsString::from(".");
        // A name may be as long as names can be.
        match name.len() < 200 {
            true => partial.push(name),
            false => partial.push("netstrata"),
        }
        partial.push(format!(".{number}.part"));
        path.with_file_name(partial)
    })
}

/// A new file with the first name that is free; names have the number of the process in them.
fn new(name: impl Fn(String) -> PathBuf) -> io::Result<(File, PathBuf)> {
    let mut taken = ErrorKind::AlreadyExists.into();
    for number in 0..NAMES {
        let path = name(format!("{}-{number}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => taken = error,
            opened => return opened.map(|file| (file, path)),
        }
    }
    Err(taken)
}

/// A pipe that is full is waited for: its reader was there when it was opened. One that reads nothing for so long does not come back.
fn all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    let mut moved = Instant::now();
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => (bytes, moved) = (&bytes[length..], Instant::now()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && moved.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) mod tests {
    use std::{
        ffi::OsStr,
        os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, fs::symlink},
    };

    use super::*;

    pub struct Directory(pub PathBuf);

    impl Directory {
        pub fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("netstrata-store-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        pub fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn names_that_no_file_can_be_moved_to_are_refused_before_there_is_one() {
        let directory = Directory::new("no-way");
        let long = claim(&directory.0.join("x".repeat(256))).unwrap_err();
        assert_eq!(long.kind(), ErrorKind::InvalidFilename);
        let mounted = Path::new("/proc");
        assert!(can_be_replaced(mounted).is_err() && can_be_replaced(&directory.0.join("new")).is_ok());
        fs::write(directory.0.join("old"), "").unwrap();
        assert!(can_be_replaced(&directory.0.join("old")).is_ok());
        assert_eq!(directory.names(), ["old"]);
    }

    #[test]
    fn a_file_is_private_and_replaces_what_was_there_and_no_link_is_followed() {
        let directory = Directory::new("links");
        let (victim, file, link) = (directory.0.join("victim"), directory.0.join("a.prof"), directory.0.join("link"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &link).unwrap();
        for number in 0..3 {
            let partial = format!(".a.prof.{}-{number}.part", std::process::id());
            symlink(&victim, directory.0.join(partial)).unwrap();
        }
        for path in [&file, &link, &file] {
            claim(path).unwrap().write(b"new").unwrap();
            assert_eq!(fs::read(path).unwrap(), b"new");
            let there = fs::symlink_metadata(path).unwrap();
            assert!(there.is_file() && there.permissions().mode() & 0o777 == PRIVATE);
        }
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(directory.names().len(), 6, "{:?}", directory.names());
    }

    #[test]
    fn what_cannot_be_written_is_told_before_and_leaves_nothing() {
        let directory = Directory::new("refused");
        let (file, inner) = (directory.0.join("a"), directory.0.join("b"));
        fs::write(&file, "").unwrap();
        fs::create_dir(&inner).unwrap();
        let kind = |path: &Path| claim(path).unwrap_err().kind();
        assert_eq!(kind(&directory.0.join("none/x")), ErrorKind::NotFound);
        assert_eq!(kind(&inner), ErrorKind::IsADirectory);
        assert_eq!(kind(&directory.0.join("c/")), ErrorKind::IsADirectory);
        assert_eq!(kind(&file.join("x")), ErrorKind::NotADirectory);
        assert!(write(&inner, b"x").is_err());
        assert_eq!(directory.names(), ["a", "b"]);
        assert!(write(Path::new("/dev/full"), b"x").is_err_and(|error| error.kind() == ErrorKind::StorageFull));
        write(Path::new("/dev/null"), b"x").unwrap();
        assert!(claim(Path::new("/dev/fd/1")).is_ok() && fs::symlink_metadata("/dev/fd/1").unwrap().is_symlink());
    }

    #[test]
    fn a_link_in_memory_is_a_link() {
        let directory = PathBuf::from(format!("/dev/shm/netstrata-store-{}", std::process::id()));
        if fs::create_dir(&directory).is_err() {
            return;
        }
        let directory = Directory(directory);
        let (victim, link) = (directory.0.join("victim"), directory.0.join("link"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &link).unwrap();
        claim(&link).unwrap().write(b"new").unwrap();
        assert_eq!((fs::read(&victim).unwrap(), fs::read(&link).unwrap()), (b"precious".to_vec(), b"new".to_vec()));
    }

    #[test]
    fn any_name_will_do() {
        let directory = Directory::new("names");
        let long = "n".repeat(255);
        for name in [&b"a b\n\x1b[31m"[..], b"\xff\xfe", "\u{202e}x".as_bytes(), long.as_bytes()] {
            let path = directory.0.join(OsStr::from_bytes(name));
            claim(&path).unwrap().write(b"x").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"x");
        }
        assert_eq!(directory.names().len(), 4);
    }

    #[test]
    fn what_is_rescued_is_private_and_new_each_time() {
        let [one, other] = [b"1", b"2"].map(|bytes| rescue(bytes, "netstrata-test.prof").unwrap());
        assert_eq!((fs::read(&one).unwrap(), fs::read(&other).unwrap()), (b"1".to_vec(), b"2".to_vec()));
        assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, PRIVATE);
        [one, other].into_iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}
