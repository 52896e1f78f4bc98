//! What recordings must have in common to be added.
//!
//! CPU samples of recordings with the same settings are still not taken equally often: that follows from what a sample costs on
//! the machine at the time. Rates of following packets and budgets need not be the same: every count bears its weight, and a budget only says how much
//! might be spent.

use std::collections::BTreeMap;

use netstrata_common::Hook;

use super::MergeError;
use crate::profile::{Benchmark, HookRecord, Profile};

/// Periods of CPU samples that differ by more than this factor are not added where it is not known what was asked for.
pub(super) const MOST_APART: f64 = 2.0;

/// Refuses recordings that must not be added, saying which two and why.
pub(super) fn check(named: &[(String, Profile)]) -> Result<(), MergeError> {
    let unlike = |one: &str, other: &str, what| MergeError::Unlike { one: one.into(), other: other.into(), what };
    let Some(((first, base), rest)) = named.split_first() else { return Ok(()) };
    for (name, profile) in rest {
        if let Some(what) = difference(base, profile) {
            return Err(unlike(first, name, what));
        }
    }
    let mut hooks: BTreeMap<Hook, (&str, &HookRecord)> = BTreeMap::new();
    for (name, hook) in named.iter().flat_map(|(name, profile)| profile.hooks.iter().map(move |hook| (name, hook))) {
        let (one, known) = *hooks.entry(hook.hook).or_insert((name, hook));
        if known != hook {
            let place = |hook: &HookRecord| format!("{} by {}", hook.function, hook.kind.name());
            let what = format!("they hooked {} and {} for {}", place(known), place(hook), hook.hook.name());
            return Err(unlike(one, name, what));
        }
    }
    Ok(())
}

/// The first thing that differs, in words.
fn difference(one: &Profile, other: &Profile) -> Option<String> {
    let (metas, cpus) = ([&one.meta, &other.meta], [&one.cpu, &other.cpu]);
    let tiers = metas.map(|meta| meta.tiers.iter().map(|tier| tier.name()).collect::<Vec<_>>().join(", "));
    let samples = cpus.map(|cpu| if cpu.period_ns == 0 { "none".to_owned() } else { cpu.source.clone() });
    let rows = [
        ("kernels", metas.map(|meta| meta.kernel.clone())),
        ("architectures", metas.map(|meta| meta.arch.clone())),
        ("numbers of CPUs", metas.map(|meta| meta.cpus.to_string())),
        ("clocks", metas.map(|meta| meta.clock.name().to_owned())),
        ("tiers", tiers),
        ("filters", metas.map(|meta| or_none(meta.filters.join(" ")))),
        ("sources of CPU samples", samples),
    ];
    let words = |what: &str, [one, other]: [String; 2]| format!("their {what} differ, {one} and {other}");
    if let Some((what, two)) = rows.into_iter().find(|(_, [one, other])| one != other) {
        return Some(words(what, two));
    }
    let work = match (&one.meta.benchmark, &other.meta.benchmark) {
        (None, None) => None,
        (Some(_), None) => Some("only the first holds a benchmark's result".into()),
        (None, Some(_)) => Some("only the second holds a benchmark's result".into()),
        (Some(one), Some(other)) => {
            let rows = work(one).into_iter().zip(work(other));
            rows.into_iter()
                .find(|(one, other)| one != other)
                .map(|((what, one), (_, other))| words(what, [one, other]))
        }
    };
    work.or_else(|| samples_differ([one, other]))
}

/// How CPU samples differ that cannot be added. With one rate asked for, their periods follow from what a sample cost when each
/// began; where it is not known, periods may be a little different.
fn samples_differ(two: [&Profile; 2]) -> Option<String> {
    let [one, other] = two.map(|profile| profile.cpu.asked_hz);
    if one > 0 && other > 0 {
        return (one != other)
            .then(|| format!("their rates of CPU samples differ, {one} and {other} a second were asked for"));
    }
    let periods = two.map(periods);
    let (least, most) =
        periods.iter().flatten().fold((u64::MAX, 0), |(least, most), ns| (least.min(*ns), most.max(*ns)));
    (most as f64 > MOST_APART * least as f64).then(|| {
        format!("their CPU samples stand for {least} to {most} ns each, too different to be added (budgets or frequencies differ)")
    })
}

/// The time between two samples, of each recording.
fn periods(profile: &Profile) -> Vec<u64> {
    match &profile.meta.parts[..] {
        [] => vec![profile.cpu.period_ns],
        parts => parts.iter().map(|part| part.period_ns).collect(),
    }
}

/// What was done, without how fast.
fn work(benchmark: &Benchmark) -> [(&'static str, String); 8] {
    let number = |value: Option<u64>| value.map_or("unknown".into(), |value| value.to_string());
    let flows = benchmark.flows.iter().map(|flows| format!("{} of {} B", flows.class, number(flows.flow_bytes)));
    let neighbours = benchmark.neighbours.iter().map(|neighbour| {
        let share = neighbour.asked_share.map(|share| format!(" at {} %", 100.0 * share)).unwrap_or_default();
        format!("{} {}{share}", neighbour.count, neighbour.kind)
    });
    [
        ("benchmarks", benchmark.tool.clone()),
        ("workloads", benchmark.workload.clone()),
        ("message sizes", number(benchmark.message_bytes)),
        ("numbers of pairs", number(benchmark.pairs.map(u64::from))),
        ("choices of CPUs", benchmark.pin.clone().unwrap_or_else(|| "none".into())),
        ("versions of IP", benchmark.ip.unwrap_or(4).to_string()),
        ("flows", or_none(flows.collect::<Vec<_>>().join(", "))),
        ("neighbours", or_none(neighbours.collect::<Vec<_>>().join(", "))),
    ]
}

fn or_none(words: String) -> String {
    if words.is_empty() { "none".into() } else { words }
}
