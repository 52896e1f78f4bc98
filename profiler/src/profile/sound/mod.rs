//! Whether a profile can be one: asked once, of what was read, so that all who think about it need not ask.
//!
//! A profile may come from anywhere. What passes here has every index within its list, as many spans as there are ways between
//! its crossings, numbers that are numbers, and sums that no addition or product of the analysis takes beyond what it can hold.
//! Every field stands here, so that the compiler asks for a new one.

mod benchmark;
mod cpu;
mod paths;

use std::collections::BTreeMap;

use super::{
    DeviceCounters, DropRecord, Folded, Histogram, HookCostRecord, Meta, Observer, PartRecord, Profile, Sampling,
};
use crate::profile::limits::fits;
use netstrata_common::BUCKETS;

/// What no sum of a recording exceeds: in nanoseconds, one CPU for 146 years. Three of them can still be added.
const MOST: u128 = 1 << 62;
/// What no fraction exceeds.
const MOST_FRACTION: f64 = 1e18;
/// CPUs have numbers of 16 bits.
const MOST_CPUS: u64 = 1 << 16;
/// Batches are joined by halves: so often in a recording of as many nanoseconds as can be.
const MOST_JOINED: u32 = 32;
/// The last date that nanoseconds with a sign can tell, in the year 2262.
const MOST_UNIX_NS: u64 = i64::MAX as u64;

/// What is wrong, in words.
type Sound = Result<(), String>;

/// Sums of a profile by what they are of. Those of recordings that are added are added first.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals(BTreeMap<&'static str, u128>);

impl Totals {
    fn add(&mut self, what: &'static str, value: u64) {
        self.add_wide(what, value.into());
    }

    fn add_wide(&mut self, what: &'static str, value: u128) {
        let sum = self.0.entry(what).or_default();
        *sum = sum.saturating_add(value);
    }

    /// Those of another profile beside these.
    pub(super) fn and(mut self, others: Self) -> Self {
        others.0.into_iter().for_each(|(what, value)| self.add_wide(what, value));
        self
    }

    /// Whether all are such as a recording can have.
    pub(super) fn check(&self) -> Sound {
        match self.0.iter().find(|(_, sum)| **sum > MOST) {
            Some((what, sum)) => Err(format!("{sum} {what} are more than a recording can hold")),
            None => Ok(()),
        }
    }
}

/// Whether all of a profile can be true; its sums.
pub(super) fn check(profile: &Profile) -> Result<Totals, String> {
    let Profile {
        meta,
        topology: _,
        sampling,
        paths,
        cpu,
        softirqs,
        journeys,
        drops,
        turnarounds,
        devices,
        retransmits,
        lost,
        observer,
        hooks: _,
        chains: _,
        multiple: _,
        batches,
    } = profile;
    fits(profile)?;
    let mut totals = Totals::default();
    meta_data(meta, &mut totals)?;
    let parts = meta.parts.len().max(1);
    sampled(sampling, &mut totals)?;
    // The windows are told by another clock's reading than the recording's begin and end.
    if sampling.observed_ns / 2 > meta.duration_ns {
        return Err(format!("journeys observed for {} ns of {}", sampling.observed_ns, meta.duration_ns));
    }
    let of_paths = paths::check(paths, &mut totals)?;
    paths::journeys(journeys, parts, &mut totals)?;
    cpu::check(cpu, &mut totals)?;
    cpu::softirqs(softirqs, &mut totals);
    for DropRecord { reason: _, function: _, netns: _, ifindex: _, count } in drops {
        totals.add("drops", *count);
    }
    for turn in turnarounds {
        histogram(&turn.ns, "turnarounds", &mut totals)?;
    }
    devices.iter().for_each(|device| counted(device, &mut totals));
    totals.add("retransmits", *retransmits);
    lost.values().for_each(|count| totals.add("losses", *count));
    observed(observer, &mut totals)?;
    paths::batches(batches, profile, parts, &of_paths, &mut totals)?;
    totals.check()?;
    Ok(totals)
}

