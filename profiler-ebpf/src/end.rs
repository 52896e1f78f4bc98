//! What happens when a journey ends: its spans are added to the tree. Only followed packets come here.
//!
//! The functions without inlining take and return numbers only and are exported: the verifier then checks each once for
//! a program, not once for every call and state, which makes loading many times faster.

use netstrata_common::{
    ACCEPT_AND_DISCARD, Config, END_TO_END, End, Entered, Journey, Loss, MAX_CROSSINGS, Node, NodeKey, Path, PathKey,
    TAIL_CROSSINGS, Tail,
};

use crate::{
    atomic::Atomic,
    cpu::{self, state},
    function, log,
    long::{free_tail, place, tail_of},
    maps::{BPF_NOEXIST, CONFIG, EBUSY, EEXIST, JOURNEYS, LONG_PATHS, NODES, PATHS, RING, ZERO_NODE, ZERO_PATH},
    skb,
    slots::{self, WaitsFor, journey_in, key, set_key},
    with_program,
};

/// Flags of what goes into a ring, and of questions to it.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/uapi/linux/bpf.h#L6160>
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;
const BPF_RB_AVAIL_DATA: u64 = 0;
const BPF_RB_RING_SIZE: u64 = 1;

/// No time of a span.
const NO_MORE: u64 = u64::MAX;

/// Adds a value to a node of the tree, which is made if it is new.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn enter(path: u64, index: u64, ns: u64, weight: u64, others: u64) -> i32 {
    // The batch lies above the number of the span.
    let key = NodeKey { path, index: index as u32, batch: (index >> 32) as u32 };
    let Some(node) = node(key, weight) else { return 0 };
    // SAFETY: a valid pointer into the map.
    unsafe { &mut *node }.take_in::<Atomic>(ns, weight, others as u32);
    1
}

/// A node of the tree, which is made if it is new; `None` if there is no room.
#[inline(always)]
fn node(key: NodeKey, weight: u64) -> Option<*mut Node> {
    NODES.get_ptr_mut(key).or_else(|| new_node(key, weight))
}

/// A node that was not there; `None` if there is no room.
#[inline(always)]
fn new_node(key: NodeKey, weight: u64) -> Option<*mut Node> {
    if let Err(error) = NODES.insert(key, ZERO_NODE.get(0)?, BPF_NOEXIST)
        && error != EEXIST
    {
        let cpu = state()?;
        if error == EBUSY {
            cpu.lost[Loss::MapBusy] += weight;
        } else {
            log::lose(&mut cpu.lost, Loss::NodesFull, weight, key.path);
        }
        return None;
    }
    state()?.new_nodes += 1;
    NODES.get_ptr_mut(key)
}

/// Makes the path of a journey known, which was not yet; `None` if there is no room. It is put together where it stays: a softirq that
/// interrupts a task here defines paths, too.
#[inline(always)]
fn define_path(journey: &Journey, key: PathKey) -> Option<*mut Path> {
    if let Some(tail) = tail_of(journey)
        && let Err(error) = LONG_PATHS.insert(key, &tail.crossings, BPF_NOEXIST)
        && error != EEXIST
    {
        lose_path(journey, key, error);
        return None;
    }
    match PATHS.insert(key, ZERO_PATH.get(0)?, BPF_NOEXIST) {
        Ok(()) => {}
        Err(error) if error == EEXIST => return PATHS.get_ptr_mut(key),
        Err(error) => {
            lose_path(journey, key, error);
            return None;
        }
    }
    let path = PATHS.get_ptr_mut(key)?;
    // SAFETY: a valid pointer into the map; others of this path write to its figures only.
    let known = unsafe { &mut *path };
    known.begin(journey);
    // SAFETY: both are valid and of that size.
    unsafe { skb::copy(&raw mut known.crossings, &raw const journey.crossings, size_of_val(&known.crossings) as u32) };
    Some(path)
}

