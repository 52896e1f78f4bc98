//! Packets in the hands of programs: tunnels', or Open vSwitch's daemons. All records are `repr(C)` without hidden padding.

use crate::MAX_SLOTS;

/// A packet in the hands of a program: a tunnel's, or Open vSwitch's daemon.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct WithProgram {
    /// Its fingerprint.
    pub print: u64,
    /// Generation of its journey; 0: the entry is free.
    pub id: u64,
    /// Where the journey is.
    pub slot: u32,
    /// Into how many packets it is cut on the way to the program.
    pub pieces: u32,
}

/// Packets in the hands of tunnels' programs that are remembered at one time; a power of two.
pub const TUNNELLED_PACKETS: usize = 64;
/// The same for Open vSwitch's daemons.
pub const UPCALLED_PACKETS: usize = 1024;

/// Words of the programs' global memory: the address in each slot, and how many packets tunnels' programs have.
pub const GLOBAL_WORDS: usize = MAX_SLOTS + 1;
