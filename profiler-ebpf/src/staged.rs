//! Large packets that WireGuard cuts before it encrypts them.

use netstrata_common::{Edge, Point};

use crate::{
    cpu::state,
    fresh::defers,
    globals::offset,
    lineage::{adopt, journey_of},
    print::flow_print,
    skb,
};

/// WireGuard has put packets into a peer's queue: a large one in pieces, which nothing else tells of before they are encrypted.
/// The journey goes on with the last of them.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/wireguard/device.c#L167>
#[inline(always)]
pub fn staged(peer: u64) {
    let Some(cpu) = state() else { return };
    if cpu.parent.edge == Edge::Rebuild as u32 && offset!(wg_staged_tail) != 0 {
        staged_pieces(peer);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn staged_pieces(peer: u64) -> i32 {
    let Some(cpu) = state() else { return 0 };
    let Some(journey) = journey_of(&cpu.parent) else { return 0 };
    let place = peer + offset!(wg_staged_tail);
    let tail: u64 = skb::read(place, 0);
    // An empty queue ends where it begins: at the head of the list, whose first word is the other end.
    let is_empty = tail == place - 8;
    if is_empty || journey.skb_wire < 2 || journey.last_point != Point::Xmit as u8 || !defers(journey.device) {
        return 0;
    }
    cpu.parent.edge = Edge::Segment as u32;
    cpu.parent.object = 0;
    cpu.parent.print = flow_print(skb::network_header(tail));
    cpu.parent.pass = 0;
    cpu.parent.pieces = journey.skb_wire;
    adopt(Point::Ready as u64, tail, 0)
}