/// There was no room for a path.
#[inline(always)]
fn lose_path(journey: &Journey, key: PathKey, error: i32) {
    let Some(cpu) = state() else { return };
    if error == EBUSY {
        cpu.lost[Loss::MapBusy] += journey.weight as u64;
    } else {
        log::lose(&mut cpu.lost, Loss::PathsFull, journey.weight as u64, key.path);
    }
}

/// Frees the slot of a packet that was lost from sight while the probes were detached.
#[inline(always)]
pub fn cut(slot: u32) {
    set_key(slot, 0);
    if let (Some(cpu), Some(journey)) = (state(), JOURNEYS.get_ptr_mut(slot)) {
        // SAFETY: a valid pointer into the map.
        let journey = unsafe { &mut *journey };
        cpu.lost[Loss::CutByDetaching] += journey.weight as u64;
        journey.skb = 0;
        if journey.print != 0 {
            with_program::forget(journey.print, journey.id);
        }
        if journey.tail != 0 {
            free_tail(slot as u64);
        }
    }
}

/// Ends the journey in a slot and frees the slot.
#[inline(always)]
pub fn close(slot: u32, end: End, reason: u32) {
    close_global(slot as u64, end as u64, reason as u64);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn close_global(slot: u64, end: u64, reason: u64) -> i32 {
    let (slot, end, reason) = (slots::index(slot), End::from_id(end as u8).unwrap_or(End::Open), reason as u32);
    let (Some(config), Some(journey)) = (CONFIG.get(0), JOURNEYS.get_ptr_mut(slot)) else { return 0 };
    // SAFETY: a valid pointer into the map.
    let journey = unsafe { &mut *journey };
    if let Some(cpu) = state() {
        cpu::leaves(cpu, slot);
    }
    journey.skb = 0;
    if journey.print != 0 {
        with_program::forget(journey.print, journey.id);
    }
    let end = if end as u8 == End::Absorbed as u8 { journey.unseen_end() } else { end };
    journey.end = end as u8;
    journey.reason = reason;
    if config.accept != ACCEPT_AND_DISCARD {
        account(slot, journey, config);
    }
    if journey.tail != 0 {
        free_tail(slot as u64);
    }
    // Only now: another CPU that took the slot meanwhile would change what is being accounted for.
    set_key(slot, 0);
    0
}

/// Enters a journey that has ended under its path.
#[inline(always)]
fn account(slot: u32, journey: &Journey, config: &Config) {
    let weight = journey.weight;
    let beyond_ns = tail_of(journey).map_or(0, |tail| tail.ns);
    match journey.entered(config.filters, beyond_ns) {
        Entered::Yes => {}
        Entered::NotWanted => return,
        Entered::Mixed => {
            if log::tells_packets() {
                log::say_mixed(journey.id, journey.last_ns.wrapping_sub(journey.start_ns));
            }
            if let Some(cpu) = state() {
                cpu.lost[Loss::SlotBusy] += weight as u64;
            }
            return;
        }
    }
    let hash = journey.path_id();
    let batch = cpu::batch(&config.batch);
    let key = PathKey { path: hash, batch, pad: 0 };
    let known = PATHS.get_ptr_mut(key);
    let path = known.or_else(|| define_path(journey, key));
    let Some(path) = path else { return };
    // SAFETY: a valid pointer into the map.
    unsafe { &mut *path }.take_in::<Atomic>(journey);
    // Nothing without the whole, and that from what was entered: so spans never sum to more than the end-to-end time, whatever is
    // lost, and whoever writes to this slot meanwhile.
    let whole = NodeKey { path: hash, index: END_TO_END, batch };
    let Some(whole) = node(whole, weight as u64) else { return };
    let batch = (batch as u64) << 32;
    let mut ns = enter_spans(slot as u64, hash, batch, weight as u64);
    if journey.tail != 0 {
        ns += enter_tail(slot as u64, hash, batch, weight as u64);
    }
    // SAFETY: a valid pointer into the map.
    unsafe { &mut *whole }.take_in::<Atomic>(ns, weight as u64, 0);
    function::closed(slot, hash, weight);
    to_ring(journey, config.ring_every);
}

/// Adds the spans that end at crossings in a journey's slot; their sum, whether there was room or not. Apart, because the verifier would
/// follow what comes after the loop once for each number of crossings.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn enter_spans(slot: u64, hash: u64, batch: u64, weight: u64) -> u64 {
    let Some(journey) = journey_in(slots::index(slot)) else { return 0 };
    let mut sum = 0;
    for index in 1..MAX_CROSSINGS {
        if index as u32 >= journey.count {
            break;
        }
        let crossing = &journey.crossings[index];
        let (ns, others) = (crossing.delta_ns, crossing.others_since(&journey.crossings[index - 1]));
        enter(hash, batch | index as u64, ns, weight, others as u64);
        sum = ns.wrapping_add(sum);
    }
    sum
}

