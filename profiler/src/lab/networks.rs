//! Builds the networks of the modes; everything is inside namespaces of the session and goes when dropped.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{
    cleanup::{self, NETNS, Session},
    docker::{Container, Daemon},
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

    /// Its file below `/run/netns`.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS).join(&self.name)
    }

    /// Without an IPv6 address a device sends nothing by itself, so that only the workload's packets are there. A
    /// kernel without IPv6 refuses the setting and needs none.
    fn quieten(&self, device: &str) -> anyhow::Result<()> {
        let result = self.ip(&["link", "set", device, "addrgenmode", "none"]);
        signal::check()?;
        drop(result);
        Ok(())
    }

    fn ip(&self, words: &[&str]) -> anyhow::Result<()> {
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
        };
        Process::spawn(command, netns.as_deref(), libc::SIGKILL, Some(&session.children()))
    }

    /// A process inside the network namespace: `child`, or the container's first one.
    pub fn inside(&self, child: u32) -> u32 {
        match self {
            Self::Namespace(_) => child,
            Self::Container(container) => container.pid(),
        }
    }

    /// Ends what a server left running there (killing `docker exec` does not end what it started).
    pub fn sweep(&self) {
        if let Self::Container(container) = self {
            container.sweep();
        }
    }
}

/// A network with a place for either side.
pub struct Network {
    /// Where the client runs.
    pub client: Place,
    /// Where the server runs.
    pub server: Place,
    /// The server's address.
    pub address: Ipv4Addr,
    _parts: Vec<Namespace>,
}

/// What networks of one run share: the Docker daemon, started when the first mode needs it.
#[derive(Default)]
pub struct Shared {
    daemon: Option<Rc<Daemon>>,
}

/// Builds the network of a mode.
pub fn build(mode: &Mode, session: &Session, shared: &mut Shared) -> anyhow::Result<Network> {
    match mode.name {
        "host" => host(session),
        "bridge" => bridge(session),
        _ if mode.docker => {
            let daemon = match &shared.daemon {
                Some(daemon) => daemon.clone(),
                None => shared.daemon.insert(Rc::new(Daemon::start(session)?)).clone(),
            };
            docker(mode, session, &daemon)
        }
        other => bail!("mode `{other}` is listed but has no builder"),
    }
    .with_context(|| format!("cannot build mode {}", mode.name))
}

fn host(session: &Session) -> anyhow::Result<Network> {
    let namespace = Rc::new(Namespace::new(session, "host")?);
    Ok(Network {
        client: Place::Namespace(namespace.clone()),
        server: Place::Namespace(namespace),
        address: Ipv4Addr::LOCALHOST,
        _parts: Vec::new(),
    })
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
    Ok(Network { client, server, address: Ipv4Addr::new(10, 201, 0, 3), _parts: vec![middle] })
}

fn docker(mode: &Mode, session: &Session, daemon: &Rc<Daemon>) -> anyhow::Result<Network> {
    let host = mode.name == "docker-host";
    let start = |side: &str| Container::start(daemon, session, &format!("{}-{side}", mode.name), host).map(Rc::new);
    let (client, server) = (start("client")?, start("server")?);
    let address = if host { Ipv4Addr::LOCALHOST } else { server.address()? };
    Ok(Network { client: Place::Container(client), server: Place::Container(server), address, _parts: Vec::new() })
}
