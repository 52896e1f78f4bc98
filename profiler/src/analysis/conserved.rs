//! Whether what devices transmitted and received is what journeys tell of: a packet that begins where no probe is (one of a packet
//! socket that bypasses the queue, of XDP, of a packet generator) leaves its mark in the device's own counter only.

use std::collections::BTreeMap;

use netstrata_common::{Edge, Loss, Point};

use super::spans::device_name;
use crate::profile::{CrossingRecord, DeviceCounters, PathRecord, Profile};

/// A direction of packets at a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It transmits.
    Transmitted,
    /// It receives.
    Received,
}

impl Side {
    /// Both, in the order in which they are told.
    pub const ALL: [Self; 2] = [Self::Transmitted, Self::Received];

    /// What a device did.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Transmitted => "transmitted",
            Self::Received => "received",
        }
    }

    fn counted(self, counters: &DeviceCounters) -> u64 {
        match self {
            Self::Transmitted => counters.tx_packets,
            Self::Received => counters.rx_packets,
        }
    }

    /// The direction in which a packet that crosses here passes the device, if it does.
    fn at(point: Point) -> Option<Self> {
        match point {
            Point::Xmit => Some(Self::Transmitted),
            Point::Gro | Point::Rx | Point::Receive => Some(Self::Received),
            _ => None,
        }
    }

    /// Whether devices of this kind count where journeys are seen.
    fn is_seen(self, kind: Option<&&str>) -> bool {
        match self {
            Self::Transmitted => true,
            Self::Received => kind.is_some_and(|kind| COUNT_RECEIVED.contains(kind)),
        }
    }
}

/// What passed a device in one direction, by its own counter and by journeys.
#[derive(Clone, Debug, PartialEq)]
pub struct Conserved {
    /// In which direction.
    pub side: Side,
    /// Inode of its namespace.
    pub netns: u32,
    /// Its index there.
    pub ifindex: u32,
    /// Packets that it counted.
    pub counted: u64,
    /// Packets of journeys that passed it, scaled by the time for which journeys were observed.
    pub journeys: f64,
    /// By how much these may be too few.
    doubt: f64,
}

impl Conserved {
    /// The device's name. Looked for only where it is told: a host may have ten thousand.
    pub fn device(&self, profile: &Profile) -> String {
        device_name(&profile.topology, CrossingRecord { point: Point::None, netns: self.netns, ifindex: self.ifindex })
    }

    /// Packets that began unseen, at least: what was counted, and is neither of journeys nor within what their number leaves open.
    pub fn unseen(&self) -> u64 {
        (self.counted as f64 - self.journeys - self.doubt).max(0.0) as u64
    }
}

/// Where journeys are observed in turns their number is scaled by time: traffic that is not steady is off by this factor.
const UNSTEADY: f64 = 4.0;
/// The deviation of a distance between two choices, of its mean: they are even between 1 and 2 N - 1.
const DEVIATION: f64 = 0.58;
/// Of what was counted before the probes were there, or after them.
const EDGES: f64 = 0.02;

/// Losses of packets that may have been transmitted.
const LOST: [Loss; 7] = [
    Loss::SlotBusy,
    Loss::PathsFull,
    Loss::MapBusy,
    Loss::CutByDetaching,
    Loss::InFlightAtEnd,
    Loss::ClonesLost,
    Loss::AddressReused,
];

/// Namespace and index of a device.
type Place = (u32, u32);

/// What passed devices that count it where journeys are seen: all that was transmitted, then all that was received, in the order of the
/// profile. Nothing where journeys were chosen by filters, or where paths were folded into classes, which know no device.
pub fn passed(profile: &Profile) -> Vec<Conserved> {
    let observed = profile.sampling.observed_ns as f64 / profile.meta.duration_ns.max(1) as f64;
    if !profile.meta.filters.is_empty() || profile.folded().0 > 0 || observed <= 0.0 {
        return Vec::new();
    }
    let scale = (1.0 / observed).max(1.0);
    let mut seen: BTreeMap<(Side, Place), (f64, u64)> = BTreeMap::new();
    let kinds = kinds(profile);
    for path in &profile.paths {
        for (passing, packets) in crossed(path, &kinds) {
            let at = seen.entry(passing).or_default();
            *at = (at.0 + profile.once(packets) * scale, at.1 + path.samples);
        }
    }
    let lost: u64 = LOST.iter().filter_map(|loss| profile.lost.get(loss)).sum();
    let rate = profile.sampling.packets as f64 / profile.sampling.followed.max(1) as f64;
    // Traffic that fell between the windows is seen by nobody: then they saw less of the softirqs than of the time.
    let missed = profile.softirqs_in_windows().map_or(1.0, |share| (observed / share.max(f64::MIN_POSITIVE)).max(1.0));
    let at_device = |side: Side, counters: &DeviceCounters| {
        let (place, counted) = ((counters.netns, counters.ifindex), side.counted(counters));
        if counted == 0 || !side.is_seen(kinds.get(&place)) {
            return None;
        }
        let (journeys, samples) = seen.get(&(side, place)).copied().unwrap_or_default();
        let unsteady = if scale > 1.01 { counted as f64 * (1.0 - 1.0 / (UNSTEADY * missed)) } else { 0.0 };
        let drawn = 3.0 * (DEVIATION * journeys / (samples as f64).sqrt().max(1.0)).max(rate);
        // A device counts as received what it drops before anybody sees it there.
        let dropped = if side == Side::Received { counters.rx_dropped as f64 } else { 0.0 };
        Some(Conserved {
            side,
            netns: place.0,
            ifindex: place.1,
            counted,
            journeys,
            doubt: unsteady + drawn + EDGES * counted as f64 + lost as f64 * scale + dropped,
        })
    };
    let of_side = |side| profile.devices.iter().filter_map(move |counters| at_device(side, counters));
    Side::ALL.into_iter().flat_map(of_side).collect()
}

