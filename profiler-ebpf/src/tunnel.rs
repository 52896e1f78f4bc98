//! How a followed packet goes on through a program in user space: a tunnel reads it from a tun device and sends it over
//! UDP; another reads the datagram and writes what it carries to a tun device.
//!
//! Out: the datagram may be encrypted, so it does not tell what it carries. But the program does: a thread that reads a
//! packet from a tun device and sends, as its very next packet, a datagram at least as long, has sent that packet. Then
//! the packet's fingerprint is kept. In: what a program writes to a tun device with that fingerprint is the packet, and
//! its journey, which is somewhere at the datagram, goes on there. Programs that hand packets from thread to thread
//! before they send are not followed: to them the packet was read, and that was its end.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use netstrata_common::{CpuState, Edge, End, Journey, Point, Points, WithProgram};

use crate::{
    cpu::{now, state},
    end,
    fresh::is_fresh,
    globals::offset,
    ip,
    moves::goes_on,
    print::{UDP, packet_print},
    skb,
    slots::{self, WaitsFor, journey_in, key, set_key, slot_of},
    with_program::{count_tunnelled, tunnelled},
};

/// A packet was read whole. True if its journey waits for what comes of it.
#[inline(always)]
pub fn waits_for_reader(cpu: &mut CpuState, packet: u64, slot: u32, journey: &mut Journey) -> bool {
    if Points::TRANSMITTED.has(journey.read_from as u32) {
        if cpu.read_id != 0 {
            give_up();
        }
        journey.print = packet_print(skb::network_header(packet));
        cpu.read_id = journey.id;
        cpu.read_slot = slot;
        cpu.read_task = bpf_get_current_pid_tgid();
    } else if journey.print == 0 {
        return false;
    }
    journey.end = End::Copied as u8;
    set_key(slot, WaitsFor::Reader as u64);
    true
}

/// The reader did something else: the journey ended when its packet was read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn give_up() -> i32 {
    let Some(cpu) = state() else { return 0 };
    let id = cpu.read_id;
    cpu.read_id = 0;
    let slot = slots::index(cpu.read_slot as u64);
    if key(slot) == WaitsFor::Reader as u64 && journey_in(slot).is_some_and(|journey| journey.id == id) {
        end::close(slot, End::Copied, 0);
    }
    0
}

/// Whether a packet that is queued is the datagram in which the reader of this CPU's last followed packet sends it on; it
/// is followed then.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sent(packet: u64, previous: u64) -> i32 {
    let begin = now();
    let Some(cpu) = state() else { return 0 };
    // Softirqs run on top of the reader and send on their own: acknowledgements.
    if cpu.read_task != bpf_get_current_pid_tgid()
        || !is_fresh(Point::Queue, packet, previous as u32, skb::network_header(packet))
        || ip::payload(packet).1 != UDP
    {
        return 0;
    }
    let (from, id) = (slots::index(cpu.read_slot as u64), cpu.read_id);
    let length: u32 = skb::read(packet, offset!(skb_len));
    let Some(journey) = journey_in(from) else { return 0 };
    if key(from) != WaitsFor::Reader as u64
        || journey.id != id
        || length < journey.copied
        || goes_on(from as u64, packet, begin, Edge::Userspace as u64) == 0
    {
        give_up();
        return 0;
    }
    cpu.read_id = 0;
    let slot = slots::index(slot_of(packet) as u64);
    let Some(journey) = journey_in(slot) else { return 0 };
    if let Some(entry) = tunnelled(journey.print) {
        if entry.id == 0 {
            count_tunnelled(1);
        }
        *entry = WithProgram { print: journey.print, id, slot, pieces: 1 };
    }
    1
}

/// Whether a packet that comes out of a tun device is a followed one that went through a program; it is followed then.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn written(point: u64, packet: u64, previous: u64) -> i32 {
    let begin = now();
    let Some(point) = Point::from_id(point as u8) else { return 0 };
    let header = skb::network_header(packet);
    if !is_fresh(point, packet, previous as u32, header) {
        return 0;
    }
    let print = packet_print(header);
    let Some(entry) = tunnelled(print) else { return 0 };
    let from = slots::index(entry.slot as u64);
    let Some(journey) = journey_in(from) else { return 0 };
    if entry.print != print || journey.id != entry.id || journey.print != print {
        return 0;
    }
    // At the socket still (its datagram may be freed without a word), or read from there.
    let there = key(from);
    if there != WaitsFor::Reader as u64 && there != journey.skb {
        return 0;
    }
    entry.id = 0;
    count_tunnelled(-1);
    journey.print = 0;
    goes_on(from as u64, packet, begin, Edge::Userspace as u64)
}
