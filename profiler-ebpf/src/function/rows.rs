//! Which row of the table a call is charged to, and what it takes besides time.

use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use netstrata_common::{CHAINS, Chain, ChargedTo, Hook, MAX_HOOKS, Value};

use crate::{
    globals::offset,
    maps::{BPF_NOEXIST, NFT_CHAINS},
    skb,
};

/// Netfilter's number of the inet, IPv4, IPv6 and bridge families, and of hooks in each.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/uapi/linux/netfilter.h#L42>
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/uapi/linux/netfilter_bridge.h#L24>
const FAMILIES_IP: [u8; 3] = [1, 2, 10];
const FAMILY_BRIDGE: u8 = 7;
const NETFILTER_HOOKS: u8 = 5;

/// The hooks of which the table says this, found at compile time: they are few, and what is not asked for costs nothing.
macro_rules! hooks_where {
    ($what:ident, $is:pat) => {{
        const COUNT: usize = {
            let (mut count, mut at) = (0, 0);
            while at < Hook::ALL.len() {
                count += matches!(Hook::ALL[at].info().take.$what(), $is) as usize;
                at += 1;
            }
            count
        };
        const {
            let (mut found, mut count, mut at) = ([0; COUNT], 0, 0);
            while at < Hook::ALL.len() {
                if matches!(Hook::ALL[at].info().take.$what(), $is) {
                    found[count] = at as u32;
                    count += 1;
                }
                at += 1;
            }
            found
        }
    }};
}

#[inline(always)]
fn is_one_of<const COUNT: usize>(hook: u32, hooks: [u32; COUNT]) -> bool {
    hooks.contains(&hook)
}

/// The row of an nftables chain, taken if it is new; the common one if there is none left.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn function_chain(address: u64) -> i32 {
    let first = (address >> 6 ^ address >> 10) as u32;
    for step in 0..CHAINS as u32 {
        let place = first.wrapping_add(step) & (CHAINS as u32 - 1);
        // SAFETY: a valid pointer into the map; entries are never changed.
        let taken = NFT_CHAINS.get_ptr(place).map(|chain| unsafe { (*chain).address });
        match taken {
            Some(other) if other != address => continue,
            Some(_) => {}
            None => {
                let mut chain = Chain { address, ..Chain::default() };
                let name: u64 = skb::read(address, offset!(nft_chain_name));
                let table: u64 = skb::read(address, offset!(nft_chain_table));
                let table: u64 = skb::read(table, offset!(nft_table_name));
                // SAFETY: the helper checks the address, and writes to our own array.
                unsafe {
                    let _ = bpf_probe_read_kernel_str_bytes(name as *const u8, &mut chain.name);
                    let _ = bpf_probe_read_kernel_str_bytes(table as *const u8, &mut chain.table);
                }
                // Another CPU may have taken it meanwhile.
                if NFT_CHAINS.insert(place, chain, BPF_NOEXIST).is_err() {
                    continue;
                }
            }
        }
        return (Hook::NftChain1 as u32 + place) as i32;
    }
    Hook::NftChain as i32
}

/// The row that a call is charged to.
#[inline(always)]
pub fn row(hook: u32, argument: u64) -> u32 {
    if is_one_of(hook, hooks_where!(charged_to, ChargedTo::Chain)) && offset!(nft_chain_name) != 0 {
        return function_chain(argument) as u32 & (MAX_HOOKS as u32 - 1);
    }
    if !is_one_of(hook, hooks_where!(charged_to, ChargedTo::NetfilterHook)) {
        return hook;
    }
    let number: u8 = skb::read(argument, offset!(nf_state_hook));
    let family: u8 = skb::read(argument, offset!(nf_state_pf));
    if number >= NETFILTER_HOOKS {
        return hook;
    }
    if family == FAMILY_BRIDGE {
        return Hook::NfBridgePrerouting as u32 + number as u32;
    }
    if family == FAMILIES_IP[0] || family == FAMILIES_IP[1] || family == FAMILIES_IP[2] {
        return Hook::NfPrerouting as u32 + number as u32;
    }
    hook
}

/// The row of an action of Open vSwitch, by the kernel's number; 0 for those that are functions with hooks of their own.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/include/uapi/linux/openvswitch.h#L1006>
pub const ACTIONS: [u8; 32] = {
    let mut rows = [Hook::OvsOther as u8; 32];
    // output, ct, ct_clear
    (rows[1], rows[12], rows[16]) = (0, 0, 0);
    rows[2] = Hook::OvsUserspace as u8;
    // set, set_masked
    (rows[3], rows[11]) = (Hook::OvsSet as u8, Hook::OvsSet as u8);
    // push_vlan, pop_vlan
    (rows[4], rows[5]) = (Hook::OvsVlan as u8, Hook::OvsVlan as u8);
    // sample, psample
    (rows[6], rows[25]) = (Hook::OvsSample as u8, Hook::OvsSample as u8);
    rows[7] = Hook::OvsRecirculate as u8;
    rows[8] = Hook::OvsHash as u8;
    let mut header = [9, 10, 14, 15, 17, 18, 22].as_slice();
    while let [number, rest @ ..] = header {
        rows[*number] = Hook::OvsHeader as u8;
        header = rest;
    }
    rows[19] = Hook::OvsMeter as u8;
    rows[20] = Hook::OvsClone as u8;
    rows
};

/// What the hook takes besides time.
#[inline(always)]
pub fn value(hook: u32, argument: u64, returned: u64) -> u32 {
    if is_one_of(hook, hooks_where!(value, Value::IsMerged)) {
        skb::is_merged(returned as u32) as u32
    } else if is_one_of(hook, hooks_where!(value, Value::BehindArgument)) {
        skb::read(argument, 0)
    } else {
        0
    }
}
