//! What a guest starts from: busybox, a few modules and a script, in the archive format of the kernel (cpio "newc").
//!
//! Format: <https://www.kernel.org/doc/html/v6.12/driver-api/early-userspace/buffer-format.html>

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

use super::image::Image;
use crate::choices::Files;

/// The first script: loads the modules, puts the host's files together with a layer in memory, and hands over.
const INIT: &str = include_str!("init.sh");
/// The second one, with the root in place: mounts, runs the command, switches the machine off.
const STAGE_TWO: &str = include_str!("guest.sh");

/// Writes the archive of an image. Uncompressed: an emulated processor takes longer to unpack than to read.
pub fn write(image: &Image, files: Files, busybox: &Path, to: &Path) -> Result<()> {
    let mut archive = Cpio { to: Vec::new(), inode: 0 };
    archive.directory("bin")?;
    archive.directory("early")?;
    let program = fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    archive.file("bin/busybox", 0o755, &program)?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("guest.sh", 0o755, STAGE_TWO.as_bytes())?;
    archive.file("modules", 0o644, format!("{}\n", image.modules.display()).as_bytes())?;
    let kind = match files {
        Files::NineP => "9p",
        Files::Virtio => "virtiofs",
    };
    archive.file("files", 0o644, kind.as_bytes())?;
    for module in &image.early {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
        archive.file(&format!("early/{name}"), 0o644, &bytes)?;
    }
    archive.entry("TRAILER!!!", 0, &[])?;
    fs::write(to, archive.to).with_context(|| format!("cannot write {}", to.display()))
}

/// Writes the archive of a whole directory of directories and files.
pub fn write_tree(root: &Path, to: &Path) -> Result<()> {
    let mut archive = Cpio { to: io::BufWriter::new(fs::File::create(to)?), inode: 0 };
    archive.tree(root, "")?;
    archive.entry("TRAILER!!!", 0, &[])?;
    archive.to.flush().with_context(|| format!("cannot write {}", to.display()))
}

struct Cpio<W> {
    to: W,
    inode: u32,
}

impl<W: Write> Cpio<W> {
    fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, 0o040_755, &[])
    }

    fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.entry(name, 0o100_000 | mode, bytes)
    }

    /// Everything below a directory, each directory before what is in it.
    fn tree(&mut self, directory: &Path, prefix: &str) -> io::Result<()> {
        let mut entries: Vec<_> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, metadata) = (entry.path(), entry.metadata()?);
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if metadata.is_dir() {
                self.directory(&name)?;
                self.tree(&path, &format!("{name}/"))?;
            } else {
                self.file(&name, metadata.permissions().mode() & 0o777, &fs::read(&path)?)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let links = 1;
        // Magic, inode, mode, user, group, links, time, size, two device numbers twice, length of the name, check sum.
        let fields = [self.inode, mode, 0, 0, links, 0, bytes.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        let mut header = String::from("070701");
        fields.iter().for_each(|field| header.push_str(&format!("{field:08x}")));
        header.push_str(name);
        self.padded(&[header.as_bytes(), &[0]].concat())?;
        self.padded(bytes)
    }

    /// Names (with their header) and contents end at multiples of four.
    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.to.write_all(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()])
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_tree_is_archived_with_directories_before_their_files() {
        let root = std::env::temp_dir().join(format!("netstrata-tree-{}", std::process::id()));
        fs::create_dir_all(root.join("b/c")).unwrap();
        fs::write(root.join("b/c/program"), "x").unwrap();
        fs::set_permissions(root.join("b/c/program"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("a"), "y").unwrap();
        let mut archive = Cpio { to: Vec::new(), inode: 0 };
        archive.tree(&root, "").unwrap();
        let text = String::from_utf8_lossy(&archive.to);
        let places: Vec<usize> = ["a\0", "b\0", "b/c\0", "b/c/program\0"].map(|name| text.find(name).unwrap()).into();
        assert!(places.is_sorted(), "{text}");
        assert!(text.contains("000081ed"), "a program stays one: {text}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_archive_is_one_that_others_read() {
        let mut archive = Cpio { to: Vec::new(), inode: 0 };
        archive.directory("bin").unwrap();
        archive.file("bin/odd", 0o755, b"12345").unwrap();
        archive.file("init", 0o755, b"#!/bin/sh\n").unwrap();
        archive.entry("TRAILER!!!", 0, &[]).unwrap();
        assert_eq!(archive.to.len() % 4, 0);
        assert!(archive.to.starts_with(b"070701"));
        let Ok(mut reader) = Command::new("busybox")
            .args(["cpio", "-t", "-v"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
        else {
            println!("skipped: the_archive_is_one_that_others_read: needs busybox");
            return;
        };
        reader.stdin.take().unwrap().write_all(&archive.to).unwrap();
        let listed = String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap();
        for name in ["bin", "bin/odd", "init"] {
            assert!(listed.lines().any(|line| line.ends_with(name)), "{listed}");
        }
        assert!(listed.lines().any(|line| line.contains(" 5 ") && line.starts_with("-rwxr-xr-x")), "{listed}");
    }
}
