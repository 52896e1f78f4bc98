//! Everything ever seen during a watch: later data wins, nothing disappears.

use std::collections::BTreeMap;

use super::{Container, Device, DeviceCounters, Namespace, Snapshot, Topology};

/// The union of snapshots, and the counters since the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Union {
    pub topology: Topology,
    pub notes: Vec<String>,
    counters: BTreeMap<(u32, u32), Counter>,
    /// By namespace, packets that connection tracking had no room for: what there was at first, and last.
    untracked: BTreeMap<u32, (u64, u64)>,
    started: bool,
    /// Devices are counted no more.
    counted: bool,
}

/// Counters of one device.
#[derive(Clone, Copy, Debug)]
struct Counter {
    /// What the device had when the watch began, or 0 if it came later.
    first: DeviceCounters,
    last: DeviceCounters,
    /// Of earlier devices with the same namespace and index.
    before: DeviceCounters,
}

impl Union {
    /// Adds a later snapshot.
    pub fn add(&mut self, snapshot: &Snapshot) {
        snapshot.notes.iter().for_each(|note| self.add_note(note));
        let replaced: Vec<(u32, u32)> = snapshot
            .topology
            .devices
            .iter()
            .filter(|new| self.topology.device(new.netns, new.ifindex).is_some_and(|old| is_other(old, new)))
            .map(|new| (new.netns, new.ifindex))
            .collect();
        for stats in snapshot.stats.iter().filter(|_| !self.counted) {
            let key = (stats.netns, stats.ifindex);
            let zero = DeviceCounters { netns: key.0, ifindex: key.1, ..DeviceCounters::default() };
            let first = if self.started { zero } else { *stats };
            let counter = self.counters.entry(key).or_insert(Counter { first, last: *stats, before: zero });
            if replaced.contains(&key) || fell(&counter.last, stats) {
                counter.before = plus(&counter.before, &minus(&counter.last, &counter.first));
                counter.first = zero;
            }
            counter.last = *stats;
        }
        for (netns, count) in &snapshot.untracked {
            let first = if self.started { 0 } else { *count };
            let seen = self.untracked.entry(*netns).or_insert((first, *count));
            // Another namespace has the number now: it began anew.
            *seen = if *count < seen.1 { (0, *count) } else { (seen.0, *count) };
        }
        self.started = true;
        for namespace in &snapshot.topology.namespaces {
            self.add_namespace(namespace);
        }
        for device in &snapshot.topology.devices {
            self.add_device(device);
        }
        for container in &snapshot.topology.containers {
            self.add_container(container);
        }
        self.topology.devices.sort_by_key(|device| (device.netns, device.ifindex));
    }

