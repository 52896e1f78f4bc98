//! A followed packet crosses a point.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use netstrata_common::{
    Config, CpuState, Crossing, DeviceKey, Edge, End, FILTER_DEVICE, FILTER_NETNS, Journey, Loss, MAX_CROSSINGS,
    Membership, Point, Points, path_step,
};

use crate::{
    cpu::{self, config, device_key, now, state},
    end, fragments,
    fresh::{comes_from_worker, is_new},
    function,
    globals::offset,
    lineage, log, long,
    maps::{JOURNEYS, WANTED},
    masked::{masked, sets_of},
    skb,
    slots::{self, slot_of},
};

/// Whether a packet that was last seen at `from` can be seen next at `to`. Everything else is another packet at the
/// same address.
#[inline(always)]
fn can_follow(from: u8, to: u32) -> bool {
    Points::BEFORE[masked::<31>(to as u64)].has_at_run_time(from as u32)
}

/// Whether a packet that a reader copies never came through a device, though the followed one did. What the network
/// frees without a word (acknowledgements) leaves its address to packets of other families, Unix sockets above all,
/// that have no crossing but this one (`unix_stream_read_actor` in <https://elixir.bootlin.com/linux/v6.12.117/source/net/unix/af_unix.c>).
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/tcp_input.c#L6237>
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/core/datagram.c#L537>
#[inline(always)]
fn is_foreign(packet: u64, before: Membership) -> bool {
    before.is(Membership::TO_READER) && skb::read::<i32>(packet, offset!(skb_iif)) == 0
}

/// Whether a packet that a device has sent is another one at the next queue. An ifb device gives packets back from a list of its own,
/// in its own name: <https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/ifb.c#L132>
#[inline(always)]
fn is_sent_twice(here: Membership, before: Membership, packet: u64, journey: &Journey) -> bool {
    here.is(Membership::QUEUE)
        && before.is(Membership::XMIT_END)
        && skb::read::<u32>(packet, offset!(skb_iif)) != last_device(journey).ifindex
}

