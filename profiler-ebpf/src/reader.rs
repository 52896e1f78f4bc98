//! What readers do with followed packets: they are told of them, and copy or free them, which is the end of a journey, and may answer.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use netstrata_common::{CpuState, DUES, Due, End, Journey, LISTED, Point, Points, TurnKey, others_between};

use crate::{
    atomic::Atomic,
    cpu::{self, config, now, state},
    end::close,
    follow,
    fresh::is_at_a_card,
    globals::offset,
    lineage, log,
    maps::{BPF_NOEXIST, TURNS, ZERO_NODE},
    print::UDP,
    skb,
    slots::{self, journey_in, key, slot_of},
    tunnel,
};

/// The reader took `bytes` more of a packet: all of it ends the journey, and the application's own time begins.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copied(packet: u64, bytes: u64, slot: u64) -> i32 {
    let (bytes, slot) = (bytes as u32, slot as u32);
    let (Some(cpu), Some(journey)) = (state(), journey_in(slot)) else { return 0 };
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
    let weight = journey.weight;
    // A reader that only looks copies, too: what it takes is known when it has gone on.
    if journey.socket != 0 && slots::unread(journey.socket) != 0 {
        journey.end = End::Copied as u8;
    } else if !tunnel::waits_for_reader(cpu, packet, slot, journey) {
        close(slot, End::Copied, 0);
    }
    read_followed(cpu, weight);
    0
}

/// The place of a task, and the bit of that.
#[inline(always)]
fn due(cpu: &mut CpuState, task: u64) -> (&mut Due, u64) {
    let at = task as usize & (DUES - 1);
    (&mut cpu.due[at], 1 << at)
}

/// A task has read a followed packet. What the programs do then leaves it little of the caches, and its own time is longer for that:
/// its next turnaround stands for this one, unless that begins with a followed packet, too.
#[inline(always)]
fn read_followed(cpu: &mut CpuState, weight: u32) {
    let task = bpf_get_current_pid_tgid();
    let (due, bit) = due(cpu, task);
    if due.next != 0 && due.task == task {
        due.weight += weight;
        begin_turn(cpu, task);
    } else if due.next == Due::NEXT {
        due.next -= 1;
    } else {
        *due = Due { task, weight, next: 0 };
        cpu.dues |= bit;
    }
}

/// A task reads a packet that is not followed, and one has read a followed one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_other() -> i32 {
    let Some(cpu) = state() else { return 0 };
    let task = bpf_get_current_pid_tgid();
    let (due, bit) = due(cpu, task);
    if due.task != task {
        return 0;
    }
    if due.next == 0 {
        // It was not the last one before the answer, which is the one that counts.
        due.task = 0;
        cpu.dues &= !bit;
    } else {
        begin_turn(cpu, task);
    }
    0
}

/// The application's own time begins: after the account, which is not the application's.
#[inline(always)]
fn begin_turn(cpu: &mut CpuState, task: u64) {
    cpu.turn_task = task;
    cpu.turn_seen = cpu.crossings as u32;
    cpu.turn_ns = now();
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
    let (Some(cpu), Some(journey), Some(config)) = (state(), journey_in(slot), config()) else { return 0 };
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
        let weight = journey.weight;
        follow::appended_at_last(slot as u64, Point::Copy as u64);
        close(slot, End::Taken, 0);
        read_followed(cpu, weight);
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

/// A task sends, and one has read a followed packet: that ends its turnaround, or the next one is measured.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sends(socket: u64) -> i32 {
    let Some(cpu) = state() else { return 0 };
    if cpu.read_id != 0 {
        tunnel::give_up();
    }
    let task = bpf_get_current_pid_tgid();
    let is_turn = cpu.turn_task == task;
    let (due, bit) = due(cpu, task);
    if due.task != task {
        return 0;
    }
    if !is_turn {
        due.next = Due::NEXT;
        return 0;
    }
    let weight = due.weight;
    *due = Due { task: 0, weight: 0, next: 0 };
    cpu.dues &= !bit;
    cpu.turn_task = 0;
    let now = now();
    let Some(config) = config() else { return 0 };
    let key = TurnKey { netns: skb::socket_netns(socket), pid: (task >> 32) as u32, batch: cpu::batch(&config.batch) };
    if TURNS.get_ptr(key).is_none() {
        let Some(zero) = ZERO_NODE.get(0) else { return 0 };
        if TURNS.insert(key, zero, BPF_NOEXIST).is_err() && log::tells_packets() {
            log::say_turns_full(key.pid as u64);
        }
    }
    if let Some(node) = TURNS.get_ptr_mut(key) {
        // SAFETY: a valid pointer into the map.
        let node = unsafe { &mut *node };
        // But the send itself, which is the turn's end.
        let others = others_between(cpu.turn_seen, cpu.crossings as u32);
        node.take_in::<Atomic>(now.wrapping_sub(cpu.turn_ns), weight as u64, others);
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
