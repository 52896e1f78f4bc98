//! What the function tier adds to a profile.

use std::collections::BTreeMap;

use anyhow::Result;
use netstrata_common::{Chain, FunctionKey, FunctionNode, Head, Hook, KIND_KPROBE};

use super::{functions::Attached, recording::Recording};
use crate::{
    output::name,
    profile::{FunctionRecord, HookRecord, Observer, PathRecord},
};

/// What hooks look at first, of each CPU; none where the function tier was not in use.
pub fn heads(recording: &Recording) -> Result<Option<Vec<Head>>> {
    if recording.no_functions.is_some() {
        return Ok(None);
    }
    Ok(Some(recording.session.per_cpu::<Head>("FUNCTION_HEAD")?.swap_remove(0)))
}

/// Enters what hooks took into the paths.
pub fn read(recording: &Recording, paths: &mut BTreeMap<u64, PathRecord>) -> Result<()> {
    for (key, node) in recording.session.entries::<FunctionKey, FunctionNode>("FUNCTIONS")? {
        let (Some(path), Some(hook)) = (paths.get_mut(&key.path), Hook::from_id(key.hook as u8)) else { continue };
        if key.index == 0 || key.index as usize > path.spans.len() {
            continue;
        }
        path.functions.push(FunctionRecord {
            span: key.index - 1,
            hook,
            calls: node.calls,
            returns: node.returns,
            sum_ns: node.sum_ns,
            value: node.value,
            entered: node.entered,
            left: node.left,
            nested: node.nested,
            idle: node.idle,
            softirqs: node.softirqs,
            ends: node.ends,
            tails: node.tails,
        });
    }
    for path in paths.values_mut() {
        path.functions.sort_by_key(|function| (function.span, function.hook));
    }
    Ok(())
}

/// The chains that have rows: `table/chain` by row.
pub fn chains(recording: &Recording) -> Result<BTreeMap<Hook, String>> {
    let text = |bytes: &[u8]| name(bytes.split(|byte| *byte == 0).next().unwrap_or_default());
    let mut chains = BTreeMap::new();
    if recording.no_functions.is_some() {
        return Ok(chains);
    }
    for (place, chain) in recording.session.entries::<u32, Chain>("NFT_CHAINS")? {
        if let Some(hook) = Hook::from_id((Hook::NftChain1 as u32 + place) as u8).filter(|hook| hook.is_chain()) {
            chains.insert(hook, format!("{}/{}", text(&chain.table), text(&chain.name)));
        }
    }
    Ok(chains)
}

/// Hooked functions as they stand in a profile.
pub fn hooks(attached: Vec<Attached>) -> Vec<HookRecord> {
    let record =
        |hook: Attached| HookRecord { hook: hook.hook, function: hook.function, module: hook.module, kind: hook.way };
    attached.into_iter().map(record).collect()
}

/// What hooks took, by CPU, nanoseconds: what was called, times what that costs. Enters the calls.
pub fn cost(observer: &mut Observer, recording: &Recording) -> Result<Vec<f64>> {
    let Some(heads) = heads(recording)? else { return Ok(Vec::new()) };
    observer.ns_per_softirq = recording.softirq_cost;
    let mut spent = Vec::new();
    for (cpu, head) in heads.iter().enumerate() {
        let first = recording.first_tally.get(cpu).copied().unwrap_or_default();
        let tally = head.tally.since(&first);
        let mut ns = tally.softirqs as f64 * recording.softirq_cost;
        for (kind, cost) in recording.hook_costs.iter().enumerate() {
            // A call is an entry and an exit.
            let busy = (tally.entered[kind] + tally.left[kind]) / 2;
            let idle = tally.idle[kind] / 2;
            observer.followed_hook_calls += busy;
            observer.hook_calls += busy + idle;
            ns += busy as f64 * cost.ns_per_followed_call + idle as f64 * cost.ns_per_call;
        }
        let kprobe = &recording.hook_costs[KIND_KPROBE];
        ns += tally.tails as f64 * (kprobe.ns_per_followed_call / 2.0 - kprobe.exit() + kprobe.ns_exit_together);
        spent.push(ns);
    }
    Ok(spent)
}
