//! Paths with their figures, as they are read from the programs' tables batch by batch.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use netstrata_common::{
    Config, Crossing, END_TO_END, Edge, End, Entered, Journey, LongPath, MAX_CROSSINGS, Node, NodeKey, Path, PathKey,
    Point, Protocol, Tail, kept_crossings,
};

use super::{
    maps::Batches,
    session::Session,
    whole::{WholeJourney, kept},
};
use crate::profile::{BatchCounts, BatchPath, CrossingRecord, Histogram, PathRecord, Peer, add_peers};

/// So many nodes are asked for one by one; a walk through their table, which has thousands of lists, takes as long as some hundred
/// of that.
const FEW_NODES: usize = 128;

/// What became of journeys that were still open, besides those that were entered; weighted.
#[derive(Default)]
pub struct Swept {
    /// Their packets were on their way.
    pub in_flight: u64,
    /// Two packets were mixed in their slot.
    pub mixed: u64,
}

/// Paths with their figures.
#[derive(Clone, Default)]
pub struct Tree {
    /// By hash.
    pub paths: BTreeMap<u64, PathRecord>,
    /// Names of the drop reasons.
    pub reasons: HashMap<u32, String>,
    /// The sums of the batches that were taken last.
    pub batches: BTreeMap<u32, BTreeMap<u64, BatchPath>>,
}

impl Tree {
    /// Takes batches out of the tables.
    pub fn take(&mut self, session: &mut Session, batches: Batches) -> Result<()> {
        let (mut nodes, mut long) = (Vec::new(), Vec::new());
        session.take(
            "PATHS",
            |key: &PathKey| batches.holds(key.batch),
            |key: PathKey, path: &Path| {
                if path.is_long != 0 {
                    long.push((key, *path));
                } else {
                    self.take_path(key, path, None, &mut nodes);
                }
            },
        )?;
        if !long.is_empty() {
            let mut beyond = HashMap::new();
            session.take(
                "LONG_PATHS",
                |key: &PathKey| batches.holds(key.batch),
                |key: PathKey, path: &LongPath| {
                    beyond.insert(key, *path);
                },
            )?;
            for (key, path) in long {
                self.take_path(key, &path, beyond.get(&key), &mut nodes);
            }
        }
        // Of paths that found no room the nodes are known to nobody; but then there are many.
        if matches!(batches, Batches::Before(_)) && nodes.len() <= FEW_NODES {
            return session.take_known("NODES", &nodes, |key, node| self.enter_node(key, node));
        }
        session.take("NODES", |key: &NodeKey| batches.holds(key.batch), |key, node| self.enter_node(key, node))
    }

    fn take_path(&mut self, key: PathKey, path: &Path, tail: Option<&LongPath>, nodes: &mut Vec<NodeKey>) {
        let spans = self.enter(key.path, path, tail).spans.len() as u32;
        self.batches.entry(key.batch).or_default().entry(key.path).or_default().counts.add(BatchCounts {
            packets: path.packets,
            bytes: path.bytes,
            cpu_hops: path.cpu_hops,
            skbs_at_end_micro: path.skbs_micro,
        });
        nodes.extend((1..=spans).chain([END_TO_END]).map(|index| NodeKey { path: key.path, index, batch: key.batch }));
    }

    /// Enters the figures of a span, or of the whole path.
    fn enter_node(&mut self, key: NodeKey, node: &Node) {
        let Some(record) = self.paths.get_mut(&key.path) else { return };
        let sums = self.batches.entry(key.batch).or_default().entry(key.path).or_default();
        if key.index == END_TO_END {
            record.end_to_end.merge(&histogram(node));
            (sums.packets, sums.sum_ns) = (sums.packets + node.count, sums.sum_ns + node.sum_ns);
            return;
        }
        let index = (key.index as usize).wrapping_sub(1);
        let Some(span) = record.spans.get_mut(index) else { return };
        let own = histogram(node);
        span.merge(&own);
        let far = own.far(span);
        if !far.is_nothing() {
            let sum = sums.far.entry(index as u32).or_default();
            *sum = sum.plus(far);
        }
        sums.spans_ns.resize(record.spans.len(), 0);
        sums.spans_ns[index] += node.sum_ns;
    }

