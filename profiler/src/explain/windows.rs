//! Whether the part of a run in which journeys were observed was like the whole of it.
//!
//! A budget often allows to observe some tenths of a second of a run of some seconds. A machine that shares its cores with
//! others is faster and slower in turns of about that length, a connection that has just begun is slow, and the probes
//! themselves take time. The benchmark knows the mean of the whole run only. But the kernel counts its softirqs all the
//! time: with so many for each transaction, their count in the windows tells how fast transactions were there. A workload of
//! our own tells itself what it did when, and so what it did in the windows.

use super::pairs;
use crate::profile::{BatchWork, Benchmark, Profile};

/// Less observed time than this tells nothing.
const LEAST_NS: u64 = 20_000_000;
/// Fewer transactions than this neither.
const LEAST_TRANSACTIONS: f64 = 100.0;
/// Pieces that differ more from the middle one are not of the work alone: it began or ended in them.
const ALIKE: std::ops::RangeInclusive<f64> = 0.5..=1.5;

/// Above this share of all CPUs none of them is idle.
const FULL: f64 = 0.98;

/// Which part of the work of a recording the windows saw (0 to 1): by its softirqs, or, where filters leave some of what these are of
/// out, by time; `None` if all of it was observed, or nothing was counted.
pub(super) fn share(profile: &Profile) -> Option<f64> {
    if profile.meta.filters.is_empty() {
        return profile.softirqs_in_windows().filter(|share| *share > 0.0);
    }
    let share = profile.sampling.observed_ns as f64 / profile.meta.duration_ns.max(1) as f64;
    (!profile.sampling.looks.is_empty() && share > 0.0 && share < 1.0).then_some(share)
}

/// What a built-in workload did while journeys were observed.
pub(super) fn work(profile: &Profile) -> Option<BatchWork> {
    let sum: BatchWork = profile.batches.iter().filter_map(|batch| batch.work_in_windows).sum();
    (sum.done > 0).then_some(sum)
}

/// Transactions a second in the windows, probes attached; `None` if all was observed, or nothing can be said.
pub(super) fn rate(profile: &Profile, transactions_per_s: f64) -> Option<f64> {
    if profile.sampling.looks.is_empty() {
        return None;
    }
    let seen = match work(profile) {
        Some(work) => Seen { ns: work.ns, transactions: work.done as f64 },
        None => by_softirqs(profile, transactions_per_s)?,
    };
    let enough = seen.ns >= LEAST_NS && seen.transactions >= LEAST_TRANSACTIONS;
    enough.then(|| seen.transactions * 1e9 / seen.ns as f64)
}

/// What observing took of a transaction in the mean of the run, all of it in the windows: what stands on the bill, but for samples of
/// idle CPUs. One pair's transaction waits for all its own probes; of many, each CPU that is busy works on another. The
/// recorder's threads take of it, too, where no CPU was idle that they could have had.
pub(super) fn observer_ns(profile: &Profile, idle_samples: u64, benchmark: &Benchmark) -> Option<f64> {
    let transactions = benchmark.transactions_per_s? * benchmark.duration_s?;
    let (observer, cpus) = (&profile.observer, f64::from(profile.meta.cpus));
    let machine = benchmark.machine.unwrap_or_default();
    let elsewhere = if machine.busy_share >= FULL { 0.0 } else { observer.recorder_share };
    let all = (observer.cpu_share * cpus - elsewhere) * profile.meta.duration_ns as f64
        - idle_samples as f64 * observer.ns_per_sample;
    let waited = (pairs(Some(benchmark)) / (machine.busy_share * cpus).max(1.0)).max(1.0);
    (transactions > 0.0 && all > 0.0).then(|| all / transactions * waited)
}

/// Work that was observed.
struct Seen {
    ns: u64,
    transactions: f64,
}

