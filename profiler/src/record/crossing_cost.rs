//! What a crossing adds to the journey that it lies in, measured where it lies: how long the calibration's datagrams take from
//! a device's transmit function to the softirq that receives them, with the crossing between the two (`netif_rx`) and without.
//!
//! A difference of whole batches, over the crossings of a datagram, is more than that: it holds what is done outside of
//! journeys, where a packet is chosen, turned away or has come to its end.

use anyhow::Result;
use netstrata_common::{Config, Journey, Point};

use super::{session::Session, times::Times, traffic::Traffic};
use crate::numbers::median;

/// One packet in some is followed, as in recordings: between two of them others have the caches. Where each was, a crossing took 70 ns,
/// so 80.
const EVERY: u32 = 64;
/// Batches of a kind in a round: a batch has few of them.
const TIMES: usize = 2;
/// The probe whose crossing is left out.
const BETWEEN: &str = "netif_rx";
/// One in the same stretch that sees the packet and leaves it alone.
const BESIDE: &str = "net_dev_xmit";

/// Batches with the crossing and without it: the median of their datagrams.
#[derive(Default)]
pub struct CrossingCost {
    /// With the crossing, and with the probe beside it.
    all: Times,
    with: Times,
    without: Times,
}

impl CrossingCost {
    /// Batches of both kinds; the probes of journeys are attached.
    pub fn add(&mut self, session: &mut Session, traffic: &Traffic, netns: u32) -> Result<()> {
        session.set_config(traffic.only_own(Config {
            sample_every: EVERY,
            accept: 1,
            ring_every: 1,
            ..Config::default()
        }))?;
        let crossed = [Point::Xmit, Point::Rx, Point::Receive];
        let times = |times: &mut Times, session: &mut Session, points: &[Point]| -> Result<()> {
            for _ in 0..TIMES {
                let batches = traffic.batches(|| stretch(session, netns, points))?;
                times.0.extend(batches.iter().filter_map(|batch| Some((batch.after?, batch.pace))));
            }
            Ok(())
        };
        times(&mut self.all, session, &crossed)?;
        let beside = session.detach_probe(BESIDE)?;
        times(&mut self.with, session, &crossed)?;
        if session.detach_probe(BETWEEN)? {
            times(&mut self.without, session, &[Point::Xmit, Point::Receive])?;
            session.attach_probe(BETWEEN)?;
        }
        if beside {
            session.attach_probe(BESIDE)?;
        }
        Ok(())
    }

    /// What it adds, by the fastest batches and by those in the middle, of such as were made at one pace; `None` where one kind
    /// was not seen.
    pub fn ns(&self) -> Option<[f64; 2]> {
        let by = |of| differ(&self.with, &self.without, of);
        Some([by(Times::fastest)?, by(Times::middle)?])
    }

    /// What a probe adds that sees a followed packet and leaves it alone; `None` where it was not seen.
    pub fn beside_ns(&self) -> Option<f64> {
        differ(&self.all, &self.with, Times::middle)
    }
}

/// By how much one kind took longer, of batches that were made at one pace.
fn differ(more: &Times, less: &Times, of: fn(&Times, f64) -> f64) -> Option<f64> {
    let pace = more.pace().max(less.pace());
    (pace < f64::MAX).then(|| (of(more, pace) - of(less, pace)).max(0.0))
}

/// Median time that datagrams took over points, of those whose journeys lie in the ring, which is emptied.
fn stretch(session: &mut Session, netns: u32, points: &[Point]) -> Result<Option<f64>> {
    let mut times = Vec::new();
    session.drain_journeys(|whole| times.extend(time_over(&whole.journey, netns, points)))?;
    Ok((!times.is_empty()).then(|| median(&times)))
}

/// Time that a journey in a namespace took over points that follow each other; `None` if they do not.
fn time_over(journey: &Journey, netns: u32, points: &[Point]) -> Option<f64> {
    let crossings = journey.crossings.get(..journey.count as usize)?;
    let alike = |part: &&[netstrata_common::Crossing]| {
        part.iter().zip(points).all(|(crossing, point)| crossing.point == *point as u8 && crossing.netns == netns)
    };
    let found = crossings.windows(points.len()).find(alike)?;
    Some(found[1..].iter().map(|crossing| crossing.delta_ns).sum::<u64>() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netstrata_common::Crossing;

    #[test]
    fn a_stretch_is_found_only_where_nothing_else_lies_in_it() {
        // SAFETY: made of integers only, for which all-zero is valid.
        let mut journey: Journey = unsafe { std::mem::zeroed() };
        let way = [(Point::Queue, 0), (Point::Xmit, 100), (Point::Rx, 200), (Point::Receive, 300)];
        for (crossing, (point, delta_ns)) in journey.crossings.iter_mut().zip(way) {
            *crossing = Crossing { point: point as u8, delta_ns, netns: 7, ..Crossing::default() };
        }
        journey.count = 4;
        let with = [Point::Xmit, Point::Rx, Point::Receive];
        assert_eq!(time_over(&journey, 7, &with), Some(500.0));
        assert_eq!(time_over(&journey, 8, &with), None, "another namespace");
        assert_eq!(time_over(&journey, 7, &[Point::Xmit, Point::Receive]), None);
        journey.count = 3;
        assert_eq!(time_over(&journey, 7, &with), None, "it has not come so far");
    }

    #[test]
    fn what_a_crossing_adds_is_told_only_where_both_kinds_were_seen() {
        let times = |values: &[f64]| Times(values.iter().map(|value| (*value, 100.0)).collect());
        let [with, without] = [&[500.0, 530.0, 560.0], &[350.0, 360.0, 400.0]].map(|values| times(values));
        let cost = CrossingCost { all: times(&[545.0, 550.0]), with, without };
        assert_eq!((cost.ns(), cost.beside_ns()), (Some([150.0, 170.0]), Some(17.5)));
        assert_eq!(CrossingCost { with: times(&[500.0]), ..CrossingCost::default() }.ns(), None);
    }
}
