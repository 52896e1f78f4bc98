//! CPU samples: a kernel stack, the task, and the place of this CPU's last crossing.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_smp_processor_id, generated},
    programs::PerfEventContext,
};
use netstrata_common::{DeviceKey, Loss, Point, Points, STACK_FRAMES, SampleKey, Stack, mix};

use crate::{
    atomic,
    cpu::{self, state},
    globals::offset,
    log,
    maps::{CONFIG, NEW_STACK, SAMPLES, STACKS},
    skb,
};

/// Where the object of a CPU's last crossing is.
#[inline(always)]
fn place(point: u32, object: u64, tcp_socket: u64) -> DeviceKey {
    if Points::OF_DEVICE.has(point) {
        skb::device_key(object)
    } else if Points::OF_SENDER.has(point) {
        DeviceKey { netns: skb::socket_netns(object), ifindex: 0 }
    } else if Points::OF_SEGMENT.has(point) {
        // TCP takes device and route off a packet: https://elixir.bootlin.com/linux/v6.12.117/source/net/ipv4/tcp_ipv4.c#L2346
        let ifindex = skb::read::<i32>(object, offset!(skb_iif)) as u32;
        DeviceKey { netns: skb::socket_netns(tcp_socket), ifindex }
    } else if Points::OF_RECEIVED.has(point) {
        // The packet's device changes on its way through a bridge, and TCP forgets it; the index of the receiving one is
        // kept (https://elixir.bootlin.com/linux/v6.12.117/source/net/core/dev.c#L5664), and the route knows the namespace.
        let mut device = skb::device(object);
        if device == 0 {
            let route: u64 = skb::read(object, offset!(skb_dst));
            device = skb::read(route & !1, offset!(dst_dev));
        }
        let at = skb::device_key(device);
        DeviceKey { netns: at.netns, ifindex: skb::read::<i32>(object, offset!(skb_iif)) as u32 }
    } else if Points::OF_PACKET.has(point) {
        skb::device_key(skb::device(object))
    } else {
        DeviceKey { netns: 0, ifindex: 0 }
    }
}

/// Keeps the kernel stack and returns its hash; or 0, and whether user mode was interrupted.
#[inline(always)]
fn kernel_stack(context: &PerfEventContext, batch: u32) -> (u64, bool) {
    let (Some(cpu), Some(scratch)) = (state(), NEW_STACK.get_ptr_mut(0)) else { return (0, false) };
    // SAFETY: this CPU's own scratch value; the sampler never interrupts itself.
    let stack = unsafe { &mut *scratch };
    // SAFETY: the buffer has the size that is passed.
    let length =
        unsafe { generated::bpf_get_stack(context.as_ptr(), (&raw mut *stack).cast(), size_of::<Stack>() as u32, 0) };
    if length <= 0 {
        // No kernel stack: user mode was interrupted.
        return (0, true);
    }
    let count = length as usize / 8;
    let mut hash = mix(1, batch as u64);
    for &frame in &stack.frames {
        // The helper fills the rest of the buffer with zeros.
        if frame == 0 {
            break;
        }
        hash = mix(hash, frame);
    }
    cpu.lost[Loss::StacksCut] += (count == STACK_FRAMES) as u64;
    if STACKS.get_ptr(hash).is_none() && STACKS.insert(hash, &*stack, 0).is_err() {
        log::lose(&mut cpu.lost, Loss::StacksFull, 1, hash);
        return (0, false);
    }
    (hash, false)
}

/// Takes a sample. Those of a burst are taken while all probes are attached, and no journeys are observed.
#[inline(always)]
pub fn take(context: &PerfEventContext, burst: bool) {
    let Some(cpu) = state() else { return };
    if burst {
        cpu.burst_samples += 1;
    } else {
        cpu.samples += 1;
    }
    let Some(config) = CONFIG.get(0) else { return };
    let (stack, user) = kernel_stack(context, cpu::batch(&config.stack_batch));
    // While the probes are detached, or being attached one by one, the last crossing says nothing about what runs now.
    let complete = burst || config.accept != 0;
    let point = if complete { cpu.point } else { Point::None as u32 };
    let at = place(point, cpu.object, cpu.tcp_socket);
    let key = SampleKey {
        stack,
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        comm: bpf_get_current_comm().unwrap_or_default(),
        // SAFETY: a helper without arguments.
        cgroup: unsafe { generated::bpf_get_current_cgroup_id() },
        netns: at.netns,
        ifindex: at.ifindex,
        point: point as u16,
        // SAFETY: a helper without arguments.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        user: user as u16,
        burst: burst as u16,
        batch: cpu::batch(&config.batch),
    };
    if let Some(count) = SAMPLES.get_ptr_mut(key) {
        // SAFETY: a valid, aligned u64 in the map.
        atomic::add(unsafe { &mut *count }, 1);
    } else if SAMPLES.insert(key, 1, 0).is_err() {
        log::lose(&mut cpu.lost, Loss::SamplesFull, 1, stack);
    }
}
