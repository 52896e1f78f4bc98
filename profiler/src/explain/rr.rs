//! Request/response: the time of one transaction, by layer.
//!
//! T = 2 × mean end-to-end of the packets that reach a reader + 2 × mean turnaround of the application.

use std::collections::BTreeMap;

use netstrata_common::{End, Point, Points};

use super::{
    Side, is_announced, pairs, protocol, reaches_reader,
    waterfall::{Part, Row, Slot, Waterfall},
    windows::windows,
};
use crate::{
    analysis::{Account, PathAccount},
    failure::Failure,
    profile::{Histogram, PathRecord, Profile},
};

/// Processes with a smaller share of the turnarounds are not the application.
const LEAST_TURNS: f64 = 0.05;
/// Fewer turnarounds for each packet than this: they were not seen.
const SEEN_TURNS: f64 = 0.1;
/// It is said if rare delays are more than this part of a transaction.
const LEAST_RARE: f64 = 0.02;
/// Name of the remainder where the application and the UDP send call have no probe.
const NOT_SEEN: &str = "userspace and udp send (not seen)";
/// The same where journeys end at the announcement to the reader.
const NOT_SEEN_EITHER: &str = "userspace, wakeup, udp calls (not seen)";

/// One transaction of a profile.
struct Transaction {
    /// Rounded once each.
    parts: BTreeMap<Slot, Part>,
    /// What few packets have that took far longer than most; in no part.
    rare_ns: f64,
    /// Whether the application's own time is among them.
    turns: bool,
    /// Packets of the application that reached their reader, weighted.
    packets: u64,
    /// Whether some journeys end before the wake-up and the copy.
    announced: bool,
}

impl Transaction {
    fn total(&self, part: impl Fn(&Part) -> i64) -> i64 {
        self.parts.values().map(part).sum()
    }

    /// Stretches all parts alike.
    fn scale(&mut self, by: f64) {
        let stretch = |ns: i64| (ns as f64 * by).round() as i64;
        for part in self.parts.values_mut() {
            *part = Part { raw: stretch(part.raw), value: stretch(part.value) };
        }
    }
}

/// A packet that ends in the reader of a tun device goes on as another one.
fn ends_in_tunnel(path: &PathRecord) -> bool {
    let points: Vec<Point> = path.crossings.iter().map(|crossing| crossing.point).collect();
    matches!(points[..], [.., from, Point::Copy] if from.is_in(Points::TRANSMITTED))
}

/// Paths whose time is part of a transaction.
pub(super) fn counted<'a>(profile: &Profile, account: &'a Account) -> Vec<&'a PathAccount> {
    let protocol = protocol(profile);
    let tunnel =
        account.paths.iter().any(|path| reaches_reader(&path.record, protocol) && ends_in_tunnel(&path.record));
    // Where a tunnel's packets are followed through its program, their later parts alone would count twice.
    let is_part = |path: &PathAccount| profile.paths.iter().any(|other| path.record.is_later_part_of(other));
    let counts =
        |path: &&PathAccount| reaches_reader(&path.record, protocol) || (tunnel && path.record.end == End::Copied);
    account.paths.iter().filter(counts).filter(|path| !is_part(path)).collect()
}

/// Packets of the application that reached their reader, weighted; two of them are a transaction.
pub(super) fn endpoint_packets(profile: &Profile, paths: &[&PathAccount]) -> u64 {
    let protocol = protocol(profile);
    let ends = paths.iter().filter(|path| reaches_reader(&path.record, protocol) && !ends_in_tunnel(&path.record));
    ends.map(|path| path.record.end_to_end.count).sum()
}

/// The share of a histogram's sum that few values have which are far larger than most.
fn rare_share(histogram: &Histogram) -> f64 {
    histogram.rare_sum() as f64 / histogram.sum.max(1) as f64
}

/// Mean turnaround of the application's processes, and the part of it that few values have which are far larger than most.
fn turnaround(profile: &Profile, packets: u64) -> Option<(f64, f64)> {
    let all: u64 = profile.turnarounds.iter().map(|turn| turn.ns.count).sum();
    if all == 0 || (all as f64) < SEEN_TURNS * packets as f64 {
        return None;
    }
    let mut processes: BTreeMap<u32, Histogram> = BTreeMap::new();
    for turn in &profile.turnarounds {
        processes.entry(turn.pid).or_default().merge(&turn.ns);
    }
    let kept = processes.values().filter(|turns| turns.count as f64 >= LEAST_TURNS * all as f64);
    let (count, sum, rare) =
        kept.fold((0, 0, 0), |total, turns| (total.0 + turns.count, total.1 + turns.sum, total.2 + turns.rare_sum()));
    (count > 0).then(|| ((sum - rare) as f64 / count as f64, rare as f64 / count as f64))
}

