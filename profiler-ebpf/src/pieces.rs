//! How a followed packet goes on that a queueing discipline cuts when it takes it: a token bucket or CAKE wants pieces that it
//! can send one by one. They leave in any context and on any CPU, after whatever lay in the queue before, and are known by
//! what they carry.
//!
//! - <https://elixir.bootlin.com/linux/v6.12.117/source/net/sched/sch_tbf.c#L207>
//! - <https://elixir.bootlin.com/linux/v6.12.117/source/net/sched/sch_cake.c#L1745>
//!
//! The discipline frees the packet while it takes it, and announces then that it has taken it (`qdisc_enqueue`, from 5.15 on).
//! What is cut for a device only when it is sent leaves the same way, but at once.

use netstrata_common::{Edge, Point};

use crate::{
    cpu::now,
    moves::{goes_on, moved_aside},
    print::piece_print,
    skb,
    slots::{self, WaitsFor, journey_in, key, slot_of},
    with_program::{forget, held},
};

/// Whether the journey in a slot, which waits for its packet's pieces, is that of a packet that reached this queue last.
#[inline(always)]
pub fn are_of(packet: u64, slot: u32) -> bool {
    journey_in(slot).is_some_and(|journey| journey.skb == packet && journey.last_point == Point::Queue as u8)
}

/// A queueing discipline has taken a packet that is gone: its pieces lie there.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lie(slot: u64) -> i32 {
    let from = slots::index(slot);
    let Some(old) = journey_in(from) else { return 0 };
    let print = old.print;
    let Some(entry) = held(print) else { return 0 };
    if key(from) != WaitsFor::Child as u64 || entry.id != old.id {
        return 0;
    }
    if let Some(to) = moved_aside(from, print) {
        entry.slot = to;
    }
    0
}

/// Whether a packet that leaves a device's queue is the piece with which a followed one goes on; it is followed then.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn leaves(packet: u64, device: u64) -> i32 {
    let begin = now();
    let print = piece_print(packet, 0, device);
    let Some(entry) = held(print) else { return 0 };
    let (from, id) = (slots::index(entry.slot as u64), entry.id);
    let Some(journey) = journey_in(from) else { return 0 };
    if id == 0
        || entry.print != print
        || journey.id != id
        || journey.print != print
        || key(from) != WaitsFor::Child as u64
    {
        return 0;
    }
    forget(print, id);
    journey.print = 0;
    let pieces = journey.skb_wire;
    if goes_on(from as u64, packet, begin, Edge::Segment as u64) == 0 {
        return 0;
    }
    if let Some(journey) = journey_in(slot_of(packet)) {
        journey.skbs_micro = journey.skbs_micro.wrapping_mul(pieces);
        journey.skb_wire = skb::wire_packets(packet);
    }
    1
}
