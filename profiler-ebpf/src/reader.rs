//! What readers do with followed packets: they are told of them, and copy or free them, which is the end of a journey.

use netstrata_common::{End, Journey, LISTED, Point, Points};

use crate::{
    cpu::{config, state},
    end::close,
    follow,
    fresh::is_at_a_card,
    globals::offset,
    lineage,
    print::UDP,
    skb,
    slots::{self, journey_in, key, slot_of},
    tunnel, turn,
};

/// The reader took `bytes` more of a packet: all of it ends the journey, and the application's own time begins.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copied(packet: u64, bytes: u64, slot: u64) -> i32 {
    let (bytes, slot) = (bytes as u32, slot as u32);
    let (Some(cpu), Some(journey), Some(config)) = (state(), journey_in(slot), config()) else { return 0 };
    if journey.skb != packet {
        return 0;
    }
    journey.copied = journey.copied.wrapping_add(bytes);
    let whole = if journey.socket != 0 {
        read_to_end(journey, bytes)
    } else {
        let len: u32 = skb::read(packet, offset!(skb_len));
        journey.copied >= len
    };
    if !whole {
        return 0;
    }
    let (weight, is_asked_for) = (journey.weight, journey.is_asked_for(config.filters));
    // A reader that only looks copies, too: what it takes is known when it has gone on.
    if journey.socket != 0 && slots::unread(journey.socket) != 0 {
        journey.end = End::Copied as u8;
    } else if !tunnel::waits_for_reader(cpu, packet, slot, journey) {
        close(slot, End::Copied, 0);
    }
    if is_asked_for {
        turn::read_followed(weight, config.epoch);
    }
    0
}

/// A reader has gone on in what its socket holds, where followed data lie: those that it took end, the oldest first.
/// Within its program, for the sake of the stack.
#[inline(always)]
pub fn passed(socket: u64, waiting: u64) {
    let read: u32 = skb::read(socket, offset!(tcp_copied_seq));
    let mut oldest = waiting & u32::MAX as u64;
    for _ in 0..AT_ONCE {
        let next = passed_one(oldest, socket, read as u64) as u64;
        if next == oldest {
            break;
        }
        oldest = next;
        if oldest == 0 {
            break;
        }
    }
    slots::set_unread(socket, if oldest == 0 { 0 } else { waiting >> 32 << 32 | oldest });
}

/// So many followed segments end at once; the others when their reader goes on.
const AT_ONCE: u32 = 32;

/// Ends the journey of a followed segment that its reader has taken. The number of the one that waits behind it, its own if it
/// waits still, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn passed_one(number: u64, socket: u64, read: u64) -> i32 {
    let slot = slots::index(number.wrapping_sub(1));
    let (Some(journey), Some(config)) = (journey_in(slot), config()) else { return 0 };
    if !slots::is_at(journey, socket) || journey.epoch != config.epoch {
        return 0;
    }
    let newer = journey.newer as i32;
    if ((read as u32).wrapping_sub(journey.end_seq) as i32) < 0 {
        return number as i32;
    }
    if journey.last_point == Point::Copy as u8 {
        close(slot, End::Copied, 0);
    } else if Points::ANNOUNCED.has(journey.last_point as u32) {
        let (weight, is_asked_for) = (journey.weight, journey.is_asked_for(config.filters));
        follow::appended_at_last(slot as u64, Point::Copy as u64);
        close(slot, End::Taken, 0);
        if is_asked_for {
            turn::read_followed(weight, config.epoch);
        }
    }
    newer
}

/// Whether a copy of `bytes` that begins now reaches the end of a followed TCP segment.
#[inline(always)]
fn read_to_end(journey: &Journey, bytes: u32) -> bool {
    let copied: u32 = skb::read(journey.socket, offset!(tcp_copied_seq));
    copied.wrapping_add(bytes).wrapping_sub(journey.end_seq) as i32 >= 0
}

/// Whether a packet was announced to a reader, and comes to it next.
#[inline(always)]
pub fn was_announced(slot: u32) -> bool {
    journey_in(slot).is_some_and(|journey| Points::ANNOUNCED.has(journey.last_point as u32))
}