/// A followed packet crosses a point. True if this turned out to be another packet at the same address, which may be
/// chosen in its turn.
#[inline(always)]
pub fn follow(point: Point, packet: u64, device: u64, slot: u32, previous: u32) -> bool {
    follow_global(point as u64, packet, device, slot as u64, previous as u64) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn follow_global(point: u64, packet: u64, device: u64, slot: u64, previous: u64) -> i32 {
    follow_inner(point as u32, packet, device, slots::index(slot), previous as u32) as i32
}

#[inline(always)]
#[expect(
    clippy::too_many_lines,
    reason = "the hot path in its order, each step of which needs what the ones before found"
)]
fn follow_inner(point: u32, packet: u64, device: u64, slot: u32, previous: u32) -> bool {
    let Some(journey) = JOURNEYS.get_ptr_mut(slot) else { return false };
    // SAFETY: a valid pointer into the map; only the CPU that works on the packet comes here.
    let journey = unsafe { &mut *journey };
    if journey.skb != packet {
        return false;
    }
    let now = now();
    // Asked for once: each time is a look-up.
    let (Some(cpu), Some(config)) = (state(), config()) else { return false };
    if journey.epoch != config.epoch {
        end::cut(slot);
        return true;
    }
    let last = journey.last_point;
    let (here, before) = (sets_of(point), sets_of(last as u32));
    // The device's transmit function comes back after the packet went on, a queue tells of a packet that another CPU has
    // taken out of it: nothing new.
    // https://elixir.bootlin.com/linux/v6.12.117/source/net/core/dev.c#L3877
    if here.is(Membership::XMIT_END | Membership::REQUEUE) && !before.is(Membership::XMIT)
        || here.is(Membership::ENQUEUE) && !before.is(Membership::QUEUE)
    {
        return false;
    }
    // A packet made here is queued first: only there, or where the way so far cannot go on, is a reused address looked for. But not
    // while a device transmits the packet: what it queues then is the packet, and may have had copies before it.
    let sent_on = journey.next_edge == Edge::Userspace as u8;
    let is_twice = is_sent_twice(here, before, packet, journey) && !comes_from_worker(here, before, journey);
    let may_follow = sent_on || can_follow(last, point) && !is_twice;
    if !sent_on
        && !before.is(Membership::EXECUTE | Membership::XMIT)
        && here.is(Membership::BEGIN)
        && (here.is(Membership::BEGIN_MADE)
            // What a card received is new, wherever the packet before at its address was lost from sight.
            || here.is(Membership::BEGIN_FROM_WIRE) && !before.is(Membership::TRANSMITTED)
            || !may_follow)
        && is_new(point, packet, previous)
        && !comes_from_worker(here, before, journey)
    {
        end::close(slot, End::Absorbed, 0);
        return true;
    }
    if !may_follow || here.is(Membership::WITH_STRANGERS) && is_foreign(packet, before) {
        cpu.lost[Loss::AddressReused] += !journey.may_end_unseen() as u64;
        if log::tells_packets() {
            log::say_stale(packet, last as u64, point as u64);
        }
        end::close(slot, End::Absorbed, 0);
        return true;
    }
    // While fragments wait for each other IP looks up a route for each.
    if here.is(Membership::ROUTE) && journey.fragments != 0 && !fragments::is_carried(journey) {
        return false;
    }
    if fragments::may_change(here, packet, journey) {
        fragments::changes(point as u64, packet, slot as u64);
    }
    // Reading the device again would cost more than everything else here: from its queue to its transmit function, and from
    // the backlog to the softirq, a packet stays at one device.
    let at = if here.is(Membership::DEVICE_FROM_PACKET) && !(here.is(Membership::RECEIVE) && before.is(Membership::RX))
    {
        // A route is looked up, and a socket found, for the device that the packet was lifted to: a macvlan's receive
        // handler changes it without a crossing: https://elixir.bootlin.com/linux/v6.12.117/source/net/core/dev.c#L5750
        device_key(cpu, skb::device(packet), now)
    } else if here.is(Membership::DEVICE_FROM_SOCKET) && before.is(Membership::RECEIVED) {
        received_by(device, packet, last_device(journey))
    } else if here.is(Membership::DEVICE_FROM_ARGUMENT) && !before.is(Membership::QUEUED) {
        device_key(cpu, device, now)
    } else {
        last_device(journey)
    };
    // What was received goes on in its own namespace, or it is a new one: a clone (which came in before, as it says) at the address of
    // what ended unseen.
    if here.is(Membership::QUEUE) && before.is(Membership::RECEIVED) && at.netns != last_device(journey).netns {
        cpu.lost[Loss::AddressReused] += !journey.may_end_unseen() as u64;
        end::close(slot, End::Absorbed, 0);
        return true;
    }
    append(cpu, journey, (point, here), at, now, config);
    if here.is(Membership::RECEIVE) && journey.fragments != 0 {
        fragments::waits(packet, slot as u64);
    }
    if here.is(Membership::CLONES_BEGIN) {
        lineage::received(cpu, packet, slot, journey, (here, before), previous);
    } else if here.is(Membership::GRO) {
        lineage::enters_gro(cpu, packet, journey.id);
    } else if here.is(Membership::CLONES_END) {
        cpu::leaves(cpu, slot);
    }
    if here.is(Membership::XMIT) {
        journey.device = device;
    }
    let spent = take_out_own_time(&mut cpu.cut_ns, journey);
    // As little as can be after the last look at the clock.
    let alike = here.is(Membership::XMIT) && before.is(Membership::QUEUE);
    if alike && spent <= config.undisturbed_ns.wrapping_sub(1) as u64 {
        cpu.alike.ns += spent;
        cpu.alike.count += 1;
    }
    false
}

/// Takes the time since a journey's last crossing out of it, which is this program's; adds it to the sum of all.
#[inline(always)]
pub fn take_out_own_time(all: &mut u64, journey: &mut Journey) -> u64 {
    let ended = now();
    let spent = ended.saturating_sub(journey.last_ns);
    journey.start_ns += spent;
    journey.last_ns += spent;
    *all += spent;
    spent
}

/// The device that gave a packet to a socket.
#[inline(always)]
fn received_by(socket: u64, packet: u64, last: DeviceKey) -> DeviceKey {
    match skb::read(packet, offset!(skb_iif)) {
        0 => last,
        ifindex => DeviceKey { netns: skb::socket_netns(socket), ifindex },
    }
}

/// The device of the last crossing.
#[inline(always)]
fn last_device(journey: &Journey) -> DeviceKey {
    let index = journey.count.wrapping_sub(1) as usize;
    if index >= MAX_CROSSINGS {
        let latest = long::latest_device(slot_of(journey.skb) as u64);
        return DeviceKey { netns: (latest >> 32) as u32, ifindex: latest as u32 };
    }
    DeviceKey { netns: journey.crossings[index].netns, ifindex: journey.crossings[index].ifindex }
}

