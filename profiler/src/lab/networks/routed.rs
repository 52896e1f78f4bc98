//! Two hosts that route between their containers: plainly, with BGP, or through an IP tunnel.

use std::{fs, process::Command, time::Duration};

use super::hosts::{Host, Hosts};
use crate::{
    cli::Ip,
    host::process::Process,
    lab::{
        ip::word,
        namespace::find,
        network::{Network, Site},
    },
};

/// Blocks of addresses of the two hosts: the container's address in each.
const BLOCKS: [[u8; 4]; 2] = [[10, 201, 1, 2], [10, 201, 2, 2]];

const START_LIMIT: Duration = Duration::from_secs(10);

/// Both hosts run BIRD and tell each other their blocks over BGP.
pub fn bgp(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let hosts = Hosts::new(site, BLOCKS)?;
    let mut daemons: Vec<Box<dyn std::any::Any>> = Vec::new();
    for (host, other) in hosts.each() {
        host.route_container(hosts.mtu)?;
        daemons.push(Box::new(bird(site, host, other)?));
    }
    hosts.finish(daemons)
}

fn bird(site: &Site<'_>, host: &Host, other: &Host) -> anyhow::Result<Process> {
    let base = site.lab.directory().join(format!("{}-bird-{}", site.mode, host.port));
    fs::create_dir_all(&base)?;
    let config = base.join("bird.conf");
    fs::write(&config, bird_config(host, other, site.args.ip))?;
    let mut command = Command::new(find("bird")?);
    command.arg("-f").arg("-c").arg(config).arg("-s").arg(base.join("ctl")).arg("-P").arg(base.join("pid"));
    let mut bird = host.namespace.start(site.lab, command)?;
    // The socket's file is there before the configuration is read; the file of its id comes after that.
    bird.wait_until("start", START_LIMIT, || base.join("pid").exists())?;
    Ok(bird)
}

/// As Calico writes it: the host's block, unreachable where no container has the address, goes to the other host.
fn bird_config(host: &Host, other: &Host, ip: Ip) -> String {
    let [own, next] = [host, other].map(|host| ip.of(host.address.into()));
    let block = if ip == Ip::V6 { word(&host.block()) } else { host.block() };
    let family = ip.number();
    format!(
        "router id {id};\n\
         protocol device {{ }}\n\
         protocol direct {{ ipv{family}; interface \"wire*\"; }}\n\
         protocol static {{ ipv{family}; route {block} blackhole; }}\n\
         protocol kernel {{ ipv{family} {{ import none; export where source != RTS_DEVICE; }}; }}\n\
         protocol bgp other_host {{\n\
             local {own} as 64512;\n\
             neighbor {next} as 64512;\n\
             direct;\n\
             connect delay time 1;\n\
             connect retry time 1;\n\
             error wait time 1, 2;\n\
             ipv{family} {{ import all; export where source = RTS_STATIC; next hop self; }};\n\
         }}\n",
        id = host.address,
    )
}

/// An IP-in-IP tunnel between the hosts.
pub fn ipip(site: &mut Site<'_>) -> anyhow::Result<Network> {
    // Devices of that kind carry IPv4 alone; the ones that carry IPv6 in it are called otherwise.
    tunnel(site, if site.args.ip == Ip::V6 { "sit" } else { "ipip" }, "ipip0", 20)
}

/// A GRE tunnel between the hosts.
pub fn gre(site: &mut Site<'_>) -> anyhow::Result<Network> {
    // The kernel keeps "gre0" for itself.
    tunnel(site, "gre", "gre1", 24)
}

fn tunnel(site: &mut Site<'_>, kind: &str, device: &str, overhead: u32) -> anyhow::Result<Network> {
    let hosts = Hosts::new(site, BLOCKS)?;
    let mtu = hosts.inner_mtu(overhead);
    for (host, other) in hosts.each() {
        host.route_container(mtu)?;
        let (local, remote) = (host.address.to_string(), other.address.to_string());
        let words = ["link", "add", device, "mtu", &mtu.to_string(), "type", kind, "local", &local, "remote", &remote];
        host.namespace.ip(&words)?;
        host.namespace.up(device)?;
        host.namespace.add_route(&[&other.block(), "dev", device])?;
    }
    hosts.finish(Vec::new())
}
