//! The hot path: what every crossing of every packet does.
//!
//! A packet that is not followed costs one look-up of the CPU's state, a hash of its address and a count-down; no clock
//! and no kernel memory is read for it. Chosen packets get a slot; their crossings are kept there until the journey ends.

use netstrata_common::{CpuState, Edge, End, Point, Points};

use crate::{
    choose::{pass_over, start},
    cpu::{now, state},
    drops, end,
    follow::follow,
    fragments, function,
    globals::{has_reason, offset},
    lineage, pieces, reader, skb,
    slots::{self, WaitsFor, key, slot_of},
    tunnel, turn, upcall,
    with_program::{dues_count, fragments_count, may_have_pieces, tunnelled_count},
};

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
    let object = if Points::OF_DEVICE.has(point as u32) { device } else { packet };
    let Some((cpu, previous)) = reached(point, object) else { return };
    // Followed or not, each packet counts down here: what is chosen next must not depend on what was chosen, or where packets come one
    // after another, the choice meets the same crossing of each.
    let is_due = Points::BEGIN.has(point as u32) && {
        cpu.skip = cpu.skip.wrapping_sub(1);
        // Also when it has never been set.
        cpu.skip as i32 <= 0
    };
    if may_begin(cpu, point, packet, device, previous) {
        if is_due {
            start(point as u64, packet, slot_of(packet) as u64, previous as u64);
        }
    } else if is_due {
        pass_over();
    }
}