    /// Adds what could not be seen. The same thing with other numbers is told once, as it was last.
    pub fn add_note(&mut self, note: &str) {
        let words = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "");
        match self.notes.iter_mut().find(|known| words(known) == words(note)) {
            Some(known) => note.clone_into(known),
            None => self.notes.push(note.to_owned()),
        }
    }

    /// What devices have counted so far is not of the watch; what they are is.
    pub fn count_from_now(&mut self) {
        for counter in self.counters.values_mut() {
            (counter.first, counter.before) = (counter.last, minus(&counter.last, &counter.last));
        }
        self.untracked.values_mut().for_each(|(first, last)| *first = *last);
    }

    /// What devices count from now on is not of the watch.
    pub fn count_no_more(&mut self) {
        self.counted = true;
    }

    /// Counters over the watch: last seen minus first seen.
    pub fn deltas(&self) -> Vec<DeviceCounters> {
        self.counters.values().map(|counter| plus(&counter.before, &minus(&counter.last, &counter.first))).collect()
    }

    /// By namespace, packets that connection tracking had no room for during the watch.
    pub fn untracked(&self) -> BTreeMap<u32, u64> {
        self.untracked.iter().map(|(netns, (first, last))| (*netns, last - first)).collect()
    }

    fn add_namespace(&mut self, new: &Namespace) {
        let Some(old) = self.topology.namespaces.iter_mut().find(|old| old.inum == new.inum) else {
            self.topology.namespaces.push(new.clone());
            return;
        };
        // A container that ends leaves its namespace to a bare process for a moment: the better name stays.
        if rank(&new.origin) >= rank(&old.origin) {
            old.name.clone_from(&new.name);
            old.origin.clone_from(&new.origin);
        }
        if !new.pids.is_empty() {
            old.pids.clone_from(&new.pids);
        }
    }

    fn add_device(&mut self, new: &Device) {
        let key = (new.netns, new.ifindex);
        let Some(old) = self.topology.devices.iter_mut().find(|old| (old.netns, old.ifindex) == key) else {
            self.topology.devices.push(new.clone());
            return;
        };
        let mut next = new.clone();
        if !is_other(old, new) {
            // The other end may vanish a moment before this one: what was known of it stays.
            keep_known(&mut next.peer, old.peer);
            keep_known(&mut next.lower, old.lower);
            // A program that was taken off had its packets until then.
            if next.xdp.is_empty() {
                next.xdp.clone_from(&old.xdp);
            }
        }
        *old = next;
    }

    fn add_container(&mut self, new: &Container) {
        let Some(old) = self.topology.containers.iter_mut().find(|old| old.id == new.id) else {
            self.topology.containers.push(new.clone());
            return;
        };
        let mut next = new.clone();
        if next.netns == 0 {
            next.netns = old.netns;
        }
        if next.cgroup == 0 {
            next.cgroup = old.cgroup;
        }
        // An engine that stops answering leaves the short id; the name it told stays.
        if next.id.starts_with(&next.name) {
            next.name.clone_from(&old.name);
            next.engine.clone_from(&old.engine);
        }
        *old = next;
    }
}

fn keep_known(new: &mut Option<(u32, u32)>, old: Option<(u32, u32)>) {
    if let (Some((0, index)), Some((place, same))) = (*new, old)
        && index == same
    {
        *new = Some((place, same));
    }
}

fn rank(origin: &str) -> u8 {
    match origin {
        "host" => 3,
        "container" => 2,
        "named" => 1,
        _ => 0,
    }
}

/// Another device at the same place: a deleted namespace's inode number is soon given out again.
fn is_other(old: &Device, new: &Device) -> bool {
    old.kind != new.kind || (old.name != new.name && old.mac != new.mac)
}

fn fell(old: &DeviceCounters, new: &DeviceCounters) -> bool {
    new.rx_packets < old.rx_packets
        || new.tx_packets < old.tx_packets
        || new.rx_bytes < old.rx_bytes
        || new.tx_bytes < old.tx_bytes
}

fn combine(a: &DeviceCounters, b: &DeviceCounters, with: impl Fn(u64, u64) -> u64) -> DeviceCounters {
    DeviceCounters {
        netns: a.netns,
        ifindex: a.ifindex,
        rx_packets: with(a.rx_packets, b.rx_packets),
        rx_bytes: with(a.rx_bytes, b.rx_bytes),
        tx_packets: with(a.tx_packets, b.tx_packets),
        tx_bytes: with(a.tx_bytes, b.tx_bytes),
        rx_dropped: with(a.rx_dropped, b.rx_dropped),
        tx_dropped: with(a.tx_dropped, b.tx_dropped),
    }
}

fn minus(a: &DeviceCounters, b: &DeviceCounters) -> DeviceCounters {
    combine(a, b, u64::saturating_sub)
}

