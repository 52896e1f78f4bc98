//! A kernel on disk: unpacked packages of Debian's, outside of the host's own packages, and fetched only once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::packages::{Archive, output};
use crate::{
    choices::{Files, Kernel},
    failure::Failure,
    host::{facts::is_root, program},
};

/// Modules that a guest needs before it can reach the host's files.
fn early_modules(files: Files) -> &'static [&'static str] {
    match files {
        Files::NineP => &["virtio_pci", "9pnet_virtio", "9p", "overlay"],
        Files::Virtio => &["virtio_pci", "virtiofs", "overlay"],
    }
}

/// Variable that names another directory for kernels.
pub const CACHE_VARIABLE: &str = "NETSTRATA_CACHE";

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its full release, like `6.12.107+deb13-amd64`.
    pub release: String,
    /// The kernel itself.
    pub vmlinuz: PathBuf,
    /// The directory that holds `RELEASE/kernel/…`.
    pub modules: PathBuf,
    /// Uncompressed modules to load first, in order.
    pub early: Vec<PathBuf>,
}

impl Image {
    /// Puts these modules and what they need into a directory, uncompressed and in the order in which they are loaded.
    pub fn unpack_modules(&self, modules: &[&str], into: &Path) -> Result<()> {
        let root = self.modules.ancestors().nth(2).context("modules lie in lib/modules")?;
        unpack_modules(root, &self.release, modules, into)
    }
}

/// Where kernels are kept: `$NETSTRATA_CACHE`, `/var/cache/netstrata` for root, else in the user's cache directory.
pub fn cache() -> PathBuf {
    if let Some(directory) = std::env::var_os(CACHE_VARIABLE).filter(|value| !value.is_empty()) {
        return directory.into();
    }
    let user = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    match user {
        Some(user) if !is_root() => user.join("netstrata"),
        _ => "/var/cache/netstrata".into(),
    }
}

/// The kernel, if it was fetched before.
pub fn find(kernel: &Kernel, cache: &Path) -> Option<Image> {
    let directory = cache.join("kernels").join(kernel.version);
    // Written last: without it the rest is not whole.
    let release = fs::read_to_string(directory.join("release")).ok()?.trim().to_owned();
    let root = directory.join("root");
    let places = [root.join(format!("boot/vmlinuz-{release}")), root.join(format!("lib/modules/{release}/vmlinuz"))];
    let mut early: Vec<PathBuf> = fs::read_dir(directory.join("early")).ok()?.flatten().map(|e| e.path()).collect();
    early.sort();
    Some(Image {
        vmlinuz: places.into_iter().find(|path| path.is_file())?,
        modules: root.join("lib/modules"),
        early,
        release,
    })
}

/// The kernel, fetched if need be. `say` hears what takes long.
pub fn get(kernel: &Kernel, say: &mut dyn FnMut(&str)) -> Result<Image> {
    let cache = cache();
    if let Some(image) = find(kernel, &cache) {
        return Ok(image);
    }
    fetch(kernel, &cache, say).map_err(|error| {
        let message = format!("cannot get Debian's kernel {}: {error:#}", kernel.version);
        anyhow::Error::new(Failure::Refused(message))
    })?;
    find(kernel, &cache).with_context(|| format!("the packages of Linux {} are not as expected", kernel.version))
}

fn fetch(kernel: &Kernel, cache: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
    let kernels = cache.join("kernels");
    let directory = kernels.join(kernel.version);
    // Beside its final place, which it gets in one step: another process may be doing the same.
    let work = kernels.join(format!("{}.{}", kernel.version, std::process::id()));
    let result = fill(kernel, cache, &work, say).and_then(|()| {
        // What an interrupted run left.
        if directory.exists() && find(kernel, cache).is_none() {
            fs::remove_dir_all(&directory)?;
        }
        match fs::rename(&work, &directory) {
            Err(_) if find(kernel, cache).is_some() => Ok(()),
            other => other.with_context(|| format!("cannot make {}", directory.display())),
        }
    });
    let _ = fs::remove_dir_all(&work);
    result
}

