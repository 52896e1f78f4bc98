//! Modes of the reference CNI plugins: a namespace is the node, and two more are the containers.

use std::rc::Rc;

use serde_json::{Value, json};

use super::docker::CARD;
use crate::{
    cli::Ip,
    lab::{
        cni::{Attachment, CniNetwork},
        ip::word,
        namespace::Namespace,
        network::{Network, Site},
    },
};

/// Both containers in one network of the node.
fn attach(site: &Site<'_>, node: Namespace, plugins: Vec<Value>) -> anyhow::Result<Network> {
    let cni = Rc::new(CniNetwork::new(site.lab, Rc::new(node), site.mode, plugins)?);
    let side = |role: &str| -> anyhow::Result<(Rc<Namespace>, Attachment)> {
        let container = Rc::new(site.namespace(role)?);
        let attachment = Attachment::add(&cni, &container)?;
        Ok((container, attachment))
    };
    let ((client, near), (server, far)) = (side("client")?, side("server")?);
    let address = far.address;
    Ok(Network::new(client, server, address).keep(near).keep(far))
}

/// Where containers get their addresses from, and whether they have a way out.
fn addresses(site: &Site<'_>, subnet: &str, leaves: bool) -> Value {
    let (subnet, all) = if site.args.ip == Ip::V6 { (word(subnet), "::/0") } else { (subnet.to_owned(), "0.0.0.0/0") };
    let routes = if leaves { json!([{ "dst": all }]) } else { json!([]) };
    json!({ "subnet": subnet, "routes": routes })
}

/// The plugin `bridge`: a Linux bridge that is the gateway too, with masquerading for what leaves it.
pub fn bridge(site: &mut Site<'_>) -> anyhow::Result<Network> {
    attach(site, site.namespace("node")?, vec![bridged(site, "10.206.0.0/24")])
}

fn bridged(site: &Site<'_>, subnet: &str) -> Value {
    json!({
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "ipMasq": true,
        "ipam": addresses(site, subnet, true),
    })
}

/// Bits a second to which each container is held, each way.
const RATE: u64 = 1_000_000_000;
/// Bits that may go at once: some of the largest packets.
const BURST: u64 = 8 * 1_048_576;

/// The plugin `bridge` and then `bandwidth`: TBF at the node's end of the veth pair for what the container receives, and in
/// an ifb device, to which a filter redirects, for what it sends.
pub fn bandwidth(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let limits = json!({
        "type": "bandwidth",
        "ingressRate": RATE,
        "ingressBurst": BURST,
        "egressRate": RATE,
        "egressBurst": BURST,
    });
    attach(site, site.namespace("node")?, vec![bridged(site, "10.209.0.0/24"), limits])
}

/// The plugin `ptp`: a veth pair for each container, and the node routes between them.
pub fn ptp(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let configuration = json!({
        "type": "ptp",
        "ipMasq": true,
        "ipam": addresses(site, "10.207.0.0/24", true),
    });
    attach(site, site.namespace("node")?, vec![configuration])
}

/// The plugin `macvlan` in bridge mode.
pub fn macvlan(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let node = site.namespace("node")?;
    // Nobody is at the other end: neighbours on one macvlan reach each other without leaving it.
    let wire = site.namespace("wire")?;
    node.add_veth(CARD, &wire, CARD)?;
    let addresses = addresses(site, "10.208.0.0/24", false);
    let configuration = json!({ "type": "macvlan", "master": CARD, "mode": "bridge", "ipam": addresses });
    Ok(attach(site, node, vec![configuration])?.keep(wire))
}
