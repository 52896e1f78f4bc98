//! The contract `netstrata.report/1`. Its schema is `docs/report.schema.json`.

mod devices;

use netstrata_common::{Edge, Hook, Layer, Way};
use serde_json::{Value, json};

use crate::{
    analysis::{Account, FunctionTotal, LayerTotal, Of, PathAccount, RowIntervals, Span, device_name, turn_interval},
    cpu::{Context, TaskAccount, TaskKey},
    profile::{Histogram, Observer, Profile, TurnRecord},
};

/// The report as JSON, for people too.
pub fn render(profile: &Profile, account: &Account) -> String {
    format!("{:#}\n", value(profile, account))
}

/// The report as a value.
pub fn value(profile: &Profile, account: &Account) -> Value {
    json!({
        "schema": "netstrata.report/1",
        "meta": meta(profile),
        "trust": trust(profile, account),
        "paths": account.paths.iter().map(|path| path_json(profile, path)).collect::<Vec<_>>(),
        "layers": layers(account),
        "functions": functions(profile, account),
        "cpu": cpu(profile, account),
        "softirqs": softirqs(profile, account),
        "drops": drops(profile),
        "devices": devices::devices(profile, account),
        "turnarounds": turnarounds(profile),
        "reconciliation": reconciliation(account),
        "retransmits": profile.retransmits,
    })
}

fn turnarounds(profile: &Profile) -> Vec<Value> {
    let row = |turn: &TurnRecord| {
        let mut ns = times(&turn.ns);
        set_interval(&mut ns, turn_interval(profile, turn));
        json!({
            "netns": profile.topology.namespace_name(turn.netns),
            "pid": turn.pid,
            "ns": ns,
            "count": turn.ns.count,
        })
    };
    profile.turnarounds.iter().map(row).collect()
}

fn reconciliation(account: &Account) -> Value {
    let both = &account.reconciliation;
    let mut value = json!({
        "service_ns_per_packet": round(both.service_ns_per_packet),
        "cpu_ns_per_packet": round(both.cpu_ns_per_packet),
    });
    if account.intervals.all(&Of::Reconciliation).next().is_some() {
        value["ratio"] = share(both.ratio(), 1.0).into();
    }
    set_intervals(&mut value, account, &Of::Reconciliation);
    value
}

/// Three decimals: enough for every unit in use, and the same text on every machine.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Shares get six decimals.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole * 1e6).round() / 1e6 } else { 0.0 }
}

fn meta(profile: &Profile) -> Value {
    let meta = &profile.meta;
    let mut value = json!({
        "kernel": meta.kernel,
        "arch": meta.arch,
        "cpus": meta.cpus,
        "clock": meta.clock.name(),
        "duration_ns": meta.duration_ns,
        "tiers": meta.tiers,
        "probes": meta.probes,
        "missing": meta.missing,
        "filters": meta.filters,
        "command": meta.command,
        "exit_code": meta.exit_code,
        "benchmark": meta.benchmark,
        "recorder": meta.recorder,
    });
    if !meta.benchmark_notes.is_empty() {
        value["benchmark_notes"] = json!(meta.benchmark_notes);
    }
    if meta.parts.len() > 1 {
        value["recordings"] = meta.parts.len().into();
    }
    let (folded, _) = profile.folded();
    if folded > 0 {
        value["folded_paths"] = folded.into();
    }
    value
}

fn hooks(observer: &Observer) -> Vec<Value> {
    Way::ALL
        .iter()
        .zip(observer.hooks)
        .map(|(way, cost)| {
            json!({
                "kind": way,
                "ns_per_call": round(cost.ns_per_call),
                "ns_per_followed_call": round(cost.ns_per_followed_call),
                "ns_entry_outside": round(cost.ns_entry_outside),
                "ns_entry_inside": round(cost.ns_entry_inside),
                "ns_exit_inside": round(cost.ns_exit_inside),
                "ns_exit_outside": round(cost.ns_exit_outside),
                "ns_exit_together": round(cost.ns_exit_together),
            })
        })
        .collect()
}

