//! Additions that other CPUs may make at the same moment.

/// Adds atomically without reading back: the one atomic form that every supported kernel's verifier accepts. By hand,
/// because the compiler offers no atomic arithmetic for this target.
#[inline(always)]
pub fn add(counter: &mut u64, value: u64) {
    // SAFETY: a valid, aligned u64 in a map value.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) &raw mut *counter, in(reg) value, options(nostack));
    }
}
