//! A network namespace of the lab, and what is done inside it.

use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{
    cleanup::{self, Lab, NETNS},
    ip,
};
use crate::{
    cli::Ip,
    failure::Failure,
    host::{
        process::{self, Process},
        program, signal,
    },
};

const STEP: Duration = Duration::from_secs(10);

/// A named network namespace; removed when dropped.
pub struct Namespace {
    name: String,
    ip: Ip,
}

impl Namespace {
    /// Makes the namespace and brings its loopback up.
    pub fn new(lab: &Lab, name: &str) -> anyhow::Result<Self> {
        let namespace = Self { name: lab.namespace(name), ip: Ip::V4 };
        run_ip(&["netns", "add", &namespace.name])?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// With addresses and routes of this version too, from now on.
    pub fn speaking(mut self, ip: Ip) -> Self {
        self.ip = ip;
        self
    }

    /// The version of IP that is spoken there.
    pub fn ip_version(&self) -> Ip {
        self.ip
    }

    /// Its full name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file below `/run/netns`.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS).join(&self.name)
    }

    /// Runs `ip` with these words inside.
    pub fn ip(&self, words: &[&str]) -> anyhow::Result<()> {
        run_ip(&[&["-n", self.name.as_str()], words].concat())
    }

    /// Without an IPv6 address a device sends nothing by itself, so that only the workload's packets are there. A
    /// kernel without IPv6 refuses the setting and needs none.
    pub fn quieten(&self, device: &str) -> anyhow::Result<()> {
        let result = self.ip(&["link", "set", device, "addrgenmode", "none"]);
        signal::check()?;
        drop(result);
        Ok(())
    }

    /// Brings a device up, quietly.
    pub fn up(&self, device: &str) -> anyhow::Result<()> {
        self.quieten(device)?;
        self.ip(&["link", "set", device, "up"])
    }

    /// Makes a bridge and brings it up.
    pub fn add_bridge(&self, name: &str) -> anyhow::Result<()> {
        self.ip(&["link", "add", name, "type", "bridge"])?;
        self.up(name)
    }

    /// Makes a veth pair between `name` here and `peer` in the namespace `there`, both up.
    pub fn add_veth(&self, name: &str, there: &Self, peer: &str) -> anyhow::Result<()> {
        self.ip(&["link", "add", name, "type", "veth", "peer", "name", peer, "netns", &there.name])?;
        self.up(name)?;
        there.up(peer)
    }

    /// Gives a device an address of IPv4 with prefix length, and its counterpart where IPv6 is spoken.
    pub fn add_address(&self, device: &str, address: &str) -> anyhow::Result<()> {
        self.ip(&["addr", "add", address, "dev", device])?;
        let own = address.split('/').next().and_then(|address| address.parse().ok());
        let Some(own) = own.filter(|_| self.ip == Ip::V6) else { return Ok(()) };
        // Nobody else has them; a device waits for seconds to find that out.
        self.ip(&["addr", "add", &format!("{}/64", ip::of_link(own)), "dev", device, "nodad"])?;
        self.ip(&["addr", "add", &ip::word(address), "dev", device, "nodad"])
    }

    /// Adds a route, and its counterpart where IPv6 is spoken: the words behind `ip route add`.
    pub fn add_route(&self, words: &[&str]) -> anyhow::Result<()> {
        self.ip(&[&["route", "add"], words].concat())?;
        if self.ip == Ip::V4 {
            return Ok(());
        }
        let words: Vec<String> = words.iter().map(|word| ip::word(word)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.ip(&[&["-6", "route", "add"], &words[..]].concat())
    }

    /// Runs a program of the set-up inside to its end and gives its standard output.
    pub fn run(&self, program: &str, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(find(program)?);
        command.args(words);
        process::run_in(command, Some(&self.path()), STEP, true)
    }

    /// Starts a program inside that runs until it is dropped; it gets SIGTERM first.
    pub fn start(&self, lab: &Lab, command: Command) -> anyhow::Result<Process> {
        Process::spawn(command, Some(&self.path()), libc::SIGTERM, Some(&lab.children()))
    }

    /// Sets a kernel parameter of this namespace: its path below `/proc/sys/net`.
    pub fn set(&self, parameter: &str, value: &str) -> anyhow::Result<()> {
        let path = Path::new("/proc/sys/net").join(parameter);
        self.inside(|| fs::write(&path, value))?.with_context(|| format!("cannot set {}", path.display()))
    }

    /// Makes it pass packets on, as a host with containers does. Asymmetric ways are nothing that the lab has, but
    /// addresses behind tunnels are: the filter of source addresses stays off.
    pub fn forward(&self) -> anyhow::Result<()> {
        self.set("ipv4/ip_forward", "1")?;
        self.set("ipv4/conf/all/rp_filter", "0")?;
        self.set("ipv4/conf/default/rp_filter", "0")?;
        if self.ip == Ip::V6 { self.set("ipv6/conf/all/forwarding", "1") } else { Ok(()) }
    }

    /// Runs a function in a thread that is inside the namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("cannot open namespace {}", path.display()))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: a plain system call on an open file; it moves this thread only, which ends with `work`.
                if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(work())
            });
            thread.join().map_err(|_| anyhow::anyhow!("a thread inside a namespace failed"))
        })?
        .with_context(|| format!("cannot enter namespace {}", path.display()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        cleanup::remove_namespace(&self.name);
    }
}

/// The file of a program; refused if it is not installed (modes name their programs in `needs`, with the package).
pub fn find(program: &str) -> anyhow::Result<PathBuf> {
    match program::find_system(program) {
        Some(path) => Ok(path),
        None if program == "ip" => {
            bail!(Failure::Refused("`ip` is not installed (Debian: apt-get install iproute2)".into()))
        }
        None => bail!(Failure::Refused(format!("`{program}` is not installed"))),
    }
}

fn run_ip(words: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(find("ip")?);
    command.args(words);
    process::run(command, STEP, true).map(drop)
}
