//! What limits a stream: the station whose CPU time its bytes wait for.

use std::collections::{BTreeMap, BTreeSet};

use netstrata_common::Layer;

use super::Side;
use crate::{
    analysis::Account,
    cpu::{Context, Station, TaskAccount, TaskKey, of_traffic},
    failure::Failure,
    profile::Profile,
    threads,
};

/// Above this share of every CPU the whole machine is the station.
const SATURATED: f64 = 0.95;
/// Stations this near to the busiest may be it.
const NEAR: f64 = 0.05;
/// A CPU with less of the traffic than this part of the time is none of its stations.
const TRAFFIC: f64 = 0.5;
/// Several tasks share a CPU where all but the largest have at least this part of what the traffic takes of it.
const SHARED: f64 = 0.1;
/// Time of the work in seconds, and what was done in it: bytes that the reader got, or transactions.
pub(super) type Work = (f64, f64);

/// What a station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A task with the softirqs on top of it.
    Task,
    /// A CPU, with all tasks of the traffic.
    Cpu(u16),
    /// All CPUs.
    Machine,
}

impl Extent {
    fn name(self) -> String {
        match self {
            Self::Task => String::new(),
            Self::Cpu(cpu) => format!("CPU {cpu}"),
            Self::Machine => "all CPUs".into(),
        }
    }

    /// Whether a CPU is part of it.
    fn holds(self, cpu: u16) -> bool {
        self == Self::Machine || self == Self::Cpu(cpu)
    }
}

/// A task with the softirqs on top of it, or CPUs.
#[derive(Clone, Debug, PartialEq)]
pub struct StationFacts {
    /// What it is.
    pub extent: Extent,
    /// Process; 0 for idle CPUs and the whole machine.
    pub pid: u32,
    /// Name of the task, or "all CPUs".
    pub name: String,
    /// Container it runs in, if any.
    pub container: Option<String>,
    /// CPU time over recording time; of the whole machine: in CPUs.
    pub utilisation: f64,
    /// What tasks that are none of the traffic, and the hypervisor, took of the CPUs that it runs on, over recording time; of the whole
    /// machine: in CPUs.
    pub others: f64,
    /// CPU time per byte of the application, or per transaction, nanoseconds.
    pub cpu_ns_each: f64,
    /// Bytes or transactions a second: utilisation / CPU time of each.
    pub per_s: f64,
    /// Busy samples.
    pub samples: u64,
    /// Part of them in softirqs on top of the task (0 to 1).
    pub softirq_share: f64,
    /// The tasks that count as the traffic's.
    pub traffic: BTreeSet<TaskKey>,
    /// The same CPU time by layer, nanoseconds.
    pub layers: BTreeMap<Option<Layer>, f64>,
}

/// A candidate with its samples that are of the traffic.
struct Candidate<'a> {
    task: &'a TaskKey,
    account: &'a TaskAccount,
    busy: u64,
}

impl Candidate<'_> {
    fn is(&self, station: &StationFacts) -> bool {
        (self.task.pid, &self.task.comm, &self.task.container) == (station.pid, &station.name, &station.container)
    }
}

/// Stations of a profile, busiest first.
fn candidates<'a>(account: &'a Account, traffic: &BTreeSet<&str>) -> Vec<Candidate<'a>> {
    // The recorder's threads are no station of the traffic.
    let tasks = account.cpu.tasks.iter().filter(|(task, _)| !threads::RECORDER.contains(&task.comm.as_str()));
    let mut found: Vec<Candidate<'_>> = tasks
        .map(|(task, of)| {
            let busy = of.of_traffic(traffic.contains(&*task.comm)).map(|(_, samples)| samples).sum();
            Candidate { task, account: of, busy }
        })
        .filter(|candidate| candidate.busy > 0)
        .collect();
    found.sort_by(|a, b| b.busy.cmp(&a.busy).then(a.task.cmp(b.task)));
    found
}

/// The busiest stations of both. Where several are about as busy, those with the same name in both are compared.
fn choose<'a>(
    first: &'a [Candidate<'a>],
    second: &'a [Candidate<'a>],
) -> Option<(&'a Candidate<'a>, &'a Candidate<'a>)> {
    let near = |list: &'a [Candidate<'a>]| {
        let least = list.first().map_or(0.0, |top| top.busy as f64 * (1.0 - NEAR));
        list.iter().take_while(move |candidate| candidate.busy as f64 >= least)
    };
    for candidate in near(first) {
        if let Some(other) = near(second).find(|other| other.task.comm == candidate.task.comm) {
            return Some((candidate, other));
        }
    }
    Some((first.first()?, second.first()?))
}

fn facts(
    account: &Account,
    (seconds, done): Work,
    name: (u32, String, Option<String>),
    layers: BTreeMap<Option<Layer>, u64>,
    softirqs: u64,
) -> StationFacts {
    let samples: u64 = layers.values().sum();
    let each = |samples: u64| account.cpu.ns(samples) as f64 / done;
    StationFacts {
        extent: Extent::Task,
        pid: name.0,
        name: name.1,
        container: name.2,
        utilisation: account.cpu.ns(samples) as f64 / 1e9 / seconds,
        others: 0.0,
        cpu_ns_each: each(samples),
        per_s: done / seconds,
        samples,
        softirq_share: softirqs as f64 / samples.max(1) as f64,
        traffic: BTreeSet::new(),
        layers: layers.into_iter().map(|(layer, samples)| (layer, each(samples))).collect(),
    }
}

