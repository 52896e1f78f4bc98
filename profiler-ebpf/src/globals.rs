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
getter!(function_tier, FUNCTION_TIER, u32);

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
