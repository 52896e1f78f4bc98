//! Networks of a real Docker engine: one private daemon, or two that are the nodes of a swarm, joined by a wire.

use std::{net::Ipv4Addr, os::unix::fs::MetadataExt as _, rc::Rc};

use anyhow::Context as _;

use super::{Namespace, Network, Place};
use crate::lab::{
    cleanup::Session,
    docker::{Container, Daemon},
    external::PORT,
};

/// The device of a node that leads to the other one, and the addresses there.
const WIRE: &str = "eth0";
const NODES: [&str; 2] = ["10.202.0.1", "10.202.0.2"];
/// The device that stands for the network card below Docker's macvlan.
const CARD: &str = "card0";

/// The daemons of a run, started when the first mode needs them.
#[derive(Default)]
pub struct Daemons {
    first: Option<Rc<Daemon>>,
    second: Option<Rc<Daemon>>,
    swarm: bool,
}

impl Daemons {
    fn first(&mut self, session: &Session) -> anyhow::Result<Rc<Daemon>> {
        if let Some(daemon) = &self.first {
            return Ok(daemon.clone());
        }
        Ok(self.first.insert(Rc::new(Daemon::start(session, "docker")?)).clone())
    }

    /// Two nodes with a wire between them.
    fn pair(&mut self, session: &Session) -> anyhow::Result<[Rc<Daemon>; 2]> {
        let first = self.first(session)?;
        if let Some(second) = &self.second {
            return Ok([first, second.clone()]);
        }
        let second = Rc::new(Daemon::start(session, "docker-2")?);
        let pair = [first, self.second.insert(second).clone()];
        let other = pair[1].namespace();
        pair[0].namespace().ip(&["link", "add", WIRE, "type", "veth", "peer", "name", WIRE, "netns", other.name()])?;
        for (daemon, address) in pair.iter().zip(NODES) {
            let node = daemon.namespace();
            node.quieten(WIRE)?;
            node.ip(&["addr", "add", &format!("{address}/24"), "dev", WIRE])?;
            node.ip(&["link", "set", WIRE, "up"])?;
        }
        Ok(pair)
    }

    /// Two nodes of one swarm.
    fn swarm(&mut self, session: &Session) -> anyhow::Result<[Rc<Daemon>; 2]> {
        let pair = self.pair(session)?;
        if !self.swarm {
            let [manager, worker] = &pair;
            let listen = NODES.map(|address| format!("{address}:2377"));
            let place = |node: usize| {
                let address = NODES[node];
                ["--advertise-addr", address, "--data-path-addr", address, "--listen-addr", &listen[node]]
            };
            manager.run(&[&["swarm", "init"][..], &place(0)].concat()).context("cannot make a swarm")?;
            let token = manager.run(&["swarm", "join-token", "-q", "worker"])?;
            let join = ["swarm", "join", "--token", token.trim()];
            worker
                .run(&[&join[..], &place(1), &[&listen[0]]].concat())
                .context("the second node cannot join the swarm")?;
            self.swarm = true;
        }
        Ok(pair)
    }
}

/// Both containers on one daemon, with the options that name their network.
fn both(daemon: &Rc<Daemon>, session: &Session, mode: &str, options: &[&str]) -> anyhow::Result<[Rc<Container>; 2]> {
    let start = |side| container(daemon, session, mode, side, options);
    Ok([start("client")?, start("server")?])
}

fn container(
    daemon: &Rc<Daemon>,
    session: &Session,
    mode: &str,
    side: &str,
    options: &[&str],
) -> anyhow::Result<Rc<Container>> {
    Container::start(daemon, session, &format!("{mode}-{side}"), options).map(Rc::new)
}

fn network([client, server]: [Rc<Container>; 2], address: Ipv4Addr) -> Network {
    Network::new(Place::Container(client), Place::Container(server), address)
}