fn trust(profile: &Profile, account: &Account) -> Value {
    let observer = &profile.observer;
    let mut trust = json!({
        "verdict": account.trust.verdict.name(),
        "reasons": account.trust.reasons,
        "sample_rate": share(profile.sampling.followed as f64, profile.sampling.packets as f64),
        "observed_share": share(profile.sampling.observed_ns as f64, profile.meta.duration_ns as f64),
        "rates": profile.sampling.rates,
        "budget": profile.sampling.budget,
        "lost": account.trust.lost,
        "observer": {
            "cpu_share": share(observer.cpu_share, 1.0),
            "ns_per_crossing": round(observer.ns_per_crossing),
            "ns_per_followed_crossing": round(observer.ns_per_followed_crossing),
            "pace": round(observer.pace),
            "ns_in_span_per_crossing": round(observer.ns_in_span_per_crossing),
            "ns_in_span_at_ready": round(observer.ns_in_span_at_ready),
            "ns_per_softirq": round(observer.ns_per_softirq),
            "ns_per_sample": round(observer.ns_per_sample),
            "hooks": hooks(observer),
            "hook_calls": observer.hook_calls,
            "followed_hook_calls": observer.followed_hook_calls,
            "crossings": observer.crossings,
            "followed_crossings": observer.followed_crossings,
            "recorder_share": share(observer.recorder_share, 1.0),
            "recorder_rss_bytes": observer.recorder_rss_bytes,
        },
        "steal_share": share(profile.meta.steal_share, 1.0),
    });
    // Profiles from before are told as ever.
    if observer.busiest_cpu_share > 0.0 {
        trust["observer"]["busiest_cpu_share"] = share(observer.busiest_cpu_share, 1.0).into();
        trust["observer"]["ns_per_timed_softirq"] = round(observer.ns_per_timed_softirq).into();
    }
    if observer.has_interval() {
        trust["observer"]["ns_in_span_low"] = round(observer.ns_in_span_low).into();
        trust["observer"]["ns_in_span_high"] = round(observer.ns_in_span_high).into();
        trust["observer"]["ns_in_span_at_return"] = round(observer.ns_in_span_at_return).into();
        trust["correction"] = json!({
            "subtracted_ns": account.correction.subtracted_ns,
            "unsubtracted_ns": account.correction.unsubtracted_ns,
            "unsubtracted_share": share(account.correction.unsubtracted_share(), 1.0),
        });
        set_intervals(&mut trust["correction"], account, &Of::Correction);
    }
    if let Some(interval) = account.intervals.of(&Of::Host, "cpu_share") {
        set_share_interval(&mut trust["observer"]["intervals"], "cpu_share", Some(interval));
    }
    if let Some(interval) = account.intervals.of(&Of::Host, "steal_share") {
        set_share_interval(&mut trust["intervals"], "steal_share", Some(interval));
    }
    trust
}

/// Sum, mean and quantiles; the quantiles are within 6.25 %.
fn times(histogram: &Histogram) -> Value {
    json!({
        "sum": histogram.sum,
        "mean": round(histogram.mean()),
        "p50": histogram.quantile(0.5),
        "p90": histogram.quantile(0.9),
        "p99": histogram.quantile(0.99),
        "max": histogram.max,
    })
}

/// A sum of which only the mean is known.
fn mean_only(sum: u64, count: u64) -> Value {
    let mean = if count > 0 { sum as f64 / count as f64 } else { 0.0 };
    json!({ "sum": sum, "mean": round(mean), "p50": null, "p90": null, "p99": null, "max": null })
}

/// The 95 % interval of a mean, where it is known.
fn set_interval(value: &mut Value, interval: Option<[f64; 2]>) {
    if let Some(interval) = interval {
        value["interval"] = interval.map(round).into_iter().collect();
    }
}

/// That of a share.
fn set_share_interval(value: &mut Value, name: &str, interval: Option<[f64; 2]>) {
    if let Some(interval) = interval {
        value[name] = interval.map(|end| share(end, 1.0)).into_iter().collect();
    }
}

