//! How sure figures are: intervals from batch to batch.
//!
//! Packets of one batch share the machine's mood and are not independent; batches nearly are. So the interval of a figure comes
//! from how it differs between batches, never from the number of packets: the account is made again without each of about
//! twenty parts of the recording. The time of whole spans is known for each batch, which needs no account.

use std::collections::BTreeMap;

use super::{
    known::{Figures, Intervals, Of},
    paths::Ways,
    span::{PathAccount, PathIntervals, RowIntervals, Span},
    totals::{Account, LayerTotal, account_by},
    trust::{Instruments, Seen, trust},
};
use crate::{
    cpu::{CpuAccount, account as cpu_account},
    numbers::{Spread, ratio_interval},
    profile::{BatchCounts, BatchHost, BatchPath, Even, Histogram, Profile, SoftirqVector, TurnRecord, turns_of},
};

/// An interval around a figure, from what it is without each part. None of these figures is ever below 0.
fn around(figure: f64, without: &[f64]) -> Option<[f64; 2]> {
    let half = Spread::of(without)?.half();
    // What differs in the last digits is the same.
    (half > 1e-9 * figure.abs()).then_some([(figure - half).max(0.0), figure + half])
}

/// Accounts for a profile, and tells how sure its figures are.
pub fn account_with_intervals(profile: &Profile) -> Account {
    let ways = Ways::of(profile);
    let mut account = account_by(profile, &ways);
    add(profile, &ways, &mut account);
    account
}

/// Adds the intervals to an account.
fn add(profile: &Profile, ways: &Ways, account: &mut Account) {
    let slices = profile.slices(Even::Packets);
    let by_time = profile.slices(Even::Time);
    // Fewer batches than three tell nothing.
    if profile.batches.len() < 3 {
        return;
    }
    let without: Vec<Account> = profile.sums_without(&slices).map(|rest| account_by(&rest, ways)).collect();
    let mut figures = of_cpu(profile, account, &by_time);
    for (of, own) in between(journeys(account), without.iter().map(journeys)) {
        figures.entry(of).or_default().extend(own);
    }
    figures.extend(softirqs(profile));
    figures.extend(host(profile));
    account.intervals = Intervals(figures);
    judge_instruments(profile, account);
    let mut batches: BTreeMap<u64, Vec<&BatchPath>> = BTreeMap::new();
    for (id, sums) in profile.batches.iter().flat_map(|batch| &batch.paths) {
        batches.entry(*id).or_default().push(sums);
    }
    for (at, path) in account.paths.iter_mut().enumerate() {
        let batches = batches.get(&path.record.id).map_or(&[][..], Vec::as_slice);
        let others: Vec<&PathAccount> = (without.iter().filter_map(|account| account.paths.get(at)))
            .filter(|other| other.record.end_to_end.count < path.record.end_to_end.count)
            .collect();
        path.intervals = of_path(path, &others, batches);
    }
}

/// Judges a profile anew, now that it is known how sure the ratio of its instruments is.
fn judge_instruments(profile: &Profile, account: &mut Account) {
    let ratio = account.reconciliation.ratio();
    // Samples are of all that the host does.
    let compare = account.reconciliation.is_known() && profile.meta.filters.is_empty();
    let interval = account.intervals.of(&Of::Reconciliation, "ratio").filter(|_| compare);
    let instruments = interval.map(|interval| Instruments { ratio, interval });
    account.trust =
        trust(profile, Seen { busy_samples: account.cpu.busy, correction: account.correction, instruments });
}

