//! `--ip 6`: each address of the lab has one of IPv6 that stands for it, and every network has both.
//!
//! Builders name addresses of IPv4; where IPv6 is asked for, a namespace gets the other one beside each, and in the end the
//! network is told by those. What is between two hosts, below a tunnel, stays what it is.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use crate::cli::Ip;

impl Ip {
    /// The address of this version.
    pub fn of(self, address: IpAddr) -> IpAddr {
        match (self, address) {
            (Self::V6, IpAddr::V4(address)) => counterpart(address).into(),
            _ => address,
        }
    }

    /// The number.
    pub fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }
}

/// What stands for an address: the same digits, so that 10.201.0.2 is fd00::10:201:0:2.
pub fn counterpart(address: Ipv4Addr) -> Ipv6Addr {
    if address.is_loopback() {
        return Ipv6Addr::LOCALHOST;
    }
    let [a, b, c, d] = address.octets().map(digits);
    Ipv6Addr::new(0xfd00, 0, 0, 0, a, b, c, d)
}

/// The address with which a device speaks to its neighbours: routers ask for theirs with it.
pub fn of_link(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = address.octets().map(digits);
    Ipv6Addr::new(0xfe80, 0, 0, 0, a, b, c, d)
}

/// A number whose hexadecimal digits are the decimal ones of another.
fn digits(octet: u8) -> u16 {
    let octet = u16::from(octet);
    ((octet / 100) << 8) | ((octet / 10 % 10) << 4) | (octet % 10)
}

/// The counterpart of a word that is an address or a block of them; any other word is what it is.
pub fn word(word: &str) -> String {
    let (address, prefix) = word.split_once('/').map_or((word, None), |(address, prefix)| (address, Some(prefix)));
    let Ok(address) = address.parse::<Ipv4Addr>() else { return word.to_owned() };
    match prefix.and_then(|prefix| prefix.parse::<u8>().ok()) {
        // An octet there is a group of sixteen bits here.
        Some(prefix) => format!("{}/{}", counterpart(address), 64 + prefix / 8 * 16),
        None => counterpart(address).to_string(),
    }
}

/// Why a mode has no IPv6 here, if so.
pub fn missing(mode: &str) -> Option<String> {
    if !Path::new("/proc/net/if_inet6").exists() {
        return Some("this kernel has no IPv6".into());
    }
    let reason = match mode {
        "vm-bridge" | "vm-ovs" => "the kernel of its guest is started without IPv6",
        "docker-nat" => "Docker publishes its port at an address of IPv4",
        "docker-overlay" => "a swarm's overlay network has addresses of IPv4",
        _ => return None,
    };
    Some(format!("{mode} has no IPv6: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counterparts_have_the_same_digits_and_blocks_the_same_ends() {
        assert_eq!(counterpart(Ipv4Addr::new(192, 168, 77, 1)).to_string(), "fd00::192:168:77:1");
        assert_eq!(counterpart(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST);
        assert_eq!(of_link(Ipv4Addr::new(10, 201, 0, 2)).to_string(), "fe80::10:201:0:2");
        let words = ["10.201.0.2/24", "10.201.1.2/32", "10.201.0.0/16", "169.254.1.1", "default", "eth0"];
        let expected = [
            "fd00::10:201:0:2/112",
            "fd00::10:201:1:2/128",
            "fd00::10:201:0:0/96",
            "fd00::169:254:1:1",
            "default",
            "eth0",
        ];
        assert_eq!(words.map(word), expected);
    }

    #[test]
    fn only_what_is_not_of_the_version_yet_becomes_it() {
        let (four, six) = (IpAddr::from([10, 201, 0, 2]), IpAddr::from(counterpart(Ipv4Addr::new(10, 201, 0, 2))));
        assert_eq!([Ip::V4.of(four), Ip::V6.of(four), Ip::V6.of(six)], [four, six, six]);
    }
}
