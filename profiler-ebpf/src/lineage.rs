//! How a followed packet goes on as another skb: it was cut, copied, cloned or merged. Only followed packets, and what
//! comes right after one on its CPU, come here.
//!
//! The kernel announces none of this at a tracepoint. But it frees the old skb before it passes on the new ones, on the
//! same CPU and with nothing of another packet in between; so a packet that is about to go is remembered as a *parent*,
//! and the next skb that has the parent's headers at the right point and device is its child.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use netstrata_common::{CpuState, Edge, End, Journey, MAX_SLOTS, Parent, Point, mix};

use crate::{
    account, function,
    globals::offset,
    maps::{JOURNEYS, key, set_key},
    record::{evict, now, slot_of, state},
    skb,
};

/// The address in the slot of a journey whose packet is gone and whose child has not come yet: no packet's.
pub const PARKED: u64 = 1;

/// `gro_result_t`: the packet went into another one.
const GRO_MERGED: u32 = 0;
const GRO_MERGED_FREE: u32 = 1;

/// Keeps the number of a slot within the map, as the verifier has to see.
pub const SLOTS: u32 = MAX_SLOTS as u32 - 1;

/// The journey in a slot.
#[inline(always)]
pub fn journey_in(slot: u32) -> Option<&'static mut Journey> {
    // SAFETY: a valid pointer into the map; only the CPU that works on the packet comes here.
    JOURNEYS.get_ptr_mut(slot & SLOTS).map(|journey| unsafe { &mut *journey })
}

/// Fingerprint of a flow, from the IP header at this address: addresses and ports. Of ARP, the sender's and the sought
/// address.
#[inline(always)]
fn flow_print(header: u64) -> u64 {
    let first: u8 = skb::read(header, 0);
    if first >> 4 == 4 {
        let addresses: u64 = skb::read(header, 12);
        let ports: u32 = skb::read(header, (first & 15) as u64 * 4);
        mix(addresses, ports as u64)
    } else if first >> 4 == 6 {
        let (source, destination): (u64, u64) = (skb::read(header, 16), skb::read(header, 32));
        let ports: u32 = skb::read(header, 40);
        mix(mix(source, destination), ports as u64)
    } else {
        let (sender, sought): (u64, u64) = (skb::read(header, 8), skb::read(header, 20));
        mix(sender, sought)
    }
}

/// Fingerprint of one packet: of its flow, IPv4's identification, and what stands where TCP has its sequence numbers, or
/// the first of a datagram's bytes (its checksum may be filled in on the way).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn packet_print(header: u64) -> u64 {
    let first: u8 = skb::read(header, 0);
    let (length, protocol) = match first >> 4 {
        4 => ((first & 15) as u64 * 4, 9),
        6 => (40, 6),
        _ => return flow_print(header),
    };
    let protocol: u8 = skb::read(header, protocol);
    let identification: u32 = skb::read(header, 4);
    let sequences: u64 = if protocol == UDP {
        let bytes: u16 = u16::from_be(skb::read(header, length + 4));
        if bytes < 16 { bytes as u64 } else { skb::read(header, length + 8) }
    } else {
        skb::read(header, length + 4)
    };
    mix(mix(flow_print(header), identification as u64), sequences)
}

/// The IP protocol number of UDP.
pub const UDP: u8 = 17;

/// The parent's journey, if it is still the one that was remembered.
#[inline(always)]
fn journey_of(parent: &Parent) -> Option<&'static mut Journey> {
    journey_in(parent.slot).filter(|journey| journey.id == parent.id)
}

/// Gives up waiting for the child of a parked packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn release() -> i32 {
    let Some(cpu) = state() else { return 0 };
    let edge = cpu.parent.edge;
    cpu.parent.edge = 0;
    let slot = cpu.parent.slot & SLOTS;
    if edge != Edge::Clone as u32 && key(slot) == PARKED && journey_of(&cpu.parent).is_some() {
        account::close(slot, End::Absorbed, 0);
    }
    0
}

