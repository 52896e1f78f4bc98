//! The contract `netstrata.report/1`. Its schema is `docs/report.schema.json`.

use netstrata_common::{Edge, Hook, Layer, Way};
use serde_json::{Value, json};

use crate::{
    analysis::{Account, FunctionTotal, LayerTotal, PathAccount, Span, device_name},
    cpu::Context,
    profile::{Histogram, Profile},
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
        "softirqs": softirqs(profile),
        "drops": drops(profile),
        "devices": devices(profile),
        "turnarounds": profile.turnarounds.iter().map(|turn| json!({
            "netns": profile.topology.namespace_name(turn.netns),
            "pid": turn.pid,
            "ns": times(&turn.ns),
            "count": turn.ns.count,
        })).collect::<Vec<_>>(),
        "reconciliation": {
            "service_ns_per_packet": round(account.reconciliation.service_ns_per_packet),
            "cpu_ns_per_packet": round(account.reconciliation.cpu_ns_per_packet),
        },
        "retransmits": profile.retransmits,
    })
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
    if meta.parts.len() > 1 {
        value["recordings"] = meta.parts.len().into();
    }
    let (folded, _) = profile.folded();
    if folded > 0 {
        value["folded_paths"] = folded.into();
    }
    value
}

fn trust(profile: &Profile, account: &Account) -> Value {
    let observer = &profile.observer;
    let hooks: Vec<Value> = Way::ALL
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
        .collect();
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
            "hooks": hooks,
            "hook_calls": observer.hook_calls,
            "followed_hook_calls": observer.followed_hook_calls,
            "crossings": observer.crossings,
            "followed_crossings": observer.followed_crossings,
            "recorder_share": share(observer.recorder_share, 1.0),
            "recorder_rss_bytes": observer.recorder_rss_bytes,
        },
        "steal_share": share(profile.meta.steal_share, 1.0),
    });
    // A profile from before intervals is told as ever.
    if observer.has_interval() {
        trust["observer"]["ns_in_span_low"] = round(observer.ns_in_span_low).into();
        trust["observer"]["ns_in_span_high"] = round(observer.ns_in_span_high).into();
        trust["observer"]["ns_in_span_at_return"] = round(observer.ns_in_span_at_return).into();
        trust["correction"] = json!({
            "subtracted_ns": account.correction.subtracted_ns,
            "unsubtracted_ns": account.correction.unsubtracted_ns,
            "unsubtracted_share": share(account.correction.unsubtracted_share(), 1.0),
        });
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

fn path_json(profile: &Profile, path: &PathAccount) -> Value {
    let record = &path.record;
    let total = record.end_to_end.sum as f64;
    let mut end_to_end = times(&record.end_to_end);
    end_to_end["count"] = record.end_to_end.count.into();
    set_interval(&mut end_to_end, path.intervals.end_to_end);
    let mut unattributed = mean_only(path.unattributed_ns, record.end_to_end.count);
    unattributed["count"] = record.end_to_end.count.into();
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
        "corrected_end_to_end_ns": { "mean": round(path.corrected_mean()) },
        "unattributed_ns": unattributed,
        "softirqs_per_packet": path.softirqs,
        "cpu_hops_per_packet": round(record.cpu_hops as f64 / record.packets.max(1) as f64),
        "spans": path.spans.iter().map(|span| span_json(profile, path, span, total)).collect::<Vec<_>>(),
    });
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

