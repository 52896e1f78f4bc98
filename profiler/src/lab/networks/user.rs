//! An overlay in user space: on each host a program reads packets from a tun device and sends them over UDP.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::bail;

use super::{Namespace, Network, Site, hosts::Hosts, namespace::find};
use crate::lab::{process::Process, signal};

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
        let mut socat = host.namespace.start(site.session, command)?;
        wait_device(&mut socat, &host.namespace)?;
        tunnels.push(Box::new(socat));
        host.namespace.ip(&["link", "set", TUN, "mtu", &mtu.to_string()])?;
        host.namespace.up(TUN)?;
        host.namespace.ip(&["route", "add", &other.block(), "dev", TUN])?;
    }
    hosts.finish(tunnels)
}

fn wait_device(socat: &mut Process, namespace: &Namespace) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    while namespace.ip(&["link", "show", TUN]).is_err() {
        signal::check()?;
        if socat.ended() {
            bail!(socat.reason());
        }
        if Instant::now() > deadline {
            bail!("socat made no device {TUN} within {START_LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
