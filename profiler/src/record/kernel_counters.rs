//! Counters that the kernel keeps anyway: softirqs, backlog drops, stolen time, our own use of resources.

use anyhow::Result;

use crate::host::cpu::CpuTimes;

use netstrata_common::Vector;

/// A reading of the counters.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Runs by vector, then CPU.
    pub softirqs: Vec<Vec<u64>>,
    /// Packets that full backlogs dropped, over all CPUs.
    pub backlog_drops: u64,
    /// What the CPUs had done.
    pub cpus: Option<CpuTimes>,
}

impl Counters {
    /// Reads them now.
    pub fn read() -> Result<Self> {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Ok(Self {
            softirqs: softirqs(&text("/proc/softirqs")),
            backlog_drops: backlog_drops(&text("/proc/net/softnet_stat")),
            cpus: Some(CpuTimes::now()?),
        })
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
    }
}
