//! Reads of kernel structures, at offsets from the running kernel's BTF. Only followed packets are read.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use netstrata_common::{DeviceKey, Protocol};

use crate::globals::offset;

/// A number, for which all-zero is valid.
pub trait Number: Copy {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for i32 {}
impl Number for u64 {}

/// Reads a value at `address + offset`; 0 where the memory cannot be read.
#[inline(always)]
pub fn read<T: Number>(address: u64, offset: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // Without a branch, of which the verifier would follow both sides: the helper checks the address, also for null, and
    // writes zeros where it cannot read:
    // https://elixir.bootlin.com/linux/v6.12.117/source/kernel/trace/bpf_trace.c#L217
    // SAFETY: the buffer has the size that is passed, and the helper writes all of it.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address.wrapping_add(offset) as *const core::ffi::c_void,
        );
        value.assume_init()
    }
}

/// Copies bytes between values of maps: the compiler would copy them one by one.
///
/// # Safety
///
/// Both are valid for so many bytes.
#[inline(always)]
pub unsafe fn copy<T>(to: *mut T, from: *const T, bytes: u32) {
    // SAFETY: the caller's promise.
    unsafe { bpf_probe_read_kernel(to.cast(), bytes, from.cast()) };
}

/// Namespace and index of a `net_device`.
#[inline(always)]
pub fn device_key(dev: u64) -> DeviceKey {
    let net: u64 = read(dev, offset!(dev_net));
    DeviceKey { netns: read(net, offset!(net_inum)), ifindex: read(dev, offset!(dev_ifindex)) }
}

/// The `net_device` that a packet is at.
#[inline(always)]
pub fn device(skb: u64) -> u64 {
    read(skb, offset!(skb_dev))
}

/// The first letters of the kind of a device, from its link operations.
#[inline(always)]
pub fn link_kind(operations: u64) -> u32 {
    let name: u64 = read(operations, offset!(link_ops_kind));
    read(name, 0)
}

/// Whether a packet is at an ifb device. <https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/ifb.c#L367>
#[inline(always)]
pub fn is_at_ifb(skb: u64) -> bool {
    link_kind(read(device(skb), offset!(dev_link_ops))) == u32::from_ne_bytes(*b"ifb\0")
}

/// Namespace of a socket.
#[inline(always)]
pub fn socket_netns(sk: u64) -> u32 {
    let net: u64 = read(sk, offset!(sk_net));
    read(net, offset!(net_inum))
}

/// Segments that a packet carries: what it is on a wire.
#[inline(always)]
pub fn wire_packets(skb: u64) -> u32 {
    let head: u64 = read(skb, offset!(skb_head));
    let end: u32 = read(skb, offset!(skb_end));
    let segments: u16 = read(head + end as u64, offset!(shinfo_gso_segs));
    if segments == 0 { 1 } else { segments as u32 }
}

/// Address of the packet's network header.
#[inline(always)]
pub fn network_header(skb: u64) -> u64 {
    let head: u64 = read(skb, offset!(skb_head));
    let at: u16 = read(skb, offset!(skb_network_header));
    head + at as u64
}

/// Address of the network header of what a tunnel's packet carries, or of the packet itself.
#[inline(always)]
pub fn innermost_header(skb: u64) -> u64 {
    let head: u64 = read(skb, offset!(skb_head));
    let outer: u16 = read(skb, offset!(skb_network_header));
    let inner: u16 = read(skb, offset!(skb_inner_network_header));
    // What was taken out of a tunnel keeps the number of its header, which is the outer one now.
    head + if inner > outer { inner } else { outer } as u64
}

/// Whether a tunnel carries the packet.
#[inline(always)]
pub fn is_carried(skb: u64) -> bool {
    read::<u16>(skb, offset!(skb_inner_network_header)) > read::<u16>(skb, offset!(skb_network_header))
}

/// Whether it is a clone that no socket owns.
#[inline(always)]
pub fn is_clone(skb: u64) -> bool {
    read::<u8>(skb, offset!(skb_cloned)) & 1 != 0 && read::<u64>(skb, offset!(skb_sk)) == 0
}

