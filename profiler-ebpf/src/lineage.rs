//! How a followed packet goes on as another skb: it was cut, copied, cloned or merged. Only followed packets, and what
//! comes right after one on its CPU, come here.
//!
//! The kernel announces none of this at a tracepoint. But it frees the old skb before it passes on the new ones, on the
//! same CPU and with nothing of another packet in between; so a packet that is about to go is remembered as a *parent*,
//! and the next skb that has the parent's headers at the right point and device is its child. Where it does so:
//!
//! - a UDP socket that takes no large datagrams frees the large skb and hands on its segments:
//!   <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/udp.c#L2289>; so does IP where a tunnel's packets do not fit:
//!   <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/ip_output.c#L239>. What is cut at a device's queue may leave it
//!   later and elsewhere: see `pieces`
//! - IP copies a datagram into fragments, and queues these before it frees it: see `fragments`
//! - XDP on a veth copies the skb and frees it: <https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/veth.c#L751>
//! - a bridge that floods, or a tunnel with several ends, clones and sends the clone first:
//!   <https://elixir.bootlin.com/linux/v6.12.117/source/net/bridge/br_forward.c#L120>
//! - GRO joins the skb with one of its flow and says so when it comes back:
//!   <https://elixir.bootlin.com/linux/v6.12.117/source/net/core/gro.c#L548>

use aya_ebpf::helpers::bpf_get_prandom_u32;
use netstrata_common::{CpuState, Edge, End, FORGOTTEN_NS, Journey, LISTED, Loss, Membership, Parent, Point, Points};

use crate::{
    cpu::{now, state},
    end::{self, evict},
    fragments::is_cut,
    globals::offset,
    ip, long,
    moves::{coalesced, copy_journey},
    print::{datagram_print, flow_print, later_datagram_print, packet_print, part, piece_print},
    skb,
    slots::{self, WaitsFor, journey_in, key, set_key, slot_of},
    with_program::{hold, pieces_word},
};

/// The parent's journey, if it is still the one that was remembered.
#[inline(always)]
pub fn journey_of(parent: &Parent) -> Option<&'static mut Journey> {
    journey_in(parent.slot).filter(|journey| journey.id == parent.id)
}

/// Where the bytes of a packet that may be cloned begin.
#[inline(always)]
fn head_of(parent: &Parent) -> u64 {
    if parent.object == 0 { journey_of(parent).map_or(0, |journey| skb::head(journey.skb)) } else { parent.object }
}

/// Gives up waiting for the child of a parked packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn release() -> i32 {
    let Some(cpu) = state() else { return 0 };
    let edge = cpu.parent.edge;
    cpu.parent.forget();
    let slot = slots::index(cpu.parent.slot as u64);
    if edge != Edge::Clone as u32 && key(slot) == WaitsFor::Child as u64 && journey_of(&cpu.parent).is_some() {
        end::close(slot, End::Absorbed, 0);
    }
    0
}

/// A packet is gone, and its journey waits for the skb that has its data; without one, this is its end.
#[inline(always)]
fn park(cpu: &mut CpuState, journey: &mut Journey, end: End, parent: Parent) {
    become_parent(cpu, parent);
    journey.end = end as u8;
    set_key(parent.slot, WaitsFor::Child as u64);
}

#[inline(always)]
fn become_parent(cpu: &mut CpuState, parent: Parent) {
    if cpu.parent.edge != 0 {
        release();
    }
    let points = const {
        [
            Points::of_children(Edge::Segment).bits(),
            Points::of_children(Edge::Rebuild).bits(),
            Points::of_children(Edge::Merge).bits(),
            Points::of_children(Edge::Clone).bits(),
            Points::of_children(Edge::Fragment).bits(),
        ]
    };
    let points = if parent.edge == Edge::Segment as u32 {
        points[0]
    } else if parent.edge == Edge::Rebuild as u32 {
        // What IP cuts of a tunnel's packet is queued at once.
        points[1] | if parent.object != 0 { points[4] } else { 0 }
    } else if parent.edge == Edge::Merge as u32 {
        points[2]
    } else {
        points[3]
    };
    cpu.parent = Parent { points, ..parent };
}

