//! Datagrams that IP cuts into fragments, and puts together again. Only followed packets, and fragments while some of those wait
//! for others, come here.
//!
//! A datagram counts once, by its first fragment: the others are not chosen where they begin (`fresh`). IP sends the datagram's own
//! skb as the first one where the fragments are there already, which a socket or a reassembly has left as a list; else it
//! copies, frees the datagram when the copies are queued, and the journey goes on with the first of these (`lineage`):
//! <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/ip_output.c#L764>
//!
//! Whoever puts them together (IP, conntrack, a bridge's netfilter hooks) does so in the skb that came last, when it has come:
//! <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/inet_fragment.c#L480>. No tracepoint tells. So the journey of a fragment
//! that is being received and has not gone on goes over to each fragment of its datagram that comes to the same device, and
//! the last of these is the datagram.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use netstrata_common::{Edge, FRAGMENTS_WORD, Journey, MAX_CROSSINGS, Membership, Point, Points, Protocol, mix};

use crate::{
    cpu::{now, state},
    globals::offset,
    moves::goes_on,
    print::part,
    skb,
    slots::{self, journey_in, key, slot_of},
    with_program::{forget, held, hold},
};

/// In [`Journey::gathered`]: a tunnel's packet, which is whole, carries the fragment.
const CARRIED: u8 = 2;

/// A packet is now the first fragment, with the IP header at this address, of what it was.
#[inline(always)]
pub fn is_cut(journey: &mut Journey, header: u64) {
    let count = count_of(header);
    journey.fragments = count as u8;
    journey.gathered = 0;
    journey.skbs_micro = journey.skbs_micro.wrapping_mul(count);
}

/// Of how many fragments this is the first one, from its IP header; 1 where nothing in it tells.
#[inline(always)]
pub fn count_of(header: u64) -> u32 {
    let (datagram, fragment) = lengths(header);
    let count = if fragment == 0 { 1 } else { datagram.div_ceil(fragment) };
    if count == 0 {
        1
    } else if count > u8::MAX as u32 {
        u8::MAX as u32
    } else {
        count
    }
}

/// Bytes that IP carries in a datagram and in its first fragment; 0 where the header does not tell.
#[inline(always)]
pub fn lengths(header: u64) -> (u32, u32) {
    let first: u64 = skb::read(header, 0);
    let (carried, protocol, length) = if (first as u8) >> 4 == 4 {
        let length = (first & 15) * 4;
        (u16::from_be((first >> 16) as u16) as u32, skb::read::<u8>(header, 9), length)
    } else {
        // With its fragment header.
        (u16::from_be((first >> 32) as u16) as u32 + 40, skb::read(header, 40), 48)
    };
    if protocol != Protocol::UDP.0 {
        return (0, 0);
    }
    (u16::from_be(skb::read(header, length + 4)) as u32, carried.saturating_sub(length as u32))
}

/// Whether a tunnel's packet carries the fragment, which is not seen then.
#[inline(always)]
pub fn is_carried(journey: &Journey) -> bool {
    journey.gathered == CARRIED
}

/// Whether a packet that comes to a point may have been cut or put together since its last one.
#[inline(always)]
pub fn may_change(here: Membership, packet: u64, journey: &Journey) -> bool {
    journey.fragments != 0
        || here.is(Membership::QUEUE)
            && journey.protocol != Protocol::TCP.0
            && skb::read::<u32>(packet, offset!(skb_len)) < journey.len
}

