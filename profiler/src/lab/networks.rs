//! Builds the networks of the modes; everything is inside namespaces of the session and goes when dropped.

mod cni;
mod docker;
mod guest;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{
    cni::Attachment,
    cleanup::{self, NETNS, Session},
    docker::Container,
    guest::Guest,
    modes::Mode,
    process::{self, Process},
    signal,
};
use crate::failure::Failure;

const STEP: Duration = Duration::from_secs(10);

/// A named network namespace; removed when dropped.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace and brings its loopback up.
    pub fn new(session: &Session, name: &str) -> anyhow::Result<Self> {
        let namespace = Self { name: session.namespace(name) };
        ip(&["netns", "add", &namespace.name])?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its full name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file below `/run/netns`.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS).join(&self.name)
    }

    /// Without an IPv6 address a device sends nothing by itself, so that only the workload's packets are there. A
    /// kernel without IPv6 refuses the setting and needs none.
    pub fn quieten(&self, device: &str) -> anyhow::Result<()> {
        let result = self.ip(&["link", "set", device, "addrgenmode", "none"]);
        signal::check()?;
        drop(result);
        Ok(())
    }

    /// Runs `ip` there.
    pub fn ip(&self, words: &[&str]) -> anyhow::Result<()> {
        ip(&[&["-n", self.name.as_str()], words].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        cleanup::remove_namespace(&self.name);
    }
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    let Some(program) = process::find_program("ip") else {
        bail!(Failure::Refused("`ip` is not installed (Debian: apt-get install iproute2)".into()));
    };
    let mut command = Command::new(program);
    command.args(words);
    process::run(command, STEP, true).map(drop)
}

/// Where one side runs.
pub enum Place {
    /// In a network namespace.
    Namespace(Rc<Namespace>),
    /// In a container.
    Container(Rc<Container>),
    /// In an emulated guest.
    Guest(Rc<Guest>),
}

impl Place {
    /// Starts a program there: its words, the program being one that exists on this machine.
    pub fn spawn(&self, session: &Session, words: &[String]) -> anyhow::Result<Process> {
        let (command, netns) = match self {
            Self::Namespace(namespace) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                (command, Some(namespace.path()))
            }
            Self::Container(container) => (container.exec(words), None),
            Self::Guest(guest) => (guest.exec(words)?, None),
        };
        Process::spawn(command, netns.as_deref(), libc::SIGKILL, Some(&session.children()))
    }

    /// A process inside the network namespace: `child`, or the container's first one.
    pub fn inside(&self, child: u32) -> u32 {
        match self {
            Self::Namespace(_) => child,
            Self::Container(container) => container.pid(),
            Self::Guest(guest) => guest.id(),
        }
    }

    /// Ends what a server left running there (killing `docker exec` does not end what it started).
    pub fn sweep(&self) {
        match self {
            Self::Namespace(_) => {}
            Self::Container(container) => container.sweep(),
            Self::Guest(guest) => guest.sweep(),
        }
    }
}

/// A network with a place for either side.
pub struct Network {
    /// Where the client runs.
    pub client: Place,
    /// Where the server runs.
    pub server: Place,
    /// Where the client finds the server.
    pub address: Ipv4Addr,
    /// Where the server listens: another address where one is translated.
    pub listen: Ipv4Addr,
    /// Roles of namespaces (by inode) whose names the lab does not give.
    pub roles: Vec<(u64, String)>,
    parts: Vec<Namespace>,
    attachments: Vec<Attachment>,
}

impl Network {
    /// A network whose server listens where the client connects to.
    pub fn new(client: Place, server: Place, address: Ipv4Addr) -> Self {
        Self { client, server, address, listen: address, roles: Vec::new(), attachments: Vec::new(), parts: Vec::new() }
    }

    /// Its server listens elsewhere.
    pub fn listening_at(mut self, address: Ipv4Addr) -> Self {
        self.listen = address;
        self
    }

    /// Keeps these namespaces.
    pub fn with_parts(mut self, parts: Vec<Namespace>) -> Self {
        self.parts = parts;
        self
    }

    /// Keeps these places in CNI networks.
    pub fn with_attachments(mut self, attachments: Vec<Attachment>) -> Self {
        self.attachments = attachments;
        self
    }

    /// Gives these namespaces names.
    pub fn with_roles(mut self, roles: Vec<(u64, String)>) -> Self {
        self.roles = roles;
        self
    }
}

/// What networks of one run share: the Docker daemon, started when the first mode needs it.
#[derive(Default)]
pub struct Shared {
    daemons: docker::Daemons,
}

/// Builds the network of a mode.
pub fn build(mode: &Mode, session: &Session, shared: &mut Shared) -> anyhow::Result<Network> {
    let daemons = &mut shared.daemons;
    match mode.name {
        "host" => host(session),
        "bridge" => bridge(session),
        "docker-host" => docker::host(session, daemons),
        "docker-bridge" => docker::bridge(session, daemons),
        "docker-container" => docker::shared(session, daemons),
        "docker-macvlan" => docker::macvlan(session, daemons),
        "docker-nat" => docker::nat(session, daemons, 1),
        "docker-overlay" => docker::overlay(session, daemons),
        "cni-bridge" => cni::bridge(session),
        "vm-bridge" => guest::bridge(session),
        "cni-ptp" => cni::ptp(session),
        "cni-macvlan" => cni::macvlan(session),
        other => bail!("mode `{other}` is listed but has no builder"),
    }
    .with_context(|| format!("cannot build mode {}", mode.name))
}

fn host(session: &Session) -> anyhow::Result<Network> {
    let namespace = Rc::new(Namespace::new(session, "host")?);
    Ok(Network::new(Place::Namespace(namespace.clone()), Place::Namespace(namespace), Ipv4Addr::LOCALHOST))
}

fn bridge(session: &Session) -> anyhow::Result<Network> {
    let middle = Namespace::new(session, "bridge-middle")?;
    let ends = [("client", "10.201.0.2/24"), ("server", "10.201.0.3/24")];
    middle.ip(&["link", "add", "br0", "type", "bridge"])?;
    middle.quieten("br0")?;
    middle.ip(&["link", "set", "br0", "up"])?;
    let mut sides = Vec::new();
    for (side, address) in ends {
        let namespace = Namespace::new(session, &format!("bridge-{side}"))?;
        let port = format!("veth-{side}");
        middle.ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace.name])?;
        middle.quieten(&port)?;
        middle.ip(&["link", "set", &port, "master", "br0", "up"])?;
        namespace.quieten("eth0")?;
        namespace.ip(&["addr", "add", address, "dev", "eth0"])?;
        namespace.ip(&["link", "set", "eth0", "up"])?;
        sides.push(Place::Namespace(Rc::new(namespace)));
    }
    let (Some(server), Some(client)) = (sides.pop(), sides.pop()) else { bail!("two sides were made") };
    Ok(Network::new(client, server, Ipv4Addr::new(10, 201, 0, 3)).with_parts(vec![middle]))
}

