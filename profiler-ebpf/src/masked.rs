//! Numbers of which the compiler knows nothing, so that the verifier sees their bounds where it needs them.

use netstrata_common::{Membership, Point};

/// A number cut off to the bits of a mask. The compiler cannot leave this out, or compare another copy instead, where it knows the bound
/// and the verifier does not; Linux 6.1 forgets what it knew of a number that was kept on the stack.
#[inline(always)]
pub fn masked<const MASK: u64>(mut number: u64) -> usize {
    // SAFETY: changes its operand and nothing else. An instruction, not a comment: two lines at one place are refused.
    unsafe { core::arch::asm!("{0} &= {1}", inout(reg) number, const MASK, options(pure, nomem, nostack)) };
    // SAFETY: it was just cut off there.
    unsafe { core::hint::assert_unchecked(number <= MASK) };
    number as usize
}

#[unsafe(no_mangle)]
static SETS: [Membership; 32] = Membership::OF;

/// The sets that a point is in.
#[inline(always)]
pub fn sets_of(point: u32) -> Membership {
    // SAFETY: a valid reference; volatile, or the compiler would make a comparison with the point's number of what is asked.
    unsafe { core::ptr::read_volatile(&raw const SETS[masked::<31>(point as u64)]) }
}

/// The same of a point that the compiler knows.
#[inline(always)]
pub const fn sets(point: Point) -> Membership {
    Membership::of(point as usize)
}
