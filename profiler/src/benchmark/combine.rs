//! Several clients that ran at the same time as one.

use super::Found;
use crate::profile::{
    Benchmark,
    measures::{Datagrams, SideUse},
};

/// How much their times may differ, as a share of the longest.
const DIFFERENT: f64 = 0.1;
/// Tools tell their beginning in whole seconds.
const LATE_S: f64 = 1.5;

/// The sum of what clients measured that did the same at the same time, or why there is none.
pub fn sum(found: &[Found], together: bool) -> Result<Found, String> {
    let all: Vec<&Benchmark> = found.iter().map(|found| &found.benchmark).collect();
    let Some(first) = all.first() else { return Err("it holds no result".into()) };
    if !together {
        return Err(format!(
            "it holds {} results, and several that did not run at the same time have no sum",
            all.len()
        ));
    }
    if all.iter().any(|one| one.workload != first.workload) {
        return Err("it holds several results of different work, which have no sum".into());
    }
    let (Some(least), Some(most)) = extremes(&all, |one| one.duration_s) else {
        return Err("it holds several results that do not all tell how long they ran".into());
    };
    let begins = found.iter().filter_map(|found| found.began_s);
    let (early, late) = begins.fold((f64::MAX, f64::MIN), |(early, late), at| (at.min(early), at.max(late)));
    if most - least > DIFFERENT * most || late - early > LATE_S.max(DIFFERENT * most) {
        return Err("it holds several results of different times, which have no sum".into());
    }
    let same = |figure: fn(&Benchmark) -> Option<u64>| {
        figure(first).filter(|one| all.iter().all(|each| figure(each) == Some(*one)))
    };
    let benchmark = Benchmark {
        workload: first.workload.clone(),
        throughput_bits_per_s: added(&all, |one| one.throughput_bits_per_s),
        transactions_per_s: added(&all, |one| one.transactions_per_s),
        messages_per_s: added(&all, |one| one.messages_per_s),
        round_trip_ns: mean(&all),
        round_trip_max_ns: extremes(&all, |one| one.round_trip_max_ns).1,
        message_bytes: same(|one| one.message_bytes),
        pairs: whole(&all, |one| one.pairs.map(u64::from)).and_then(|pairs| u32::try_from(pairs).ok()),
        duration_s: Some(most),
        unmeasured_s: all.iter().filter_map(|one| one.unmeasured_s).reduce(f64::max),
        retransmits: whole(&all, |one| one.retransmits),
        failed: whole(&all, |one| one.failed),
        client: side(&all, |one| one.client),
        server: side(&all, |one| one.server),
        datagrams: datagrams(&all),
        ..Benchmark::default()
    };
    let mut notes: Vec<String> = found.iter().flat_map(|found| found.notes.clone()).collect();
    notes.dedup();
    let any = |figure: fn(&Benchmark) -> Option<f64>| all.iter().any(|one| figure(one).is_some());
    if any(|one| one.round_trip_p50_ns.or(one.round_trip_p90_ns).or(one.round_trip_p99_ns).or(one.round_trip_p999_ns)) {
        notes.push(format!("percentiles of {} clients have no sum", all.len()));
    }
    if any(|one| one.round_trip_ns) && benchmark.round_trip_ns.is_none() {
        notes.push(format!("mean round trips of {} clients have no mean without the rates of all", all.len()));
    }
    let lost = [
        ("throughput", any(|one| one.throughput_bits_per_s) && benchmark.throughput_bits_per_s.is_none()),
        ("rate of transactions", any(|one| one.transactions_per_s) && benchmark.transactions_per_s.is_none()),
        ("rate of messages", any(|one| one.messages_per_s) && benchmark.messages_per_s.is_none()),
        ("longest round trip", any(|one| one.round_trip_max_ns) && benchmark.round_trip_max_ns.is_none()),
    ];
    for (name, _) in lost.iter().filter(|(_, lost)| *lost) {
        notes.push(format!("not all of {} clients tell a {name}", all.len()));
    }
    let ahead = found.iter().map(|found| found.ahead).fold(0.0, f64::max);
    Ok(Found { benchmark, notes, began_s: Some(early).filter(|early| *early < f64::MAX), ahead })
}

/// A figure of all; none where one of them does not tell it.
fn each<T>(all: &[&Benchmark], figure: impl Fn(&Benchmark) -> Option<T>) -> Option<Vec<T>> {
    all.iter().map(|one| figure(one)).collect()
}

fn added(all: &[&Benchmark], figure: impl Fn(&Benchmark) -> Option<f64>) -> Option<f64> {
    Some(each(all, figure)?.iter().sum())
}

fn whole(all: &[&Benchmark], figure: impl Fn(&Benchmark) -> Option<u64>) -> Option<u64> {
    each(all, figure)?.into_iter().try_fold(0_u64, u64::checked_add)
}

fn extremes(all: &[&Benchmark], figure: impl Fn(&Benchmark) -> Option<f64>) -> (Option<f64>, Option<f64>) {
    let Some(values) = each(all, figure) else { return (None, None) };
    (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max))
}

/// The mean round trip over all transactions.
fn mean(all: &[&Benchmark]) -> Option<f64> {
    let parts = each(all, |one| one.round_trip_ns.zip(one.transactions_per_s))?;
    let count: f64 = parts.iter().map(|(_, rate)| rate).sum();
    (count > 0.0).then(|| parts.iter().map(|(trip, rate)| trip * rate).sum::<f64>() / count)
}

/// What the processes of one side used together.
fn side(all: &[&Benchmark], of: impl Fn(&Benchmark) -> Option<SideUse>) -> Option<SideUse> {
    let sides = each(all, of)?;
    let sum = |figure: fn(&SideUse) -> Option<u64>| sides.iter().map(figure).sum::<Option<u64>>();
    // Bytes of each, from its time for each.
    let bytes = sides.iter().map(|side| side.cpu_ns_per_byte.filter(|ns| *ns > 0.0).map(|ns| side.cpu_share / ns));
    let bytes: Option<f64> = bytes.sum();
    let cpu_share = sides.iter().map(|side| side.cpu_share).sum();
    Some(SideUse {
        cpu_share,
        user_ns: sum(|side| side.user_ns),
        system_ns: sum(|side| side.system_ns),
        cpu_us_per_transaction: None,
        cpu_ns_per_byte: bytes.map(|bytes| cpu_share / bytes),
    })
}

fn datagrams(all: &[&Benchmark]) -> Option<Datagrams> {
    let parts = each(all, |one| one.datagrams)?;
    let sum = |figure: fn(&Datagrams) -> u64| parts.iter().map(figure).fold(0_u64, u64::saturating_add);
    let (received, lost) = (sum(|one| one.received), sum(|one| one.lost));
    Some(Datagrams {
        sent: sum(|one| one.sent),
        refused: sum(|one| one.refused),
        received,
        lost,
        lost_share: if lost > 0 { lost as f64 / lost.saturating_add(received) as f64 } else { 0.0 },
        lost_at_socket: None,
        reordered: parts.iter().map(|one| one.reordered).sum(),
    })
}
