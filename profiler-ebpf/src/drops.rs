//! What is rare and is counted all the time, whether journeys are observed or not: dropped packets by place and reason, and TCP
//! segments that are sent again.

use netstrata_common::{DropKey, Loss};

use crate::{
    atomic::add,
    cpu::{batch, config, state},
    globals::{has_reason, reason_consumed},
    log,
    maps::{BPF_NOEXIST, DROPS},
    skb,
};

/// Counts a dropped packet, followed or not.
#[inline(always)]
pub fn count(packet: u64, location: u64, reason: u32) {
    let Some(cpu) = state() else { return };
    cpu.counted += 1;
    let reason = if has_reason() == 0 { 0 } else { reason };
    if reason != 0 && reason == reason_consumed() {
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