/// The device and direction with the most packets that began unseen.
pub fn most_unseen(profile: &Profile) -> Option<Conserved> {
    passed(profile).into_iter().max_by_key(Conserved::unseen).filter(|worst| worst.unseen() > 0)
}

/// Kinds of devices that count an skb as one packet, however many segments it is to become.
const COUNT_SKBS: [&str; 15] = [
    "loopback", "veth", "netkit", "bridge", "vxlan", "geneve", "gre", "gretap", "ipip", "macvlan", "ipvlan", "vlan",
    "dummy", "ifb", "tun",
];

/// Kinds of devices whose receive counter goes up where journeys are seen, once for each packet. Others count elsewhere (a VLAN, a
/// macvlan take a packet over from the device below without a probe), for others (a bond its ports), or as their driver likes.
const COUNT_RECEIVED: [&str; 5] = ["loopback", "veth", "bridge", "vxlan", "tun"];

/// Kinds of devices by place; of those with an XDP program none: it may take packets, send others, and count frames.
fn kinds(profile: &Profile) -> BTreeMap<Place, &str> {
    let plain = profile.topology.devices.iter().filter(|device| device.xdp.is_empty());
    plain.map(|device| ((device.netns, device.ifindex), device.kind.as_str())).collect()
}

/// Packets of a path by the devices that they passed. Some devices count segments, and once a packet was cut or joined it is not
/// known what there was of it: then the largest number that it may be is taken.
fn crossed(path: &PathRecord, kinds: &BTreeMap<Place, &str>) -> BTreeMap<(Side, Place), u64> {
    let changes = |edge: Edge| !matches!(edge, Edge::Same | Edge::Handed | Edge::Clone | Edge::Rebuild);
    let changed = path.edges.iter().filter(|(_, edge)| changes(*edge)).map(|(at, _)| usize::from(*at)).min();
    let is_cut = path.edges.iter().any(|(_, edge)| matches!(edge, Edge::Segment | Edge::Fragment));
    let at_end = if is_cut { path.skbs_at_end_micro / 1_000_000 } else { 0 };
    let most = path.packets.max(path.wire_packets).max(at_end);
    // What a clone was made of has its own journey.
    let own = path.edges.iter().filter(|(_, edge)| *edge == Edge::Clone).map(|(at, _)| usize::from(*at)).max();
    let mut found = BTreeMap::new();
    for (at, crossing) in path.crossings.iter().enumerate().skip(own.unwrap_or(0)) {
        let Some(side) = Side::at(crossing.point) else { continue };
        let place = (crossing.netns, crossing.ifindex);
        let counts_skbs = kinds.get(&place).is_some_and(|kind| COUNT_SKBS.contains(kind));
        let whole = counts_skbs && changed.is_none_or(|changed| at < changed);
        let packets = found.entry((side, place)).or_default();
        *packets = if whole { path.packets } else { most }.max(*packets);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use netstrata_common::Vector;

    use crate::profile::{Device, SoftirqVector};

    /// A device that counted so many, of which so many were followed, one in two.
    fn profile(counted: u64, followed: u64) -> Profile {
        let counters = DeviceCounters { netns: 1, ifindex: 2, tx_packets: counted, ..DeviceCounters::default() };
        let mut profile = Profile { devices: vec![counters], ..Profile::default() };
        profile.paths.push(PathRecord {
            crossings: vec![CrossingRecord { point: Point::Xmit, netns: 1, ifindex: 2 }],
            samples: followed,
            packets: 2 * followed,
            ..PathRecord::default()
        });
        (profile.meta.duration_ns, profile.sampling.observed_ns) = (1000, 1000);
        (profile.sampling.followed, profile.sampling.packets) = (followed, 2 * followed);
        profile
    }

    fn unseen(profile: &Profile) -> u64 {
        most_unseen(profile).map_or(0, |found| found.unseen())
    }

    #[test]
    fn what_a_device_counts_and_no_journey_tells_of_began_unseen() {
        assert_eq!(unseen(&profile(20_000, 10_000)), 0);
        // Choosing one in two by chance leaves 348 open, and 2 % are the edges'.
        assert_eq!(unseen(&profile(20_700, 10_000)), 0);
        assert!((8_900..9_300).contains(&unseen(&profile(30_000, 10_000))));
        // None of it is on any path.
        let mut other = profile(30_000, 10_000);
        other.devices[0].ifindex = 3;
        assert!(unseen(&other) > 29_000);
    }

    #[test]
    fn what_is_known_to_be_lost_or_was_not_observed_did_not_begin_unseen() {
        let mut some = profile(30_000, 10_000);
        some.lost.insert(Loss::SlotBusy, 10_000);
        assert_eq!(unseen(&some), 0);
        let mut turns = profile(70_000, 10_000);
        turns.sampling.observed_ns = 500;
        assert_eq!(unseen(&turns), 0, "no steady traffic");
        turns.devices[0].tx_packets = 1_000_000;
        assert!(unseen(&turns) > 150_000);
        // Half of the time had half of the softirqs, or none: what there was lay between the windows.
        let vector = SoftirqVector { vector: Vector::NetRx, total: 1000, ..SoftirqVector::default() };
        turns.softirqs.vectors = vec![vector];
        turns.sampling.looks = vec![(500, 500)];
        assert!(unseen(&turns) > 150_000);
        turns.sampling.looks = vec![(500, 0)];
        assert_eq!(unseen(&turns), 0);
        turns.sampling.looks = vec![(500, 500)];
        turns.meta.filters = vec!["--flow tcp".into()];
        assert_eq!(unseen(&turns), 0, "only what filters let pass is followed");
    }

    #[test]
    fn what_a_clone_was_made_of_counts_once() {
        let mut flooded = profile(20_000, 10_000);
        let mut clone = flooded.paths[0].clone();
        clone.crossings.push(CrossingRecord { point: Point::Xmit, netns: 1, ifindex: 3 });
        clone.edges = vec![(1, Edge::Clone)];
        flooded.paths.push(clone);
        flooded.devices.push(DeviceCounters { ifindex: 3, ..flooded.devices[0] });
        let all: Vec<f64> = passed(&flooded).iter().map(|sent| sent.journeys).collect();
        assert_eq!(all, [20_000.0, 20_000.0]);
        flooded.devices[0].tx_packets = 40_000;
        assert!(unseen(&flooded) > 18_000);
    }

    #[test]
    fn packets_that_are_cut_are_as_many_as_they_become() {
        let mut cut = profile(200_000, 10_000);
        cut.paths[0].wire_packets = 200_000;
        assert_eq!(unseen(&cut), 0);
        // A virtual device counts what is to be cut as one.
        let device = Device { netns: 1, ifindex: 2, kind: "veth".into(), ..Device::default() };
        cut.topology.devices.push(device);
        assert!(unseen(&cut) > 170_000);
        // But not what was cut before.
        cut.paths[0].edges = vec![(0, Edge::Segment)];
        assert_eq!(unseen(&cut), 0);
        cut.paths[0].edges = vec![(1, Edge::Segment)];
        assert!(unseen(&cut) > 170_000);
        // A program may send frames of its own.
        cut.topology.devices[0].xdp = "driver".into();
        assert_eq!(unseen(&cut), 0);
    }
    #[test]
    fn what_is_received_is_told_of_devices_that_count_where_journeys_are_seen() {
        let mut some = profile(0, 10_000);
        some.devices[0].rx_packets = 30_000;
        some.paths[0].crossings[0].point = Point::Receive;
        assert_eq!(unseen(&some), 0, "a device of no known kind");
        let kind = |kind: &str| Device { netns: 1, ifindex: 2, kind: kind.into(), ..Device::default() };
        some.topology.devices = vec![kind("macvlan")];
        assert_eq!(unseen(&some), 0);
        some.topology.devices = vec![kind("veth")];
        assert!((8_900..9_300).contains(&unseen(&some)));
        some.devices[0].rx_dropped = 10_000;
        assert_eq!(unseen(&some), 0, "dropped");
        some.devices[0].rx_dropped = 0;
        some.topology.devices[0].xdp = "driver".into();
        assert_eq!(unseen(&some), 0, "its program may have taken them");
    }
}
