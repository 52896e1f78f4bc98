//! What hooks took of the spans of a journey, and at its end the table of all.

use netstrata_common::{Charge, FunctionKey, KINDS, Loss, MAX_CHARGES, MAX_CROSSINGS, MAX_HOOKS, MAX_TOUCHED};

use super::work::{SPAN, forget, head, work_of};
use crate::{
    atomic::add,
    globals::function_tier,
    log,
    maps::{BPF_NOEXIST, CHARGES, FUNCTIONS, JOURNEYS, ZERO_FUNCTION},
    skb, slots,
};

/// A count as a charge holds it: the largest stands for all that are larger.
#[inline(always)]
fn short(count: u64) -> u16 {
    if count > u16::MAX as u64 { u16::MAX } else { count as u16 }
}

#[inline(always)]
fn shorts(counts: [u32; KINDS]) -> [u16; KINDS] {
    [short(counts[0] as u64), short(counts[1] as u64)]
}

/// Puts to a journey's charges what hooks did on its CPU while it lay in a queue: they may have kept it there. On another
/// CPU than the one that queued it nothing is known.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_waited(slot: u64, index: u64, same_cpu: u64) -> i32 {
    let slot = slots::index(slot);
    let (Some(head), Some(charges)) = (head(), CHARGES.get_ptr_mut(slot)) else { return 0 };
    // SAFETY: a valid pointer into the map; only the CPU that works on the packet comes here.
    let charges = unsafe { &mut *charges };
    let at = charges.count as usize;
    if at >= MAX_CHARGES {
        head.lost[Loss::FunctionChargesFull] += 1;
        return 0;
    }
    let mut charge = Charge { index: index as u8, hook: SPAN as u8, calls: 1, ..Charge::default() };
    if same_cpu != 0 {
        let (now, before) = (&head.tally, &charges.queued);
        let ns = now.ns[0].wrapping_sub(before.ns[0]) + now.ns[1].wrapping_sub(before.ns[1]);
        charge.value = if ns > u32::MAX as u64 { u32::MAX } else { ns as u32 };
        charge.entered = since(now.entered, before.entered);
        charge.left = since(now.left, before.left);
        charge.idle = since(now.idle, before.idle);
        charge.tails = short(now.tails.wrapping_sub(before.tails));
        charge.softirqs = short(now.softirqs.wrapping_sub(before.softirqs));
    }
    charges.charges[at] = charge;
    charges.count = at as u32 + 1;
    charges.complete |= 1 << (index & 63);
    0
}

#[inline(always)]
fn since(now: [u64; KINDS], before: [u64; KINDS]) -> [u16; KINDS] {
    [short(now[0].wrapping_sub(before[0])), short(now[1].wrapping_sub(before[1]))]
}

/// Puts what the hooks took since the last crossing to a journey's charges.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_flush(level: u64, slot: u64, index: u64) -> i32 {
    let (Some(head), Some(work), Some(charges)) =
        (head(), work_of(level as u32), CHARGES.get_ptr_mut(slots::index(slot)))
    else {
        return 0;
    };
    // SAFETY: a valid pointer into the map; only the CPU that works on the packet comes here.
    let charges = unsafe { &mut *charges };
    for place in 0..MAX_TOUCHED {
        if place as u32 >= work.touched {
            break;
        }
        let hook = work.list[place] as usize & (MAX_HOOKS - 1);
        let taken = &work.taken[hook];
        let at = charges.count as usize;
        if at >= MAX_CHARGES {
            head.lost[Loss::FunctionChargesFull] += 1;
            break;
        }
        charges.charges[at] = Charge {
            ns: if taken.ns > u32::MAX as u64 { u32::MAX } else { taken.ns as u32 },
            index: index as u8,
            hook: hook as u8,
            calls: taken.calls as u16,
            value: taken.value,
            returns: taken.returns as u16,
            entered: shorts(taken.entered),
            left: shorts(taken.left),
            nested: shorts(taken.nested),
            ends: taken.ends as u16,
            tails: taken.tails as u16,
            ..Charge::default()
        };
        charges.count = at as u32 + 1;
    }
    forget(work);
    0
}

