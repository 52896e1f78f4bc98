//! A published port: the client is outside and reaches the server's container through the host's address translation.

use std::{fs, net::Ipv4Addr, rc::Rc};

use super::local;
use crate::lab::{
    namespace::Namespace,
    network::{Network, Site},
    programs::{PORT, ports_used},
};

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 202, 0, 2);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 202, 0, 1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 201, 0, 1);
const SERVER: Ipv4Addr = local::ADDRESSES[1];
/// What is added to the server's ports where they are published.
const PUBLISHED: u16 = 10_000;

/// With rules of nftables.
pub fn nft(site: &mut Site<'_>) -> anyhow::Result<Network> {
    nat(site, |site, host| {
        let file = site.lab.directory().join(format!("{}.nft", site.mode));
        fs::write(&file, nft_rules(ports_used(site.args)))?;
        host.run("nft", &["-f", &file.display().to_string()]).map(drop)
    })
}

/// With the same rules of iptables.
pub fn iptables(site: &mut Site<'_>) -> anyhow::Result<Network> {
    nat(site, |site, host| {
        for rule in iptables_rules(ports_used(site.args)) {
            let words: Vec<&str> = rule.split(' ').collect();
            host.run("iptables", &words)?;
        }
        Ok(())
    })
}

fn nat(
    site: &mut Site<'_>,
    rules: impl FnOnce(&Site<'_>, &Namespace) -> anyhow::Result<()>,
) -> anyhow::Result<Network> {
    let host = site.namespace("host")?;
    host.forward()?;
    host.add_bridge("br0")?;
    host.add_address("br0", &format!("{GATEWAY}/24"))?;
    let server = site.namespace("server")?;
    local::join_bridge(&host, "br0", &server, "server")?;
    server.add_address("eth0", &format!("{SERVER}/24"))?;
    server.ip(&["route", "add", "default", "via", &GATEWAY.to_string()])?;
    let client = site.namespace("client")?;
    host.add_veth("veth-client", &client, "eth0")?;
    host.add_address("veth-client", &format!("{HOST}/24"))?;
    client.add_address("eth0", &format!("{OUTSIDE}/24"))?;
    rules(site, &host)?;
    let mut network = Network::new(Rc::new(client), Rc::new(server), SERVER);
    network.published = Some((HOST, PUBLISHED));
    Ok(network.keep(host))
}

/// Each port, as an engine publishes them one by one: (published, the server's own).
fn ports(count: u32) -> impl Iterator<Item = (u16, u16)> {
    (0..count as u16).map(|number| (PORT + PUBLISHED + number, PORT + number))
}

fn nft_rules(count: u32) -> String {
    let mut rules = String::from(
        "add table ip lab\n\
         add chain ip lab prerouting { type nat hook prerouting priority -100 ; }\n\
         add chain ip lab forward { type filter hook forward priority 0 ; policy drop ; }\n\
         add chain ip lab postrouting { type nat hook postrouting priority 100 ; }\n",
    );
    for protocol in ["tcp", "udp"] {
        for (published, own) in ports(count) {
            rules.push_str(&format!(
                "add rule ip lab prerouting ip daddr {HOST} {protocol} dport {published} dnat to {SERVER}:{own}\n"
            ));
        }
    }
    rules.push_str(
        "add rule ip lab forward ct state established,related accept\n\
         add rule ip lab forward ct status dnat accept\n\
         add rule ip lab forward iifname \"br0\" accept\n\
         add rule ip lab postrouting oifname \"br0\" ct status dnat masquerade\n\
         add rule ip lab postrouting ip saddr 10.201.0.0/24 oifname != \"br0\" masquerade\n",
    );
    rules
}

fn iptables_rules(count: u32) -> Vec<String> {
    let mut rules = vec!["-w -P FORWARD DROP".to_owned()];
    for protocol in ["tcp", "udp"] {
        for (published, own) in ports(count) {
            rules.push(format!(
                "-w -t nat -A PREROUTING -d {HOST} -p {protocol} --dport {published} -j DNAT --to-destination {SERVER}:{own}"
            ));
        }
    }
    let rest = [
        "-w -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-w -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT",
        "-w -A FORWARD -i br0 -j ACCEPT",
        "-w -t nat -A POSTROUTING -o br0 -m conntrack --ctstate DNAT -j MASQUERADE",
        "-w -t nat -A POSTROUTING -s 10.201.0.0/24 ! -o br0 -j MASQUERADE",
    ];
    rules.extend(rest.map(str::to_owned));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_its_published_port_in_both_languages() {
        let (nft, iptables) = (nft_rules(2), iptables_rules(2).join("\n"));
        for protocol in ["tcp", "udp"] {
            for (published, own) in [(15201, 5201), (15202, 5202)] {
                assert!(nft.contains(&format!("{protocol} dport {published} dnat to {SERVER}:{own}\n")), "{nft}");
                let rule = format!("-p {protocol} --dport {published} -j DNAT --to-destination {SERVER}:{own}\n");
                assert!(iptables.contains(&rule), "{iptables}");
            }
        }
        assert_eq!((nft.matches("masquerade").count(), iptables.matches("MASQUERADE").count()), (2, 2));
    }
}