/// Adds the spans that end at crossings of a journey's tail; their sum likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn enter_tail(slot: u64, hash: u64, batch: u64, weight: u64) -> u64 {
    let mut sum = 0;
    for at in 0..TAIL_CROSSINGS as u64 {
        let ns = enter_beyond(slot, at, hash, batch, weight);
        if ns == NO_MORE {
            break;
        }
        sum += ns;
    }
    sum
}

/// Adds the span that ends at a crossing of a journey's tail, and gives its time, or [`NO_MORE`] if the journey has not so many.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn enter_beyond(slot: u64, at: u64, hash: u64, batch: u64, weight: u64) -> u64 {
    let Some(journey) = journey_in(slots::index(slot)) else { return NO_MORE };
    let Some(tail) = tail_of(journey) else { return NO_MORE };
    let (at, index) = (place(at), MAX_CROSSINGS as u64 + at);
    if index >= journey.count as u64 || at >= TAIL_CROSSINGS {
        return NO_MORE;
    }
    let before = place(at as u64).wrapping_sub(1);
    let crossing = tail.crossings.0[at];
    let before =
        if before < TAIL_CROSSINGS { &tail.crossings.0[before] } else { &journey.crossings[MAX_CROSSINGS - 1] };
    let others = crossing.others_since(before);
    enter(hash, batch | index, crossing.delta_ns, weight, others as u64);
    crossing.delta_ns
}

/// Sends a share of the whole journeys to the profiler.
#[inline(always)]
fn to_ring(journey: &Journey, every: u32) {
    let Some(cpu) = state() else { return };
    cpu.ring_skip = cpu.ring_skip.wrapping_sub(1);
    if every == 0 || cpu.ring_skip as i32 > 0 {
        return;
    }
    cpu.ring_skip = every;
    // The profiler looks at the ring from time to time. Waking it costs more than the record, so that it is woken only when
    // the ring would not last until then.
    let fills = RING.query(BPF_RB_AVAIL_DATA) >= RING.query(BPF_RB_RING_SIZE) / 4;
    let wakeup = if fills { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    // Right before its journey, which is not drawn without it.
    if let Some(tail) = tail_of(journey)
        && RING.output::<Tail>(&*tail, BPF_RB_NO_WAKEUP).is_err()
    {
        cpu.lost[Loss::RingFull] += 1;
        return;
    }
    if RING.output::<Journey>(journey, wakeup).is_err() {
        cpu.lost[Loss::RingFull] += 1;
    }
}

/// Frees a slot whose packet was used up unseen. False if its packet may still be on its way.
#[inline(always)]
pub fn evict(slot: u32, now: u64) -> bool {
    let Some(journey) = JOURNEYS.get_ptr_mut(slot) else { return false };
    // SAFETY: a valid pointer into the map.
    let journey = unsafe { &mut *journey };
    if CONFIG.get(0).is_none_or(|config| journey.epoch != config.epoch) {
        if key(slot) == WaitsFor::Reader as u64 {
            close(slot, End::Copied, 0);
        } else {
            cut(slot);
        }
        return true;
    }
    if journey.may_be_on_its_way(now) {
        return false;
    }
    close(slot, End::Absorbed, 0);
    true
}