/// Adds a crossing to the journey in a slot. `at` is the namespace, and below it the device. For where a journey begins, which adds two at once:
/// the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn append_in(slot: u64, point: u64, at: u64, now: u64) -> i32 {
    let (Some(cpu), Some(config), Some(journey)) = (state(), config(), slots::journey_in(slot as u32)) else {
        return 0;
    };
    let at = DeviceKey { netns: (at >> 32) as u32, ifindex: at as u32 };
    append(cpu, journey, (point as u32, sets_of(point as u32)), at, now, config);
    0
}

/// Adds a crossing to the journey in a slot, now and where it was last.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn appended_at_last(slot: u64, point: u64) -> i32 {
    let now = now();
    let Some(journey) = slots::journey_in(slot as u32) else { return 0 };
    let at = last_device(journey);
    append_in(slot, point, (at.netns as u64) << 32 | at.ifindex as u64, now)
}

/// Adds a crossing of a point, whose sets are known.
#[inline(always)]
fn append(
    cpu: &mut CpuState,
    journey: &mut Journey,
    (point, here): (u32, Membership),
    at: DeviceKey,
    now: u64,
    config: &Config,
) {
    cpu.followed_crossings += 1;
    cpu.lost[Loss::TimeBackwards] += (now < journey.last_ns) as u64;
    if log::tells_packets() && now < journey.last_ns {
        log::say_backwards(journey.skb, journey.last_ns - now, point as u64);
    }
    let now = if now < journey.last_ns { journey.last_ns } else { now };
    let delta = now - journey.last_ns;
    // A reader that takes a packet in pieces: one crossing, at the last piece.
    if here.is(Membership::COPY) && journey.last_point == Point::Copy as u8 {
        let index = journey.count.wrapping_sub(1) as usize;
        if index < MAX_CROSSINGS {
            journey.crossings[index].delta_ns += delta;
        } else {
            long::lengthen(slot_of(journey.skb) as u64, delta);
        }
        journey.last_ns = now;
        return;
    }
    if here.is(Membership::COPY) {
        journey.read_from = journey.last_point;
    }
    let index = journey.count as usize;
    if index >= MAX_CROSSINGS {
        let place = (at.netns as u64) << 32 | at.ifindex as u64;
        long::append_long(slot_of(journey.skb) as u64, point as u64, place, delta);
    } else {
        // SAFETY: a helper without arguments.
        let processor = unsafe { bpf_get_smp_processor_id() } as u16;
        let before = masked::<63>(index.wrapping_sub(1) as u64);
        if index > 0 && before < MAX_CROSSINGS && journey.crossings[before].cpu != processor {
            journey.cpu_hops += 1;
            if is_handed(journey, here) {
                journey.next_edge = Edge::Handed as u8;
            }
        }
        let place = masked::<63>(index as u64);
        if place < MAX_CROSSINGS {
            journey.crossings[place] = Crossing {
                delta_ns: delta,
                netns: at.netns,
                ifindex: at.ifindex,
                point: point as u8,
                edge: journey.next_edge,
                cpu: processor,
                seen: cpu.crossings as u32,
            };
        }
    }
    journey.count += 1;
    journey.last_ns = now;
    journey.last_point = point as u8;
    journey.path = path_step(journey.path, point, journey.next_edge, at.netns, at.ifindex);
    journey.next_edge = 0;
    if config.filters & FILTER_NETNS != 0 && is_wanted(DeviceKey { netns: at.netns, ifindex: 0 }) {
        journey.matched |= FILTER_NETNS as u8;
    }
    if config.filters & FILTER_DEVICE != 0 && is_wanted(at) {
        journey.matched |= FILTER_DEVICE as u8;
    }
    function::crossed(journey, slot_of(journey.skb), index as u32, now);
}

/// Whether GRO handed a packet that came to another CPU to that one, which it does without a trace.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/core/dev.c#L6022>
#[inline(always)]
fn is_handed(journey: &Journey, here: Membership) -> bool {
    here.is(Membership::RECEIVE) && sets_of(journey.last_point as u32).is(Membership::IN_GRO) && journey.next_edge == 0
}

#[inline(always)]
fn is_wanted(key: DeviceKey) -> bool {
    WANTED.get_ptr(key).is_some()
}
