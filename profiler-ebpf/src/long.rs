//! Long journeys: their slots hold most of them whole, and what is beyond is in a tail, of which there are few. Without a
//! tail, and beyond its end, the first crossings and the latest ones are kept: a long journey keeps its time, its end and its
//! reader, and what lies between is one span.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use netstrata_common::{
    Crossing, Journey, LATEST_KEPT, Loss, MAX_CROSSINGS, TAIL_CROSSINGS, TAILS as MOST_TAILS, Tail,
};

use crate::{
    cpu::state,
    log,
    maps::TAILS,
    masked::masked,
    skb,
    slots::{self, journey_in},
};

/// So many tails are looked at for a free one.
const TRIES: u32 = 4;

#[inline(always)]
fn tail(number: u32) -> Option<&'static mut Tail> {
    // SAFETY: a valid pointer into the map; only the CPU that works on the journey's packet comes here.
    TAILS.get_ptr_mut(number & (MOST_TAILS as u32 - 1)).map(|tail| unsafe { &mut *tail })
}

/// The tail of a journey.
#[inline(always)]
pub fn tail_of(journey: &Journey) -> Option<&'static mut Tail> {
    if journey.tail == 0 { None } else { tail(journey.tail as u32 - 1) }
}

/// Finds a tail for the journey in a slot; its number and one, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn claim(slot: u64, id: u64) -> i32 {
    let slot = slots::index(slot);
    for step in 0..TRIES {
        let number = slot.wrapping_add(step) & (MOST_TAILS as u32 - 1);
        let Some(tail) = tail(number) else { return 0 };
        // That of a journey which another CPU overwrote is nobody's.
        let is_held = tail.id != 0
            && journey_in(tail.slot)
                .is_some_and(|journey| journey.id == tail.id && journey.tail as u32 == number + 1 && journey.skb != 0);
        if !is_held {
            (tail.id, tail.slot, tail.ns) = (id, slot, 0);
            return number as i32 + 1;
        }
    }
    0
}

/// A place in a tail.
#[inline(always)]
pub fn place(at: u64) -> usize {
    masked::<255>(at)
}

/// The place in a tail of the crossing with this number.
#[inline(always)]
fn place_of(number: u32) -> usize {
    let at = number.wrapping_sub(MAX_CROSSINGS as u32);
    if at < TAIL_CROSSINGS as u32 { place(at as u64) } else { TAIL_CROSSINGS }
}

/// The latest crossing of a journey that has more than its slot holds.
#[inline(always)]
fn latest(journey: &mut Journey) -> &mut Crossing {
    let Some(tail) = tail_of(journey) else { return &mut journey.crossings[MAX_CROSSINGS - 1] };
    let at = place_of(journey.count.wrapping_sub(1));
    if at < TAIL_CROSSINGS { &mut tail.crossings.0[at] } else { &mut tail.crossings.0[TAIL_CROSSINGS - 1] }
}

/// Puts a crossing behind the latest ones, at the end of what is full: the first of them is joined with the one before.
#[inline(always)]
fn push<const LENGTH: usize>(full: &mut [Crossing; LENGTH], next: Crossing) {
    let first = LENGTH - LATEST_KEPT;
    full[first - 1] = Crossing { delta_ns: full[first - 1].delta_ns + full[first].delta_ns, ..full[first] };
    for at in first..LENGTH - 1 {
        full[at] = full[at + 1];
    }
    full[LENGTH - 1] = next;
}

/// Adds a crossing of a journey whose slot is full. `at` is the namespace, and below it the device.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn append_long(slot: u64, point: u64, at: u64, delta_ns: u64) -> i32 {
    let slot = slots::index(slot);
    let (Some(cpu), Some(journey)) = (state(), journey_in(slot)) else { return 0 };
    let count = journey.count;
    if count == MAX_CROSSINGS as u32 {
        journey.tail = claim(slot as u64, journey.id) as u16;
    }
    // SAFETY: a helper without arguments.
    let processor = unsafe { bpf_get_smp_processor_id() } as u16;
    let before =
        if count == MAX_CROSSINGS as u32 { journey.crossings[MAX_CROSSINGS - 1].cpu } else { latest(journey).cpu };
    journey.cpu_hops += (before != processor) as u32;
    let next = Crossing {
        delta_ns,
        netns: (at >> 32) as u32,
        ifindex: at as u32,
        point: point as u8,
        edge: journey.next_edge,
        cpu: processor,
        seen: cpu.crossings as u32,
    };
    let full = match tail_of(journey) {
        Some(tail) => {
            tail.ns += delta_ns;
            let at = place_of(count);
            if at < TAIL_CROSSINGS {
                tail.crossings.0[at] = next;
            } else {
                push(&mut tail.crossings.0, next);
            }
            MAX_CROSSINGS + TAIL_CROSSINGS
        }
        None => {
            push(&mut journey.crossings, next);
            MAX_CROSSINGS
        }
    };
    // Once for each journey.
    if count == full as u32 {
        cpu.lost[Loss::PathTooLong] += journey.weight as u64;
        if log::tells_packets() {
            log::say_too_long(journey.skb, point);
        }
    }
    0
}

/// Namespace and device of the latest crossing of such a journey.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn latest_device(slot: u64) -> u64 {
    let Some(journey) = journey_in(slots::index(slot)) else { return 0 };
    let latest = latest(journey);
    (latest.netns as u64) << 32 | latest.ifindex as u64
}

/// The latest crossing of such a journey took longer.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lengthen(slot: u64, delta_ns: u64) -> i32 {
    let Some(journey) = journey_in(slots::index(slot)) else { return 0 };
    latest(journey).delta_ns += delta_ns;
    if let Some(tail) = tail_of(journey) {
        tail.ns += delta_ns;
    }
    0
}

/// A journey ends: its tail is free.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn free_tail(slot: u64) -> i32 {
    let slot = slots::index(slot);
    let Some(journey) = journey_in(slot) else { return 0 };
    if let Some(tail) = tail_of(journey)
        && tail.id == journey.id
        && tail.slot == slot
    {
        tail.id = 0;
    }
    journey.tail = 0;
    0
}

/// A journey is in another slot now: so its tail is there. A copy that goes its own way gets one of its own; 0 if there is none for it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tail_moved(to: u64, forks: u64) -> i32 {
    let to = slots::index(to);
    let Some(journey) = journey_in(to) else { return 0 };
    let Some(tail) = tail_of(journey) else { return 0 };
    if forks == 0 {
        tail.slot = to;
        return 1;
    }
    journey.tail = claim(to as u64, journey.id) as u16;
    if let Some(own) = tail_of(journey) {
        own.ns = tail.ns;
        // SAFETY: both are valid and of that size.
        unsafe { skb::copy(&raw mut own.crossings, &raw const tail.crossings, size_of_val(&tail.crossings) as u32) };
        return 1;
    }
    0
}
