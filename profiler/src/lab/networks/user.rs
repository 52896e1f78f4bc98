//! An overlay in user space: on each host a program reads packets from a tun device and sends them over UDP.

use std::{process::Command, time::Duration};

use super::hosts::Hosts;
use crate::lab::{
    namespace::find,
    network::{Network, Site},
};

/// Bytes of outer headers: UDP 8, IPv4 20.
const OVERHEAD: u32 = 28;
const TUN: &str = "tun0";
const PORT: u16 = 8285;
const START_LIMIT: Duration = Duration::from_secs(10);

/// socat moves packets between tun and UDP, as Flannel's udp backend and Weave's sleeve do.
pub fn overlay(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let hosts = Hosts::new(site, [[10, 201, 1, 2], [10, 201, 2, 2]])?;
    let mtu = hosts.inner_mtu(OVERHEAD);
    let mut tunnels: Vec<Box<dyn std::any::Any>> = Vec::new();
    for (host, other) in hosts.each() {
        host.route_container(mtu)?;
        let mut command = Command::new(find("socat")?);
        command.arg(format!("TUN,tun-name={TUN},iff-no-pi,iff-up"));
        command.arg(format!("UDP4-DATAGRAM:{}:{PORT},bind={}:{PORT}", other.address, host.address));
        let mut socat = host.namespace.start(site.lab, command)?;
        socat.wait_until("device", START_LIMIT, || host.namespace.ip(&["link", "show", TUN]).is_ok())?;
        tunnels.push(Box::new(socat));
        host.namespace.ip(&["link", "set", TUN, "mtu", &mtu.to_string()])?;
        host.namespace.up(TUN)?;
        host.namespace.add_route(&[&other.block(), "dev", TUN])?;
    }
    hosts.finish(tunnels)
}
