//! A recording written down by roles: namespaces, devices and processes get numbers that follow from what they are called, not
//! from the order in which the kernel made them, which is another one each time.
//!
//! Each recording by itself, so that the numbers do not depend on what it is merged with. Real numbers lie outside the ranges
//! of these: what bears no name, or shares it, keeps its own and is never taken for another thing. What stands for any of a kind
//! has one number everywhere.

use std::{cmp::Reverse, collections::BTreeMap, mem::take, ops::Range};

use crate::profile::{
    BatchRecord, CrossingRecord, PartRecord, PathRecord, Profile,
    fold::is_of_class,
    words::{Words, path_id},
};

/// Numbers of namespaces. The kernel's begin at 0xf000_0000.
const NAMESPACES: Range<u32> = 1..0xf000_0000;
/// Numbers of devices. Those of the kernel begin at 1 and are given in turn.
const DEVICES: Range<u32> = 0x4000_0000..u32::MAX;
/// Numbers of processes. Those of the kernel stay below 2²².
const PROCESSES: Range<u32> = 0x0080_0000..0x8000_0000;

/// Writes a recording down as a merged profile of one part. A merged one is written so already.
pub(super) fn write_down(profile: &mut Profile) {
    if !profile.meta.parts.is_empty() {
        return;
    }
    let roles = Roles::of(profile);
    let ids = roles.paths(&mut profile.paths);
    let id = |id: u64| ids.get(&id).copied().unwrap_or(id);
    for batch in &mut profile.batches {
        batch.rekey(id);
        // What has become one is joined like what follows each other.
        let mut written = BatchRecord::default();
        let mut turnarounds = take(&mut batch.turnarounds);
        for turns in &mut turnarounds {
            (turns.netns, turns.pid) = (roles.netns(turns.netns), roles.pid(turns.pid));
        }
        written.join(BatchRecord { turnarounds, ..BatchRecord::default() });
        (batch.turnarounds, batch.part) = (written.turnarounds, 0);
    }
    profile.journeys.iter_mut().for_each(|journey| (journey.path, journey.part) = (id(journey.path), 0));
    for turn in &mut profile.turnarounds {
        (turn.netns, turn.pid) = (roles.netns(turn.netns), roles.pid(turn.pid));
    }
    for drop in &mut profile.drops {
        (drop.netns, drop.ifindex) = roles.device(drop.netns, drop.ifindex);
    }
    for device in &mut profile.devices {
        (device.netns, device.ifindex) = roles.device(device.netns, device.ifindex);
    }
    profile.cpu.tasks.iter_mut().for_each(|task| task.pid = roles.pid(task.pid));
    let samples = profile.cpu.entries.iter_mut().chain(&mut profile.cpu.bursts);
    samples.for_each(|sample| sample.place = sample.place.map(|place| roles.crossing(place)));
    roles.topology(profile);
    let meta = &mut profile.meta;
    meta.joined = 0;
    meta.parts = vec![PartRecord {
        started_ns: meta.started_ns,
        began_unix_ns: meta.began_unix_ns,
        duration_ns: meta.duration_ns,
        recorder: meta.recorder.clone(),
        benchmark: meta.benchmark.clone(),
        steal_share: meta.steal_share,
        budget: profile.sampling.budget,
        rates: profile.sampling.rates.clone(),
        observed_ns: profile.sampling.observed_ns,
        samples: profile.cpu.samples,
        period_ns: profile.cpu.period_ns,
        observer: profile.observer.clone(),
    }];
}

/// The new numbers of what has a role; all else keeps its own.
struct Roles {
    netns: BTreeMap<u32, u32>,
    devices: BTreeMap<(u32, u32), u32>,
    pids: BTreeMap<u32, u32>,
}

impl Roles {
    fn of(profile: &Profile) -> Self {
        let netns = namespaces(profile);
        Self { devices: devices(profile, &netns), pids: processes(profile, &netns), netns }
    }

    fn netns(&self, inum: u32) -> u32 {
        self.netns.get(&inum).copied().unwrap_or(inum)
    }

    fn device(&self, netns: u32, ifindex: u32) -> (u32, u32) {
        (self.netns(netns), self.devices.get(&(netns, ifindex)).copied().unwrap_or(ifindex))
    }

    fn pid(&self, pid: u32) -> u32 {
        self.pids.get(&pid).copied().unwrap_or(pid)
    }

    fn crossing(&self, crossing: CrossingRecord) -> CrossingRecord {
        let (netns, ifindex) = self.device(crossing.netns, crossing.ifindex);
        CrossingRecord { netns, ifindex, ..crossing }
    }

