//! Prints a topology: a tree for people, `netstrata.topology/1` for programs.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Container, Device, Namespace, Topology, Tunnel};
use crate::output::{json as json_text, printable};

/// The name of the JSON format.
const SCHEMA: &str = "netstrata.topology/1";

/// A tree: namespaces, their devices, ports under their master; then containers.
pub(super) fn text(topology: &Topology) -> String {
    let mut out = String::new();
    for (number, namespace) in topology.namespaces.iter().enumerate() {
        let gap = if number == 0 { "" } else { "\n" };
        let _ = writeln!(out, "{gap}{} ({}, netns {})", printable(&namespace.name), namespace.origin, namespace.inum);
        let devices: Vec<&Device> = topology.devices.iter().filter(|device| device.netns == namespace.inum).collect();
        let rows = tree(&devices);
        if rows.is_empty() {
            let _ = writeln!(out, "  (no devices seen)");
        }
        let widest = |width: fn(&(usize, &Device)) -> usize| rows.iter().map(width).max().unwrap_or(0);
        let names = widest(|(depth, device)| 2 * depth + device.name.chars().count());
        let kinds = widest(|(_, device)| device.kind.len());
        for (depth, device) in &rows {
            let name = format!("{}{}", "  ".repeat(*depth), printable(&device.name));
            let _ = writeln!(out, "  {name:names$}  {:kinds$}  {}", device.kind, details(topology, device));
        }
    }
    if !topology.containers.is_empty() {
        let _ = writeln!(out, "\ncontainers");
        let names = topology.containers.iter().map(|container| container.name.chars().count()).max().unwrap_or(0);
        let engines = topology.containers.iter().map(|container| container.engine.len()).max().unwrap_or(0);
        let short = |container: &Container| printable(&container.id).chars().take(12).collect::<String>();
        let ids = topology.containers.iter().map(|container| short(container).chars().count()).max().unwrap_or(0);
        for container in &topology.containers {
            let id = short(container);
            let place = match container.netns {
                0 => "unknown".to_owned(),
                netns => printable(&topology.namespace_name(netns)),
            };
            let name = printable(&container.name);
            let _ = writeln!(out, "  {name:names$}  {:engines$}  {id:ids$}  namespace {place}", container.engine);
        }
    }
    out
}

/// Devices with their depth: each below its master.
fn tree<'a>(devices: &[&'a Device]) -> Vec<(usize, &'a Device)> {
    fn add<'a>(rows: &mut Vec<(usize, &'a Device)>, devices: &[&'a Device], device: &'a Device, depth: usize) {
        rows.push((depth, device));
        // Masters stand on masters (a bond in a bridge) to a small depth; a circle would be an error of the data.
        if depth < 8 {
            for port in devices.iter().filter(|port| port.master == Some(device.ifindex)) {
                add(rows, devices, port, depth + 1);
            }
        }
    }
    let mut rows = Vec::new();
    let seen = |index: u32| devices.iter().any(|device| device.ifindex == index);
    for device in devices.iter().filter(|device| !device.master.is_some_and(seen)) {
        add(&mut rows, devices, device, 0);
    }
    rows
}

fn details(topology: &Topology, device: &Device) -> String {
    let mut words = vec![format!("mtu {}", device.mtu), if device.up { "up" } else { "down" }.to_owned()];
    if !device.qdisc.is_empty() {
        words.push(format!("qdisc {}", printable(&device.qdisc)));
    }
    if let Some(peer) = device.peer {
        words.push(format!("peer {}", place(topology, peer)));
    }
    if let Some(lower) = device.lower {
        words.push(format!("on {}", place(topology, lower)));
    }
    if let Some(tunnel) = &device.tunnel {
        words.extend(tunnel_words(tunnel));
    }
    words.extend(device.addresses.iter().cloned());
    words.join("  ")
}

fn tunnel_words(tunnel: &Tunnel) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(tunnel.id.map(|id| format!("id {id}")));
    words.extend(tunnel.local.as_ref().map(|address| format!("local {address}")));
    words.extend(tunnel.remote.as_ref().map(|address| format!("remote {address}")));
    words.extend(tunnel.port.map(|port| format!("port {port}")));
    words
}

/// `name@namespace` of a device, as far as they are known.
fn place(topology: &Topology, (netns, ifindex): (u32, u32)) -> String {
    let name = topology.device(netns, ifindex).map_or_else(|| format!("if{ifindex}"), |device| printable(&device.name));
    let namespace = if netns == 0 { "unknown".to_owned() } else { printable(&topology.namespace_name(netns)) };
    format!("{name}@{namespace}")
}

/// The document, its schema first.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'a str,
    namespaces: &'a [Namespace],
    devices: Vec<Value>,
    containers: Vec<Value>,
}

/// The model with names beside numbers.
pub(super) fn json(topology: &Topology) -> serde_json::Result<String> {
    let devices: Vec<Value> = topology.devices.iter().map(|device| device_json(topology, device)).collect();
    let containers: Vec<Value> = topology
        .containers
        .iter()
        .map(|container| {
            json!({
                "id": container.id,
                "name": container.name,
                "engine": container.engine,
                "netns": container.netns,
                "namespace": namespace_json(topology, container.netns),
                "pids": container.pids,
                "cgroup": container.cgroup,
            })
        })
        .collect();
    let document = Document { schema: SCHEMA, namespaces: &topology.namespaces, devices, containers };
    serde_json::to_string_pretty(&document).map(|text| json_text(&text))
}

fn device_json(topology: &Topology, device: &Device) -> Value {
    let end = |place: Option<(u32, u32)>| {
        place.map(|(netns, ifindex)| {
            json!({
                "netns": netns,
                "namespace": namespace_json(topology, netns),
                "ifindex": ifindex,
                "name": topology.device(netns, ifindex).map(|device| &device.name),
            })
        })
    };
    json!({
        "netns": device.netns,
        "namespace": namespace_json(topology, device.netns),
        "ifindex": device.ifindex,
        "name": device.name,
        "kind": device.kind,
        "up": device.up,
        "mtu": device.mtu,
        "mac": device.mac,
        "addresses": device.addresses,
        "qdisc": device.qdisc,
        "master": end(device.master.map(|index| (device.netns, index))),
        "peer": end(device.peer),
        "lower": end(device.lower),
        "tunnel": device.tunnel,
    })
}

/// The name of a namespace; null where it is not known.
fn namespace_json(topology: &Topology, netns: u32) -> Value {
    if netns == 0 { Value::Null } else { topology.namespace_name(netns).into() }
}

#[cfg(test)]
mod tests;
