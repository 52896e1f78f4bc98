//! Batches: slices of the recording with sums of their own. How much a figure differs from one to the next tells how sure it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Batches beyond this are joined with their neighbours.
pub const MOST_BATCHES: usize = 64;

/// The sums of a slice of the recording. What was still on its way at the end is in none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct BatchRecord {
    /// When it ended, in nanoseconds since the recording began.
    pub end_ns: u64,
    /// Paths by [`super::PathRecord::id`].
    pub paths: BTreeMap<u64, BatchPath>,
}

/// The sums of a path in a batch; weighted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct BatchPath {
    /// Packets with an end-to-end time.
    pub packets: u64,
    /// Their end-to-end times, nanoseconds.
    pub sum_ns: u64,
    /// The same of each span.
    pub spans_ns: Vec<u64>,
}

impl BatchRecord {
    /// Adds the batch that comes after this one.
    pub fn join(&mut self, next: Self) {
        self.end_ns = next.end_ns;
        for (id, path) in next.paths {
            let sum = self.paths.entry(id).or_default();
            sum.packets += path.packets;
            sum.sum_ns += path.sum_ns;
            sum.spans_ns.resize(sum.spans_ns.len().max(path.spans_ns.len()), 0);
            sum.spans_ns.iter_mut().zip(&path.spans_ns).for_each(|(sum, ns)| *sum += ns);
        }
    }

    /// Enters a batch after others; where there are too many, each two neighbours become one.
    pub fn enter(batches: &mut Vec<Self>, next: Self) {
        batches.push(next);
        if batches.len() > MOST_BATCHES {
            let mut joined: Vec<Self> = Vec::with_capacity(MOST_BATCHES);
            for (index, batch) in std::mem::take(batches).into_iter().enumerate() {
                match joined.last_mut() {
                    Some(last) if index % 2 == 1 => last.join(batch),
                    _ => joined.push(batch),
                }
            }
            *batches = joined;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(end_ns: u64) -> BatchRecord {
        let path = BatchPath { packets: 2, sum_ns: 3 * end_ns, spans_ns: vec![end_ns, 2 * end_ns] };
        BatchRecord { end_ns, paths: BTreeMap::from([(7, path)]) }
    }

    #[test]
    fn neighbours_are_joined_and_nothing_is_lost() {
        let mut batches = Vec::new();
        (1..=1000).for_each(|end| BatchRecord::enter(&mut batches, batch(end)));
        assert!((MOST_BATCHES / 2..=MOST_BATCHES).contains(&batches.len()), "{}", batches.len());
        let all = batches.into_iter().reduce(|mut sum, next| {
            assert!(sum.end_ns < next.end_ns);
            sum.join(next);
            sum
        });
        let sum = 1000 * 1001 / 2;
        let path = BatchPath { packets: 2000, sum_ns: 3 * sum, spans_ns: vec![sum, 2 * sum] };
        assert_eq!(all, Some(BatchRecord { end_ns: 1000, paths: BTreeMap::from([(7, path)]) }));
    }
}
