//! What of a recording's work fell into the windows in which journeys were observed: the kernel counts its softirqs all the time.

use netstrata_common::Vector;

use super::Profile;

impl Profile {
    /// Receiving softirqs.
    pub fn receiving_softirqs(&self) -> u64 {
        let vectors = self.softirqs.vectors.iter().filter(|vector| vector.vector == Vector::NetRx);
        vectors.map(|vector| vector.total).sum()
    }

    /// Time with traffic and receiving softirqs of pieces of the observed time.
    pub fn looks(&self) -> Vec<(u64, u64)> {
        let of_batches: Vec<_> = self.batches.iter().map(|batch| batch.look).filter(|look| look.1 > 0).collect();
        if of_batches.is_empty() { self.sampling.looks.clone() } else { of_batches }
    }

    /// The part of the receiving softirqs that the windows saw (0 to 1); `None` if nothing was counted.
    pub fn softirqs_in_windows(&self) -> Option<f64> {
        let (seen, all): (u64, u64) = (self.looks().iter().map(|look| look.1).sum(), self.receiving_softirqs());
        (all > 0 && all >= seen).then(|| seen as f64 / all as f64)
    }
}
