//! Files that tell something of other people's processes: those of root, or of who asks, that nobody else can write.

use std::{
    fs::{self, Metadata, OpenOptions},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use super::process::is_trusted;
use crate::output::name;

/// No file that is read here is larger.
const MOST_BYTES: u64 = 8 << 20;
/// So many entries of a directory are looked at.
const MOST_ENTRIES: usize = 10_000;

/// Where files are looked for.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// Below this; `/` but in tests.
    root: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self { root: "/".into() }
    }
}

impl Files {
    /// Those below a directory.
    #[cfg(test)]
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// What a file holds; bytes that are no letters are written in letters. `None` where it is not there or not believed.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let path = self.place(path.as_ref())?;
        // No link that somebody else made, and without waiting for the writer of a pipe.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
        let there = file.metadata().ok()?;
        if !there.is_file() || !is_believed(&there) || there.len() > MOST_BYTES {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
        Some(name(&bytes))
    }

    /// The same of a file that is JSON.
    pub fn json(&self, path: impl AsRef<Path>) -> Option<serde_json::Value> {
        serde_json::from_str(&self.read(path)?).ok()
    }

    /// Names in a directory, in their order; none where it is not there or not believed.
    pub fn list(&self, path: impl AsRef<Path>) -> Vec<PathBuf> {
        let Some(path) = self.place(path.as_ref()) else { return Vec::new() };
        if !fs::metadata(&path).is_ok_and(|there| is_believed(&there)) {
            return Vec::new();
        }
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<PathBuf> = entries.take(MOST_ENTRIES).map(|entry| entry.file_name().into()).collect();
        names.sort();
        names
    }

    /// Whether something is there.
    pub fn is_there(&self, path: impl AsRef<Path>) -> bool {
        self.place(path.as_ref()).is_some_and(|path| path.exists())
    }

    /// The place of a path, if nobody else can put anything on the way to it.
    fn place(&self, path: &Path) -> Option<PathBuf> {
        let mut place = self.root.clone();
        let mut parts = path.components().filter(|part| *part != Component::RootDir).peekable();
        while let Some(part) = parts.next() {
            let Component::Normal(part) = part else { return None };
            place.push(part);
            if parts.peek().is_some() && !fs::metadata(&place).is_ok_and(|there| is_believed(&there)) {
                return None;
            }
        }
        Some(place)
    }
}

fn is_believed(there: &Metadata) -> bool {
    is_trusted(&[there.uid()]) && there.mode() & 0o022 == 0
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(super) mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    /// A directory that stands for `/`.
    pub struct Root(PathBuf);

    impl Root {
        pub fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("netstrata-root-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        /// Puts a file there.
        pub fn put(&self, path: &str, text: impl AsRef<[u8]>) {
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        pub fn path(&self, path: &str) -> PathBuf {
            self.0.join(path.trim_start_matches('/'))
        }

        pub fn files(&self) -> Files {
            Files::below(&self.0)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_others_can_write_is_not_believed() {
        let root = Root::new("believed");
        root.put("/run/a/b", "x");
        let files = root.files();
        let seen = || (files.read("/run/a/b"), files.list("/run/a").len());
        assert_eq!(seen(), (Some("x".into()), 1));
        for (path, mode, list) in
            [("/run/a/b", 0o620, 1), ("/run/a/b", 0o602, 1), ("/run/a", 0o777, 0), ("/run", 0o1777, 0)]
        {
            let path = root.path(path);
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(seen(), (None, list), "{} with mode {mode:o}", path.display());
            fs::set_permissions(&path, before).unwrap();
        }
        // Only root can give files away.
        if chown(root.path("/run/a/b"), Some(65_534), None).is_ok() {
            assert_eq!(seen(), (None, 1));
            chown(root.path("/run/a"), Some(65_534), None).unwrap();
            assert_eq!(seen(), (None, 0));
        }
    }

    #[test]
    fn links_pipes_and_large_files_are_left_alone() {
        let root = Root::new("odd");
        root.put("/run/a", [b'x', 0xff]);
        symlink(root.path("/run/a"), root.path("/run/link")).unwrap();
        let pipe = std::ffi::CString::new(root.path("/run/pipe").to_str().unwrap()).unwrap();
        // SAFETY: the name ends with NUL and lives until the call has ended.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        let files = root.files();
        assert_eq!(files.read("/run/a").as_deref(), Some("x\\xff"));
        assert_eq!(
            ["/run/link", "/run/pipe", "/run", "/run/none", "/run/../run/a"].map(|path| files.read(path)),
            [const { None }; 5]
        );
        fs::File::options().write(true).open(root.path("/run/a")).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert_eq!(files.read("/run/a"), None);
    }
}
