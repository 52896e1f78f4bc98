//! Journeys with what their tails hold.

use netstrata_common::{Crossing, Journey, LongPath, MAX_CROSSINGS, kept_crossings};

/// A journey with its tail.
#[derive(Clone, Debug)]
pub struct WholeJourney {
    /// What its slot held.
    pub journey: Journey,
    /// Its crossings beyond that.
    pub beyond: Vec<Crossing>,
}

impl WholeJourney {
    /// `tail` is what its tail held.
    pub fn of(journey: Journey, tail: Option<&LongPath>) -> Self {
        let count = kept_crossings(journey.count, tail.is_some()).saturating_sub(MAX_CROSSINGS);
        let beyond = tail.map(|tail| tail.0[..count].to_vec()).unwrap_or_default();
        Self { journey, beyond }
    }

    /// Its crossings, as far as they are kept.
    pub fn crossings(&self) -> impl Iterator<Item = &Crossing> {
        kept(&self.journey.crossings, self.journey.count).chain(&self.beyond)
    }
}

/// Those of a slot or a path that there are.
pub fn kept(crossings: &[Crossing; MAX_CROSSINGS], count: u32) -> std::slice::Iter<'_, Crossing> {
    crossings[..(count as usize).min(MAX_CROSSINGS)].iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many there are, of those numbered from 1 on.
    fn numbers(mut journey: Journey, count: u32, tail: Option<&LongPath>) -> usize {
        journey.count = count;
        let whole = WholeJourney::of(journey, tail);
        let numbers: Vec<u64> = whole.crossings().map(|crossing| crossing.delta_ns).collect();
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
        numbers.len()
    }

    #[test]
    fn a_journey_has_the_crossings_of_its_slot_and_those_of_its_tail() {
        // SAFETY: made of integers only, for which all-zero is valid.
        let (mut journey, mut tail): (Journey, LongPath) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        for (crossing, number) in journey.crossings.iter_mut().chain(&mut tail.0).zip(1..) {
            crossing.delta_ns = number;
        }
        for (count, with, without) in [(3, 3, 3), (48, 48, 48), (50, 50, 48), (192, 192, 48), (300, 192, 48)] {
            assert_eq!(
                (numbers(journey, count, Some(&tail)), numbers(journey, count, None)),
                (with, without),
                "{count}"
            );
        }
    }
}
