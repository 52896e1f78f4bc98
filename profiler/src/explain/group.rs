//! Packets and answers of a transaction that are alike.

use netstrata_common::Points;

use crate::{analysis::PathAccount, profile::PathRecord};

/// What becomes of the packets of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// The application reads them.
    Read,
    /// A program of a tunnel reads them, or what carries them.
    Tunnelled,
    /// They leave this host.
    Left,
    /// The kernel itself takes them: they set a connection up, or end it.
    Kept,
}

/// Packets that are alike.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    /// Namespace of the sender.
    pub from: u32,
    /// Namespace of the reader.
    pub to: u32,
    pub fate: Fate,
    pub paths: Vec<&'a PathAccount>,
    /// Weighted.
    pub packets: u64,
    /// For each transaction.
    pub each: f64,
    /// How often their mean time is in one: pieces of a message travel beside each other.
    pub times: f64,
}

/// Turnarounds of a process.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answers {
    pub pid: u32,
    pub netns: u32,
    /// How often in a transaction.
    pub times: f64,
    /// Mean of one, and the part of it that few have which are far larger than most.
    pub mean: f64,
    pub rare: f64,
    /// The same where those are many, and in the mean.
    pub kept: f64,
    /// What the probes took of one.
    pub probes: f64,
}

/// How many spans of a path belong to a transaction: what comes after a packet has left is not waited for.
pub(super) fn spans_of(path: &PathRecord, fate: Fate) -> usize {
    let last = |points: Points| path.crossings.iter().rposition(|crossing| crossing.point.is_in(points));
    match fate {
        Fate::Read | Fate::Tunnelled => None,
        Fate::Left => last(Points::TRANSMITTED),
        Fate::Kept => last(Points::TO_READER),
    }
    .map_or(path.spans.len(), |at| at.min(path.spans.len()))
}
