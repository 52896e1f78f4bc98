//! An emulated guest on a bridge of its host: the client runs in the guest, the server in a namespace.

use std::rc::Rc;

use super::{Namespace, Network, Place};
use crate::lab::{cleanup::Session, guest::Guest};

/// The guest's network card, as its host sees it.
const TAP: &str = "tap0";
const CLIENT: &str = "10.209.0.2/24";
const SERVER: [u8; 4] = [10, 209, 0, 3];

/// A tap device and a veth pair are ports of a Linux bridge.
pub fn bridge(session: &Session) -> anyhow::Result<Network> {
    let host = Namespace::new(session, "vm-bridge-node")?;
    let server = Namespace::new(session, "vm-bridge-server")?;
    host.ip(&["link", "add", "br0", "type", "bridge"])?;
    host.ip(&["link", "add", "veth-server", "type", "veth", "peer", "name", "eth0", "netns", server.name()])?;
    host.ip(&["tuntap", "add", TAP, "mode", "tap", "vnet_hdr"])?;
    host.quieten("br0")?;
    host.ip(&["link", "set", "br0", "up"])?;
    for port in ["veth-server", TAP] {
        host.quieten(port)?;
        host.ip(&["link", "set", port, "master", "br0", "up"])?;
    }
    server.quieten("eth0")?;
    let [a, b, c, d] = SERVER;
    server.ip(&["addr", "add", &format!("{a}.{b}.{c}.{d}/24"), "dev", "eth0"])?;
    server.ip(&["link", "set", "eth0", "up"])?;
    let guest = Guest::start(session, &host, TAP, CLIENT)?;
    let sides = (Place::Guest(Rc::new(guest)), Place::Namespace(Rc::new(server)));
    Ok(Network::new(sides.0, sides.1, SERVER.into()).with_parts(vec![host]))
}
