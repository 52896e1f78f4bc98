//! What a network is to the lab: two places, and what stands between them. Everything is inside namespaces of the lab and
//! goes when dropped.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream},
    process::Command,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::bail;

use super::{cleanup::Lab, namespace::Namespace};
use crate::{
    cli::{Ip, LabRunArgs},
    host::{process::Process, runtime, signal},
};

/// How long a new network may take until it carries packets: routes have to spread, daemons to start.
const REACH_LIMIT: Duration = Duration::from_secs(30);
/// Between two tries where one fails at once.
const AGAIN: Duration = Duration::from_millis(20);

/// Where one side runs.
pub trait Place {
    /// Starts a program there: its words, the program being one that exists on this machine.
    fn spawn(&self, lab: &Lab, words: &[String]) -> anyhow::Result<Process>;

    /// A process inside the network namespace, as this process sees it; `child` is one that was spawned there.
    fn inside(&self, child: u32) -> u32 {
        child
    }

    /// How much longer than elsewhere a program takes there until it is at work.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// Ends what a server left running there, where ending the spawned process does not.
    fn sweep(&self) {}

    /// What records there, where this machine does not see what happens; else none.
    fn recorder(&self) -> Option<&dyn Recorder> {
        None
    }
}

/// A machine that records itself.
pub trait Recorder {
    /// The next program there runs under a recording with these options.
    fn record_next(&self, options: Vec<String>);

    /// A program there that prints the last recording, in base 64.
    fn recorded(&self, lab: &Lab) -> anyhow::Result<Process>;
}

impl Place for Namespace {
    fn spawn(&self, lab: &Lab, words: &[String]) -> anyhow::Result<Process> {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        Process::spawn(command, Some(&self.path()), libc::SIGKILL, Some(&lab.children()))
    }
}

/// Where a process runs, with its address.
pub type At = (Rc<dyn Place>, IpAddr);

/// A network with a place for either side.
pub struct Network {
    /// Where the client runs.
    pub client: Rc<dyn Place>,
    /// Where the server runs.
    pub server: Rc<dyn Place>,
    /// The server's own address, at which it listens.
    pub address: IpAddr,
    /// Where the client finds it, if elsewhere: an address, and what is added to the server's ports.
    pub published: Option<(IpAddr, u16)>,
    /// Places of further containers beside these two, each with its address (all-to-all).
    pub others: Vec<At>,
    /// Roles of namespaces (by inode) whose names are an engine's choice.
    pub roles: Vec<(u64, String)>,
    /// What else the network consists of; dropped in order: daemons before the namespaces that they run in.
    pub parts: Vec<Box<dyn Any>>,
}

impl Network {
    /// Between two places, with nothing between them that would have to be kept.
    pub fn new(client: Rc<dyn Place>, server: Rc<dyn Place>, address: impl Into<IpAddr>) -> Self {
        let address = address.into();
        Self { client, server, address, published: None, others: Vec::new(), roles: Vec::new(), parts: Vec::new() }
    }

    /// With parts to be kept as long as the network; they are dropped in order.
    pub fn keep(mut self, part: impl Any) -> Self {
        self.parts.push(Box::new(part));
        self
    }

    /// Where the client finds what listens at `port`.
    pub fn target(&self, port: u16) -> SocketAddr {
        match self.published {
            Some((address, added)) => SocketAddr::new(address, port.wrapping_add(added)),
            None => SocketAddr::new(self.address, port),
        }
    }

    /// Told by the addresses of a version.
    pub fn speaking(mut self, ip: Ip) -> Self {
        self.address = ip.of(self.address);
        self.published = self.published.map(|(address, added)| (ip.of(address), added));
        self.others.iter_mut().for_each(|(_, address)| *address = ip.of(*address));
        self
    }
}

/// What networks of one run share, by type: a daemon, started when the first mode needs it.
#[derive(Default)]
pub struct Shared {
    parts: BTreeMap<TypeId, Rc<dyn Any>>,
}

impl Shared {
    /// The one of this type, made if there is none yet.
    pub fn get_or_make<T: Any>(&mut self, make: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<Rc<T>> {
        let found = self.parts.get(&TypeId::of::<T>()).cloned().and_then(|part| part.downcast().ok());
        if let Some(part) = found {
            return Ok(part);
        }
        let part = Rc::new(make()?);
        self.parts.insert(TypeId::of::<T>(), part.clone());
        Ok(part)
    }
}

/// What a builder is given.
pub struct Site<'a> {
    /// Name of the mode to build.
    pub mode: &'static str,
    /// The lab that owns all of it.
    pub lab: &'a Lab,
    /// What was asked for: number of pairs, the wire.
    pub args: &'a LabRunArgs,
    /// What modes share.
    pub shared: &'a mut Shared,
}

impl Site<'_> {
    /// A namespace of this mode; `role` is the name that recordings show.
    pub fn namespace(&self, role: &str) -> anyhow::Result<Namespace> {
        Ok(Namespace::new(self.lab, &format!("{}-{role}", self.mode))?.speaking(self.args.ip))
    }
}

/// A function that builds the network of a mode.
pub type Build = fn(&mut Site<'_>) -> anyhow::Result<Network>;

/// Waits until packets from `from` reach `target` and come back: a port where nobody listens answers with a refusal.
pub fn wait_reachable(from: &Namespace, target: impl Into<SocketAddr>) -> anyhow::Result<()> {
    let mut target = target.into();
    target.set_ip(from.ip_version().of(target.ip()));
    let deadline = Instant::now() + REACH_LIMIT;
    loop {
        signal::check()?;
        let answer = from.inside(|| TcpStream::connect_timeout(&target, Duration::from_millis(500)))?;
        match answer {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                bail!("{target} did not answer within {REACH_LIMIT:?}: {error}")
            }
            // "No route" comes at once and ends when routes have spread.
            Err(_) => runtime::wait(signal::pause(AGAIN))?,
        }
    }
}
