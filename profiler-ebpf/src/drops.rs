//! Dropped packets, followed or not, by place and reason.

use netstrata_common::{DropKey, Loss};

use crate::{
    atomic::add,
    cpu::{batch, config, state},
    globals::{has_reason, reason_consumed},
    log,
    maps::DROPS,
    skb,
};

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
