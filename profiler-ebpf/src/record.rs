//! The hot path: what every crossing of every packet does.
//!
//! A packet that is not followed costs one look-up of the CPU's state, a hash of its address and a count-down; no clock
//! and no kernel memory is read for it. Chosen packets get a slot; their crossings are kept there until the journey ends.

use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_get_smp_processor_id, bpf_ktime_get_ns};
use netstrata_common::{
    CachedDevice, Config, CpuState, Crossing, DEVICE_CACHE, DeviceKey, Edge, End, FILTER_DEVICE, FILTER_FLOW,
    FILTER_NETNS, Journey, MAX_CROSSINGS, MAX_SLOTS, PAUSE_NS, Point, path_step,
};

use crate::{
    account, function,
    globals::{offset, slot_mask},
    lineage,
    maps::{CONFIG, CPUS, JOURNEYS, WANTED, key, set_key, tunnelled},
    skb, tunnel, upcall,
};

/// A followed packet that moved last this long ago, at a point where it is not queued, was used up unseen.
const FORGOTTEN_NS: u64 = 20_000_000;

/// The clock of journeys: CLOCK_MONOTONIC, nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// The state of this CPU.
#[inline(always)]
pub fn state() -> Option<&'static mut CpuState> {
    // SAFETY: the entry is this CPU's own; programs on one CPU interleave only as softirq over task, which can lose a
    // count but not more.
    CPUS.get_ptr_mut(0).map(|state| unsafe { &mut *state })
}

#[inline(always)]
fn config() -> Option<&'static Config> {
    CONFIG.get(0)
}

