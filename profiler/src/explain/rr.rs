//! Request/response: the time of one transaction, by layer.
//!
//! T = Σ times of a leg × mean end-to-end of its packets + Σ times of an answer × mean turnaround of its process.

use std::collections::BTreeSet;

use netstrata_common::Layer;

use super::{
    Side, pairs,
    transaction::{self, Times},
    waterfall::{Part, Row, RowKind, Slot, Waterfall, whole},
    windows,
};
use crate::{analysis::Account, failure::Failure, profile::Profile};

/// It is said if rare delays are more than this part of a transaction.
const LEAST_RARE: f64 = 0.02;
/// Name of the remainder where the application and the UDP send call have no probe.
const NOT_SEEN: &str = "userspace and udp send (not seen)";
/// The same where journeys end at the announcement to the reader.
const NOT_SEEN_EITHER: &str = "userspace, wakeup, udp calls (not seen)";

/// The waterfall of one transaction; fills in what the layers predict.
pub(super) fn waterfall(
    profiles: [&Profile; 2],
    accounts: [&Account; 2],
    sides: &mut [Side; 2],
    notes: &mut Vec<String>,
) -> Result<Waterfall, Failure> {
    let of = |index: usize, label: &str| {
        transaction::times(profiles[index], accounts[index], label)
            .ok_or_else(|| Failure::Untrusted(format!("{label} holds no packet that reached a reader")))
    };
    let mut works = [of(0, &sides[0].label)?, of(1, &sides[1].label)?];
    let turns = works.iter().all(|work| work.turns);
    if !turns {
        works.iter_mut().for_each(Times::forget_turns);
        notes.push(
            "the application's own time was not seen: it is in the remainder, and no rate is predicted from the spans \
             alone"
                .into(),
        );
    }
    let far = [0, 1].map(|index| sides[index].benchmark.as_ref().and_then(|benchmark| benchmark.round_trip_far_ns));
    if let [Some(first), Some(second)] = far {
        works[0].put_delays(first);
        works[1].put_delays(second);
    }
    let mut totals = [0, 0];
    for (index, work) in works.iter_mut().enumerate() {
        totals[index] = one_side((profiles[index], accounts[index].cpu.idle), &mut sides[index], work, turns, notes);
    }
    let slots: BTreeSet<Slot> = works.iter().flat_map(|work| work.parts.keys()).copied().collect();
    let part = |index: usize, slot: &Slot| works[index].parts.get(slot).copied().unwrap_or_default();
    let rows = slots.iter().map(|slot| Row { slot: *slot, baseline: part(0, slot), target: part(1, slot) }).collect();
    let announced = works.each_ref().map(|work| work.announced);
    if announced[0] != announced[1] {
        notes.push("only one of the two has the reader's wake-up in its spans: their waits do not compare".into());
    }
    let name = match (turns, announced.contains(&true)) {
        (true, _) => "remainder",
        (false, false) => NOT_SEEN,
        (false, true) => NOT_SEEN_EITHER,
    };
    let mut waterfall = Waterfall::new(totals[0], totals[1], rows, name);
    waterfall.beyond = beyond(&works);
    if sides[0].measured.is_some() {
        // What is beyond a device is made of the measurement: it predicts nothing.
        let seen = waterfall.rows.iter().filter(|row| row.slot != Slot::Beyond);
        let ns = totals[0] + seen.map(Row::delta).sum::<i64>();
        let pairs = pairs(sides[1].benchmark.as_ref());
        sides[1].predicted_from_baseline = (ns > 0).then(|| pairs * 1e9 / ns as f64);
    }
    for (side, work) in sides.iter_mut().zip(works) {
        side.transaction = Some(work.of);
    }
    Ok(waterfall)
}