    /// Enters the figures of a path; its record is made if it is new.
    fn enter(&mut self, id: u64, path: &Path, tail: Option<&LongPath>) -> &mut PathRecord {
        let reasons = &self.reasons;
        let record = self.paths.entry(id).or_insert_with(|| {
            let end = End::from_id(path.end).unwrap_or_default();
            let kept_in_all = kept_crossings(path.count, tail.is_some());
            let beyond = tail.map(|tail| &tail.0[..kept_in_all.saturating_sub(MAX_CROSSINGS)]).unwrap_or_default();
            let crossings: Vec<Crossing> = kept(&path.crossings, path.count).chain(beyond).copied().collect();
            PathRecord {
                id,
                crossings: crossings
                    .iter()
                    .map(|crossing| CrossingRecord {
                        point: Point::from_id(crossing.point).unwrap_or(Point::None),
                        netns: crossing.netns,
                        ifindex: crossing.ifindex,
                    })
                    .collect(),
                edges: crossings.iter().enumerate().filter_map(edge_of).collect(),
                crossings_left_out: path.count - kept_in_all as u32,
                end,
                reason: (end == End::Dropped).then(|| reason_name(reasons, path.reason)),
                protocol: Protocol(path.protocol),
                spans: vec![Histogram::default(); crossings.len().saturating_sub(1)],
                ..PathRecord::default()
            }
        });
        record.samples += path.samples;
        record.packets += path.packets;
        record.wire_packets += path.wire_packets;
        record.bytes += path.bytes;
        record.cpu_hops += path.cpu_hops;
        record.payload_bytes += path.payload;
        record.skbs_at_end_micro += path.skbs_micro;
        add_peers(&mut record.peers, path.peers.map(Peer::of));
        record
    }

    /// Ends the journeys that were still open, as the programs would have ended them: used up unseen, or (counted) on
    /// their way.
    pub fn sweep(&mut self, session: &Session, config: &Config) -> Result<Swept> {
        // Epoch 0 is the calibration's.
        let mut open: Vec<Journey> = session
            .array("JOURNEYS", |journey: &Journey| journey.skb != 0 && journey.count > 0 && journey.epoch > 0)?;
        let newest = open.iter().map(|journey| journey.last_ns).max().unwrap_or(0);
        let is_long = |journey: &Journey| journey.tail != 0;
        let tails: Vec<Tail> =
            if open.iter().any(is_long) { session.array("TAILS", |_: &Tail| true)? } else { Vec::new() };
        let mut swept = Swept::default();
        for journey in &mut open {
            let tail = tails.get(usize::from(journey.tail).wrapping_sub(1)).map(|tail| &tail.crossings);
            let weight = u64::from(journey.weight);
            if journey.may_be_on_its_way(newest) || journey.epoch != config.epoch {
                swept.in_flight += weight;
                continue;
            }
            (journey.end, journey.reason) = (journey.unseen_end() as u8, 0);
            let whole = WholeJourney::of(*journey, tail);
            match journey.entered(config.filters, whole.beyond.iter().map(|crossing| crossing.delta_ns).sum()) {
                Entered::Yes => {}
                Entered::NotWanted => continue,
                Entered::Mixed => {
                    swept.mixed += weight;
                    continue;
                }
            }
            let record = self.enter(journey.path_id(), &Path::of(journey), tail);
            record.end_to_end.add(journey.last_ns - journey.start_ns, weight);
            for (span, (before, crossing)) in
                record.spans.iter_mut().zip(whole.crossings().zip(whole.crossings().skip(1)))
            {
                span.add(crossing.delta_ns, weight);
                span.others += u64::from(crossing.others_since(before)) * weight;
            }
        }
        Ok(swept)
    }

    /// Busiest first; equal ones by id, so that the order never depends on a map's.
    pub fn into_records(self) -> Vec<PathRecord> {
        let mut paths: Vec<PathRecord> = self.paths.into_values().filter(|path| path.packets > 0).collect();
        paths.sort_by(|a, b| b.packets.cmp(&a.packets).then(a.id.cmp(&b.id)));
        paths
    }
}

/// The edge of lineage at a crossing, if it is not the same skb as before.
fn edge_of((index, crossing): (usize, &Crossing)) -> Option<(u16, Edge)> {
    let edge = Edge::from_id(crossing.edge).filter(|edge| *edge != Edge::Same)?;
    Some((index as u16, edge))
}

/// The name of a drop reason.
pub fn reason_name(reasons: &HashMap<u32, String>, reason: u32) -> String {
    match reasons.get(&reason) {
        Some(name) => name.clone(),
        None if reason == 0 => "NOT_SPECIFIED".into(),
        None => format!("reason {reason}"),
    }
}

/// A node as a histogram.
pub fn histogram(node: &Node) -> Histogram {
    Histogram::from_dense([node.samples, node.count, node.sum_ns, node.max_ns, node.others], &node.buckets)
}