/// What a crossing is to the journeys that there are. True if it is of none, so that one may begin.
#[inline(always)]
fn may_begin(cpu: &CpuState, point: Point, packet: u64, device: u64, previous: u32) -> bool {
    let slot = slot_of(packet);
    if Points::BEGIN_OUTSIDE.has(point as u32)
        && tunnelled_count() != 0
        && tunnel::written(point as u64, packet, previous as u64) != 0
    {
        follow(point, packet, device, slot, previous);
        return false;
    }
    if key(slot) == packet && !follow(point, packet, device, slot, previous) {
        return false;
    }
    if matches!(point, Point::Enqueue) && key(slot) == WaitsFor::Child as u64 {
        if pieces::are_of(packet, slot) {
            follow(point, packet, device, slot, previous);
            pieces::lie(slot as u64);
        }
        return false;
    }
    if matches!(point, Point::Xmit) && may_have_pieces(device) && pieces::leaves(packet, device) != 0 {
        follow(point, packet, device, slot, previous);
        return false;
    }
    if matches!(point, Point::Receive) && fragments_count() != 0 {
        match fragments::gather(packet) {
            0 => {}
            is => {
                if is == 1 {
                    follow(point, packet, device, slot, previous);
                }
                return false;
            }
        }
    }
    if Points::CHILDREN.has(point as u32)
        && cpu.parent.points & 1 << point as u32 != 0
        && lineage::adopt(point as u64, packet, device) != 0
    {
        follow(point, packet, device, slot, previous);
        return false;
    }
    if cpu.read_id != 0 && Points::BEGIN_MADE.has(point as u32) && tunnel::sent(packet, previous as u64) != 0 {
        follow(point, packet, device, slot, previous);
        return false;
    }
    true
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

/// A packet that is being received meets a route look-up, which knows no packet. Of a packet that has its route already, it
/// is somebody else's: its answer's, which is sent from within its reception. TCP takes route and device off a packet.
#[inline(always)]
pub fn routed() {
    let Some(cpu) = state() else { return };
    cpu.crossings += 1;
    // Of which packet of a list the route is, nobody knows.
    if !Points::RECEIVED.has(cpu.point) || cpu.in_list != 0 {
        return;
    }
    let packet = cpu.object;
    let slot = slot_of(packet);
    if key(slot) == packet && skb::device(packet) != 0 && skb::read::<u64>(packet, offset!(skb_dst)) == 0 {
        follow(Point::Route, packet, 0, slot, cpu.point);
    }
    cpu.point = Point::Route as u32;
}

/// TCP works on a segment of an established connection.
#[inline(always)]
pub fn tcp(socket: u64, packet: u64) {
    let Some(cpu) = state() else { return };
    cpu.crossings += 1;
    let (previous, object) = (cpu.point, cpu.object);
    cpu.point = Point::Tcp as u32;
    cpu.object = packet;
    cpu.tcp_socket = socket;
    cpu.tcp_packet = 0;
    let slot = slot_of(packet);
    if key(slot) == packet {
        // Its reader works on the segments in the backlog while it still holds the socket:
        // https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/tcp_ipv4.c#L2326
        let straight = Points::RECEIVED.has(previous) && object == packet || !is_owned(socket);
        let point = if straight { Point::Tcp } else { Point::TcpBacklog };
        follow(point, packet, socket, slot, previous);
        if key(slot) == packet {
            cpu.tcp_packet = packet;
            if has_reason() == 0 {
                lineage::ends_if_old(packet, slot as u64, socket);
            }
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
    } else if cpu.received != 0 {
        reader::announced(socket)
    } else {
        0
    };
    let slot = slot_of(packet);
    let is_its = packet != 0 && key(slot) == packet && (is_tcp || skb::is_for_port(packet, socket));
    // Others announce while a packet is received or sent, and are not where it goes: sniffers, netlink sockets.
    if is_tcp || is_its || cpu.udp_socket == socket {
        cpu.point = Point::Ready as u32;
    }
    if !is_its {
        return;
    }
    if !is_tcp {
        cpu.udp_socket = socket;
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
    if cpu.read_id != 0 {
        tunnel::give_up();
    }
    if dues_count() != 0 {
        turn::sends(socket);
    }
    // A send of several pieces keeps the time of its first; so does one that the protocol held back for the next.
    if cpu.skip as i32 <= 1 && (cpu.pending_socket != socket || previous != Point::Send as u32) {
        cpu.pending_socket = socket;
        cpu.pending_ns = now();
        function::armed(cpu.pending_ns);
    }
}

/// The reader copies `bytes` of a packet.
#[inline(always)]
pub fn copy(packet: u64, bytes: u32) {
    if let Some(cpu) = state()
        && cpu.read_id != 0
    {
        tunnel::give_up();
    }
    crossing(Point::Copy, packet, 0);
    let slot = slot_of(packet);
    if key(slot) == packet {
        reader::copied(packet, bytes as u64, slot as u64);
    } else if dues_count() != 0 {
        turn::read_other();
    }
}

/// A TCP reader has gone on: what it took of its socket without copying it leaves no other trace.
#[inline(always)]
pub fn passed(socket: u64) {
    let Some(cpu) = state() else { return };
    cpu.crossings += 1;
    let waiting = slots::unread(socket);
    if waiting != 0 {
        reader::passed(socket, waiting);
    }
}

/// A packet is freed after its work was done. The time of the free is no work and is not counted; but a datagram that was
/// announced is freed by its reader, who copies small ones without another trace: that is the copy.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/udp.c#L1931>
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/core/skbuff.c#L1448>
#[inline(always)]
pub fn consume(packet: u64) {
    let Some(cpu) = state() else { return };
    cpu.crossings += 1;
    let slot = slot_of(packet);
    if key(slot) != packet && !is_copy_for_xdp(cpu, Point::Consume, packet) {
        return;
    }
    if upcall::is_up(slot) {
        follow(Point::Consume, packet, 0, slot, cpu.point);
        upcall::sent_up(packet, slot as u64);
    } else if reader::was_announced(slot) || reader::is_unannounced(packet, slot) {
        follow(Point::Copy, packet, 0, slot, 0);
        if key(slot) == packet {
            reader::taken_whole(packet, slot as u64);
        }
    } else {
        reader::consumed(packet, slot as u64);
    }
}

/// GRO is done with a packet.
#[inline(always)]
pub fn gro_done(result: u32) {
    let Some(cpu) = state() else { return };
    let packet = cpu.gro_packet;
    if packet != 0 && lineage::gro_result(result as u64) == lineage::KEPT_BY_GRO {
        follow(Point::Held, packet, 0, slot_of(packet), cpu.point);
    }
}

/// A device's transmit function came back; `result` says whether it took the packet.
#[inline(always)]
pub fn transmitted(packet: u64, result: u64, device: u64) {
    let Some((_, previous)) = reached(Point::XmitEnd, device) else { return };
    let slot = slot_of(packet);
    if key(slot) == packet {
        let point = if result as u32 == TX_BUSY { Point::Requeue } else { Point::XmitEnd };
        follow(point, packet, device, slot, previous);
    }
}

/// `NETDEV_TX_BUSY`: the device takes no packets now, and this one goes back to its queue.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/linux/netdevice.h#L126>
const TX_BUSY: u32 = 0x10;

/// A packet is dropped, or a driver frees one that it has transmitted as if it were.
#[inline(always)]
pub fn dropped(packet: u64, location: u64, reason: u32) {
    let slot = slot_of(packet);
    let Some(cpu) = state() else { return };
    cpu.crossings += 1;
    let is_followed = key(slot) == packet;
    if !is_followed {
        let device = skb::device(packet);
        if may_have_pieces(device) {
            pieces::leaves(packet, device);
        }
    }
    if is_followed && drops::is_transmitted(packet, location, reason as u64) != 0 {
        reader::consumed(packet, slot as u64);
    } else if key(slot) == packet || is_copy_for_xdp(cpu, Point::Drop, packet) {
        follow(Point::Drop, packet, 0, slot, cpu.point);
        if key(slot) == packet {
            end::close(slot, End::Dropped, reason);
        }
    }
}

/// Whether a packet that goes is the copy of a followed one that was made for an XDP program, which does not let it come any
/// further; it is followed then.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/veth.c#L813>
#[inline(always)]
fn is_copy_for_xdp(cpu: &CpuState, point: Point, packet: u64) -> bool {
    cpu.parent.edge == Edge::Rebuild as u32 && lineage::adopt(point as u64, packet, 0) != 0
}

/// Whether a reader holds the socket.
#[inline(always)]
fn is_owned(socket: u64) -> bool {
    skb::read::<u32>(socket, offset!(sk_owned)) != 0
}

/// Whether somebody sleeps on the socket. An epoll instance is in its queue all the time, asleep or not: what tells is whether
/// somebody sleeps in the instance.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/fs/eventpoll.c#L1384>
#[inline(always)]
fn has_sleeper(socket: u64) -> bool {
    let queue: u64 = skb::read(socket, offset!(sk_wq));
    if queue == 0 || !is_waited_in(queue + offset!(wq_head)) {
        return false;
    }
    let first: u64 = skb::read(queue + offset!(wq_head), 0);
    let entry = first - offset!(epoll_link);
    let watched: u64 = skb::read(entry, offset!(epoll_queue));
    if watched != queue + offset!(wq_wait) {
        return true;
    }
    let item: u64 = skb::read(entry, offset!(epoll_item));
    let instance: u64 = skb::read(item, offset!(epoll_of_item));
    is_waited_in(instance + offset!(epoll_sleepers)) || is_waited_in(instance + offset!(epoll_pollers))
}

/// Whether a list of those who wait holds anybody.
#[inline(always)]
fn is_waited_in(head: u64) -> bool {
    let first: u64 = skb::read(head, 0);
    first != head
}