/// The intervals of a path's figures, from the parts that hold packets of it.
fn of_path(path: &PathAccount, others: &[&PathAccount], batches: &[&BatchPath]) -> PathIntervals {
    let record = &path.record;
    let around = |figure: &dyn Fn(&PathAccount) -> f64| {
        let without: Vec<f64> = others.iter().map(|other| figure(other)).collect();
        around(figure(path), &without)
    };
    let total = |path: &PathAccount| path.record.end_to_end.sum as f64;
    let packets = |path: &PathAccount| path.record.end_to_end.count as f64;
    let rows = path.spans.iter().enumerate().map(|(at, row)| {
        let same = |other: &PathAccount| find(other, at, row).map_or([0.0; 2], sums);
        let count = |other: &PathAccount| other.record.spans.get(row.index).map_or(0.0, |span| span.count as f64);
        RowIntervals {
            mean: match row.distribution {
                Some(_) => {
                    of_batches(batches, &record.spans[row.index], |batch| batch.spans_ns.get(row.index).copied())
                }
                None => around(&|other| same(other)[0] / count(other)),
            },
            corrected: around(&|other| same(other)[1] / count(other)),
            share: around(&|other| same(other)[0] / total(other)).map(|[low, high]| [low, high.min(1.0)]),
        }
    });
    let counted = |of: fn(&BatchCounts) -> u64, all: u64| {
        let pairs: Vec<(f64, f64)> =
            batches.iter().map(|batch| (of(&batch.counts) as f64, batch.counts.packets as f64)).collect();
        interval_of(&pairs, all as f64 / record.packets.max(1) as f64)
    };
    PathIntervals {
        cpu_hops: counted(|counts| counts.cpu_hops, record.cpu_hops),
        skbs_at_end: (counted(|counts| counts.skbs_at_end_micro, record.skbs_at_end_micro))
            .map(|interval| interval.map(|micro| micro / 1e6)),
        end_to_end: of_batches(batches, &record.end_to_end, |batch| Some(batch.sum_ns)),
        corrected: around(&PathAccount::corrected_mean),
        unattributed: around(&|other| other.unattributed_ns as f64 / packets(other)),
        rows: rows.collect(),
    }
}

/// Means of softirqs that were timed.
fn softirqs(profile: &Profile) -> Figures<[f64; 2]> {
    type Sums = fn(&SoftirqVector) -> [u64; 2];
    let means: [(&'static str, Sums); 3] = [
        ("mean_ns", |vector| [vector.ns, vector.count]),
        ("mean_wait_ns", |vector| [vector.wait_ns, vector.waits]),
        ("packets_per_poll", |vector| [vector.polled, vector.polls]),
    ];
    let mut batches: BTreeMap<_, Vec<&SoftirqVector>> = BTreeMap::new();
    for vector in profile.batches.iter().flat_map(|batch| &batch.softirqs) {
        batches.entry(vector.key()).or_default().push(vector);
    }
    let mut figures: Figures<[f64; 2]> = BTreeMap::new();
    for vector in &profile.softirqs.vectors {
        let own = batches.get(&vector.key()).map_or(&[][..], Vec::as_slice);
        for (name, sums) in means {
            let pairs: Vec<(f64, f64)> = own.iter().map(|own| sums(own).map(|sum| sum as f64).into()).collect();
            let [sum, count] = sums(vector).map(|sum| sum as f64);
            if let Some(interval) = interval_of(&pairs, per(sum, count)) {
                figures.entry(Of::Softirq(vector.cpu, vector.vector)).or_default().insert(name, interval);
            }
        }
    }
    figures
}

/// Shares of all CPUs' time that batches have parts of.
fn host(profile: &Profile) -> Option<(Of, BTreeMap<&'static str, [f64; 2]>)> {
    type Part = fn(&BatchHost) -> u64;
    let parts: [(&'static str, f64, Part); 2] = [
        ("steal_share", profile.meta.steal_share, |host| host.stolen_ns),
        ("cpu_share", profile.observer.cpu_share, |host| host.paid_ns),
    ];
    let figures = parts.into_iter().filter_map(|(name, share, part)| {
        let pairs: Vec<(f64, f64)> =
            profile.batches.iter().map(|batch| (part(&batch.host) as f64, batch.samples_ns as f64)).collect();
        let [sum, time] = pairs.iter().fold([0.0; 2], |[sum, time], pair| [sum + pair.0, time + pair.1]);
        // Of one CPU's time, and without what no batch has: how it differs is that of the whole.
        let mean = per(sum, time);
        let interval = interval_of(&pairs, mean)?;
        Some((name, interval.map(|end| (end / mean * share).min(1.0))))
    });
    let figures: BTreeMap<_, _> = figures.collect();
    (!figures.is_empty()).then_some((Of::Host, figures))
}

/// The interval of the mean of turnarounds.
pub fn turn_interval(profile: &Profile, turn: &TurnRecord) -> Option<[f64; 2]> {
    let own = turns_of(&profile.batches, turn);
    let pairs: Vec<(f64, f64)> = own.map(|own| (own.sum_ns as f64, own.count as f64)).collect();
    interval_of(&pairs, turn.ns.mean())
}

/// The same row of another account: mostly at the same place. Where a part has none, it has nothing of it.
fn find<'a>(other: &'a PathAccount, at: usize, row: &Span) -> Option<&'a Span> {
    let key = |span: &Span| (span.index, span.layer, span.hook.map(|part| part.hook));
    let same = |span: &&Span| key(span) == key(row) && span.device == row.device;
    other.spans.get(at).filter(same).or_else(|| other.spans.iter().find(same))
}