/// A journey goes on, or a copy of it does, in another slot.
#[inline(always)]
pub fn moved(from: u64, to: u64, forks: u64) {
    if function_tier() != 0 {
        function_moved(from, to, forks);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_moved(from: u64, to: u64, forks: u64) -> i32 {
    let (from, to) = (slots::index(from), slots::index(to));
    let (Some(old), Some(new), Some(head)) = (CHARGES.get_ptr(from), CHARGES.get_ptr_mut(to), head()) else { return 0 };
    // SAFETY: valid pointers into the map.
    let (old, new) = unsafe { (&*old, &mut *new) };
    (new.count, new.complete, new.queued) = (old.count, old.complete, old.queued);
    let count = if old.count > MAX_CHARGES as u32 { MAX_CHARGES as u32 } else { old.count };
    // SAFETY: both are valid, and not smaller than what is copied.
    unsafe { skb::copy(&raw mut new.charges, &raw const old.charges, count * size_of::<Charge>() as u32) };
    if forks == 0
        && let Some(work) = work_of(head.level)
        && work.current.slot == from + 1
    {
        work.current.slot = to + 1;
    }
    0
}

/// A journey was accounted for under a path: so are its charges.
#[inline(always)]
pub fn closed(slot: u32, path: u64, weight: u32) {
    if function_tier() != 0 {
        function_closed(slot as u64, path, weight as u64);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_closed(slot: u64, path: u64, weight: u64) -> i32 {
    let Some(charges) = CHARGES.get_ptr(slots::index(slot)) else { return 0 };
    // SAFETY: a valid pointer into the map.
    let count = unsafe { (*charges).count };
    for number in 0..MAX_CHARGES as u32 {
        if number >= count {
            break;
        }
        function_charge(slot, number as u64, path, weight);
    }
    0
}

/// Adds one charge of a journey to the table.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn function_charge(slot: u64, number: u64, path: u64, weight: u64) -> i32 {
    let slot = slots::index(slot);
    let (Some(charges), Some(journey)) = (CHARGES.get_ptr(slot), JOURNEYS.get_ptr(slot)) else { return 0 };
    // SAFETY: valid pointers into the maps.
    let (charges, journey) = unsafe { (&*charges, &*journey) };
    let number = number as usize;
    if number >= MAX_CHARGES {
        return 0;
    }
    let charge = &charges.charges[number];
    let index = charge.index as usize;
    if index >= MAX_CROSSINGS || index as u32 >= journey.count || charges.complete >> (index & 63) & 1 == 0 {
        return 0;
    }
    let ns = if charge.hook == SPAN as u8 { journey.crossings[index].delta_ns } else { charge.ns as u64 };
    let key = FunctionKey { path, index: index as u32, hook: charge.hook as u32 };
    if FUNCTIONS.get_ptr(key).is_none() {
        let Some(zero) = ZERO_FUNCTION.get(0) else { return 0 };
        let _ = FUNCTIONS.insert(key, zero, BPF_NOEXIST);
    }
    let Some(node) = FUNCTIONS.get_ptr_mut(key) else {
        if let Some(head) = head() {
            log::lose(&mut head.lost, Loss::FunctionTableFull, weight, path);
        }
        return 0;
    };
    // SAFETY: a valid pointer into the map.
    let node = unsafe { &mut *node };
    add(&mut node.samples, 1);
    add(&mut node.calls, charge.calls as u64 * weight);
    add(&mut node.sum_ns, ns * weight);
    add(&mut node.returns, charge.returns as u64 * weight);
    add(&mut node.value, charge.value as u64 * weight);
    add(&mut node.softirqs, charge.softirqs as u64 * weight);
    add(&mut node.ends, charge.ends as u64 * weight);
    add(&mut node.tails, charge.tails as u64 * weight);
    for kind in 0..KINDS {
        add(&mut node.entered[kind], charge.entered[kind] as u64 * weight);
        add(&mut node.left[kind], charge.left[kind] as u64 * weight);
        add(&mut node.nested[kind], charge.nested[kind] as u64 * weight);
        add(&mut node.idle[kind], charge.idle[kind] as u64 * weight);
    }
    0
}