/// The slot of an address.
#[inline(always)]
pub fn slot_of(skb: u64) -> u32 {
    (skb.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32 & slot_mask()
}

/// Whether this CPU's crossing may be the first of a packet.
#[inline(always)]
fn may_start(point: Point) -> bool {
    matches!(point, Point::Queue | Point::Gro | Point::Receive | Point::Rx)
}

/// A CPU's work has come to a point: samples are at its object from now on. With the point before.
#[inline(always)]
fn reached(point: Point, object: u64) -> Option<(&'static mut CpuState, u32)> {
    let cpu = state()?;
    let previous = cpu.point;
    cpu.crossings += 1;
    cpu.point = point as u32;
    cpu.object = object;
    Some((cpu, previous))
}

/// A packet crosses a point. `device` is 0 where the packet itself knows its device, and the socket where it is one's.
#[inline(always)]
pub fn crossing(point: Point, packet: u64, device: u64) {
    let object = if matches!(point, Point::Xmit | Point::XmitEnd) { device } else { packet };
    let Some((cpu, previous)) = reached(point, object) else { return };
    let slot = slot_of(packet);
    let received = matches!(point, Point::Receive | Point::Rx | Point::Gro);
    if received && tunnelled() != 0 && tunnel::written(point as u64, packet, previous as u64) != 0 {
        follow(point, packet, device, slot, previous);
        return;
    }
    if key(slot) == packet && !follow(point, packet, device, slot, previous) {
        return;
    }
    if cpu.parent.edge != 0 && lineage::adopt(point as u64, packet, device) != 0 {
        follow(point, packet, device, slot, previous);
        return;
    }
    if cpu.read_id != 0 && matches!(point, Point::Queue) && tunnel::sent(packet, previous as u64) != 0 {
        follow(point, packet, device, slot, previous);
        return;
    }
    if may_start(point) {
        cpu.skip = cpu.skip.wrapping_sub(1);
        // Also when it has never been set.
        if cpu.skip as i32 <= 0 {
            start(point as u64, packet, slot as u64, previous as u64);
        }
    }
}

/// Open vSwitch is about to send a packet up to its daemon.
#[inline(always)]
pub fn upcall(packet: u64) {
    let Some((_, previous)) = reached(Point::Upcall, packet) else { return };
    let slot = slot_of(packet);
    if key(slot) == packet {
        follow(Point::Upcall, packet, 0, slot, previous);
        if key(slot) == packet {
            upcall::goes_up(packet, slot as u64);
        }
    }
}

/// Open vSwitch takes a packet back from its daemon: a new skb.
#[inline(always)]
pub fn executed(packet: u64) {
    let Some((_, previous)) = reached(Point::Execute, packet) else { return };
    if upcall::came_back(packet) != 0 {
        follow(Point::Execute, packet, 0, slot_of(packet), previous);
    }
}

/// A packet that is being received meets a route look-up, which knows no packet.
#[inline(always)]
pub fn routed() {
    let Some(cpu) = state() else { return };
    cpu.crossings += 1;
    if cpu.point != Point::Receive as u32 && cpu.point != Point::Route as u32 {
        return;
    }
    let packet = cpu.object;
    let slot = slot_of(packet);
    if key(slot) == packet {
        follow(Point::Route, packet, 0, slot, cpu.point);
    }
    cpu.point = Point::Route as u32;
}

/// TCP works on a segment of an established connection.
#[inline(always)]
pub fn tcp(socket: u64, packet: u64) {
    let Some(cpu) = state() else { return };
    cpu.crossings += 1;
    let previous = cpu.point;
    let is_received = previous == Point::Receive as u32 || previous == Point::Route as u32;
    let straight = is_received && cpu.object == packet;
    cpu.point = Point::Tcp as u32;
    cpu.object = packet;
    cpu.tcp_socket = socket;
    cpu.tcp_packet = 0;
    let slot = slot_of(packet);
    if key(slot) == packet {
        let point = if straight { Point::Tcp } else { Point::TcpBacklog };
        follow(point, packet, socket, slot, previous);
        if key(slot) == packet {
            cpu.tcp_packet = packet;
        }
    }
}

/// A socket announces data. It knows no packet: it is TCP's last one, or the one that is being received.
#[inline(always)]
pub fn ready(socket: u64) {
    let Some(cpu) = state() else { return };
    cpu.crossings += 1;
    let is_tcp = cpu.tcp_socket == socket;
    let packet = if is_tcp {
        cpu.tcp_packet
    } else if cpu.parent.edge == Edge::Segment as u32 {
        lineage::piece_at(socket)
    } else if cpu.point == Point::Receive as u32 || cpu.point == Point::Route as u32 {
        cpu.object
    } else {
        0
    };
    cpu.point = Point::Ready as u32;
    let slot = slot_of(packet);
    if packet == 0 || key(slot) != packet || !is_tcp && !same_port(packet, socket) {
        return;
    }
    cpu.tcp_packet = 0;
    let point = if has_sleeper(socket) { Point::ReadyWake } else { Point::Ready };
    follow(point, packet, socket, slot, cpu.point);
    if is_tcp && key(slot) == packet {
        lineage::queued_at_socket(packet, slot as u64, socket);
    }
}

/// TCP takes bytes from the application. The clock is read only if the next packet of this CPU will be chosen.
#[inline(always)]
pub fn send(socket: u64) {
    let Some((cpu, previous)) = reached(Point::Send, socket) else { return };
    if cpu.turn_task != 0 {
        account::turn_ends(socket);
    }
    // A send of several pieces keeps the time of its first; so does one that the protocol held back for the next.
    if cpu.skip as i32 <= 1 && (cpu.pending_socket != socket || previous != Point::Send as u32) {
        cpu.pending_socket = socket;
        cpu.pending_ns = now();
        function::armed(cpu.pending_ns);
    }
}

/// Whether the packet was made here and now, and is not on its way already. Devices are nested: what a device's
/// transmit function queues at another device has started before (`previous` is then the outer device's start). What Open
/// vSwitch's daemon sends back is no new packet either.
#[inline(always)]
pub fn is_fresh(point: Point, packet: u64, previous: u32) -> bool {
    match point {
        Point::Queue => PASSED_ON >> (previous & 31) & 1 == 0 && skb::read::<i32>(packet, offset!(skb_iif)) == 0,
        Point::Gro => link_kind(packet) == NIC,
        Point::Receive | Point::Rx => link_kind(packet) == TUN,
        _ => false,
    }
}

/// Points after which a packet that is queued was on its way before.
const PASSED_ON: u32 = 1 << Point::Xmit as u32 | 1 << Point::Upcall as u32 | 1 << Point::Execute as u32;
const NIC: u32 = 1;
const TUN: u32 = 2;
const IFF_LOOPBACK: u32 = 8;

/// Where packets enter this machine: physical devices have no link operations, tun and tap are called "tun".
#[inline(always)]
fn link_kind(packet: u64) -> u32 {
    let device = skb::device(packet);
    let operations: u64 = skb::read(device, offset!(dev_link_ops));
    if operations == 0 {
        let flags: u32 = skb::read(device, offset!(dev_flags));
        return if flags & IFF_LOOPBACK == 0 { NIC } else { 0 };
    }
    let name: u64 = skb::read(operations, offset!(link_ops_kind));
    let kind: u32 = skb::read(name, 0);
    if kind == u32::from_ne_bytes(*b"tun\0") { TUN } else { 0 }
}

/// Chooses this packet, if it is a fresh one. Called for one crossing in `sample_every`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn start(point: u64, packet: u64, slot: u64, previous: u64) -> i32 {
    let (slot, previous) = (slot as u32 & (MAX_SLOTS as u32 - 1), previous as u32);
    let Some(point) = Point::from_id(point as u8) else { return 0 };
    let (Some(cpu), Some(config)) = (state(), config()) else { return 0 };
    let every = config.sample_every & 0xf_ffff;
    // Mean distance `every`, never periodic: periods of the traffic must not meet periods of the choice.
    // SAFETY: a helper without arguments.
    cpu.skip = if every <= 1 { 1 } else { 1 + unsafe { bpf_get_prandom_u32() } % (2 * every - 1) };
    let pending = cpu.pending_socket;
    cpu.pending_socket = 0;
    if config.accept == 0 || !is_fresh(point, packet, previous) {
        return 0;
    }
    if config.filters & FILTER_FLOW != 0
        && !skb::flow_matches(packet, config.flow_protocol, config.flow_address, config.flow_port)
    {
        return 0;
    }
    let weight = if every == 0 { 1 } else { every };
    cpu.decisions += weight as u64;
    let occupant = key(slot);
    let now = now();
    if occupant != 0 && !evict(slot, now) {
        cpu.lost.slot_busy += weight as u64;
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
    journey.wire = skb::wire_packets(packet);
    (journey.payload, journey.protocol) = skb::payload(packet);
    journey.socket = 0;
    journey.skbs_micro = 1_000_000;
    journey.skb_wire = journey.wire;
    journey.next_edge = 0;
    journey.read_from = 0;
    journey.print = 0;
    journey.copied = 0;
    journey.cpu_hops = 0;
    journey.reason = 0;
    journey.last_point = Point::None as u8;
    journey.end = End::Open as u8;
    journey.matched = 0;
    journey.epoch = config.epoch;
    let device = skb::device_key(skb::device(packet));
    if from_send {
        append(journey, Point::Send, DeviceKey { netns: device.netns, ifindex: 0 }, begin, config);
    }
    append(journey, point, device, now, config);
    cut(&mut cpu.cut_ns, journey);
    set_key(slot, packet);
    0
}

/// Frees a slot whose packet was used up unseen. False if its packet may still be on its way.
#[inline(always)]
pub fn evict(slot: u32, now: u64) -> bool {
    let Some(journey) = JOURNEYS.get_ptr_mut(slot) else { return false };
    // SAFETY: a valid pointer into the map.
    let journey = unsafe { &mut *journey };
    if CONFIG.get(0).is_none_or(|config| journey.epoch != config.epoch) {
        if key(slot) == tunnel::READ {
            account::close(slot, End::Copied, 0);
        } else {
            account::cut(slot);
        }
        return true;
    }
    if now.wrapping_sub(journey.last_ns) < FORGOTTEN_NS || waits(journey.last_point) {
        return false;
    }
    account::close(slot, End::Absorbed, 0);
    true
}

/// Points after which a packet may lie for long.
#[inline(always)]
fn waits(point: u8) -> bool {
    point == Point::Enqueue as u8 || point == Point::Rx as u8
}

/// For each point the set of points after which it can be a packet's next; a table, because this is asked at every
/// crossing of a followed packet and BPF has no jump tables.
const PRECEDED_BY: [u32; 32] = {
    const fn set(points: &[Point]) -> u32 {
        let (mut mask, mut index) = (0, 0);
        while index < points.len() {
            mask |= 1 << points[index] as u8;
            index += 1;
        }
        mask
    }
    use Point::{
        Copy, Enqueue, Execute, Gro, Queue, Ready, ReadyWake, Receive, Route, Rx, Send, Tcp, TcpBacklog, Upcall, Xmit,
        XmitEnd,
    };
    let mut table = [0; 32];
    table[Queue as usize] = set(&[Receive, Route, Xmit, Send, Upcall, Execute]);
    table[Enqueue as usize] = set(&[Queue]);
    table[Xmit as usize] = set(&[Queue, Enqueue]);
    table[XmitEnd as usize] = set(&[Xmit]);
    table[Rx as usize] = set(&[Xmit, Receive, Route, XmitEnd, Gro, Upcall, Execute]);
    table[Gro as usize] = set(&[Xmit, XmitEnd, Receive, Route]);
    table[Receive as usize] = set(&[Rx, Gro, Receive, Xmit, XmitEnd, Route]);
    table[Route as usize] = set(&[Receive, Route]);
    table[Tcp as usize] = set(&[Receive, Route]);
    table[TcpBacklog as usize] = set(&[Receive, Route]);
    table[Ready as usize] = set(&[Receive, Route, Tcp, TcpBacklog]);
    table[ReadyWake as usize] = set(&[Receive, Route, Tcp, TcpBacklog]);
    table[Copy as usize] = set(&[Ready, ReadyWake, Copy, Receive, Route, Tcp, TcpBacklog, Xmit, XmitEnd]);
    table[Upcall as usize] = set(&[Receive, Route, Xmit, Upcall, Execute]);
    table[Point::Consume as usize] = u32::MAX;
    table[Point::Drop as usize] = u32::MAX;
    table
};

/// Whether a packet that was last seen at `from` can be seen next at `to`. Everything else is another packet at the
/// same address.
#[inline(always)]
fn can_follow(from: u8, to: Point) -> bool {
    let mut index = to as usize;
    // The compiler knows that a point is small and drops the bound; the verifier does not.
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) index, options(pure, nomem, nostack)) };
    PRECEDED_BY[index & 31] >> (from & 31) & 1 != 0
}

