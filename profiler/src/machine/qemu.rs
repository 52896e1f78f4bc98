//! The command line of qemu for a guest.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{files::shared, image::Image, packages::output};
use crate::{
    choices::{Clock, Files, Kernel, NS_PER_INSTRUCTION},
    failure::Failure,
    host::{emulated::kernel_parameters, program::find_system},
};

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";
/// Memory of a guest, in MiB. The host backs only what the guest touches.
const MEMORY_MIB: u32 = 3072;
/// And of each CPU beyond those of most guests: what a kernel keeps for every CPU.
const CPU_MIB: u32 = 16;
/// Most guests have two CPUs, so that work can hop; with an instruction clock there can be only one.
pub const CPUS: u32 = 2;
/// Before this version there is one emulating thread: with two, switching a tracepoint on ended in an "int3" oops now and
/// then, as if a thread went on executing code that the guest had just patched.
const PARALLEL_SINCE: (u32, u32) = (8, 1);

/// What a machine is made of.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Which kernel.
    pub kernel: &'a Kernel,
    /// The kernel on disk.
    pub image: &'a Image,
    /// What drives its clock.
    pub clock: Clock,
    /// CPUs, where its clock allows more than one.
    pub cpus: u32,
    /// With a clock that counts instructions: which of many layouts; 0 is the plain one.
    pub layout: u32,
    /// Directory of the run, with `initramfs` in it; the guest reads and writes it.
    pub run: &'a Path,
    /// Directories that the guest may write to, with their absolute paths.
    pub shares: &'a [PathBuf],
}

/// The program's path and version.
pub fn find() -> Result<(PathBuf, (u32, u32))> {
    let program = find_system(PROGRAM).ok_or_else(|| {
        Failure::Refused(format!(
            "emulated machines need {PROGRAM}: install qemu-system-x86 (`cargo xtask setup` does)"
        ))
    })?;
    let said = output(Command::new(&program).arg("--version"))?;
    let version = version(&said).with_context(|| format!("{PROGRAM} does not say its version"))?;
    Ok((program, version))
}

fn version(said: &str) -> Option<(u32, u32)> {
    let number = said.split_ascii_whitespace().skip_while(|word| *word != "version").nth(1)?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// How the threads are called that emulate the CPUs of a machine whose clock is the host's.
pub fn threads(version: (u32, u32)) -> &'static str {
    if version < PARALLEL_SINCE { "single" } else { "multi" }
}

/// The arguments that start the machine.
pub fn arguments(setup: &Setup<'_>, version: (u32, u32)) -> Vec<String> {
    let instructions = setup.clock == Clock::Instructions;
    let threads = if instructions { "single" } else { threads(version) };
    let cpus = if instructions { 1 } else { setup.cpus };
    let memory = MEMORY_MIB + CPU_MIB * cpus.saturating_sub(CPUS);
    let mut arguments: Vec<String> = [
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-accel",
        &format!("tcg,thread={threads}"),
        // Five levels of page tables make each miss of the emulated TLB dearer.
        "-cpu",
        "max,la57=off",
        "-smp",
        &cpus.to_string(),
        "-m",
        &memory.to_string(),
        "-serial",
        &format!("file:{}", setup.run.join("console").display()),
        "-kernel",
        &setup.image.vmlinuz.display().to_string(),
        "-initrd",
        &setup.run.join("initramfs").display().to_string(),
        "-append",
        &kernel_command_line(setup),
    ]
    .map(str::to_owned)
    .into();
    if setup.kernel.files == Files::Virtio {
        // The programs that serve the files read and write the guest's memory.
        arguments.push("-object".into());
        arguments.push(format!("memory-backend-memfd,id=memory,size={memory}M,share=on"));
        arguments.extend(["-numa", "node,memdev=memory"].map(str::to_owned));
    }
    for share in shared(setup.run, setup.shares) {
        // A comma ends a value unless it is doubled.
        let escaped = |path: &Path| path.display().to_string().replace(',', ",,");
        let (path, tag) = (escaped(share.path), &share.tag);
        match setup.kernel.files {
            Files::NineP => {
                let more = if share.read_only { ",readonly=on" } else { "" };
                arguments.push("-virtfs".into());
                arguments.push(format!("local,path={path},mount_tag={tag},security_model=none,multidevs=remap{more}"));
            }
            Files::Virtio => {
                arguments.push("-chardev".into());
                arguments.push(format!("socket,id={tag},path={}", escaped(&share.socket(setup.run))));
                arguments.push("-device".into());
                arguments.push(format!("vhost-user-fs-pci,queue-size=1024,chardev={tag},tag={tag}"));
            }
        }
    }
    if instructions {
        // Time advances with each instruction: it stands still while the host does other work. While the guest idles it
        // goes as fast as outside: if it leapt to the next timer instead (sleep=off), a program of the guest that waits for
        // its file over 9p would have waited for seconds. What else would differ between two boots is fixed: the date, and
        // the seed of all that is random.
        let icount = format!("shift={},sleep=on", NS_PER_INSTRUCTION.ilog2());
        let seed = (1 + u64::from(setup.layout)).to_string();
        for argument in ["-icount", &icount, "-rtc", "base=2026-01-01T00:00:00,clock=vm", "-seed", &seed] {
            arguments.push(argument.into());
        }
    }
    arguments
}

