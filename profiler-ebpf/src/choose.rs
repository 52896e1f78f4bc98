//! The choice of packets to follow: one decision per packet, so that all its spans are kept or none.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use netstrata_common::{Edge, End, FILTER_FLOW, Loss, Membership, PAUSE_NS, Point, Points};

use crate::{
    cpu::{config, device_key, now, state},
    end::{self, evict},
    follow::{append_in, take_out_own_time},
    fragments::{self, is_cut, lengths},
    fresh::{LATER, begins_datagram, is_at_a_card, is_new},
    globals::offset,
    ip, lineage,
    maps::JOURNEYS,
    masked::{sets, sets_of},
    skb::{self, zero},
    slots::{self, WaitsFor, journey_in, key, set_key},
};

/// Ends the journey of a packet that an XDP program took, or a device that is done with it, when its address is another packet's:
/// no copy of it has come.
#[inline(always)]
fn release_gone(packet: u64, slot: u32) {
    if key(slot) == WaitsFor::Child as u64
        && let Some(journey) = slots::journey_in(slot)
        && journey.skb == packet
        && Points::TRANSMITTED.has(journey.last_point as u32)
    {
        end::close(slot, End::Consumed, 0);
    }
}

/// The first fragment of a datagram is what the datagram begins with, and counts for all of it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn begin_in_fragments(point: u64, header: u64, protocol: u64, slot: u64) -> i32 {
    let Some(journey) = journey_in(slot as u32) else { return 0 };
    is_cut(journey, header);
    journey.protocol = protocol as u8;
    journey.wire = journey.fragments as u32;
    let (datagram, fragment) = lengths(header);
    if datagram > fragment {
        journey.len += datagram - fragment;
        journey.payload = datagram.saturating_sub(8);
    }
    if Points::BEGIN_MADE.has(point as u32) {
        journey.next_edge = Edge::Fragment as u8;
    }
    0
}

/// Chooses this packet, if it is a fresh one. Called for one crossing in `sample_every`.
#[unsafe(no_mangle)]
#[inline(never)]
#[expect(
    clippy::too_many_lines,
    reason = "a program of its own for the verifier: cut in two, each crossing would pay a call more"
)]
pub extern "C" fn start(point: u64, packet: u64, slot: u64, previous: u64) -> i32 {
    let (slot, previous) = (slots::index(slot), previous as u32);
    let here = sets_of(point as u32);
    let (Some(cpu), Some(config)) = (state(), config()) else { return 0 };
    if cpu.batch != config.batch {
        cpu.batch = config.batch;
        cpu.nodes_before = cpu.new_nodes;
    }
    let every = config.every(cpu.new_nodes.wrapping_sub(cpu.nodes_before));
    // Mean distance `every`, never periodic: periods of the traffic must not meet periods of the choice.
    // SAFETY: a helper without arguments.
    cpu.skip = if every <= 1 { 1 } else { 1 + unsafe { bpf_get_prandom_u32() } % (2 * every - 1) };
    // The rate may have changed since this choice was drawn: the packet stands for as many as there were to choose from then.
    let weight = if cpu.every == 0 { 1 } else { cpu.every };
    cpu.every = every;
    let pending = cpu.pending_socket;
    cpu.pending_socket = 0;
    if config.accept == 0 || !is_new(here, packet, previous) {
        return 0;
    }
    // Each read of the kernel's memory costs as much as all else between two of them: nothing is read twice.
    let head = skb::head(packet);
    // A driver hands in packets whose headers nobody has looked for yet.
    let outside = here.is(Membership::BEGIN_OUTSIDE);
    let (header, before) = if outside {
        skb::arriving_header(packet)
    } else {
        let (outer, inner) = skb::network_headers(packet);
        // A tunnel's worker sends what the tunnel was given before, maybe in pieces.
        if here.is(Membership::BEGIN_MADE) && inner != 0 {
            return 0;
        }
        (skb::untagged(head + outer as u64), 0)
    };
    let fragment_of = begins_datagram(point, packet, header);
    if fragment_of == LATER {
        return 0;
    }
    if config.filters & FILTER_FLOW != 0 && !ip::is_of_flow(header) {
        return 0;
    }
    cpu.decisions += weight as u64;
    release_gone(packet, slot);
    let occupant = key(slot);
    let now = now();
    if occupant != 0 && !evict(slot, now) {
        cpu.lost[Loss::SlotBusy] += weight as u64;
        return 0;
    }
    let Some(journey) = JOURNEYS.get_ptr_mut(slot) else { return 0 };
    // SAFETY: a valid pointer into the map; the slot is ours from here on.
    let journey = unsafe { &mut *journey };
    let from_send = previous == Point::Send as u32 && pending != 0 && pending == skb::read(packet, offset!(skb_sk));
    let begin = if from_send { cpu.pending_ns } else { now };
    cpu.next_id += 1;
    cpu.followed += 1;
    if now.wrapping_sub(cpu.chosen_ns) > PAUSE_NS {
        cpu.busy_since_ns = now;
    }
    cpu.chosen_ns = now;
    journey.skb = packet;
    journey.id = cpu.next_id;
    journey.start_ns = begin;
    journey.last_ns = begin;
    journey.path = 0;
    journey.weight = weight;
    journey.count = 0;
    journey.len = skb::read(packet, offset!(skb_len));
    journey.wire = skb::wire_packets_at(packet, head);
    (journey.payload, journey.protocol) = if outside {
        journey.len += skb::link_header(packet);
        ip::arriving_payload(packet, (header, before))
    } else {
        ip::payload_of(packet, header)
    };
    journey.socket = 0;
    journey.skbs_micro = 1_000_000;
    journey.skb_wire = journey.wire;
    journey.next_edge = 0;
    journey.read_from = 0;
    zero(&mut journey.tail);
    journey.fragments = 0;
    journey.gathered = 0;
    journey.print = 0;
    journey.peers.as_flattened_mut().iter_mut().for_each(zero);
    if outside && (here.is(Membership::BEGIN_FROM_WIRE) || is_at_a_card(packet)) {
        journey.peers[0] = skb::peer(header, 0);
    }
    journey.device = 0;
    journey.copied = 0;
    journey.cpu_hops = 0;
    journey.reason = 0;
    journey.last_point = Point::None as u8;
    journey.end = End::Open as u8;
    journey.matched = 0;
    journey.epoch = config.epoch;
    let device = device_key(cpu, skb::device(packet), now);
    if from_send {
        append_in(slot as u64, Point::Send as u64, (device.netns as u64) << 32, begin);
    }
    if fragment_of != 0 {
        begin_in_fragments(point, header, fragment_of as u64, slot as u64);
    }
    append_in(slot as u64, point, (device.netns as u64) << 32 | device.ifindex as u64, now);
    if here.is(Membership::GRO) {
        lineage::enters_gro(cpu, packet, journey.id);
    } else if here.is(Membership::RECEIVE) {
        lineage::received(cpu, packet, slot, journey, (here, sets(Point::None)), previous);
    }
    if journey.fragments != 0 && here.is(Membership::RECEIVE) {
        fragments::waits(packet, slot as u64);
    }
    take_out_own_time(&mut cpu.cut_ns, journey);
    set_key(slot, packet);
    0
}
