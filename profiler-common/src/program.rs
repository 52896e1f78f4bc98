//! Packets that are looked for by their fingerprint: in the hands of programs (tunnels', or Open vSwitch's daemons), or
//! held in pieces. All records are `repr(C)` without hidden padding.

use crate::MAX_SLOTS;

/// A packet in the hands of a program: a tunnel's, or Open vSwitch's daemon. Or one whose pieces lie in a queue, or wait for
/// each other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct WithProgram {
    /// Its fingerprint.
    pub print: u64,
    /// Generation of its journey; 0: the entry is free.
    pub id: u64,
    /// Where the journey is.
    pub slot: u32,
    /// Into how many packets it is cut on the way to the program; of one that is held, the word that counts it.
    pub pieces: u32,
}

/// Packets in the hands of tunnels' programs that are remembered at one time; a power of two.
pub const TUNNELLED_PACKETS: usize = 64;
/// The same for Open vSwitch's daemons.
pub const UPCALLED_PACKETS: usize = 1024;

/// Followed packets that are held at one time: cut in a device's queue, or as fragments; a power of two.
pub const HELD_PACKETS: usize = 4096;

/// The word of the programs' global memory that counts packets in the hands of tunnels' programs.
pub const TUNNELLED_WORD: usize = MAX_SLOTS;
/// The word that counts fragments that wait for others.
pub const FRAGMENTS_WORD: usize = MAX_SLOTS + 1;
/// Word that counts all followed packets that lie in pieces in a queue: what every crossing asks first.
pub const ALL_PIECES_WORD: usize = MAX_SLOTS + 2;
/// The first of the words that count packets that lie in queues in pieces.
pub const PIECES_WORD: usize = MAX_SLOTS + 3;
/// How many words that are, by device; a power of two.
pub const PIECES_WORDS: usize = 16;

/// The first of the words that tell, by socket, where its oldest and its newest followed data are that wait for a reader.
pub const UNREAD_WORD: usize = PIECES_WORD + PIECES_WORDS;
/// How many words that are; a power of two.
pub const UNREAD_WORDS: usize = 4096;

/// Word that counts the tasks whose next turnaround is measured: what every read and send asks first.
pub const DUES_WORD: usize = UNREAD_WORD + UNREAD_WORDS;

/// Words of the programs' global memory: the address in each slot, and the words above.
pub const GLOBAL_WORDS: usize = DUES_WORD + 1;
