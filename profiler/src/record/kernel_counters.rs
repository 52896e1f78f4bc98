//! Counters that the kernel keeps anyway: softirqs, backlog drops, stolen time, our own use of resources.

use std::time::Duration;

use netstrata_common::Vector;

/// A reading of the counters.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Runs by vector, then CPU.
    pub softirqs: Vec<Vec<u64>>,
    /// Packets that full backlogs dropped, over all CPUs.
    pub backlog_drops: u64,
    /// Stolen time, clock ticks over all CPUs.
    pub steal: u64,
    /// All time, clock ticks over all CPUs.
    pub total: u64,
    /// Time that was neither idle nor stolen, clock ticks over all CPUs.
    pub busy: u64,
}

impl Counters {
    /// Reads them now.
    pub fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (steal, total, busy) = cpu_times(&text("/proc/stat"));
        Self {
            softirqs: softirqs(&text("/proc/softirqs")),
            backlog_drops: backlog_drops(&text("/proc/net/softnet_stat")),
            steal,
            total,
            busy,
        }
    }
}

/// Runs of NET_RX so far, over all CPUs.
pub fn receive_softirqs() -> u64 {
    let counts = softirqs(&std::fs::read_to_string("/proc/softirqs").unwrap_or_default());
    counts[Vector::NetRx as usize].iter().sum()
}

/// Rows of `/proc/softirqs`.
fn softirqs(text: &str) -> Vec<Vec<u64>> {
    let row = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{name}:")));
        let numbers = line.map(|line| line.split_ascii_whitespace().skip(1).filter_map(|word| word.parse().ok()));
        numbers.map(Iterator::collect).unwrap_or_default()
    };
    Vector::ALL.iter().map(|vector| row(vector.name())).collect()
}

/// Second column of `/proc/net/softnet_stat`, hexadecimal, summed.
fn backlog_drops(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(1))
        .filter_map(|word| u64::from_str_radix(word, 16).ok())
        .sum()
}

/// Stolen, all and busy time of the first line of `/proc/stat`. Guest time is already in user time.
fn cpu_times(text: &str) -> (u64, u64, u64) {
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_ascii_whitespace().skip(1).take(8).filter_map(|word| word.parse().ok()).collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0);
    let (steal, total) = (field(7), fields.iter().sum::<u64>());
    (steal, total, total - steal - field(3) - field(4))
}

/// Length of a clock tick of `/proc/stat`.
pub fn tick_ns() -> u64 {
    // SAFETY: a query without arguments to keep alive.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    1_000_000_000 / u64::try_from(per_second).unwrap_or(100).max(1)
}

/// CPU time that this process has used.
pub fn own_cpu_time() -> Duration {
    // SAFETY: an all-zero rusage is valid, and it outlives the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time = |value: libc::timeval| Duration::new(value.tv_sec as u64, value.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Begins [`own_peak_memory`] anew: one process can make many recordings.
pub fn forget_peak_memory() {
    // Where that is not allowed the peak is the process's.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Largest resident memory of this process since then, bytes.
pub fn own_peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_the_kernels_text() {
        let rows = softirqs("   CPU0  CPU1\n  HI:  1  2\n  NET_TX: 3 4\n  NET_RX:  10  20\n");
        assert_eq!(rows[0], [1, 2]);
        assert_eq!(rows[3], [10, 20]);
        assert!(rows[1].is_empty());
        assert_eq!(backlog_drops("0001 0000000a 0\n0002 00000001 0\n"), 11);
        assert_eq!(cpu_times("cpu  10 0 20 60 5 1 2 2 7 7\ncpu0 1\n"), (2, 100, 33));
    }
}
