//! Paths beyond a budget, folded into classes: the same points in the same order, and instead of each device and namespace any
//! of its kind.
//!
//! A class is an ordinary path, so that every reader takes it as one. Its namespaces and devices stand in the topology under
//! numbers that no kernel gives. What a span means follows from the kinds of devices, from their masters, and from which
//! of them are the same: a class keeps all three, so its spans are of the same layers as those of its paths.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};

use super::{
    CrossingRecord, Device, Namespace, PathRecord, Profile, Topology,
    merge::paths::add,
    words::{Words, path_id},
};

/// Paths that a profile keeps for themselves.
pub const MOST_PATHS: usize = 1000;

/// Numbers of namespaces from here on stand for any of a role. The kernel's begin at 0xf000_0000 and are given in turn.
const CLASSES: u32 = 0xffff_0000;
/// Numbers of devices from here on, in such a namespace, stand for any of a kind.
const KINDS: std::ops::Range<u32> = 0x4000_0000..0x8000_0000;
/// From here on, for one that the topology does not know.
const UNKNOWN: u32 = 0x8000_0000;
const ORIGIN: &str = "folded";

/// Whether a namespace stands for any of its role.
pub fn is_of_class(netns: u32) -> bool {
    netns >= CLASSES
}

/// What a class stands for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Folded {
    /// How many paths; of several recordings, those of each.
    pub paths: u64,
    /// Packets by the device on which they began, as [`PathRecord::begun`] tells them.
    pub begun: Vec<((u32, u32), u64)>,
}

impl Folded {
    fn of(path: &PathRecord) -> Self {
        Self { paths: 1, begun: path.begun().into_iter().collect() }
    }

    /// Adds those of another class, or of another recording.
    pub(super) fn add(&mut self, more: Self) {
        self.paths += more.paths;
        self.begun.extend(more.begun);
        self.renumber(|device| device);
    }

    /// Gives devices other numbers; those that get the same one are added.
    pub(super) fn renumber(&mut self, device: impl Fn((u32, u32)) -> (u32, u32)) {
        let mut sums: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for (at, packets) in std::mem::take(&mut self.begun) {
            *sums.entry(device(at)).or_default() += packets;
        }
        self.begun = sums.into_iter().collect();
    }
}

/// What a namespace is to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Host,
    Container,
    Other,
    Unknown,
}

impl Role {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Host, "host"),
        (Self::Container, "container"),
        (Self::Other, "namespace"),
        (Self::Unknown, "unknown namespace"),
    ];

    fn of(netns: u32, topology: &Topology) -> Self {
        if is_of_class(netns) {
            return Self::ALL[(netns >> 8 & 3) as usize].0;
        }
        let origin = topology.namespaces.iter().find(|namespace| namespace.inum == netns);
        match origin.map(|namespace| namespace.origin.as_str()) {
            _ if netns == 0 => Self::Unknown,
            Some("host") => Self::Host,
            Some("container") => Self::Container,
            _ if topology.containers.iter().any(|container| container.netns == netns) => Self::Container,
            _ => Self::Other,
        }
    }

    /// The number of the one that a path meets after so many of the same role.
    fn number(self, after: usize) -> u32 {
        CLASSES | (self as u32) << 8 | after.min(0xff) as u32
    }

    fn name(self, after: usize) -> String {
        match (self, after) {
            (Self::Host, 0) => "host".into(),
            _ => any(Self::ALL[self as usize].1, after),
        }
    }
}

fn any(what: &str, after: usize) -> String {
    match after {
        0 => format!("any {what}"),
        1 => format!("another {what}"),
        _ => format!("{what} no. {}", after + 1),
    }
}

/// What decides what a place of a path means: whatever is alike in this is alike in a class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    role: Role,
    device: Option<(String, Option<String>)>,
}

impl Kind {
    /// Of a device of a namespace.
    pub fn of(netns: u32, ifindex: u32, topology: &Topology) -> Self {
        let device = topology.device(netns, ifindex).map(|device| {
            let master = device.master.and_then(|index| topology.device(netns, index));
            (device.kind.clone(), master.map(|master| master.kind.clone()))
        });
        Self { role: Role::of(netns, topology), device }
    }
}

/// The names of a path's namespaces and devices in its class: the first of its kind, the second one, and so on.
struct Names<'a> {
    topology: &'a Topology,
    devices_by_number: &'a BTreeMap<(u32, u32), usize>,
    namespaces: BTreeMap<u32, u32>,
    devices: BTreeMap<(u32, u32), u32>,
}

