//! Where long journeys have the crossings for which their slots have no room. All records are `repr(C)` without hidden padding.

use crate::{Crossing, MAX_CROSSINGS};

/// Crossings of a journey beyond those in its slot, if it gets a tail.
pub const TAIL_CROSSINGS: usize = 144;
/// Tails that journeys can have at one time. A power of two.
pub const TAILS: usize = 128;
/// Long paths that the programs' table holds.
pub const LONG_PATHS: u32 = 128;

/// What a journey has beyond the crossings in its slot. Most journeys need none, and their slots would be four times as large.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// Generation of the journey that has it, or 0.
    pub id: u64,
    /// Where that journey is.
    pub slot: u32,
    /// Zero.
    pub pad: u32,
    /// The time of all that is here, in nanoseconds.
    pub ns: u64,
    /// Its crossings from the one numbered [`MAX_CROSSINGS`] on.
    pub crossings: LongPath,
}

/// The crossings of a path beyond those of [`crate::Path`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LongPath(pub [Crossing; TAIL_CROSSINGS]);

/// Of a journey that has more crossings than are kept, so many are the latest ones: they tell its end and its reader. The time of
/// the one before them is that since the last of the first ones.
pub const LATEST_KEPT: usize = 4;

/// How many of `count` crossings are kept.
#[inline(always)]
pub const fn kept_crossings(count: u32, has_tail: bool) -> usize {
    let room = if has_tail { MAX_CROSSINGS + TAIL_CROSSINGS } else { MAX_CROSSINGS };
    if count as usize > room { room } else { count as usize }
}

const _: () = assert!(
    MAX_CROSSINGS + TAIL_CROSSINGS <= crate::END_TO_END as usize,
    "a span has the number of the end-to-end time"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_way_depends_on_its_tail() {
        let kept = [47, 48, 49, 192, 193].map(|count| (kept_crossings(count, false), kept_crossings(count, true)));
        assert_eq!(kept, [(47, 47), (48, 48), (48, 49), (48, 192), (48, 192)]);
    }
}
