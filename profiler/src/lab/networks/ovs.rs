//! Open vSwitch: the kernel's datapath, steered by a daemon of the lab's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    time::Duration,
};

use anyhow::Context as _;

use super::local;
use crate::{
    cli::Ip,
    host::{
        clock::monotonic_ns,
        process::{self, Process},
        runtime, signal,
    },
    lab::{
        cleanup::Lab,
        namespace::{Namespace, find},
        network::{Network, Site, wait_reachable},
    },
};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const START_LIMIT: Duration = Duration::from_secs(20);
/// Uptime from which the daemon counts processors.
const COUNTS_PROCESSORS_AFTER: Duration = Duration::from_secs(11);
const STEP: Duration = Duration::from_secs(30);
/// The bridge.
pub const BRIDGE: &str = "br0";

/// A private Open vSwitch in a namespace: database, daemon, run directory.
pub struct Switch {
    // Dropped in order: the daemon before its database.
    daemon: Option<Process>,
    _database: Process,
    directory: PathBuf,
}

impl Switch {
    /// Starts both daemons in `namespace` and makes an empty bridge.
    pub fn start(lab: &Lab, namespace: &Namespace) -> anyhow::Result<Self> {
        let directory = lab.directory().join(format!("ovs-{}", namespace.name()));
        fs::create_dir_all(&directory)?;
        let mut create = Command::new(find("ovsdb-tool")?);
        create.arg("create").arg(directory.join("db")).arg(SCHEMA);
        process::run(create, STEP, true)?;
        let mut command = program(&directory, "ovsdb-server")?;
        command.arg(directory.join("db")).arg(format!("--remote=punix:{}", directory.join("db.sock").display()));
        command.arg(format!("--unixctl={}", directory.join("db.ctl").display())).arg("-vconsole:warn");
        let mut database = namespace.start(lab, command)?;
        database.wait_until("socket", START_LIMIT, || directory.join("db.sock").exists())?;
        let mut switch = Self { daemon: None, _database: database, directory };
        switch.vsctl(&["--no-wait", "init"])?;
        wait_for_uptime()?;
        switch.start_daemon(lab, namespace)?;
        switch.vsctl(&["add-br", BRIDGE])?;
        namespace.up(BRIDGE)?;
        Ok(switch)
    }

    fn start_daemon(&mut self, lab: &Lab, namespace: &Namespace) -> anyhow::Result<()> {
        let control = self.directory.join("vswitchd.ctl");
        let mut command = program(&self.directory, "ovs-vswitchd")?;
        command.arg(self.database()).arg(format!("--unixctl={}", control.display())).arg("-vconsole:warn");
        let mut daemon = namespace.start(lab, command)?;
        daemon.wait_until("control socket", START_LIMIT, || control.exists())?;
        self.daemon = Some(daemon);
        // Returns when the daemon has taken the database over.
        self.vsctl(&["set", "Open_vSwitch", ".", "other_config:stats-update-interval=5000"])
    }

    fn database(&self) -> String {
        format!("unix:{}", self.directory.join("db.sock").display())
    }

    /// Runs `ovs-vsctl`, which waits until the daemon has done it.
    pub fn vsctl(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut command = program(&self.directory, "ovs-vsctl")?;
        command.arg(format!("--db={}", self.database())).arg("--timeout=20").args(words);
        process::run(command, STEP, true).map(drop)
    }

    /// Adds a device of the namespace as a port with this number.
    pub fn add_port(&self, device: &str, number: u32) -> anyhow::Result<()> {
        let request = format!("ofport_request={number}");
        self.vsctl(&["add-port", BRIDGE, device, "--", "set", "Interface", device, &request])
    }

    /// Replaces the flows of the bridge; what no flow matches is dropped.
    pub fn set_flows(&self, flows: &[String]) -> anyhow::Result<()> {
        self.vsctl(&["set-fail-mode", BRIDGE, "secure"])?;
        let file = self.directory.join("flows");
        fs::write(&file, flows.join("\n"))?;
        let mut command = program(&self.directory, "ovs-ofctl")?;
        let target = format!("unix:{}", self.directory.join(format!("{BRIDGE}.mgmt")).display());
        command.args(["-O", "OpenFlow13", "replace-flows"]).arg(target).arg(file);
        process::run(command, STEP, true).map(drop)
    }
}

