//! What happens when a journey ends: its spans are added to the tree. Only followed packets come here.
//!
//! The functions without inlining take and return numbers only and are exported: the verifier then checks each once for
//! a program, not once for every call and state, which makes loading many times faster.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use netstrata_common::{
    ACCEPT_AND_DISCARD, DropKey, END_TO_END, End, FILTER_DEVICE, FILTER_NETNS, Journey, MAX_CROSSINGS, MAX_SLOTS, Node,
    NodeKey, Point, TurnKey, bucket_of, path_end,
};

use crate::{
    function,
    globals::{has_reason, offset, reason_consumed},
    lineage,
    maps::{CONFIG, DROPS, JOURNEYS, NEW_PATH, NODES, PATHS, RING, TURNS, ZERO_NODE, set_key},
    record::{follow_global, now, state},
    skb, tunnel,
};

pub const BPF_NOEXIST: u64 = 1;
/// The profiler polls the ring; waking it would cost more than the record.
const BPF_RB_NO_WAKEUP: u64 = 1;
/// Update of a key that another CPU inserted meanwhile.
const EEXIST: i32 = -17;
const EBUSY: i32 = -16;

/// Adds atomically without reading back: the one atomic form that every supported kernel's verifier accepts. By hand,
/// because the compiler offers no atomic arithmetic for this target.
#[inline(always)]
pub fn add(counter: &mut u64, value: u64) {
    // SAFETY: a valid, aligned u64 in a map value.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) &raw mut *counter, in(reg) value, options(nostack));
    }
}

#[inline(always)]
fn add_to_node(node: &mut Node, ns: u64, weight: u64) {
    add(&mut node.samples, 1);
    add(&mut node.count, weight);
    add(&mut node.sum_ns, ns * weight);
    if ns > node.max_ns {
        node.max_ns = ns;
    }
    let bucket = bucket_of(ns);
    if bucket < netstrata_common::BUCKETS {
        add(&mut node.buckets[bucket], weight);
    }
}

/// Adds a value to a node of the tree, which is made if it is new.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn enter(path: u64, index: u64, ns: u64, weight: u64) -> i32 {
    let index = index as u32;
    let key = NodeKey { path, index, pad: 0 };
    if NODES.get_ptr(key).is_none() {
        let Some(zero) = ZERO_NODE.get(0) else { return 0 };
        if let Err(error) = NODES.insert(key, zero, BPF_NOEXIST)
            && error != EEXIST
        {
            if let Some(cpu) = state() {
                if error == EBUSY { cpu.lost.busy += weight } else { cpu.lost.nodes_full += weight }
            }
            return 0;
        }
    }
    if let Some(node) = NODES.get_ptr_mut(key) {
        // SAFETY: a valid pointer into the map.
        add_to_node(unsafe { &mut *node }, ns, weight);
        return 1;
    }
    0
}

/// Makes sure that the path of a journey is known; false if there is no room.
#[inline(always)]
fn define_path(journey: &Journey, hash: u64) -> bool {
    if PATHS.get_ptr(hash).is_some() {
        return true;
    }
    let Some(path) = NEW_PATH.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own scratch value. A softirq that interrupts a task here could overwrite it; both then define
    // paths, and the first defined wins with whole crossings because they are copied last.
    let path = unsafe { &mut *path };
    path.samples = 0;
    path.packets = 0;
    path.wire_packets = 0;
    path.bytes = 0;
    path.cpu_hops = 0;
    path.payload = 0;
    path.skbs_micro = 0;
    path.count = journey.count;
    path.reason = journey.reason;
    path.protocol = journey.protocol;
    path.end = journey.end;
    // SAFETY: both are valid and of that size.
    unsafe { skb::copy(&raw mut path.crossings, &raw const journey.crossings, size_of_val(&path.crossings) as u32) };
    match PATHS.insert(hash, &*path, BPF_NOEXIST) {
        Ok(()) => true,
        Err(error) if error == EEXIST => true,
        Err(error) => {
            if let Some(cpu) = state() {
                if error == EBUSY {
                    cpu.lost.busy += journey.weight as u64;
                } else {
                    cpu.lost.paths_full += journey.weight as u64;
                }
            }
            false
        }
    }
}

