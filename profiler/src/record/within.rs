//! How much of a span its packet's crossing took in a recording: from what was measured before it, and from the recording's own
//! spans, none of which is shorter than a part of it.

use std::collections::BTreeMap;

use netstrata_common::Point;

use super::calibrate::Calibration;
use crate::profile::{CrossingRecord, Histogram, PathRecord};

/// Spans in which one CPU does little but hand a packet on: the shortest that there are.
const SHORT: [(Point, Point); 2] = [(Point::Queue, Point::Xmit), (Point::Xmit, Point::Rx)];
/// The share of the spans of a kind that may be shorter than what a crossing takes: a clock went back, or they were of other
/// work.
const ODD: f64 = 0.05;
/// Fewer spans of a kind do not tell what the shortest take.
const FEW: u64 = 100;

/// What a crossing took of its span, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Within {
    /// At least.
    pub low: f64,
    /// Most likely.
    pub ns: f64,
    /// At most.
    pub high: f64,
}

impl Within {
    /// In a recording in which programs took `pace` times as long as when costs were measured. Whether what is not known to
    /// have grown did, too (the machine was slower), or nothing did, is the interval.
    pub fn new(costs: &Calibration, pace: f64, bound: Option<f64>) -> Self {
        let ns = grown(costs.ns_in_span_per_crossing, costs, pace);
        let [low, high] = costs.ns_in_span_interval;
        let bound = bound.unwrap_or(f64::MAX);
        Self {
            low: (low * pace.min(1.0)).min(ns).min(bound),
            ns: ns.min(bound),
            high: (high * pace.max(1.0)).max(ns).min(bound),
        }
    }
}

/// A cost in a recording in which programs took `pace` times as long. What is known to have grown is the work on followed
/// packets, which are few: it is seldom in the CPU's caches. The dispatch and the first look of the programs are the same for
/// every packet and stay there.
pub fn grown(ns: f64, costs: &Calibration, pace: f64) -> f64 {
    let of_all = costs.ns_per_crossing.min(ns);
    of_all + (ns - of_all) * pace
}

/// What no crossing took more than: the time of the shortest spans of a recording, each of which holds one. `None` where there
/// are too few to tell.
pub fn bound<'a>(paths: impl Iterator<Item = &'a PathRecord>) -> Option<f64> {
    let mut kinds: BTreeMap<[CrossingRecord; 2], Histogram> = BTreeMap::new();
    for path in paths {
        for (index, (ends, span)) in path.crossings.windows(2).zip(&path.spans).enumerate() {
            let goes_on = path.edges.iter().all(|(at, _)| usize::from(*at) != index + 1);
            if goes_on && SHORT.contains(&(ends[0].point, ends[1].point)) {
                kinds.entry([ends[0], ends[1]]).or_default().merge(span);
            }
        }
    }
    // A mean is no smaller than a part of it, however odd the shortest were.
    let most = |kind: &Histogram| (kind.at_least(ODD) as f64).min(kind.mean());
    kinds.values().filter(|kind| kind.samples >= FEW).map(most).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netstrata_common::Edge;
    use proptest::prelude::*;

    fn path(points: &[Point], spans: &[&[u64]]) -> PathRecord {
        let crossings = points.iter().map(|point| CrossingRecord { point: *point, netns: 1, ifindex: 2 }).collect();
        let spans = spans.iter().map(|values| {
            let mut histogram = Histogram::default();
            (0..FEW).for_each(|at| histogram.add(values[at as usize % values.len()], 8));
            histogram
        });
        PathRecord { crossings, spans: spans.collect(), ..PathRecord::default() }
    }

    #[test]
    fn the_shortest_spans_of_a_recording_bound_what_a_crossing_takes() {
        let way = [Point::Queue, Point::Xmit, Point::Rx, Point::Receive];
        let of = |paths: &[PathRecord]| bound(paths.iter());
        let mut recorded = path(&way, &[&[400, 480], &[300, 310, 420], &[10]]);
        // Within the width of a bucket, and never above.
        assert_eq!(of(std::slice::from_ref(&recorded)), Some(288.0));
        assert_eq!(of(&[]), None);
        // Another skb: what went before is not known.
        recorded.edges = vec![(2, Edge::Clone)];
        assert_eq!(of(std::slice::from_ref(&recorded)), Some(384.0));
        let mut few = path(&way[..2], &[&[100]]);
        few.spans[0].samples = FEW - 1;
        assert_eq!(of(&[few]), None);
    }

    #[test]
    fn what_every_packet_meets_does_not_grow_with_what_few_meet() {
        let costs = Calibration {
            ns_per_crossing: 60.0,
            ns_in_span_per_crossing: 140.0,
            ns_in_span_interval: [130.0, 150.0],
            ..Calibration::default()
        };
        assert_eq!(Within::new(&costs, 1.5, None), Within { low: 130.0, ns: 180.0, high: 225.0 });
        assert_eq!(Within::new(&costs, 1.5, Some(160.0)), Within { low: 130.0, ns: 160.0, high: 160.0 });
        assert_eq!(Within::new(&costs, 1.0, None), Within { low: 130.0, ns: 140.0, high: 150.0 });
    }

    proptest! {
        #[test]
        fn a_crossing_takes_no_more_than_the_spans_that_hold_it(
            every in 0f64..500.0, measured in 0f64..500.0, spread in 0f64..100.0, pace in 0.1f64..5.0,
            spans in proptest::collection::vec(1u64..2000, 1..40),
        ) {
            let costs = Calibration {
                ns_per_crossing: every,
                ns_in_span_per_crossing: measured,
                ns_in_span_interval: [(measured - spread).max(0.0), measured + spread],
                ..Calibration::default()
            };
            let path = path(&[Point::Queue, Point::Xmit], &[&spans]);
            let within = Within::new(&costs, pace, bound(std::iter::once(&path)));
            prop_assert!(0.0 <= within.low && within.low <= within.ns && within.ns <= within.high, "{within:?}");
            prop_assert!(within.high <= path.spans[0].mean());
        }
    }
}