fn transaction(profile: &Profile, account: &Account, label: &str) -> Result<Transaction, Failure> {
    let paths = counted(profile, account);
    let packets = endpoint_packets(profile, &paths);
    if packets == 0 {
        return Err(Failure::Untrusted(format!("{label} holds no packet that reached a reader")));
    }
    let announced = paths.iter().any(|path| is_announced(&path.record));
    let mut sums: BTreeMap<Slot, (u64, u64)> = BTreeMap::from([(Slot::Unattributed, (0, 0))]);
    let mut rare_sum = 0;
    for path in paths {
        let rare: Vec<f64> = path.record.spans.iter().map(rare_share).collect();
        for span in &path.spans {
            let slot = span.layer.map_or(Slot::Unattributed, |layer| Slot::Layer(layer, span.kind.into()));
            let own = span.sum_ns - span.probe_ns;
            let rare = (span.sum_ns as f64 * rare.get(span.index).copied().unwrap_or(0.0)) as u64;
            let rare = rare.min(own);
            let entry = sums.entry(slot).or_default();
            *entry = (entry.0 + span.sum_ns - rare, entry.1 + own - rare);
            rare_sum += rare;
        }
        let entry = sums.entry(Slot::Unattributed).or_default();
        *entry = (entry.0 + path.unattributed_ns, entry.1 + path.unattributed_ns);
    }
    let per = |sum: u64| (2.0 * sum as f64 / packets as f64).round() as i64;
    let mut parts: BTreeMap<Slot, Part> =
        sums.into_iter().map(|(slot, (raw, value))| (slot, Part { raw: per(raw), value: per(value) })).collect();
    let mut rare_ns = 2.0 * rare_sum as f64 / packets as f64;
    let turn = turnaround(profile, packets);
    if let Some((mean, rare)) = turn {
        parts.insert(Slot::Turnaround, Part::plain((2.0 * mean).round() as i64));
        rare_ns += 2.0 * rare;
    }
    Ok(Transaction { parts, rare_ns, turns: turn.is_some(), packets, announced })
}

/// The waterfall of one transaction; fills in what the layers predict.
pub(super) fn waterfall(
    profiles: [&Profile; 2],
    accounts: &[Account; 2],
    sides: &mut [Side; 2],
    notes: &mut Vec<String>,
) -> Result<Waterfall, Failure> {
    let mut first = transaction(profiles[0], &accounts[0], &sides[0].label)?;
    let mut second = transaction(profiles[1], &accounts[1], &sides[1].label)?;
    let turns = first.turns && second.turns;
    if !turns {
        // Seen in one of the two only, it is comparable in none.
        first.parts.remove(&Slot::Turnaround);
        second.parts.remove(&Slot::Turnaround);
        notes.push(
            "the application's own time was not seen: it is in the remainder, and no rate is predicted from the spans \
             alone"
                .into(),
        );
    }
    let mut totals = [0, 0];
    for (index, work) in [&mut first, &mut second].into_iter().enumerate() {
        let side = &mut sides[index];
        let pairs = pairs(side.benchmark.as_ref());
        let seen = side.measured.and_then(|rate| windows(profiles[index], rate));
        if let (Some(rate), Some(seen)) = (side.measured, seen) {
            side.recorded = Some(seen.rate);
            work.scale(pairs * 1e9 / rate / seen.transaction_ns);
        }
        let rate = |ns: i64| (turns && ns > 0).then(|| pairs * 1e9 / ns as f64);
        side.predicted = rate(work.total(|part| part.value));
        side.predicted_raw = rate(work.total(|part| part.raw));
        totals[index] = match side.measured {
            Some(rate) => (pairs * 1e9 / rate).round() as i64,
            None => work.total(|part| part.value),
        };
        packets_per_transaction(profiles[index], &accounts[index], side, work.packets, notes);
        if work.rare_ns > LEAST_RARE * totals[index] as f64 {
            notes.push(format!(
                "{}: {:.0} ns of a transaction are left out, which a few packets add that took far longer than the rest: \
                 too few to tell how often such ones are",
                side.label, work.rare_ns
            ));
        }
    }
    let slots: std::collections::BTreeSet<Slot> = first.parts.keys().chain(second.parts.keys()).copied().collect();
    let part = |work: &Transaction, slot: &Slot| work.parts.get(slot).copied().unwrap_or_default();
    let rows: Vec<Row> = slots
        .iter()
        .map(|slot| Row { slot: *slot, baseline: part(&first, slot), target: part(&second, slot) })
        .collect();
    let name = match (turns, first.announced || second.announced) {
        (true, _) => "remainder",
        (false, false) => NOT_SEEN,
        (false, true) => NOT_SEEN_EITHER,
    };
    if first.announced != second.announced {
        notes.push("only one of the two has the reader's wake-up in its spans: their waits do not compare".into());
    }
    let waterfall = Waterfall::new(totals[0], totals[1], rows, name);
    if sides[0].measured.is_some() {
        let ns = totals[0] + waterfall.rows.iter().map(Row::delta).sum::<i64>();
        let pairs = pairs(sides[1].benchmark.as_ref());
        sides[1].predicted_from_baseline = (ns > 0).then(|| pairs * 1e9 / ns as f64);
    }
    Ok(waterfall)
}

