//! Packets in the hands of programs in user space, by fingerprint: of tunnels' programs and of Open vSwitch's daemons.

use netstrata_common::{MAX_SLOTS, TUNNELLED_PACKETS, UPCALLED_PACKETS, WithProgram};

use crate::{
    atomic::add,
    maps::{KEYS, TUNNELLED, UPCALLED},
};

/// The entry of a packet that a tunnel's program may have.
#[inline(always)]
pub fn tunnelled(print: u64) -> Option<&'static mut WithProgram> {
    // SAFETY: a valid pointer into the map. Two CPUs that write one entry can mix two packets: its journey's generation
    // and fingerprint then do not agree with it.
    TUNNELLED.get_ptr_mut(print as u32 & (TUNNELLED_PACKETS as u32 - 1)).map(|entry| unsafe { &mut *entry })
}

/// The entry of a packet that Open vSwitch's daemon may have.
#[inline(always)]
pub fn upcalled(print: u64) -> Option<&'static mut WithProgram> {
    // SAFETY: the same.
    UPCALLED.get_ptr_mut(print as u32 & (UPCALLED_PACKETS as u32 - 1)).map(|entry| unsafe { &mut *entry })
}

/// How many followed packets tunnels' programs have.
#[inline(always)]
pub fn tunnelled_count() -> u64 {
    // SAFETY: the last word of the array; see `Keys`.
    unsafe { core::ptr::read_volatile(KEYS.first().add(MAX_SLOTS)) }
}

/// Counts packets that go into programs (1) or come out (-1).
#[inline(always)]
pub fn count_tunnelled(more: i64) {
    // SAFETY: the last word of the array, added to atomically.
    add(unsafe { &mut *KEYS.first().add(MAX_SLOTS) }, more as u64);
}

/// A journey ends: no program has its packet any more.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn forget(print: u64, id: u64) -> i32 {
    if let Some(entry) = tunnelled(print)
        && entry.id == id
    {
        entry.id = 0;
        count_tunnelled(-1);
    }
    0
}
