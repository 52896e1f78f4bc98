//! What devices counted themselves, and what journeys tell of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    analysis::{Account, BehindXdp, Side, behind_xdp, passed},
    profile::Profile,
};

/// Devices that counted something.
pub fn devices(profile: &Profile, account: &Account) -> Vec<Value> {
    let programs = behind_xdp(profile, account);
    let programs: BTreeMap<_, BehindXdp> =
        programs.into_iter().map(|found| ((found.netns, found.ifindex), found)).collect();
    let sides = [("tx", Side::Transmitted), ("rx", Side::Received)].map(|(name, side)| {
        let all = passed(profile, side).into_iter().map(|one| ((one.netns, one.ifindex), one));
        (name, all.collect::<BTreeMap<_, _>>())
    });
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
            for (name, all) in &sides {
                if let Some(one) = all.get(&place) {
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
