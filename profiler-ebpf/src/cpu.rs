//! What a program first asks: the state of its CPU, the profiler's wishes, the clock.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use netstrata_common::{CachedDevice, Config, CpuState, DEVICE_CACHE, DeviceKey, Edge};

use crate::{
    log,
    maps::{CONFIG, CPUS},
    skb,
};

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
pub fn config() -> Option<&'static Config> {
    CONFIG.get(0)
}

/// The batch that figures are added to, read once: the profiler may name the next one at any moment.
#[inline(always)]
pub fn batch(number: &u32) -> u32 {
    // SAFETY: a valid reference.
    unsafe { core::ptr::read_volatile(number) }
}

/// A followed packet has gone on, or its journey has ended: it is not cloned any more.
#[inline(always)]
pub fn leaves(cpu: &mut CpuState, slot: u32) {
    if cpu.parent.slot == slot && cpu.parent.edge == Edge::Clone as u32 {
        cpu.parent.forget();
    }
}

/// What a CPU read of a device is believed for this long: a new device at the address of an old one is not mistaken for
/// it, unless within this time.
const DEVICE_BELIEVED_NS: u64 = 50_000_000;

/// Namespace and index of a device, from what this CPU read lately: each read of kernel memory costs as much as a clock.
#[inline(always)]
pub fn device_key(cpu: &mut CpuState, device: u64, now: u64) -> DeviceKey {
    let index = (device >> 12 ^ device >> 17) as usize & (DEVICE_CACHE - 1);
    let cached = &mut cpu.devices[index];
    if cached.device == device && now.wrapping_sub(cached.read_ns) < DEVICE_BELIEVED_NS {
        return DeviceKey { netns: cached.netns, ifindex: cached.ifindex };
    }
    let key = skb::device_key(device);
    // What is at no device yet, or no more, is not odd.
    if log::tells_doubts() && device != 0 && (key.netns == 0 || key.ifindex == 0) {
        log::say_odd_device(device, key.netns as u64, key.ifindex as u64);
    }
    *cached = CachedDevice { device, read_ns: now, netns: key.netns, ifindex: key.ifindex };
    key
}
