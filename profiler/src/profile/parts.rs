//! Which paths count packets: a tunnel in user space shows the later part of a packet's way as a path of its own, too.

use netstrata_common::{Edge, Point, Protocol};

use super::{PathRecord, Profile};

impl Profile {
    /// Paths that count packets: neither clones nor later parts of others.
    pub fn original_paths(&self) -> impl Iterator<Item = &PathRecord> {
        let is_part = |path: &PathRecord| self.paths.iter().any(|other| path.is_later_part_of(other));
        self.paths.iter().filter(move |path| !path.is_clone() && !is_part(path))
    }
}

impl PathRecord {
    /// Whether its packets are the later part of packets whose whole way is another path's: those of a tunnel in user
    /// space, where the choice of what is followed meets the datagram, and what is taken out of it, once more.
    pub fn is_later_part_of(&self, other: &Self) -> bool {
        const ALIKE: usize = 3;
        let begin = &self.crossings[..self.crossings.len().min(ALIKE)];
        let sent_on = other.edges.iter().filter(|(_, edge)| *edge == Edge::Userspace);
        sent_on.into_iter().any(|(at, _)| {
            let rest = &other.crossings[usize::from(*at).min(other.crossings.len())..];
            rest.starts_with(begin)
                && rest.first().is_some_and(|first| first.point != Point::Queue || self.protocol == Protocol::UDP)
        })
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
    }
}
