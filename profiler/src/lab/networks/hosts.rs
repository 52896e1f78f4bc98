//! Two hosts, each a namespace, with a wire of their own between them: the ground of the two-host modes.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    rc::Rc,
    time::Duration,
};

use anyhow::bail;

use crate::{
    cli::LabRunArgs,
    failure::Failure,
    lab::{
        namespace::{Namespace, find},
        network::{Network, Site, wait_reachable},
    },
};

/// The device at either end of the wire.
pub const WIRE: &str = "wire0";
/// The gateway of routed containers: the same on all hosts, as their addresses tell nothing about the host.
const GATEWAY: &str = "169.254.1.1";
const DEFAULT_MTU: u32 = 1500;

/// A host with one container.
pub struct Host {
    /// Its network.
    pub namespace: Namespace,
    /// Its address on the wire.
    pub address: Ipv4Addr,
    /// The container's network.
    pub container: Namespace,
    /// The container's address.
    pub container_address: Ipv4Addr,
    /// Name of the host's end of the container's veth pair.
    pub port: &'static str,
}

/// Two hosts: the client's and the server's.
pub struct Hosts {
    /// The client's host and the server's.
    pub both: [Host; 2],
    /// MTU of the wire, bytes.
    pub mtu: u32,
}

impl Host {
    /// The block of addresses of its containers.
    pub fn block(&self) -> String {
        let [a, b, c, _] = self.container_address.octets();
        format!("{a}.{b}.{c}.0/24")
    }

    /// Connects the container as Calico does: a veth pair without a subnet, a route to the one address, and the host's
    /// end as the gateway.
    pub fn route_container(&self, mtu: u32) -> anyhow::Result<()> {
        let Self { namespace, container, port, .. } = self;
        let address = format!("{}/32", self.container_address);
        namespace.add_veth(port, container, "eth0")?;
        namespace.add_address(port, &format!("{GATEWAY}/32"))?;
        namespace.add_route(&[&address, "dev", port])?;
        container.ip(&["link", "set", "eth0", "mtu", &mtu.to_string()])?;
        namespace.ip(&["link", "set", port, "mtu", &mtu.to_string()])?;
        container.add_address("eth0", &address)?;
        container.add_route(&[GATEWAY, "dev", "eth0", "scope", "link"])?;
        container.add_route(&["default", "via", GATEWAY, "dev", "eth0"])
    }
}

impl Hosts {
    /// Makes both hosts, their containers (not yet connected) and the wire.
    pub fn new(site: &Site<'_>, blocks: [[u8; 4]; 2]) -> anyhow::Result<Self> {
        let host = |role: &str, address, container: &str, block: [u8; 4], port| -> anyhow::Result<Host> {
            let namespace = site.namespace(role)?;
            namespace.forward()?;
            let container = site.namespace(container)?;
            Ok(Host { namespace, address, container, container_address: block.into(), port })
        };
        let both = [
            host("host-a", Ipv4Addr::new(192, 168, 77, 1), "client", blocks[0], "veth-client")?,
            host("host-b", Ipv4Addr::new(192, 168, 77, 2), "server", blocks[1], "veth-server")?,
        ];
        let mtu = site.args.mtu.unwrap_or(DEFAULT_MTU);
        both[0].namespace.add_veth(WIRE, &both[1].namespace, WIRE)?;
        for host in &both {
            host.namespace.ip(&["link", "set", WIRE, "mtu", &mtu.to_string()])?;
            host.namespace.add_address(WIRE, &format!("{}/24", host.address))?;
            shape(&host.namespace, site.args)?;
        }
        Ok(Self { both, mtu })
    }

    /// Each host with the other one.
    pub fn each(&self) -> [(&Host, &Host); 2] {
        let [a, b] = &self.both;
        [(a, b), (b, a)]
    }

    /// What is left of the wire's MTU for packets with `overhead` bytes of outer headers.
    pub fn inner_mtu(&self, overhead: u32) -> u32 {
        self.mtu.saturating_sub(overhead)
    }

    /// Waits until both containers reach each other and makes a network of them; `parts` are dropped before the hosts.
    pub fn finish(self, parts: Vec<Box<dyn std::any::Any>>) -> anyhow::Result<Network> {
        let [a, b] = self.both;
        wait_reachable(&a.container, SocketAddrV4::new(b.container_address, 1))?;
        let mut network = Network::new(Rc::new(a.container), Rc::new(b.container), b.container_address);
        network.parts = parts;
        Ok(network.keep(a.namespace).keep(b.namespace))
    }
}

/// Limits the wire's rate and delays what is sent, where that is asked for.
fn shape(host: &Namespace, args: &LabRunArgs) -> anyhow::Result<()> {
    let mut parent = vec!["root"];
    if let Some(delay) = args.wire_delay {
        let delay = format!("{}us", delay.as_micros());
        let words = ["qdisc", "add", "dev", WIRE, "root", "handle", "1:", "netem", "delay", &delay, "limit", "100000"];
        if host.run("tc", &words).is_err() {
            find("tc")?;
            bail!(Failure::Refused(
                "--wire-delay needs the kernel's netem (module sch_netem), which this kernel lacks; run without it"
                    .into()
            ));
        }
        parent = vec!["parent", "1:1"];
    }
    if let Some(rate) = args.wire_rate {
        // A burst smaller than a timer's tick of the rate would not reach the rate; smaller than the largest packet, it
        // would make the kernel cut packets.
        let burst = (rate as f64 / 8.0 * Duration::from_millis(4).as_secs_f64()).max(131_072.0) as u64;
        let (rate, burst) = (format!("{rate}bit"), format!("{burst}b"));
        let tbf = ["tbf", "rate", &rate, "burst", &burst, "latency", "50ms"];
        let words = [&["qdisc", "add", "dev", WIRE], &parent[..], &["handle", "10:"], &tbf].concat();
        if host.run("tc", &words).is_err() {
            find("tc")?;
            bail!(Failure::Refused(
                "--wire-rate needs the kernel's tbf (module sch_tbf), which this kernel lacks; run without it".into()
            ));
        }
    }
    Ok(())
}
