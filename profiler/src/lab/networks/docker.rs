//! Modes of the real Docker engine: on one private daemon, or on two that are hosts with a wire between them.

use std::{net::Ipv4Addr, os::unix::fs::MetadataExt as _, rc::Rc};

use anyhow::Context as _;

use crate::{
    cli::Ip,
    host::process::Process,
    lab::{
        cleanup::Lab,
        docker::{Container, Daemon},
        ip::word,
        network::{Network, Place, Site},
        programs::PORT,
    },
};

/// The device of a host that leads to the other one, and the addresses there.
const WIRE: &str = "eth0";
const HOSTS: [&str; 2] = ["10.202.0.1", "10.202.0.2"];
/// The device that stands for the network card below a macvlan.
pub const CARD: &str = "card0";
/// The block of the macvlan's containers.
const SUBNET: &str = "10.205.0.0/24";

impl Place for Container {
    fn spawn(&self, lab: &Lab, words: &[String]) -> anyhow::Result<Process> {
        Process::spawn(self.exec(words), None, libc::SIGKILL, Some(&lab.children()))
    }

    fn inside(&self, _child: u32) -> u32 {
        self.pid()
    }

    fn sweep(&self) {
        Container::sweep(self);
    }
}

/// Two daemons, a host each.
struct TwoHosts([Rc<Daemon>; 2]);

/// What [`swarm`] made.
struct Swarm;

fn daemon(site: &mut Site<'_>) -> anyhow::Result<Rc<Daemon>> {
    let (lab, ip) = (site.lab, site.args.ip);
    site.shared.get_or_make(|| Daemon::start(lab, "docker", ip))
}

/// Two daemons whose namespaces are joined by a wire.
fn pair(site: &mut Site<'_>) -> anyhow::Result<Rc<TwoHosts>> {
    let (lab, ip, first) = (site.lab, site.args.ip, daemon(site)?);
    site.shared.get_or_make(|| {
        let second = Rc::new(Daemon::start(lab, "docker-2", ip)?);
        first.namespace().add_veth(WIRE, second.namespace(), WIRE)?;
        let pair = [first, second];
        for (daemon, address) in pair.iter().zip(HOSTS) {
            daemon.namespace().add_address(WIRE, &format!("{address}/24"))?;
        }
        Ok(TwoHosts(pair))
    })
}

/// Makes both daemons the nodes of one swarm.
fn swarm(site: &mut Site<'_>) -> anyhow::Result<Rc<TwoHosts>> {
    let pair = pair(site)?;
    let [manager, worker] = &pair.0;
    site.shared.get_or_make(|| {
        let listen = HOSTS.map(|address| format!("{address}:2377"));
        let place = |node: usize| {
            let address = HOSTS[node];
            ["--advertise-addr", address, "--data-path-addr", address, "--listen-addr", &listen[node]]
        };
        manager.run(&[&["swarm", "init"][..], &place(0)].concat()).context("cannot make a swarm")?;
        let token = manager.run(&["swarm", "join-token", "-q", "worker"])?;
        let join = ["swarm", "join", "--token", token.trim()];
        let joined = worker.run(&[&join[..], &place(1), &[&listen[0]]].concat());
        joined.context("the second host cannot join the swarm")?;
        Ok(Swarm)
    })?;
    Ok(pair)
}

/// Starts one side of the mode, with the options that name its network.
fn container(site: &Site<'_>, daemon: &Rc<Daemon>, side: &str, options: &[&str]) -> anyhow::Result<Rc<Container>> {
    Container::start(daemon, site.lab, &format!("{}-{side}", site.mode), options).map(Rc::new)
}

/// Both sides on one network of the first daemon.
fn both(site: &mut Site<'_>, network: &str) -> anyhow::Result<[Rc<Container>; 2]> {
    let daemon = daemon(site)?;
    let start = |side| container(site, &daemon, side, &["--network", network]);
    Ok([start("client")?, start("server")?])
}

/// Two containers on the network of the daemon's namespace.
pub fn host(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let [client, server] = both(site, "host")?;
    Ok(Network::new(client, server, Ipv4Addr::LOCALHOST))
}

/// Two containers on Docker's default bridge.
pub fn bridge(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let [client, server] = both(site, "bridge")?;
    let address = server.address()?;
    Ok(Network::new(client, server, address))
}

/// The client in the network namespace of the server's container.
pub fn shared(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let daemon = daemon(site)?;
    let server = container(site, &daemon, "server", &["--network", "bridge"])?;
    let joined = format!("container:{}", server.name());
    let client = container(site, &daemon, "client", &["--network", &joined])?;
    Ok(Network::new(client, server, Ipv4Addr::LOCALHOST))
}

/// Docker's macvlan in bridge mode.
pub fn macvlan(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let daemon = daemon(site)?;
    // Nobody is at the other end: neighbours on one macvlan reach each other without leaving it.
    let wire = site.namespace("wire")?;
    daemon.namespace().add_veth(CARD, &wire, CARD)?;
    let name = site.lab.namespace("macvlan");
    let parent = format!("parent={CARD}");
    let mut words = vec!["network", "create", "-d", "macvlan", "-o", &parent, "--subnet", SUBNET];
    let counterpart = word(SUBNET);
    if site.args.ip == Ip::V6 {
        words.extend(["--ipv6", "--subnet", &counterpart]);
    }
    words.push(&name);
    daemon.run(&words)?;
    let [client, server] = both(site, &name)?;
    let address = server.address()?;
    Ok(Network::new(client, server, address).keep(wire))
}

/// A container on one host and a published port of the other one.
pub fn nat(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let pair = pair(site)?;
    let [near, far] = &pair.0;
    let (first, last) = (u32::from(PORT), u32::from(PORT) + site.args.pairs.max(1) - 1);
    let published = ["tcp", "udp"].map(|kind| format!("{}:{first}-{last}:{first}-{last}/{kind}", HOSTS[1]));
    let server = container(site, far, "server", &["--publish", &published[0], "--publish", &published[1]])?;
    let client = container(site, near, "client", &["--network", "bridge"])?;
    let address = server.address()?;
    let mut network = Network::new(client, server, address);
    network.published = Some((HOSTS[1].parse()?, 0));
    Ok(network)
}

/// An overlay network of a swarm, and a container on each of its hosts.
pub fn overlay(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let pair = swarm(site)?;
    let [near, far] = &pair.0;
    let name = site.lab.namespace("overlay");
    let made = near.run(&["network", "create", "-d", "overlay", "--attachable", "--subnet", "10.204.0.0/24", &name])?;
    let client = container(site, near, "client", &["--network", &name])?;
    let server = container(site, far, "server", &["--network", &name])?;
    let address = server.address()?;
    let mut network = Network::new(client, server, address);
    // Bridge and tunnel are in a namespace that both daemons give the same name.
    for (daemon, role) in [(near, "overlay-client"), (far, "overlay-server")] {
        for path in daemon.sandboxes(made.trim()) {
            network.roles.push((std::fs::metadata(path)?.ino(), role.to_owned()));
        }
    }
    Ok(network)
}