/// A followed packet is freed where its data may have gone on in new skbs. True if its journey waits for them.
#[inline(always)]
pub fn freed(packet: u64, slot: u32, journey: &mut Journey) -> bool {
    let Some(cpu) = state() else { return false };
    let last = journey.last_point;
    let header = skb::network_header(packet);
    let is_received = Points::RECEIVED.has(last as u32);
    let is_queued = Points::QUEUED.has(last as u32);
    let is_sent = Points::TRANSMITTED.has(last as u32);
    if !is_queued && !is_received && !is_sent {
        return false;
    }
    let pieces = skb::wire_packets(packet);
    if pieces < 2 && !is_sent {
        return false;
    }
    // SAFETY: a helper without arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    let pass = if pieces > 1 { random % pieces } else { 0 };
    let device = skb::device(packet);
    let piece = if is_queued { piece_print(packet, pass as u64, device) } else { 0 };
    if is_queued && hold(piece, journey, slot, pieces_word(device)) {
        // Its pieces are sent at once, or lie there as long as they have to: see `pieces`.
        journey.skb_wire = pieces;
        journey.end = End::Consumed as u8;
        set_key(slot, WaitsFor::Child as u64);
        return true;
    }
    let parent = if is_queued {
        // A tunnel's program looks for it, too, and its fingerprint is kept: what is sent at once is found without.
        Parent {
            object: device,
            print: piece,
            edge: Edge::Segment as u32,
            pass: 0,
            pieces,
            slot,
            id: journey.id,
            ..Parent::default()
        }
    } else if is_received {
        // A socket that takes no large datagrams has them cut after their reception.
        let print = flow_print(header);
        Parent { object: 0, print, edge: Edge::Segment as u32, pass, pieces, slot, id: journey.id, ..Parent::default() }
    } else {
        // What a tunnel gives IP to cut goes on at once: nothing comes in between.
        let at_once = pieces > 1 && cpu.point == Point::Xmit as u32;
        let (object, print) = (if at_once { cpu.crossings } else { 0 }, packet_print(header));
        Parent { object, print, edge: Edge::Rebuild as u32, pass, pieces, slot, id: journey.id, ..Parent::default() }
    };
    park(cpu, journey, End::Consumed, parent);
    true
}