/// A number that is one.
fn fraction(what: &str, value: f64) -> Sound {
    up_to(MOST_FRACTION, what, value)
}

/// A part of a whole.
fn share(what: &str, value: f64) -> Sound {
    up_to(1.0, what, value)
}

fn up_to(most: f64, what: &str, value: f64) -> Sound {
    match (0.0..=most).contains(&value) {
        true => Ok(()),
        false => Err(format!("{what} of {value:e}")),
    }
}

fn fractions<'a>(values: impl IntoIterator<Item = (&'a str, f64)>) -> Sound {
    values.into_iter().try_for_each(|(what, value)| fraction(what, value))
}

/// An index within a list.
fn within(what: &str, index: usize, of: usize) -> Sound {
    if index < of { Ok(()) } else { Err(format!("{what} {index} of {of}")) }
}

/// A distribution: what it is of is what its sums are entered as.
fn histogram(histogram: &Histogram, what: &'static str, totals: &mut Totals) -> Sound {
    let Histogram { samples, count, sum, max, others, buckets } = histogram;
    for number in [samples, count, sum, max, others] {
        totals.add(what, *number);
    }
    if *count == 0 && *sum > 0 {
        return Err(format!("{what} that are none and take {sum} ns"));
    }
    for (bucket, count) in buckets {
        within("bucket", usize::from(*bucket), BUCKETS)?;
        let values = u128::from(netstrata_common::bucket_low(usize::from(*bucket))) * u128::from(*count);
        totals.add_wide("nanoseconds in all buckets", values + u128::from(*count));
    }
    if !buckets.is_sorted_by(|one, next| one.0 < next.0) {
        return Err(format!("buckets of {what} that are not in order"));
    }
    Ok(())
}

fn meta_data(meta: &Meta, totals: &mut Totals) -> Sound {
    let Meta {
        recorder: _,
        kernel: _,
        arch: _,
        cpus,
        clock: _,
        duration_ns,
        tiers: _,
        probes: _,
        missing: _,
        filters: _,
        command: _,
        exit_code: _,
        benchmark,
        benchmark_notes: _,
        steal_share,
        started_ns,
        began_unix_ns,
        parts,
        cut_off: _,
        joined,
    } = meta;
    if u64::from(*cpus) > MOST_CPUS {
        return Err(format!("{cpus} CPUs"));
    }
    if *joined > MOST_JOINED {
        return Err(format!("batches that were joined {joined} times"));
    }
    // Of all CPUs together.
    totals.add_wide("nanoseconds of all CPUs", u128::from(*duration_ns) * u128::from((*cpus).max(1)));
    totals.add("nanoseconds since the machine's start", *started_ns);
    fits_a_date(*began_unix_ns)?;
    share("a share of stolen time", *steal_share)?;
    benchmark.iter().try_for_each(benchmark::check)?;
    parts.iter().try_for_each(|part| of_part(part, totals))
}

/// A date is no time that adds up.
fn fits_a_date(unix_ns: u64) -> Sound {
    if unix_ns > MOST_UNIX_NS { Err("a date centuries from now".into()) } else { Ok(()) }
}

fn of_part(part: &PartRecord, totals: &mut Totals) -> Sound {
    let PartRecord {
        started_ns,
        began_unix_ns,
        duration_ns,
        recorder: _,
        benchmark,
        steal_share,
        budget,
        rates,
        observed_ns,
        samples,
        period_ns,
        observer,
    } = part;
    totals.add("nanoseconds since the machine's start", *started_ns);
    fits_a_date(*began_unix_ns)?;
    totals.add("nanoseconds of all parts", *duration_ns);
    totals.add("nanoseconds of all parts in which journeys were observed", *observed_ns);
    totals.add_wide("nanoseconds of CPU samples of all parts", u128::from(*samples) * u128::from((*period_ns).max(1)));
    totals.add("nanoseconds between CPU samples of all parts", *period_ns);
    share("a share of stolen time", *steal_share)?;
    share("a budget", *budget)?;
    rates.iter().for_each(|(since_ns, _)| totals.add("nanoseconds at which rates changed", *since_ns));
    benchmark.iter().try_for_each(benchmark::check)?;
    let mut own = Totals::default();
    observed(observer, &mut own)?;
    own.check()
}

