//! Which paths count packets: a tunnel in user space shows the later part of a packet's way as a path of its own, too.

use std::collections::HashSet;

use netstrata_common::{Edge, Point, Protocol};

use super::{CrossingRecord, PathRecord, Profile};

/// So many crossings tell what a way is a part of.
const ALIKE: usize = 3;

/// Where ways go on after a program in user space sent a packet on: their first crossings.
struct Parts<'a>(HashSet<&'a [CrossingRecord]>);

impl<'a> Parts<'a> {
    fn of(paths: &'a [PathRecord]) -> Self {
        let mut begins = HashSet::new();
        for path in paths {
            for (at, _) in path.edges.iter().filter(|(_, edge)| *edge == Edge::Userspace) {
                let rest = &path.crossings[usize::from(*at).min(path.crossings.len())..];
                begins.extend((1..=rest.len().min(ALIKE)).map(|length| &rest[..length]));
            }
        }
        Self(begins)
    }

    /// Whether a path's packets are the later part of packets whose whole way is another path's: those of a tunnel in user
    /// space, where the choice of what is followed meets the datagram, and what is taken out of it, once more.
    fn has(&self, path: &PathRecord) -> bool {
        let begin = &path.crossings[..path.crossings.len().min(ALIKE)];
        let may_be = begin.first().is_some_and(|first| first.point != Point::Queue || path.protocol == Protocol::UDP);
        may_be && self.0.contains(begin)
    }
}

impl Profile {
    /// Paths that count packets: neither clones nor later parts of others.
    pub fn original_paths(&self) -> impl Iterator<Item = &PathRecord> {
        let parts = Parts::of(&self.paths);
        // Of those that were folded it was found out before: any of a kind is not the same one.
        let is_part = move |path: &PathRecord| path.counted_elsewhere || path.folded.is_none() && parts.has(path);
        self.paths.iter().filter(move |path| !path.is_clone() && !is_part(path))
    }

    /// Marks the paths whose packets count on another one, for as long as both are there.
    pub(super) fn mark_later_parts(&mut self) {
        let parts = Parts::of(&self.paths);
        let is_part = |path: &PathRecord| path.folded.is_none() && parts.has(path);
        let marks: Vec<bool> = self.paths.iter().map(|path| path.counted_elsewhere || is_part(path)).collect();
        self.paths.iter_mut().zip(marks).for_each(|(path, mark)| path.counted_elsewhere = mark);
    }
}

impl PathRecord {
    /// How the packet at a crossing came from the one before, if it is another skb.
    pub fn edge_at(&self, index: usize) -> Option<Edge> {
        self.edges.iter().find(|(at, _)| usize::from(*at) == index).map(|(_, edge)| *edge)
    }

    /// In how many fragments its packets travel after a crossing, in the mean: the journey is that of one of them.
    pub fn fragments_at(&self, index: usize) -> u64 {
        let is_meant =
            |(at, edge): &&(u16, Edge)| usize::from(*at) <= index && matches!(edge, Edge::Fragment | Edge::Reassemble);
        match self.edges.iter().rev().find(is_meant) {
            Some((_, Edge::Fragment)) if self.packets > 0 => (self.wire_packets / self.packets).max(1),
            _ => 1,
        }
    }

    /// Whether its packets are clones, whose originals count on another path.
    pub fn is_clone(&self) -> bool {
        self.edges.iter().any(|(_, edge)| *edge == Edge::Clone)
    }

    /// Whether its packets are the later part of packets whose whole way is another path's: those of a tunnel in user space.
    pub fn is_later_part_of(&self, other: &Self) -> bool {
        if self.counted_elsewhere || self.folded.is_some() {
            return self.counted_elsewhere;
        }
        other.edges.iter().any(|(_, edge)| *edge == Edge::Userspace) && Parts::of(std::slice::from_ref(other)).has(self)
    }

    /// The device on which its packets began that the stack queued, and how many that device was given of them.
    pub fn begun(&self) -> Option<((u32, u32), u64)> {
        let queued = self.crossings.iter().find(|crossing| crossing.ifindex != 0);
        let first = queued.filter(|crossing| crossing.point == Point::Queue)?;
        // A device counts what it is given: segments or fragments, if the stack cut the packet for it.
        let cut = self
            .edges
            .first()
            .is_some_and(|(at, edge)| *at <= 2 && *edge == Edge::Segment || *at <= 1 && *edge == Edge::Fragment);
        Some(((first.netns, first.ifindex), if cut { self.wire_packets } else { self.packets }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::CrossingRecord;

    fn path(points: &[(Point, u32)], edges: &[u16], protocol: Protocol) -> PathRecord {
        PathRecord {
            crossings: points.iter().map(|&(point, ifindex)| CrossingRecord { point, netns: 1, ifindex }).collect(),
            edges: edges.iter().map(|at| (*at, Edge::Userspace)).collect(),
            protocol,
            ..PathRecord::default()
        }
    }

    #[test]
    fn packets_travel_in_fragments_until_they_are_put_together() {
        let mut cut =
            path(&[(Point::Queue, 1), (Point::Xmit, 1), (Point::Receive, 2), (Point::Receive, 2)], &[], Protocol::UDP);
        cut.edges = vec![(0, Edge::Fragment), (3, Edge::Reassemble)];
        (cut.packets, cut.wire_packets) = (10, 60);
        assert_eq!([0, 1, 2, 3].map(|index| cut.fragments_at(index)), [6, 6, 6, 1]);
        assert_eq!(cut.begun(), Some(((1, 1), 60)));
    }

    #[test]
    fn later_parts_of_a_tunnelled_packet_count_no_packets() {
        use Point::{Copy, Queue, Ready, Receive, Rx, Tcp, Xmit};
        let way =
            [(Queue, 1), (Xmit, 1), (Copy, 1), (Queue, 2), (Xmit, 2), (Rx, 3), (Ready, 3), (Receive, 4), (Tcp, 4)];
        let whole = path(&way, &[3, 7], Protocol::TCP);
        let datagram = path(&way[3..7], &[], Protocol::UDP);
        let written = path(&way[7..], &[], Protocol::TCP);
        // Another program's TCP over the same device, and the first part of a packet that was read and went nowhere.
        let others = [
            path(&way[3..6], &[], Protocol::TCP),
            path(&way[..3], &[], Protocol::TCP),
            path(&[(Receive, 4), (Queue, 1)], &[], Protocol::TCP),
        ];
        assert!(datagram.is_later_part_of(&whole) && written.is_later_part_of(&whole));
        assert!(others.iter().all(|other| !other.is_later_part_of(&whole)));
        assert!(!whole.is_later_part_of(&whole));
        let paths = [vec![whole, datagram, written], others.to_vec()].concat();
        let profile = Profile { paths, ..Profile::default() };
        assert_eq!(profile.original_paths().count(), 4);
        let mut marked = profile.clone();
        marked.mark_later_parts();
        assert!(
            marked
                .original_paths()
                .map(|path| &path.crossings)
                .eq(profile.original_paths().map(|path| &path.crossings))
        );
        // The whole way is gone, and is still counted: its packets are on another path.
        marked.paths.remove(0);
        assert_eq!(marked.original_paths().count(), 3);
    }
}
