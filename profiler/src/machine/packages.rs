//! Debian's kernel packages: which they are, from lists of the archive that are kept apart from those of the host's apt.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{choices::Kernel, failure::Failure};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private view of one release of the archive, in a directory of its own.
pub struct Archive<'a> {
    kernel: &'a Kernel,
    directory: PathBuf,
}

impl<'a> Archive<'a> {
    /// Fetches the lists of the kernel's release. The mirror is the one that the host's apt uses.
    pub fn open(kernel: &'a Kernel, directory: &Path) -> Result<Self> {
        let archive = Self { kernel, directory: directory.to_owned() };
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let listed = output(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI) $(LABEL)"]))?;
        let Some(mirror) = mirror(&listed) else {
            bail!(Failure::Refused(
                "kernels come from Debian's archive, and the apt of this machine has no source of Debian's".into()
            ));
        };
        if !Path::new(KEYRING).is_file() {
            bail!(Failure::Refused(format!("{KEYRING} is missing: install debian-archive-keyring")));
        }
        let source = format!("deb [signed-by={KEYRING}] {mirror} {} main\n", kernel.suite);
        fs::write(archive.directory.join("sources.list"), source)?;
        output(archive.apt("apt-get").arg("update"))?;
        Ok(archive)
    }

    /// Downloads the kernel's packages into a directory and gives their files.
    pub fn download(&self, into: &Path) -> Result<Vec<PathBuf>> {
        let mut wanted = vec![self.kernel.package.to_owned()];
        let mut index = 0;
        while let Some(name) = wanted.get(index).cloned() {
            let shown = output(self.apt("apt-cache").args(["show", "--no-all-versions", &name]))?;
            for needed in kernel_dependencies(&shown, self.kernel.linux()) {
                if !wanted.contains(&needed) {
                    wanted.push(needed);
                }
            }
            index += 1;
        }
        // The first is empty and only says which kernel is the current one.
        let packages = &wanted[1..];
        if packages.is_empty() {
            bail!(Failure::Refused(format!(
                "Debian {} has no kernel {} any more",
                self.kernel.suite, self.kernel.version
            )));
        }
        output(self.apt("apt-get").arg("download").args(packages).current_dir(into))?;
        let mut files: Vec<PathBuf> = fs::read_dir(into)?.flatten().map(|entry| entry.path()).collect();
        files.sort();
        Ok(files)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |part: &str| self.directory.join(part).display().to_string();
        for option in [
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".into(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            // Translations and icons are not wanted.
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            // A directory of root's is no place for the unprivileged user that apt would download as.
            "APT::Sandbox::User=root".into(),
            "Acquire::Retries=2".into(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }
}

/// The address of Debian's archive in what `apt-get indextargets` says, "address label" on each line. Labels are known
/// only once lists were fetched; without any, the address tells.
fn mirror(listed: &str) -> Option<&str> {
    let lines = || listed.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
    let labelled = lines().find(|(_, label)| label.trim() == "Debian");
    let named = || lines().find(|(uri, _)| uri.trim_end_matches('/').ends_with("/debian"));
    labelled.or_else(named).map(|(uri, _)| uri)
}

/// The packages of this very kernel that another depends on, from `apt-cache show`.
fn kernel_dependencies(shown: &str, version: &str) -> Vec<String> {
    let mark = format!("-{version}.");
    let mut found = Vec::new();
    for line in shown.lines() {
        let Some(list) = line.strip_prefix("Depends:").or_else(|| line.strip_prefix("Pre-Depends:")) else { continue };
        for choice in list.split([',', '|']) {
            let name = choice.split_ascii_whitespace().next().unwrap_or("").split(':').next().unwrap_or("");
            if name.starts_with("linux-") && name.contains(&mark) && !found.contains(&name.to_owned()) {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// Standard output of a command that must succeed; its last error line is the reason if it does not.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.env("LC_ALL", "C").stdin(Stdio::null()).output();
    let done = done.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::Refused(format!("`{name}` is missing, which emulated machines need")).into()
        }
        _ => anyhow::Error::new(error).context(format!("cannot start {name}")),
    })?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    Err(Failure::Refused(format!("{name} failed: {last}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_that_of_debian_and_not_of_others() {
        let listed = "http://a.example/other/ \nhttp://s.example/debian-security/ Debian-Security\n\
                      http://m.example/debian/ Debian\n";
        assert_eq!(mirror(listed), Some("http://m.example/debian/"));
        // No list was fetched yet.
        assert_eq!(mirror("http://a.example/other/ \nhttp://m.example/debian/ \n"), Some("http://m.example/debian/"));
        assert_eq!(mirror("http://u.example/ubuntu/ Ubuntu\n"), None);
    }

    #[test]
    fn dependencies_are_those_of_the_kernel_itself() {
        let old =
            "Package: linux-image-amd64\nVersion: 5.10.223-1\nDepends: linux-image-5.10.0-32-amd64 (= 5.10.223-1)\n";
        assert_eq!(kernel_dependencies(old, "5.10"), ["linux-image-5.10.0-32-amd64"]);
        let other = "Depends: linux-image-6.12.117+deb13-rt-amd64 (= 6.12.117-1)\n";
        assert_eq!(kernel_dependencies(other, "6.12"), ["linux-image-6.12.117+deb13-rt-amd64"]);
        let image = "Depends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool\n";
        assert!(kernel_dependencies(image, "5.10").is_empty());
        let split = "Depends: dracut | linux-initramfs-tool, linux-base-7.2.13+deb14-amd64 (= 7.2.13-1), \
                     linux-binary-7.2.13+deb14-amd64 (= 7.2.13-1), linux-modules-7.2.13+deb14-amd64 (= 7.2.13-1)\n";
        assert_eq!(
            kernel_dependencies(split, "7.2"),
            ["linux-base-7.2.13+deb14-amd64", "linux-binary-7.2.13+deb14-amd64", "linux-modules-7.2.13+deb14-amd64"]
        );
    }

    #[test]
    fn another_kernel_than_the_one_asked_for_is_not_taken() {
        let newer = "Depends: linux-image-7.3.1+deb14-amd64 (= 7.3.1-1)\n";
        assert!(kernel_dependencies(newer, "7.2").is_empty());
        // 6.1 is not 6.12.
        assert!(kernel_dependencies("Depends: linux-image-6.12.107+deb13-amd64\n", "6.1").is_empty());
    }

    #[test]
    fn a_program_that_fails_says_why_and_one_that_is_missing_is_named() {
        let failed = output(Command::new("sh").args(["-c", "echo no network >&2; exit 100"]));
        assert!(failed.is_err_and(|error| error.to_string() == "sh failed: no network"));
        let missing = output(&mut Command::new("no-such-program-anywhere"));
        assert!(missing.is_err_and(|error| error.to_string().contains("no-such-program-anywhere")));
    }
}
