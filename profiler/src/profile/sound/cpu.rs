//! CPU samples and softirqs.

use super::{Sound, Totals, within};
use crate::profile::{CpuRecord, SampleRecord, SoftirqRecord, SoftirqVector};

/// What samples are taken by; of none there is no word.
const SOURCES: [&str; 3] = ["", "cpu-clock", "cycles"];

/// Whether samples can be such.
pub(super) fn check(cpu: &CpuRecord, totals: &mut Totals) -> Sound {
    let CpuRecord {
        source,
        period_ns,
        asked_hz,
        expected,
        samples,
        kernel_busy_ns,
        symbols,
        stacks,
        tasks,
        entries,
        bursts,
        burst_samples,
    } = cpu;
    if !SOURCES.contains(&source.as_str()) {
        return Err(format!("CPU samples of {source:?}"));
    }
    for frame in stacks.iter().flatten() {
        within("symbol", *frame as usize, symbols.len())?;
    }
    let mut taken = 0_u128;
    for entry in entries.iter().chain(bursts) {
        let SampleRecord { stack, task, cpu: _, user: _, place: _, count } = entry;
        stack.map_or(Ok(()), |stack| within("stack", stack as usize, stacks.len()))?;
        within("task", *task as usize, tasks.len())?;
        taken += u128::from(*count);
    }
    let stands_for = u128::from((*period_ns).max(1));
    totals.add_wide("nanoseconds of CPU samples", taken.saturating_mul(stands_for));
    for count in [samples, expected, burst_samples] {
        totals.add_wide("nanoseconds of CPU samples", u128::from(*count).saturating_mul(stands_for));
    }
    totals.add("nanoseconds between CPU samples", *period_ns);
    totals.add("CPU samples a second", *asked_hz);
    totals.add("busy nanoseconds", *kernel_busy_ns);
    Ok(())
}

/// Adds up softirqs.
pub(super) fn softirqs(softirqs: &SoftirqRecord, totals: &mut Totals) {
    let SoftirqRecord { observed_ns, vectors, backlog_drops } = softirqs;
    totals.add("nanoseconds in which softirqs were timed", *observed_ns);
    totals.add("drops of a full backlog", *backlog_drops);
    self::vectors(vectors, totals);
}

/// The same of vectors that were timed.
pub(super) fn vectors(vectors: &[SoftirqVector], totals: &mut Totals) {
    for SoftirqVector { cpu: _, vector: _, total, count, ns, waits, wait_ns, polls, polled } in vectors {
        for count in [total, count, waits, polls, polled] {
            totals.add("softirqs", *count);
        }
        totals.add("nanoseconds of softirqs", *ns);
        totals.add("nanoseconds of waiting softirqs", *wait_ns);
    }
}