/// Those of the figures of an object, by their names.
fn set_intervals(value: &mut Value, account: &Account, of: &Of) {
    for (name, interval) in account.intervals.all(of) {
        let digits = |end: f64| if name.ends_with("share") || name == "ratio" { share(end, 1.0) } else { round(end) };
        value["intervals"][name] = interval.map(digits).into_iter().collect();
    }
}

fn path_json(profile: &Profile, path: &PathAccount) -> Value {
    let record = &path.record;
    let total = record.end_to_end.sum as f64;
    let mut end_to_end = times(&record.end_to_end);
    end_to_end["count"] = record.end_to_end.count.into();
    set_interval(&mut end_to_end, path.intervals.end_to_end);
    let mut unattributed = mean_only(path.unattributed_ns, record.end_to_end.count);
    unattributed["count"] = record.end_to_end.count.into();
    set_interval(&mut unattributed, path.intervals.unattributed);
    let mut corrected = json!({ "mean": round(path.corrected_mean()) });
    set_interval(&mut corrected, path.intervals.corrected);
    let mut value = json!({
        "id": format!("{:016x}", record.id),
        "from": path.from,
        "to": path.to,
        "protocol": path.protocol,
        "devices": path.devices,
        "end": record.end,
        "reason": record.reason,
        "samples": record.samples,
        "packets": record.packets,
        "wire_packets": record.wire_packets,
        "bytes": record.bytes,
        "payload_bytes": record.payload_bytes,
        "skbs_at_end": round(record.skbs_at_end_micro as f64 / 1e6),
        "lineage": record.edges.iter().map(|(at, edge)| edge_json(profile, path, *at, *edge)).collect::<Vec<_>>(),
        "end_to_end_ns": end_to_end,
        "corrected_end_to_end_ns": corrected,
        "unattributed_ns": unattributed,
        "softirqs_per_packet": path.softirqs,
        "cpu_hops_per_packet": round(record.cpu_hops as f64 / record.packets.max(1) as f64),
        "spans": path.spans.iter().enumerate().map(|(at, span)| {
            span_json(profile, span, path.intervals.row(at), total)
        }).collect::<Vec<_>>(),
    });
    let counted = [("cpu_hops_per_packet", path.intervals.cpu_hops), ("skbs_at_end", path.intervals.skbs_at_end)];
    for (name, interval) in counted.into_iter().filter_map(|(name, interval)| Some((name, interval?))) {
        value["intervals"][name] = interval.map(round).into_iter().collect();
    }
    if record.crossings_left_out > 0 {
        value["crossings_left_out"] = record.crossings_left_out.into();
    }
    if let Some(folded) = &record.folded {
        value["folded_paths"] = folded.paths.into();
    }
    value
}

/// Where one skb goes on as another.
fn edge_json(profile: &Profile, path: &PathAccount, at: u16, edge: Edge) -> Value {
    let crossing = path.record.crossings.get(usize::from(at)).copied();
    json!({
        "edge": edge,
        "point": crossing.map(|crossing| crossing.point.name()),
        "device": crossing.map(|crossing| device_name(&profile.topology, crossing)),
        "netns": crossing.map(|crossing| profile.topology.namespace_name(crossing.netns)),
    })
}

fn span_json(profile: &Profile, span: &Span, intervals: RowIntervals, total: f64) -> Value {
    let mut value = json!({
        "span": span.index,
        "layer": span.layer.map(|layer| layer.name()),
        "device": span.device,
        "netns": profile.topology.namespace_name(span.netns),
        "kind": span.kind.name(),
        "tier": span.tier,
        "count": span.count,
        "ns": span.distribution.as_ref().map_or_else(|| mean_only(span.sum_ns, span.count), times),
        "corrected_mean_ns": round(span.corrected_mean()),
        "share": share(span.sum_ns as f64, total),
    });
    set_interval(&mut value["ns"], intervals.mean);
    if let Some(interval) = intervals.corrected {
        value["intervals"]["corrected_mean_ns"] = interval.map(round).into_iter().collect();
    }
    if intervals.share.is_some() {
        set_share_interval(&mut value["intervals"], "share", intervals.share);
    }
    if profile.observer.has_interval() && span.unsubtracted_ns > 0 {
        value["unsubtracted_mean_ns"] = round(span.unsubtracted_ns as f64 / span.count.max(1) as f64).into();
    }
    // Only where the span was split over functions.
    if let Some(part) = span.hook {
        value["hook"] = profile.hook_name(part.hook).into();
        value["calls_per_packet"] = round(part.calls_per_packet).into();
    }
    value
}

