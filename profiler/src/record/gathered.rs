//! What was taken out of the programs' tables while the recording ran: so they fill with what is new since the last time, and
//! hold a recording of any length.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use anyhow::Result;
use netstrata_common::{Node, SampleKey, Stack, TurnKey};

use super::{
    maps::Batches,
    session::Session,
    tree::{Tree, histogram},
};
use crate::profile::{BatchRecord, Histogram};

/// Sums of all batches that were taken.
#[derive(Default)]
pub struct Gathered {
    /// Paths and their spans.
    pub tree: Tree,
    /// The sums of each batch.
    pub batches: Vec<BatchRecord>,
    /// CPU samples; their stacks by a hash that knows no batch, 0 without one.
    pub samples: HashMap<SampleKey, u64>,
    /// The stacks, innermost first.
    pub stacks: HashMap<u64, Vec<u64>>,
    /// Time between reading and sending, by namespace and process.
    pub turns: BTreeMap<(u32, u32), Histogram>,
}

impl Gathered {
    /// Takes batches to which no program adds any more, so long after the recording began.
    pub fn take(&mut self, session: &mut Session, batches: Batches, since: Duration) -> Result<()> {
        self.tree.take(session, batches)?;
        let sums = std::mem::take(&mut self.tree.batch);
        if !sums.paths.is_empty() {
            BatchRecord::enter(&mut self.batches, BatchRecord { end_ns: since.as_nanos() as u64, ..sums });
        }
        session.take(
            "TURNS",
            |key: &TurnKey| batches.holds(key.batch),
            |key: TurnKey, node: &Node| {
                self.turns.entry((key.netns, key.pid)).or_default().merge(&histogram(node));
            },
        )
    }

    /// A stack is told by its frames and its batch, so none is needed any more when its batch's samples were taken.
    pub fn take_samples(&mut self, session: &mut Session, batches: Batches) -> Result<()> {
        let mut samples = Vec::new();
        session.take(
            "SAMPLES",
            |key: &SampleKey| batches.holds(key.batch),
            |key: SampleKey, count: &u64| {
                samples.push((key, *count));
            },
        )?;
        let wanted: HashSet<u64> = samples.iter().map(|(key, _)| key.stack).filter(|stack| *stack != 0).collect();
        let mut known = HashMap::new();
        session.take(
            "STACKS",
            |hash: &u64| wanted.contains(hash),
            |hash: u64, stack: &Stack| {
                let frames: Vec<u64> = stack.frames.iter().copied().take_while(|address| *address != 0).collect();
                known.insert(hash, self.stack(frames));
            },
        )?;
        for (key, count) in samples {
            let stack = if key.stack == 0 { 0 } else { known.get(&key.stack).copied().unwrap_or(key.stack) };
            *self.samples.entry(SampleKey { stack, batch: 0, ..key }).or_default() += count;
        }
        Ok(())
    }

    /// The number of a stack, the same in every batch.
    fn stack(&mut self, frames: Vec<u64>) -> u64 {
        let mut hasher = DefaultHasher::new();
        frames.hash(&mut hasher);
        let hash = hasher.finish().max(1);
        self.stacks.entry(hash).or_insert(frames);
        hash
    }
}