fn plus(a: &DeviceCounters, b: &DeviceCounters) -> DeviceCounters {
    combine(a, b, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(devices: &[(u32, u32, &str, u64)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (netns, ifindex, name, packets) in devices {
            snapshot.topology.devices.push(Device {
                netns: *netns,
                ifindex: *ifindex,
                name: (*name).to_owned(),
                mac: (*name).to_owned(),
                kind: "veth".to_owned(),
                peer: Some((8, 1)),
                ..Device::default()
            });
            let stats =
                DeviceCounters { netns: *netns, ifindex: *ifindex, rx_packets: *packets, ..DeviceCounters::default() };
            snapshot.stats.push(stats);
        }
        snapshot
    }

    #[test]
    fn counters_are_last_minus_first_and_late_devices_count_from_zero() {
        let mut union = Union::default();
        union.add(&snapshot(&[(1, 1, "stays", 100), (1, 2, "goes", 10)]));
        union.add(&snapshot(&[(1, 1, "stays", 130), (1, 2, "goes", 15), (1, 3, "comes", 7)]));
        union.add(&snapshot(&[(1, 1, "stays", 150), (1, 3, "comes", 9)]));
        let packets: Vec<_> = union.deltas().iter().map(|delta| delta.rx_packets).collect();
        assert_eq!(packets, [50, 5, 9]);
        let names: Vec<_> = union.topology.devices.iter().map(|device| device.name.as_str()).collect();
        assert_eq!(names, ["stays", "goes", "comes"]);
    }

    #[test]
    fn devices_are_counted_from_a_moment_to_another() {
        let mut union = Union::default();
        union.add(&snapshot(&[(1, 1, "stays", 100)]));
        union.add(&snapshot(&[(1, 1, "stays", 900)]));
        union.count_from_now();
        union.add(&snapshot(&[(1, 1, "stays", 903), (1, 2, "comes", 4)]));
        union.count_no_more();
        union.add(&snapshot(&[(1, 1, "stays", 990), (1, 2, "comes", 99), (1, 3, "late", 9)]));
        let packets: Vec<_> = union.deltas().iter().map(|delta| delta.rx_packets).collect();
        assert_eq!(packets, [3, 4]);
        assert_eq!(union.topology.devices.len(), 3);
    }

    #[test]
    fn what_could_not_be_seen_is_told_once_with_its_last_numbers() {
        let mut union = Union::default();
        for notes in [&["1 of 9 processes", "no engine"][..], &["2 of 10 processes"], &["2 of 11 processes"]] {
            union
                .add(&Snapshot { notes: notes.iter().map(|note| (*note).to_owned()).collect(), ..Snapshot::default() });
        }
        assert_eq!(union.notes, ["2 of 11 processes", "no engine"]);
    }

    #[test]
    fn another_device_at_the_same_place_adds_to_the_count() {
        let mut union = Union::default();
        union.add(&snapshot(&[(1, 1, "a", 100)]));
        union.add(&snapshot(&[(1, 1, "a", 110)]));
        union.add(&snapshot(&[(1, 1, "b", 500)]));
        union.add(&snapshot(&[(1, 1, "b", 3)]));
        assert_eq!(union.deltas()[0].rx_packets, 10 + 500 + 3);
        assert_eq!(union.topology.devices[0].name, "b");
    }

    #[test]
    fn packets_without_room_in_connection_tracking_are_those_of_the_watch() {
        let mut union = Union::default();
        for untracked in [&[(1, 5)][..], &[(1, 7), (2, 4)], &[(1, 7), (2, 9)], &[(2, 3)]] {
            union.add(&Snapshot { untracked: untracked.iter().copied().collect(), ..Snapshot::default() });
        }
        assert_eq!(union.untracked(), BTreeMap::from([(1, 2), (2, 3)]));
    }

    #[test]
    fn better_names_and_known_peers_stay() {
        let mut first = snapshot(&[(1, 1, "a", 0)]);
        let mut later = first.clone();
        later.topology.devices[0].peer = Some((0, 1));
        later.topology.devices[0].mtu = 9000;
        let namespace =
            |name: &str, origin: &str| Namespace { inum: 1, name: name.into(), origin: origin.into(), pids: vec![] };
        first.topology.namespaces.push(namespace("web", "container"));
        later.topology.namespaces.push(namespace("pid 7 (x)", "process"));
        let container = |name: &str, engine: &str, netns| Container {
            id: "0123456789abcdef".into(),
            name: name.into(),
            engine: engine.into(),
            netns,
            ..Container::default()
        };
        first.topology.containers.push(container("web", "docker", 1));
        later.topology.containers.push(container("0123456789ab", "unknown", 0));
        let mut union = Union::default();
        union.add(&first);
        union.add(&later);
        assert_eq!(union.topology.namespaces[0].name, "web");
        assert_eq!(union.topology.devices[0].peer, Some((8, 1)));
        assert_eq!(union.topology.devices[0].mtu, 9000);
        assert_eq!(union.topology.containers, [container("web", "docker", 1)]);
    }
}
