//! What XDP programs leave of the packets that their devices receive. A packet that a program drops, sends back or
//! redirects has no skb, or loses it: no journey tells of it, and the device's own counter does.

use std::collections::{BTreeMap, BTreeSet};

use netstrata_common::{Point, Points};

use super::{spans::device_name, totals::Account};
use crate::profile::{CrossingRecord, Profile};

/// A device with an XDP program.
#[derive(Clone, Debug, PartialEq)]
pub struct BehindXdp {
    /// Inode of its namespace.
    pub netns: u32,
    /// Its index there.
    pub ifindex: u32,
    /// Its name.
    pub device: String,
    /// Who runs the program: "driver", "generic", "hardware", "several".
    pub mode: String,
    /// Packets that the device counted.
    pub received: u64,
    /// Of these, those that journeys saw go on into the stack, scaled to the whole recording.
    pub went_on: f64,
}

/// Less than this is what scaling does not know, or was on its way when counting began.
const NOTICED: f64 = 0.1;

impl BehindXdp {
    /// Whether packets are missing whose absence means something.
    pub fn keeps_some(&self) -> bool {
        self.went_on < (1.0 - NOTICED) * self.received as f64
    }
}

/// Devices with XDP programs that received something.
pub fn behind_xdp(profile: &Profile, account: &Account) -> Vec<BehindXdp> {
    let programs: BTreeMap<(u32, u32), &str> = profile
        .topology
        .devices
        .iter()
        .filter(|device| !device.xdp.is_empty())
        .map(|device| ((device.netns, device.ifindex), device.xdp.as_str()))
        .collect();
    let mut went_on: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for path in profile.paths.iter().filter(|_| !programs.is_empty()) {
        let came_in = path.crossings.iter().filter(|at| is_in_stack(at)).map(|at| (at.netns, at.ifindex));
        // A packet that comes to a device at several points came to it once.
        for place in came_in.collect::<BTreeSet<_>>() {
            *went_on.entry(place).or_default() += path.packets;
        }
    }
    let counted = profile.devices.iter().filter(|counters| counters.rx_packets > 0);
    let found = counted.filter_map(|counters| {
        let place = (counters.netns, counters.ifindex);
        let at = CrossingRecord { point: Point::None, netns: place.0, ifindex: place.1 };
        let seen = went_on.get(&place).copied().unwrap_or(0);
        Some(BehindXdp {
            netns: place.0,
            ifindex: place.1,
            device: device_name(&profile.topology, at),
            mode: (*programs.get(&place)?).to_owned(),
            received: counters.rx_packets,
            went_on: (profile.once(seen) * account.scale).min(counters.rx_packets as f64),
        })
    });
    found.collect()
}

/// Whether the stack has a packet there that a device received.
fn is_in_stack(at: &CrossingRecord) -> bool {
    at.point.is_in(Points::ARRIVING) || at.point.is_in(Points::RECEIVED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::account,
        profile::{Device, DeviceCounters, PathRecord},
    };

    #[test]
    fn what_a_program_keeps_is_what_the_device_counted_and_no_journey_saw() {
        let device = |ifindex, xdp: &str| Device { netns: 1, ifindex, xdp: xdp.into(), ..Device::default() };
        let counters =
            |ifindex, rx_packets| DeviceCounters { netns: 1, ifindex, rx_packets, ..DeviceCounters::default() };
        let crossing = |point, ifindex| CrossingRecord { point, netns: 1, ifindex };
        let mut profile = Profile::default();
        profile.topology.devices = vec![device(2, "driver"), device(3, ""), device(4, "generic")];
        profile.devices = vec![counters(2, 1000), counters(3, 1000), counters(4, 90)];
        let way = [(Point::Xmit, 3), (Point::Gro, 2), (Point::Receive, 2), (Point::Receive, 4)];
        profile.paths.push(PathRecord {
            crossings: way.iter().map(|&(point, ifindex)| crossing(point, ifindex)).collect(),
            packets: 90,
            ..PathRecord::default()
        });
        let scale = account(&profile);
        let found = behind_xdp(&profile, &Account { scale: 1.0, ..scale });
        let told: Vec<_> = found.iter().map(|one| (one.ifindex, one.received, one.went_on, one.keeps_some())).collect();
        assert_eq!(told, [(2, 1000, 90.0, true), (4, 90, 90.0, false)]);
    }
}
