//! Two hosts with one subnet stretched over both: on each a bridge, whose ports are the container and a tunnel.

use super::{
    hosts::{Hosts, WIRE},
    local,
};
use crate::lab::network::{Network, Site};

/// Bytes of outer headers: Ethernet 14, VXLAN or Geneve 8, UDP 8, IPv4 20.
const OVERHEAD: u32 = 50;

/// A VXLAN between the hosts, as Docker's overlay networks and Flannel use it.
pub fn vxlan(site: &mut Site<'_>) -> anyhow::Result<Network> {
    overlay(site, "vxlan0", "vxlan", &["dstport", "4789", "dev", WIRE])
}

/// A Geneve tunnel between the hosts, as OVN uses it.
pub fn geneve(site: &mut Site<'_>) -> anyhow::Result<Network> {
    overlay(site, "geneve0", "geneve", &["dstport", "6081"])
}

fn overlay(site: &mut Site<'_>, device: &str, kind: &str, more: &[&str]) -> anyhow::Result<Network> {
    let hosts = Hosts::new(site, local::ADDRESSES.map(|address| address.octets()))?;
    let mtu = hosts.inner_mtu(OVERHEAD).to_string();
    for ((host, other), side) in hosts.each().into_iter().zip(local::SIDES) {
        host.namespace.add_bridge("br0")?;
        let remote = other.address.to_string();
        let tunnel = ["link", "add", device, "mtu", &mtu, "type", kind, "id", "42", "remote", &remote];
        host.namespace.ip(&[&tunnel[..], more].concat())?;
        host.namespace.up(device)?;
        host.namespace.ip(&["link", "set", device, "master", "br0"])?;
        local::join_bridge(&host.namespace, "br0", &host.container, side)?;
        host.namespace.ip(&["link", "set", host.port, "mtu", &mtu])?;
        host.container.ip(&["link", "set", "eth0", "mtu", &mtu])?;
        host.container.add_address("eth0", &format!("{}/24", host.container_address))?;
    }
    hosts.finish(Vec::new())
}