fn of_task(
    profile: &Profile,
    account: &Account,
    work: Work,
    candidate: &Candidate<'_>,
    traffic: BTreeSet<TaskKey>,
) -> StationFacts {
    let mut layers: BTreeMap<Option<Layer>, u64> = BTreeMap::new();
    for ((_, layer), samples) in &candidate.account.layers {
        *layers.entry(*layer).or_default() += samples;
    }
    let task = candidate.task;
    let softirqs = candidate.account.contexts.get(&Context::Softirq).copied().unwrap_or(0);
    let mut ran: BTreeMap<u16, u64> = BTreeMap::new();
    candidate.account.stations.iter().for_each(|(at, samples)| *ran.entry(at.cpu).or_default() += samples);
    let all = ran.values().sum::<u64>().max(1) as f64;
    let ran = ran.into_iter().map(|(cpu, samples)| (cpu, samples as f64 / all)).collect();
    StationFacts {
        others: others(profile, account, &traffic, &ran),
        traffic,
        ..facts(account, work, (task.pid, task.comm.clone(), task.container.clone()), layers, softirqs)
    }
}

/// What is none of the traffic's of CPUs that count with these parts of their time.
fn others(profile: &Profile, account: &Account, traffic: &BTreeSet<TaskKey>, parts: &BTreeMap<u16, f64>) -> f64 {
    let part = |at: &Station, samples: u64| parts.get(&at.cpu).copied().unwrap_or(0.0) * samples as f64;
    let known = account.cpu.tasks.iter().filter(|(task, _)| !threads::RECORDER.contains(&task.comm.as_str()));
    let all: f64 = known.flat_map(|(_, of)| &of.stations).map(|(at, samples)| part(at, *samples)).sum();
    let ours: f64 = samples_of(account, traffic).map(|(_, at, samples)| part(at, samples)).sum();
    let time = profile.meta.duration_ns.max(1) as f64;
    // Stolen time is not sampled.
    (all - ours).max(0.0) * account.cpu.period_ns as f64 / time + profile.meta.steal_share * parts.values().sum::<f64>()
}

/// Samples of the traffic: with the task, where they are of a task of it.
fn samples_of<'a>(
    account: &'a Account,
    traffic: &BTreeSet<TaskKey>,
) -> impl Iterator<Item = (&'a TaskKey, &'a Station, u64)> {
    let tasks = account.cpu.tasks.iter().filter(|(task, _)| !threads::RECORDER.contains(&task.comm.as_str()));
    tasks.flat_map(|(task, of)| {
        of.of_traffic(traffic.contains(task)).map(move |(station, samples)| (task, station, samples))
    })
}

/// The tasks of the traffic: those of the station that is given, or those with such names.
fn traffic(account: &Account, names: &BTreeSet<&str>, given: Option<&StationFacts>) -> BTreeSet<TaskKey> {
    let by_name = || account.cpu.tasks.keys().filter(|task| names.contains(&*task.comm)).cloned().collect();
    given.map_or_else(by_name, |station| station.traffic.clone())
}

/// Names of the tasks of the traffic, of two recordings that are compared.
fn names(accounts: [&Account; 2]) -> [BTreeSet<&str>; 2] {
    let cpus = accounts.map(|account| &account.cpu);
    cpus.map(|cpu| of_traffic(cpu, &cpus))
}

/// A station of all tasks of the traffic: one CPU, or all of them. What else ran there makes its utilisation smaller.
fn of_cpus(
    profile: &Profile,
    account: &Account,
    work: Work,
    extent: Extent,
    traffic: BTreeSet<TaskKey>,
) -> StationFacts {
    let mut layers: BTreeMap<Option<Layer>, u64> = BTreeMap::new();
    let mut softirqs = 0;
    for (_, station, samples) in samples_of(account, &traffic).filter(|(_, station, _)| extent.holds(station.cpu)) {
        *layers.entry(station.layer).or_default() += samples;
        softirqs += if matches!(station.context, Context::Softirq | Context::Ksoftirqd) { samples } else { 0 };
    }
    let cpus = account.cpu.numbers().into_iter().filter(|cpu| extent.holds(*cpu)).map(|cpu| (cpu, 1.0)).collect();
    let others = others(profile, account, &traffic, &cpus);
    StationFacts { extent, traffic, others, ..facts(account, work, (0, extent.name(), None), layers, softirqs) }
}

