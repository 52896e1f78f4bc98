//! Additions that other CPUs may make at the same moment.

use netstrata_common::Add;

/// Adds atomically without reading back: the one atomic form that every supported kernel's verifier accepts (of 5.10:
/// <https://elixir.bootlin.com/linux/v5.10.223/source/kernel/bpf/verifier.c#L4177>). By hand,
/// because the compiler offers no atomic arithmetic for this target.
#[inline(always)]
pub fn add(counter: &mut u64, value: u64) {
    // SAFETY: a valid, aligned u64 in a map value.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) &raw mut *counter, in(reg) value, options(nostack));
    }
}

/// The same of four bytes.
#[inline(always)]
fn add_small(counter: &mut u32, value: u32) {
    // SAFETY: a valid, aligned u32 in a map value.
    unsafe {
        core::arch::asm!("lock *(u32 *)({0} + 0) += {1}", in(reg) &raw mut *counter, in(reg) value as u64, options(nostack));
    }
}

/// How the programs let the figures of paths and spans grow.
pub struct Atomic;

impl Add for Atomic {
    #[inline(always)]
    fn add(figure: &mut u64, more: u64) {
        add(figure, more);
    }

    #[inline(always)]
    fn add_small(figure: &mut u32, more: u32) {
        add_small(figure, more);
    }
}
