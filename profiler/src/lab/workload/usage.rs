//! What the kernel knows of a worker: CPU time of its process and of the machine, figures of its sockets.

use std::{fs, net::TcpStream, os::fd::AsRawFd, time::Instant};

use crate::profile::measures::MachineUse;

/// `SK_MEMINFO_DROPS` of `SO_MEMINFO`.
/// <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/sock_diag.h#L60>
const DROPS: usize = 8;
const MEMINFO_VARS: usize = 9;

/// CPU time of this process: user, system.
pub fn cpu_time() -> (u64, u64) {
    // SAFETY: all zeroes is a valid `rusage`, and the call only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    (ns(usage.ru_utime), ns(usage.ru_stime))
}

/// The machine's CPUs at one moment.
pub struct Machine {
    at: Instant,
    idle: Option<Idle>,
}

/// Time of the CPUs that nobody used here, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Idle {
    cpus: u32,
    ticks: u64,
}

impl Machine {
    /// Looks now.
    pub fn look() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self { at: Instant::now(), idle: idle(&stat) }
    }

    /// What was used between `before` and this.
    ///
    /// Busy is what was not idle: the kernel counts idle time by its clock, where it counts the other states by the
    /// ticks that happen to hit them.
    pub fn since(&self, before: &Self) -> Option<MachineUse> {
        // SAFETY: a plain call that reads a constant of the system.
        let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok().filter(|ticks| *ticks > 0)?;
        let elapsed_ns = self.at.duration_since(before.at).as_nanos() as u64;
        used(before.idle?, self.idle?, elapsed_ns, 1_000_000_000 / per_second)
    }
}

fn used(before: Idle, after: Idle, elapsed_ns: u64, tick_ns: u64) -> Option<MachineUse> {
    let whole_ns = elapsed_ns.checked_mul(u64::from(after.cpus)).filter(|ns| *ns > 0)?;
    let idle_ns = after.ticks.checked_sub(before.ticks)? * tick_ns;
    let busy_ns = whole_ns.saturating_sub(idle_ns);
    Some(MachineUse {
        cpus: after.cpus,
        elapsed_ns,
        busy_ns,
        busy_share: busy_ns as f64 / whole_ns as f64,
        ..MachineUse::default()
    })
}

/// Idle, waiting for a disk, or stolen: the fourth, fifth and eighth figure of the first line of `/proc/stat`.
fn idle(stat: &str) -> Option<Idle> {
    let fields: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    let lines = stat.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
    let ticks = fields.get(3)? + fields.get(4).unwrap_or(&0) + fields.get(7).unwrap_or(&0);
    Some(Idle { cpus: u32::try_from(lines).ok()?, ticks })
}

/// `tcpi_total_retrans` of a connection.
pub fn retransmits(stream: &TcpStream) -> Option<u64> {
    // SAFETY: all zeroes is a valid `tcp_info`; the kernel writes at most `length` bytes to it.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let result = libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut length,
        );
        (result == 0).then_some(u64::from(info.tcpi_total_retrans))
    }
}

/// Packets that found this socket's buffer full.
pub fn dropped_at(socket: &impl AsRawFd) -> Option<u64> {
    let mut info = [0u32; MEMINFO_VARS];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the array, which is as long.
    let result = unsafe {
        let place = info.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, place, &mut length)
    };
    (result == 0 && length as usize > DROPS * size_of::<u32>()).then_some(u64::from(info[DROPS]))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const STAT: &str = "cpu  768180 82757 302716 1489349 9675 0 95114 1068 0 0\n\
                        cpu0 359152 38048 168260 734609 2714 0 71145 525 0 0\n\
                        cpu1 409028 44708 134455 754740 6961 0 23968 542 0 0\nintr 1 2\n";

    #[test]
    fn idle_time_is_idle_disk_and_steal() {
        assert_eq!(idle(STAT), Some(Idle { cpus: 2, ticks: 1489349 + 9675 + 1068 }));
        assert_eq!(idle("intr 1 2\n"), None);
        assert_eq!(idle(""), None);
    }

    #[test]
    fn busy_is_the_rest() {
        let at = |ticks| Idle { cpus: 2, ticks };
        let found = used(at(100), at(150), 1_000_000_000, 10_000_000).unwrap();
        assert_eq!((found.busy_ns, found.busy_share), (1_500_000_000, 0.75));
        // Ticks are coarse: an idle machine may seem idle for longer than the time that passed.
        assert_eq!(used(at(0), at(300), 1_000_000_000, 10_000_000).unwrap().busy_ns, 0);
        assert_eq!(used(at(1), at(0), 1_000_000_000, 10_000_000), None);
    }

    #[test]
    fn a_working_process_uses_cpu_time_and_the_machine_sees_it() {
        let (machine, cpu) = (Machine::look(), cpu_time());
        let used_ns = || {
            let now = cpu_time();
            now.0 + now.1 - cpu.0 - cpu.1
        };
        while used_ns() < 100_000_000 {
            std::hint::black_box(0);
        }
        let seen = Machine::look().since(&machine).unwrap();
        // Two ticks for each CPU is what the coarse clock may take off.
        assert!(seen.busy_ns + u64::from(seen.cpus) * 20_000_000 >= 100_000_000, "{seen:?}");
        assert!(seen.busy_share <= 1.0);
    }
}