/// Frees the slot of a packet that was lost from sight while the probes were detached.
#[inline(always)]
pub fn cut(slot: u32) {
    set_key(slot, 0);
    if let (Some(cpu), Some(journey)) = (state(), JOURNEYS.get_ptr_mut(slot)) {
        // SAFETY: a valid pointer into the map.
        let journey = unsafe { &mut *journey };
        cpu.lost.cut += journey.weight as u64;
        journey.skb = 0;
        if journey.print != 0 {
            tunnel::forget(journey.print, journey.id);
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
    let (slot, end, reason) =
        (slot as u32 & (MAX_SLOTS as u32 - 1), End::from_id(end as u8).unwrap_or(End::Open), reason as u32);
    let (Some(config), Some(journey)) = (CONFIG.get(0), JOURNEYS.get_ptr_mut(slot)) else { return 0 };
    // SAFETY: a valid pointer into the map.
    let journey = unsafe { &mut *journey };
    set_key(slot, 0);
    if let Some(cpu) = state() {
        lineage::leaves(cpu, slot);
    }
    journey.skb = 0;
    if journey.print != 0 {
        tunnel::forget(journey.print, journey.id);
    }
    let end = if end as u8 == End::Absorbed as u8 { journey.unseen_end() } else { end };
    journey.end = end as u8;
    journey.reason = reason;
    if config.accept == ACCEPT_AND_DISCARD {
        return 0;
    }
    let asked = config.filters & (FILTER_NETNS | FILTER_DEVICE);
    if journey.matched as u32 & asked != asked || journey.count == 0 {
        return 0;
    }
    let weight = journey.weight;
    // Two CPUs that take a free slot at one moment mix two packets (kernels before 5.12 have no compare-and-exchange for
    // programs to prevent it): such a journey does not sum, and is counted instead.
    let mut sum = 0;
    for index in 1..MAX_CROSSINGS {
        if index as u32 >= journey.count {
            break;
        }
        sum += journey.crossings[index].delta_ns;
    }
    if sum != journey.last_ns.wrapping_sub(journey.start_ns) {
        if let Some(cpu) = state() {
            cpu.lost.slot_busy += weight as u64;
        }
        return 0;
    }
    let hash = path_end(journey.path, end, journey.protocol, reason);
    if !define_path(journey, hash) {
        return 0;
    }
    if let Some(path) = PATHS.get_ptr_mut(hash) {
        // SAFETY: a valid pointer into the map.
        let path = unsafe { &mut *path };
        add(&mut path.samples, 1);
        add(&mut path.packets, weight as u64);
        add(&mut path.wire_packets, weight as u64 * journey.wire as u64);
        add(&mut path.bytes, weight as u64 * journey.len as u64);
        add(&mut path.cpu_hops, weight as u64 * journey.cpu_hops as u64);
        add(&mut path.payload, weight as u64 * journey.payload as u64);
        add(&mut path.skbs_micro, weight as u64 * journey.skbs_micro as u64);
    }
    // First, and nothing without it: so spans never sum to more than the end-to-end time, whatever is lost.
    if enter(hash, END_TO_END as u64, journey.last_ns - journey.start_ns, weight as u64) == 0 {
        return 0;
    }
    for index in 1..MAX_CROSSINGS {
        if index as u32 >= journey.count {
            break;
        }
        enter(hash, index as u64, journey.crossings[index].delta_ns, weight as u64);
    }
    function::closed(slot, hash, weight);
    to_ring(journey, config.ring_every);
    0
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
    if RING.output::<Journey>(journey, BPF_RB_NO_WAKEUP).is_err() {
        cpu.lost.ring_full += 1;
    }
}

/// The reader took `bytes` more of a packet: all of it ends the journey, and the application's own time begins.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copied(packet: u64, bytes: u64, slot: u64) -> i32 {
    let (bytes, slot) = (bytes as u32, slot as u32);
    let (Some(cpu), Some(journey)) = (state(), JOURNEYS.get_ptr_mut(slot)) else { return 0 };
    // SAFETY: a valid pointer into the map.
    let journey = unsafe { &mut *journey };
    if journey.skb != packet {
        return 0;
    }
    journey.copied = journey.copied.wrapping_add(bytes);
    let whole = if journey.socket != 0 {
        lineage::read_to_end(journey, bytes)
    } else {
        let len: u32 = skb::read(packet, offset!(skb_len));
        journey.copied >= len
    };
    if !whole {
        return 0;
    }
    let weight = journey.weight;
    if !tunnel::waits_for_reader(cpu, packet, slot, journey) {
        close(slot, End::Copied, 0);
    }
    // After the account, which is not the application's time.
    cpu.turn_task = bpf_get_current_pid_tgid();
    cpu.turn_weight = weight;
    cpu.turn_ns = now();
    0
}

/// A packet was freed after its work: its journey ends, at the reader if it had been announced to one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn consumed(packet: u64, slot: u64) -> i32 {
    let slot = slot as u32 & (MAX_SLOTS as u32 - 1);
    let Some(journey) = JOURNEYS.get_ptr_mut(slot) else { return 0 };
    // SAFETY: a valid pointer into the map.
    let journey = unsafe { &mut *journey };
    let last = journey.last_point;
    if lineage::freed(packet, slot, journey) {
        return 0;
    }
    if last == Point::Ready as u8 || last == Point::ReadyWake as u8 {
        follow_global(Point::Copy as u64, packet, 0, slot as u64, 0);
        if state().is_none_or(|cpu| !tunnel::waits_for_reader(cpu, packet, slot, journey)) {
            close(slot, End::Copied, 0);
        }
    } else {
        close(slot, End::Consumed, 0);
    }
    0
}

