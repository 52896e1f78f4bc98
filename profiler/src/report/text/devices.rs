//! What devices do that journeys do not tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use netstrata_common::Layer;

use crate::{
    analysis::{Account, behind_xdp, passed},
    output::{count, wrapped},
    profile::Profile,
};

/// Devices whose XDP programs take packets, and kinds of devices of which nothing is known.
pub fn devices(out: &mut String, profile: &Profile, account: &Account) -> std::fmt::Result {
    let (programs, kinds) = (behind_xdp(profile, account), unknown_kinds(profile));
    let mut unseen: Vec<_> = passed(profile).into_iter().filter(|one| one.unseen() > 0).collect();
    unseen.sort_by_key(|one| std::cmp::Reverse(one.unseen()));
    if programs.is_empty() && kinds.is_empty() && unseen.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nDevices")?;
    for found in programs {
        let kept = if found.keeps_some() {
            "; its program dropped, sent back or redirected the others, which leave no packet to follow"
        } else {
            ""
        };
        let line = format!(
            "{} in {}: {} packets received, {} of them went on into the stack{kept}",
            found.device,
            profile.topology.namespace_name(found.netns),
            count(found.received),
            count(found.went_on.round() as u64),
        );
        out.push_str(&wrapped(&format!("  XDP ({}) at ", found.mode), 4, &line));
    }
    for one in unseen.iter().take(MOST) {
        let line = format!(
            "{} in {}: {} packets {}, {} of them on journeys: the others began where no probe is, or were lost from sight",
            one.device(profile),
            profile.topology.namespace_name(one.netns),
            count(one.counted),
            one.side.word(),
            count(one.journeys.round() as u64),
        );
        out.push_str(&wrapped("  begun unseen: ", 4, &line));
    }
    if unseen.len() > MOST {
        writeln!(out, "    and at {} other devices", unseen.len() - MOST)?;
    }
    for (kind, places) in kinds {
        let places: Vec<String> = places.into_iter().collect();
        let line = format!("{kind} ({}): what they do is in the layer `device`", places.join(", "));
        out.push_str(&wrapped("  devices of a kind that netstrata does not know: ", 4, &line));
    }
    Ok(())
}

/// So many devices are named whose packets began unseen.
const MOST: usize = 5;

/// Kinds of devices on the way of packets that no layer names, with the devices.
fn unknown_kinds(profile: &Profile) -> BTreeMap<&str, BTreeSet<String>> {
    let mut kinds: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for crossing in profile.paths.iter().flat_map(|path| &path.crossings) {
        let Some(device) = profile.topology.device(crossing.netns, crossing.ifindex) else { continue };
        if !device.kind.is_empty() && Layer::known_device(&device.kind).is_none() {
            let namespace = profile.topology.namespace_name(device.netns);
            kinds.entry(&device.kind).or_default().insert(format!("{} in {namespace}", device.name));
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use netstrata_common::Point;

    use super::*;
    use crate::{
        analysis::account,
        profile::{CrossingRecord, Device, DeviceCounters, PathRecord},
    };

    #[test]
    fn programs_and_unknown_kinds_are_told_and_nothing_else() {
        let mut profile = Profile::default();
        let mut out = String::new();
        devices(&mut out, &profile, &account(&profile)).expect("a string takes it");
        assert_eq!(out, "");
        let device = |ifindex, name: &str, kind: &str, xdp: &str| Device {
            netns: 1,
            ifindex,
            name: name.into(),
            kind: kind.into(),
            xdp: xdp.into(),
            ..Device::default()
        };
        profile.topology.devices = vec![device(2, "eth0", "veth", "driver"), device(3, "odd0", "seltsam", "")];
        profile.devices = vec![DeviceCounters { netns: 1, ifindex: 2, rx_packets: 7000, ..DeviceCounters::default() }];
        let crossings = vec![CrossingRecord { point: Point::Queue, netns: 1, ifindex: 3 }];
        profile.paths = vec![PathRecord { crossings, packets: 5, ..PathRecord::default() }];
        devices(&mut out, &profile, &account(&profile)).expect("a string takes it");
        let words: Vec<&str> = out.split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "Devices XDP (driver) at eth0 in netns:1: 7,000 packets received, 0 of them went on into the stack; its \
             program dropped, sent back or redirected the others, which leave no packet to follow devices of a kind that \
             netstrata does not know: seltsam (odd0 in netns:1): what they do is in the layer `device`"
        );
    }
}
