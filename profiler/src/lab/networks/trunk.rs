//! Modes whose devices stand above or beside others: a VLAN of a wire as a bridge's port, pairs of netkit devices.

use std::{net::SocketAddrV4, rc::Rc};

use super::{
    hosts::{Hosts, WIRE},
    local,
};
use crate::lab::{
    namespace::Namespace,
    network::{Network, Site, wait_reachable},
};

/// The VLAN's number and its device.
const VLAN: &str = "10";
const VLAN_DEVICE: &str = "wire0.10";

/// Two hosts with one subnet over both, whose frames are tagged on the wire.
pub fn vlan_bridge(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let hosts = Hosts::new(site, local::ADDRESSES.map(|address| address.octets()))?;
    // A veth carries the four bytes of a tag beside its MTU, as network cards do.
    let mtu = hosts.mtu.to_string();
    for (host, side) in hosts.both.iter().zip(local::SIDES) {
        host.namespace.add_bridge("br0")?;
        let tagged = ["link", "add", "link", WIRE, "name", VLAN_DEVICE, "mtu", &mtu, "type", "vlan", "id", VLAN];
        host.namespace.ip(&tagged)?;
        host.namespace.up(VLAN_DEVICE)?;
        host.namespace.ip(&["link", "set", VLAN_DEVICE, "master", "br0"])?;
        local::join_bridge(&host.namespace, "br0", &host.container, side)?;
        host.namespace.ip(&["link", "set", host.port, "mtu", &mtu])?;
        host.container.ip(&["link", "set", "eth0", "mtu", &mtu])?;
        host.container.add_address("eth0", &format!("{}/24", host.container_address))?;
    }
    hosts.finish(Vec::new())
}

/// Containers joined by netkit pairs, which carry IP without Ethernet, to a node that routes.
pub fn netkit(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let node = site.namespace("node")?;
    node.forward()?;
    let sides = [site.namespace("client")?, site.namespace("server")?];
    for ((container, side), address) in sides.iter().zip(local::SIDES).zip(local::ADDRESSES) {
        join_netkit(&node, container, &format!("nk-{side}"))?;
        container.add_address("eth0", &format!("{address}/32"))?;
        container.ip(&["route", "add", "default", "dev", "eth0"])?;
        node.ip(&["route", "add", &format!("{address}/32"), "dev", &format!("nk-{side}")])?;
    }
    let [client, server] = sides;
    wait_reachable(&client, SocketAddrV4::new(local::ADDRESSES[1], 1))?;
    Ok(Network::new(Rc::new(client), Rc::new(server), local::ADDRESSES[1]).keep(node))
}

/// `eth0` inside and `port` at the node. iproute2 before 6.7 knows no words for the other end: the kernel names it, and the
/// first of a namespace is `nk0`.
fn join_netkit(node: &Namespace, container: &Namespace, port: &str) -> anyhow::Result<()> {
    node.ip(&["link", "add", port, "type", "netkit"])?;
    node.ip(&["link", "set", "nk0", "netns", container.name(), "name", "eth0"])?;
    node.up(port)?;
    container.up("eth0")
}