/// A packet is gone, and its journey waits for the skb that has its data; without one, this is its end.
#[inline(always)]
fn park(cpu: &mut CpuState, journey: &mut Journey, end: End, parent: Parent) {
    become_parent(cpu, parent);
    journey.end = end as u8;
    set_key(parent.slot, PARKED);
}

#[inline(always)]
fn become_parent(cpu: &mut CpuState, parent: Parent) {
    if cpu.parent.edge != 0 {
        release();
    }
    cpu.parent = parent;
}

/// A followed packet is freed where its data may have gone on in new skbs. True if its journey waits for them.
#[inline(always)]
pub fn freed(packet: u64, slot: u32, journey: &mut Journey) -> bool {
    let Some(cpu) = state() else { return false };
    let last = journey.last_point;
    let header = skb::network_header(packet);
    let is_received = last == Point::Receive as u8 || last == Point::Route as u8;
    let parent = if last == Point::Queue as u8 || last == Point::Enqueue as u8 || is_received {
        let pieces = skb::wire_packets(packet);
        if pieces < 2 {
            return false;
        }
        // SAFETY: a helper without arguments.
        let pass = unsafe { bpf_get_prandom_u32() } % pieces;
        let print = flow_print(header);
        // A socket that takes no large datagrams has them cut after their reception, where no device counts.
        let object = if is_received { 0 } else { skb::device(packet) };
        Parent { object, print, edge: Edge::Segment as u32, pass, pieces, slot, id: journey.id }
    } else if last == Point::Xmit as u8 || last == Point::XmitEnd as u8 {
        let print = packet_print(header);
        Parent { object: 0, print, edge: Edge::Rebuild as u32, pass: 0, pieces: 1, slot, id: journey.id }
    } else {
        return false;
    };
    park(cpu, journey, End::Consumed, parent);
    true
}

/// A followed packet is received: it may be cloned now.
#[inline(always)]
pub fn received(cpu: &mut CpuState, packet: u64, slot: u32, journey: &mut Journey, was_in_gro: bool) {
    if was_in_gro {
        merged_into(journey, packet);
    }
    let head = skb::read(packet, offset!(skb_head));
    become_parent(
        cpu,
        Parent { object: head, print: 0, edge: Edge::Clone as u32, pass: 0, pieces: 1, slot, id: journey.id },
    );
}

/// The packet's data is now part of an skb that may carry more: it is only a fraction of one.
#[inline(always)]
fn merged_into(journey: &mut Journey, packet: u64) {
    let wire = skb::wire_packets(packet);
    if wire > journey.skb_wire {
        journey.skbs_micro = (journey.skbs_micro as u64 * journey.skb_wire as u64 / wire as u64) as u32;
        journey.skb_wire = wire;
    }
}

/// A followed packet has gone on, or its journey has ended: it is not cloned any more.
#[inline(always)]
pub fn leaves(cpu: &mut CpuState, slot: u32) {
    if cpu.parent.slot == slot && cpu.parent.edge == Edge::Clone as u32 {
        cpu.parent.edge = 0;
    }
}

