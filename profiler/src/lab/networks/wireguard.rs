//! Two hosts with an encrypted tunnel between them.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::hosts::Hosts;
use crate::lab::network::{Network, Site};

/// Blocks of addresses of the hosts, as their containers have them.
const BLOCKS: [[u8; 4]; 2] = [[10, 205, 1, 2], [10, 205, 2, 2]];
const DEVICE: &str = "wg0";
const PORT: &str = "51820";
/// Bytes of outer headers: IPv4 20, UDP 8, type and receiver 8, counter 8, authentication 16.
const OVERHEAD: u32 = 60;

/// A WireGuard device on each host, whose only peer is the other host.
pub fn tunnel(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let hosts = Hosts::new(site, BLOCKS)?;
    let mtu = hosts.inner_mtu(OVERHEAD);
    let mut keys = Vec::new();
    for host in &hosts.both {
        let private = host.namespace.run("wg", &["genkey"])?;
        let file = site.lab.directory().join(format!("{}-{}.key", site.mode, host.port));
        fs::write(&file, &private)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        let words = format!("wg pubkey < {}", file.display());
        let public = host.namespace.run("sh", &["-c", &words])?;
        keys.push((file.display().to_string(), public.trim().to_owned()));
    }
    for ((at, (host, other)), of_peer) in hosts.each().into_iter().enumerate().zip([1, 0]) {
        host.route_container(mtu)?;
        host.namespace.ip(&["link", "add", DEVICE, "mtu", &mtu.to_string(), "type", "wireguard"])?;
        let endpoint = format!("{}:{PORT}", other.address);
        let own = ["set", DEVICE, "listen-port", PORT, "private-key", &keys[at].0];
        let peer = ["peer", &keys[of_peer].1, "endpoint", &endpoint, "allowed-ips", &other.block()];
        host.namespace.run("wg", &[&own[..], &peer[..]].concat())?;
        host.namespace.up(DEVICE)?;
        host.namespace.ip(&["route", "add", &other.block(), "dev", DEVICE])?;
    }
    hosts.finish(Vec::new())
}
