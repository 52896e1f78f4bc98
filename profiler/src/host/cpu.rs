//! CPUs: which there are, on which one a thread stays, what a process and what everything used of them.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::failure::Failure;

/// How many CPUs there are, running or not; one where that is not told.
pub fn configured() -> u64 {
    // SAFETY: a plain call without memory of ours.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }).unwrap_or(1).max(1)
}

/// The CPUs that are online, at least one.
pub fn online() -> Result<Vec<u32>, Failure> {
    match aya::util::online_cpus() {
        Ok(cpus) if !cpus.is_empty() => Ok(cpus),
        Ok(_) => Err(Failure::Refused("the kernel tells of no CPU that is online".into())),
        Err((place, error)) => {
            Err(Failure::Refused(format!("cannot tell which CPUs are online ({place}: {error}); is /sys mounted?")))
        }
    }
}

/// Keeps this thread, and those that it starts from now on, on one CPU.
pub fn stay_on(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero set is valid; CPU_SET checks the number; the set outlives the call, which is about this thread.
    let result = unsafe {
        let mut only: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut only);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const only)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The CPU on which this thread runs at this moment; 0 where nobody tells.
pub fn here() -> usize {
    // SAFETY: a plain call without arguments.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// Keeps this thread on the CPU on which it runs; its number.
pub fn stay() -> Result<usize> {
    let cpu = here();
    stay_on(cpu).context("cannot stay on a CPU")?;
    Ok(cpu)
}

/// CPU time that a process, or several together, has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnTime {
    /// In user mode.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
}

impl OwnTime {
    /// Both together.
    pub fn total(self) -> Duration {
        self.user + self.system
    }

    /// What was used since `before`.
    pub fn since(self, before: Self) -> Self {
        Self { user: self.user.saturating_sub(before.user), system: self.system.saturating_sub(before.system) }
    }
}

/// CPU time that this process has used so far.
pub fn own_time() -> OwnTime {
    usage(libc::RUSAGE_SELF)
}

/// CPU time of all children that have ended and were waited for.
pub fn time_of_children() -> OwnTime {
    usage(libc::RUSAGE_CHILDREN)
}

/// CPU time of a process that runs, from `/proc`, in clock ticks; `None` where there is none.
pub fn time_of(pid: u32) -> Option<OwnTime> {
    ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name, which may hold anything, ends with the last bracket; user and system time are fields 14 and 15.
fn ticks(stat: &str) -> Option<OwnTime> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    // SAFETY: a plain call with a known name.
    let rate = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok().filter(|rate| *rate > 0)?;
    let mut time = || Some(Duration::from_nanos(fields.next()?.parse::<u64>().ok()? * (1_000_000_000 / rate)));
    Some(OwnTime { user: time()?, system: time()? })
}

fn usage(of: libc::c_int) -> OwnTime {
    // SAFETY: an all-zero rusage is valid, and it outlives the call, which only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(of, &raw mut usage);
        usage
    };
    let time = |value: libc::timeval| Duration::new(value.tv_sec as u64, value.tv_usec as u32 * 1000);
    OwnTime { user: time(usage.ru_utime), system: time(usage.ru_stime) }
}

/// What all CPUs had done at a moment, from `/proc/stat`.
#[derive(Clone, Copy, Debug)]
pub struct CpuTimes {
    at: Instant,
    not_busy: NotBusy,
}

/// Clock ticks in which the CPUs did nothing for anybody here, and how many CPUs there are.
#[derive(Clone, Copy, Debug, PartialEq)]
struct NotBusy {
    cpus: u32,
    /// Idle, with or without a task that waits for a disk.
    idle: u64,
    /// Taken by the hypervisor.
    stolen: u64,
}

/// What was used of all CPUs between two moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuUse {
    /// CPUs online.
    pub cpus: u32,
    /// Time that passed.
    pub elapsed_ns: u64,
    /// Busy time, over all CPUs.
    pub busy_ns: u64,
    /// The same as a share of all CPUs (0 to 1).
    pub busy_share: f64,
    /// Share of all CPUs that the hypervisor took (0 to 1).
    pub stolen_share: f64,
}

impl CpuTimes {
    /// Looks now.
    pub fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let not_busy = not_busy(&stat).context("/proc/stat does not tell of CPUs")?;
        Ok(Self { at: Instant::now(), not_busy })
    }

    /// What was used between `before` and this; none if no time passed, or a clock went back.
    ///
    /// **Busy** is the time that passed, without what was idle and what was stolen. Where CPUs stop their tick, the kernel
    /// gives idle time by its clock, from the moment when a CPU goes idle to that when it wakes up, but user, system and
    /// interrupt time by the ticks that happen to hit them, unless it was built to do better: work that is shorter than a
    /// tick and begins with one, or between two, would be counted wrongly or not at all, and on an idle CPU there are no
    /// ticks. So interrupts are busy time, waiting for a disk is not (the CPU is free), and neither is stolen time (another
    /// guest was busy).
    /// <https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/fs/proc/stat.c?id=01aee8fd7fb23049e2b52abadbe1f7b5e94a52d2#n49>
    pub fn since(&self, before: &Self) -> Option<CpuUse> {
        let elapsed_ns = self.at.duration_since(before.at).as_nanos() as u64;
        used(before.not_busy, self.not_busy, elapsed_ns, tick_ns())
    }
}

