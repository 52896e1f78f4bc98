//! What devices counted themselves, and what journeys tell of it.

use serde_json::{Value, json};

use crate::{
    analysis::{Account, BehindXdp, behind_xdp, transmitted},
    profile::Profile,
};

/// Devices that counted something.
pub fn devices(profile: &Profile, account: &Account) -> Vec<Value> {
    let programs = behind_xdp(profile, account);
    let sent = transmitted(profile);
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
            let sent = sent.iter().find(|sent| (sent.netns, sent.ifindex) == (counters.netns, counters.ifindex));
            if let Some(sent) = sent {
                row["tx_journeys"] = (sent.journeys.round() as u64).into();
                row["tx_unseen"] = sent.unseen().into();
            }
            let here = |found: &&BehindXdp| (found.netns, found.ifindex) == (counters.netns, counters.ifindex);
            if let Some(found) = programs.iter().find(here) {
                row["xdp"] = found.mode.as_str().into();
                row["went_on"] = (found.went_on.round() as u64).into();
            }
            row
        })
        .collect()
}
