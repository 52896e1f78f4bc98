//! What was taken out of the programs' tables while the recording ran: so they fill with what is new since the last time, and
//! hold a recording of any length.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use anyhow::Result;
use netstrata_common::{DropKey, Node, SampleKey, Stack, TurnKey};

use super::{
    interner::Interner,
    maps::Batches,
    session::Session,
    tree::{Tree, histogram},
};
use crate::profile::{BatchHost, BatchRecord, BatchTurns, Histogram, SoftirqVector};

/// What is known of a batch but from the tables.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// Its number.
    pub batch: u32,
    /// See [`BatchRecord::end_ns`].
    pub end_ns: u64,
    /// See [`BatchRecord::samples_ns`].
    pub samples_ns: u64,
    /// See [`BatchRecord::windows`].
    pub windows: Vec<(u64, u64)>,
    /// See [`BatchRecord::look`].
    pub look: (u64, u64),
    /// See [`BatchRecord::softirqs`].
    pub softirqs: Vec<SoftirqVector>,
    /// See [`BatchRecord::host`]; without drops.
    pub host: BatchHost,
}

/// Sums of all batches that were taken.
#[derive(Default)]
pub struct Gathered {
    /// Paths and their spans.
    pub tree: Tree,
    /// The sums of each batch; samples by their place in `samples`, bursts with the others.
    pub batches: Vec<BatchRecord>,
    /// CPU samples; their stacks by a hash that knows no batch, 0 without one.
    pub samples: Interner<SampleKey>,
    /// The stacks, innermost first.
    pub stacks: HashMap<u64, Vec<u64>>,
    /// Ends of the batches whose samples have not been taken.
    ends: HashMap<u32, u64>,
    /// Those of the stacks that were taken last, by the programs' hash: a sample that was taken just then may name one.
    known: HashMap<u64, u64>,
    /// Time between reading and sending, by namespace and process.
    pub turns: BTreeMap<(u32, u32), Histogram>,
    /// Packets that were dropped, by place; these know no batch.
    pub drops: HashMap<DropKey, u64>,
}

impl Gathered {
    /// Nothing yet; with the names of the drop reasons.
    pub fn new(reasons: HashMap<u32, String>) -> Self {
        Self { tree: Tree { reasons, ..Tree::default() }, ..Self::default() }
    }

    /// Takes batches to which no program adds any more: their sums are those of slices of the recording.
    pub fn take(&mut self, session: &mut Session, batches: Batches, slices: Vec<Slice>) -> Result<()> {
        let mut turns: BTreeMap<u32, Vec<BatchTurns>> = BTreeMap::new();
        let mut drops: BTreeMap<u32, u64> = BTreeMap::new();
        // Without a window nothing was added.
        if slices.iter().any(|slice| !slice.windows.is_empty()) || matches!(batches, Batches::All) {
            self.tree.take(session, batches)?;
            session.take(
                "TURNS",
                |key: &TurnKey| batches.holds(key.batch),
                |key: TurnKey, node: &Node| {
                    let TurnKey { netns, pid, batch } = key;
                    let (all, own) = (self.turns.entry((netns, pid)).or_default(), histogram(node));
                    all.merge(&own);
                    let far = own.far(all);
                    let own = BatchTurns { netns, pid, count: own.count, sum_ns: own.sum, far };
                    turns.entry(batch).or_default().push(own);
                },
            )?;
            session.take(
                "DROPS",
                |key: &DropKey| batches.holds(key.batch),
                |key: DropKey, count: &u64| {
                    *drops.entry(key.batch).or_default() += count;
                    *self.drops.entry(DropKey { batch: 0, ..key }).or_default() += count;
                },
            )?;
        }
        for slice in slices {
            let Slice { batch, end_ns, samples_ns, windows, look, softirqs, host } = slice;
            self.ends.insert(batch, end_ns);
            let mut turnarounds = turns.remove(&batch).unwrap_or_default();
            turnarounds.sort_by_key(|turns| (turns.netns, turns.pid));
            let paths = self.tree.batches.remove(&batch).unwrap_or_default();
            let record = BatchRecord {
                end_ns,
                samples_ns,
                windows,
                look,
                softirqs,
                host: BatchHost { drops: drops.remove(&batch).unwrap_or(0), ..host },
                paths,
                turnarounds,
                ..BatchRecord::default()
            };
            BatchRecord::enter(&mut self.batches, record);
        }
        // What was added late to one that was taken before is in the whole alone.
        self.tree.batches.clear();
        Ok(())
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
            let number = |known: &HashMap<u64, u64>| known.get(&key.stack).copied();
            let stack = match key.stack {
                0 => 0,
                hash => number(&known).or_else(|| number(&self.known)).unwrap_or(hash),
            };
            let index = self.samples.index(SampleKey { stack, batch: 0, ..key });
            let end = self.ends.get(&key.batch).copied().unwrap_or(u64::MAX);
            // Batches may have been joined since; what was taken while the last one was ended is in it.
            let at = self.batches.partition_point(|batch| batch.end_ns < end);
            let at = at.min(self.batches.len().saturating_sub(1));
            if let Some(batch) = self.batches.get_mut(at) {
                *batch.samples.entry(index).or_default() += count;
            }
        }
        self.ends.clear();
        self.known = known;
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