fn used(before: NotBusy, after: NotBusy, elapsed_ns: u64, tick_ns: u64) -> Option<CpuUse> {
    let whole_ns = elapsed_ns.checked_mul(u64::from(after.cpus)).filter(|ns| *ns > 0)?;
    let idle_ns = after.idle.checked_sub(before.idle)? * tick_ns;
    let stolen_ns = after.stolen.checked_sub(before.stolen)? * tick_ns;
    let busy_ns = whole_ns.saturating_sub(idle_ns + stolen_ns);
    Some(CpuUse {
        cpus: after.cpus,
        elapsed_ns,
        busy_ns,
        busy_share: busy_ns as f64 / whole_ns as f64,
        stolen_share: (stolen_ns as f64 / whole_ns as f64).min(1.0),
    })
}

/// From the first line of `/proc/stat`, whose fourth, fifth and eighth figures these are, and the lines of the CPUs.
/// <https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/fs/proc/stat.c?id=01aee8fd7fb23049e2b52abadbe1f7b5e94a52d2#n154>
fn not_busy(stat: &str) -> Option<NotBusy> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
    let cpus = stat.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
    Some(NotBusy {
        cpus: u32::try_from(cpus).ok()?,
        idle: fields.get(3)? + fields.get(4).unwrap_or(&0),
        stolen: fields.get(7).copied().unwrap_or(0),
    })
}

/// Length of a clock tick of `/proc/stat`.
fn tick_ns() -> u64 {
    // SAFETY: a plain call that reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    // POSIX has it since 1990, and Linux a hundred.
    1_000_000_000 / u64::try_from(per_second).unwrap_or(100).max(1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const STAT: &str = "cpu  768180 82757 302716 1489349 9675 0 95114 1068 0 0\n\
                        cpu0 359152 38048 168260 734609 2714 0 71145 525 0 0\n\
                        cpu1 409028 44708 134455 754740 6961 0 23968 542 0 0\nintr 1 2\n";

    #[test]
    fn the_time_of_a_process_is_read_behind_its_name() {
        let time = ticks("12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20").expect("the test has it");
        assert_eq!(time.user, time.system * 6);
        assert_eq!(ticks("12 (short) S 1 2"), None);
        assert!(time_of(std::process::id()).is_some() && time_of(u32::MAX).is_none());
    }

    #[test]
    fn a_cpu_that_waits_for_a_disk_is_idle_and_a_stolen_one_is_not_ours() {
        assert_eq!(not_busy(STAT), Some(NotBusy { cpus: 2, idle: 1_489_349 + 9675, stolen: 1068 }));
        assert_eq!(not_busy("intr 1 2\n"), None);
        assert_eq!(not_busy(""), None);
    }

    #[test]
    fn busy_is_the_rest() {
        let at = |idle, stolen| NotBusy { cpus: 2, idle, stolen };
        let found = used(at(100, 10), at(150, 20), 1_000_000_000, 10_000_000).unwrap();
        assert_eq!((found.busy_ns, found.busy_share, found.stolen_share), (1_400_000_000, 0.7, 0.05));
        // Ticks are coarse: an idle machine may seem idle for longer than the time that passed.
        assert_eq!(used(at(0, 0), at(300, 0), 1_000_000_000, 10_000_000).unwrap().busy_ns, 0);
        assert_eq!(used(at(1, 0), at(0, 0), 1_000_000_000, 10_000_000), None);
    }

    #[test]
    fn a_working_process_uses_cpu_time_and_the_machine_sees_it() {
        let (machine, begun) = (CpuTimes::now().unwrap(), own_time().total());
        while own_time().total() - begun < Duration::from_millis(100) {
            std::hint::black_box(0);
        }
        let seen = CpuTimes::now().unwrap().since(&machine).unwrap();
        // Two ticks for each CPU is what the coarse clock may take off.
        assert!(seen.busy_ns + u64::from(seen.cpus) * 20_000_000 >= 100_000_000, "{seen:?}");
        assert!(seen.busy_share <= 1.0);
    }

    #[test]
    fn this_machine_has_cpus_and_a_thread_can_stay_on_one() {
        assert!(!online().unwrap().is_empty());
        let stayed = std::thread::spawn(|| stay().unwrap()).join().unwrap();
        assert!(online().unwrap().contains(&(stayed as u32)));
        assert!(std::thread::spawn(|| stay_on(1023)).join().unwrap().is_err(), "there are not so many");
    }
}
