//! What is rare and is counted all the time, whether journeys are observed or not: dropped packets by place and reason, and TCP
//! segments that are sent again.

use netstrata_common::{DropKey, Loss, Point};

use crate::{
    atomic::add,
    cpu::{batch, config, state},
    fresh::is_at_a_card,
    globals::{has_reason, is_in_a_module, is_where_drivers_free, offset, reason_consumed, reason_unspecified},
    log,
    maps::{BPF_NOEXIST, DROPS},
    skb,
};

/// Whether a packet that is freed without a reason, as by `dev_kfree_skb_any`, has been transmitted: a driver frees it that
/// was sent on by a card, while it is given none. Some drivers complete so:
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/core/dev.c#L3404>
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_transmitted(packet: u64, location: u64, reason: u64) -> i32 {
    if has_reason() != 0 && reason as u32 > reason_unspecified()
        || !is_where_drivers_free(location) && !is_in_a_module(location)
    {
        return 0;
    }
    let Some(cpu) = state() else { return 0 };
    let device = skb::device(packet);
    let ifindex: i32 = skb::read(device, offset!(dev_ifindex));
    // What it is given it may drop, and what it has received.
    let is_given = cpu.point == Point::Xmit as u32 && cpu.object == device;
    let is_sent = is_at_a_card(packet) && skb::read::<i32>(packet, offset!(skb_iif)) != ifindex;
    (is_sent && !is_given) as i32
}

/// Counts a dropped packet, followed or not.
#[inline(always)]
pub fn count(packet: u64, location: u64, reason: u32) {
    let Some(cpu) = state() else { return };
    cpu.counted += 1;
    let reason = if has_reason() == 0 { 0 } else { reason };
    if reason != 0 && reason == reason_consumed() || is_transmitted(packet, location, reason as u64) != 0 {
        return;
    }
    let at = skb::device_key(skb::device(packet));
    let batch = config().map_or(0, |config| batch(&config.batch));
    let key = DropKey { location, reason, netns: at.netns, ifindex: at.ifindex, batch };
    // Another CPU may make the entry meanwhile.
    let known = DROPS.get_ptr_mut(key).or_else(|| {
        let _ = DROPS.insert(key, 0, BPF_NOEXIST);
        DROPS.get_ptr_mut(key)
    });
    match known {
        // SAFETY: a valid pointer into the map.
        Some(count) => add(unsafe { &mut *count }, 1),
        None => log::lose(&mut cpu.lost, Loss::DropsFull, 1, location),
    }
}

/// Counts the segments of an skb that TCP sends again, as the kernel does (`RetransSegs`).
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/tcp_output.c#L3464>
#[inline(always)]
pub fn sent_again(packet: u64) {
    let Some(cpu) = state() else { return };
    cpu.counted += 1;
    cpu.retransmits += skb::wire_packets(packet) as u64;
}