/// Tells what a side's times predict. Returns its total.
fn one_side(
    (profile, idle_samples): (&Profile, u64),
    side: &mut Side,
    work: &mut Times,
    turns: bool,
    notes: &mut Vec<String>,
) -> i64 {
    let pairs = pairs(side.benchmark.as_ref());
    side.recorded = side.measured.and_then(|rate| windows::rate(profile, rate));
    let all_seen = turns && work.of.beyond.is_none();
    let rate = |ns: i64| (all_seen && ns > 0).then(|| pairs * 1e9 / ns as f64);
    side.predicted = rate(work.total(|part| part.value));
    side.predicted_raw = rate(work.total(|part| part.raw));
    if let Some(ns) =
        side.benchmark.as_ref().and_then(|benchmark| windows::observer_ns(profile, idle_samples, benchmark))
    {
        work.parts.insert(Slot::Layer(Layer::Observer, RowKind::Service), Part::plain(whole(ns)));
    }
    let measured = side.measured.map(|rate| whole(pairs * 1e9 / rate));
    work.put_beyond(measured);
    let total = measured.unwrap_or_else(|| work.total(|part| part.value));
    notes.append(&mut work.notes);
    if let Some((device, ns)) = &work.of.beyond {
        notes.push(match ns {
            Some(_) => format!(
                "{}: packets leave this host at {device}: \"beyond\" is what was measured without what was seen here, the wire \
                 and the other host and whatever was missed",
                side.label
            ),
            None => format!("{}: packets leave this host at {device}: what is beyond is in no row", side.label),
        });
    }
    if !work.parts.contains_key(&Slot::Delays) && work.rare_ns > LEAST_RARE * total as f64 {
        notes.push(format!(
            "{}: {:.0} ns of a transaction are left out, which a few packets add that took far longer than the rest: \
             too few to tell how often such ones are",
            side.label, work.rare_ns
        ));
    }
    total
}

