//! Tables for a terminal of 100 columns.

mod cpu;
mod devices;

use std::fmt::Write as _;

use netstrata_common::{End, Way};

use crate::{
    analysis::{Account, Of, PathAccount, Span, device_name},
    output::{clip, clip_left, count, wrapped},
    profile::{Benchmark, NOT_ASKED, NOT_THERE, Observer, Profile},
};

/// Paths that are shown whole.
const SHOWN_PATHS: usize = 6;
/// Paths below this share of all time in journeys are only counted.
const LEAST_SHARE: f64 = 0.01;

/// The report as text.
pub fn render(profile: &Profile, account: &Account) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = head(&mut out, profile);
    let _ = paths(&mut out, profile, account);
    let _ = functions(&mut out, profile, account);
    let _ = cpu::layers(&mut out, profile, account);
    let _ = drops(&mut out, profile);
    let _ = devices::devices(&mut out, profile, account);
    let _ = trust(&mut out, profile, account);
    out
}

/// A time in the unit that reads best.
pub fn time(ns: f64) -> String {
    match ns {
        ns if ns < 9_999.5 => format!("{ns:.0} ns"),
        ns if ns < 9_999_500.0 => format!("{:.1} us", ns / 1e3),
        ns if ns < 9_999_500_000.0 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.1} s", ns / 1e9),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// What a benchmark measured, in a line.
pub fn benchmark_line(benchmark: &Benchmark) -> String {
    let mut parts = vec![format!("{} {}", benchmark.tool, benchmark.workload)];
    if let Some(rate) = benchmark.throughput_bits_per_s {
        parts.push(format!("{:.2} Gbit/s", rate / 1e9));
    }
    if let Some(rate) = benchmark.transactions_per_s {
        parts.push(format!("{} transactions/s", count(rate as u64)));
    }
    if let Some(ns) = benchmark.round_trip_ns {
        parts.push(format!("round trip {}", time(ns)));
    }
    if let Some(bytes) = benchmark.message_bytes {
        parts.push(format!("{} B messages", count(bytes)));
    }
    if let Some(pairs) = benchmark.pairs.filter(|pairs| *pairs > 1) {
        parts.push(format!("{pairs} pairs"));
    }
    parts.join(", ")
}

/// A path by its ends and devices.
pub fn path_name(path: &PathAccount) -> String {
    let end = match (path.record.end, &path.record.reason) {
        (End::Copied, _) => String::new(),
        (_, Some(reason)) => format!(" (dropped: {reason})"),
        (End::Absorbed, _) => " (ends in the kernel)".into(),
        (end, _) => format!(" ({})", end.name()),
    };
    format!("{} -> {} {} via {}{end}", path.from, path.to, path.protocol, path.devices.join(", "))
}

fn head(out: &mut String, profile: &Profile) -> std::fmt::Result {
    let meta = &profile.meta;
    writeln!(
        out,
        "Linux {} ({}), {} CPUs, {} recorded, journeys observed for {}",
        meta.kernel,
        meta.arch,
        meta.cpus,
        time(meta.duration_ns as f64),
        time(profile.sampling.observed_ns as f64),
    )?;
    if meta.parts.len() > 1 {
        writeln!(out, "sum of {} recordings", meta.parts.len())?;
    }
    if let Some(note) = meta.clock.note() {
        writeln!(out, "{note}")?;
    }
    if !meta.command.is_empty() {
        let line = meta.command.join(" ");
        writeln!(out, "command: {}", clip(&line, 90))?;
    }
    if !meta.filters.is_empty() {
        writeln!(out, "filters: {}", meta.filters.join(" "))?;
    }
    if let Some(benchmark) = &meta.benchmark {
        writeln!(out, "measured: {}", benchmark_line(benchmark))?;
    }
    for note in &meta.benchmark_notes {
        out.push_str(&wrapped("note: ", 6, note));
    }
    Ok(())
}

fn paths(out: &mut String, profile: &Profile, account: &Account) -> std::fmt::Result {
    let mut order: Vec<&PathAccount> = account.paths.iter().collect();
    order.sort_by(|a, b| b.record.end_to_end.sum.cmp(&a.record.end_to_end.sum).then(a.record.id.cmp(&b.record.id)));
    let all: u64 = order.iter().map(|path| path.record.end_to_end.sum).sum();
    let shown = order
        .iter()
        .take(SHOWN_PATHS)
        .take_while(|path| path.record.end_to_end.sum as f64 >= LEAST_SHARE * all as f64)
        .count();
    for path in &order[..shown] {
        writeln!(out)?;
        path_table(out, profile, path)?;
    }
    if shown < order.len() {
        let rest: u64 = order[shown..].iter().map(|path| path.record.end_to_end.sum).sum();
        writeln!(
            out,
            "\n{} more paths with {} of all time in journeys (`--format json` has them)",
            order.len() - shown,
            percent(rest as f64 / all.max(1) as f64)
        )?;
    }
    let (folded, classes) = profile.folded();
    if folded > 0 {
        writeln!(
            out,
            "{} paths of little time are told together, by the kinds of their devices: {classes} of these",
            count(folded)
        )?;
    }
    Ok(())
}

/// What a path is, and how its packets went on as others.
fn path_head(out: &mut String, profile: &Profile, path: &PathAccount) -> std::fmt::Result {
    let record = &path.record;
    let hops = record.cpu_hops as f64 / record.packets.max(1) as f64;
    writeln!(out, "{}", clip(&path_name(path), 100))?;
    writeln!(
        out,
        "  {} packets ({} on a wire, {} followed), {} B each\n  {} softirqs and {:.2}{} CPU hops per packet",
        count(record.packets),
        count(record.wire_packets),
        count(record.samples),
        count(record.bytes / record.packets.max(1)),
        path.softirqs,
        hops,
        plus_minus(path.intervals.cpu_hops, hops),
    )?;
    if !record.edges.is_empty() {
        let edges: Vec<String> = record
            .edges
            .iter()
            .filter_map(|(at, edge)| Some((edge, *record.crossings.get(usize::from(*at))?)))
            .map(|(edge, crossing)| {
                let namespace = profile.topology.namespace_name(crossing.netns);
                format!("{} at {} in {namespace}", edge.name(), device_name(&profile.topology, crossing))
            })
            .collect();
        let each = record.skbs_at_end_micro as f64 / 1e6 / record.packets.max(1) as f64;
        writeln!(out, "  lineage: {}; {each:.2} skbs of each at the end", edges.join(", "))?;
    }
    Ok(())
}

/// How sure the means of a path are: a column of its table, where there are enough batches to tell.
struct Sure(bool);

impl Sure {
    fn cell(&self, text: &str) -> String {
        if self.0 { format!(" {text:>7}") } else { String::new() }
    }

    /// Columns of a device's name and of a namespace's: intervals take some of theirs.
    fn names(&self) -> [usize; 2] {
        if self.0 { [12, 11] } else { [15, 15] }
    }

    /// See [`beyond`].
    fn half(&self, interval: Option<[f64; 2]>, mean: f64) -> String {
        self.cell(&beyond(interval, mean).unwrap_or_else(|| "-".into()))
    }
}

/// How far an interval goes beyond its figure, as a share of it.
pub fn beyond(interval: Option<[f64; 2]>, figure: f64) -> Option<String> {
    let share = interval.filter(|_| figure > 0.0).map(|[_, high]| (high - figure) / figure)?;
    // Digits of what is not known say nothing.
    Some(if share > 1.0 { "±>100%".into() } else { format!("±{}", percent(share)) })
}

/// The same after the figure, where it is known.
fn plus_minus(interval: Option<[f64; 2]>, figure: f64) -> String {
    beyond(interval, figure).map(|sure| format!(" {sure}")).unwrap_or_default()
}

fn path_table(out: &mut String, profile: &Profile, path: &PathAccount) -> std::fmt::Result {
    path_head(out, profile, path)?;
    let record = &path.record;
    let packets = record.end_to_end.count.max(1) as f64;
    let sure = Sure(path.intervals.end_to_end.is_some());
    let [device, place] = sure.names();
    writeln!(
        out,
        "  {:<10} {:<device$} {:<place$} {:<7} {:>9}{} {:>9} {:>9} {:>9} {:>6}",
        "layer",
        "device",
        "in",
        "kind",
        "mean",
        sure.cell("95 %"),
        "corrected",
        "p50",
        "p99",
        "share"
    )?;
    let total = record.end_to_end.sum.max(1) as f64;
    for (span, interval) in merged(path).iter().filter(|(span, _)| span.sum_ns > 0) {
        let quantile = |share: f64| match &span.distribution {
            Some(histogram) => time(histogram.quantile(share) as f64),
            None => "-".into(),
        };
        let mean = span.sum_ns as f64 / packets;
        writeln!(
            out,
            "  {:<10} {:<device$} {:<place$} {:<7} {:>9}{} {:>9} {:>9} {:>9} {:>6}",
            span.layer.map_or("", |layer| layer.name()),
            clip(&span.device, device),
            clip_left(&profile.topology.namespace_name(span.netns), place),
            span.kind.name(),
            time(mean),
            sure.half(*interval, mean),
            time(span.corrected_mean()),
            quantile(0.5),
            quantile(0.99),
            percent(span.sum_ns as f64 / total),
        )?;
    }
    path_sums(out, path, &sure)
}

/// What no layer has, and the whole.
fn path_sums(out: &mut String, path: &PathAccount, sure: &Sure) -> std::fmt::Result {
    let whole = &path.record.end_to_end;
    let width = 20 + sure.names().iter().sum::<usize>();
    let mut row = |name: &str, means: [f64; 2], sure: String, quantiles: [String; 2], share: f64| {
        let ([mean, corrected], [p50, p99]) = (means.map(time), quantiles);
        writeln!(out, "  {name:<width$} {mean:>9}{sure} {corrected:>9} {p50:>9} {p99:>9} {:>6}", percent(share))
    };
    let unattributed = path.unattributed_ns as f64 / whole.count.max(1) as f64;
    let share = path.unattributed_ns as f64 / whole.sum.max(1) as f64;
    let interval = sure.half(path.intervals.unattributed, unattributed);
    row("unattributed", [unattributed; 2], interval, ["-".into(), "-".into()], share)?;
    row(
        "end to end",
        [whole.mean(), path.corrected_mean()],
        sure.half(path.intervals.end_to_end, whole.mean()),
        [0.5, 0.99].map(|share| time(whole.quantile(share) as f64)),
        1.0,
    )
}

/// Spans with the hooked functions of one layer taken together: they have a table of their own. With the intervals of their
/// means, where they are not taken together.
fn merged(path: &PathAccount) -> Vec<(Span, Option<[f64; 2]>)> {
    let mut merged: Vec<(Span, Option<[f64; 2]>)> = Vec::new();
    for (at, span) in path.spans.iter().enumerate() {
        match merged.last_mut() {
            Some((last, interval))
                if span.hook.is_some()
                    && (last.layer, &last.device, last.netns, last.kind)
                        == (span.layer, &span.device, span.netns, span.kind) =>
            {
                last.sum_ns += span.sum_ns;
                last.probe_ns += span.probe_ns;
                last.unsubtracted_ns = last.unsubtracted_ns.saturating_add(span.unsubtracted_ns);
                last.distribution = None;
                *interval = None;
            }
            _ => merged.push((span.clone(), path.intervals.row(at).mean)),
        }
    }
    merged
}

/// Hooked functions that packets met, dearest first.
fn functions(out: &mut String, profile: &Profile, account: &Account) -> std::fmt::Result {
    if account.functions.is_empty() {
        return Ok(());
    }
    let seen = account.seen().max(1) as f64;
    writeln!(out, "\nFunctions (own time, nested hooks subtracted; per packet)")?;
    writeln!(
        out,
        "  {:<10} {:<27} {:<26} {:<6} {:>6} {:>9} {:>9}",
        "layer", "hook", "function", "by", "calls", "own", "corrected"
    )?;
    let mut rows: Vec<_> = account.functions.iter().collect();
    rows.sort_by(|a, b| b.1.sum_ns.cmp(&a.1.sum_ns).then(a.0.cmp(b.0)));
    for ((layer, hook), total) in rows {
        let at = profile.hooks.iter().find(|record| record.hook == hook.charged_by());
        writeln!(
            out,
            "  {:<10} {:<27} {:<26} {:<6} {:>6.2} {:>9} {:>9}",
            layer.map_or("", |layer| layer.name()),
            clip(&profile.hook_name(*hook), 27),
            clip(at.map_or("-", |record| &record.function), 26),
            at.map_or("-", |record| record.kind.name()),
            total.calls / seen,
            time(total.sum_ns as f64 / seen),
            time((total.sum_ns - total.probe_ns) as f64 / seen),
        )?;
        if !hook.info().value.is_empty() && total.calls > 0.0 {
            writeln!(out, "  {:<10}   {}: {:.2} per call", "", hook.info().value, total.value / total.calls)?;
        }
    }
    Ok(())
}

/// Items after a head, on further lines where they do not fit.
fn list(out: &mut String, head: &str, items: &[String]) -> std::fmt::Result {
    let mut line = head.to_owned();
    for (index, item) in items.iter().enumerate() {
        let comma = if index + 1 < items.len() { "," } else { "" };
        if line.chars().count() + item.chars().count() + comma.len() > 100 && line != head {
            writeln!(out, "{}", line.trim_end())?;
            line = "    ".into();
        }
        line += &format!("{item}{comma} ");
    }
    writeln!(out, "{}", line.trim_end())
}

fn drops(out: &mut String, profile: &Profile) -> std::fmt::Result {
    let total: u64 = profile.drops.iter().map(|drop| drop.count).sum();
    if total == 0 && profile.softirqs.backlog_drops == 0 && profile.retransmits == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "\nDrops: {} packets, {} by full backlogs; TCP retransmits: {}",
        count(total),
        count(profile.softirqs.backlog_drops),
        count(profile.retransmits)
    )?;
    let mut drops: Vec<_> = profile.drops.iter().collect();
    drops.sort_by(|a, b| b.count.cmp(&a.count).then(a.reason.cmp(&b.reason)));
    for drop in drops.iter().take(5) {
        let device = profile.topology.device(drop.netns, drop.ifindex).map_or("-", |device| &device.name);
        writeln!(out, "  {:>9} {} in {} at {}", count(drop.count), drop.reason, drop.function, device)?;
    }
    Ok(())
}

