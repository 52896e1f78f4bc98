//! What the loader writes before the programs are verified: constants to them.

use core::ptr::read_volatile;

use netstrata_common::{MAX_SLOTS, Offsets};

#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::ZERO;
/// Slots in use minus one.
#[unsafe(no_mangle)]
static SLOT_MASK: u32 = MAX_SLOTS as u32 - 1;
/// 1 if `kfree_skb` carries a reason.
#[unsafe(no_mangle)]
static HAS_REASON: u32 = 0;
/// Number of the reason that means "consumed", which is no drop.
#[unsafe(no_mangle)]
static REASON_CONSUMED: u32 = 0;
/// Number of the reason that means none.
#[unsafe(no_mangle)]
static REASON_UNSPECIFIED: u32 = 0;
/// Where the kernel's own code lies: what is called from elsewhere is a module's.
#[unsafe(no_mangle)]
static TEXT: [u64; 2] = [0; 2];
/// Where functions lie that drivers free packets with, whose transmission is complete or which they drop: begin and end
/// of each.
#[unsafe(no_mangle)]
static DRIVERS_FREE: [u64; 8] = [0; 8];
/// Where the kernel's descriptions of pages and the pages themselves begin, or in which variables of the kernel that
/// stands (they are among its own data, behind everything else); 0 where it is not known.
#[unsafe(no_mangle)]
static PAGES: [u64; 2] = [0; 2];
/// 1 if spans are split over functions.
#[unsafe(no_mangle)]
static FUNCTION_TIER: u32 = 0;

macro_rules! getter {
    ($name:ident, $global:ident, $type:ty) => {
        #[inline(always)]
        pub fn $name() -> $type {
            // SAFETY: reads a static of ours; volatile, because the loader changes it behind the compiler's back.
            unsafe { read_volatile(&raw const $global) }
        }
    };
}
getter!(slot_mask, SLOT_MASK, u32);
getter!(has_reason, HAS_REASON, u32);
getter!(reason_consumed, REASON_CONSUMED, u32);
getter!(reason_unspecified, REASON_UNSPECIFIED, u32);
getter!(function_tier, FUNCTION_TIER, u32);

/// See [`TEXT`].
#[inline(always)]
pub fn is_in_a_module(location: u64) -> bool {
    // SAFETY: reads a static of ours; volatile, because the loader changes it behind the compiler's back.
    let [begin, end] = unsafe { read_volatile(&raw const TEXT) };
    begin != 0 && (location < begin || location >= end)
}

/// See [`DRIVERS_FREE`].
#[inline(always)]
pub fn is_where_drivers_free(location: u64) -> bool {
    let mut is = false;
    for at in 0..4 {
        // SAFETY: the same.
        let [begin, end] = unsafe {
            let first = (&raw const DRIVERS_FREE).cast::<u64>().add(2 * at);
            [read_volatile(first), read_volatile(first.add(1))]
        };
        is |= location >= begin && location < end;
    }
    is
}

/// See [`PAGES`].
#[inline(always)]
pub fn pages() -> [u64; 2] {
    // SAFETY: the same.
    unsafe { read_volatile(&raw const PAGES) }
}

/// One field of [`OFFSETS`].
macro_rules! offset {
    ($field:ident) => {{
        // SAFETY: reads a static of ours; volatile, because the loader changes it behind the compiler's back.
        unsafe { core::ptr::read_volatile(&raw const (*$crate::globals::offsets()).$field) as u64 }
    }};
}
pub(crate) use offset;

#[inline(always)]
pub fn offsets() -> *const Offsets {
    &raw const OFFSETS
}