fn sums(span: &Span) -> [f64; 2] {
    [span.sum_ns as f64, (span.sum_ns - span.probe_ns) as f64]
}

/// The interval of a mean of which each batch has its sum.
fn of_batches(batches: &[&BatchPath], whole: &Histogram, ns: impl Fn(&BatchPath) -> Option<u64>) -> Option<[f64; 2]> {
    let pairs: Vec<(f64, f64)> =
        batches.iter().map(|batch| (ns(batch).unwrap_or(0) as f64, batch.packets as f64)).collect();
    interval_of(&pairs, whole.mean())
}

fn interval_of(pairs: &[(f64, f64)], mean: f64) -> Option<[f64; 2]> {
    let [low, high] = ratio_interval(pairs, mean)?;
    (high - low > 1e-9 * mean).then_some([low.max(0.0), high])
}

/// The intervals of figures, from what they are without each part. What is not there is 0.
fn between(whole: Figures<f64>, without: impl Iterator<Item = Figures<f64>>) -> Figures<[f64; 2]> {
    let without: Vec<Figures<f64>> = without.collect();
    let mut intervals: Figures<[f64; 2]> = BTreeMap::new();
    for (of, figures) in whole {
        for (name, figure) in figures {
            let same = |other: &Figures<f64>| other.get(&of).and_then(|own| own.get(name)).copied().unwrap_or(0.0);
            let others: Vec<f64> = without.iter().map(same).collect();
            if let Some(mut interval) = around(figure, &others) {
                // A part of a whole is no more than it.
                if name.ends_with("share") {
                    interval[1] = interval[1].min(1.0);
                }
                intervals.entry(of.clone()).or_default().insert(name, interval);
            }
        }
    }
    intervals
}

fn per(value: f64, of: f64) -> f64 {
    if of > 0.0 { value / of } else { 0.0 }
}

/// Figures of journeys, and of CPU time for each packet of them.
fn journeys(account: &Account) -> Figures<f64> {
    let seen = account.seen() as f64;
    let unattributed = account.unattributed();
    let rows = account.layers.iter().map(|(layer, total)| (Some(*layer), *total)).chain([(None, unattributed)]);
    let all: f64 = account.paths.iter().map(|path| path.record.end_to_end.sum as f64).sum();
    let mut figures: Figures<f64> = BTreeMap::new();
    for (layer, total) in rows {
        let LayerTotal { latency_ns, probe_ns, wait_ns, cpu_samples } = total;
        let cpu_ns = account.cpu.ns(cpu_samples) as f64;
        let own = [
            ("latency_ns_per_packet", per(latency_ns as f64, seen)),
            ("corrected_latency_ns_per_packet", per((latency_ns - probe_ns) as f64, seen)),
            ("latency_share", per(latency_ns as f64, all)),
            ("wait_share", per(wait_ns as f64, latency_ns as f64)),
            ("cpu_ns_per_packet", per(cpu_ns, account.packets)),
            ("cpu_ns_per_byte", per(cpu_ns, account.bytes)),
        ];
        figures.insert(Of::Layer(layer), own.into());
    }
    for ((layer, hook), total) in &account.functions {
        let own = [
            ("calls_per_packet", per(total.calls, seen)),
            ("self_ns_per_packet", per(total.sum_ns as f64, seen)),
            ("corrected_self_ns_per_packet", per((total.sum_ns - total.probe_ns) as f64, seen)),
            ("value_per_call", per(total.value, total.calls)),
        ];
        figures.insert(Of::Function(*layer, *hook), own.into());
    }
    let both = &account.reconciliation;
    let own = [
        ("service_ns_per_packet", both.service_ns_per_packet),
        ("cpu_ns_per_packet", both.cpu_ns_per_packet),
        ("ratio", both.ratio()),
    ];
    figures.insert(Of::Reconciliation, own.into());
    let unsubtracted = account.correction.unsubtracted_share();
    figures.insert(Of::Correction, [("unsubtracted_share", unsubtracted)].into());
    figures
}

