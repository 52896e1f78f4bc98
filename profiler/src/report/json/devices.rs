//! What devices counted themselves, and what journeys tell of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    analysis::{Account, BehindXdp, Conserved, Side, behind_xdp, passed},
    profile::Profile,
};

/// Devices that counted something.
pub fn devices(profile: &Profile, account: &Account) -> Vec<Value> {
    let programs = behind_xdp(profile, account);
    let programs: BTreeMap<_, BehindXdp> =
        programs.into_iter().map(|found| ((found.netns, found.ifindex), found)).collect();
    let passed: BTreeMap<_, Conserved> =
        passed(profile).into_iter().map(|one| ((one.side, one.netns, one.ifindex), one)).collect();
    profile
        .devices
        .iter()
        .filter(|counters| counters.rx_packets + counters.tx_packets + counters.rx_dropped + counters.tx_dropped > 0)
        .map(|counters| {
            let device = profile.topology.device(counters.netns, counters.ifindex);
            let mut row = json!({
                "netns": profile.topology.namespace_name(counters.netns),
                "device": device.map_or_else(|| format!("if{}", counters.ifindex), |device| device.name.clone()),
                "kind": device.map_or("", |device| &device.kind),
                "rx_packets": counters.rx_packets,
                "rx_bytes": counters.rx_bytes,
                "tx_packets": counters.tx_packets,
                "tx_bytes": counters.tx_bytes,
                "rx_dropped": counters.rx_dropped,
                "tx_dropped": counters.tx_dropped,
            });
            let place = (counters.netns, counters.ifindex);
            for (name, side) in [("tx", Side::Transmitted), ("rx", Side::Received)] {
                if let Some(one) = passed.get(&(side, place.0, place.1)) {
                    row[format!("{name}_journeys")] = (one.journeys.round() as u64).into();
                    row[format!("{name}_unseen")] = one.unseen().into();
                }
            }
            if let Some(found) = programs.get(&place) {
                row["xdp"] = found.mode.as_str().into();
                row["went_on"] = (found.went_on.round() as u64).into();
            }
            row
        })
        .collect()
}