/// GRO is done with the packet that it was given last.
#[inline(always)]
pub fn gro_done(result: u32) {
    let Some(cpu) = state() else { return };
    if cpu.gro_packet != 0 {
        gro_result(result as u64);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn gro_result(result: u64) -> i32 {
    let result = result as u32;
    let Some(cpu) = state() else { return 0 };
    let packet = cpu.gro_packet;
    cpu.gro_packet = 0;
    let slot = slot_of(packet) & SLOTS;
    let Some(journey) = journey_in(slot) else { return 0 };
    let merged = result == GRO_MERGED || result == GRO_MERGED_FREE;
    if !merged || key(slot) != packet || journey.id != cpu.gro_id || journey.last_point != Point::Gro as u8 {
        return 0;
    }
    let print = cpu.gro_print;
    let parent = Parent { object: 0, print, edge: Edge::Merge as u32, pass: 0, pieces: 1, slot, id: journey.id };
    park(cpu, journey, End::Merged, parent);
    0
}

/// A followed packet goes into GRO, which may free it.
#[inline(always)]
pub fn enters_gro(cpu: &mut CpuState, packet: u64, id: u64) {
    cpu.gro_packet = packet;
    cpu.gro_id = id;
    cpu.gro_print = flow_print(skb::read(packet, offset!(skb_data)));
}

/// Whether a packet that is not followed is the child of this CPU's parent; it is followed then. `device` is the one
/// that transmits.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn adopt(point: u64, packet: u64, device: u64) -> i32 {
    let begin = now();
    let Some(cpu) = state() else { return 0 };
    let Some(point) = Point::from_id(point as u8) else { return 0 };
    let parent = cpu.parent;
    let edge = parent.edge;
    let header = skb::network_header(packet);
    let is_child = if edge == Edge::Segment as u32 {
        matches!(point, Point::Xmit | Point::Ready) && device == parent.object && flow_print(header) == parent.print
    } else if edge == Edge::Rebuild as u32 {
        matches!(point, Point::Gro | Point::Receive | Point::Rx) && packet_print(header) == parent.print
    } else if edge == Edge::Merge as u32 {
        matches!(point, Point::Receive) && flow_print(skb::read(packet, offset!(skb_data))) == parent.print
    } else {
        let starts = matches!(point, Point::Queue | Point::Receive);
        let same = starts && skb::read::<u64>(packet, offset!(skb_head)) == parent.object;
        // The memory of a packet that was used up unseen may be another one's by now.
        let same = same && journey_of(&parent).is_some_and(|journey| is_clone(packet, journey, begin));
        if starts && !same {
            // The CPU works on something else now.
            cpu.parent.edge = 0;
        }
        same
    };
    if !is_child {
        return 0;
    }
    if parent.pass > 0 {
        cpu.parent.pass -= 1;
        return 0;
    }
    let (from, to) = (parent.slot & SLOTS, slot_of(packet) & SLOTS);
    let forks = edge == Edge::Clone as u32;
    let (Some(old), Some(new)) = (journey_of(&parent), journey_in(to)) else {
        cpu.parent.edge = 0;
        return 0;
    };
    let there = key(from);
    if there == 0 || (!forks && there != PARKED) || forks && waits_elsewhere(old) {
        cpu.parent.edge = 0;
        return 0;
    }
    if from != to {
        if key(to) != 0 && !evict(to, begin) {
            if forks {
                cpu.lost.clones += old.weight as u64;
            } else {
                release();
            }
            return 0;
        }
        copy_journey(from as u64, to as u64, forks as u64);
    } else if forks {
        cpu.lost.clones += old.weight as u64;
        return 0;
    }
    new.skb = packet;
    new.end = End::Open as u8;
    new.next_edge = edge as u8;
    if edge == Edge::Segment as u32 {
        new.skbs_micro = new.skbs_micro.wrapping_mul(parent.pieces);
        new.skb_wire = skb::wire_packets(packet);
    } else if edge == Edge::Merge as u32 {
        merged_into(new, packet);
    }
    if forks {
        cpu.next_id += 1;
        new.id = cpu.next_id;
        new.print = 0;
    } else {
        cpu.parent.edge = 0;
        if from != to {
            old.skb = 0;
            set_key(from, 0);
        }
    }
    set_key(to, packet);
    // What this took is not the packet's time.
    let spent = now().wrapping_sub(begin);
    new.start_ns += spent;
    new.last_ns += spent;
    1
}

/// A clone is made while its parent is being received.
const CLONED_WITHIN_NS: u64 = 1_000_000;

/// Whether what shares the head of a followed packet can be its clone.
#[inline(always)]
fn is_clone(packet: u64, parent: &Journey, now: u64) -> bool {
    now.wrapping_sub(parent.last_ns) < CLONED_WITHIN_NS && skb::payload(packet) == (parent.payload, parent.protocol)
}

/// Whether a packet is no longer being received.
#[inline(always)]
fn waits_elsewhere(journey: &Journey) -> bool {
    const RECEIVED: u32 =
        1 << Point::Receive as u32 | 1 << Point::Route as u32 | 1 << Point::Upcall as u32 | 1 << Point::Execute as u32;
    RECEIVED >> (journey.last_point & 31) & 1 == 0
}

/// Copies a journey from slot to slot; `forks` if the old one goes on too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_journey(from: u64, to: u64, forks: u64) -> i32 {
    const WORDS: usize = size_of::<Journey>() / 8;
    function::moved(from, to, forks);
    let (Some(from), Some(to)) = (JOURNEYS.get_ptr(from as u32 & SLOTS), JOURNEYS.get_ptr_mut(to as u32 & SLOTS))
    else {
        return 0;
    };
    let (from, to) = (from.cast::<u64>(), to.cast::<u64>());
    for index in 0..WORDS {
        // SAFETY: both point at a whole journey, made of 8-byte words; volatile, or the compiler calls a copy by bytes.
        unsafe { core::ptr::write_volatile(to.add(index), core::ptr::read_volatile(from.add(index))) };
    }
    0
}

