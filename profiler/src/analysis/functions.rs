//! How hooked functions split a span, and what they took over all paths.

use std::collections::BTreeMap;

use netstrata_common::{Hook, Layer, Tier, Way};

use super::{
    SpanKind,
    span::{HookPart, PathAccount, Span},
};
use crate::profile::{FunctionRecord, PathRecord, Profile};

/// Which hooks are attached, and what each call costs within the spans.
pub struct Costs<'a> {
    profile: &'a Profile,
    ways: BTreeMap<Hook, Way>,
}

impl<'a> Costs<'a> {
    /// Of a profile.
    pub fn new(profile: &'a Profile) -> Self {
        let ways = profile.hooks.iter().map(|record| (record.hook, record.kind)).collect();
        Self { profile, ways }
    }

    /// Layers that attached hooks charge.
    pub fn layers(&self) -> Vec<Layer> {
        self.ways.keys().filter_map(|hook| hook.info().layer).collect()
    }

    /// What the probes took of a hook's own time: its own entries and returns, and their part of those that it calls.
    fn probe_ns(&self, hook: Hook, record: &FunctionRecord) -> f64 {
        let costs = &self.profile.observer.hooks;
        let own = self.ways.get(&hook.charged_by()).map_or(0.0, |way| {
            let cost = &costs[*way as usize];
            record.calls as f64 * cost.ns_entry_inside + record.returns as f64 * cost.ns_exit_inside
        });
        let called = costs.iter().enumerate().map(|(kind, cost)| {
            record.entered[kind] as f64 * cost.ns_entry_outside
                + record.left[kind] as f64 * cost.ns_exit_outside
                + record.nested[kind] as f64 * (cost.entry() + cost.exit())
        });
        own + called.sum::<f64>() + self.together_ns(record)
    }

    /// What the exits took of functions that returned together with their callers.
    fn together_ns(&self, record: &FunctionRecord) -> f64 {
        record.tails as f64 * self.profile.observer.hooks[Way::Kprobe as usize].ns_exit_together
    }

    /// What hooks took of the time that a packet waited: all that its CPU spent on them meanwhile.
    fn waited_ns(&self, record: &FunctionRecord) -> f64 {
        let costs = &self.profile.observer.hooks;
        let called = costs.iter().enumerate().map(|(kind, cost)| {
            record.entered[kind] as f64 * cost.entry()
                + record.left[kind] as f64 * cost.exit()
                + record.idle[kind] as f64 * cost.ns_per_call / 2.0
        });
        let softirqs = record.softirqs as f64 * self.profile.observer.ns_per_softirq;
        record.value as f64 + softirqs + called.sum::<f64>() + self.together_ns(record)
    }
}

/// A part of a whole, scaled.
fn scaled(part: u64, of: u64, by: u64) -> u64 {
    (u128::from(part) * u128::from(by) / u128::from(of.max(1))) as u64
}

/// Splits a span over the hooks that ran in it. The first part is what no hook took; together they sum to the whole in
/// integers. Without hooks the whole stays whole; a wait too, but what hooks took of it is known.
///
/// Only journeys that one CPU worked on for the whole span were split; the others are taken to be alike.
pub fn split(costs: &Costs<'_>, path: &PathRecord, index: usize, mut whole: Span) -> Vec<Span> {
    let of_span: Vec<(Hook, &FunctionRecord)> = path
        .functions
        .iter()
        .filter(|record| record.span as usize == index)
        .map(|record| (record.hook, record))
        .collect();
    let Some((_, all)) = of_span.iter().find(|(hook, record)| *hook == Hook::Span && record.calls > 0) else {
        return vec![whole];
    };
    // Journeys that were not split had the same hooks: their time is divided alike.
    let of_all = |ns: f64| (ns * whole.count as f64 / all.calls as f64) as u64;
    if whole.kind == SpanKind::Wait {
        let by_probes = whole.probe_ns.saturating_add(of_all(costs.waited_ns(all)));
        whole.probe_ns = by_probes.min(whole.sum_ns);
        whole.unsubtracted_ns = whole.unsubtracted_ns.saturating_add(by_probes - whole.probe_ns);
        return vec![whole];
    }
    if of_span.len() < 2 {
        return vec![whole];
    }
    // How the cost of the crossings at both ends is divided between before and after the program's look at the clock is
    // not known: it is halved.
    let crossings = whole.probe_ns;
    let at_ends = |record: &FunctionRecord| scaled(crossings, 2 * all.calls, record.ends).min(crossings);
    let mut left = whole.sum_ns;
    let mut parts = Vec::new();
    for (hook, record) in of_span.iter().filter(|(hook, _)| *hook != Hook::Span) {
        let sum_ns = scaled(record.sum_ns, all.sum_ns, whole.sum_ns).min(left);
        left -= sum_ns;
        parts.push(Span {
            layer: hook.info().layer.or(whole.layer),
            tier: Tier::Function,
            sum_ns,
            probe_ns: of_all(costs.probe_ns(*hook, record)) + at_ends(record),
            unsubtracted_ns: 0,
            distribution: None,
            hook: Some(HookPart {
                hook: *hook,
                calls_per_packet: record.calls as f64 / all.calls as f64,
                value_per_call: if record.calls > 0 { record.value as f64 / record.calls as f64 } else { 0.0 },
            }),
            ..whole.clone()
        });
    }
    // Together by layer, the span's own first.
    parts.sort_by_key(|part| (part.layer != whole.layer, part.layer));
    let elsewhere: u64 =
        of_span.iter().filter(|(hook, _)| *hook != Hook::Span).map(|(_, record)| at_ends(record)).sum();
    let probe_ns = crossings.saturating_sub(elsewhere) + of_all(costs.probe_ns(Hook::Span, all));
    parts.insert(0, Span { tier: Tier::Function, sum_ns: left, probe_ns, distribution: None, ..whole });
    let excess = share_excess(&mut parts);
    parts[0].unsubtracted_ns = parts[0].unsubtracted_ns.saturating_add(excess);
    parts
}

