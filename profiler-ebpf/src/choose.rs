//! The choice of packets to follow: one decision per packet, so that all its spans are kept or none.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use netstrata_common::{Config, CpuState, Edge, End, FILTER_FLOW, Journey, Loss, Membership, PAUSE_NS, Point, Points};

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

/// Points after which a packet is gone that waits for a child, and its address another's before the child may have come.
const GONE: Points = Points::TRANSMITTED.and(Point::Gro);

/// Ends the journey of a packet that an XDP program took, a device is done with or GRO joined with another, when its address is
/// another packet's. What GRO joins next waits in its place: virtio's driver takes the memory that came free last.
#[inline(always)]
fn release_gone(packet: u64, slot: u32) {
    if key(slot) == WaitsFor::Child as u64
        && let Some(journey) = slots::journey_in(slot)
        && journey.skb == packet
        && GONE.has(journey.last_point as u32)
    {
        end::close(slot, End::Absorbed, 0);
    }
}

/// The first fragment of a datagram is what the datagram begins with, and counts for all of it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn begin_in_fragments(header: u64, protocol: u64, slot: u64) -> i32 {
    let Some(journey) = journey_in(slot as u32) else { return 0 };
    is_cut(journey, header);
    journey.protocol = protocol as u8;
    journey.wire = journey.fragments as u32;
    let (datagram, fragment) = lengths(header);
    if datagram > fragment {
        journey.len += datagram - fragment;
        journey.payload = datagram.saturating_sub(8);
    }
    0
}

/// No distance from where data begin to the IP header.
const MADE_HERE: u32 = u32::MAX;

/// Length, payload and sender of the packet with which a journey begins. `before`: what of it lies before its IP header, or [`MADE_HERE`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn describe(slot: u64, packet: u64, header: u64, before: u64) -> i32 {
    let Some(journey) = journey_in(slot as u32) else { return 0 };
    journey.len = skb::read(packet, offset!(skb_len));
    if before as u32 == MADE_HERE {
        (journey.payload, journey.protocol) = ip::payload_of(packet, header);
        return 0;
    }
    journey.len += skb::link_header(packet);
    (journey.payload, journey.protocol) = ip::arriving_payload(packet, (header, before as u32));
    // A card that merges itself may not say of how many: https://elixir.bootlin.com/linux/v6.12.117/source/include/linux/virtio_net.h#L162
    let (size, _) = skb::cut_into(packet);
    if journey.wire == 1 && size != 0 && journey.payload > size as u32 {
        journey.wire = journey.payload.div_ceil(size as u32);
        journey.skb_wire = journey.wire;
    }
    // Of what came from a tun device nobody asks.
    if is_at_a_card(packet) {
        journey.peers[0] = skb::peer(header, 0);
    }
    0
}

/// Chooses this packet, if it is a fresh one. Called for one crossing in `sample_every`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn start(point: u64, packet: u64, slot: u64, previous: u64) -> i32 {
    let chosen = choose(point, packet, slot, previous);
    let (slot, here) = (slots::index(slot), sets_of(point as u32));
    if chosen == NOT_CHOSEN {
        return 0;
    }
    let (Some(cpu), Some(journey)) = (state(), journey_in(slot)) else { return 0 };
    let device = device_key(cpu, skb::device(packet), cpu.chosen_ns);
    if chosen == SENT {
        append_in(slot as u64, Point::Send as u64, (device.netns as u64) << 32, journey.start_ns);
    }
    if journey.fragments != 0 && here.is(Membership::BEGIN_MADE) {
        journey.next_edge = Edge::Fragment as u8;
    }
    append_in(slot as u64, point, (device.netns as u64) << 32 | device.ifindex as u64, cpu.chosen_ns);
    if here.is(Membership::GRO) {
        lineage::enters_gro(cpu, packet, journey.id);
    } else if here.is(Membership::RECEIVE) {
        lineage::received(cpu, packet, slot, journey, (here, sets(Point::None)), previous as u32);
        if journey.fragments != 0 {
            fragments::waits(packet, slot as u64);
        }
    }
    take_out_own_time(&mut cpu.cut_ns, journey);
    set_key(slot, packet);
    0
}

const NOT_CHOSEN: i32 = 0;
const CHOSEN: i32 = 1;
/// Chosen, and TCP took its bytes from the application before.
const SENT: i32 = 2;

