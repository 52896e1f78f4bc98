//! Reads of kernel structures, at offsets from the running kernel's BTF. Only followed packets are read.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use netstrata_common::{DeviceKey, Peer, peer_of_ipv4};

use crate::globals::{offset, pages};

/// A number, for which all-zero is valid.
pub trait Number: Copy {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for i32 {}
impl Number for u64 {}
impl Number for [u64; 2] {}

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

/// Writes a zero by itself: of several ones side by side the compiler would make a loop over bytes.
#[inline(always)]
pub fn zero<T: Default>(number: &mut T) {
    // SAFETY: a valid reference.
    unsafe { core::ptr::write_volatile(number, T::default()) };
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

/// The first letters of the kind of a device, from its link operations.
#[inline(always)]
pub fn link_kind(operations: u64) -> u32 {
    let name: u64 = read(operations, offset!(link_ops_kind));
    read(name, 0)
}

/// Whether a packet is at an ifb device. <https://elixir.bootlin.com/linux/v6.12.117/source/drivers/net/ifb.c#L367>
#[inline(always)]
pub fn is_at_ifb(skb: u64) -> bool {
    link_kind(read(device(skb), offset!(dev_link_ops))) == u32::from_ne_bytes(*b"ifb\0")
}

/// Namespace of a socket.
#[inline(always)]
pub fn socket_netns(sk: u64) -> u32 {
    let net: u64 = read(sk, offset!(sk_net));
    read(net, offset!(net_inum))
}

/// Where a packet's bytes begin, in front of all headers.
#[inline(always)]
pub fn head(skb: u64) -> u64 {
    read(skb, offset!(skb_head))
}

/// Segments that a packet carries: what it is on a wire.
#[inline(always)]
pub fn wire_packets(skb: u64) -> u32 {
    wire_packets_at(skb, head(skb))
}

/// The same of a packet whose head is known.
#[inline(always)]
pub fn wire_packets_at(skb: u64, head: u64) -> u32 {
    let end: u32 = read(skb, offset!(skb_end));
    let segments: u16 = read(head + end as u64, offset!(shinfo_gso_segs));
    if segments == 0 { 1 } else { segments as u32 }
}

/// Address of the packet's network header.
#[inline(always)]
pub fn network_header(skb: u64) -> u64 {
    let at: u16 = read(skb, offset!(skb_network_header));
    head(skb) + at as u64
}

/// From the head on, where the packet's network header is, and that of what it carries if it is a tunnel's; else 0.
#[inline(always)]
pub fn network_headers(skb: u64) -> (u16, u16) {
    let outer: u16 = read(skb, offset!(skb_network_header));
    let inner: u16 = read(skb, offset!(skb_inner_network_header));
    // What was taken out of a tunnel keeps the number of its header, which is the outer one now.
    (outer, if inner > outer { inner } else { 0 })
}

/// Address of the network header of what a tunnel's packet carries, or of the packet itself.
#[inline(always)]
pub fn innermost_header(skb: u64) -> u64 {
    let (outer, inner) = network_headers(skb);
    head(skb) + if inner == 0 { outer } else { inner } as u64
}

/// Whether it is a clone that no socket owns.
#[inline(always)]
pub fn is_clone(skb: u64) -> bool {
    read::<u8>(skb, offset!(skb_cloned)) & 1 != 0 && read::<u64>(skb, offset!(skb_sk)) == 0
}

/// Bytes of each segment of a packet, and the address of the list of pages with its data; 0 if it has none.
#[inline(always)]
pub fn cut_into(skb: u64) -> (u16, u64) {
    let head: u64 = read(skb, offset!(skb_head));
    let end: u32 = read(skb, offset!(skb_end));
    let shared = head + end as u64;
    let pages: u8 = read(shared, offset!(shinfo_nr_frags));
    (read(shared, offset!(shinfo_gso_size)), if pages == 0 { 0 } else { shared + offset!(shinfo_frags) })
}

/// Address of the packet's transport header.
#[inline(always)]
pub fn transport_header(skb: u64) -> u64 {
    let head: u64 = read(skb, offset!(skb_head));
    let at: u16 = read(skb, offset!(skb_transport_header));
    head + at as u64
}

/// What a driver hands in, of which nothing is set but where the data begin: behind the link's header. Address of the IP
/// header, and what lies before it in front of the data, VLAN tags that the device left.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/ethernet/eth.c#L155>
#[inline(always)]
pub fn arriving_header(skb: u64) -> (u64, u32) {
    let packed = arriving(skb);
    // What no address of the kernel's has clear tells how many tags there are.
    (packed | TAGS_PLACE, (!packed >> TAGS_SHIFT) as u32 * VLAN_TAG as u32)
}

const TAGS_SHIFT: u32 = 62;
const TAGS_PLACE: u64 = 3 << TAGS_SHIFT;

/// Address of the byte of what a driver hands in that stands so far behind where its data begin: in its head or in its first page.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn arriving_at(skb: u64, offset: u64) -> u64 {
    let (len, elsewhere): (u32, u32) = (read(skb, offset!(skb_len)), read(skb, offset!(skb_data_len)));
    let in_head = len.wrapping_sub(elsewhere) as u64;
    if offset < in_head { read::<u64>(skb, offset!(skb_data)) + offset } else { first_page(skb) + (offset - in_head) }
}

/// Looked at once by the verifier, wherever it is asked for.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn arriving(skb: u64) -> u64 {
    let (len, elsewhere): (u32, u32) = (read(skb, offset!(skb_len)), read(skb, offset!(skb_data_len)));
    // Drivers leave the headers of large packets in the pages that the device wrote to: GRO reads them there.
    let data = if len == elsewhere { first_page(skb) } else { read(skb, offset!(skb_data)) };
    let tags = tags(read(skb, offset!(skb_protocol)), data);
    ((data + tags * VLAN_TAG) | TAGS_PLACE) ^ (tags << TAGS_SHIFT)
}

