//! Reads of kernel structures, at offsets from the running kernel's BTF. Only followed packets are read.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use netstrata_common::DeviceKey;

use crate::globals::offset;

/// A number, for which all-zero is valid.
pub trait Number: Copy {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for i32 {}
impl Number for u64 {}

/// Reads a value at `address + offset`; 0 where the memory cannot be read.
#[inline(always)]
pub fn read<T: Number>(address: u64, offset: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // Without a branch, of which the verifier would follow both sides: the helper checks the address, also for null, and
    // writes zeros where it cannot read:
    // https://elixir.bootlin.com/linux/v6.12.117/source/kernel/trace/bpf_trace.c#L217
    // SAFETY: the buffer has the size that is passed, and the helper writes all of it.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address.wrapping_add(offset) as *const core::ffi::c_void,
        );
        value.assume_init()
    }
}

/// Copies bytes between values of maps: the compiler would copy them one by one.
///
/// # Safety
///
/// Both are valid for so many bytes.
#[inline(always)]
pub unsafe fn copy<T>(to: *mut T, from: *const T, bytes: u32) {
    // SAFETY: the caller's promise.
    unsafe { bpf_probe_read_kernel(to.cast(), bytes, from.cast()) };
}

/// Namespace and index of a `net_device`.
#[inline(always)]
pub fn device_key(dev: u64) -> DeviceKey {
    let net: u64 = read(dev, offset!(dev_net));
    DeviceKey { netns: read(net, offset!(net_inum)), ifindex: read(dev, offset!(dev_ifindex)) }
}

/// The `net_device` that a packet is at.
#[inline(always)]
pub fn device(skb: u64) -> u64 {
    read(skb, offset!(skb_dev))
}

/// Namespace of a socket.
#[inline(always)]
pub fn socket_netns(sk: u64) -> u32 {
    let net: u64 = read(sk, offset!(sk_net));
    read(net, offset!(net_inum))
}

/// Segments that a packet carries: what it is on a wire.
#[inline(always)]
pub fn wire_packets(skb: u64) -> u32 {
    let head: u64 = read(skb, offset!(skb_head));
    let end: u32 = read(skb, offset!(skb_end));
    let segments: u16 = read(head + end as u64, offset!(shinfo_gso_segs));
    if segments == 0 { 1 } else { segments as u32 }
}

/// Address of the packet's network header.
#[inline(always)]
pub fn network_header(skb: u64) -> u64 {
    let head: u64 = read(skb, offset!(skb_head));
    let at: u16 = read(skb, offset!(skb_network_header));
    head + at as u64
}

/// Address of the packet's transport header.
#[inline(always)]
pub fn transport_header(skb: u64) -> u64 {
    let head: u64 = read(skb, offset!(skb_head));
    let at: u16 = read(skb, offset!(skb_transport_header));
    head + at as u64
}

/// `gro_result_t`: the packet went into another one.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/linux/netdevice.h#L412>
const GRO_MERGED: u32 = 0;
const GRO_MERGED_FREE: u32 = 1;

/// Whether GRO says that it put a packet into another one.
#[inline(always)]
pub fn is_merged(result: u32) -> bool {
    result == GRO_MERGED || result == GRO_MERGED_FREE
}
