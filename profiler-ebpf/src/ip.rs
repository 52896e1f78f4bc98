//! IP headers: what they carry, behind extension headers, and what tunnels carry inside. Everything is read from the
//! packet's head, where the stack keeps its headers.

use netstrata_common::{Config, Protocol};

use crate::{
    cpu::config,
    globals::offset,
    skb::{arriving_at, network_header, read, untagged},
};

/// What an IP header carries.
#[derive(Clone, Copy)]
pub struct Carried {
    /// The protocol behind all extension headers; 0 of what is not IP.
    pub protocol: u8,
    /// It is a fragment without the beginning of what it carries.
    pub is_later_fragment: bool,
    /// Bytes from the IP header to what it carries.
    pub length: u64,
}

const NOTHING: Carried = Carried { protocol: 0, is_later_fragment: false, length: 0 };
/// Bytes of an IPv6 header without extensions.
const IPV6: u64 = 40;

/// Extension headers of IPv6: <https://www.iana.org/assignments/ipv6-parameters>.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
/// A packet has each at most once, but destination options twice.
const MOST_EXTENSIONS: usize = 7;

#[inline(always)]
fn is_extension(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY)
}

/// The first sixteen bytes of an IP header, in which both versions have what is asked for first.
pub type Begin = [u64; 2];

/// Reads the beginning of the IP header at this address.
#[inline(always)]
pub fn begin(header: u64) -> Begin {
    read(header, 0)
}

/// The version of IP; of what is not IP anything.
#[inline(always)]
pub fn version(begin: Begin) -> u8 {
    begin[0] as u8 >> 4
}

/// What the IP header at this address carries.
#[inline(always)]
pub fn carried(header: u64) -> Carried {
    let begin = begin(header);
    match version(begin) {
        4 => Carried {
            protocol: (begin[1] >> 8) as u8,
            is_later_fragment: u16::from_be((begin[0] >> 48) as u16) & 0x1fff != 0,
            length: (begin[0] & 15) * 4,
        },
        6 => {
            let next = (begin[0] >> 48) as u8;
            if !is_extension(next) {
                return Carried { protocol: next, is_later_fragment: false, length: IPV6 };
            }
            let packed = behind_extensions(header, next as u64);
            Carried { protocol: packed as u8, is_later_fragment: packed >> 8 & 1 != 0, length: packed >> 16 }
        }
        _ => NOTHING,
    }
}

/// What stands behind the extension headers of IPv6: the protocol; above it whether it is a later fragment; above that
/// the distance from the IP header. BIG TCP of kernels before 6.17 puts such a header into each large packet:
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv6/ip6_output.c#L281>.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn behind_extensions(header: u64, next: u64) -> u64 {
    let (mut next, mut length) = (next as u8, IPV6);
    for _ in 0..MOST_EXTENSIONS {
        if !is_extension(next) {
            break;
        }
        let begin = u64::from_be(read(header, length));
        let units = begin >> 48 & 0xff;
        length += match next {
            FRAGMENT => 8,
            AUTHENTICATION => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        let is_later = next == FRAGMENT && begin >> 32 & 0xfff8 != 0;
        next = (begin >> 56) as u8;
        if is_later {
            return length << 16 | 1 << 8 | next as u64;
        }
    }
    length << 16 | next as u64
}

/// What an Ethernet frame in an envelope says it is.
const ETHERNET_BRIDGED: u16 = 0x6558;
/// Bytes of an Ethernet header, and the headers of UDP and VXLAN.
pub const ETHERNET: u64 = 14;
const UDP_HEADER: u64 = 8;
const VXLAN_HEADER: u64 = 8;

/// Bytes of TCP or UDP data in a packet that stands at a device, and its protocol (0 for what is not IP). From the length of
/// the packet, not of its IP header, which has none of BIG TCP.
#[inline(always)]
pub fn payload(skb: u64) -> (u32, u8) {
    payload_of(skb, untagged(network_header(skb)))
}

/// The same, where the IP header is known.
#[inline(always)]
pub fn payload_of(skb: u64, header: u64) -> (u32, u8) {
    let data: u64 = read(skb, offset!(skb_data));
    unpacked(payload_at(skb, header, header.wrapping_sub(data)))
}

#[inline(always)]
fn unpacked(payload: u64) -> (u32, u8) {
    (payload as u32, (payload >> 32) as u8)
}

/// The same, where it is known, too, what of the packet lies before it: the bytes, and above them the protocol.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn payload_at(skb: u64, header: u64, before: u64) -> u64 {
    let Carried { protocol, is_later_fragment, length } = carried(header);
    let transport = match Protocol(protocol) {
        Protocol::TCP | Protocol::UDP if is_later_fragment => 0,
        Protocol::TCP => (read::<u8>(header, length + 12) >> 4) as u64 * 4,
        Protocol::UDP => 8,
        _ => return (protocol as u64) << 32,
    };
    let len: u32 = read(skb, offset!(skb_len));
    len.saturating_sub((before + length + transport) as u32) as u64 | (protocol as u64) << 32
}

/// As [`payload`], of what a driver hands in, by what [`arriving_header`](crate::skb::arriving_header) said. A card pads short frames.
#[inline(always)]
pub fn arriving_payload(skb: u64, (header, before): (u64, u32)) -> (u32, u8) {
    let (bytes, protocol) = unpacked(payload_within(skb, header, before as u64));
    let begin = begin(header);
    let length = if version(begin) == 4 {
        u16::from_be((begin[0] >> 16) as u16) as u32
    } else {
        let length = u16::from_be((begin[0] >> 32) as u16) as u32;
        if length == 0 { 0 } else { length + IPV6 as u32 }
    };
    let len: u32 = read(skb, offset!(skb_len));
    let padding = if length == 0 { 0 } else { len.wrapping_sub(before).saturating_sub(length) };
    (bytes.saturating_sub(padding), protocol)
}