/// A followed packet, before it crosses a point, may have been cut or put together since its last one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn changes(point: u64, packet: u64, slot: u64) -> i32 {
    let Some(journey) = journey_in(slot as u32) else { return 0 };
    let point = point as u32;
    let was_received = Points::RECEIVED.has(journey.last_point as u32);
    if point == Point::Queue as u32 {
        let header = skb::network_header(packet);
        let is_part = part(header).is_some_and(|part| part.is_first);
        if is_part && journey.fragments == 0 {
            is_cut(journey, header);
            journey.next_edge = Edge::Fragment as u8;
        } else if is_part && journey.gathered != 0 {
            // Put together for a look, and cut as it was.
            journey.gathered = 0;
            journey.next_edge = Edge::Fragment as u8;
        } else if !is_part && was_received && journey.fragments != 0 && journey.gathered != CARRIED {
            // Without fragments it is shorter for another reason: a tunnel or a tag was taken off.
            is_whole(journey);
        }
    } else if was_received && journey.gathered != CARRIED && const { Points::of_taken_on() }.has(point) {
        is_whole(journey);
    }
    if was_received && !Points::RECEIVED.has(point) && journey.print != 0 {
        let print = journey.print;
        if held(print).is_some_and(|entry| entry.id == journey.id) {
            forget(print, journey.id);
            journey.print = 0;
        }
    }
    0
}

/// A packet is a datagram again.
#[inline(always)]
fn is_whole(journey: &mut Journey) {
    if journey.fragments > 1 {
        journey.skbs_micro /= journey.fragments as u32;
    }
    if journey.gathered == 0 {
        journey.next_edge = Edge::Reassemble as u8;
    }
    journey.fragments = 0;
    journey.gathered = 0;
}

/// A fragment is being received, and may have to wait for the others.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn waits(packet: u64, slot: u64) -> i32 {
    let slot = slots::index(slot);
    let Some(journey) = journey_in(slot) else { return 0 };
    if let Some(part) = part(skb::arriving_header(packet).0) {
        journey.gathered &= !CARRIED;
        hold(mix(part.print, skb::device(packet)), journey, slot, FRAGMENTS_WORD);
    } else if journey.gathered == 0 {
        journey.gathered = CARRIED;
    }
    0
}

/// What a packet is that is being received.
#[repr(i32)]
enum Gathered {
    /// None that a followed one waits for.
    No,
    /// The first one that came after a followed one, which now is it.
    First,
    /// One more.
    More,
}

/// Whether a packet that is being received is a fragment that a followed one waits for. See [`Gathered`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gather(packet: u64) -> i32 {
    let begin = now();
    let Some(cpu) = state() else { return 0 };
    let Some(part) = part(skb::arriving_header(packet).0) else { return Gathered::No as i32 };
    let print = mix(part.print, skb::device(packet));
    let Some(entry) = held(print) else { return Gathered::No as i32 };
    let from = slots::index(entry.slot as u64);
    let Some(journey) = journey_in(from) else { return Gathered::No as i32 };
    if entry.id == 0
        || entry.print != print
        || journey.id != entry.id
        || journey.fragments == 0
        || key(from) != journey.skb
        || !Points::RECEIVED.has(journey.last_point as u32)
    {
        return Gathered::No as i32;
    }
    // One wait, up to the last of them.
    let again = journey.gathered != 0;
    let is_apart = journey.count as usize <= MAX_CROSSINGS;
    let last = journey.count.wrapping_sub(1) as usize & (MAX_CROSSINGS.next_power_of_two() - 1);
    if again && is_apart && last < MAX_CROSSINGS {
        let crossing = &mut journey.crossings[last];
        crossing.delta_ns += begin.saturating_sub(journey.last_ns);
        // SAFETY: a helper without arguments.
        crossing.cpu = unsafe { bpf_get_smp_processor_id() } as u16;
        crossing.seen = cpu.crossings as u32;
        journey.last_ns = begin;
    }
    if goes_on(from as u64, packet, begin, Edge::Reassemble as u64) == 0 {
        return Gathered::No as i32;
    }
    let to = slots::index(slot_of(packet) as u64);
    entry.slot = to;
    let Some(journey) = journey_in(to) else { return Gathered::No as i32 };
    journey.gathered = 1;
    if again {
        journey.next_edge = Edge::Same as u8;
        return Gathered::More as i32;
    }
    Gathered::First as i32
}
