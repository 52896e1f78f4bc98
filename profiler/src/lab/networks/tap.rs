//! Modes with an emulated guest: the client runs in the guest, the server in a namespace of its host.

use std::{rc::Rc, time::Duration};

use super::{
    local::{ADDRESSES, join_bridge},
    ovs::Switch,
};
use crate::{
    host::{emulated, process::Process},
    lab::{
        cleanup::Lab,
        guest::Guest,
        namespace::Namespace,
        network::{Network, Place, Site},
    },
};

/// The guest's network card, as its host sees it.
const TAP: &str = "tap0";

impl Place for Guest {
    fn spawn(&self, lab: &Lab, words: &[String]) -> anyhow::Result<Process> {
        Process::spawn(self.exec(words)?, None, libc::SIGKILL, Some(&lab.children()))
    }

    fn inside(&self, _child: u32) -> u32 {
        self.id()
    }

    fn patience(&self) -> Duration {
        // Two emulated processors, one within the other, start a program in half a minute.
        Duration::from_secs(if emulated::inside().is_some() { 120 } else { 10 })
    }

    fn sweep(&self) {
        Guest::sweep(self);
    }
}

/// The guest's tap device and a veth pair are ports of a Linux bridge.
pub fn bridge(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let node = site.namespace("node")?;
    let server = site.namespace("server")?;
    node.add_bridge("br0")?;
    join_bridge(&node, "br0", &server, "server")?;
    add_tap(&node)?;
    node.ip(&["link", "set", TAP, "master", "br0"])?;
    Ok(start(site, &node, server)?.keep(node))
}

/// The guest's tap device and a veth pair are ports of Open vSwitch.
pub fn ovs(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let node = site.namespace("node")?;
    let server = site.namespace("server")?;
    let switch = Switch::start(site.lab, &node)?;
    node.add_veth("veth-server", &server, "eth0")?;
    add_tap(&node)?;
    for (port, number) in [TAP, "veth-server"].into_iter().zip(1..) {
        switch.add_port(port, number)?;
    }
    Ok(start(site, &node, server)?.keep(switch).keep(node))
}

fn add_tap(node: &Namespace) -> anyhow::Result<()> {
    // The header lets whole segments through, as between any guest and its host.
    node.ip(&["tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr"])?;
    node.up(TAP)
}

/// Boots the guest once the way between it and the server is there.
fn start(site: &Site<'_>, node: &Namespace, server: Namespace) -> anyhow::Result<Network> {
    let [client, address] = ADDRESSES;
    server.add_address("eth0", &format!("{address}/24"))?;
    let guest = Guest::start(site.lab, node, TAP, &format!("{client}/24"))?;
    Ok(Network::new(Rc::new(guest), Rc::new(server), address))
}
