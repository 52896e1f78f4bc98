//! Figures of all parts that cannot be added: means by what each part counts for, in the one order of parts, so that they are the
//! same to the last digit whichever way a set was put together.

use crate::profile::{HookCostRecord, Observer, PartRecord, Profile, Sampling};

/// A mean by weight. What all have in common is that exactly; without any weight, all count alike.
pub(super) fn mean(figures: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let Some((first, _)) = figures.clone().next() else { return 0.0 };
    if figures.clone().all(|(figure, _)| figure == first) {
        return first;
    }
    let (sum, weight) = figures.clone().fold((0.0, 0.0), |(sum, all), (figure, by)| (sum + figure * by, all + by));
    if weight > 0.0 {
        return sum / weight;
    }
    let (sum, count) = figures.fold((0.0, 0.0), |(sum, count), (figure, _)| (sum + figure, count + 1.0));
    sum / count
}

fn by_time(parts: &[PartRecord], figure: impl Fn(&PartRecord) -> f64 + Copy) -> f64 {
    mean(parts.iter().map(|part| (figure(part), part.duration_ns as f64)))
}

/// All have as many CPUs.
pub(super) fn steal_share(parts: &[PartRecord]) -> f64 {
    by_time(parts, |part| part.steal_share)
}

/// Time that a CPU sample stands for: with it the samples of all stand for as much time as those of each did for themselves.
/// Which layer they are put down to counts by samples, not by time; that is the same where parts did the same work, and
/// periods that differ by more than [`super::alike::MOST_APART`] are refused.
pub(super) fn period(parts: &[PartRecord]) -> u64 {
    let sum = |by: fn(&PartRecord) -> u64| -> (u128, u128) {
        let of = parts.iter().map(|part| (u128::from(part.period_ns) * u128::from(by(part)), u128::from(by(part))));
        of.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    };
    let (ns, samples) = Some(sum(|part| part.samples)).filter(|sum| sum.1 > 0).unwrap_or_else(|| sum(|_| 1));
    (ns / samples.max(1)) as u64
}

/// Each version once.
pub(super) fn recorders(parts: &[PartRecord]) -> String {
    let mut versions: Vec<&str> = parts.iter().map(|part| part.recorder.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    versions.join(", ")
}

/// The rates of the parts follow each other, as if one part began where the last one ended.
pub(super) fn sampling(profiles: &[Profile], parts: &[PartRecord]) -> Sampling {
    let all = || profiles.iter().map(|profile| &profile.sampling);
    let (mut rates, mut before) = (Vec::new(), 0);
    for part in parts {
        rates.extend(part.rates.iter().map(|(since_ns, every)| (before + since_ns, *every)));
        before += part.duration_ns;
    }
    // They stand for all that was observed, or for nothing.
    let looked = all().all(|sampling| !sampling.looks.is_empty());
    let mut looks: Vec<(u64, u64)> =
        all().filter(|_| looked).flat_map(|sampling| sampling.looks.iter().copied()).collect();
    looks.sort_unstable();
    Sampling {
        budget: by_time(parts, |part| part.budget),
        rates,
        observed_ns: all().map(|sampling| sampling.observed_ns).sum(),
        looks,
        followed: all().map(|sampling| sampling.followed).sum(),
        packets: all().map(|sampling| sampling.packets).sum(),
    }
}

/// What a thing costs counts by how often it happened, what is a share of time by time. The bounds of a cost within a span are
/// means, too, not the outermost ones: they bound what lies in the sum of all parts' spans, and a sum lies between the sums of
/// its parts' bounds.
pub(super) fn observer(parts: &[PartRecord]) -> Observer {
    let by_crossing = |figure: fn(&Observer) -> f64| {
        let weight = |observer: &Observer| observer.crossings.saturating_sub(observer.followed_crossings) as f64;
        mean(parts.iter().map(|part| (figure(&part.observer), weight(&part.observer))))
    };
    let by_followed = |figure: fn(&Observer) -> f64| {
        mean(parts.iter().map(|part| (figure(&part.observer), part.observer.followed_crossings as f64)))
    };
    let sum = |figure: fn(&Observer) -> u64| parts.iter().map(|part| figure(&part.observer)).sum();
    let known_pace = parts.iter().any(|part| part.observer.pace > 0.0);
    // Of a part from before nothing bounds the cost: nor of a whole that it is in.
    let bounded = parts.iter().all(|part| part.observer.has_interval());
    let within = |figure: fn(&Observer) -> f64| if bounded { by_followed(figure) } else { 0.0 };
    Observer {
        ns_per_crossing: by_crossing(|observer| observer.ns_per_crossing),
        ns_per_followed_crossing: by_followed(|observer| observer.ns_per_followed_crossing),
        // Where nothing could be compared, costs count as they were measured.
        pace: if known_pace {
            by_followed(|observer| if observer.pace > 0.0 { observer.pace } else { 1.0 })
        } else {
            0.0
        },
        ns_in_span_per_crossing: by_followed(|observer| observer.ns_in_span_per_crossing),
        ns_in_span_low: within(|observer| observer.ns_in_span_low),
        ns_in_span_high: within(|observer| observer.ns_in_span_high),
        ns_in_span_at_return: within(|observer| observer.ns_in_span_at_return),
        ns_in_span_at_ready: by_followed(|observer| observer.ns_in_span_at_ready),
        crossings: sum(|observer| observer.crossings),
        followed_crossings: sum(|observer| observer.followed_crossings),
        hooks: [0, 1].map(|way| hook(parts, way)),
        ns_per_softirq: by_time(parts, |part| part.observer.ns_per_softirq),
        followed_hook_calls: sum(|observer| observer.followed_hook_calls),
        hook_calls: sum(|observer| observer.hook_calls),
        ns_per_sample: by_time(parts, |part| part.observer.ns_per_sample),
        cpu_share: by_time(parts, |part| part.observer.cpu_share),
        busiest_cpu_share: by_time(parts, |part| part.observer.busiest_cpu_share),
        ns_per_timed_softirq: by_time(parts, |part| part.observer.ns_per_timed_softirq),
        recorder_share: by_time(parts, |part| part.observer.recorder_share),
        recorder_rss_bytes: parts.iter().map(|part| part.observer.recorder_rss_bytes).max().unwrap_or(0),
    }
}

/// Costs of hooks by one of the ways.
fn hook(parts: &[PartRecord], way: usize) -> HookCostRecord {
    let of = |figure: fn(&HookCostRecord) -> f64| {
        mean(parts.iter().map(|part| (figure(&part.observer.hooks[way]), part.observer.followed_hook_calls as f64)))
    };
    HookCostRecord {
        ns_per_call: mean(parts.iter().map(|part| {
            let idle = part.observer.hook_calls.saturating_sub(part.observer.followed_hook_calls);
            (part.observer.hooks[way].ns_per_call, idle as f64)
        })),
        ns_per_followed_call: of(|cost| cost.ns_per_followed_call),
        ns_entry_outside: of(|cost| cost.ns_entry_outside),
        ns_entry_inside: of(|cost| cost.ns_entry_inside),
        ns_exit_inside: of(|cost| cost.ns_exit_inside),
        ns_exit_outside: of(|cost| cost.ns_exit_outside),
        ns_exit_together: of(|cost| cost.ns_exit_together),
    }
}
