//! How a followed packet goes on through Open vSwitch's daemon: the datapath has no flow for it, or its flow says so, and
//! sends a copy to the daemon, which sends it back with what is to be done.
//!
//! The copy travels in a netlink message (<https://elixir.bootlin.com/linux/v6.12.117/source/net/openvswitch/datapath.c#L432>), and what
//! comes back is a new skb (<https://elixir.bootlin.com/linux/v6.12.117/source/net/openvswitch/datapath.c#L591>); but before any action its headers are what
//! they were. A packet that is sent up is remembered by its fingerprint; when the datapath frees it, its journey waits. What
//! the daemon sends back with that fingerprint is the packet.

use netstrata_common::{Edge, End, Point, WithProgram};

use crate::{
    cpu::now,
    end,
    globals::offset,
    ip::ETHERNET,
    moves::{goes_on, moved_aside},
    print::packet_print,
    skb,
    slots::{self, WaitsFor, journey_in, key, set_key, slot_of},
    with_program::upcalled,
};

/// A followed packet is about to be sent up.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn goes_up(packet: u64, slot: u64) -> i32 {
    let print = packet_print(skb::network_header(packet));
    let slot = slots::index(slot);
    let (Some(journey), Some(entry)) = (journey_in(slot), upcalled(print)) else { return 0 };
    *entry = WithProgram { print, id: journey.id, slot, pieces: skb::wire_packets(packet) };
    0
}

/// Whether a followed packet was sent up.
#[inline(always)]
pub fn is_up(slot: u32) -> bool {
    journey_in(slot).is_some_and(|journey| journey.last_point == Point::Upcall as u8)
}

/// A followed packet is freed that was sent up: its journey waits for what comes back.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sent_up(packet: u64, slot: u64) -> i32 {
    let from = slots::index(slot);
    let print = packet_print(skb::network_header(packet));
    let (Some(old), Some(entry)) = (journey_in(from), upcalled(print)) else { return 0 };
    if key(from) != packet {
        return 0;
    }
    old.end = End::Consumed as u8;
    set_key(from, WaitsFor::Daemon as u64);
    let is_its = entry.id == old.id;
    if let Some(to) = moved_aside(from, print)
        && is_its
    {
        entry.slot = to;
    }
    0
}

/// Whether what the daemon sends back is a followed packet; it is followed then.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn came_back(packet: u64) -> i32 {
    let begin = now();
    let to = slots::index(slot_of(packet) as u64);
    // A new skb: what was followed at its address was used up unseen.
    if key(to) == packet {
        end::close(to, End::Absorbed, 0);
    }
    // Where the network header will be: nothing has been parsed yet.
    let print = packet_print(skb::untagged(skb::read::<u64>(packet, offset!(skb_data)) + ETHERNET));
    let Some(entry) = upcalled(print) else { return 0 };
    let (from, pieces) = (slots::index(entry.slot as u64), entry.pieces);
    let Some(journey) = journey_in(from) else { return 0 };
    // The daemon may be faster on another CPU than the datapath, which then still has the packet.
    let there = key(from);
    let waits = there == WaitsFor::Daemon as u64 || there == journey.skb && journey.last_point == Point::Upcall as u8;
    if entry.id == 0 || entry.print != print || journey.id != entry.id || !waits {
        return 0;
    }
    entry.id = 0;
    if goes_on(from as u64, packet, begin, Edge::Userspace as u64) == 0 {
        return 0;
    }
    if pieces > 1
        && let Some(journey) = journey_in(to)
    {
        // It was cut on the way up: the journey goes on with the first piece.
        journey.skbs_micro = journey.skbs_micro.wrapping_mul(pieces);
        journey.skb_wire = 1;
    }
    1
}
