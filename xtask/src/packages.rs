//! The only list of what the set-up installs from Debian's archive: the plan, the messages and a test of the README
//! read it.

use std::path::{Path, PathBuf};

/// What shows that a package is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A program in PATH or in one of [`SYSTEM_DIRECTORIES`].
    Program(&'static str),
    /// A program that needs no dynamic loader (it goes into images that have none).
    StaticProgram(&'static str),
    /// A file (dpkg's own where an older compiler would have the same files); `{llvm}` stands for the LLVM major version.
    File(&'static str),
}

/// When a package is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// By the demo and the tests.
    Tool,
    /// When no toolchain with the sources of `core` is there.
    Compiler,
    /// When bpf-linker must be built.
    Linker,
}

/// A package, how it is recognised, and why it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// The name in the archive; `{llvm}` stands for the LLVM major version.
    pub name: &'static str,
    /// What shows that it is there.
    pub proof: Proof,
    /// When it is needed.
    pub need: Need,
    /// Why it is needed.
    pub why: &'static str,
}

const fn package(name: &'static str, proof: Proof, need: Need, why: &'static str) -> Package {
    Package { name, proof, need, why }
}

/// Every package that the set-up may install.
#[rustfmt::skip]
pub const PACKAGES: &[Package] = {
    use Need::{Compiler, Linker, Tool};
    use Proof::{File, Program, StaticProgram};
    &[
        package("iproute2", Program("ip"), Tool, "tests compare the topology with what `ip` and `tc` say"),
        package("nftables", Program("nft"), Tool, "rules of a known cost and address translation in the lab"),
        package("iptables", Program("iptables"), Tool, "Docker and the CNI plugins write their rules with it"),
        package("iperf3", Program("iperf3"), Tool, "the workload `iperf3`"),
        package("sockperf", Program("sockperf"), Tool, "the workload `sockperf`"),
        package("nginx", Program("nginx"), Tool, "the server of the workload `http`"),
        package("wrk", Program("wrk"), Tool, "the client of the workload `http`"),
        package("redis-server", Program("redis-server"), Tool, "the server of the workload `redis`"),
        package("redis-tools", Program("redis-benchmark"), Tool, "the client of the workload `redis`"),
        package("docker.io", Program("dockerd"), Tool, "the modes of Docker, from a private daemon"),
        package("busybox-static", StaticProgram("busybox"), Tool, "the image that those containers start from; emulated machines too"),
        package("qemu-system-x86", Program("qemu-system-x86_64"), Tool, "emulated machines, for other kernels than the running one"),
        package("kmod", Program("modprobe"), Tool, "finds out which modules an emulated machine needs first"),
        package("debian-archive-keyring", File("/usr/share/keyrings/debian-archive-keyring.gpg"), Tool, "checks the kernels of emulated machines, which are Debian's"),
        package("containernetworking-plugins", File("/usr/lib/cni/bridge"), Tool, "the modes of the reference CNI plugins"),
        package("openvswitch-switch", Program("ovs-vswitchd"), Tool, "the modes of Open vSwitch, with a daemon of the lab's own"),
        package("bird2", Program("bird"), Tool, "the mode `routed`: the BGP daemon that Calico uses"),
        package("wireguard-tools", Program("wg"), Tool, "the mode `wireguard`: sets keys and peers"),
        package("socat", Program("socat"), Tool, "the mode `user-overlay`: a tunnel in user space"),
        package("bpftool", Program("bpftool"), Tool, "tests look from outside at the programs that are loaded"),
        package("ethtool", Program("ethtool"), Tool, "switches offloads of test devices"),
        package("libcap2-bin", Program("capsh"), Tool, "tests run the program with few capabilities"),
        package("procps", Program("sysctl"), Tool, "reads and sets kernel parameters in tests"),
        package("rustc-web", File("/var/lib/dpkg/info/rustc-web.list"), Compiler, "a compiler whose sources of `core` are packaged"),
        package("cargo-web", File("/var/lib/dpkg/info/cargo-web.list"), Compiler, "the cargo of that compiler"),
        package("rust-web-src", File("/var/lib/dpkg/info/rust-web-src.list"), Compiler, "the sources of `core`, built for BPF"),
        package("llvm-{llvm}-dev", File("/usr/lib/llvm-{llvm}/bin/llvm-config"), Linker, "bpf-linker is built against the LLVM of the compiler"),
        package("libpolly-{llvm}-dev", File("/usr/lib/llvm-{llvm}/lib/libPolly.a"), Linker, "a library that LLVM names when linked"),
        package("libzstd-dev", File("/usr/include/zstd.h"), Linker, "a library that LLVM names when linked"),
        package("g++", Program("g++"), Linker, "the C++ library that LLVM is linked with"),
    ]
};

/// Where programs lie that PATH may not name.
pub const SYSTEM_DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

impl Package {
    /// The name in the archive for this LLVM.
    pub fn name_for(&self, llvm: u32) -> String {
        self.name.replace("{llvm}", &llvm.to_string())
    }

    /// Where the proof was found, if the package is there.
    pub fn find(&self, llvm: u32) -> Option<PathBuf> {
        match self.proof {
            Proof::Program(program) => find_program(program),
            Proof::StaticProgram(program) => find_program(program).filter(|path| is_static(path)),
            Proof::File(file) => Some(PathBuf::from(file.replace("{llvm}", &llvm.to_string()))).filter(|p| p.exists()),
        }
    }
}

/// The first directory of PATH, then of [`SYSTEM_DIRECTORIES`], that has the program.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// Whether an ELF file names no dynamic loader; the name stands in its first pages.
fn is_static(path: &Path) -> bool {
    use std::io::Read as _;
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
    read.is_ok() && !head.windows(4).any(|bytes| bytes == b"/ld-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_names_every_package_and_why() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("README.md");
        for package in PACKAGES {
            let row = format!("| `{}` | {} |", package.name.replace("{llvm}", "NN"), package.why);
            assert!(readme.contains(&row), "README.md has no row {row}");
        }
    }

    #[test]
    fn a_package_is_listed_once() {
        for (index, package) in PACKAGES.iter().enumerate() {
            assert!(PACKAGES[..index].iter().all(|other| other.name != package.name), "{}", package.name);
        }
    }

    #[test]
    fn the_llvm_version_goes_into_names_of_packages() {
        let dev = PACKAGES.iter().find(|package| package.name.starts_with("llvm-")).expect("llvm");
        assert_eq!(dev.name_for(22), "llvm-22-dev");
    }

    #[test]
    fn a_dynamic_program_is_no_static_one() {
        let me = std::env::current_exe().expect("own path");
        assert!(!is_static(&me));
        assert!(!is_static(Path::new("/nonexistent")));
    }

    #[test]
    fn programs_are_found_outside_of_path() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
    }
}
