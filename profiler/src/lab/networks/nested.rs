//! Containers in containers: a parent network joins two parent containers, and a child network inside each of them
//! joins the inner container to it. Modes are called `nested-PARENT-CHILD`.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    rc::Rc,
};

use anyhow::{Context as _, bail};

use super::{
    local,
    ovs::{self, Switch},
};
use crate::lab::{
    namespace::Namespace,
    network::{Network, Site, wait_reachable},
};

const PARENT_BRIDGE: &str = "br-parent";
const CHILD_BRIDGE: &str = "br-child";

/// Builds `nested-PARENT-CHILD`.
pub fn nested(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let (parent, child) = site
        .mode
        .strip_prefix("nested-")
        .and_then(|rest| rest.split_once('-'))
        .with_context(|| format!("`{}` names no two networks", site.mode))?;
    match parent {
        "host" => on_host(site, child),
        "bridge" => {
            let middle = site.namespace("parent")?;
            middle.add_bridge(PARENT_BRIDGE)?;
            let containers = containers(site)?;
            for (container, side) in containers.iter().zip(local::SIDES) {
                local::join_bridge(&middle, PARENT_BRIDGE, container, side)?;
            }
            inner(site, child, containers).map(|network| network.keep(middle))
        }
        "ovs" => {
            let middle = site.namespace("parent")?;
            let switch = Switch::start(site.lab, &middle)?;
            let containers = containers(site)?;
            ovs::attach(&switch, &middle, &containers)?;
            inner(site, child, containers).map(|network| network.keep(switch).keep(middle))
        }
        other => bail!("there is no parent network `{other}`"),
    }
}

fn containers(site: &Site<'_>) -> anyhow::Result<[Namespace; 2]> {
    Ok([site.namespace("container-client")?, site.namespace("container-server")?])
}

/// Both parent containers use the host's network, so their children are all on one host.
fn on_host(site: &Site<'_>, child: &str) -> anyhow::Result<Network> {
    let host = site.namespace("host")?;
    if child == "host" {
        let host = Rc::new(host);
        return Ok(Network::new(host.clone(), host, Ipv4Addr::LOCALHOST));
    }
    host.add_bridge(CHILD_BRIDGE)?;
    let sides = [site.namespace("client")?, site.namespace("server")?];
    for (inner, side) in sides.iter().zip(local::SIDES) {
        local::join_bridge(&host, CHILD_BRIDGE, inner, side)?;
    }
    finish(sides).map(|network| network.keep(host))
}

/// Puts the inner containers into parent containers that are joined by `eth0`.
fn inner(site: &Site<'_>, child: &str, parents: [Namespace; 2]) -> anyhow::Result<Network> {
    if child == "host" {
        return finish(parents);
    }
    let sides = [site.namespace("client")?, site.namespace("server")?];
    for ((parent, inner), side) in parents.iter().zip(&sides).zip(local::SIDES) {
        parent.add_bridge(CHILD_BRIDGE)?;
        parent.ip(&["link", "set", "eth0", "master", CHILD_BRIDGE])?;
        local::join_bridge(parent, CHILD_BRIDGE, inner, &format!("inner-{}", &side[..1]))?;
    }
    finish(sides).map(|network| network.keep(parents))
}

fn finish(sides: [Namespace; 2]) -> anyhow::Result<Network> {
    for (namespace, address) in sides.iter().zip(local::ADDRESSES) {
        namespace.add_address("eth0", &format!("{address}/24"))?;
    }
    let [client, server] = sides;
    wait_reachable(&client, SocketAddrV4::new(local::ADDRESSES[1], 1))?;
    Ok(Network::new(Rc::new(client), Rc::new(server), local::ADDRESSES[1]))
}
