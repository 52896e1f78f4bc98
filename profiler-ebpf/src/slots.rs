//! Slots: where the journey of a followed packet is kept, by the address of its skb.

use netstrata_common::{Journey, MAX_SLOTS, UNREAD_WORD, UNREAD_WORDS};

use crate::{
    globals::slot_mask,
    maps::{JOURNEYS, KEYS},
};

/// The addresses in the slots of journeys whose packet is in nobody's sight: no packet has them.
#[derive(Clone, Copy)]
#[repr(u64)]
pub enum WaitsFor {
    /// The packet is gone, and its child has not come yet: see `lineage`.
    Child = 1,
    /// The packet was read, and it is open what its reader does with it: see `tunnel`.
    Reader,
    /// Open vSwitch's daemon has the packet: see `upcall`.
    Daemon,
}

/// Keeps the number of a slot within the maps that slots index, as the verifier has to see.
const INDEX_MASK: u32 = MAX_SLOTS as u32 - 1;

/// The number of a slot, within the maps that slots index.
#[inline(always)]
pub fn index(slot: u64) -> u32 {
    slot as u32 & INDEX_MASK
}

/// Sixteen bits of an address that tell it from others.
#[inline(always)]
fn hash(address: u64) -> u64 {
    address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48
}

/// The slot of an address.
#[inline(always)]
pub fn slot_of(skb: u64) -> u32 {
    hash(skb) as u32 & slot_mask()
}

/// Reads the address in a slot.
#[inline(always)]
pub fn key(slot: u32) -> u64 {
    // SAFETY: the index is masked to the array's length; see `Keys`.
    unsafe { core::ptr::read_volatile(KEYS.first().add(slot as usize & (MAX_SLOTS - 1))) }
}

/// Writes the address in a slot; 0 frees it.
#[inline(always)]
pub fn set_key(slot: u32, skb: u64) {
    // SAFETY: the index is masked to the array's length; see `Keys`.
    unsafe { core::ptr::write_volatile(KEYS.first().add(slot as usize & (MAX_SLOTS - 1)), skb) }
}

/// The journey in a slot.
#[inline(always)]
pub fn journey_in(slot: u32) -> Option<&'static mut Journey> {
    // SAFETY: a valid pointer into the map; only the CPU that works on the packet comes here.
    JOURNEYS.get_ptr_mut(index(slot as u64)).map(|journey| unsafe { &mut *journey })
}

/// The word that tells where the followed data of a socket are that wait for its reader: the numbers of the slots of the oldest ones and,
/// above, of the newest ones, each and one.
#[inline(always)]
fn unread_word(socket: u64) -> *mut u64 {
    let word = hash(socket) as usize & (UNREAD_WORDS - 1);
    // SAFETY: the index is masked to the array's length; see `Keys`.
    unsafe { KEYS.first().add(UNREAD_WORD + word) }
}

/// Reads it; 0: none are, or they are another socket's.
#[inline(always)]
pub fn unread(socket: u64) -> u64 {
    // SAFETY: a word of the array.
    unsafe { core::ptr::read_volatile(unread_word(socket)) }
}

/// Whether a journey is of data that were announced at a socket.
#[inline(always)]
pub fn is_at(journey: &Journey, socket: u64) -> bool {
    journey.socket == socket && journey.skb != 0
}

/// Writes it.
#[inline(always)]
pub fn set_unread(socket: u64, word: u64) {
    // SAFETY: the same.
    unsafe { core::ptr::write_volatile(unread_word(socket), word) }
}