/// The command line of the guest's kernel.
fn kernel_command_line(setup: &Setup<'_>) -> String {
    let mut words = vec![
        "console=ttyS0".to_owned(),
        // Only warnings and worse: the emulated console is slow. An oops ends the machine, and -no-reboot ends qemu.
        "loglevel=5".into(),
        "oops=panic".into(),
        "panic=-1".into(),
        // The kernel's test of its timer counts ticks against cycles, and panics if the host was busy meanwhile.
        "no_timer_check".into(),
        // An emulated CPU on a busy host stands still for seconds, which is no lockup.
        "watchdog_thresh=60".into(),
        "rcupdate.rcu_cpu_stall_timeout=120".into(),
        kernel_parameters(setup.kernel, setup.clock),
    ];
    if setup.clock == Clock::Instructions {
        // No work that comes at times of its own.
        words.extend(["transparent_hugepage=never", "nowatchdog"].map(str::to_owned));
        if setup.layout == 0 {
            // The same addresses in each boot. Of other layouts they follow from the seed.
            words.extend(["nokaslr", "norandmaps"].map(str::to_owned));
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::{KERNELS, find_kernel};

    #[test]
    fn kernels_without_9p_reach_files_by_programs_beside_qemu() {
        let line =
            of_kernel(find_kernel("6.12-cloud").expect("it is in the table"), Clock::Wall, (7, 2), &["/out".into()], 0);
        for part in
            ["memory-backend-memfd,id=memory,size=3072M,share=on", "chardev=host,tag=host", "path=/r/share0.sock"]
        {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("virtfs"), "{line}");
    }

    fn line(clock: Clock, version: (u32, u32), shares: &[PathBuf]) -> String {
        laid_out(clock, version, shares, 0)
    }

    fn laid_out(clock: Clock, version: (u32, u32), shares: &[PathBuf], layout: u32) -> String {
        of_kernel(&KERNELS[2], clock, version, shares, layout)
    }

    fn of_kernel(kernel: &Kernel, clock: Clock, version: (u32, u32), shares: &[PathBuf], layout: u32) -> String {
        let image = Image {
            release: "6.12.1".into(),
            vmlinuz: "/k/vmlinuz".into(),
            modules: "/k/modules".into(),
            early: Vec::new(),
        };
        let run = Path::new("/r");
        let setup = Setup { kernel, image: &image, clock, cpus: CPUS, layout, run, shares };
        arguments(&setup, version).join(" ")
    }

    #[test]
    fn the_version_is_in_what_qemu_says() {
        assert_eq!(version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright"), Some((7, 2)));
        assert_eq!(version("QEMU emulator version 10.0.13\n"), Some((10, 0)));
        assert_eq!(version("something else"), None);
    }

    #[test]
    fn only_the_directories_of_the_run_can_be_written() {
        let line = line(Clock::Wall, (7, 2), &["/out".into(), "/odd,name".into()]);
        assert!(line.contains("path=/,mount_tag=host,security_model=none,multidevs=remap,readonly=on"), "{line}");
        assert!(line.contains("path=/out,mount_tag=share0,"), "{line}");
        assert!(line.contains("path=/odd,,name,mount_tag=share1,"), "{line}");
        assert_eq!(line.matches("readonly=on").count(), 1);
    }

    #[test]
    fn threads_run_in_parallel_only_where_patching_code_is_safe() {
        assert!(line(Clock::Wall, (7, 2), &[]).contains("thread=single -cpu max,la57=off -smp 2 "));
        assert!(line(Clock::Wall, (8, 1), &[]).contains("thread=multi"));
        assert!(line(Clock::Wall, (10, 0), &[]).contains("thread=multi"));
    }

    #[test]
    fn a_busy_host_neither_fails_the_boot_nor_passes_for_a_lockup() {
        let line = line(Clock::Wall, (7, 2), &[]);
        for part in ["no_timer_check", "watchdog_thresh=60", "rcu_cpu_stall_timeout=120", "oops=panic", "-no-reboot"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }

    #[test]
    fn a_clock_that_counts_instructions_has_one_cpu_and_nothing_random() {
        let line = line(Clock::Instructions, (10, 0), &[]);
        for part in ["thread=single", "-smp 1 ", "-icount shift=1,sleep=on", "-seed 1", "nokaslr", "clock=instructions"]
        {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!self::line(Clock::Wall, (10, 0), &[]).contains("icount"));
        // What differs between two layouts is what is random, and is the same each time.
        let other = laid_out(Clock::Instructions, (10, 0), &[], 7);
        assert!(other.contains("-seed 8") && !other.contains("nokaslr") && !other.contains("norandmaps"), "{other}");
    }
}