/// The daemon counts processors when ten seconds of the monotonic clock have passed since it last did, and takes it that
/// it did so at zero: in a machine's first ten seconds it finds none, starts no thread that handles what the datapath asks,
/// and all such packets are lost.
fn wait_for_uptime() -> anyhow::Result<()> {
    let uptime = Duration::from_nanos(monotonic_ns());
    runtime::wait(signal::pause(COUNTS_PROCESSORS_AFTER.saturating_sub(uptime)))
}

/// A program of Open vSwitch that keeps everything in the lab's directory.
fn program(directory: &Path, name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(find(name)?);
    for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
        command.env(variable, directory);
    }
    Ok(command)
}

/// The switch as a learning one: its flows have the action `NORMAL`.
pub fn normal(site: &mut Site<'_>) -> anyhow::Result<Network> {
    switched(site, |_, _| Ok(()))
}

/// The switch with explicit flows.
pub fn flows(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let ip = site.args.ip;
    switched(site, |switch, macs| switch.set_flows(&explicit(macs, ip)))
}

/// The switch without a flow in its datapath.
pub fn upcall(site: &mut Site<'_>) -> anyhow::Result<Network> {
    switched(site, |switch, _| switch.vsctl(&["set", "Open_vSwitch", ".", "other_config:flow-limit=0"]))
}

/// What a port may send, by port and hardware address (table 0); where it goes and how it is marked (table 1).
fn explicit(macs: &[String; 2], ip: Ip) -> Vec<String> {
    // Who has an address is asked by a message of IPv6 itself.
    let (ip, asks) = if ip == Ip::V6 { ("ipv6", "icmp6,icmp_type=135") } else { ("ip", "arp") };
    let mut flows = Vec::new();
    for (index, mac) in macs.iter().enumerate() {
        let (port, other) = (index + 1, 2 - index);
        flows.push(format!("table=0,priority=10,in_port={port},dl_src={mac},actions=goto_table:1"));
        flows.push(format!("table=1,priority=20,in_port={other},{asks},actions=output:{port}"));
        flows.push(format!("table=1,priority=10,{ip},dl_dst={mac},actions=mod_nw_tos:40,output:{port}"));
    }
    flows
}

fn switched(
    site: &mut Site<'_>,
    configure: impl FnOnce(&Switch, &[String; 2]) -> anyhow::Result<()>,
) -> anyhow::Result<Network> {
    let middle = site.namespace("middle")?;
    let switch = Switch::start(site.lab, &middle)?;
    let sides = [site.namespace("client")?, site.namespace("server")?];
    attach(&switch, &middle, &sides)?;
    for (namespace, address) in sides.iter().zip(local::ADDRESSES) {
        namespace.add_address("eth0", &format!("{address}/24"))?;
    }
    configure(&switch, &[mac(&sides[0])?, mac(&sides[1])?])?;
    let [client, server] = sides;
    wait_reachable(&client, std::net::SocketAddrV4::new(local::ADDRESSES[1], 1))?;
    Ok(Network::new(Rc::new(client), Rc::new(server), local::ADDRESSES[1]).keep(switch).keep(middle))
}

/// Joins both sides to the switch by veth pairs: ports 1 and 2.
pub fn attach(switch: &Switch, middle: &Namespace, sides: &[Namespace; 2]) -> anyhow::Result<()> {
    for ((namespace, side), number) in sides.iter().zip(local::SIDES).zip(1..) {
        let port = format!("veth-{side}");
        middle.add_veth(&port, namespace, "eth0")?;
        switch.add_port(&port, number)?;
    }
    Ok(())
}

/// Hardware address of `eth0`.
fn mac(namespace: &Namespace) -> anyhow::Result<String> {
    let text = namespace.run("ip", &["-j", "link", "show", "eth0"])?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    json[0]["address"].as_str().map(str::to_owned).context("`ip -j link` gave no address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_may_send_and_is_sent_to() {
        let flows = explicit(&["02:00:00:00:00:01".into(), "02:00:00:00:00:02".into()], Ip::V4);
        assert_eq!(flows.len(), 6);
        assert!(flows.contains(&"table=0,priority=10,in_port=1,dl_src=02:00:00:00:00:01,actions=goto_table:1".into()));
        assert!(
            flows.contains(&"table=1,priority=10,ip,dl_dst=02:00:00:00:00:02,actions=mod_nw_tos:40,output:2".into())
        );
        assert!(flows.contains(&"table=1,priority=20,in_port=2,arp,actions=output:1".into()));
    }
}
