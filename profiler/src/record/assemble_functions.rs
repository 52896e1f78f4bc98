//! What the function tier adds to a profile.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::Result;
use netstrata_common::{FunctionKey, FunctionNode, Head, Hook, KIND_FENTRY, KIND_KPROBE};

use super::{
    function_costs::HookCost,
    functions::{Attached, Way},
    online_cpus,
    recorder::Recording,
};
use crate::profile::{FunctionRecord, HookCostRecord, HookRecord, Observer, PathRecord};

/// Losses of the function tier, by cause; none where it was not in use.
pub fn losses(recording: &Recording) -> Result<BTreeMap<String, u64>> {
    let mut lost = BTreeMap::new();
    if recording.no_functions.is_some() {
        return Ok(lost);
    }
    let heads: Vec<Head> = recording.session.per_cpu::<Head>("FUNCTION_HEAD")?.swap_remove(0);
    let mut put = |name: &str, of: fn(&Head) -> u64| lost.insert(name.to_owned(), heads.iter().map(of).sum());
    put("function_too_deep", |head| head.lost.too_deep);
    put("function_no_exit", |head| head.lost.no_exit);
    put("function_too_many", |head| head.lost.too_many);
    put("function_charges_full", |head| head.lost.charges_full);
    put("function_table_full", |head| head.lost.table_full);
    put("function_nested", |head| head.lost.nested);
    lost.insert("function_missed".to_owned(), recording.session.missed_functions());
    Ok(lost)
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
            hook: hook.info().name.to_owned(),
            calls: node.calls,
            sum_ns: node.sum_ns,
            value: node.value,
            children: node.children,
        });
    }
    for path in paths.values_mut() {
        path.functions.sort_by_key(|function| (function.span, Hook::from_name(&function.hook)));
    }
    Ok(())
}

/// Measured costs as they stand in a profile.
pub fn cost_record(cost: HookCost) -> HookCostRecord {
    HookCostRecord {
        ns_per_call: cost.ns_per_call,
        ns_per_followed_call: cost.ns_per_followed_call,
        ns_inside: cost.ns_inside,
        ns_outside: cost.ns_outside,
    }
}

/// Hooked functions as they stand in a profile.
pub fn hooks(attached: Vec<Attached>) -> Vec<HookRecord> {
    let record = |hook: Attached| HookRecord {
        hook: hook.hook.info().name.to_owned(),
        function: hook.function,
        module: hook.module,
        kind: hook.way.name().to_owned(),
    };
    attached.into_iter().map(record).collect()
}

/// Puts the cost of hooks on the bill: measured per call, for followed packets as counted, for the others as many calls a
/// packet as the followed ones had.
pub fn cost<'a>(
    observer: &mut Observer,
    recording: &Recording,
    paths: impl Iterator<Item = &'a PathRecord>,
    attached: &[Attached],
    duration: Duration,
) {
    if attached.is_empty() {
        return;
    }
    let kinds: HashMap<Hook, usize> = attached
        .iter()
        .map(|hook| (hook.hook, if hook.way == Way::Fentry { KIND_FENTRY } else { KIND_KPROBE }))
        .collect();
    let mut spent = 0.0;
    for path in paths {
        let weight = path.packets as f64 / path.samples.max(1) as f64;
        for function in path.functions.iter().filter(|function| function.hook != Hook::Span.info().name) {
            let hook = Hook::from_name(&function.hook).map(Hook::charged_by);
            let kind = hook.and_then(|hook| kinds.get(&hook)).copied().unwrap_or(KIND_FENTRY);
            let cost = recording.hook_costs[kind];
            let followed = function.calls as f64 / weight.max(1.0);
            observer.followed_hook_calls += followed as u64;
            observer.hook_calls += function.calls;
            spent += followed * cost.ns_per_followed_call + (function.calls as f64 - followed) * cost.ns_per_call;
        }
    }
    // Packets that passed while nobody was to be followed met the hooks, too.
    let observed = recording.observed.as_secs_f64() / duration.as_secs_f64().max(1e-9);
    let available = duration.as_nanos() as f64 * online_cpus().len() as f64;
    observer.cpu_share += spent / observed.clamp(0.01, 1.0) / available.max(1.0);
}