/// As [`payload_at`], but of what is carried in tunnels, two deep, if that is IP: its reader reads that, and so its sender's machine
/// says it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn payload_within(skb: u64, header: u64, before: u64) -> u64 {
    let mut found = payload_at(skb, header, before);
    let (mut header, mut before) = (header, before);
    for _ in 1..MOST_HEADERS {
        if unpacked(found).1 == Protocol::TCP.0 {
            break;
        }
        before = bytes_before_inner(skb, header, before);
        header = arriving_at(skb, before);
        let inner = if before == 0 { 0 } else { payload_at(skb, header, before) };
        if unpacked(inner).1 == 0 {
            break;
        }
        found = inner;
    }
    found
}

/// What lies before the IP header that a packet carries in a tunnel, of which this IP header and what lies before it are known; 0 if
/// it carries none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn bytes_before_inner(skb: u64, header: u64, before: u64) -> u64 {
    let Some(config) = config() else { return 0 };
    let Carried { protocol, is_later_fragment, length } = carried(header);
    if length == 0 || is_later_fragment {
        return 0;
    }
    let is_udp = protocol == Protocol::UDP.0;
    let port = if is_udp { u16::from_be(read(header, length + 2)) } else { 0 };
    let ports = if is_udp { UDP_HEADER } else { 0 };
    // What is behind may lie elsewhere: drivers pull no more than the header whose checksum is left to them.
    let transport = arriving_at(skb, before + length + ports).wrapping_sub(ports);
    let inner = inside(protocol, transport, port, config);
    if inner == 0 { 0 } else { before + length + inner.wrapping_sub(transport) }
}

/// A packet, what it carries in a tunnel, and in a tunnel within that.
const MOST_HEADERS: usize = 3;
const MATCHES: u64 = 1;

/// Whether the packet with this IP header, or one that it carries in a tunnel, belongs to the flow that is asked for, in either
/// direction.
#[inline(always)]
pub fn is_of_flow(header: u64) -> bool {
    let mut header = untagged(header);
    for _ in 0..MOST_HEADERS {
        header = match_header(header);
        if header <= MATCHES {
            break;
        }
    }
    header == MATCHES
}

/// [`MATCHES`] if the IP header at this address is of the flow; else the address of the one inside, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn match_header(header: u64) -> u64 {
    let Some(config) = config() else { return 0 };
    let carried = carried(header);
    if carried.length == 0 {
        return 0;
    }
    let transport = header + carried.length;
    let has_ports =
        (carried.protocol == Protocol::TCP.0 || carried.protocol == Protocol::UDP.0) && !carried.is_later_fragment;
    let ports: u32 = if has_ports { u32::from_be(read(transport, 0)) } else { 0 };
    let (source, destination) = (ports >> 16, ports & 0xffff);
    let (protocol, port) = (config.flow_protocol, config.flow_port);
    if (protocol == 0 || protocol == carried.protocol as u32)
        && (port == 0 || port == source || port == destination)
        && has_address(header, config)
    {
        return MATCHES;
    }
    if carried.is_later_fragment { 0 } else { inside(carried.protocol, transport, destination as u16, config) }
}

/// Whether one end has the address that is asked for.
#[inline(always)]
fn has_address(header: u64, config: &Config) -> bool {
    let version = read::<u8>(header, 0) >> 4;
    let [first, second] = config.flow_address;
    match config.flow_version {
        0 => true,
        asked if asked != version as u32 => false,
        4 => first == read::<u32>(header, 12) as u64 || first == read::<u32>(header, 16) as u64,
        _ => {
            let is = |at: u64| first == read::<u64>(header, at) && second == read::<u64>(header, at + 8);
            is(8) || is(24)
        }
    }
}

/// Protocols of tunnels: IPv4 and IPv6 within IP, and GRE.
const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;

/// The IP header inside of a tunnel's, or 0. `port` is the destination port.
#[inline(always)]
fn inside(protocol: u8, transport: u64, port: u16, config: &Config) -> u64 {
    if protocol == IPV4_IN_IP || protocol == IPV6_IN_IP {
        transport
    } else if protocol == GRE {
        let begin: u32 = u32::from_be(read(transport, 0));
        let optional = (begin >> 31) + (begin >> 29 & 1) + (begin >> 28 & 1);
        // Version 0: what carries PPP has no header of IP.
        if begin >> 16 & 7 != 0 { 0 } else { of_type(begin as u16, transport + 4 + optional as u64 * 4) }
    } else if protocol == Protocol::UDP.0 && is_one_of(port, &config.vxlan_ports) {
        of_type(ETHERNET_BRIDGED, transport + UDP_HEADER + VXLAN_HEADER)
    } else if protocol == Protocol::UDP.0 && is_one_of(port, &config.geneve_ports) {
        let begin: u32 = u32::from_be(read(transport, UDP_HEADER));
        of_type(begin as u16, transport + UDP_HEADER + 8 + (begin >> 24 & 0x3f) as u64 * 4)
    } else {
        0
    }
}

/// The IP header of what an envelope says it carries.
#[inline(always)]
fn of_type(kind: u16, at: u64) -> u64 {
    if kind == ETHERNET_BRIDGED { untagged(at + ETHERNET) } else { at }
}

#[inline(always)]
fn is_one_of(port: u16, ports: &[u16]) -> bool {
    let mut found = 0;
    for one in ports {
        // Without a branch, of which the verifier would follow both sides each time: nothing less one is above all.
        found |= ((*one ^ port) as u64).wrapping_sub(1);
    }
    found >> 63 != 0 && port != 0
}
