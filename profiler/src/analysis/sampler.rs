//! What CPU samples take of the time that they are taken in. A sample is an interrupt of microseconds; no sample sees another one,
//! but a span goes on meanwhile. So a CPU that is sampled is slower by a share, the same for everything that it works on.

use std::collections::BTreeMap;

use crate::profile::{Profile, SampleRecord};

/// Shares of the time, as measured while a CPU was sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SamplerShare {
    /// Of what a CPU works on.
    pub of_service: f64,
    /// Of what waits: CPUs that are idle take no samples, and those that packets wait for are as busy as those that work is done on.
    pub of_wait: f64,
}

impl SamplerShare {
    /// In a profile.
    pub fn of(profile: &Profile) -> Self {
        let cpu = &profile.cpu;
        if cpu.period_ns == 0 {
            return Self::default();
        }
        let of_service = (profile.observer.ns_per_sample / cpu.period_ns as f64).clamp(0.0, 1.0);
        let mut samples: BTreeMap<u16, u64> = BTreeMap::new();
        let idle = |entry: &&SampleRecord| cpu.tasks.get(entry.task as usize).is_some_and(|task| task.pid == 0);
        for entry in cpu.entries.iter().filter(|entry| !idle(entry)) {
            *samples.entry(entry.cpu).or_default() += entry.count;
        }
        let time = profile.meta.duration_ns.max(1) as f64;
        let all: u64 = samples.values().sum();
        let busy = |count: u64| (count as f64 * cpu.period_ns as f64 / time).min(1.0);
        let busy: f64 = samples.values().map(|count| *count as f64 * busy(*count)).sum::<f64>() / all.max(1) as f64;
        Self { of_service, of_wait: of_service * busy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::TaskRecord;

    #[test]
    fn samples_take_of_work_what_their_rate_says_and_of_waits_what_cpus_are_busy() {
        let mut profile = Profile::default();
        (profile.cpu.period_ns, profile.observer.ns_per_sample, profile.meta.duration_ns) = (1_000, 20.0, 100_000);
        let taken = |cpu, count| SampleRecord { cpu, count, ..SampleRecord::default() };
        let task = |pid| TaskRecord { pid, ..TaskRecord::default() };
        profile.cpu.tasks = vec![task(7), task(0)];
        let idle = SampleRecord { task: 1, ..taken(0, 40) };
        profile.cpu.entries = vec![taken(0, 30), taken(0, 20), idle, taken(1, 50)];
        assert_eq!(SamplerShare::of(&profile), SamplerShare { of_service: 0.02, of_wait: 0.01 });
        profile.cpu.entries = vec![taken(0, 110)];
        assert_eq!(SamplerShare::of(&profile), SamplerShare { of_service: 0.02, of_wait: 0.02 });
        profile.cpu.period_ns = 0;
        assert_eq!(SamplerShare::of(&profile), SamplerShare::default(), "not sampled");
    }
}