/// Shares of CPU samples, without parts of the time.
fn of_cpu(profile: &Profile, account: &Account, slices: &[std::ops::Range<usize>]) -> Figures<[f64; 2]> {
    let bare = Profile {
        meta: profile.meta.clone(),
        cpu: profile.cpu.clone(),
        batches: profile.batches.iter().map(|batch| batch.without_paths()).collect(),
        ..Profile::default()
    };
    let without = bare.sums_without(slices).map(|rest| shares(&cpu_account(&rest), rest.meta.duration_ns));
    between(shares(&account.cpu, bare.meta.duration_ns), without)
}

fn shares(cpu: &CpuAccount, duration_ns: u64) -> Figures<f64> {
    let mut figures: Figures<f64> = BTreeMap::new();
    let mut enter =
        |of: Of, name: &'static str, share: f64| *figures.entry(of).or_default().entry(name).or_default() = share;
    for (layer, samples) in &cpu.layers {
        enter(Of::Layer(Some(*layer)), "cpu_share", cpu.share(*samples));
    }
    enter(Of::Layer(None), "cpu_share", cpu.unattributed_share());
    for (context, samples) in &cpu.contexts {
        enter(Of::Context(*context), "share", per(*samples as f64, cpu.samples as f64));
    }
    for (task, row) in &cpu.tasks {
        enter(Of::Task(task.clone()), "share", cpu.share(row.busy()));
        enter(Of::Task(task.clone()), "share_of_one_cpu", per(cpu.ns(row.samples) as f64, duration_ns as f64));
    }
    for number in cpu.numbers() {
        enter(Of::Cpu(number), "busy_share", cpu.busy_share(number));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Context, TaskKey};
    use crate::profile::{BatchRecord, CrossingRecord, PathRecord, SampleRecord, TaskRecord};
    use netstrata_common::Layer;
    use netstrata_common::{Point, Vector};

    fn profile(batches: &[(u64, u64)]) -> Profile {
        let crossings = [Point::Receive, Point::Route].map(|point| CrossingRecord { point, netns: 1, ifindex: 2 });
        let spans = vec![Histogram::default()];
        let mut path = PathRecord { id: 1, crossings: crossings.to_vec(), spans, ..PathRecord::default() };
        let mut records = Vec::new();
        for (at, &(packets, mean)) in batches.iter().enumerate() {
            path.end_to_end.add(mean, packets);
            path.spans[0].add(mean, packets);
            let sums =
                BatchPath { packets, sum_ns: packets * mean, spans_ns: vec![packets * mean], ..BatchPath::default() };
            records.push(BatchRecord {
                end_ns: at as u64,
                paths: BTreeMap::from([(1, sums)]),
                samples_ns: 1000,
                samples: BTreeMap::from([(0, packets), (1, mean)]),
                ..BatchRecord::default()
            });
        }
        let sums = |figure: fn(&(u64, u64)) -> u64| batches.iter().map(figure).sum::<u64>();
        let sample = |user, count| SampleRecord { user, count, ..SampleRecord::default() };
        let mut profile = Profile { paths: vec![path], batches: records, ..Profile::default() };
        profile.paths[0].packets = sums(|batch| batch.0);
        profile.cpu.entries = vec![sample(true, sums(|batch| batch.0)), sample(false, sums(|batch| batch.1))];
        profile.cpu.tasks = vec![TaskRecord { pid: 9, ..TaskRecord::default() }];
        (profile.cpu.period_ns, profile.sampling.observed_ns) = (1000, 1000);
        profile.meta.duration_ns = 1000 * batches.len() as u64;
        profile
    }

    #[test]
    fn figures_of_layers_and_of_the_cpu_have_intervals_and_those_that_never_differ_have_none() {
        let account = account_with_intervals(&profile(&[(100, 90), (100, 110), (100, 95), (100, 105)]));
        let ip = Of::Layer(Some(Layer::Ip));
        let [low, high] = account.intervals.of(&ip, "latency_ns_per_packet").expect("four batches");
        // Student's t of three degrees of freedom is 3.182; batches of one size have the interval of a mean.
        let half = 3.182 * (250.0_f64 / 3.0 / 4.0).sqrt();
        assert!((low + high - 200.0).abs() < 1e-6 && (high - 100.0 - half).abs() < 0.01 * half, "{low} {high} {half}");
        // All time is that layer's, in all parts.
        assert_eq!(account.intervals.of(&ip, "latency_share"), None);
        let share = account.intervals.of(&Of::Context(Context::User), "share").expect("four batches");
        assert!(share[0] < 0.5 && 0.5 < share[1] && share[1] < 0.6, "{share:?}");
        assert!(account.intervals.of(&Of::Layer(None), "cpu_share").is_some());
        assert_eq!(account.intervals.of(&Of::Task(TaskKey { pid: 9, ..TaskKey::default() }), "share"), None);
        assert_eq!(super::super::account(&profile(&[(1, 2); 4])).intervals, Intervals::default());
    }

    #[test]
    fn batches_that_agree_are_sure_and_those_that_do_not_are_not() {
        let of = |batches: &[(u64, u64)]| account_with_intervals(&profile(batches)).paths[0].intervals.end_to_end;
        // The same in all: nothing to tell.
        assert_eq!(of(&[(100, 1000), (120, 1000), (80, 1000)]), None);
        let [low, high] = of(&[(100, 900), (100, 1100), (100, 1000)]).expect("three batches");
        assert!(low < 800.0 && high > 1200.0, "two degrees of freedom: {low} {high}");
        assert_eq!(of(&[(100, 900)]), None);
    }

    #[test]
    fn a_span_has_the_interval_of_its_own_sums() {
        let profile = profile(&[(100, 900), (100, 1100), (100, 1000), (100, 1000)]);
        let found = &account_with_intervals(&profile).paths[0].intervals;
        assert!(found.end_to_end.is_some());
        assert_eq!(found.rows[0].mean, found.end_to_end);
    }

    #[test]
    fn what_others_take_of_the_cpus_is_as_sure_as_its_batches_agree() {
        let with = |stolen: [u64; 4]| {
            let mut profile = profile(&[(10, 1000); 4]);
            (profile.meta.steal_share, profile.observer.cpu_share) = (0.1, 0.01);
            for (batch, stolen_ns) in profile.batches.iter_mut().zip(stolen) {
                batch.host = BatchHost { stolen_ns, paid_ns: 10, drops: 0 };
            }
            let account = account_with_intervals(&profile);
            [account.intervals.of(&Of::Host, "steal_share"), account.intervals.of(&Of::Host, "cpu_share")]
        };
        let [Some([low, high]), None] = with([90, 110, 95, 105]) else { panic!("what never differs has none") };
        assert!(0.08 < low && low < 0.1 && 0.1 < high && high < 0.12, "{low} {high}");
        let [Some([_, wide]), None] = with([0, 400, 0, 0]) else { panic!("it differs") };
        assert!(wide > 0.3, "{wide}");
    }

    #[test]
    fn softirqs_and_counts_of_packets_are_as_sure_as_their_batches_agree() {
        let mut profile = profile(&[(10, 100), (20, 100), (30, 100), (40, 100)]);
        profile.paths[0].cpu_hops = 50;
        let vector = |count, ns| SoftirqVector { cpu: 1, vector: Vector::NetRx, count, ns, ..SoftirqVector::default() };
        profile.softirqs.vectors = vec![vector(100, 6000)];
        for (at, batch) in profile.batches.iter_mut().enumerate() {
            let counts =
                BatchCounts { packets: 10 * (at as u64 + 1), cpu_hops: [5, 15, 10, 20][at], ..Default::default() };
            batch.paths.get_mut(&1).expect("the path").counts = counts;
            batch.softirqs = vec![vector(25, [1000, 1500, 1800, 1700][at])];
        }
        let account = account_with_intervals(&profile);
        let of = Of::Softirq(1, Vector::NetRx);
        let holds = |interval: Option<[f64; 2]>, figure: f64| {
            let [low, high] = interval.expect("four batches tell");
            assert!(0.0 < low && low < figure && figure < high && high < 2.0 * figure, "{low} {high}");
        };
        holds(account.intervals.of(&of, "mean_ns"), 60.0);
        assert_eq!(account.intervals.of(&of, "packets_per_poll"), None, "nothing was polled");
        holds(account.paths[0].intervals.cpu_hops, 0.5);
        profile.batches.iter_mut().for_each(|batch| batch.softirqs = vec![vector(25, 1500)]);
        assert_eq!(account_with_intervals(&profile).intervals.of(&of, "mean_ns"), None, "the same in all");
    }
}
