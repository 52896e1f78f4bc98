//! A journey moves to the slot of the skb that its packet goes on as.

use netstrata_common::{Edge, End, Journey, Loss};

use crate::{
    cpu::{now, state},
    end::{self, evict},
    function, long,
    maps::JOURNEYS,
    slots::{self, journey_in, key, set_key, slot_of},
};

/// Copies a journey from slot to slot; `forks` if the old one goes on too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_journey(from: u64, to: u64, forks: u64) -> i32 {
    const WORDS: usize = size_of::<Journey>() / 8;
    function::moved(from, to, forks);
    let slot = slots::index(to);
    let (Some(from), Some(to)) = (JOURNEYS.get_ptr(slots::index(from)), JOURNEYS.get_ptr_mut(slots::index(to))) else {
        return 0;
    };
    let (from, to) = (from.cast::<u64>(), to.cast::<u64>());
    for index in 0..WORDS {
        // SAFETY: both point at a whole journey, made of 8-byte words; volatile, or the compiler calls a copy by bytes.
        unsafe { core::ptr::write_volatile(to.add(index), core::ptr::read_volatile(from.add(index))) };
    }
    // The tail of a copy that goes its own way is made when that has its own number.
    if forks == 0
        && let Some(journey) = journey_in(slot)
        && journey.tail != 0
    {
        long::tail_moved(slot as u64, 0);
    }
    0
}

/// Lets the journey of a slot, whose packet nobody saw for a while, go on as what became of it, by this edge. `begin`: since
/// when the observer works on it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn goes_on(from: u64, packet: u64, begin: u64, edge: u64) -> i32 {
    let (from, to) = (slots::index(from), slots::index(slot_of(packet) as u64));
    let (Some(cpu), Some(old), Some(new)) = (state(), journey_in(from), journey_in(to)) else { return 0 };
    if from != to {
        if key(to) != 0 && !evict(to, begin) {
            cpu.lost[Loss::SlotBusy] += old.weight as u64;
            end::close(from, old.unseen_end(), 0);
            return 0;
        }
        copy_journey(from as u64, to as u64, 0);
        old.skb = 0;
        set_key(from, 0);
    }
    new.skb = packet;
    new.end = End::Open as u8;
    new.next_edge = edge as u8;
    new.copied = 0;
    set_key(to, packet);
    // What this took is not the packet's time.
    let spent = now().wrapping_sub(begin);
    new.start_ns += spent;
    new.last_ns += spent;
    1
}

/// A journey whose packet is gone makes room, because that packet's address will soon be another's, which has its slot. The slot where it
/// waits from now on, by a fingerprint; `None` if it stays.
#[inline(always)]
pub fn moved_aside(from: u32, print: u64) -> Option<u32> {
    let to = slots::index(slot_of(print) as u64);
    let old = journey_in(from)?;
    if from == to || key(to) != 0 && !evict(to, now()) {
        return None;
    }
    let waits = key(from);
    copy_journey(from as u64, to as u64, 0);
    old.skb = 0;
    set_key(to, waits);
    set_key(from, 0);
    Some(to)
}

/// The journey goes on as the skb at the end of the queue. If that one is followed itself, this one ends here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn coalesced(packet: u64, slot: u64, tail: u64) -> i32 {
    let (from, to) = (slots::index(slot), slots::index(slot_of(tail) as u64));
    if from == to || tail == 0 || key(to) == tail || key(to) != 0 && !evict(to, now()) {
        end::close(from, End::Merged, 0);
        return 0;
    }
    copy_journey(from as u64, to as u64, 0);
    let (Some(old), Some(new)) = (journey_in(from), journey_in(to)) else { return 0 };
    if old.skb != packet {
        return 0;
    }
    old.skb = 0;
    set_key(from, 0);
    new.skb = tail;
    new.next_edge = Edge::Coalesce as u8;
    set_key(to, tail);
    0
}