impl Names<'_> {
    fn netns(&mut self, netns: u32, made: &mut BTreeMap<u32, Namespace>) -> u32 {
        if is_of_class(netns) {
            return netns;
        }
        if let Some(number) = self.namespaces.get(&netns) {
            return *number;
        }
        let role = Role::of(netns, self.topology);
        let after = self.namespaces.values().filter(|number| **number >> 8 == role.number(0) >> 8).count();
        let inum = role.number(after);
        self.namespaces.insert(netns, inum);
        let namespace = || Namespace { inum, name: role.name(after), origin: ORIGIN.into(), ..Namespace::default() };
        made.entry(inum).or_insert_with(namespace);
        inum
    }

    fn device(&mut self, at: (u32, u32), of: u32, made: &mut BTreeMap<(u32, u32), Device>) -> u32 {
        if at.1 == 0 || is_of_class(at.0) {
            return at.1;
        }
        if let Some(number) = self.devices.get(&at) {
            return *number;
        }
        let Some(device) = self.devices_by_number.get(&at).and_then(|index| self.topology.devices.get(*index)) else {
            let known = self.devices.iter().filter(|(other, number)| other.0 == at.0 && **number >= UNKNOWN);
            let number = UNKNOWN + known.count() as u32;
            self.devices.insert(at, number);
            return number;
        };
        // A device is no port of itself.
        self.devices.insert(at, 0);
        let master =
            device.master.map(|index| (at.0, index)).filter(|master| self.devices_by_number.contains_key(master));
        let master = master.map(|master| self.device(master, of, made)).filter(|number| *number != 0);
        let master_kind = master.and_then(|number| made.get(&(of, number))).map(|master| master.kind.clone());
        let what = match master_kind {
            Some(switch) if device.kind == "veth" => format!("{switch} port"),
            Some(switch) => format!("{} at a {switch}", device.kind),
            None => device.kind.clone(),
        };
        let mine = |after: usize| {
            let words = Words::of("any device").text(&device.kind).number(master.map_or(0, u64::from));
            words.number(after as u64).within(&KINDS)
        };
        let taken: BTreeSet<u32> =
            self.devices.iter().filter(|(other, _)| other.0 == at.0).map(|(_, number)| *number).collect();
        let after = (0..).find(|after| !taken.contains(&mine(*after))).unwrap_or_default();
        let number = mine(after);
        self.devices.insert(at, number);
        made.entry((of, number)).or_insert_with(|| Device {
            netns: of,
            ifindex: number,
            name: any(&what, after),
            kind: device.kind.clone(),
            master,
            ..Device::default()
        });
        number
    }
}

impl Profile {
    /// Keeps so many paths, those that took the longest together, and folds the others. Sums stay what they are, in all
    /// figures and each layer's.
    pub fn fold(&mut self, budget: usize) {
        // Copies first: a flood of one packet is a path for each port, and they count no packets.
        let mut order: Vec<(bool, Reverse<u64>, u64)> = self
            .paths
            .iter()
            .filter(|path| path.folded.is_none())
            .map(|path| (path.is_clone(), Reverse(path.end_to_end.sum), path.id))
            .collect();
        if order.len() <= budget {
            return;
        }
        order.sort_unstable();
        let beyond: BTreeSet<u64> = order.split_off(budget).into_iter().map(|(_, _, id)| id).collect();
        self.mark_later_parts();
        let by_number: BTreeMap<(u32, u32), usize> = (0..self.topology.devices.len())
            .rev()
            .map(|index| (&self.topology.devices[index], index))
            .map(|(device, index)| ((device.netns, device.ifindex), index))
            .collect();
        let (mut namespaces, mut devices) = (BTreeMap::new(), BTreeMap::new());
        let (mut classes, mut ids) = (BTreeMap::new(), BTreeMap::new());
        let (rest, mut kept): (Vec<PathRecord>, Vec<PathRecord>) = std::mem::take(&mut self.paths)
            .into_iter()
            .partition(|path| beyond.contains(&path.id) || path.folded.is_some());
        for mut path in rest {
            if path.folded.is_none() {
                path.folded = Some(Folded::of(&path));
                let mut names = Names {
                    topology: &self.topology,
                    devices_by_number: &by_number,
                    namespaces: BTreeMap::new(),
                    devices: BTreeMap::new(),
                };
                for crossing in &mut path.crossings {
                    let CrossingRecord { netns, ifindex, .. } = *crossing;
                    crossing.netns = names.netns(netns, &mut namespaces);
                    crossing.ifindex = names.device((netns, ifindex), crossing.netns, &mut devices);
                }
                let id = path_id(&path);
                ids.insert(std::mem::replace(&mut path.id, id), id);
            }
            match classes.get_mut(&path.id) {
                Some(class) => add(class, path),
                None => drop(classes.insert(path.id, path)),
            }
        }
        kept.extend(classes.into_values());
        kept.sort_by(|a, b| b.packets.cmp(&a.packets).then(a.id.cmp(&b.id)));
        self.paths = kept;
        let id = |id: u64| ids.get(&id).copied().unwrap_or(id);
        self.batches.iter_mut().for_each(|batch| batch.rekey(id));
        self.journeys.iter_mut().for_each(|journey| journey.path = id(journey.path));
        self.topology.add_folded(namespaces, devices);
    }

    /// Paths that were folded into classes, and those classes.
    pub fn folded(&self) -> (u64, usize) {
        let classes = || self.paths.iter().filter_map(|path| path.folded.as_ref());
        (classes().map(|folded| folded.paths).sum(), classes().count())
    }
}

impl Topology {
    fn add_folded(&mut self, mut namespaces: BTreeMap<u32, Namespace>, mut devices: BTreeMap<(u32, u32), Device>) {
        self.namespaces.iter().for_each(|known| drop(namespaces.remove(&known.inum)));
        self.devices.iter().for_each(|known| drop(devices.remove(&(known.netns, known.ifindex))));
        self.namespaces.extend(namespaces.into_values());
        self.devices.extend(devices.into_values());
    }
}
