//! Packets that are looked for by their fingerprint, because they go on as other skbs: in the hands of programs in user space (of
//! tunnels' and of Open vSwitch's daemons), or held in pieces.

use netstrata_common::{
    ALL_PIECES_WORD, DUES_WORD, FRAGMENTS_WORD, GLOBAL_WORDS, HELD_PACKETS, Journey, PIECES_WORD, PIECES_WORDS,
    TUNNELLED_PACKETS, TUNNELLED_WORD, UPCALLED_PACKETS, WithProgram,
};

use crate::{
    atomic::add,
    maps::{HELD, KEYS, TUNNELLED, UPCALLED},
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

/// The entry of a packet that may be held in pieces.
#[inline(always)]
pub fn held(print: u64) -> Option<&'static mut WithProgram> {
    // SAFETY: the same.
    HELD.get_ptr_mut(print as u32 & (HELD_PACKETS as u32 - 1)).map(|entry| unsafe { &mut *entry })
}

/// How many followed packets tunnels' programs have.
#[inline(always)]
pub fn tunnelled_count() -> u64 {
    count(TUNNELLED_WORD)
}

/// How many followed packets wait for other fragments.
#[inline(always)]
pub fn fragments_count() -> u64 {
    count(FRAGMENTS_WORD)
}

/// Whether followed packets may lie in pieces in the queue of a device.
#[inline(always)]
pub fn may_have_pieces(device: u64) -> bool {
    count(ALL_PIECES_WORD) != 0 && count(pieces_word(device)) != 0
}

/// The word that counts the followed packets that lie in pieces in the queue of a device.
#[inline(always)]
pub fn pieces_word(device: u64) -> usize {
    PIECES_WORD + ((device >> 12 ^ device >> 17) as usize & (PIECES_WORDS - 1))
}

/// A count in the global memory.
#[inline(always)]
fn count(word: usize) -> u64 {
    // SAFETY: a word of the array; see `Keys`.
    unsafe { core::ptr::read_volatile(KEYS.first().add(word)) }
}

/// How many tasks there are whose next turnaround is measured.
#[inline(always)]
pub fn dues_count() -> u64 {
    count(DUES_WORD)
}

/// One more of them, or one less (-1).
#[inline(always)]
pub fn count_dues(more: i64) {
    add_to(DUES_WORD, more);
}

/// Counts packets that go into programs (1) or come out (-1).
#[inline(always)]
pub fn count_tunnelled(more: i64) {
    add_to(TUNNELLED_WORD, more);
}

#[inline(always)]
fn add_to(word: usize, more: i64) {
    // SAFETY: a word of the array, added to atomically.
    add(unsafe { &mut *KEYS.first().add(word) }, more as u64);
}

#[inline(always)]
fn count_held(word: usize, more: i64) {
    add_to(word, more);
    if word >= PIECES_WORD {
        add_to(ALL_PIECES_WORD, more);
    }
}

/// A followed packet is held in pieces, to be known by this fingerprint, and counted in that word. False if a tunnel's program
/// looks for it.
#[inline(always)]
pub fn hold(print: u64, journey: &mut Journey, slot: u32, word: usize) -> bool {
    if journey.print != 0 {
        if held(journey.print).is_none_or(|entry| entry.id != journey.id) {
            return false;
        }
        forget(journey.print, journey.id);
    }
    let Some(entry) = held(print) else { return false };
    if entry.id != 0 {
        let_go(entry);
    }
    journey.print = print;
    *entry = WithProgram { print, id: journey.id, slot, pieces: word as u32 };
    count_held(word, 1);
    true
}

/// A packet is held no more.
#[inline(always)]
fn let_go(entry: &mut WithProgram) {
    entry.id = 0;
    let word = entry.pieces as usize;
    if word < GLOBAL_WORDS {
        count_held(word, -1);
    }
}

/// The journey goes on, or ends: nobody has its packet any more.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn forget(print: u64, id: u64) -> i32 {
    if let Some(entry) = tunnelled(print)
        && entry.id == id
    {
        entry.id = 0;
        count_tunnelled(-1);
    }
    if let Some(entry) = held(print)
        && entry.id == id
    {
        let_go(entry);
    }
    0
}
