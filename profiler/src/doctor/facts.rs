//! Single facts about the kernel and this process, each with what follows from it.

use aya_obj::generated::{perf_hw_id, perf_sw_ids, perf_type_id};

use super::{
    Check,
    config::{BuildConfig, Built},
};
use crate::{
    host::facts::{kernel_release, read_line as read},
    kernel::{btf::RUNNING, events, symbols::Symbols},
};

/// The kernel's types.
pub fn btf(error: Option<&anyhow::Error>) -> Check {
    let why = error.map_or_else(|| format!("{RUNNING} tells where fields lie"), |error| format!("{error:#}"));
    Check::new("BTF", error.is_none(), why, "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y")
}

/// Addresses of the kernel's functions.
pub fn symbols() -> Check {
    match Symbols::running() {
        Ok(_) => Check::new("kernel symbols", true, "/proc/kallsyms gives the addresses of functions", ""),
        Err(error) => Check::new(
            "kernel symbols",
            false,
            format!("{error:#}"),
            "give the program CAP_SYSLOG, so that stacks can be named",
        ),
    }
}

/// Sampling of CPUs, tried on this one: hardware cycles, else the clock.
pub fn sampler(cpu: u32) -> Check {
    const NAME: &str = "CPU sampling";
    let cycles = open(cpu, perf_type_id::PERF_TYPE_HARDWARE as u32, perf_hw_id::PERF_COUNT_HW_CPU_CYCLES as u64);
    let clock = || open(cpu, perf_type_id::PERF_TYPE_SOFTWARE as u32, perf_sw_ids::PERF_COUNT_SW_CPU_CLOCK as u64);
    let Err(hardware) = cycles else { return Check::new(NAME, true, "by hardware cycles", "") };
    match clock() {
        Ok(()) => Check::new(NAME, true, format!("by cpu-clock; hardware cycles cannot be had ({hardware})"), ""),
        Err(error) => {
            Check::new(NAME, false, format!("perf_event_open: {error}"), "give the program CAP_PERFMON, or run as root")
        }
    }
}

/// Opens a counter of all tasks on a CPU, and closes it.
fn open(cpu: u32, kind: u32, config: u64) -> Result<(), std::io::Error> {
    let mut attributes = events::event(kind);
    attributes.config = config;
    attributes.__bindgen_anon_1.sample_period = 1_000_000;
    attributes.set_disabled(1);
    events::open(&attributes, cpu).map(drop)
}

/// Probes on functions: what the kernel seems to allow; whether they attach is tried when a recording starts.
pub fn functions(kprobes: bool, config: &BuildConfig) -> (bool, String) {
    let fentry = match (config.built("DYNAMIC_FTRACE_WITH_DIRECT_CALLS"), config.built("BPF_JIT")) {
        (Built::In, Built::In) => "is configured (whether it may be loaded was not tried)",
        (Built::Unknown, _) | (_, Built::Unknown) => "is unknown (the kernel's configuration cannot be read)",
        _ => "is not configured",
    };
    let there = if kprobes { "there are" } else { "there are none" };
    (kprobes, format!("splits spans over functions (--tier). In this kernel: kprobes, {there}; fentry {fentry}"))
}

/// Settings that hinder or explain.
pub fn settings() -> Vec<Check> {
    vec![jit(), lockdown(), memlock(), unprivileged(), paranoid()]
}

fn jit() -> Check {
    match read("/proc/sys/net/core/bpf_jit_enable").as_deref() {
        Some("0") => Check::new(
            "BPF JIT",
            false,
            "net.core.bpf_jit_enable = 0: programs are interpreted and cost several times as much",
            "sysctl net.core.bpf_jit_enable=1",
        ),
        Some(value) => Check::new("BPF JIT", true, format!("net.core.bpf_jit_enable = {value}"), ""),
        None => Check::unknown("BPF JIT", "net.core.bpf_jit_enable cannot be read"),
    }
}

fn lockdown() -> Check {
    const NAME: &str = "no lockdown";
    let Some(text) = read("/sys/kernel/security/lockdown") else {
        return Check::unknown(NAME, "/sys/kernel/security/lockdown cannot be read; the load test decides");
    };
    let level = text.split(['[', ']']).nth(1).unwrap_or("none");
    match level {
        "none" => Check::new(NAME, true, "none", ""),
        "confidentiality" => Check::new(
            NAME,
            false,
            "lockdown=confidentiality: programs may not read kernel memory",
            "boot with lockdown=integrity, or none",
        ),
        level => Check::new(NAME, true, format!("lockdown={level} does not hinder tracepoints and sampling"), ""),
    }
}

fn memlock() -> Check {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    let release = kernel_release();
    let accounted = version(&release) < (5, 11);
    let shown = if limit.rlim_cur == libc::RLIM_INFINITY {
        "unlimited".into()
    } else {
        format!("{} KiB", limit.rlim_cur >> 10)
    };
    let enough = !accounted || limit.rlim_cur >= 256 << 20;
    let why =
        if accounted { "counts the maps" } else { "does not matter: since 5.11 maps count as memory of the cgroup" };
    Check::new("memlock limit", enough, format!("{shown}; {why}"), "ulimit -l unlimited")
}

/// Major and minor number of a release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn unprivileged() -> Check {
    match read("/proc/sys/kernel/unprivileged_bpf_disabled") {
        Some(value) => Check::new(
            "BPF setting",
            true,
            format!("kernel.unprivileged_bpf_disabled = {value}; does not matter with CAP_BPF"),
            "",
        ),
        None => Check::unknown("BPF setting", "kernel.unprivileged_bpf_disabled cannot be read"),
    }
}

fn paranoid() -> Check {
    match read("/proc/sys/kernel/perf_event_paranoid") {
        Some(value) => Check::new(
            "perf setting",
            true,
            format!("kernel.perf_event_paranoid = {value}; does not matter with CAP_PERFMON"),
            "",
        ),
        None => Check::unknown("perf setting", "kernel.perf_event_paranoid cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_a_major_and_a_minor_number() {
        assert_eq!(version("5.10.0-32-cloud-amd64"), (5, 10));
        assert_eq!(version("7.2"), (7, 2));
        assert_eq!(version(""), (0, 0));
    }
}