fn span_json(profile: &Profile, path: &PathAccount, span: &Span, total: f64) -> Value {
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
    set_interval(&mut value["ns"], path.intervals.of(span));
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
    let seen: u64 = account.paths.iter().map(|path| path.record.packets).sum();
    let row = |layer: &str, total: &LayerTotal| {
        let cpu_ns = account.cpu.ns(total.cpu_samples) as f64;
        let per = |value: f64, count: f64| if count > 0.0 { round(value / count) } else { 0.0 };
        json!({
            "layer": layer,
            // Journeys are of the packets that were seen, samples of the whole recording: each is divided by its own. The
            // names are contract, and do not say it; docs/output.md does.
            "latency_ns_per_packet": per(total.latency_ns as f64, seen as f64),
            "corrected_latency_ns_per_packet": per((total.latency_ns - total.probe_ns) as f64, seen as f64),
            "cpu_ns_per_packet": per(cpu_ns, account.packets),
            "cpu_ns_per_byte": per(cpu_ns, account.bytes),
            "cpu_share": share(total.cpu_samples as f64, account.cpu.busy as f64),
            "wait_share": share(total.wait_ns as f64, total.latency_ns as f64),
        })
    };
    let mut rows = Vec::new();
    for (layer, total) in &account.layers {
        let mut row = row(layer.name(), total);
        set_interval(&mut row, account.layer_intervals.get(layer).copied());
        rows.push(row);
    }
    let unattributed = LayerTotal {
        latency_ns: account.paths.iter().map(|path| path.unattributed_ns).sum(),
        probe_ns: 0,
        wait_ns: 0,
        cpu_samples: account.cpu.unattributed,
    };
    rows.push(row("unattributed", &unattributed));
    rows
}

/// Hooked functions over all paths; those that no packet met with zeros.
fn functions(profile: &Profile, account: &Account) -> Vec<Value> {
    let seen: u64 = account.paths.iter().map(|path| path.record.packets).sum();
    let per = |value: f64| if seen > 0 { round(value / seen as f64) } else { 0.0 };
    let row = |layer: Option<Layer>, hook: Hook, total: &FunctionTotal| {
        let info = hook.info();
        let at = profile.hooks.iter().find(|record| record.hook == hook.charged_by());
        json!({
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
        })
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
    json!({
        "source": profile.cpu.source,
        "samples": profile.cpu.samples,
        "expected_samples": profile.cpu.expected,
        "period_ns": profile.cpu.period_ns,
        "busy_ns": cpu.ns(cpu.busy),
        "unattributed_share": share(cpu.unattributed as f64, cpu.busy as f64),
        "by_context": contexts,
        "by_cpu": by_cpu(account),
        "tasks": tasks.iter().take(50).map(|(task, row)| json!({
            "pid": task.pid,
            "comm": task.comm,
            "container": task.container,
            "samples": row.samples,
        })).collect::<Vec<_>>(),
    })
}

fn by_cpu(account: &Account) -> Vec<Value> {
    let mut cpus: Vec<u16> = account.cpu.cpus.keys().map(|key| key.0).collect();
    cpus.dedup();
    cpus.iter()
        .map(|cpu| {
            let of = |idle: bool| -> u64 {
                let rows = account.cpu.cpus.iter().filter(|(key, _)| key.0 == *cpu && (key.1 == Context::Idle) == idle);
                rows.map(|row| row.1).sum()
            };
            let (busy, idle) = (of(false), of(true));
            json!({ "cpu": cpu, "samples": busy + idle, "busy_share": share(busy as f64, (busy + idle) as f64) })
        })
        .collect()
}

fn softirqs(profile: &Profile) -> Value {
    let rows = profile.softirqs.vectors.iter().map(|row| {
        let mean = |sum: u64, count: u64| if count > 0 { round(sum as f64 / count as f64) } else { 0.0 };
        json!({
            "cpu": row.cpu,
            "vector": row.vector,
            "total": row.total,
            "timed": row.count,
            "ns": row.ns,
            "mean_ns": mean(row.ns, row.count),
            "mean_wait_ns": mean(row.wait_ns, row.waits),
            "packets_per_poll": mean(row.polled, row.polls),
        })
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

fn devices(profile: &Profile) -> Vec<Value> {
    profile
        .devices
        .iter()
        .filter(|counters| counters.rx_packets + counters.tx_packets + counters.rx_dropped + counters.tx_dropped > 0)
        .map(|counters| {
            let device = profile.topology.device(counters.netns, counters.ifindex);
            json!({
                "netns": profile.topology.namespace_name(counters.netns),
                "device": device.map_or_else(|| format!("if{}", counters.ifindex), |device| device.name.clone()),
                "kind": device.map_or("", |device| &device.kind),
                "rx_packets": counters.rx_packets,
                "rx_bytes": counters.rx_bytes,
                "tx_packets": counters.tx_packets,
                "tx_bytes": counters.tx_bytes,
                "rx_dropped": counters.rx_dropped,
                "tx_dropped": counters.tx_dropped,
            })
        })
        .collect()
}