/// What the CPU paid that paid most, where that is known.
fn of_the_busiest(observer: &Observer) -> String {
    match observer.busiest_cpu_share {
        0.0 => String::new(),
        share => format!(" ({} of the busiest CPU's)", percent(share)),
    }
}

fn trust(out: &mut String, profile: &Profile, account: &Account) -> std::fmt::Result {
    let (trust, observer) = (&account.trust, &profile.observer);
    writeln!(out, "\nTrust: {}", trust.verdict.name())?;
    for reason in &trust.reasons {
        writeln!(out, "  {reason}")?;
    }
    writeln!(
        out,
        "  followed {} of {} packets; journeys observed {} of the time",
        count(profile.sampling.followed),
        count(profile.sampling.packets),
        percent(trust.observed_share)
    )?;
    let interval = if observer.has_interval() {
        format!("; within the span {:.0} to {:.0} ns", observer.ns_in_span_low, observer.ns_in_span_high)
    } else {
        String::new()
    };
    let cost = format!(
        "{}{} of the CPU time{}; {:.0} ns per crossing, {:.0} ns if followed ({:.0} ns within the span), {} per CPU sample{interval}",
        percent(observer.cpu_share),
        plus_minus(account.intervals.of(&Of::Host, "cpu_share"), observer.cpu_share),
        of_the_busiest(observer),
        observer.ns_per_crossing,
        observer.ns_per_followed_crossing,
        observer.ns_in_span_per_crossing,
        time(observer.ns_per_sample)
    );
    out.push_str(&wrapped("  probes: ", 4, &cost));
    if observer.has_interval() && account.correction.unsubtracted_ns > 0 {
        let share = percent(account.correction.unsubtracted_share());
        writeln!(out, "  not subtracted: {share} of the probes' cost, for which spans are too short")?;
    }
    for (way, cost) in Way::ALL.iter().zip(observer.hooks).filter(|entry| entry.1.ns_per_call > 0.0) {
        writeln!(
            out,
            "  hooks by {}: {:.0} ns per call, {:.0} ns if followed ({:.0} ns at the entry and {:.0} ns at \
             the exit within the packet's time)",
            way.name(),
            cost.ns_per_call,
            cost.ns_per_followed_call,
            cost.entry(),
            cost.exit()
        )?;
    }
    let mut lost: Vec<String> = trust
        .lost
        .iter()
        .filter(|entry| *entry.1 > 0)
        .map(|(loss, count)| format!("{} {count}", loss.name()))
        .collect();
    lost.sort_unstable();
    list(out, "  lost: ", &if lost.is_empty() { vec!["nothing".into()] } else { lost })?;
    // Hooks whose module is not loaded are in the JSON: they say nothing about this recording.
    for (probe, reason) in &profile.meta.missing {
        if !reason.starts_with(NOT_THERE) && reason != NOT_ASKED {
            out.push_str(&wrapped("  missing ", 4, &format!("{probe}: {reason}")));
        }
    }
    let steal = profile.meta.steal_share;
    writeln!(out, "  steal: {}{}", percent(steal), plus_minus(account.intervals.of(&Of::Host, "steal_share"), steal))
}