/// Whether a packet is a datagram that its reader took before it was announced: in the socket's queue UDP keeps other things
/// where the address of its device was.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/udp.c#L1456>
#[inline(always)]
pub fn is_unannounced(packet: u64, slot: u32) -> bool {
    const NO_ADDRESS: u64 = 0xffff << 48;
    let Some(journey) = journey_in(slot) else { return false };
    if journey.protocol != UDP || !Points::RECEIVED.has(journey.last_point as u32) {
        return false;
    }
    let device = skb::device(packet);
    device != 0 && device & NO_ADDRESS != NO_ADDRESS
}

/// The reader took the whole packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn taken_whole(packet: u64, slot: u64) -> i32 {
    let slot = slots::index(slot);
    let (Some(cpu), Some(journey)) = (state(), journey_in(slot)) else { return 0 };
    if !tunnel::waits_for_reader(cpu, packet, slot, journey) {
        close(slot, End::Copied, 0);
    }
    0
}

/// A packet was freed after its work, and not by a reader: its journey ends, or goes on in other skbs.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn consumed(packet: u64, slot: u64) -> i32 {
    let slot = slots::index(slot);
    let Some(journey) = journey_in(slot) else { return 0 };
    // A card is done with it.
    if Points::TRANSMITTED.has(journey.last_point as u32) && is_at_a_card(packet) {
        journey.peers[1] = skb::peer(skb::network_header(packet), 1);
        close(slot, End::Consumed, 0);
    } else if !lineage::freed(packet, slot, journey) {
        close(slot, End::Consumed, 0);
    }
    0
}

/// A socket that is no TCP socket announces data, and followed packets were received: the one that is at the end of its
/// queue; or, where a reader has taken it already, the first datagram for its port that was not announced yet. 0 if it is
/// none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn announced(socket: u64) -> u64 {
    let Some(cpu) = state() else { return 0 };
    let queue = socket + offset!(sk_queue_tail);
    let tail: u64 = skb::read(queue, 0);
    // The queue's head has two pointers, of which the second one is to its end.
    let is_empty = tail == queue - 8;
    if !is_empty && is_received(tail) {
        return tail;
    }
    let (mut found, mut left) = (0, 0);
    let count = cpu.received;
    for age in 0..LISTED as u32 {
        // From the oldest on.
        let nth = count.wrapping_sub(LISTED as u32).wrapping_add(age);
        if nth >= count {
            continue;
        }
        let packet = cpu.listed[nth as usize & (LISTED - 1)];
        let standing = listed(packet, if is_empty && found == 0 { socket } else { 0 });
        left |= standing;
        if standing == Listed::Its as i32 {
            found = packet;
        }
    }
    if left == 0 {
        cpu.received = 0;
    }
    found
}

/// What one of the packets is that were received.
#[repr(i32)]
enum Listed {
    /// Gone on, or not followed any more.
    Gone,
    /// No protocol has taken it up yet.
    Received,
    /// Neither, and it is for the socket that announces data.
    Its,
}

/// See [`Listed`]; `socket` is 0 where nobody asks for whom it is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn listed(packet: u64, socket: u64) -> i32 {
    let Some(cpu) = state() else { return Listed::Gone as i32 };
    if !is_received(packet) {
        return Listed::Gone as i32;
    }
    let is_datagram = journey_in(slot_of(packet)).is_some_and(|journey| journey.protocol == UDP);
    let is_worked_on = cpu.object == packet && Points::RECEIVED.has(cpu.point);
    let is_its = socket != 0 && (is_datagram || is_worked_on) && skb::is_for_port(packet, socket);
    if is_its { Listed::Its as i32 } else { Listed::Received as i32 }
}

/// Whether a packet is followed, and no protocol has taken it up yet.
#[inline(always)]
fn is_received(packet: u64) -> bool {
    let slot = slot_of(packet);
    key(slot) == packet && journey_in(slot).is_some_and(|journey| Points::RECEIVED.has(journey.last_point as u32))
}