/// What a CPU read of a device is believed for this long: a new device at the address of an old one is not mistaken for
/// it, unless within this time.
const DEVICE_BELIEVED_NS: u64 = 50_000_000;

/// Namespace and index of a device, from what this CPU read lately: each read of kernel memory costs as much as a clock.
#[inline(always)]
fn device_key(device: u64, now: u64) -> DeviceKey {
    let Some(cpu) = state() else { return skb::device_key(device) };
    let index = (device >> 12 ^ device >> 17) as usize & (DEVICE_CACHE - 1);
    let cached = &mut cpu.devices[index];
    if cached.device == device && now.wrapping_sub(cached.read_ns) < DEVICE_BELIEVED_NS {
        return DeviceKey { netns: cached.netns, ifindex: cached.ifindex };
    }
    let key = skb::device_key(device);
    *cached = CachedDevice { device, read_ns: now, netns: key.netns, ifindex: key.ifindex };
    key
}

/// Whether a packet that a reader copies never came through a device, though the followed one did. What the network
/// frees without a word (acknowledgements) leaves its address to packets of other families, Unix sockets above all,
/// that have no crossing but this one.
#[inline(always)]
fn is_foreign(packet: u64, last: u8) -> bool {
    let is = |point: Point| last == point as u8;
    let received = is(Point::Receive)
        || is(Point::Route)
        || is(Point::Tcp)
        || is(Point::TcpBacklog)
        || is(Point::Ready)
        || is(Point::ReadyWake);
    received && skb::read::<i32>(packet, offset!(skb_iif)) == 0
}