/// The devices beyond which a part of the work is, of both.
fn beyond(works: &[Times; 2]) -> String {
    let mut names: Vec<&str> =
        works.iter().filter_map(|work| work.of.beyond.as_ref()).map(|(device, _)| device.as_str()).collect();
    names.dedup();
    names.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{explain, testdata::*};
    use netstrata_common::{End, Point, Protocol, Vector};
    use proptest::prelude::*;

    fn row(found: &Waterfall, name: &str) -> (i64, i64) {
        let rows = found.rows.iter().filter(|row| row.slot.name() == name);
        rows.fold((0, 0), |sum, row| (sum.0 + row.baseline.value, sum.1 + row.target.value))
    }

    #[test]
    fn a_transaction_is_two_packets_and_two_turnarounds() {
        // Each packet: 1000 ns tcp + 500 ns backlog for each device; 2000 ns turnaround.
        let found = explain(&rr(1, 1e9 / 7000.0), &rr(2, 1e9 / 8200.0), &labels()).expect("the test has it");
        assert_eq!((found.waterfall.baseline, found.waterfall.target), (7000, 8200));
        assert_eq!(row(&found.waterfall, "backlog"), (1000, 2000));
        assert_eq!(row(&found.waterfall, "userspace"), (4000, 4000));
        assert_eq!(found.waterfall.remainder.delta(), 200);
        assert!((found.explained_share.expect("the test has it") - (1.0 - 200.0 / 1200.0)).abs() < 1e-9);
        assert!((found.baseline.predicted.expect("the test has it") - 1e9 / 7000.0).abs() < 1e-6);
        assert!((found.target.predicted.expect("the test has it") - 1e9 / 8000.0).abs() < 1e-6);
        assert!((found.target.predicted_from_baseline.expect("the test has it") - 1e9 / 8000.0).abs() < 1e-6);
    }

    #[test]
    fn several_pairs_run_beside_each_other() {
        let (mut first, mut second) = (rr(1, 4e9 / 7000.0), rr(2, 4e9 / 8000.0));
        for profile in [&mut first, &mut second] {
            profile.meta.benchmark.as_mut().expect("the test has it").pairs = Some(4);
        }
        let found = explain(&first, &second, &labels()).expect("the test has it");
        assert_eq!((found.waterfall.baseline, found.waterfall.target), (7000, 8000));
        assert!((found.target.predicted.expect("the test has it") - 4e9 / 8000.0).abs() < 1e-6);
    }

    #[test]
    fn what_was_not_seen_is_never_explained() {
        let (mut first, mut second) = (rr(1, 1e9 / 9000.0), rr(1, 1e9 / 12_000.0));
        first.turnarounds.clear();
        second.turnarounds.clear();
        let found = explain(&first, &second, &labels()).expect("the test has it");
        assert_eq!(found.waterfall.remainder.name, NOT_SEEN);
        assert_eq!((found.waterfall.remainder.baseline, found.waterfall.remainder.target), (6000, 9000));
        assert_eq!(found.explained_share, Some(0.0));
        assert_eq!((found.target.predicted, found.baseline.predicted), (None, None));
        assert!((found.target.predicted_from_baseline.expect("the test has it") - 1e9 / 9000.0).abs() < 1e-6);
    }

    #[test]
    fn windows_that_were_slower_than_the_run_are_told_and_stretch_no_row() {
        let (first, mut second) = (rr(1, 1e9 / 7000.0), rr(2, 1e9 / 8000.0));
        let benchmark = second.meta.benchmark.as_mut().expect("the test has it");
        benchmark.duration_s = Some(1.0);
        let vector = |total| crate::profile::SoftirqVector { vector: Vector::NetRx, total, ..Default::default() };
        second.softirqs.vectors = vec![vector(125_000)];
        second.sampling.looks = vec![(160_000_000, 10_000)];
        let found = explain(&first, &second, &labels()).expect("the test has it");
        assert_eq!(row(&found.waterfall, "backlog"), (1000, 2000));
        assert!((found.target.recorded.expect("the test has it") - 62_500.0).abs() < 1e-6);
        assert_eq!(found.baseline.recorded, None);
    }

    #[test]
    fn rare_delays_are_a_row_by_what_the_benchmark_itself_measured_of_them() {
        let profile = |devices, far: f64| {
            let mut profile = rr(devices, 1e9 / (6000.0 + 1000.0 * f64::from(devices) + far));
            profile.meta.benchmark.as_mut().expect("the test has it").round_trip_far_ns = Some(far);
            profile
        };
        let (first, mut second) = (profile(1, 100.0), profile(2, 900.0));
        let found = explain(&first, &second, &labels()).expect("the test has it");
        assert_eq!((row(&found.waterfall, "rare delays"), found.waterfall.remainder.delta()), ((100, 900), 0));
        assert_eq!(found.explained_share, Some(1.0));
        // Delays that were met often are in the rows already.
        let path = &mut second.paths[0];
        (0..60).for_each(|_| path.spans[2].add(50_000, 1));
        let found = explain(&first, &second, &labels()).expect("the test has it");
        assert_eq!(row(&found.waterfall, "rare delays"), (100, 0));
        // Without the figure of both sides there is no such row.
        second.meta.benchmark.as_mut().expect("the test has it").round_trip_far_ns = None;
        let found = explain(&first, &second, &labels()).expect("the test has it");
        assert!(found.waterfall.rows.iter().all(|row| row.slot != Slot::Delays));
    }

    #[test]
    fn a_turnaround_bears_the_probes_at_its_ends_and_those_of_others() {
        let mut second = rr(2, 1e9 / 8000.0);
        second.observer.ns_per_crossing = 30.0;
        second.turnarounds[0].ns.others = 2 * second.turnarounds[0].ns.count;
        let found = explain(&rr(1, 1e9 / 7000.0), &second, &labels()).expect("the test has it");
        assert_eq!(row(&found.waterfall, "userspace"), (4000, 4000 - 3 * 30 - 30));
        let raw = found.waterfall.rows.iter().find(|row| row.slot == Slot::Turnaround).expect("the test has it");
        assert_eq!(raw.target.raw, 4000);
    }

    #[test]
    fn a_packet_that_lay_long_moves_no_row_and_is_noted() {
        let (first, mut second) = (rr(1, 1e9 / 7000.0), rr(2, 1e9 / 8000.0));
        let path = &mut second.paths[0];
        path.spans[2].add(1_000_000, 1);
        path.spans[2].count -= 1;
        path.end_to_end.sum += 1_000_000;
        let found = explain(&first, &second, &labels()).expect("the test has it");
        let backlog = row(&found.waterfall, "backlog").1;
        assert!((2000..2400).contains(&backlog), "{backlog}");
        assert!(found.notes.iter().any(|note| note.contains("left out")), "{:?}", found.notes);
    }

    #[test]
    fn small_differences_are_not_split() {
        let found = explain(&rr(1, 20_000.0), &rr(2, 19_900.0), &labels()).expect("the test has it");
        assert!(found.no_difference);
        assert_eq!(found.explained_share, None);
    }

    #[test]
    fn a_relays_packets_and_answers_are_in_the_transaction_as_often_as_they_occur() {
        let direct = rr(1, 1e9 / 7000.0);
        // 1500 there and back, 300 for each of two packets on loopback; 2000, 4000 and two answers of 3000.
        let relayed = relayed(1e9 / 15_700.0);
        let found = explain(&direct, &relayed, &labels()).expect("the test has it");
        let of = found.target.transaction.as_ref().expect("the test has it");
        assert_eq!(of.packets, 4.0);
        let legs: Vec<_> =
            of.legs.iter().map(|leg| (leg.from.as_str(), leg.to.as_str(), leg.times, leg.ns.value)).collect();
        let wanted =
            [("netns:1", "netns:2", 1.0, 1500), ("netns:2", "netns:1", 1.0, 1500), ("netns:2", "netns:2", 2.0, 600)];
        assert_eq!(legs, wanted);
        let turns: Vec<_> = of.turns.iter().map(|turn| (turn.pid, turn.times, turn.ns.value)).collect();
        assert_eq!(turns, [(10, 1.0, 2000), (20, 1.0, 4000), (30, 2.0, 6000)]);
        assert_eq!(row(&found.waterfall, "userspace"), (4000, 12_000));
        assert_eq!(row(&found.waterfall, "tcp"), (2000, 2400));
        assert_eq!(found.waterfall.remainder.delta(), 100);
        assert!((found.explained_share.expect("the test has it") - (1.0 - 100.0 / 8700.0)).abs() < 1e-9);
        assert!((found.target.predicted.expect("the test has it") - 1e9 / 15_600.0).abs() < 1e-6);
    }

    #[test]
    fn across_a_wire_what_is_not_seen_is_one_row_and_predicts_nothing() {
        // 2500 ns are seen: 1000 out, 500 in, an answer of 1000.
        let one_sided = |total: f64, wait: u64| one_side_of_a_wire(1e9 / total, wait);
        let found = explain(&one_sided(50_000.0, 500), &one_sided(60_000.0, 4500), &labels()).expect("the test has it");
        assert_eq!((found.waterfall.baseline, found.waterfall.target), (50_000, 60_000));
        assert_eq!(row(&found.waterfall, "beyond"), (47_500, 53_500));
        assert_eq!(row(&found.waterfall, "userspace"), (1000, 1000));
        assert_eq!((row(&found.waterfall, "tcp"), row(&found.waterfall, "gro")), ((1000, 1000), (500, 4500)));
        assert_eq!(found.waterfall.remainder.delta(), 0);
        assert!((found.explained_share.expect("the test has it") - 0.4).abs() < 1e-9);
        assert_eq!((found.baseline.predicted, found.target.predicted), (None, None));
        // The layers of this host alone.
        let predicted = found.target.predicted_from_baseline.expect("the test has it");
        assert!((predicted - 1e9 / 54_000.0).abs() < 1e-6, "{predicted}");
        let row = found.waterfall.rows.iter().find(|row| row.slot == Slot::Beyond).expect("the test has it");
        assert_eq!(found.waterfall.name(row), "beyond eth0");
        let of = found.target.transaction.expect("the test has it");
        assert_eq!((of.packets, of.beyond), (1.0, Some(("eth0".into(), Some(53_500)))));
    }

    #[test]
    fn what_is_beyond_is_never_less_than_nothing() {
        let found = explain(&one_side_of_a_wire(1e9 / 2000.0, 500), &one_side_of_a_wire(1e9 / 4000.0, 500), &labels());
        let found = found.expect("the test has it");
        assert_eq!(row(&found.waterfall, "beyond"), (0, 1500));
        assert_eq!((found.waterfall.remainder.baseline, found.waterfall.remainder.target), (-500, 0));
        assert!(found.waterfall.is_closed());
    }

    #[test]
    fn errors_of_opposite_sign_are_not_an_explanation() {
        let (first, mut second) = (rr(1, 1e9 / 7000.0), rr(2, 1e9 / 8000.0));
        // 300 ns of each packet have no layer, and no room in what was measured: the remainder takes them back.
        for path in &mut second.paths {
            path.end_to_end.sum += 300 * path.end_to_end.count;
        }
        let found = explain(&first, &second, &labels()).expect("the test has it");
        assert_eq!(row(&found.waterfall, "unattributed"), (0, 600));
        assert_eq!(found.waterfall.remainder.delta(), -600);
        assert!((found.explained_share.expect("the test has it") + 0.2).abs() < 1e-9);
    }

    #[test]
    fn a_connection_for_each_transaction_is_told_from_the_clients_own_time() {
        let profile = |devices, rate| {
            let mut profile = rr(devices, rate);
            profile.meta.benchmark.as_mut().expect("the test has it").workload = "tcp-crr".into();
            profile.cpu.tasks = vec![crate::profile::TaskRecord { pid: 10, comm: "ns-client".into(), container: None }];
            let mut empty: Vec<_> = profile.paths.clone();
            for path in &mut profile.paths {
                path.payload_bytes = 6400;
            }
            for path in &mut empty {
                path.end = End::Absorbed;
                path.crossings.pop();
                path.spans.pop();
            }
            profile.paths.extend(empty);
            profile.turnarounds = vec![turned(1, 10, 20_000, 100), turned(2, 20, 2000, 100)];
            profile
        };
        let found =
            explain(&profile(1, 1e9 / 25_000.0), &profile(2, 1e9 / 26_000.0), &labels()).expect("the test has it");
        // Five packets: the request, the answer, and three without data that are part of what the client waits for.
        assert_eq!(row(&found.waterfall, "backlog"), (2500, 5000));
        assert_eq!(row(&found.waterfall, "connection"), (20_000 - 4500, 20_000 - 6000));
        assert_eq!(row(&found.waterfall, "userspace"), (2000, 2000));
        assert_eq!(found.waterfall.remainder.delta(), 0);
        assert!(!Slot::Connection.is_explained());
    }

    #[test]
    fn udp_messages_end_where_the_socket_announces_them() {
        let udp = |devices, rate| {
            let mut profile = rr(devices, rate);
            profile.turnarounds.clear();
            for path in &mut profile.paths {
                path.protocol = Protocol::UDP;
                path.end = End::Consumed;
                path.crossings.last_mut().expect("the test has it").point = Point::ReadyWake;
            }
            profile.meta.benchmark.as_mut().expect("the test has it").workload = "udp-rr".into();
            profile
        };
        let found = explain(&udp(1, 1e9 / 9000.0), &udp(2, 1e9 / 12_000.0), &labels()).expect("the test has it");
        assert_eq!(found.waterfall.remainder.name, NOT_SEEN_EITHER);
        assert_eq!(row(&found.waterfall, "backlog"), (1000, 2000));
        assert!((found.explained_share.expect("the test has it") - 1.0 / 3.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_waterfall_closes_on_any_spans(
            spans in proptest::collection::vec((0u64..1_000_000, 1u64..50), 2..20),
            hops in (1u32..5, 1u32..5), rates in (1.0f64..1e6, 1.0f64..1e6),
        ) {
            let (mut first, mut second) = (rr(hops.0, rates.0), rr(hops.1, rates.1));
            for (index, &(ns, weight)) in spans.iter().enumerate() {
                let profile = if index % 2 == 0 { &mut first } else { &mut second };
                let path = &mut profile.paths[0];
                let last = path.spans.len();
                for (at, span) in path.spans.iter_mut().enumerate() {
                    if at != index % last {
                        span.add(ns + at as u64, weight);
                    }
                }
                path.end_to_end.add((ns + 3) * last as u64, weight);
            }
            let found = explain(&first, &second, &labels()).expect("the test has it");
            prop_assert!(found.waterfall.is_closed());
            prop_assert_eq!(found.waterfall.baseline, (1e9 / rates.0).round() as i64);
        }
    }
}