/// What the probes took of the whole span is known better than where in it they took it: where a part is shorter than what
/// is to be taken off, the rest is taken off the others. So the corrected parts sum to the corrected whole. What all of them
/// together are too short for is left.
fn share_excess(parts: &mut [Span]) -> u64 {
    let mut excess = 0;
    for part in &mut *parts {
        excess += part.probe_ns.saturating_sub(part.sum_ns);
        part.probe_ns = part.probe_ns.min(part.sum_ns);
    }
    let mut room: u64 = parts.iter().map(|part| part.sum_ns - part.probe_ns).sum();
    let left = excess.saturating_sub(room);
    excess -= left;
    for part in parts {
        let of_part = part.sum_ns - part.probe_ns;
        let taken = scaled(of_part, room, excess);
        part.probe_ns += taken;
        excess -= taken;
        room -= of_part;
    }
    left
}

/// What a hook took over all paths.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FunctionTotal {
    /// Calls.
    pub calls: f64,
    /// Own nanoseconds, as measured.
    pub sum_ns: u64,
    /// The part of it that the probes took.
    pub probe_ns: u64,
    /// Sum of the values that it takes.
    pub value: f64,
}

/// Hooks over all paths, by the layer that they were charged to.
pub fn totals(paths: &[PathAccount]) -> BTreeMap<(Option<Layer>, Hook), FunctionTotal> {
    let mut totals: BTreeMap<(Option<Layer>, Hook), FunctionTotal> = BTreeMap::new();
    for span in paths.iter().flat_map(|path| &path.spans) {
        let Some(part) = span.hook else { continue };
        let total = totals.entry((span.layer, part.hook)).or_default();
        let calls = part.calls_per_packet * span.count as f64;
        total.calls += calls;
        total.value += part.value_per_call * calls;
        total.sum_ns += span.sum_ns;
        total.probe_ns += span.probe_ns;
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::span::whole,
        profile::{HookCostRecord, HookRecord},
    };
    use proptest::prelude::*;

    /// A hook whose calls, and those that it makes, all return.
    fn record(hook: Hook, calls: u64, sum_ns: u64, called: [u64; 2]) -> FunctionRecord {
        FunctionRecord {
            hook,
            calls,
            returns: calls,
            sum_ns,
            entered: called,
            left: called,
            ..FunctionRecord::default()
        }
    }

    #[test]
    fn each_hook_goes_to_its_layer_and_probes_to_where_their_time_lies() {
        let kprobe = |hook| HookRecord { hook, function: String::new(), module: String::new(), kind: Way::Kprobe };
        let mut profile =
            Profile { hooks: vec![kprobe(Hook::BridgeHandle), kprobe(Hook::NfOther)], ..Profile::default() };
        profile.observer.hooks[Way::Kprobe as usize] = HookCostRecord {
            ns_entry_inside: 1.0,
            ns_exit_inside: 1.0,
            ns_entry_outside: 3.0,
            ns_exit_outside: 2.0,
            ..HookCostRecord::default()
        };
        let path = PathRecord {
            functions: vec![
                record(Hook::Span, 10, 1000, [0, 10]),
                record(Hook::BridgeHandle, 10, 600, [0, 10]),
                record(Hook::NfForward, 10, 300, [0, 0]),
            ],
            ..PathRecord::default()
        };
        let parts = split(&Costs::new(&profile), &path, 0, whole(2000, 20));
        let of = |layer: Layer| -> (u64, u64) {
            let of = parts.iter().filter(|part| part.layer == Some(layer));
            of.fold((0, 0), |sum, part| (sum.0 + part.sum_ns, sum.1 + part.probe_ns))
        };
        assert_eq!(of(Layer::Netfilter), (600, 40));
        // The rest holds a child; the bridge's hook holds itself and a child.
        assert_eq!(of(Layer::Bridge), (200 + 1200, 100 + 140));
    }

    #[test]
    fn functions_that_return_together_cost_less() {
        let mut profile = Profile::default();
        profile.observer.hooks[Way::Kprobe as usize] =
            HookCostRecord { ns_exit_outside: 40.0, ns_exit_together: 7.0, ..HookCostRecord::default() };
        let all = FunctionRecord { left: [0, 10], tails: 20, entered: [0, 0], ..record(Hook::Span, 10, 9000, [0, 0]) };
        let path =
            PathRecord { functions: vec![all, record(Hook::NfForward, 10, 1000, [0, 0])], ..PathRecord::default() };
        let split = |kind| split(&Costs::new(&profile), &path, 0, Span { kind, ..whole(18_000, 20) });
        for kind in [SpanKind::Service, SpanKind::Wait] {
            let probes: u64 = split(kind).iter().map(|part| part.probe_ns).sum();
            // One return of its own and two together with it for each packet.
            assert_eq!(probes, 20 * (40 + 2 * 7), "{kind:?}");
        }
    }

    #[test]
    fn hooks_that_ran_while_a_packet_waited_are_taken_off() {
        let mut profile = Profile::default();
        profile.observer.hooks[Way::Fentry as usize] =
            HookCostRecord { ns_per_call: 2.0, ns_exit_inside: 3.0, ns_exit_outside: 4.0, ..HookCostRecord::default() };
        let waited = FunctionRecord { value: 50, left: [20, 0], idle: [10, 0], ..record(Hook::Span, 10, 0, [0, 0]) };
        let path = PathRecord { functions: vec![waited], ..PathRecord::default() };
        let parts = split(&Costs::new(&profile), &path, 0, Span { kind: SpanKind::Wait, ..whole(2000, 20) });
        assert_eq!(parts.len(), 1);
        assert_eq!((parts[0].sum_ns, parts[0].probe_ns), (2000, 2 * (50 + 20 * 7 + 10)));
    }

    proptest! {
        #[test]
        fn what_is_taken_off_the_parts_is_what_is_taken_off_the_whole(
            parts in proptest::collection::vec((0u64..1 << 50, 0u64..1 << 50), 1..9),
        ) {
            let mut spans: Vec<Span> =
                parts.iter().map(|&(sum_ns, probe_ns)| Span { probe_ns, ..whole(sum_ns, 1) }).collect();
            let (sum, probes) = parts.iter().fold((0, 0), |all, part| (all.0 + part.0, all.1 + part.1));
            let left = share_excess(&mut spans);
            prop_assert!(spans.iter().all(|span| span.probe_ns <= span.sum_ns));
            prop_assert_eq!(spans.iter().map(|span| span.probe_ns).sum::<u64>(), probes.min(sum));
            prop_assert_eq!(left, probes.saturating_sub(sum));
        }

        #[test]
        fn parts_sum_to_the_whole(
            sum_ns: u64, count in 1u64..1000, all in 0u64..1_000_000, times in proptest::collection::vec(0u64..1_000_000, 0..8),
        ) {
            let mut functions = vec![record(Hook::Span, 7, all, [3, 3])];
            functions.extend(times.iter().enumerate().map(|(at, ns)| record(Hook::ALL[at + 3], 9, *ns, [1, 2])));
            let path = PathRecord { functions, ..PathRecord::default() };
            let profile = Profile::default();
            let parts = split(&Costs::new(&profile), &path, 0, whole(sum_ns, count));
            prop_assert_eq!(parts.iter().map(|part| u128::from(part.sum_ns)).sum::<u128>(), u128::from(sum_ns));
            prop_assert!(parts.iter().all(|part| part.probe_ns <= part.sum_ns));
        }
    }
}
