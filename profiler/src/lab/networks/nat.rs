//! A published port: the client is outside and reaches the server's container through the host's address translation.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
};

use super::local;
use crate::{
    cli::Ip,
    lab::{
        ip::word,
        namespace::Namespace,
        network::{Network, Site},
        programs::{PORT, ports_used},
    },
};

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 202, 0, 2);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 202, 0, 1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 201, 0, 1);
const SERVER: Ipv4Addr = local::ADDRESSES[1];
/// The block of the containers' addresses.
const SERVERS: &str = "10.201.0.0/24";
/// What is added to the server's ports where they are published.
const PUBLISHED: u16 = 10_000;

/// With rules of nftables.
pub fn nft(site: &mut Site<'_>) -> anyhow::Result<Network> {
    nat(site, |site, host| {
        let file = site.lab.directory().join(format!("{}.nft", site.mode));
        fs::write(&file, nft_rules(ports_used(site.args), site.args.ip))?;
        host.run("nft", &["-f", &file.display().to_string()]).map(drop)
    })
}

/// With the same rules of iptables.
pub fn iptables(site: &mut Site<'_>) -> anyhow::Result<Network> {
    nat(site, |site, host| {
        let program = if site.args.ip == Ip::V6 { "ip6tables" } else { "iptables" };
        for rule in iptables_rules(ports_used(site.args), site.args.ip) {
            let words: Vec<&str> = rule.split(' ').collect();
            host.run(program, &words)?;
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
    server.add_route(&["default", "via", &GATEWAY.to_string()])?;
    let client = site.namespace("client")?;
    host.add_veth("veth-client", &client, "eth0")?;
    host.add_address("veth-client", &format!("{HOST}/24"))?;
    client.add_address("eth0", &format!("{OUTSIDE}/24"))?;
    rules(site, &host)?;
    let mut network = Network::new(Rc::new(client), Rc::new(server), SERVER);
    network.published = Some((HOST.into(), PUBLISHED));
    Ok(network.keep(host))
}

/// Each port, as an engine publishes them one by one: (published, the server's own).
fn ports(count: u32) -> impl Iterator<Item = (u16, u16)> {
    (0..count as u16).map(|number| (PORT + PUBLISHED + number, PORT + number))
}

/// The host's address, a server's port as rules name it, and the block of the servers.
fn names(ip: Ip) -> (IpAddr, impl Fn(u16) -> String, String) {
    let server = ip.of(SERVER.into());
    let block = if ip == Ip::V6 { word(SERVERS) } else { SERVERS.to_owned() };
    (ip.of(HOST.into()), move |port| SocketAddr::new(server, port).to_string(), block)
}

fn nft_rules(count: u32, ip: Ip) -> String {
    let (host, server, servers) = names(ip);
    let family = if ip == Ip::V6 { "ip6" } else { "ip" };
    let mut rules = format!(
        "add table {family} lab\n\
         add chain {family} lab prerouting {{ type nat hook prerouting priority -100 ; }}\n\
         add chain {family} lab forward {{ type filter hook forward priority 0 ; policy drop ; }}\n\
         add chain {family} lab postrouting {{ type nat hook postrouting priority 100 ; }}\n",
    );
    for protocol in ["tcp", "udp"] {
        for (published, own) in ports(count) {
            rules.push_str(&format!(
                "add rule {family} lab prerouting {family} daddr {host} {protocol} dport {published} dnat to {}\n",
                server(own)
            ));
        }
    }
    rules.push_str(&format!(
        "add rule {family} lab forward ct state established,related accept\n\
         add rule {family} lab forward ct status dnat accept\n\
         add rule {family} lab forward iifname \"br0\" accept\n\
         add rule {family} lab postrouting oifname \"br0\" ct status dnat masquerade\n\
         add rule {family} lab postrouting {family} saddr {servers} oifname != \"br0\" masquerade\n",
    ));
    rules
}

fn iptables_rules(count: u32, ip: Ip) -> Vec<String> {
    let (host, server, servers) = names(ip);
    let mut rules = vec!["-w -P FORWARD DROP".to_owned()];
    for protocol in ["tcp", "udp"] {
        for (published, own) in ports(count) {
            rules.push(format!(
                "-w -t nat -A PREROUTING -d {host} -p {protocol} --dport {published} -j DNAT --to-destination {}",
                server(own)
            ));
        }
    }
    let rest = [
        "-w -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-w -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT",
        "-w -A FORWARD -i br0 -j ACCEPT",
        "-w -t nat -A POSTROUTING -o br0 -m conntrack --ctstate DNAT -j MASQUERADE",
    ];
    rules.extend(rest.map(str::to_owned));
    rules.push(format!("-w -t nat -A POSTROUTING -s {servers} ! -o br0 -j MASQUERADE"));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_its_published_port_in_both_languages() {
        let (nft, iptables) = (nft_rules(2, Ip::V4), iptables_rules(2, Ip::V4).join("\n"));
        for protocol in ["tcp", "udp"] {
            for (published, own) in [(15201, 5201), (15202, 5202)] {
                assert!(nft.contains(&format!("{protocol} dport {published} dnat to {SERVER}:{own}\n")), "{nft}");
                let rule = format!("-p {protocol} --dport {published} -j DNAT --to-destination {SERVER}:{own}\n");
                assert!(iptables.contains(&rule), "{iptables}");
            }
        }
        let (six, tables) = (nft_rules(1, Ip::V6), iptables_rules(1, Ip::V6).join("\n"));
        let (host, server) = ("fd00::10:202:0:1", "[fd00::10:201:0:3]:5201");
        assert!(six.contains(&format!("prerouting ip6 daddr {host} tcp dport 15201 dnat to {server}\n")), "{six}");
        assert!(tables.contains(&format!("-d {host} -p udp --dport 15201 -j DNAT --to-destination {server}\n")));
        assert!(six.contains("ip6 saddr fd00::10:201:0:0/112") && !six.contains("10.20"), "{six}");
        assert_eq!((nft.matches("masquerade").count(), iptables.matches("MASQUERADE").count()), (2, 2));
    }
}
