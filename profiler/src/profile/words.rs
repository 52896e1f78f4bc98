//! Numbers that follow from what things are called.

use std::ops::Range;

use netstrata_common::mix;

use super::PathRecord;

/// The number of a class of journeys.
pub(super) fn path_id(path: &PathRecord) -> u64 {
    let mut words = Words::of("path");
    for crossing in &path.crossings {
        let numbers = [crossing.netns, crossing.ifindex].map(u64::from);
        words = words.text(crossing.point.name()).number(numbers[0]).number(numbers[1]);
    }
    words = words.text(path.end.name()).maybe(path.reason.as_deref()).number(path.protocol.0.into());
    for (at, edge) in &path.edges {
        words = words.number((*at).into()).text(edge.name());
    }
    if path.crossings_left_out > 0 {
        words = words.text("left out").number(path.crossings_left_out.into());
    }
    if path.folded.is_some() {
        words = words.number(path.counted_elsewhere.into());
    }
    words.mixed()
}

/// A number that follows from words.
#[derive(Clone, Copy)]
pub(super) struct Words(u64);

impl Words {
    pub(super) fn of(what: &str) -> Self {
        Self(0).text(what)
    }

    /// With its length, so that no two rows of words give the same letters.
    pub(super) fn text(self, text: &str) -> Self {
        let letters = text.as_bytes().chunks(size_of::<u64>());
        let numbers =
            letters.map(|letters| letters.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        numbers.fold(self.number(text.len() as u64), Self::number)
    }

    pub(super) fn number(self, number: u64) -> Self {
        Self(mix(self.0, number))
    }

    pub(super) fn maybe(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    /// One step more spreads what the last word did.
    fn mixed(self) -> u64 {
        self.number(0).0
    }

    pub(super) fn within(self, range: &Range<u32>) -> u32 {
        range.start + (self.mixed() % u64::from(range.end - range.start)) as u32
    }
}
