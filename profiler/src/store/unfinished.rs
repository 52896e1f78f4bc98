//! What there is of a file before it is finished, beside where it will be: whoever is killed leaves it, under a name that everybody
//! sees and that tells whose it was.
//!
//! | name | what |
//! |---|---|
//! | `FILE.PID.unfinished` | what process PID had for FILE so far |
//! | `FILE.PID.unfinished.new` | it was killed while it wrote more of it |
//! | `.FILE.PID-N.part` | it was killed while it wrote FILE, or looked whether there is room for it |

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{PRIVATE, Place};

const END: &str = ".unfinished";
const NEW: &str = ".new";
const PART: &str = ".part";
/// Longer names have no room for more.
const LONGEST: usize = 200;

/// What there is so far of a file; removed when dropped.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
}

impl Place {
    /// Where what there is so far can lie; nowhere beside a pipe or a device.
    pub fn unfinished(&self) -> Option<Unfinished> {
        let name = self.path.file_name().filter(|name| self.open.is_none() && name.len() < LONGEST)?;
        let mut own = name.to_owned();
        own.push(format!(".{}{END}", std::process::id()));
        Some(Unfinished { path: self.path.with_file_name(own) })
    }
}

impl Unfinished {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn new_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(NEW);
        path.into()
    }

    /// Puts this in the place of what was there, as a whole.
    ///
    /// # Errors
    /// What the system says; what was there stays.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.new_path();
        // Of an earlier process with this number, or somebody's link.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&new)?;
        // Not forced onto the disk: that the host may end is no reason to disturb it.
        let written = file.write_all(bytes).and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// Leaves it there.
    pub fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(self.new_path());
    }
}

/// What a process left that was killed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// Its number.
    pub pid: u32,
    /// What there was of its file, if there was something.
    pub unfinished: Option<PathBuf>,
    /// What is of no use.
    pub remains: Vec<PathBuf>,
}

impl Left {
    /// Removes all of it.
    pub fn remove(self) {
        self.unfinished.iter().chain(&self.remains).for_each(|path| drop(fs::remove_file(path)));
    }
}

/// What processes left in a directory, of any file.
pub fn left_in(directory: &Path) -> Vec<Left> {
    all(directory, |_| true)
}

/// What processes left of a file; or if the path is of what one left, that.
pub fn left_beside(path: &Path) -> Vec<Left> {
    let Some(name) = path.file_name() else { return Vec::new() };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match parse(name.as_encoded_bytes()) {
        Some(Name { of, pid, .. }) => {
            let of = of.to_vec();
            all(directory, |found| (found.of, found.pid) == (of.as_slice(), pid))
        }
        None => all(directory, |found| found.of == name.as_encoded_bytes()),
    }
}

fn all(directory: &Path, wanted: impl Fn(&Name<'_>) -> bool) -> Vec<Left> {
    let mut all: Vec<(Vec<u8>, Left)> = Vec::new();
    let mut names: Vec<OsString> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let Some(found) = parse(name.as_encoded_bytes()).filter(&wanted) else { continue };
        let path = directory.join(&name);
        let at = all.iter().position(|(of, left)| (of.as_slice(), left.pid) == (found.of, found.pid));
        let at = at.unwrap_or_else(|| {
            all.push((found.of.to_vec(), Left { pid: found.pid, ..Left::default() }));
            all.len() - 1
        });
        let left = &mut all[at].1;
        match found.is_unfinished {
            true => left.unfinished = Some(path),
            false => left.remains.push(path),
        }
    }
    all.into_iter().map(|(_, left)| left).collect()
}

/// What a name says.
struct Name<'a> {
    of: &'a [u8],
    pid: u32,
    is_unfinished: bool,
}

fn parse(name: &[u8]) -> Option<Name<'_>> {
    let dot = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'.');
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
    if let Some(part) = name.strip_prefix(b".").and_then(|name| name.strip_suffix(PART.as_bytes())) {
        let at = dot(part)?;
        let (pid, count) = std::str::from_utf8(&part[at + 1..]).ok()?.split_once('-')?;
        let _: u32 = count.parse().ok()?;
        return Some(Name { of: &part[..at], pid: pid.parse().ok()?, is_unfinished: false });
    }
    let is_unfinished = name.ends_with(END.as_bytes());
    let rest =
        name.strip_suffix(NEW.as_bytes()).filter(|_| !is_unfinished).unwrap_or(name).strip_suffix(END.as_bytes())?;
    let at = dot(rest)?;
    Some(Name { of: &rest[..at], pid: number(&rest[at + 1..])?, is_unfinished })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::store::{claim, tests::Directory};

    #[test]
    fn what_there_is_so_far_lies_beside_and_goes_with_whom_it_is_of() {
        let directory = Directory::new("unfinished");
        let (file, victim) = (directory.0.join("a.prof"), directory.0.join("victim"));
        fs::write(&victim, "precious").unwrap();
        let unfinished = claim(&file).unwrap().unfinished().unwrap();
        let name = format!("a.prof.{}.unfinished", std::process::id());
        symlink(&victim, directory.0.join(&name)).unwrap();
        symlink(&victim, directory.0.join(format!("{name}.new"))).unwrap();
        for bytes in [b"1", b"2"] {
            unfinished.write(bytes).unwrap();
            assert_eq!(fs::read(unfinished.path()).unwrap(), bytes);
        }
        assert_eq!(fs::symlink_metadata(unfinished.path()).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(
            (directory.names(), fs::read(&victim).unwrap()),
            (vec![name, "victim".into()], b"precious".to_vec())
        );
        drop(unfinished);
        assert_eq!(directory.names(), ["victim"]);
        assert!(claim(Path::new("/dev/null")).unwrap().unfinished().is_none(), "beside a device");
    }

    #[test]
    fn what_was_left_is_found_by_its_name() {
        let directory = Directory::new("left");
        let names = [
            "a.prof.7.unfinished",
            "a.prof.7.unfinished.new",
            ".a.prof.7-0.part",
            "a.prof.8.unfinished.new",
            "b.9.unfinished",
        ];
        let others = ["a.prof", "x.unfinished", ".x.part", ".a.prof.7-x.part", "7.unfinished"];
        names.iter().chain(&others).for_each(|name| fs::write(directory.0.join(name), "").unwrap());
        let path = |name: &str| directory.0.join(name);
        let of_7 = Left {
            pid: 7,
            unfinished: Some(path("a.prof.7.unfinished")),
            remains: [".a.prof.7-0.part", "a.prof.7.unfinished.new"].map(path).into(),
        };
        let of_8 = Left { pid: 8, unfinished: None, remains: vec![path("a.prof.8.unfinished.new")] };
        let of_9 = Left { pid: 9, unfinished: Some(path("b.9.unfinished")), remains: vec![] };
        let sorted = |mut left: Vec<Left>| {
            left.sort();
            left
        };
        assert_eq!(sorted(left_in(&directory.0)), [of_7.clone(), of_8.clone(), of_9.clone()]);
        assert_eq!(sorted(left_beside(&path("a.prof"))), [of_7.clone(), of_8]);
        assert_eq!(left_beside(&path("b.9.unfinished")), [of_9]);
        assert_eq!(left_beside(&path("c")), []);
        of_7.remove();
        assert_eq!(left_beside(&path("a.prof.7.unfinished")), []);
        assert_eq!(directory.names().len(), names.len() + others.len() - 3);
    }
}