/// The CPUs that are full, and the traffic's part of each: its time, and the part of it that is not of its largest task.
fn full_cpus(account: &Account, side: &Side, names: &BTreeSet<&str>) -> BTreeMap<u16, (u64, f64)> {
    let traffic = traffic(account, names, None);
    let full = side.cpus.iter().filter(|(_, share)| *share > SATURATED).map(|(cpu, _)| *cpu);
    full.map(|cpu| {
        let mut tasks: BTreeMap<&TaskKey, u64> = BTreeMap::new();
        for (task, _, samples) in samples_of(account, &traffic).filter(|(_, station, _)| station.cpu == cpu) {
            *tasks.entry(task).or_default() += samples;
        }
        let (sum, most) = (tasks.values().sum::<u64>(), tasks.values().max().copied().unwrap_or(0));
        (cpu, (sum, (sum - most) as f64 / sum.max(1) as f64))
    })
    .collect()
}

/// What limits both: the machine where all CPUs of one are full of the traffic; a CPU where one is full and several tasks share
/// it; else a task.
fn extents(profiles: [&Profile; 2], accounts: [&Account; 2], sides: &[Side; 2]) -> [Extent; 2] {
    let names = names(accounts);
    let full = [0, 1].map(|index| full_cpus(accounts[index], &sides[index], &names[index]));
    let enough = |index: usize, samples: u64| {
        accounts[index].cpu.ns(samples) as f64 >= TRAFFIC * profiles[index].meta.duration_ns as f64
    };
    let machine = |index: usize| {
        let cpus = &full[index];
        !cpus.is_empty() && cpus.len() == sides[index].cpus.len() && cpus.values().all(|(sum, _)| enough(index, *sum))
    };
    if machine(0) || machine(1) {
        return [Extent::Machine; 2];
    }
    let shared = |index: usize| {
        let cpus = full[index].iter().filter(|(_, (sum, others))| enough(index, *sum) && *others >= SHARED);
        cpus.max_by_key(|(_, (sum, _))| *sum).map(|(cpu, _)| *cpu)
    };
    match [shared(0), shared(1)] {
        [Some(first), Some(second)] => [Extent::Cpu(first), Extent::Cpu(second)],
        _ => [Extent::Task; 2],
    }
}

/// A task that has less than this part of a CPU's time is not full.
const FULL: f64 = 0.9;

/// Whether a station of each of two profiles is full.
pub(super) fn is_full(profiles: [&Profile; 2], accounts: [&Account; 2], sides: &[Side; 2]) -> bool {
    let names = names(accounts);
    let task = |index: usize| {
        let most = candidates(accounts[index], &names[index]).first().map_or(0, |candidate| candidate.busy);
        accounts[index].cpu.ns(most) as f64 >= FULL * profiles[index].meta.duration_ns as f64
    };
    extents(profiles, accounts, sides) != [Extent::Task; 2] || (task(0) && task(1))
}

/// The stations of two profiles, those that are given where they are; with what is to be known of them.
pub(super) fn stations(
    profiles: [&Profile; 2],
    accounts: [&Account; 2],
    works: &[Work; 2],
    sides: &[Side; 2],
    given: [Option<&StationFacts>; 2],
) -> Result<([StationFacts; 2], Option<String>), Failure> {
    let extents = match given {
        [Some(first), Some(second)] => [first.extent, second.extent],
        _ => extents(profiles, accounts, sides),
    };
    let note = match extents[0] {
        Extent::Machine => {
            "every CPU is full of the traffic: the whole machine is the station, and its utilisation counts CPUs"
        }
        Extent::Cpu(_) => {
            "several tasks of the traffic share a CPU that is full: the CPU is the station, with what they took of it"
        }
        Extent::Task => {
            let stations = of_tasks(profiles, accounts, works, given)?;
            let [first, second] = &stations;
            let note = (first.name != second.name).then(|| {
                format!(
                    "the busiest station is {} in {} and {} in {}: the layers compare two different tasks",
                    first.name, sides[0].label, second.name, sides[1].label
                )
            });
            return Ok((stations, note));
        }
    };
    let names = names(accounts);
    let of = |index: usize| {
        let traffic = traffic(accounts[index], &names[index], given[index]);
        of_cpus(profiles[index], accounts[index], works[index], extents[index], traffic)
    };
    Ok(([of(0), of(1)], Some(note.into())))
}

/// The busiest task of each, or the ones that are given.
fn of_tasks(
    profiles: [&Profile; 2],
    accounts: [&Account; 2],
    works: &[Work; 2],
    given: [Option<&StationFacts>; 2],
) -> Result<[StationFacts; 2], Failure> {
    let names = names(accounts);
    let lists = [0, 1].map(|index| candidates(accounts[index], &names[index]));
    let same =
        |index: usize| lists[index].iter().find(|candidate| given[index].is_some_and(|given| candidate.is(given)));
    let (first, second) = same(0)
        .zip(same(1))
        .or_else(|| choose(&lists[0], &lists[1]))
        .ok_or_else(|| Failure::Untrusted("no task of the traffic was sampled: record again, longer".into()))?;
    let of = |index: usize, task| {
        let traffic = traffic(accounts[index], &names[index], given[index]);
        of_task(profiles[index], accounts[index], works[index], task, traffic)
    };
    Ok([of(0, first), of(1, second)])
}