/// What was seen by the softirqs that the kernel counts.
fn by_softirqs(profile: &Profile, transactions_per_s: f64) -> Option<Seen> {
    let transactions = transactions_per_s * profile.meta.benchmark.as_ref()?.duration_s?;
    let each = profile.receiving_softirqs() as f64 / transactions;
    if each.is_nan() || each <= 0.0 || !profile.meta.filters.is_empty() {
        return None;
    }
    let rate_of = |look: &(u64, u64)| look.1 as f64 / look.0.max(1) as f64;
    let mut looks = profile.looks();
    looks.sort_by(|a, b| rate_of(a).total_cmp(&rate_of(b)));
    let all: u64 = looks.iter().map(|look| look.1).sum();
    let mut below = 0;
    let middle = rate_of(looks.iter().find(|look| {
        below += look.1;
        2 * below >= all
    })?);
    let busy = looks.iter().filter(|look| ALIKE.contains(&(rate_of(look) / middle)));
    let (ns, count) = busy.fold((0, 0), |sum, look| (sum.0 + look.0, sum.1 + look.1));
    Some(Seen { ns, transactions: count as f64 / each })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        explain::testdata::rr,
        profile::{BatchRecord, SoftirqVector, measures::MachineUse},
    };
    use netstrata_common::Vector;

    /// Two softirqs for each of 20,000 transactions of a second.
    fn recorded(looks: &[(u64, u64)]) -> Profile {
        let mut profile = rr(1, 20_000.0);
        profile.meta.benchmark.as_mut().expect("the test has it").duration_s = Some(1.0);
        let vector = |cpu, total| SoftirqVector { cpu, vector: Vector::NetRx, total, ..SoftirqVector::default() };
        profile.softirqs.vectors = vec![vector(0, 30_000), vector(1, 10_000)];
        profile.sampling.looks = looks.to_vec();
        profile
    }

    #[test]
    fn windows_that_are_slower_than_the_run_are_known_by_their_softirqs() {
        let profile = recorded(&[(50_000_000, 1800), (50_000_000, 1400)]);
        let found = rate(&profile, 20_000.0).expect("the test has it");
        assert!((found - 16_000.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn a_workload_of_our_own_tells_what_it_did_in_the_windows() {
        let mut profile = recorded(&[(50_000_000, 1800)]);
        let work = |ns, done| BatchRecord { work_in_windows: Some(BatchWork { ns, done }), ..BatchRecord::default() };
        profile.batches = vec![work(30_000_000, 500), work(20_000_000, 300), work(0, 0)];
        assert_eq!(rate(&profile, 20_000.0), Some(16_000.0));
    }

    #[test]
    fn softirqs_of_what_filters_leave_out_are_not_asked() {
        let mut profile = recorded(&[(50_000_000, 1800), (50_000_000, 1400)]);
        (profile.sampling.observed_ns, profile.meta.duration_ns) = (100_000_000, 1_000_000_000);
        assert_eq!(share(&profile), Some(3200.0 / 40_000.0));
        profile.meta.filters = vec!["--netns a".into()];
        assert_eq!((share(&profile), rate(&profile, 20_000.0)), (Some(0.1), None));
        // All of it was observed.
        profile.sampling.looks.clear();
        assert_eq!(share(&profile), None);
    }

    #[test]
    fn what_lies_before_the_work_began_is_left_out() {
        let looks = [(100_000_000, 200), (50_000_000, 2000), (5_000_000, 400)];
        let found = rate(&recorded(&looks), 20_000.0).expect("the test has it");
        assert!((found - 20_000.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn nothing_is_said_where_all_was_observed_or_too_little() {
        assert_eq!(rate(&recorded(&[]), 20_000.0), None);
        assert_eq!(rate(&recorded(&[(1_000_000, 40)]), 20_000.0), None);
        assert_eq!(rate(&recorded(&[(50_000_000, 0)]), 20_000.0), None);
        assert_eq!((share(&recorded(&[])), share(&recorded(&[(50_000_000, 10_000)]))), (None, Some(0.25)));
    }

    #[test]
    fn observing_takes_what_is_on_the_bill_of_cpus_that_work() {
        let mut profile = recorded(&[]);
        (profile.meta.cpus, profile.meta.duration_ns) = (2, 1_000_000_000);
        (profile.observer.cpu_share, profile.observer.recorder_share, profile.observer.ns_per_sample) =
            (0.1, 0.05, 1000.0);
        let mut benchmark = profile.meta.benchmark.clone().expect("the test has it");
        let ns = |benchmark: &Benchmark| observer_ns(&profile, 10_000, benchmark).expect("the test has it").round();
        // 0.2 CPUs for a second, without 0.05 of the recorder and 0.01 of idle samples, for 20,000 transactions.
        assert_eq!(ns(&benchmark), 7000.0);
        let machine = |busy_share| Some(MachineUse { busy_share, ..MachineUse::default() });
        benchmark.machine = machine(1.0);
        assert_eq!(ns(&benchmark), 9500.0, "no CPU was idle");
        (benchmark.machine, benchmark.pairs) = (machine(0.5), Some(4));
        assert_eq!(ns(&benchmark), 28_000.0, "each transaction waits for those of four pairs");
    }
}
