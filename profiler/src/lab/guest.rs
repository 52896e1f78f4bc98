//! An emulated guest: a virtual machine whose network card is a tap device, and whose device model is a program of this
//! host (qemu). It holds the lab's programs and runs them one at a time.

pub mod job;

use crate::note;
use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;

use super::{cleanup::Lab, namespace::Namespace, rootfs};
use crate::{
    choices::{DEFAULT_KERNEL, Kernel, find_kernel},
    host::{emulated, process::Process, program},
    machine::{
        image::{self, Image},
        initramfs, qemu,
    },
};

const QEMU: &str = "qemu-system-x86_64";
/// A machine that is itself emulated takes some minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(600);
const READY: &str = "netstrata: the guest is ready";
/// The driver of the guest's network card, as the kernel's tools name it.
const DRIVERS: &[&str] = &["virtio_pci", "virtio_net"];

/// Why no guest can run here, if so.
pub fn missing() -> Option<String> {
    if program::find_system(QEMU).is_none() {
        return Some("qemu is not installed (Debian: apt-get install qemu-system-x86)".into());
    }
    if program::find_system("busybox").is_none() {
        return Some("busybox is not installed (Debian: apt-get install busybox-static)".into());
    }
    None
}

/// A running guest; dropping it ends it.
pub struct Guest {
    process: Process,
    directory: PathBuf,
}

/// What a guest is made of.
pub struct Boot<'a> {
    /// Its kernel.
    pub kernel: &'static Kernel,
    /// CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory_mib: u32,
    /// Words of qemu for its network card.
    pub card: Vec<String>,
    /// What of its kernel is loaded.
    pub drivers: &'a [&'a str],
    /// Programs that it has beside the lab's.
    pub programs: &'a [&'a str],
    /// What its shell does before it is ready.
    pub set_up: String,
    /// Further words for its kernel.
    pub parameters: String,
}

impl Guest {
    /// Boots a guest whose network card is the device `tap` in `host`, with this address and prefix.
    pub fn start(lab: &Lab, host: &Namespace, tap: &str, address: &str) -> anyhow::Result<Self> {
        // Within an emulated machine its own kernel is the one that is there for sure.
        let kernel = emulated::inside().map_or_else(|| find_kernel(DEFAULT_KERNEL), |inside| Ok(inside.0))?;
        let boot = Boot {
            kernel,
            cpus: 1,
            memory_mib: 1024,
            card: vec![
                "-netdev".into(),
                format!("tap,id=card,ifname={tap},script=no,downscript=no,vhost=off"),
                "-device".into(),
                "virtio-net-pci,netdev=card".into(),
            ],
            drivers: DRIVERS,
            programs: &[],
            set_up: format!("ip address add {address} dev eth0\nip link set eth0 up\n"),
            parameters: String::new(),
        };
        let mut guest = Self::boot(lab, host, tap, &boot)?;
        guest.wait().context("the guest does not start")?;
        Ok(guest)
    }

    /// Starts to boot a guest that is called so.
    pub fn boot(lab: &Lab, host: &Namespace, name: &str, boot: &Boot<'_>) -> anyhow::Result<Self> {
        let directory = lab.directory().join(format!("guest-{name}"));
        fs::create_dir_all(&directory)?;
        let image = image::get(boot.kernel, &mut |what| note!("netstrata: {what}"))?;
        let initramfs = initramfs(&directory, &image, boot)?;
        let file = |name: &str| directory.join(name).display().to_string();
        let (program, version) = qemu::find()?;
        let mut command = Command::new(program);
        // Stock kernels do not run under every host's KVM; emulation works everywhere and is the same everywhere.
        let accelerator = format!("tcg,thread={}", qemu::threads(version));
        command.args(["-accel", &accelerator, "-cpu", "max,la57=off", "-nodefaults", "-nographic"]);
        command.args(["-smp", &boot.cpus.to_string(), "-m", &format!("{}M", boot.memory_mib)]);
        command.arg("-no-reboot").arg("-kernel").arg(&image.vmlinuz).arg("-initrd").arg(initramfs);
        // Without IPv6 the guest sends nothing by itself.
        let append = format!("console=ttyS0 panic=-1 no_timer_check ipv6.disable=1 {}", boot.parameters);
        command.args(["-append", &append, "-serial", &format!("file:{}", file("console"))]);
        for port in ["jobs", "end"] {
            command.args(["-serial", &format!("unix:{},server=on,wait=off", file(port))]);
        }
        command.args(&boot.card);
        let process = Process::spawn(command, Some(&host.path()), libc::SIGKILL, Some(&lab.children()))?;
        Ok(Self { process, directory })
    }

    /// Waits until it is up.
    pub fn wait(&mut self) -> anyhow::Result<()> {
        let console = || {
            let console = fs::read(self.directory.join("console")).unwrap_or_default();
            String::from_utf8_lossy(&console).into_owned()
        };
        let ready = self.process.wait_until("word that it is ready", BOOT_LIMIT, || console().contains(READY));
        ready.with_context(|| console().lines().rev().take(3).collect::<Vec<_>>().join(" / "))
    }

    /// A command that runs `words` inside.
    pub fn exec(&self, words: &[String]) -> anyhow::Result<Command> {
        let mut command = Command::new(program::netstrata()?);
        command.args(["lab", "job"]).arg(self.directory.join("jobs")).arg("--").args(rootfs::words_inside(words));
        Ok(command)
    }

    /// Ends the job that is left.
    pub fn sweep(&self) {
        if let Ok(mut stream) = UnixStream::connect(self.directory.join("end")) {
            let _ = stream.write_all(b"end\n");
        }
    }

    /// The device model's process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// Makes the guest's whole file system, an archive that its kernel unpacks into memory. It is small, and nothing of the
/// host is read while the guest runs: a guest within an emulated machine starts in minutes, not in hours.
fn initramfs(directory: &Path, image: &Image, boot: &Boot<'_>) -> anyhow::Result<PathBuf> {
    let root = directory.join("root");
    rootfs::fill(&root)?;
    for program in boot.programs {
        let found = program::find_system(program).with_context(|| format!("{program} is not installed"))?;
        rootfs::copy_into(&root, &found, &Path::new("/bin").join(program))?;
    }
    // The shell has an `ip` of its own, which can do less.
    fs::write(root.join("set-up"), format!("ip() {{ /bin/ip \"$@\"; }}\n{}", boot.set_up))?;
    fs::create_dir_all(root.join("bin"))?;
    fs::copy(program::find_system("busybox").context("busybox is not installed")?, root.join("bin/busybox"))?;
    let init = root.join("init");
    fs::write(&init, include_str!("guest/init"))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    image.unpack_modules(boot.drivers, &root.join("modules"))?;
    let archive = directory.join("initramfs");
    initramfs::write_tree(&root, &archive)?;
    fs::remove_dir_all(root)?;
    Ok(archive)
}
