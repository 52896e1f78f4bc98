//! From what was found to what to do next: pure, so that machines that nobody has at hand can be tested.

use crate::bpf_toolchain::{CURRENT, LINKED};
use crate::exit::Exit;
use crate::packages::{Need, PACKAGES, Package};

/// The release of bpf-linker that the kernel programs are linked with.
pub const LINKER_VERSION: &str = "0.13.0";
/// The LLVM versions that this release can be built with.
pub const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// A toolchain that can build the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Its name for rustup.
    pub name: String,
    /// The release of its compiler, for messages.
    pub release: String,
    /// The major version of the compiler's LLVM.
    pub llvm: u32,
}

/// A bpf-linker that starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linker {
    /// Its release.
    pub version: String,
    /// The major version of its LLVM; unknown for one that cargo did not install.
    pub llvm: Option<u32>,
}

/// What was found on the machine, and what this run has tried.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `apt-get` is there.
    pub apt: bool,
    /// The packages that the archive offers, once its lists are up to date.
    pub offered: Option<Vec<String>>,
    /// The effective user is root.
    pub root: bool,
    /// rustup is there.
    pub rustup: bool,
    /// The toolchain that a variable asks for, if one does.
    pub asked: Option<String>,
    /// The toolchain that the rule finds.
    pub toolchain: Option<Toolchain>,
    /// The bpf-linker in PATH.
    pub linker: Option<Linker>,
    /// Packages of the table that are absent.
    pub absent: Vec<Package>,
    /// What was tried in this run.
    pub tried: Vec<Action>,
}

/// A step of the set-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Bring the lists of the archive up to date.
    UpdateLists,
    /// Install packages.
    Install(Vec<String>),
    /// Link Debian's compiler as a toolchain.
    LinkToolchain,
    /// Install rustup's nightly with the sources of `core`.
    InstallNightly,
    /// Build bpf-linker for this LLVM.
    InstallLinker {
        /// The major version of LLVM.
        llvm: u32,
        /// Debian's LLVM of that version is there.
        packaged: bool,
    },
}

impl Facts {
    fn tried(&self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.tried.iter().any(wanted)
    }

    fn lacks(&self, need: Need) -> bool {
        self.absent.iter().any(|package| package.need == need)
    }

    /// Whether the linker can link what the toolchain compiles.
    pub fn linker_fits(&self) -> bool {
        match (&self.linker, &self.toolchain) {
            (Some(linker), Some(toolchain)) => {
                linker.version == LINKER_VERSION && linker.llvm.is_none_or(|llvm| llvm == toolchain.llvm)
            }
            _ => false,
        }
    }

    /// Whether building the linker for the toolchain at hand has failed in this run.
    fn linker_failed(&self) -> bool {
        let Some(toolchain) = &self.toolchain else { return false };
        !self.linker_fits()
            && (!LINKER_LLVM.contains(&toolchain.llvm)
                || self.tried(|step| matches!(step, Action::InstallLinker { llvm, .. } if *llvm == toolchain.llvm)))
    }

    /// Whether Debian's compiler is the one to get: none is there, or the linker cannot be built for the one there.
    fn wants_debian_compiler(&self) -> bool {
        self.rustup
            && self.asked.is_none()
            && (self.toolchain.is_none()
                || self.linker_failed() && self.toolchain.as_ref().is_some_and(|found| found.name != LINKED))
    }

    /// The packages to install now, by their names in the archive.
    fn wanted(&self) -> Vec<String> {
        let llvm = self.toolchain.as_ref().map_or(0, |toolchain| toolchain.llvm);
        let linker = self.toolchain.is_some() && !self.linker_fits() && !self.linker_failed();
        self.absent
            .iter()
            .filter(|package| match package.need {
                Need::Tool => true,
                Need::Compiler => self.wants_debian_compiler(),
                Need::Linker => linker,
            })
            .map(|package| package.name_for(llvm))
            .collect()
    }
}

/// The next step, or none when all is there that can be had.
pub fn next(facts: &Facts) -> Result<Option<Action>, Exit> {
    if let (Some(asked), None) = (&facts.asked, &facts.toolchain) {
        return Err(Exit::unusable(format!(
            "NETSTRATA_BPF_TOOLCHAIN asks for `{asked}`, which is not there or lacks the component rust-src"
        )));
    }
    let wanted = facts.wanted();
    if !wanted.is_empty() {
        if !facts.apt {
            return Err(Exit::unusable(format!("there is no apt-get here; please install: {}", wanted.join(" "))));
        }
        if !facts.root {
            return Err(Exit::refused(format!("installing needs root: run as root, or install {}", wanted.join(" "))));
        }
        let Some(offered) = &facts.offered else { return Ok(Some(Action::UpdateLists)) };
        let tried = |name: &String| facts.tried(|step| matches!(step, Action::Install(names) if names.contains(name)));
        let install: Vec<_> = wanted.into_iter().filter(|name| offered.contains(name) && !tried(name)).collect();
        if !install.is_empty() {
            return Ok(Some(Action::Install(install)));
        }
    }
    if facts.wants_debian_compiler() {
        if !facts.lacks(Need::Compiler) && !facts.tried.contains(&Action::LinkToolchain) {
            return Ok(Some(Action::LinkToolchain));
        }
        if facts.toolchain.is_none() && !facts.tried.contains(&Action::InstallNightly) {
            return Ok(Some(Action::InstallNightly));
        }
    }
    let Some(toolchain) = &facts.toolchain else {
        return Err(Exit::refused(if facts.rustup {
            "no toolchain can build the kernel programs: `rustup toolchain install nightly --component rust-src` failed"
        } else {
            "no compiler with the sources of `core` is there: install rustup from https://rustup.rs"
        }));
    };
    if facts.linker_fits() {
        return Ok(None);
    }
    if facts.linker_failed() {
        return Err(Exit::refused(format!(
            "no bpf-linker {LINKER_VERSION} with LLVM {} (that of the compiler, {} of toolchain `{}`): install \
             llvm-{}-dev and run this again, or `cargo binstall bpf-linker@{LINKER_VERSION}`",
            toolchain.llvm, toolchain.release, toolchain.name, toolchain.llvm
        )));
    }
    Ok(Some(Action::InstallLinker { llvm: toolchain.llvm, packaged: !facts.lacks(Need::Linker) }))
}

/// The packages of the demo and the tests that are absent and could not be had.
pub fn unavailable(facts: &Facts) -> impl Iterator<Item = &'static Package> {
    PACKAGES.iter().filter(|package| package.need == Need::Tool && facts.absent.contains(package))
}

/// What the toolchain is, for people.
pub fn describe(toolchain: &Toolchain) -> String {
    let origin = match toolchain.name.as_str() {
        LINKED => "Debian's rustc-web, linked as toolchain netstrata-bpf".to_owned(),
        CURRENT => "the compiler in PATH, without rustup".to_owned(),
        name => format!("rustup's {name}"),
    };
    format!("{origin}: rustc {}, LLVM {}", toolchain.release, toolchain.llvm)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
