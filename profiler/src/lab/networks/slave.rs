//! Devices that share one lower device: macvlan and ipvlan.

use std::rc::Rc;

use super::local;
use crate::lab::network::{Network, Site};

/// The device that both share.
pub const LOWER: &str = "uplink";

/// macvlan in bridge mode.
pub fn macvlan(site: &mut Site<'_>) -> anyhow::Result<Network> {
    shared(site, &["macvlan", "mode", "bridge"])
}

/// ipvlan that switches by hardware header.
pub fn ipvlan_l2(site: &mut Site<'_>) -> anyhow::Result<Network> {
    shared(site, &["ipvlan", "mode", "l2"])
}

/// ipvlan that routes by address.
pub fn ipvlan_l3(site: &mut Site<'_>) -> anyhow::Result<Network> {
    shared(site, &["ipvlan", "mode", "l3"])
}

fn shared(site: &mut Site<'_>, kind: &[&str]) -> anyhow::Result<Network> {
    let host = site.namespace("host")?;
    // The other end stands for the switch outside, to which nothing of this traffic goes.
    host.ip(&["link", "add", LOWER, "type", "veth", "peer", "name", "outside"])?;
    host.up(LOWER)?;
    host.up("outside")?;
    let sides = [site.namespace("client")?, site.namespace("server")?];
    for (namespace, address) in sides.iter().zip(local::ADDRESSES) {
        let made = ["link", "add", "link", LOWER, "name", "eth0", "netns", namespace.name(), "type"];
        host.ip(&[&made[..], kind].concat())?;
        namespace.up("eth0")?;
        namespace.add_address("eth0", &format!("{address}/24"))?;
    }
    let [client, server] = sides;
    Ok(Network::new(Rc::new(client), Rc::new(server), local::ADDRESSES[1]).keep(host))
}