fn fill(kernel: &Kernel, cache: &Path, work: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
    let (packages, root) = (work.join("packages"), work.join("root"));
    for path in [&packages, &root] {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    say(&format!("reading the lists of Debian {}", kernel.suite));
    let archive = Archive::open(kernel, &cache.join("archive").join(kernel.suite))?;
    say(&format!("downloading Linux {}", kernel.version));
    let files = archive.download(&packages)?;
    say(&format!("unpacking Linux {}", kernel.version));
    for file in &files {
        output(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&root))?;
    }
    fs::remove_dir_all(&packages)?;
    if !root.join("lib").exists() {
        std::os::unix::fs::symlink("usr/lib", root.join("lib"))?;
    }
    let modules = root.join("lib/modules");
    let release = fs::read_dir(&modules)?.flatten().next().context("the packages hold no modules")?.file_name();
    let release = release.to_string_lossy().into_owned();
    output(Command::new(tool("depmod")).arg("-b").arg(&root).arg(&release))?;
    unpack_modules(&root, &release, early_modules(kernel.files), &work.join("early"))?;
    fs::write(work.join("release"), format!("{release}\n"))?;
    Ok(())
}

/// Puts modules and what they need into a directory, uncompressed and in the order in which they are loaded.
fn unpack_modules(root: &Path, release: &str, modules: &[&str], into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let mut order: Vec<String> = Vec::new();
    for module in modules {
        let shown =
            output(Command::new(tool("modprobe")).arg("-d").arg(root).args(["-S", release, "--show-depends", module]))?;
        for path in shown.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            // What stands behind it are options.
            let path = path.split_ascii_whitespace().next().unwrap_or_default().to_owned();
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    for (index, path) in order.iter().enumerate() {
        let path = Path::new(path);
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = file.split(".ko").next().unwrap_or(&file);
        let program: &[&str] = match path.extension().and_then(|extension| extension.to_str()) {
            Some("ko") => &["cat"],
            Some("xz") => &["busybox", "unxz", "-c"],
            Some("gz") => &["busybox", "zcat"],
            Some("zst") => &["zstd", "-dcq"],
            _ => bail!("{} is packed in a way that is not known", path.display()),
        };
        let to = fs::File::create(into.join(format!("{index:02}-{stem}.ko")))?;
        let status = Command::new(program[0]).args(&program[1..]).arg(path).stdout(to).status();
        let status = status.with_context(|| format!("cannot start {}", program[0]))?;
        anyhow::ensure!(status.success(), "cannot unpack {}", path.display());
    }
    Ok(())
}

/// A program of the system directories, which PATH of a user may not name.
pub(super) fn tool(name: &str) -> PathBuf {
    program::find_system(name).unwrap_or_else(|| name.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::choices::KERNELS;

    #[test]
    fn a_kernel_counts_once_it_is_whole() {
        let cache = std::env::temp_dir().join(format!("netstrata-image-{}", std::process::id()));
        let directory = cache.join("kernels/6.12");
        for part in ["root/boot", "root/lib/modules/6.12.1-x", "early"] {
            fs::create_dir_all(directory.join(part)).unwrap();
        }
        fs::write(directory.join("root/boot/vmlinuz-6.12.1-x"), "").unwrap();
        for module in ["01-b.ko", "00-a.ko"] {
            fs::write(directory.join("early").join(module), "").unwrap();
        }
        let kernel = KERNELS.iter().find(|kernel| kernel.version == "6.12").unwrap();
        assert!(find(kernel, &cache).is_none(), "the mark that is written last is missing");
        fs::write(directory.join("release"), "6.12.1-x\n").unwrap();
        let image = find(kernel, &cache).unwrap();
        assert_eq!(image.release, "6.12.1-x");
        assert!(image.vmlinuz.ends_with("boot/vmlinuz-6.12.1-x"));
        assert!(image.early[0].ends_with("00-a.ko"), "in the order of loading");
        // The newest kernels keep it beside their modules.
        fs::remove_file(directory.join("root/boot/vmlinuz-6.12.1-x")).unwrap();
        assert!(find(kernel, &cache).is_none());
        fs::write(directory.join("root/lib/modules/6.12.1-x/vmlinuz"), "").unwrap();
        assert!(find(kernel, &cache).is_some());
        fs::remove_dir_all(cache).unwrap();
    }
}
