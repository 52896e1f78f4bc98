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
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn flow_print(header: u64) -> u64 {
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

/// The IP protocol number of IPv6's fragment header.
const FRAGMENT_HEADER: u8 = 44;

/// Where a fragment stands in its datagram.
pub struct Part {
    /// Fingerprint of the datagram, which all its fragments have in common.
    pub print: u64,
    /// Fingerprint of the datagram while it was whole.
    pub whole: u64,
    /// Whether it is the first one.
    pub is_first: bool,
    /// The protocol of what IP carries in it.
    pub protocol: u8,
}

/// Where the packet stands in its datagram, from the IP header at this address; `None` if it is whole.
#[inline(always)]
pub fn part(header: u64) -> Option<Part> {
    let begin = ip::begin(header);
    let [first, second] = begin;
    if ip::version(begin) == 4 {
        // Without the bit that forbids it: more fragments, and the offset.
        let place = u16::from_be((first >> 48) as u16) & 0x3fff;
        if place == 0 {
            return None;
        }
        let print = datagram(header, first);
        Some(Part { print, whole: print, is_first: place & 0x1fff == 0, protocol: (second >> 8) as u8 })
    } else if ip::version(begin) == 6 && (first >> 48) as u8 == FRAGMENT_HEADER {
        let fields: u64 = skb::read(header, 40);
        let place = u16::from_be((fields >> 16) as u16) & !6;
        if place == 0 {
            return None;
        }
        let whole = datagram(header, first);
        let print = mix(whole, fields >> 32);
        Some(Part { print, whole, is_first: place & !7 == 0, protocol: fields as u8 })
    } else {
        None
    }
}

/// Fingerprint of a datagram that is whole, from the IP header at this address: addresses and IPv4's identification.
#[inline(always)]
pub fn datagram_print(header: u64) -> u64 {
    datagram(header, skb::read(header, 0))
}

/// The same of the datagram so many numbers later.
#[inline(always)]
pub fn later_datagram_print(header: u64, later: u32) -> u64 {
    let first: u64 = skb::read(header, 0);
    let number = u16::from_be((first >> 32) as u16).wrapping_add(later as u16);
    datagram(header, first & !(0xffff << 32) | (number.to_be() as u64) << 32)
}

/// From the header's address and its first eight bytes.
#[inline(always)]
fn datagram(header: u64, first: u64) -> u64 {
    if (first as u8) >> 4 == 4 {
        mix(skb::read(header, 12), first >> 32 & 0xffff)
    } else {
        let (source, destination): (u64, u64) = (skb::read(header, 16), skb::read(header, 32));
        mix(source, destination)
    }
}

/// Pages of a packet's data that are looked at.
const PAGES: u64 = 4;

/// Fingerprint of a piece of a packet with several segments, from the whole packet (`nth` of its pieces) or from the piece itself (0): of
/// TCP its flow and sequence number, of others where its data lies, which pieces do not copy, or IPv4's identification.
/// Of what a tunnel carries that which it carries: cutting a packet moves its headers there.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/udp_offload.c#L191>
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/core/skbuff.c#L4856>
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn piece_print(packet: u64, nth: u64, device: u64) -> u64 {
    let header = skb::innermost_header(packet);
    let first: u8 = skb::read(header, 0);
    let (length, protocol) = match first >> 4 {
        4 => ((first & 15) as u64 * 4, 9),
        _ => (40, 6),
    };
    let protocol: u8 = skb::read(header, protocol);
    let (size, pages) = skb::cut_into(packet);
    let at = nth.wrapping_mul(size as u64) as u32;
    let print = if protocol == Protocol::TCP.0 {
        let sequence = u32::from_be(skb::read(header, length + 4)).wrapping_add(at);
        mix(flow_print(header), sequence as u64)
    } else if pages != 0 {
        data_print(pages, at)
    } else if first >> 4 == 4 {
        mix(flow_print(header), later_datagram_print(header, nth as u32))
    } else {
        flow_print(header)
    };
    mix(print, device)
}

/// Where the byte of data lies that stands so far behind the first one.
#[inline(always)]
fn data_print(pages: u64, mut at: u32) -> u64 {
    // `skb_frag_t`: page, length, offset: https://elixir.bootlin.com/linux/v6.12.117/source/include/linux/skbuff.h#L355
    for index in 0..PAGES {
        let (page, place): (u64, u64) = (skb::read(pages, index * 16), skb::read(pages, index * 16 + 8));
        let (length, offset) = (place as u32, (place >> 32) as u32);
        if at < length {
            return mix(page, offset.wrapping_add(at) as u64);
        }
        at -= length;
    }
    0
}
