//! CPU samples added: names, stacks and tasks of all recordings in tables of their own, in their order.

use std::collections::{BTreeMap, BTreeSet};

use crate::profile::{CpuRecord, CrossingRecord, Profile, SampleRecord, TaskRecord};

/// What samples have in common that are alike.
type Alike = (Option<u32>, u32, u16, bool, Option<CrossingRecord>);

/// Which of a profile's samples became which: places in the new lists by those in the old ones.
pub(super) struct Became {
    pub entries: Vec<u32>,
    pub bursts: Vec<u32>,
}

/// The sum, and what became of the samples of each profile.
pub(super) fn sum(profiles: &[Profile]) -> (CpuRecord, Vec<Became>) {
    let cpus = || profiles.iter().map(|profile| &profile.cpu);
    let tables = Tables::of(cpus());
    let tally = |of: fn(&CpuRecord) -> &[SampleRecord]| {
        let mut counts: BTreeMap<Alike, u64> = BTreeMap::new();
        let samples = cpus().flat_map(|cpu| of(cpu).iter().map(move |sample| (cpu, sample)));
        samples.for_each(|(cpu, sample)| *counts.entry(tables.alike(cpu, sample)).or_default() += sample.count);
        counts
    };
    let (entries, bursts) = (tally(|cpu| &cpu.entries), tally(|cpu| &cpu.bursts));
    let became = |cpu: &CpuRecord, of: &[SampleRecord], sums: &BTreeMap<Alike, u32>| -> Vec<u32> {
        of.iter().filter_map(|sample| sums.get(&tables.alike(cpu, sample)).copied()).collect()
    };
    let [places, burst_places] =
        [&entries, &bursts].map(|sums| sums.keys().copied().zip(0..).collect::<BTreeMap<Alike, u32>>());
    let became = cpus().map(|cpu| Became {
        entries: became(cpu, &cpu.entries, &places),
        bursts: became(cpu, &cpu.bursts, &burst_places),
    });
    let became = became.collect();
    let first = cpus().next().cloned().unwrap_or_default();
    let sum = CpuRecord {
        source: first.source,
        asked_hz: first.asked_hz,
        expected: cpus().map(|cpu| cpu.expected).sum(),
        samples: cpus().map(|cpu| cpu.samples).sum(),
        kernel_busy_ns: cpus().map(|cpu| cpu.kernel_busy_ns).sum(),
        burst_samples: cpus().map(|cpu| cpu.burst_samples).sum(),
        entries: records(entries),
        bursts: records(bursts),
        symbols: tables.symbols.into_keys().map(str::to_owned).collect(),
        stacks: tables.stacks.into_keys().collect(),
        tasks: tables.tasks.into_keys().collect(),
        // From the parts.
        period_ns: 0,
    };
    (sum, became)
}

fn records(counts: BTreeMap<Alike, u64>) -> Vec<SampleRecord> {
    let record = |((stack, task, cpu, user, place), count)| SampleRecord { stack, task, cpu, user, place, count };
    counts.into_iter().map(record).collect()
}

/// What samples refer to, with its place.
struct Tables<'a> {
    symbols: BTreeMap<&'a str, u32>,
    stacks: BTreeMap<Vec<u32>, u32>,
    tasks: BTreeMap<TaskRecord, u32>,
}

impl<'a> Tables<'a> {
    fn of(cpus: impl Iterator<Item = &'a CpuRecord> + Clone) -> Self {
        let symbols: BTreeSet<&str> = cpus.clone().flat_map(|cpu| cpu.symbols.iter().map(String::as_str)).collect();
        let mut tables =
            Self { symbols: symbols.into_iter().zip(0..).collect(), stacks: BTreeMap::new(), tasks: BTreeMap::new() };
        let stacks: BTreeSet<Vec<u32>> =
            cpus.clone().flat_map(|cpu| cpu.stacks.iter().map(|stack| tables.stack(cpu, stack))).collect();
        // A sample may name a task that is in no table.
        let unknown = |cpu: &CpuRecord| {
            let samples = cpu.entries.iter().chain(&cpu.bursts);
            samples.into_iter().any(|sample| cpu.tasks.get(sample.task as usize).is_none())
        };
        let mut tasks: BTreeSet<TaskRecord> = cpus.clone().flat_map(|cpu| cpu.tasks.iter().cloned()).collect();
        tasks.extend(cpus.clone().any(unknown).then(TaskRecord::default));
        tables.stacks = stacks.into_iter().zip(0..).collect();
        tables.tasks = tasks.into_iter().zip(0..).collect();
        tables
    }

    fn stack(&self, cpu: &CpuRecord, stack: &[u32]) -> Vec<u32> {
        let names = stack.iter().filter_map(|frame| cpu.symbols.get(*frame as usize));
        names.filter_map(|name| self.symbols.get(name.as_str())).copied().collect()
    }

    fn alike(&self, cpu: &CpuRecord, sample: &SampleRecord) -> Alike {
        let stack = sample.stack.and_then(|at| cpu.stacks.get(at as usize));
        let stack = stack.and_then(|stack| self.stacks.get(&self.stack(cpu, stack))).copied();
        let task = cpu.tasks.get(sample.task as usize).cloned().unwrap_or_default();
        let task = self.tasks.get(&task).copied().unwrap_or_default();
        (stack, task, sample.cpu, sample.user, sample.place)
    }
}