/// A followed packet crosses a point. True if this turned out to be another packet at the same address, which may be
/// chosen in its turn.
#[inline(always)]
fn follow(point: Point, packet: u64, device: u64, slot: u32, previous: u32) -> bool {
    follow_global(point as u64, packet, device, slot as u64, previous as u64) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn follow_global(point: u64, packet: u64, device: u64, slot: u64, previous: u64) -> i32 {
    let (slot, previous) = (slot as u32 & (MAX_SLOTS as u32 - 1), previous as u32);
    match Point::from_id(point as u8) {
        Some(point) => follow_inner(point, packet, device, slot, previous) as i32,
        None => 0,
    }
}

#[inline(always)]
fn follow_inner(point: Point, packet: u64, device: u64, slot: u32, previous: u32) -> bool {
    let Some(journey) = JOURNEYS.get_ptr_mut(slot) else { return false };
    // SAFETY: a valid pointer into the map; only the CPU that works on the packet comes here.
    let journey = unsafe { &mut *journey };
    if journey.skb != packet {
        return false;
    }
    let now = now();
    let Some(config) = config() else { return false };
    if journey.epoch != config.epoch {
        account::cut(slot);
        return true;
    }
    let last = journey.last_point;
    // The device's transmit function comes back after the packet went on: nothing new.
    if matches!(point, Point::XmitEnd) && last != Point::Xmit as u8 {
        return false;
    }
    // A packet made here is queued first: only there, or where the way so far cannot go on, is a reused address looked for.
    let sent_on = journey.next_edge == Edge::Userspace as u8;
    let may_follow = sent_on || can_follow(last, point);
    if !sent_on
        && last != Point::Execute as u8
        && may_start(point)
        && (matches!(point, Point::Queue) || !may_follow)
        && is_fresh(point, packet, previous)
    {
        account::close(slot, End::Absorbed, 0);
        return true;
    }
    if !may_follow || matches!(point, Point::Copy) && is_foreign(packet, last) {
        if let Some(cpu) = state() {
            cpu.lost.stale += 1;
        }
        account::close(slot, End::Absorbed, 0);
        return true;
    }
    let at = match point {
        // Reading the device again would cost more than everything else here: from its queue to its transmit function, and
        // from the backlog to the softirq, a packet stays at one device.
        Point::Receive if last == Point::Rx as u8 => last_device(journey),
        // A route is looked up, and a socket found, for the device that the packet was lifted to: a macvlan's receive
        // handler changes it without a crossing.
        Point::Queue | Point::Rx | Point::Receive | Point::Gro | Point::Route => device_key(skb::device(packet), now),
        Point::Tcp | Point::TcpBacklog | Point::Ready | Point::ReadyWake
            if last == Point::Receive as u8 || last == Point::Route as u8 =>
        {
            received_by(device, packet, last_device(journey))
        }
        Point::Xmit if last != Point::Queue as u8 && last != Point::Enqueue as u8 => device_key(device, now),
        // Inside a socket or a queue the packet knows no device: it is still at the last one.
        _ => last_device(journey),
    };
    if !append(journey, point, at, now, config) {
        account::close(slot, End::Absorbed, 0);
        return false;
    }
    let Some(cpu) = state() else { return false };
    match point {
        Point::Receive | Point::Execute => lineage::received(cpu, packet, slot, journey, last == Point::Gro as u8),
        Point::Gro => lineage::enters_gro(cpu, packet, journey.id),
        Point::Route | Point::Upcall => {}
        _ => lineage::leaves(cpu, slot),
    }
    let spent = cut(&mut cpu.cut_ns, journey);
    // As little as can be after the last look at the clock.
    let alike = matches!(point, Point::Xmit) && last == Point::Queue as u8;
    if alike && spent <= config.undisturbed_ns.wrapping_sub(1) as u64 {
        cpu.alike.ns += spent;
        cpu.alike.count += 1;
    }
    false
}

/// Cuts the time since a journey's last crossing out of it, which this program took; adds it to the sum of all.
#[inline(always)]
fn cut(all: &mut u64, journey: &mut Journey) -> u64 {
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
        return DeviceKey { netns: 0, ifindex: 0 };
    }
    DeviceKey { netns: journey.crossings[index].netns, ifindex: journey.crossings[index].ifindex }
}