fn layers(account: &Account) -> Vec<Value> {
    let seen = account.seen();
    let all: u64 = account.paths.iter().map(|path| path.record.end_to_end.sum).sum();
    let row = |layer: Option<Layer>, total: &LayerTotal| {
        let cpu_ns = account.cpu.ns(total.cpu_samples) as f64;
        let per = |value: f64, count: f64| if count > 0.0 { round(value / count) } else { 0.0 };
        let mut row = json!({
            "layer": layer.map_or("unattributed", |layer| layer.name()),
            // Journeys are of the packets that were seen, samples of the whole recording: each is divided by its own. The
            // names are contract, and do not say it; docs/output.md does.
            "latency_ns_per_packet": per(total.latency_ns as f64, seen as f64),
            "corrected_latency_ns_per_packet": per((total.latency_ns - total.probe_ns) as f64, seen as f64),
            "cpu_ns_per_packet": per(cpu_ns, account.packets),
            "cpu_ns_per_byte": per(cpu_ns, account.bytes),
            "cpu_share": share(total.cpu_samples as f64, account.cpu.busy as f64),
            "wait_share": share(total.wait_ns as f64, total.latency_ns as f64),
        });
        let of = Of::Layer(layer);
        set_interval(&mut row, account.intervals.of(&of, "latency_ns_per_packet"));
        set_intervals(&mut row, account, &of);
        if account.intervals.of(&of, "latency_share").is_some() {
            row["latency_share"] = share(total.latency_ns as f64, all as f64).into();
        }
        row
    };
    let mut rows: Vec<Value> = account.layers.iter().map(|(layer, total)| row(Some(*layer), total)).collect();
    rows.push(row(None, &account.unattributed()));
    rows
}

/// Hooked functions over all paths; those that no packet met with zeros.
fn functions(profile: &Profile, account: &Account) -> Vec<Value> {
    let seen = account.seen();
    let per = |value: f64| if seen > 0 { round(value / seen as f64) } else { 0.0 };
    let row = |layer: Option<Layer>, hook: Hook, total: &FunctionTotal| {
        let info = hook.info();
        let at = profile.hooks.iter().find(|record| record.hook == hook.charged_by());
        let mut row = json!({
            "layer": layer.map(|layer| layer.name()),
            "hook": profile.hook_name(hook),
            "function": at.map(|record| &record.function),
            "module": at.map(|record| &record.module),
            "kind": at.map(|record| &record.kind),
            "calls_per_packet": per(total.calls),
            "self_ns_per_packet": per(total.sum_ns as f64),
            "corrected_self_ns_per_packet": per((total.sum_ns - total.probe_ns) as f64),
            "value": if info.value.is_empty() { None } else { Some(info.value) },
            "value_per_call": if total.calls > 0.0 { round(total.value / total.calls) } else { 0.0 },
        });
        set_intervals(&mut row, account, &Of::Function(layer, hook));
        row
    };
    let mut rows: Vec<Value> =
        account.functions.iter().map(|((layer, hook), total)| row(*layer, *hook, total)).collect();
    for hook in profile.hooks.iter().map(|record| record.hook) {
        if !account.functions.keys().any(|(_, met)| met.charged_by() == hook) {
            rows.push(row(hook.info().layer, hook, &FunctionTotal::default()));
        }
    }
    rows
}