fn sampled(sampling: &Sampling, totals: &mut Totals) -> Sound {
    let Sampling { budget, rates, observed_ns, looks, followed, packets } = sampling;
    share("a budget", *budget)?;
    if followed > packets {
        return Err(format!("{followed} packets followed of {packets}"));
    }
    rates.iter().for_each(|(since_ns, _)| totals.add("nanoseconds at which rates changed", *since_ns));
    for (with_traffic_ns, softirqs) in looks {
        totals.add("nanoseconds with traffic", *with_traffic_ns);
        totals.add("softirqs of looks", *softirqs);
    }
    totals.add("nanoseconds in which journeys were observed", *observed_ns);
    totals.add("packets followed", *followed);
    totals.add("packets that passed", *packets);
    Ok(())
}

fn counted(device: &DeviceCounters, totals: &mut Totals) {
    let DeviceCounters { netns: _, ifindex: _, rx_packets, rx_bytes, tx_packets, tx_bytes, rx_dropped, tx_dropped } =
        device;
    for packets in [rx_packets, tx_packets, rx_dropped, tx_dropped] {
        totals.add("packets of devices", *packets);
    }
    totals.add("bytes of devices", *rx_bytes);
    totals.add("bytes of devices", *tx_bytes);
}

fn observed(observer: &Observer, totals: &mut Totals) -> Sound {
    let Observer {
        ns_per_crossing,
        ns_per_followed_crossing,
        pace,
        ns_in_span_per_crossing,
        ns_in_span_low,
        ns_in_span_high,
        ns_in_span_at_return,
        ns_in_span_at_ready,
        crossings,
        followed_crossings,
        hooks,
        ns_per_softirq,
        followed_hook_calls,
        hook_calls,
        ns_per_sample,
        ns_per_timed_softirq,
        cpu_share,
        busiest_cpu_share,
        recorder_share,
        recorder_rss_bytes,
    } = observer;
    fractions([
        ("a cost of a crossing", *ns_per_crossing),
        ("a cost of a followed crossing", *ns_per_followed_crossing),
        ("a pace", *pace),
        ("a cost in a span", *ns_in_span_per_crossing),
        ("a least cost in a span", *ns_in_span_low),
        ("a largest cost in a span", *ns_in_span_high),
        ("a cost of a return", *ns_in_span_at_return),
        ("a cost of readiness", *ns_in_span_at_ready),
        ("a cost of a softirq", *ns_per_softirq),
        ("a cost of a sample", *ns_per_sample),
        ("a cost of a timed softirq", *ns_per_timed_softirq),
        ("a share of all CPUs", *cpu_share),
        ("a share of the busiest CPU", *busiest_cpu_share),
        ("a share of the recorder", *recorder_share),
    ])?;
    hooks.iter().try_for_each(of_hook)?;
    for count in [crossings, followed_crossings] {
        totals.add("crossings that probes saw", *count);
    }
    for count in [followed_hook_calls, hook_calls] {
        totals.add("calls of hooks", *count);
    }
    totals.add("bytes of the recorder", *recorder_rss_bytes);
    Ok(())
}

fn of_hook(hook: &HookCostRecord) -> Sound {
    let HookCostRecord {
        ns_per_call,
        ns_per_followed_call,
        ns_entry_outside,
        ns_entry_inside,
        ns_exit_inside,
        ns_exit_outside,
        ns_exit_together,
    } = hook;
    let costs = [
        ns_per_call,
        ns_per_followed_call,
        ns_entry_outside,
        ns_entry_inside,
        ns_exit_inside,
        ns_exit_outside,
        ns_exit_together,
    ];
    fractions(costs.map(|cost| ("a cost of a hook", *cost)))
}

fn folded(folded: &Folded, totals: &mut Totals) {
    let Folded { paths, begun } = folded;
    totals.add("paths that were folded", *paths);
    begun.iter().for_each(|(_, packets)| totals.add("packets that began on folded paths", *packets));
}
