//! Dropped packets, followed or not, by place and reason.

use netstrata_common::{DropKey, Loss, Point};

use crate::{
    atomic::add,
    cpu::{batch, config, state},
    fresh::is_at_a_card,
    globals::{has_reason, is_in_a_module, is_where_drivers_free, offset, reason_consumed, reason_unspecified},
    log,
    maps::DROPS,
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
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_drop(packet: u64, location: u64, reason: u64) -> i32 {
    let reason = reason as u32;
    let reason = if has_reason() == 0 { 0 } else { reason };
    if reason != 0 && reason == reason_consumed() {
        return 0;
    }
    let at = skb::device_key(skb::device(packet));
    let batch = config().map_or(0, |config| batch(&config.batch));
    let key = DropKey { location, reason, netns: at.netns, ifindex: at.ifindex, batch };
    if let Some(count) = DROPS.get_ptr_mut(key) {
        // SAFETY: a valid pointer into the map.
        add(unsafe { &mut *count }, 1);
    } else if let (Err(_), Some(cpu)) = (DROPS.insert(key, 1, 0), state()) {
        log::lose(&mut cpu.lost, Loss::DropsFull, 1, location);
    }
    0
}