/// Bytes of each segment of a packet, and the address of the list of pages with its data; 0 if it has none.
#[inline(always)]
pub fn cut_into(skb: u64) -> (u16, u64) {
    let head: u64 = read(skb, offset!(skb_head));
    let end: u32 = read(skb, offset!(skb_end));
    let shared = head + end as u64;
    let pages: u8 = read(shared, offset!(shinfo_nr_frags));
    (read(shared, offset!(shinfo_gso_size)), if pages == 0 { 0 } else { shared + offset!(shinfo_frags) })
}

/// Address of the packet's transport header.
#[inline(always)]
pub fn transport_header(skb: u64) -> u64 {
    let head: u64 = read(skb, offset!(skb_head));
    let at: u16 = read(skb, offset!(skb_transport_header));
    head + at as u64
}

/// Bytes of TCP or UDP data in a packet that stands at a device, and its protocol (0 for what is not IP).
#[inline(always)]
pub fn payload(skb: u64) -> (u32, u8) {
    let data: u64 = read(skb, offset!(skb_data));
    let header = network_header(skb);
    let first: u8 = read(header, 0);
    let (protocol, length): (u8, u64) = match first >> 4 {
        4 => (read(header, 9), (first & 15) as u64 * 4),
        6 => (read(header, 6), 40),
        _ => return (0, 0),
    };
    let transport = match Protocol(protocol) {
        Protocol::TCP => (read::<u8>(header, length + 12) >> 4) as u64 * 4,
        Protocol::UDP => 8,
        _ => return (0, protocol),
    };
    let len: u32 = read(skb, offset!(skb_len));
    let before = (header + length + transport).wrapping_sub(data) as u32;
    (len.saturating_sub(before), protocol)
}

/// `gro_result_t`: the packet went into another one.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/linux/netdevice.h#L412>
const GRO_MERGED: u32 = 0;
const GRO_MERGED_FREE: u32 = 1;

/// Whether GRO says that it put a packet into another one.
#[inline(always)]
pub fn is_merged(result: u32) -> bool {
    result == GRO_MERGED || result == GRO_MERGED_FREE
}

/// Whether the packet, or the packet inside its VXLAN envelope, belongs to a flow, in either direction.
#[inline(always)]
pub fn flow_matches(skb: u64, protocol: u32, address: u32, port: u32) -> bool {
    let header = network_header(skb);
    let (matches, inner) = ip_matches(header, protocol, address, port);
    if matches {
        return true;
    }
    inner != 0 && ip_matches(inner, protocol, address, port).0
}

/// The IP protocol number of IP in IP.
const IP_IN_IP: u8 = 4;
/// The standard port of VXLAN (<https://elixir.bootlin.com/linux/v6.12.117/source/include/net/vxlan.h#L13>) and Linux's own
/// default (`udp_port` in <https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/vxlan/vxlan_core.c>).
const VXLAN_PORTS: [u16; 2] = [4789, 8472];

/// Matches one IPv4 header; also returns the address of the IPv4 header inside, if it carries VXLAN or IP.
#[inline(always)]
fn ip_matches(header: u64, protocol: u32, address: u32, port: u32) -> (bool, u64) {
    let first: u8 = read(header, 0);
    if first >> 4 != 4 {
        return (false, 0);
    }
    let carried: u8 = read(header, 9);
    let transport = header + (first & 15) as u64 * 4;
    let (source, destination): (u32, u32) = (read(header, 12), read(header, 16));
    let has_ports = carried == Protocol::TCP.0 || carried == Protocol::UDP.0;
    let source_port = if has_ports { u16::from_be(read(transport, 0)) } else { 0 };
    let destination_port = if has_ports { u16::from_be(read(transport, 2)) } else { 0 };
    let matches = (protocol == 0 || protocol == carried as u32)
        && (address == 0 || address == source || address == destination)
        && (port == 0 || port == source_port as u32 || port == destination_port as u32);
    let inner = if carried == IP_IN_IP {
        transport
    } else if carried == Protocol::UDP.0 && (destination_port == VXLAN_PORTS[0] || destination_port == VXLAN_PORTS[1]) {
        transport + 8 + 8 + 14
    } else {
        0
    };
    (matches, inner)
}
