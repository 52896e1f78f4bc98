//! Numbers that follow from what things are called.

use std::ops::Range;

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
    if path.folded.is_some() {
        words = words.number(path.counted_elsewhere.into());
    }
    words.mixed()
}

/// A number that follows from words: FNV-1a, of which a last step spreads what the last letters did.
#[derive(Clone, Copy)]
pub(super) struct Words(u64);

impl Words {
    pub(super) fn of(what: &str) -> Self {
        Self(0xcbf2_9ce4_8422_2325).text(what)
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// With its length, so that no two rows of words give the same letters.
    pub(super) fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    pub(super) fn maybe(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    fn mixed(self) -> u64 {
        let hash = (self.0 ^ self.0 >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^ hash >> 32
    }

    pub(super) fn within(self, range: &Range<u32>) -> u32 {
        range.start + (self.mixed() % u64::from(range.end - range.start)) as u32
    }
}