    /// Paths by roles; which of their numbers became which.
    fn paths(&self, paths: &mut [PathRecord]) -> BTreeMap<u64, u64> {
        let mut ids = BTreeMap::new();
        for path in paths {
            path.crossings.iter_mut().for_each(|crossing| *crossing = self.crossing(*crossing));
            if let Some(folded) = &mut path.folded {
                folded.renumber(|(netns, ifindex)| self.device(netns, ifindex));
            }
            let id = path_id(path);
            ids.insert(std::mem::replace(&mut path.id, id), id);
        }
        ids
    }

    fn topology(&self, profile: &mut Profile) {
        let topology = &mut profile.topology;
        let pids = |pids: &mut Vec<u32>| pids.iter_mut().for_each(|pid| *pid = self.pid(*pid));
        for namespace in &mut topology.namespaces {
            namespace.inum = self.netns(namespace.inum);
            pids(&mut namespace.pids);
        }
        for container in &mut topology.containers {
            container.netns = self.netns(container.netns);
            pids(&mut container.pids);
        }
        for device in &mut topology.devices {
            let own = device.netns;
            device.master = device.master.map(|index| self.device(own, index).1);
            device.peer = device.peer.map(|(netns, index)| self.device(netns, index));
            device.lower = device.lower.map(|(netns, index)| self.device(netns, index));
            (device.netns, device.ifindex) = self.device(own, device.ifindex);
        }
    }
}

/// By name and origin; where several of a recording share them, the number tells them apart as ever.
fn namespaces(profile: &Profile) -> BTreeMap<u32, u32> {
    let own = |inum: u32| inum == 0 || is_of_class(inum);
    let all = || profile.topology.namespaces.iter().filter(|namespace| !own(namespace.inum));
    let mut called: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    all().for_each(|namespace| *called.entry((&namespace.name, &namespace.origin)).or_default() += 1);
    let mut numbers = BTreeMap::new();
    for namespace in all() {
        let (name, origin) = (namespace.name.as_str(), namespace.origin.as_str());
        let shared = called.get(&(name, origin)).is_some_and(|count| *count > 1);
        let mut words = Words::of("namespace").text(name).text(origin);
        if shared {
            words = words.number(namespace.inum.into());
        }
        numbers.entry(namespace.inum).or_insert_with(|| words.within(&NAMESPACES));
    }
    numbers
}

/// By name and by what decides what a span there means: its kind, and its master. A namespace has a name once at a time, so a
/// second device of all of these is the first one made anew.
fn devices(profile: &Profile, netns: &BTreeMap<u32, u32>) -> BTreeMap<(u32, u32), u32> {
    let topology = &profile.topology;
    let number = |device: &crate::profile::Device| {
        let master = device.master.and_then(|index| topology.device(device.netns, index));
        let netns = netns.get(&device.netns).copied().unwrap_or(device.netns);
        let words = Words::of("device").number(netns.into()).text(&device.name).text(&device.kind);
        words.text(master.map_or("", |master| &master.name)).within(&DEVICES)
    };
    let known = topology.devices.iter().filter(|device| device.ifindex != 0 && !is_of_class(device.netns));
    known.map(|device| ((device.netns, device.ifindex), number(device))).collect()
}

/// By the name of the thread that most samples met, its container, and the namespace that it answers in. A process that shares
/// all of these with another one has no role of its own.
fn processes(profile: &Profile, netns: &BTreeMap<u32, u32>) -> BTreeMap<u32, u32> {
    let mut samples: BTreeMap<u32, u64> = BTreeMap::new();
    let all = profile.cpu.entries.iter().chain(&profile.cpu.bursts);
    all.for_each(|sample| *samples.entry(sample.task).or_default() += sample.count);
    let mut names: BTreeMap<u32, BTreeMap<(&str, Option<&str>), u64>> = BTreeMap::new();
    for (task, at) in profile.cpu.tasks.iter().zip(0..) {
        let count = samples.get(&at).copied().unwrap_or(0);
        let name = (task.comm.as_str(), task.container.as_deref());
        *names.entry(task.pid).or_default().entry(name).or_default() += count;
    }
    let mut places: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for turn in &profile.turnarounds {
        places.entry(turn.pid).or_default().push(netns.get(&turn.netns).copied().unwrap_or(turn.netns));
        names.entry(turn.pid).or_default();
    }
    names.remove(&0);
    let mut roles: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for (pid, names) in &names {
        let name = names.iter().max_by_key(|(name, count)| (**count, Reverse(**name))).map(|(name, _)| *name);
        let place = places.get(pid).filter(|places| places.len() == 1).map(|places| places[0]);
        roles.entry((name, place)).or_default().push(*pid);
    }
    let alone = roles.into_iter().filter_map(|(role, pids)| Some((role, *pids.first()?)).filter(|_| pids.len() == 1));
    let numbered = alone.map(|((name, place), pid)| {
        let (comm, container) = name.map_or((None, None), |(comm, container)| (Some(comm), container));
        let words = Words::of("process").maybe(comm).maybe(container);
        (pid, words.number(place.map_or(0, u64::from)).within(&PROCESSES))
    });
    numbered.collect()
}
