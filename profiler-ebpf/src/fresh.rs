//! Where packets begin: whether a packet was made here and now, or has just entered this machine.

use netstrata_common::{Journey, Layer, Membership, Point};

use crate::{globals::offset, masked::sets_of, print::part, skb};

/// Whether a packet with this IP header begins here and now: it is new, and a whole datagram or the first fragment of one.
#[inline(always)]
pub fn is_fresh(point: Point, packet: u64, previous: u32, header: u64) -> bool {
    is_new(point as u32, packet, previous) && begins_datagram(point as u64, packet, header) != LATER
}

/// Whether the packet was made here and now, and is not on its way already. Devices are nested: what a device's
/// transmit function queues at another device has started before (`previous` is then the outer device's start). What Open
/// vSwitch's daemon sends back is no new packet either.
#[inline(always)]
pub fn is_new(point: u32, packet: u64, previous: u32) -> bool {
    is_new_at(point as u64, packet, previous as u64) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_new_at(point: u64, packet: u64, previous: u64) -> i32 {
    let here = sets_of(point as u32);
    let is_new = if here.is(Membership::BEGIN_MADE) {
        !sets_of(previous as u32).is(Membership::PASS_ON) && is_made_here(packet)
    } else if here.is(Membership::BEGIN_FROM_WIRE) {
        link_kind(packet) == NIC
    } else if here.is(Membership::BEGIN_FROM_TUN) {
        let kind = link_kind(packet);
        kind == TUN || here.is(Membership::BEGIN_WITHOUT_GRO) && kind == NIC && !went_to_gro(packet)
    } else {
        false
    };
    is_new as i32
}

/// Whether the packet was handed to GRO, which marks it: there it was seen before.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/core/gro.c#L628>
#[inline(always)]
fn went_to_gro(packet: u64) -> bool {
    offset!(skb_napi_id) == 0 || skb::read::<u32>(packet, offset!(skb_napi_id)) != 0
}

/// Whether the packet stands at a physical device.
#[inline(always)]
pub fn is_at_a_card(packet: u64) -> bool {
    link_kind(packet) == NIC
}

/// Whether a packet that is queued is the one that a device took in before and gave to a worker (WireGuard, to be encrypted):
/// nothing frees it meanwhile without a trace, so no other can have its address.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/wireguard/send.c#L289>
#[inline(always)]
pub fn comes_from_worker(here: Membership, before: Membership, journey: &Journey) -> bool {
    here.is(Membership::QUEUE) && before.is(Membership::TRANSMITTED) && defers(journey.device)
}

/// Whether a device gives packets to workers.
#[inline(always)]
pub fn defers(device: u64) -> bool {
    skb::link_kind(skb::read(device, offset!(dev_link_ops))) == Layer::DEFERRING[0]
}

/// Whether a packet at its queue was not received, nor is it one of several copies: `previous` tells that of the first copy only.
#[inline(always)]
fn is_made_here(packet: u64) -> bool {
    skb::read::<i32>(packet, offset!(skb_iif)) == 0 && !skb::is_clone(packet)
}

/// See [`begins_datagram`].
pub const LATER: i32 = -1;

/// 0 if a new packet is a whole datagram; its protocol if it is the first of the fragments that this machine or another one made of a
/// datagram; [`LATER`] if it is any other fragment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn begins_datagram(point: u64, packet: u64, header: u64) -> i32 {
    let Some(part) = part(header) else { return 0 };
    let is_made = sets_of(point as u32).is(Membership::BEGIN_MADE);
    if part.is_first && (!is_made || is_sent_here(packet, part.protocol)) { part.protocol as i32 } else { LATER }
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
    if device == 0 {
        return 0;
    }
    let operations: u64 = skb::read(device, offset!(dev_link_ops));
    if operations == 0 {
        let flags: u32 = skb::read(device, offset!(dev_flags));
        return if flags & IFF_LOOPBACK == 0 { NIC } else { 0 };
    }
    let kind = skb::link_kind(operations);
    if kind == u32::from_ne_bytes(*b"tun\0") { TUN } else { 0 }
}