/// A followed packet is received, or sent by a device: it may be cloned now. `before` tells where it was last seen, `previous` what
/// this CPU saw last.
#[inline(always)]
pub fn received(
    cpu: &mut CpuState,
    packet: u64,
    slot: u32,
    journey: &mut Journey,
    (here, before): (Membership, Membership),
    previous: u32,
) {
    if before.is(Membership::IN_GRO) {
        merged_into(journey, packet);
        // Its headers were in pages that could not be read; GRO has taken them out.
        if journey.protocol == 0 {
            (journey.payload, journey.protocol) = ip::arriving_payload(packet, skb::arriving_header(packet));
        }
    }
    if here.is(Membership::RECEIVE) {
        // Two packets in a row, without any work between, are a list; a bridge lifts one packet to itself:
        // https://elixir.bootlin.com/linux/v6.12.117/source/net/core/dev.c#L5828
        cpu.in_list = (previous == Point::Receive as u32 && !before.is(Membership::RECEIVE)) as u32;
        cpu.listed[cpu.received as usize & (LISTED - 1)] = packet;
        cpu.received += 1;
    }
    // While a device sends it, its head can be read when a clone asks for it.
    let stays = here.is(Membership::XMIT);
    let is_next = cpu.parent.edge == Edge::Clone as u32 && cpu.parent.slot != slot;
    let head = if is_next || !stays { skb::head(packet) } else { 0 };
    // A clone that a device sends is one of several; more of them are to come.
    if is_next && head_of(&cpu.parent) == head {
        return;
    }
    become_parent(
        cpu,
        Parent {
            object: if stays { 0 } else { head },
            edge: Edge::Clone as u32,
            pieces: 1,
            slot,
            id: journey.id,
            ..Parent::default()
        },
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

/// What [`gro_result`] says of a packet that waits in GRO.
pub const KEPT_BY_GRO: i32 = 1;

/// GRO is done with a followed packet that it was given last: merged, it waits for the skb that has its data.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gro_result(result: u64) -> i32 {
    let result = result as u32;
    let Some(cpu) = state() else { return 0 };
    let packet = cpu.gro_packet;
    cpu.gro_packet = 0;
    let slot = slots::index(slot_of(packet) as u64);
    let Some(journey) = journey_in(slot) else { return 0 };
    if key(slot) != packet || journey.id != cpu.gro_id || journey.last_point != Point::Gro as u8 {
        return 0;
    }
    if skb::is_held(result) {
        return KEPT_BY_GRO;
    }
    if !skb::is_merged(result) {
        return 0;
    }
    let print = cpu.gro_print;
    let parent = Parent { print, edge: Edge::Merge as u32, pieces: 1, slot, id: journey.id, ..Parent::default() };
    park(cpu, journey, End::Merged, parent);
    0
}

/// A followed packet goes into GRO, which may free it.
#[inline(always)]
pub fn enters_gro(cpu: &mut CpuState, packet: u64, id: u64) {
    cpu.gro_packet = packet;
    cpu.gro_id = id;
    cpu.gro_print = flow_print(skb::arriving_header(packet).0);
}

/// Whether a packet that is not followed is the child of this CPU's parent; it is followed then. `device` is the one
/// that transmits.
#[unsafe(no_mangle)]
#[inline(never)]
#[expect(
    clippy::too_many_lines,
    reason = "a program of its own for the verifier: cut in two, each crossing would pay a call more"
)]
pub extern "C" fn adopt(point: u64, packet: u64, device: u64) -> i32 {
    let begin = now();
    let Some(cpu) = state() else { return 0 };
    let point = point as u32;
    let parent = cpu.parent;
    let mut edge = parent.edge;
    // What XDP has sent on to another device has no network header before GRO sets it.
    let is_arriving = point == Point::Gro as u32;
    let header = if is_arriving { skb::read(packet, offset!(skb_data)) } else { skb::network_header(packet) };
    let is_child = if edge == Edge::Segment as u32 {
        const { Points::of_children(Edge::Segment) }.has(point)
            && device == parent.object
            && parent.print == if device == 0 { flow_print(header) } else { piece_print(packet, 0, device) }
    } else if edge == Edge::Fragment as u32 {
        const { Points::of_children(Edge::Fragment) }.has(point) && datagram_print(header) == parent.print
    } else if edge == Edge::Rebuild as u32 && point == Point::Queue as u32 {
        if parent.object == 0 || cpu.crossings != parent.object + 1 {
            return 0;
        }
        // The first of the pieces that IP cut. Of the others their number is known.
        edge = Edge::Fragment as u32;
        let is_numbered = skb::read::<u8>(header, 0) >> 4 == 4;
        if parent.pass > 0 && is_numbered {
            cpu.parent.print = later_datagram_print(header, parent.pass);
            cpu.parent.edge = edge;
            cpu.parent.points = const { Points::of_children(Edge::Fragment).bits() };
            cpu.parent.pass = 0;
            return 0;
        }
        cpu.parent.pass = 0;
        true
    } else if edge == Edge::Rebuild as u32 {
        cpu.parent.pass = 0;
        const { Points::of_children(Edge::Rebuild) }.has(point) && packet_print(header) == parent.print
    } else if edge == Edge::Merge as u32 {
        const { Points::of_children(Edge::Merge) }.has(point)
            && flow_print(skb::arriving_header(packet).0) == parent.print
    } else {
        let starts = const { Points::of_children(Edge::Clone) }.has(point);
        let same = starts && skb::head(packet) == head_of(&parent);
        let alike = same && journey_of(&parent).is_some_and(|journey| is_like(packet, journey));
        // The memory of a packet that was used up unseen may be another one's by now.
        let same = alike && journey_of(&parent).is_some_and(|journey| is_soon(journey, begin));
        if !same && point == Point::Queue as u32 && is_cut_from(header, &parent) {
            edge = Edge::Fragment as u32;
        }
        let same = same || edge == Edge::Fragment as u32;
        if alike && !same {
            // Or this CPU was interrupted for long: then it was a clone.
            cpu.lost[Loss::ClonesLost] += journey_of(&parent).map_or(0, |journey| journey.weight as u64);
        }
        if starts && !same {
            // The CPU works on something else now.
            cpu.parent.forget();
        }
        same
    };
    if !is_child {
        // A copy comes at once, and what GRO has put together soon.
        if edge == Edge::Rebuild as u32 || edge == Edge::Merge as u32 && is_overdue(&parent, begin) {
            release();
        }
        return 0;
    }
    if cpu.parent.pass > 0 {
        cpu.parent.pass -= 1;
        return 0;
    }
    let (from, to) = (slots::index(parent.slot as u64), slots::index(slot_of(packet) as u64));
    // What tc redirects to an ifb device when it leaves another one goes on as a clone, and no other clone comes there:
    // https://elixir.bootlin.com/linux/v6.12.117/source/net/sched/act_mirred.c#L253
    // https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/ifb.c#L302
    let is_redirected = edge == Edge::Clone as u32 && point == Point::Queue as u32 && skb::is_at_ifb(packet);
    if is_redirected {
        edge = Edge::Rebuild as u32;
    }
    let forks = edge == Edge::Clone as u32;
    let (Some(old), Some(new)) = (journey_of(&parent), journey_in(to)) else {
        cpu.parent.forget();
        return 0;
    };
    let there = key(from);
    let is_there = (edge == Edge::Fragment as u32 || is_redirected) && there == old.skb;
    if there == 0 || (!forks && there != WaitsFor::Child as u64 && !is_there) || forks && waits_elsewhere(old) {
        cpu.parent.forget();
        return 0;
    }
    if from != to {
        if key(to) != 0 && !evict(to, begin) {
            if forks {
                cpu.lost[Loss::ClonesLost] += old.weight as u64;
            } else {
                release();
            }
            return 0;
        }
        copy_journey(from as u64, to as u64, forks as u64);
    } else if forks {
        cpu.lost[Loss::ClonesLost] += old.weight as u64;
        return 0;
    }
    new.skb = packet;
    new.end = End::Open as u8;
    new.next_edge = edge as u8;
    if edge == Edge::Segment as u32 || edge == Edge::Fragment as u32 {
        new.skbs_micro = new.skbs_micro.wrapping_mul(parent.pieces);
        new.skb_wire = skb::wire_packets(packet);
        if edge == Edge::Fragment as u32 {
            if part(header).is_some() {
                is_cut(new, header);
            } else {
                new.next_edge = Edge::Segment as u8;
            }
        }
    } else if edge == Edge::Merge as u32 {
        merged_into(new, packet);
    }
    if forks {
        cpu.next_id += 1;
        new.id = cpu.next_id;
        new.print = 0;
        if new.tail != 0 && long::tail_moved(to as u64, 1) == 0 {
            cpu.lost[Loss::ClonesLost] += old.weight as u64;
            new.skb = 0;
            return 0;
        }
    } else {
        cpu.parent.forget();
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

/// Whether a fragment with this header is the first one of the followed packet on which the CPU works: IP queues copies before it
/// frees what they are cut from.
#[inline(always)]
fn is_cut_from(header: u64, parent: &Parent) -> bool {
    let Some(part) = part(header) else { return false };
    let whole = journey_of(parent).filter(|journey| key(parent.slot) == journey.skb).map_or(0, |journey| journey.skb);
    part.is_first && whole != 0 && datagram_print(skb::network_header(whole)) == part.whole
}

/// A clone is made while its parent is being received.
const CLONED_WITHIN_NS: u64 = 1_000_000;

/// Whether what shares the head of a followed packet carries the same.
#[inline(always)]
fn is_like(packet: u64, parent: &Journey) -> bool {
    ip::payload(packet) == (parent.payload, parent.protocol)
}

/// Whether it comes soon enough to be its clone.
#[inline(always)]
fn is_soon(parent: &Journey, now: u64) -> bool {
    now.wrapping_sub(parent.last_ns) < CLONED_WITHIN_NS
}

/// Whether a packet that GRO merged has waited for so long that what has its data was received elsewhere.
#[inline(always)]
fn is_overdue(parent: &Parent, now: u64) -> bool {
    journey_of(parent).is_none_or(|journey| now.wrapping_sub(journey.last_ns) > FORGOTTEN_NS)
}

/// Whether a packet is no longer being received.
#[inline(always)]
fn waits_elsewhere(journey: &Journey) -> bool {
    !Points::CLONED.has(journey.last_point as u32)
}

/// TCP is about to take up a followed segment: what it has had before it drops, without a trace before 5.18.
/// <https://elixir.bootlin.com/linux/v5.10.223/source/net/ipv4/tcp_input.c#L4989>
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ends_if_old(packet: u64, slot: u64, socket: u64) -> i32 {
    let Some(journey) = journey_in(slot as u32) else { return 0 };
    let [first, second]: [u64; 2] = skb::read(skb::transport_header(packet), 0);
    let (length, header): (u32, u32) = (skb::read(packet, offset!(skb_len)), (second >> 36) as u32 & 15);
    let end = u32::from_be((first >> 32) as u32).wrapping_add(length.saturating_sub(header * 4));
    let next: u32 = skb::read(socket, offset!(tcp_rcv_nxt));
    if journey.payload > 0 && next.wrapping_sub(end) as i32 >= 0 {
        journey.end = End::Dropped as u8;
    }
    0
}

/// Data that were announced wait behind those that were announced before at their socket.
#[inline(always)]
fn wait_in_order(journey: &mut Journey, number: u64, socket: u64) {
    let waiting = slots::unread(socket);
    let (oldest, newest) = (waiting & u32::MAX as u64, waiting >> 32);
    journey.newer = 0;
    if newest == number {
        return;
    }
    let oldest = match journey_in(newest.wrapping_sub(1) as u32) {
        Some(before) if newest != 0 && slots::is_at(before, socket) => {
            before.newer = number as u32;
            oldest
        }
        _ => number,
    };
    slots::set_unread(socket, number << 32 | oldest);
}

/// TCP has put a followed segment into its socket's queue, or joined it with the last one there.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn queued_at_socket(packet: u64, slot: u64, socket: u64) -> i32 {
    let slot = slots::index(slot);
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
    // Where it was joined with followed data these are the newest.
    let slot = if key(slot) == packet { slot } else { slot_of(tail) };
    if let Some(journey) = journey_in(slot)
        && slots::is_at(journey, socket)
    {
        wait_in_order(journey, slot as u64 + 1, socket);
    }
    0
}

/// A socket announces data while a large datagram is being cut: the piece is the last one in the socket's queue. Its
/// address, if it is the one to follow, or 0.
#[inline(always)]
pub fn piece_at(socket: u64) -> u64 {
    let tail: u64 = skb::read(socket, offset!(sk_queue_tail));
    if adopt(Point::Ready as u64, tail, 0) != 0 { tail } else { 0 }
}
