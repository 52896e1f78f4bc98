//! Modes inside one host whose packets are forwarded by the kernel: loopback, bridge.

use std::{net::Ipv4Addr, rc::Rc};

use crate::lab::{
    mesh,
    namespace::Namespace,
    network::{Network, Site},
};

/// Addresses of client and server in modes with one subnet.
pub const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 201, 0, 2), Ipv4Addr::new(10, 201, 0, 3)];
/// The two sides, by the names that devices and namespaces bear.
pub const SIDES: [&str; 2] = ["client", "server"];

/// Client and server share one namespace and its loopback.
pub fn loopback(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let host = Rc::new(site.namespace("host")?);
    Ok(Network::new(host.clone(), host, Ipv4Addr::LOCALHOST))
}

/// The server has a network of its own on a bridge, and the client joins that network.
pub fn container(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let middle = site.namespace("middle")?;
    middle.add_bridge("br0")?;
    let shared = site.namespace("server")?;
    join_bridge(&middle, "br0", &shared, "server")?;
    shared.add_address("eth0", &format!("{}/24", ADDRESSES[1]))?;
    let shared = Rc::new(shared);
    Ok(Network::new(shared.clone(), shared, Ipv4Addr::LOCALHOST).keep(middle))
}

/// A namespace for each side, joined by veth pairs to a bridge in a third.
pub fn bridge(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let middle = site.namespace("middle")?;
    middle.add_bridge("br0")?;
    let sides = [site.namespace("client")?, site.namespace("server")?];
    for ((namespace, side), address) in sides.iter().zip(SIDES).zip(ADDRESSES) {
        join_bridge(&middle, "br0", namespace, side)?;
        namespace.add_address("eth0", &format!("{address}/24"))?;
    }
    let [client, server] = sides;
    let mut network = Network::new(Rc::new(client), Rc::new(server), ADDRESSES[1]);
    for number in 3..=mesh::processes(site.args) {
        let side = format!("container-{number}");
        let namespace = site.namespace(&side)?;
        // As the numbers of client and server, 1 and 2, have .2 and .3.
        let address = Ipv4Addr::new(10, 201, 0, number as u8 + 1);
        join_bridge(&middle, "br0", &namespace, &number.to_string())?;
        namespace.add_address("eth0", &format!("{address}/24"))?;
        network.others.push((Rc::new(namespace), address.into()));
    }
    Ok(network.keep(middle))
}

/// Joins `namespace` by a veth pair, `eth0` inside and `veth-SIDE` at the bridge.
pub fn join_bridge(middle: &Namespace, bridge: &str, namespace: &Namespace, side: &str) -> anyhow::Result<()> {
    let port = format!("veth-{side}");
    middle.add_veth(&port, namespace, "eth0")?;
    middle.ip(&["link", "set", &port, "master", bridge])
}
