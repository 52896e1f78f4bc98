//! Networks that the reference CNI plugins make: a namespace is the host, and two more are the containers.

use std::rc::Rc;

use serde_json::{Value, json};

use super::{Namespace, Network, Place};
use crate::lab::{
    cleanup::Session,
    cni::{Attachment, CniNetwork},
};

/// The device that stands for the network card below macvlan.
const CARD: &str = "card0";

/// Both containers in one network.
fn network(session: &Session, mode: &str, host: Namespace, configuration: Value) -> anyhow::Result<Network> {
    let cni = Rc::new(CniNetwork::new(session, Rc::new(host), mode, configuration)?);
    let side = |name: &str| -> anyhow::Result<(Rc<Namespace>, Attachment)> {
        let container = Rc::new(Namespace::new(session, &format!("{mode}-{name}"))?);
        let attachment = Attachment::add(&cni, &container)?;
        Ok((container, attachment))
    };
    let ((client, near), (server, far)) = (side("client")?, side("server")?);
    let address = far.address;
    Ok(Network::new(Place::Namespace(client), Place::Namespace(server), address).with_attachments(vec![near, far]))
}

fn host(session: &Session, mode: &str) -> anyhow::Result<Namespace> {
    Namespace::new(session, &format!("{mode}-node"))
}

/// The plugin `bridge`: a Linux bridge that is the gateway too, with masquerading for what leaves it.
pub fn bridge(session: &Session) -> anyhow::Result<Network> {
    let mode = "cni-bridge";
    let configuration = json!({
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "ipMasq": true,
        "ipam": { "subnet": "10.206.0.0/24", "routes": [{ "dst": "0.0.0.0/0" }] },
    });
    network(session, mode, host(session, mode)?, configuration)
}

/// The plugin `ptp`: a veth pair for each container, and the host routes between them.
pub fn ptp(session: &Session) -> anyhow::Result<Network> {
    let mode = "cni-ptp";
    let configuration = json!({
        "type": "ptp",
        "ipMasq": true,
        "ipam": { "subnet": "10.207.0.0/24", "routes": [{ "dst": "0.0.0.0/0" }] },
    });
    network(session, mode, host(session, mode)?, configuration)
}

/// The plugin `macvlan` in bridge mode.
pub fn macvlan(session: &Session) -> anyhow::Result<Network> {
    let mode = "cni-macvlan";
    let host = host(session, mode)?;
    // A wire that nobody listens at: neighbours on one macvlan reach each other without leaving it.
    let wire = Namespace::new(session, "cni-macvlan-wire")?;
    host.ip(&["link", "add", CARD, "type", "veth", "peer", "name", CARD, "netns", wire.name()])?;
    for end in [&host, &wire] {
        end.quieten(CARD)?;
        end.ip(&["link", "set", CARD, "up"])?;
    }
    let configuration =
        json!({ "type": "macvlan", "master": CARD, "mode": "bridge", "ipam": { "subnet": "10.208.0.0/24" } });
    Ok(network(session, mode, host, configuration)?.with_parts(vec![wire]))
}