/// The formula holds for one packet each way; it is said where the packets do not fit.
fn packets_per_transaction(profile: &Profile, account: &Account, side: &Side, packets: u64, notes: &mut Vec<String>) {
    let Some(rate) = side.measured else { return };
    let measured = side.benchmark.as_ref().and_then(|benchmark| benchmark.duration_s);
    let transactions = rate * measured.unwrap_or(profile.meta.duration_ns as f64 / 1e9);
    if transactions < 1.0 {
        return;
    }
    let each = packets as f64 * account.scale / transactions;
    if !(1.6..=2.4).contains(&each) {
        notes.push(format!(
            "{}: {each:.1} packets per transaction reached a reader, not 2: messages of several packets, or other traffic",
            side.label
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{explain, testdata::*};
    use netstrata_common::{Layer, Protocol, Vector};
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
    fn turns_that_were_slower_than_the_run_are_stretched_to_it() {
        let (first, mut second) = (rr(1, 1e9 / 7000.0), rr(2, 1e9 / 8000.0));
        // Recorded while everything took twice as long: a softirq for each transaction, 16,000 ns between them.
        for path in &mut second.paths {
            for span in path.spans.iter_mut().chain([&mut path.end_to_end]) {
                *span = values(2 * span.sum / span.count, span.count);
            }
        }
        for turn in &mut second.turnarounds {
            turn.ns = values(4000, 100);
        }
        let benchmark = second.meta.benchmark.as_mut().expect("the test has it");
        benchmark.duration_s = Some(1.0);
        let vector = |total| crate::profile::SoftirqVector { vector: Vector::NetRx, total, ..Default::default() };
        second.softirqs.vectors = vec![vector(125_000)];
        second.sampling.looks = vec![(160_000_000, 10_000)];
        let found = explain(&first, &second, &labels()).expect("the test has it");
        assert_eq!(row(&found.waterfall, "backlog"), (1000, 2000));
        assert_eq!(row(&found.waterfall, "userspace"), (4000, 4000));
        assert_eq!(found.waterfall.remainder.delta(), 0);
        assert!((found.target.recorded.expect("the test has it") - 62_500.0).abs() < 1e-6);
        assert_eq!(found.baseline.recorded, None);
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
    fn a_small_process_is_not_the_application() {
        let mut profile = rr(1, 20_000.0);
        profile.turnarounds.push(crate::profile::TurnRecord { netns: 1, pid: 99, ns: values(1_000_000, 1) });
        assert_eq!(turnaround(&profile, 200), Some((2000.0, 0.0)));
        assert_eq!(turnaround(&profile, 1_000_000), None);
    }

    #[test]
    fn a_packet_read_from_a_tun_device_is_half_way() {
        let mut profile = rr(1, 20_000.0);
        let mut read = profile.paths[0].clone();
        read.crossings = vec![at(Point::Queue, 1, 2), at(Point::Xmit, 1, 2), at(Point::Copy, 1, 2)];
        read.spans = vec![values(100, 100), values(900, 100)];
        read.end_to_end = values(1000, 100);
        profile.paths.push(read);
        let account = crate::analysis::account(&profile);
        let paths = counted(&profile, &account);
        assert_eq!((paths.len(), endpoint_packets(&profile, &paths)), (3, 200));
        let work = transaction(&profile, &account, "x").map_err(|error| error.to_string()).expect("the test has it");
        assert_eq!(work.total(|part| part.raw), 7000 + 1000);
        assert_eq!(work.parts[&Slot::Layer(Layer::Tun, super::super::RowKind::Wait)].raw, 900);
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
