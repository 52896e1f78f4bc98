//! Paths added, and the chains of nftables that their hooks name.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
};

use netstrata_common::Hook;

use crate::profile::{FunctionRecord, Histogram, PathRecord, Profile, add_peers};

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
    for mut path in profiles.into_iter().flat_map(|profile| profile.paths) {
        match sums.get_mut(&path.id) {
            Some(sum) => add(sum, path),
            None => {
                let functions = take(&mut path.functions);
                let sum = sums.entry(path.id).or_insert(path);
                add_functions(&mut sum.functions, functions);
            }
        }
    }
    let mut paths: Vec<PathRecord> = sums.into_values().collect();
    paths.sort_by(|a, b| b.packets.cmp(&a.packets).then(a.id.cmp(&b.id)));
    paths
}

/// Adds a path of the same class.
pub(in crate::profile) fn add(sum: &mut PathRecord, path: PathRecord) {
    // Every field stands here, so that the compiler asks what becomes of a new one. Those of the class are the same.
    let PathRecord {
        id: _,
        crossings: _,
        crossings_left_out: _,
        end: _,
        reason: _,
        protocol: _,
        edges: _,
        samples,
        packets,
        wire_packets,
        bytes,
        payload_bytes,
        skbs_at_end_micro,
        cpu_hops,
        end_to_end,
        spans,
        peers,
        functions,
        counted_elsewhere,
        folded,
    } = path;
    add_peers(&mut sum.peers, peers);
    sum.samples += samples;
    sum.packets += packets;
    sum.wire_packets += wire_packets;
    sum.bytes += bytes;
    sum.payload_bytes += payload_bytes;
    sum.skbs_at_end_micro += skbs_at_end_micro;
    sum.cpu_hops += cpu_hops;
    sum.end_to_end.merge(&end_to_end);
    sum.spans.resize(sum.spans.len().max(spans.len()), Histogram::default());
    sum.spans.iter_mut().zip(&spans).for_each(|(sum, span)| sum.merge(span));
    add_functions(&mut sum.functions, functions);
    sum.counted_elsewhere |= counted_elsewhere;
    if let Some(folded) = folded {
        sum.folded.get_or_insert_default().add(folded);
    }
}

/// Adds to a list that holds each hook of a span once, in their order.
fn add_functions(list: &mut Vec<FunctionRecord>, more: Vec<FunctionRecord>) {
    for function in more {
        match list.binary_search_by_key(&(function.span, function.hook), |own| (own.span, own.hook)) {
            Ok(at) => add_function(&mut list[at], function),
            Err(at) => list.insert(at, function),
        }
    }
}

fn add_function(sum: &mut FunctionRecord, more: FunctionRecord) {
    let both = |sum: &mut [u64; 2], more: [u64; 2]| sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    let FunctionRecord {
        span: _,
        hook: _,
        calls,
        returns,
        sum_ns,
        value,
        entered,
        left,
        nested,
        idle,
        softirqs,
        ends,
        tails,
    } = more;
    sum.calls += calls;
    sum.returns += returns;
    sum.sum_ns += sum_ns;
    sum.value += value;
    both(&mut sum.entered, entered);
    both(&mut sum.left, left);
    both(&mut sum.nested, nested);
    both(&mut sum.idle, idle);
    sum.softirqs += softirqs;
    sum.ends += ends;
    sum.tails += tails;
}
