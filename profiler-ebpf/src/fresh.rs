//! Where packets begin: whether a packet was made here and now, or has just entered this machine.

use netstrata_common::{Point, Points};

use crate::{globals::offset, print::part, skb};

/// Whether the packet was made here and now, and is not on its way already. Devices are nested: what a device's
/// transmit function queues at another device has started before (`previous` is then the outer device's start). What Open
/// vSwitch's daemon sends back is no new packet either.
#[inline(always)]
pub fn is_fresh(point: Point, packet: u64, previous: u32) -> bool {
    let point = point as u32;
    if Points::BEGIN_MADE.has(point) {
        !Points::PASS_ON.has(previous) && is_made_here(packet)
    } else if Points::BEGIN_FROM_WIRE.has(point) {
        link_kind(packet) == NIC && begins_datagram(packet)
    } else if Points::BEGIN_FROM_TUN.has(point) {
        link_kind(packet) == TUN && begins_datagram(packet)
    } else {
        false
    }
}

/// Whether a packet at its queue was not received, nor is it one of several copies, nor carried by a tunnel: `previous` tells that of
/// the first copy only. A datagram in fragments is the first of them; those that nobody's socket sends are cut from what was
/// received, which their `skb_iif` does not tell (`ip_copy_metadata` in
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/ip_output.c>).
#[inline(always)]
fn is_made_here(packet: u64) -> bool {
    let is_owned = skb::read::<u64>(packet, offset!(skb_sk)) != 0;
    // What tc redirects to an ifb device seems to have come in by the device that it leaves.
    if skb::read::<i32>(packet, offset!(skb_iif)) != 0 && !(is_owned && link_kind(packet) == IFB)
        || skb::is_clone(packet)
        || skb::is_carried(packet)
    {
        return false;
    }
    part(skb::network_header(packet)).is_none_or(|part| part.is_first && is_owned)
}

/// Whether a packet that enters this machine is a whole datagram or its first fragment.
#[inline(always)]
fn begins_datagram(packet: u64) -> bool {
    part(skb::read(packet, offset!(skb_data))).is_none_or(|part| part.is_first)
}

const NIC: u32 = 1;
const TUN: u32 = 2;
const IFB: u32 = 3;
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/uapi/linux/if.h#L88>
const IFF_LOOPBACK: u32 = 8;

/// Where packets enter this machine: physical devices have no link operations, tun and tap are called "tun", ifb "ifb".
/// <https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/tun.c#L2426>
#[inline(always)]
fn link_kind(packet: u64) -> u32 {
    let device = skb::device(packet);
    let operations: u64 = skb::read(device, offset!(dev_link_ops));
    if operations == 0 {
        let flags: u32 = skb::read(device, offset!(dev_flags));
        return if flags & IFF_LOOPBACK == 0 { NIC } else { 0 };
    }
    let name: u64 = skb::read(operations, offset!(link_ops_kind));
    let kind: u32 = skb::read(name, 0);
    if kind == u32::from_ne_bytes(*b"tun\0") {
        TUN
    } else if kind == u32::from_ne_bytes(*b"ifb\0") {
        IFB
    } else {
        0
    }
}