/// `--network host`: the daemon's namespace.
pub fn host(session: &Session, daemons: &mut Daemons) -> anyhow::Result<Network> {
    let sides = both(&daemons.first(session)?, session, "docker-host", &["--network", "host"])?;
    Ok(network(sides, Ipv4Addr::LOCALHOST))
}

/// The default bridge.
pub fn bridge(session: &Session, daemons: &mut Daemons) -> anyhow::Result<Network> {
    let sides = both(&daemons.first(session)?, session, "docker-bridge", &["--network", "bridge"])?;
    let address = sides[1].address()?;
    Ok(network(sides, address))
}

/// The client in the server's namespace.
pub fn shared(session: &Session, daemons: &mut Daemons) -> anyhow::Result<Network> {
    let daemon = daemons.first(session)?;
    let server = container(&daemon, session, "docker-container", "server", &["--network", "bridge"])?;
    let joined = format!("container:{}", server.name());
    let client = container(&daemon, session, "docker-container", "client", &["--network", &joined])?;
    Ok(network([client, server], Ipv4Addr::LOCALHOST))
}

/// Docker's macvlan in bridge mode, on a device that stands for the node's network card.
pub fn macvlan(session: &Session, daemons: &mut Daemons) -> anyhow::Result<Network> {
    let daemon = daemons.first(session)?;
    // A wire that nobody listens at: neighbours on one macvlan reach each other without leaving it.
    let wire = Namespace::new(session, "docker-macvlan-wire")?;
    let node = daemon.namespace();
    node.ip(&["link", "add", CARD, "type", "veth", "peer", "name", CARD, "netns", wire.name()])?;
    for end in [node, &wire] {
        end.quieten(CARD)?;
        end.ip(&["link", "set", CARD, "up"])?;
    }
    let parent = format!("parent={CARD}");
    let name = session.namespace("macvlan");
    daemon.run(&["network", "create", "-d", "macvlan", "-o", &parent, "--subnet", "10.205.0.0/24", &name])?;
    let sides = both(&daemon, session, "docker-macvlan", &["--network", &name])?;
    let address = sides[1].address()?;
    Ok(network(sides, address).with_parts(vec![wire]))
}

/// A published port of the other node: masquerade on the client's, address translation on the server's.
pub fn nat(session: &Session, daemons: &mut Daemons, pairs: u32) -> anyhow::Result<Network> {
    let [near, far] = daemons.pair(session)?;
    let last = u32::from(PORT) + pairs.max(1) - 1;
    let published = ["tcp", "udp"].map(|kind| format!("{}:{PORT}-{last}:{PORT}-{last}/{kind}", NODES[1]));
    let server =
        container(&far, session, "docker-nat", "server", &["--publish", &published[0], "--publish", &published[1]])?;
    let client = container(&near, session, "docker-nat", "client", &["--network", "bridge"])?;
    let listen = server.address()?;
    Ok(network([client, server], NODES[1].parse()?).listening_at(listen))
}

/// An attachable overlay network of a swarm, a container on each node.
pub fn overlay(session: &Session, daemons: &mut Daemons) -> anyhow::Result<Network> {
    let [near, far] = daemons.swarm(session)?;
    let name = session.namespace("overlay");
    let made = near.run(&["network", "create", "-d", "overlay", "--attachable", "--subnet", "10.204.0.0/24", &name])?;
    let client = container(&near, session, "docker-overlay", "client", &["--network", &name])?;
    let server = container(&far, session, "docker-overlay", "server", &["--network", &name])?;
    let address = server.address()?;
    // Both daemons give the namespace of bridge and tunnel the same name.
    let mut roles = Vec::new();
    for (daemon, role) in [(&near, "overlay-client"), (&far, "overlay-server")] {
        for path in daemon.sandboxes(made.trim()) {
            roles.push((std::fs::metadata(path)?.ino(), role.to_owned()));
        }
    }
    Ok(network([client, server], address).with_roles(roles))
}