/// Adds a crossing; false if there is no room.
#[inline(always)]
fn append(journey: &mut Journey, point: Point, at: DeviceKey, now: u64, config: &Config) -> bool {
    let Some(cpu) = state() else { return false };
    cpu.followed_crossings += 1;
    cpu.lost.backwards += (now < journey.last_ns) as u64;
    let now = if now < journey.last_ns { journey.last_ns } else { now };
    let delta = now - journey.last_ns;
    // A reader that takes a packet in pieces: one crossing, at the last piece.
    if matches!(point, Point::Copy) && journey.last_point == Point::Copy as u8 {
        let index = journey.count.wrapping_sub(1) as usize;
        if index < MAX_CROSSINGS {
            journey.crossings[index].delta_ns += delta;
            journey.last_ns = now;
        }
        return true;
    }
    if matches!(point, Point::Copy) {
        journey.read_from = journey.last_point;
    }
    let index = journey.count as usize;
    if index >= MAX_CROSSINGS {
        cpu.lost.too_long += 1;
        return false;
    }
    // SAFETY: a helper without arguments.
    let processor = unsafe { bpf_get_smp_processor_id() } as u16;
    if index > 0 {
        let before = (index - 1) & 63;
        if before < MAX_CROSSINGS && journey.crossings[before].cpu != processor {
            journey.cpu_hops += 1;
        }
    }
    journey.crossings[index] = Crossing {
        delta_ns: delta,
        netns: at.netns,
        ifindex: at.ifindex,
        point: point as u8,
        edge: journey.next_edge,
        cpu: processor,
        pad2: 0,
    };
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
    true
}

