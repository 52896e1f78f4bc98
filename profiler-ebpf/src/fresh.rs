//! Where packets begin: whether a packet was made here and now, or has just entered this machine.

use netstrata_common::{Point, Points};

use crate::{globals::offset, print::part, skb};

/// Whether a packet begins here and now: it is new, and a whole datagram or the first fragment of one.
#[inline(always)]
pub fn is_fresh(point: Point, packet: u64, previous: u32) -> bool {
    is_new(point, packet, previous) && begins_datagram(point, packet)
}

/// Whether the packet was made here and now, and is not on its way already. Devices are nested: what a device's
/// transmit function queues at another device has started before (`previous` is then the outer device's start). What Open
/// vSwitch's daemon sends back is no new packet either.
#[inline(always)]
pub fn is_new(point: Point, packet: u64, previous: u32) -> bool {
    let point = point as u32;
    if Points::BEGIN_MADE.has(point) {
        !Points::PASS_ON.has(previous) && is_made_here(packet)
    } else if Points::BEGIN_FROM_WIRE.has(point) {
        link_kind(packet) == NIC
    } else if Points::BEGIN_FROM_TUN.has(point) {
        link_kind(packet) == TUN
    } else {
        false
    }
}

/// Whether a packet at its queue was not received, nor is it one of several copies, nor carried by a tunnel: `previous` tells that of
/// the first copy only.
#[inline(always)]
fn is_made_here(packet: u64) -> bool {
    skb::read::<i32>(packet, offset!(skb_iif)) == 0 && !skb::is_clone(packet) && !skb::is_carried(packet)
}

/// Whether a new packet is a whole datagram, or the first of the fragments that this machine or another one made of one.
#[inline(always)]
fn begins_datagram(point: Point, packet: u64) -> bool {
    let is_made = Points::BEGIN_MADE.has(point as u32);
    let header = if is_made { skb::network_header(packet) } else { skb::read(packet, offset!(skb_data)) };
    part(header).is_none_or(|part| part.is_first && (!is_made || is_sent_here(packet, part.protocol)))
}

/// Whether a socket of the device's namespace sends the fragment in its own protocol. Others are cut from what a tunnel
/// carries. Packets keep their socket up to IP's reception.
#[inline(always)]
fn is_sent_here(packet: u64, protocol: u8) -> bool {
    let socket: u64 = skb::read(packet, offset!(skb_sk));
    socket != 0
        && skb::read::<u16>(socket, offset!(sk_protocol)) as u8 == protocol
        && skb::socket_netns(socket) == skb::device_key(skb::device(packet)).netns
}

const NIC: u32 = 1;
const TUN: u32 = 2;
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/uapi/linux/if.h#L88>
const IFF_LOOPBACK: u32 = 8;

/// Where packets enter this machine: physical devices have no link operations, tun and tap are called "tun".
/// <https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/tun.c#L2426>
#[inline(always)]
fn link_kind(packet: u64) -> u32 {
    let device = skb::device(packet);
    let operations: u64 = skb::read(device, offset!(dev_link_ops));
    if operations == 0 {
        let flags: u32 = skb::read(device, offset!(dev_flags));
        return if flags & IFF_LOOPBACK == 0 { NIC } else { 0 };
    }
    let kind = skb::link_kind(operations);
    if kind == u32::from_ne_bytes(*b"tun\0") { TUN } else { 0 }
}