/// A task sends: if it has just read a followed packet, the time in between was the application's.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn turn_ends(socket: u64) -> i32 {
    let Some(cpu) = state() else { return 0 };
    let task = cpu.turn_task;
    cpu.turn_task = 0;
    if cpu.read_id != 0 {
        tunnel::give_up();
    }
    if task != bpf_get_current_pid_tgid() {
        return 0;
    }
    let now = now();
    let key = TurnKey { netns: skb::socket_netns(socket), pid: (task >> 32) as u32 };
    if TURNS.get_ptr(key).is_none() {
        let Some(zero) = ZERO_NODE.get(0) else { return 0 };
        let _ = TURNS.insert(key, zero, BPF_NOEXIST);
    }
    if let Some(node) = TURNS.get_ptr_mut(key) {
        // SAFETY: a valid pointer into the map.
        add_to_node(unsafe { &mut *node }, now.wrapping_sub(cpu.turn_ns), cpu.turn_weight as u64);
    }
    0
}

/// Counts a dropped packet, followed or not.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_drop(packet: u64, location: u64, reason: u64) -> i32 {
    let reason = reason as u32;
    let reason = if has_reason() == 0 { 0 } else { reason };
    if reason != 0 && reason == reason_consumed() {
        return 0;
    }
    let at = skb::device_key(skb::device(packet));
    let key = DropKey { location, reason, netns: at.netns, ifindex: at.ifindex, pad: 0 };
    if let Some(count) = DROPS.get_ptr_mut(key) {
        // SAFETY: a valid pointer into the map.
        add(unsafe { &mut *count }, 1);
    } else if let (Err(_), Some(cpu)) = (DROPS.insert(key, 1, 0), state()) {
        cpu.lost.drops_full += 1;
    }
    0
}