/// Lets the journey of a slot, whose packet a program had, go on as what the program made of it. `begin`: since when the
/// observer works on it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn goes_on(from: u64, packet: u64, begin: u64) -> i32 {
    let (from, to) = (from as u32 & SLOTS, slot_of(packet) & SLOTS);
    let (Some(cpu), Some(old), Some(new)) = (state(), journey_in(from), journey_in(to)) else { return 0 };
    if from != to {
        if key(to) != 0 && !evict(to, begin) {
            cpu.lost.slot_busy += old.weight as u64;
            account::close(from, old.unseen_end(), 0);
            return 0;
        }
        copy_journey(from as u64, to as u64, 0);
        old.skb = 0;
        set_key(from, 0);
    }
    new.skb = packet;
    new.end = End::Open as u8;
    new.next_edge = Edge::Userspace as u8;
    new.copied = 0;
    set_key(to, packet);
    // What this took is not the packet's time.
    let spent = now().wrapping_sub(begin);
    new.start_ns += spent;
    new.last_ns += spent;
    1
}

/// TCP has put a followed segment into its socket's queue, or joined it with the last one there.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn queued_at_socket(packet: u64, slot: u64, socket: u64) -> i32 {
    let slot = slot as u32 & SLOTS;
    let Some(journey) = journey_in(slot) else { return 0 };
    if journey.skb != packet {
        return 0;
    }
    journey.socket = socket;
    journey.end_seq = skb::read(socket, offset!(tcp_rcv_nxt));
    let tail: u64 = skb::read(socket, offset!(sk_queue_tail));
    if tail != packet {
        coalesced(packet, slot as u64, tail);
    }
    0
}

/// The journey goes on as the skb at the end of the queue. If that one is followed itself, this one ends here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn coalesced(packet: u64, slot: u64, tail: u64) -> i32 {
    let (from, to) = (slot as u32 & SLOTS, slot_of(tail) & SLOTS);
    if from == to || tail == 0 || key(to) == tail || key(to) != 0 && !evict(to, now()) {
        account::close(from, End::Merged, 0);
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

/// A socket announces data while a large datagram is being cut: the piece is the last one in the socket's queue. Its
/// address, if it is the one to follow, or 0.
#[inline(always)]
pub fn piece_at(socket: u64) -> u64 {
    let tail: u64 = skb::read(socket, offset!(sk_queue_tail));
    if adopt(Point::Ready as u64, tail, 0) != 0 { tail } else { 0 }
}

/// Whether a copy of `bytes` that begins now reaches the end of a followed TCP segment.
#[inline(always)]
pub fn read_to_end(journey: &Journey, bytes: u32) -> bool {
    let copied: u32 = skb::read(journey.socket, offset!(tcp_copied_seq));
    copied.wrapping_add(bytes).wrapping_sub(journey.end_seq) as i32 >= 0
}