/// Bytes of a VLAN tag: what it says, and the type of what follows.
const VLAN_TAG: u64 = 4;

/// VLAN tags from an address on (at most two), if what stands before it is of this type, as it is on the wire.
#[inline(always)]
fn tags(kind: u16, at: u64) -> u64 {
    // Both asked for, which is cheaper than a branch that the verifier follows twice.
    let within: u16 = read(at, 2);
    is_vlan(kind) as u64 + (is_vlan(kind) && is_vlan(within)) as u64
}

/// The header behind VLAN tags, where the stack takes a tag for the network header: before it has removed it, and of what
/// programs wrote to a tap device. What stands before a header is its type.
#[inline(always)]
pub fn untagged(header: u64) -> u64 {
    let kind: u16 = read(header.wrapping_sub(2), 0);
    if is_vlan(kind) { header + tags(kind, header) * VLAN_TAG } else { header }
}

/// Whether this is 802.1Q or 802.1ad.
#[inline(always)]
fn is_vlan(protocol: u16) -> bool {
    protocol == 0x8100_u16.to_be() || protocol == 0x88a8_u16.to_be()
}

/// The kernel's own code and data are behind this.
const KERNEL_DATA: u64 = 0xffff_ffff_8000_0000;

/// Where the first page of a packet's data is, as x86 maps all memory; 0 where that is not known.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/linux/skbuff.h#L365>
/// <https://elixir.bootlin.com/linux/v6.12.117/source/arch/x86/include/asm/page_64_types.h#L38>
#[inline(always)]
fn first_page(skb: u64) -> u64 {
    const PAGE_SHIFT: u64 = 12;
    const DESCRIPTION_SHIFT: u64 = 6;
    let [map, memory] = pages();
    if map == 0 {
        return 0;
    }
    let head: u64 = read(skb, offset!(skb_head));
    let end: u32 = read(skb, offset!(skb_end));
    let fragment = head + end as u64 + offset!(shinfo_frags);
    let (page, begin): (u64, u32) = (read(fragment, 0), read(fragment, 12));
    let (map, memory): (u64, u64) = if map > KERNEL_DATA { (read(map, 0), read(memory, 0)) } else { (map, memory) };
    let number = page.wrapping_sub(map) >> DESCRIPTION_SHIFT;
    memory.wrapping_add(number << PAGE_SHIFT).wrapping_add(begin as u64)
}

/// The address that a packet with this IP header comes from (0) or goes to (1); nothing where it has none.
#[inline(always)]
pub fn peer(header: u64, which: u64) -> Peer {
    let first: u8 = read(header, 0);
    match first >> 4 {
        4 => peer_of_ipv4(read(header, 12 + 4 * which)),
        6 => [read(header, 8 + 16 * which), read(header, 16 + 16 * which)],
        _ => [0; 2],
    }
}

/// Length of the link's header of a packet whose data begin behind it.
#[inline(always)]
pub fn link_header(skb: u64) -> u32 {
    let (head, data): (u64, u64) = (read(skb, offset!(skb_head)), read(skb, offset!(skb_data)));
    let at: u16 = read(skb, offset!(skb_mac_header));
    let length = data.wrapping_sub(head + at as u64) as u32;
    if length > LONGEST_LINK_HEADER { 0 } else { length }
}

const LONGEST_LINK_HEADER: u32 = 64;

/// Whether a packet is for the socket's port.
#[inline(always)]
pub fn is_for_port(packet: u64, socket: u64) -> bool {
    let port: u16 = u16::from_be(read(transport_header(packet), 2));
    let local: u16 = read(socket, offset!(sk_num));
    port == local
}

/// `gro_result_t`: the packet went into another one.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/linux/netdevice.h#L412>
const GRO_MERGED: u32 = 0;
const GRO_MERGED_FREE: u32 = 1;

/// GRO keeps the packet until others of its flow have come, or gives it on with others, or took it.
const GRO_HELD: u32 = 2;
const GRO_NORMAL: u32 = 3;

/// Whether GRO says that the packet goes on as it is, at once or later.
#[inline(always)]
pub fn is_held(result: u32) -> bool {
    result == GRO_HELD || result == GRO_NORMAL
}

/// Whether GRO says that it put a packet into another one.
#[inline(always)]
pub fn is_merged(result: u32) -> bool {
    result == GRO_MERGED || result == GRO_MERGED_FREE
}
