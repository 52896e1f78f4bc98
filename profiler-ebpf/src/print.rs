//! Fingerprints: what two skbs have in common that carry the same packet, or packets of the same flow.

use netstrata_common::{Protocol, mix};

use crate::{
    ip::{self, Carried},
    skb,
};

/// The IP protocol number of UDP.
pub const UDP: u8 = Protocol::UDP.0;

/// Fingerprint of a flow, from the IP header at this address: addresses and ports. Of ARP, the sender's and the sought
/// address.
#[inline(always)]
pub fn flow_print(header: u64) -> u64 {
    let first: u8 = skb::read(header, 0);
    if first >> 4 == 4 {
        let addresses: u64 = skb::read(header, 12);
        let ports: u32 = skb::read(header, (first & 15) as u64 * 4);
        mix(addresses, ports as u64)
    } else if first >> 4 == 6 {
        let (source, destination): (u64, u64) = (skb::read(header, 16), skb::read(header, 32));
        let ports: u32 = skb::read(header, ip::carried(header).length);
        mix(mix(source, destination), ports as u64)
    } else {
        let (sender, sought): (u64, u64) = (skb::read(header, 8), skb::read(header, 20));
        mix(sender, sought)
    }
}

/// Fingerprint of one packet: of its flow, IPv4's identification, and what stands where TCP has its sequence numbers, or
/// the first of a datagram's bytes (its checksum may be filled in on the way).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn packet_print(header: u64) -> u64 {
    let Carried { protocol, length, .. } = ip::carried(header);
    if length == 0 {
        return flow_print(header);
    }
    let identification: u32 = skb::read(header, 4);
    let sequences: u64 = if protocol == UDP {
        let bytes: u16 = u16::from_be(skb::read(header, length + 4));
        if bytes < 16 { bytes as u64 } else { skb::read(header, length + 8) }
    } else {
        skb::read(header, length + 4)
    };
    mix(mix(flow_print(header), identification as u64), sequences)
}