#[inline(always)]
fn is_wanted(key: DeviceKey) -> bool {
    WANTED.get_ptr(key).is_some()
}

/// Whether the packet is for the socket's port: the last packet that this CPU received need not be the one whose
/// socket announces data.
#[inline(always)]
fn same_port(packet: u64, socket: u64) -> bool {
    let port: u16 = u16::from_be(skb::read(skb::transport_header(packet), 2));
    let local: u16 = skb::read(socket, offset!(sk_num));
    port == local
}

/// Whether somebody sleeps on the socket.
#[inline(always)]
fn has_sleeper(socket: u64) -> bool {
    let queue: u64 = skb::read(socket, offset!(sk_wq));
    let head = queue + offset!(wq_head);
    let first: u64 = skb::read(head, 0);
    queue != 0 && first != head
}

/// The reader copies `bytes` of a packet.
#[inline(always)]
pub fn copy(packet: u64, bytes: u32) {
    if let Some(cpu) = state() {
        // Another message was read: the time to the next send is no longer the first one's.
        cpu.turn_task = 0;
        if cpu.read_id != 0 {
            tunnel::give_up();
        }
    }
    crossing(Point::Copy, packet, 0);
    let slot = slot_of(packet);
    if key(slot) == packet {
        account::copied(packet, bytes as u64, slot as u64);
    }
}

/// A packet is freed after its work was done. The time of the free is no work and is not counted; but a datagram that was
/// announced is freed by its reader, who copies small ones without another trace: that is the copy.
#[inline(always)]
pub fn consume(packet: u64) {
    let Some(cpu) = state() else { return };
    cpu.crossings += 1;
    let slot = slot_of(packet);
    if key(slot) != packet {
        return;
    }
    if upcall::is_up(slot) {
        follow(Point::Consume, packet, 0, slot, cpu.point);
        upcall::sent_up(packet, slot as u64);
    } else {
        account::consumed(packet, slot as u64);
    }
}

/// A packet is dropped.
#[inline(always)]
pub fn dropped(packet: u64, location: u64, reason: u32) {
    account::count_drop(packet, location, reason as u64);
    let slot = slot_of(packet);
    let Some(cpu) = state() else { return };
    cpu.crossings += 1;
    if key(slot) == packet {
        follow(Point::Drop, packet, 0, slot, cpu.point);
        if key(slot) == packet {
            account::close(slot, End::Dropped, reason);
        }
    }
}