/// Draws how many packets are passed over until the next choice. How many the one that was due stands for.
#[inline(always)]
fn draw(cpu: &mut CpuState, config: &Config) -> u32 {
    if cpu.batch != config.batch {
        cpu.batch = config.batch;
        cpu.nodes_before = cpu.new_nodes;
    }
    let every = config.every(cpu.new_nodes.wrapping_sub(cpu.nodes_before));
    // Mean distance `every`, never periodic: periods of the traffic must not meet periods of the choice.
    // See `record::crossing` for what counts.
    // SAFETY: a helper without arguments.
    cpu.skip = if every <= 1 { 1 } else { 1 + unsafe { bpf_get_prandom_u32() } % (2 * every - 1) };
    // The rate may have changed since this choice was drawn: the packet stands for as many as there were to choose from then.
    let weight = if cpu.every == 0 { 1 } else { cpu.every };
    cpu.every = every;
    weight
}

/// The choice fell on a packet that has its journey already: the next one is drawn. Where all are followed, none is passed over.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pass_over() -> i32 {
    let (Some(cpu), Some(config)) = (state(), config()) else { return 0 };
    if cpu.every > 1 {
        draw(cpu, config);
    }
    0
}

/// Address of the IP header of a packet that may begin here, and what of the packet lies before it; `None` if it is a tunnel's.
#[inline(always)]
fn ip_header(here: Membership, packet: u64, head: u64) -> Option<(u64, u32)> {
    // A driver hands in packets whose headers nobody has looked for yet.
    if here.is(Membership::BEGIN_OUTSIDE) {
        return Some(skb::arriving_header(packet));
    }
    let (outer, inner) = skb::network_headers(packet);
    // A tunnel's worker sends what the tunnel was given before, maybe in pieces.
    if here.is(Membership::BEGIN_MADE) && inner != 0 {
        return None;
    }
    Some((skb::untagged(head + outer as u64), MADE_HERE))
}

/// What a journey has not met yet.
#[inline(always)]
fn clear(journey: &mut Journey) {
    journey.path = 0;
    journey.count = 0;
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
    journey.device = 0;
    journey.copied = 0;
    journey.cpu_hops = 0;
    journey.reason = 0;
    journey.last_point = Point::None as u8;
    journey.end = End::Open as u8;
    journey.matched = 0;
}

/// Decides whether this packet is followed, and begins its journey, which has no crossing yet. Apart from [`start`], because the stack
/// would not hold both.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn choose(point: u64, packet: u64, slot: u64, previous: u64) -> i32 {
    let (slot, previous) = (slots::index(slot), previous as u32);
    let here = sets_of(point as u32);
    // First: what choosing takes is cut out of the journey.
    let now = now();
    let (Some(cpu), Some(config)) = (state(), config()) else { return NOT_CHOSEN };
    let weight = draw(cpu, config);
    let pending = cpu.pending_socket;
    cpu.pending_socket = 0;
    if config.accept == 0 || !is_new(point as u32, packet, previous) {
        return NOT_CHOSEN;
    }
    let from_send = previous == Point::Send as u32 && pending != 0 && pending == skb::read(packet, offset!(skb_sk));
    // Each read of the kernel's memory costs as much as all else between two of them: nothing is read twice.
    let head = skb::head(packet);
    let Some((header, before)) = ip_header(here, packet, head) else { return NOT_CHOSEN };
    let fragment_of = begins_datagram(point, packet, header);
    if fragment_of == LATER {
        return NOT_CHOSEN;
    }
    if config.filters & FILTER_FLOW != 0 && !ip::is_of_flow(header) {
        return NOT_CHOSEN;
    }
    cpu.decisions += weight as u64;
    release_gone(packet, slot);
    let occupant = key(slot);
    if occupant != 0 && !evict(slot, now) {
        cpu.lost[Loss::SlotBusy] += weight as u64;
        return NOT_CHOSEN;
    }
    let Some(journey) = JOURNEYS.get_ptr_mut(slot) else { return NOT_CHOSEN };
    // SAFETY: a valid pointer into the map; the slot is ours from here on.
    let journey = unsafe { &mut *journey };
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
    journey.weight = weight;
    journey.wire = skb::wire_packets_at(packet, head);
    journey.epoch = config.epoch;
    clear(journey);
    describe(slot as u64, packet, header, before as u64);
    if fragment_of != 0 {
        begin_in_fragments(header, fragment_of as u64, slot as u64);
    }
    if from_send { SENT } else { CHOSEN }
}
