//! Paths added, and the chains of nftables that their hooks name.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
};

use netstrata_common::Hook;

use crate::profile::{FunctionRecord, Histogram, PathRecord, Profile};

/// Chains have rows in the order in which a recording met them: here in that of their names, in all profiles alike. Those for
/// which no row is left are told by the hook of all chains, as a recording does it.
pub(super) fn rename_chains(profiles: &mut [Profile]) -> BTreeMap<Hook, String> {
    let rows = Hook::ALL.iter().copied().filter(|hook| hook.is_chain());
    let names: BTreeSet<String> = profiles.iter().flat_map(|profile| profile.chains.values().cloned()).collect();
    let by_name: BTreeMap<&String, Hook> = names.iter().zip(rows).collect();
    for profile in profiles.iter_mut() {
        let chains = take(&mut profile.chains);
        let row = |hook: Hook| chains.get(&hook).and_then(|name| by_name.get(name)).copied();
        for function in profile.paths.iter_mut().flat_map(|path| &mut path.functions) {
            if function.hook.is_chain() {
                function.hook = row(function.hook).unwrap_or(function.hook.charged_by());
            }
        }
    }
    by_name.into_iter().map(|(name, hook)| (hook, name.clone())).collect()
}

/// Paths of all profiles, busiest first; equal ones by id.
pub(super) fn sum(profiles: Vec<Profile>) -> Vec<PathRecord> {
    let mut sums: BTreeMap<u64, PathRecord> = BTreeMap::new();
    for path in profiles.into_iter().flat_map(|profile| profile.paths) {
        let sum = sums.entry(path.id).or_insert_with(|| PathRecord {
            id: path.id,
            crossings: path.crossings.clone(),
            end: path.end,
            reason: path.reason.clone(),
            protocol: path.protocol,
            edges: path.edges.clone(),
            ..PathRecord::default()
        });
        add(sum, path);
    }
    let mut paths: Vec<PathRecord> = sums.into_values().collect();
    paths.sort_by(|a, b| b.packets.cmp(&a.packets).then(a.id.cmp(&b.id)));
    paths
}

fn add(sum: &mut PathRecord, path: PathRecord) {
    sum.samples += path.samples;
    sum.packets += path.packets;
    sum.wire_packets += path.wire_packets;
    sum.bytes += path.bytes;
    sum.payload_bytes += path.payload_bytes;
    sum.skbs_at_end_micro += path.skbs_at_end_micro;
    sum.cpu_hops += path.cpu_hops;
    sum.end_to_end.merge(&path.end_to_end);
    sum.spans.resize(sum.spans.len().max(path.spans.len()), Histogram::default());
    sum.spans.iter_mut().zip(&path.spans).for_each(|(sum, span)| sum.merge(span));
    for function in path.functions {
        let alike = |own: &FunctionRecord| (own.span, own.hook).cmp(&(function.span, function.hook));
        match sum.functions.binary_search_by(alike) {
            Ok(at) => add_function(&mut sum.functions[at], &function),
            Err(at) => sum.functions.insert(at, function),
        }
    }
}

fn add_function(sum: &mut FunctionRecord, function: &FunctionRecord) {
    let both = |sum: &mut [u64; 2], more: [u64; 2]| sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    sum.calls += function.calls;
    sum.returns += function.returns;
    sum.sum_ns += function.sum_ns;
    sum.value += function.value;
    both(&mut sum.entered, function.entered);
    both(&mut sum.left, function.left);
    both(&mut sum.nested, function.nested);
    both(&mut sum.idle, function.idle);
    sum.softirqs += function.softirqs;
    sum.ends += function.ends;
    sum.tails += function.tails;
}