fn cpu(profile: &Profile, account: &Account) -> Value {
    let cpu = &account.cpu;
    let contexts: serde_json::Map<String, Value> = Context::ALL
        .iter()
        .map(|context| (context.name().to_owned(), cpu.contexts.get(context).copied().unwrap_or(0).into()))
        .collect();
    let mut tasks: Vec<_> = cpu.tasks.iter().filter(|(task, _)| task.pid != 0).collect();
    tasks.sort_by(|a, b| b.1.samples.cmp(&a.1.samples).then(a.0.cmp(b.0)));
    let task_row = |(task, row): &(&TaskKey, &TaskAccount)| {
        let mut value = json!({
            "pid": task.pid,
            "comm": task.comm,
            "container": task.container,
            "samples": row.samples,
        });
        if let Some(interval) = account.intervals.of(&Of::Task((*task).clone()), "share") {
            value["share"] = share(row.busy() as f64, cpu.busy as f64).into();
            set_share_interval(&mut value, "interval", Some(interval));
        }
        value
    };
    let mut value = json!({
        "source": profile.cpu.source,
        "samples": profile.cpu.samples,
        "expected_samples": profile.cpu.expected,
        "period_ns": profile.cpu.period_ns,
        "busy_ns": cpu.ns(cpu.busy),
        "unattributed_share": share(cpu.unattributed as f64, cpu.busy as f64),
        "by_context": contexts,
        "by_cpu": by_cpu(account),
        "tasks": tasks.iter().take(50).map(task_row).collect::<Vec<_>>(),
    });
    let unattributed = account.intervals.of(&Of::Layer(None), "cpu_share");
    if unattributed.is_some() {
        set_share_interval(&mut value["intervals"], "unattributed_share", unattributed);
    }
    for context in Context::ALL {
        if let Some(interval) = account.intervals.of(&Of::Context(*context), "share") {
            let of = cpu.contexts.get(context).copied().unwrap_or(0);
            let row = &mut value["context_shares"][context.name()];
            row["share"] = share(of as f64, cpu.samples as f64).into();
            set_share_interval(row, "interval", Some(interval));
        }
    }
    value
}

fn by_cpu(account: &Account) -> Vec<Value> {
    let row = |cpu: u16| {
        let (busy, idle) = account.cpu.of_cpu(cpu);
        let busy_share = share(account.cpu.busy_share(cpu), 1.0);
        let mut value = json!({ "cpu": cpu, "samples": busy + idle, "busy_share": busy_share });
        set_share_interval(&mut value, "interval", account.intervals.of(&Of::Cpu(cpu), "busy_share"));
        value
    };
    account.cpu.numbers().into_iter().map(row).collect()
}

fn softirqs(profile: &Profile, account: &Account) -> Value {
    let rows = profile.softirqs.vectors.iter().map(|row| {
        let mean = |sum: u64, count: u64| if count > 0 { round(sum as f64 / count as f64) } else { 0.0 };
        let mut value = json!({
            "cpu": row.cpu,
            "vector": row.vector,
            "total": row.total,
            "timed": row.count,
            "ns": row.ns,
            "mean_ns": mean(row.ns, row.count),
            "mean_wait_ns": mean(row.wait_ns, row.waits),
            "packets_per_poll": mean(row.polled, row.polls),
        });
        set_intervals(&mut value, account, &Of::Softirq(row.cpu, row.vector));
        value
    });
    json!({
        "observed_ns": profile.softirqs.observed_ns,
        "backlog_drops": profile.softirqs.backlog_drops,
        "vectors": rows.collect::<Vec<_>>(),
    })
}

fn drops(profile: &Profile) -> Vec<Value> {
    profile
        .drops
        .iter()
        .map(|drop| {
            let device = profile.topology.device(drop.netns, drop.ifindex).map_or("", |device| &device.name);
            let layer = crate::cpu::Classifier::new(std::slice::from_ref(&drop.function)).datapath_layer(&[0]);
            json!({
                "reason": drop.reason,
                "layer": layer.map_or("drop", |layer| layer.name()),
                "device": device,
                "netns": profile.topology.namespace_name(drop.netns),
                "function": drop.function,
                "count": drop.count,
            })
        })
        .collect()
}
