//! CPU by layer, beside the time in journeys.

use std::fmt::Write as _;

use netstrata_common::Layer;

use super::{Sure, count, list, percent, plus_minus, time};
use crate::{
    analysis::{Account, Of},
    cpu::Context,
    profile::Profile,
};

const SHOWN_TASKS: usize = 6;

/// The CPUs' contexts, layers and tasks, and how well both instruments agree.
pub(super) fn layers(out: &mut String, profile: &Profile, account: &Account) -> std::fmt::Result {
    let cpu = &account.cpu;
    let all = cpu.samples.max(1);
    let contexts: Vec<String> = Context::ALL
        .iter()
        .filter_map(|context| {
            let samples = cpu.contexts.get(context).copied().unwrap_or(0);
            let share = samples as f64 / all as f64;
            let interval = account.intervals.of(&Of::Context(*context), "share");
            (samples > 0).then(|| format!("{} {}{}", context.name(), percent(share), plus_minus(interval, share)))
        })
        .collect();
    if cpu.period_ns == 0 {
        writeln!(out, "\nCPU by layer: not sampled")?;
    } else {
        writeln!(out, "\nCPU by layer ({} samples, one per {})", count(cpu.samples), time(cpu.period_ns as f64))?;
    }
    list(out, "  contexts: ", &contexts)?;
    layer_table(out, account)?;
    let mut tasks: Vec<_> = cpu.tasks.iter().filter(|(task, _)| task.pid != 0).collect();
    tasks.sort_by(|a, b| b.1.samples.cmp(&a.1.samples).then(a.0.cmp(b.0)));
    let named: Vec<String> = tasks
        .iter()
        .take(SHOWN_TASKS)
        .map(|(task, row)| {
            let container = task.container.as_ref().map(|name| format!("@{name}")).unwrap_or_default();
            let share = cpu.ns(row.samples) as f64 / profile.meta.duration_ns.max(1) as f64;
            let interval = account.intervals.of(&Of::Task((*task).clone()), "share_of_one_cpu");
            format!("{}{container} {}{}", task.comm, percent(share), plus_minus(interval, share))
        })
        .collect();
    list(out, "  tasks (of one CPU, softirqs on top included): ", &named)?;
    let both = &account.reconciliation;
    writeln!(
        out,
        "  service time per packet: {} from journeys, {} from CPU samples within the same spans",
        time(both.service_ns_per_packet),
        time(both.cpu_ns_per_packet)
    )?;
    let sure = |name: &str, figure: f64| plus_minus(account.intervals.of(&Of::Reconciliation, name), figure);
    let [journeys, samples] =
        [sure("service_ns_per_packet", both.service_ns_per_packet), sure("cpu_ns_per_packet", both.cpu_ns_per_packet)];
    if !journeys.is_empty() && !samples.is_empty() {
        let ratio = both.ratio();
        writeln!(out, "   {journeys} and{samples}; their ratio is {ratio:.2}{}", sure("ratio", ratio))?;
    }
    Ok(())
}

/// Layers by CPU time, with their time in journeys.
fn layer_table(out: &mut String, account: &Account) -> std::fmt::Result {
    let cpu = &account.cpu;
    let interval = |layer: Option<Layer>, name: &str| account.intervals.of(&Of::Layer(layer), name);
    let rows = || account.layers.keys().map(|layer| Some(*layer)).chain([None]);
    let of_busy = Sure(rows().any(|layer| interval(layer, "cpu_share").is_some()));
    let of_journeys = Sure(rows().any(|layer| interval(layer, "latency_ns_per_packet").is_some()));
    writeln!(
        out,
        "  {:<14} {:>10}{} {:>14} {:>14} {:>18}{}",
        "layer",
        "of busy",
        of_busy.cell("95 %"),
        "per packet",
        "per byte",
        "in journeys/packet",
        of_journeys.cell("95 %")
    )?;
    let seen = account.seen() as f64;
    let mut rows: Vec<(&str, Option<Layer>, u64, u64)> = account
        .layers
        .iter()
        .map(|(layer, total)| (layer.name(), Some(*layer), total.cpu_samples, total.latency_ns))
        .collect();
    rows.push(("unattributed", None, cpu.unattributed, account.unattributed().latency_ns));
    rows.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(b.0)));
    for (name, layer, samples, latency) in rows {
        let ns = cpu.ns(samples) as f64;
        let per = |whole: f64| if whole > 0.0 { ns / whole } else { 0.0 };
        let journey = if latency > 0 && seen > 0.0 { latency as f64 / seen } else { 0.0 };
        writeln!(
            out,
            "  {name:<14} {:>10}{} {:>14} {:>14} {:>18}{}",
            percent(cpu.share(samples)),
            of_busy.half(interval(layer, "cpu_share"), cpu.share(samples)),
            time(per(account.packets)),
            format!("{:.3} ns", per(account.bytes)),
            if journey > 0.0 { time(journey) } else { "-".into() },
            of_journeys.half(interval(layer, "latency_ns_per_packet"), journey),
        )?;
    }
    Ok(())
}
