//! Lists added whose rows have a key.

use std::collections::BTreeMap;

use netstrata_common::Loss;

use super::MergeError;
use crate::profile::{
    Container, Device, DeviceCounters, DropRecord, HookRecord, JourneyRecord, Namespace, Profile, SoftirqRecord,
    Topology, TurnRecord, add_softirqs,
};

/// Whole journeys that a merged profile keeps, as many as a recording does.
pub(super) const MOST_JOURNEYS: usize = 2000;

/// Rows of one key become one, in the order of keys.
fn add_up<T, K: Ord>(rows: impl Iterator<Item = T>, key: fn(&T) -> K, add: fn(&mut T, T)) -> Vec<T> {
    let mut sums: BTreeMap<K, T> = BTreeMap::new();
    for row in rows {
        match sums.get_mut(&key(&row)) {
            Some(sum) => add(sum, row),
            None => drop(sums.insert(key(&row), row)),
        }
    }
    sums.into_values().collect()
}

pub(super) fn softirqs(profiles: &[Profile]) -> SoftirqRecord {
    let all = || profiles.iter().map(|profile| &profile.softirqs);
    let mut vectors = Vec::new();
    add_softirqs(&mut vectors, all().flat_map(|softirqs| softirqs.vectors.iter().cloned()));
    SoftirqRecord {
        observed_ns: all().map(|softirqs| softirqs.observed_ns).sum(),
        vectors,
        backlog_drops: all().map(|softirqs| softirqs.backlog_drops).sum(),
    }
}

pub(super) fn drops(profiles: &[Profile]) -> Vec<DropRecord> {
    let rows = profiles.iter().flat_map(|profile| profile.drops.iter().cloned());
    let key = |drop: &DropRecord| (drop.reason.clone(), drop.function.clone(), drop.netns, drop.ifindex);
    add_up(rows, key, |sum, more| sum.count += more.count)
}

pub(super) fn turnarounds(profiles: &[Profile]) -> Vec<TurnRecord> {
    let rows = profiles.iter().flat_map(|profile| profile.turnarounds.iter().cloned());
    add_up(rows, |turn| (turn.netns, turn.pid), |sum, more| sum.ns.merge(&more.ns))
}

pub(super) fn devices(profiles: &[Profile]) -> Vec<DeviceCounters> {
    let rows = profiles.iter().flat_map(|profile| profile.devices.iter().copied());
    let add = |sum: &mut DeviceCounters, more: DeviceCounters| {
        let DeviceCounters { netns: _, ifindex: _, rx_packets, rx_bytes, tx_packets, tx_bytes, rx_dropped, tx_dropped } =
            more;
        sum.rx_packets += rx_packets;
        sum.rx_bytes += rx_bytes;
        sum.tx_packets += tx_packets;
        sum.tx_bytes += tx_bytes;
        sum.rx_dropped += rx_dropped;
        sum.tx_dropped += tx_dropped;
    };
    add_up(rows, |device| (device.netns, device.ifindex), add)
}

/// With whole journeys that merging leaves out.
pub(super) fn lost(profiles: &[Profile], left_out: u64) -> BTreeMap<Loss, u64> {
    let mut sums = BTreeMap::new();
    let losses = profiles.iter().flat_map(|profile| &profile.lost).map(|(loss, count)| (*loss, *count));
    let losses = losses.chain(Some((Loss::JourneysNotKept, left_out)).filter(|_| left_out > 0));
    losses.for_each(|(loss, count)| *sums.entry(loss).or_default() += count);
    sums
}

pub(super) fn hooks(profiles: &[Profile]) -> Vec<HookRecord> {
    let mut hooks: Vec<HookRecord> = profiles.iter().flat_map(|profile| profile.hooks.iter().cloned()).collect();
    hooks.sort();
    hooks.dedup();
    hooks
}

/// Everything that existed in any of the recordings; of what differs in one thing, the last one in their order.
pub(super) fn topology(profiles: &[Profile]) -> Result<Topology, MergeError> {
    let all = || profiles.iter().map(|profile| &profile.topology);
    let namespaces = all().flat_map(|topology| topology.namespaces.iter().cloned());
    let mut namespaces = add_up(
        namespaces,
        |namespace| (namespace.inum, namespace.name.clone(), namespace.origin.clone()),
        |sum: &mut Namespace, more| union(&mut sum.pids, more.pids),
    );
    namespaces.iter_mut().for_each(|namespace| union(&mut namespace.pids, []));
    if let Some(two) = namespaces.windows(2).find(|two| two[0].inum == two[1].inum) {
        return Err(MergeError::OneNumber(two[0].name.clone(), two[1].name.clone()));
    }
    namespaces.sort_by_cached_key(|namespace| (namespace.origin != "host", namespace.name.clone(), namespace.inum));
    let containers = all().flat_map(|topology| topology.containers.iter().cloned());
    let mut containers = add_up(
        containers,
        |container| (container.name.clone(), container.id.clone()),
        |sum: &mut Container, mut more| {
            union(&mut more.pids, std::mem::take(&mut sum.pids));
            let pids = std::mem::take(&mut more.pids);
            *sum = Container { pids, ..std::mem::take(sum).max(more) };
        },
    );
    containers.iter_mut().for_each(|container| union(&mut container.pids, []));
    let devices = all().flat_map(|topology| topology.devices.iter().cloned());
    let devices = add_up(
        devices,
        |device| (device.netns, device.ifindex, device.name.clone(), device.kind.clone()),
        |sum: &mut Device, more| *sum = std::mem::take(sum).max(more),
    );
    let number = |device: &Device| (device.netns, device.ifindex);
    if let Some(two) = devices.windows(2).find(|two| number(&two[0]) == number(&two[1])) {
        return Err(MergeError::OneNumber(two[0].name.clone(), two[1].name.clone()));
    }
    Ok(Topology { namespaces, devices, containers })
}

fn union(list: &mut Vec<u32>, more: impl IntoIterator<Item = u32>) {
    list.extend(more);
    list.sort_unstable();
    list.dedup();
}

/// As many whole journeys as a profile has room for, and how many are left out: a choice by what they are, which is the same in
/// whatever order they come, and like one by chance.
pub(super) fn journeys(profiles: &mut [Profile]) -> (Vec<JourneyRecord>, u64) {
    let all = profiles.iter_mut().flat_map(|profile| std::mem::take(&mut profile.journeys));
    let lot = |journey: &JourneyRecord| {
        let times = std::iter::once(journey.start_ns).chain(journey.crossings.iter().map(|crossing| crossing.0));
        times.fold(1_u64, |lot, ns| (lot.rotate_left(32) ^ ns).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    };
    let mut drawn: Vec<(u64, JourneyRecord)> = all.map(|journey| (lot(&journey), journey)).collect();
    drawn.sort();
    let left_out = drawn.len().saturating_sub(MOST_JOURNEYS) as u64;
    drawn.truncate(MOST_JOURNEYS);
    let mut journeys: Vec<JourneyRecord> = drawn.into_iter().map(|(_, journey)| journey).collect();
    journeys.sort();
    (journeys, left_out)
}
