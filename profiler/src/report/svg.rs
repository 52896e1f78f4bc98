//! Two flame graphs in one file: CPU time by layer and stack, latency by path, layer and device.
//!
//! Drawn with plain rectangles: the script of a flame graph library cannot live twice in one document, and a file
//! without a script can be opened anywhere. Hovering shows the full name, the value and the share. Idle samples are not
//! drawn: the CPU graph is of busy time.

use std::{collections::BTreeMap, fmt::Write as _};

use netstrata_common::{Colour, Family, Layer};

use super::{folded, text};
use crate::{
    analysis::{Account, Intervals, Of, SpanKind},
    choices::Clock,
    cpu::{Context, CpuAccount},
    output::xml,
    profile::Profile,
};

/// A span of a path for the latency graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LatencyRow {
    /// Name of the path.
    path: String,
    /// Name of the layer.
    layer: String,
    /// Name of the device.
    device: String,
    /// Name of the hooked function's row, empty for what no hook took.
    hook: String,
    /// The packet was queued (a CPU worked on it otherwise).
    wait: bool,
    /// Weighted sum. All rows of a path sum to its end-to-end time.
    ns: u64,
}

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 12.0;
const ROW: f64 = 18.0;
/// Boxes below this share of their graph are left out.
const SMALLEST: f64 = 0.001;
/// Mean width of a letter of the font at its size.
const LETTER: f64 = 6.8;
const LEGEND: f64 = 20.0;

/// A box and what stands on it. Children keep the order of their keys.
#[derive(Default)]
struct Node {
    value: u64,
    colour: String,
    note: &'static str,
    /// How far its 95 % interval goes beyond its value, and that in words.
    sure: Option<(f64, String)>,
    children: BTreeMap<(usize, String), Node>,
}

impl Node {
    fn child(&mut self, order: usize, name: &str, value: u64, colour: &str, note: &'static str) -> &mut Self {
        let node = self.children.entry((order, name.to_owned())).or_default();
        node.value += value;
        node.colour = colour.to_owned();
        node.note = note;
        node
    }

    /// Rows that are drawn, with boxes of less than `least` left out.
    fn depth(&self, least: f64) -> usize {
        let drawn = self.children.values().filter(|child| child.value as f64 >= least);
        drawn.map(|child| 1 + child.depth(least)).max().unwrap_or(0)
    }
}

/// The family of a layer by name; what is no layer is with the others.
fn family(layer: &str) -> Family {
    Layer::from_name(layer).map_or(Family::Other, |layer| layer.info().family)
}

/// A colour of a family; frames of one family differ a little in lightness, by their name.
fn shade(family: Family, name: &str, lighter: u32) -> String {
    let Colour { hue, saturation, lightness } = *family.info();
    let sum = name.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    rgb(hue, saturation, (lightness + lighter + sum % 7).min(90))
}

fn rgb(hue: u32, saturation: u32, lightness: u32) -> String {
    let (saturation, lightness) = (f64::from(saturation) / 100.0, f64::from(lightness) / 100.0);
    let reach = saturation * lightness.min(1.0 - lightness);
    let part = |offset: u32| {
        let at = f64::from((offset * 30 + hue) % 360) / 30.0;
        let value = lightness - reach * (at - 3.0).min(9.0 - at).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", part(0), part(8), part(4))
}

fn order(layer: &str) -> usize {
    Layer::from_name(layer).map_or(Layer::ALL.len(), |layer| layer as usize)
}

/// The text that fits into a width, shortened with an ellipsis; empty if nothing readable fits.
fn fit(text: &str, width: f64) -> String {
    let room = ((width - 6.0) / LETTER).floor().max(0.0) as usize;
    let letters = text.chars().count();
    if letters <= room {
        text.to_owned()
    } else if room < 3 {
        String::new()
    } else {
        text.chars().take(room - 1).chain(['…']).collect()
    }
}

fn duration(ns: u64) -> String {
    let ns = ns as f64;
    match ns {
        _ if ns < 1e3 => format!("{ns} ns"),
        _ if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        _ if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}

/// Draws the children of a node above one another's start, from the top down.
struct Drawing<'a> {
    out: &'a mut String,
    total: u64,
    value: &'a dyn Fn(u64) -> String,
}

impl Drawing<'_> {
    fn all(&mut self, tree: &Node, top: f64) {
        self.draw(tree, MARGIN, top);
        self.whiskers(tree, MARGIN, top);
    }

    fn draw(&mut self, node: &Node, left: f64, top: f64) {
        let scale = (WIDTH - 2.0 * MARGIN) / self.total.max(1) as f64;
        let mut at = left;
        for ((_, name), child) in &node.children {
            let width = child.value as f64 * scale;
            if child.value as f64 >= self.total as f64 * SMALLEST {
                self.rectangle(name, child, at, top, width);
                self.draw(child, at, top + ROW);
            }
            at += width;
        }
    }

    /// The intervals of the lowest row, over the ends of its boxes.
    fn whiskers(&mut self, node: &Node, left: f64, top: f64) {
        let scale = (WIDTH - 2.0 * MARGIN) / self.total.max(1) as f64;
        let mut at = left;
        for child in node.children.values() {
            at += child.value as f64 * scale;
            let Some((half, _)) = child.sure.as_ref().filter(|_| child.value as f64 >= self.total as f64 * SMALLEST)
            else {
                continue;
            };
            let half = half.min(child.value as f64) * scale;
            let middle = top + ROW - 5.0;
            let _ = writeln!(
                self.out,
                "<path d=\"M{:.2} {:.1}v5m0 -2.5H{:.2}m0 -2.5v5\" fill=\"none\" stroke=\"#1b1f24\" \
                 stroke-width=\".8\" pointer-events=\"none\"/>",
                at - half,
                middle - 2.5,
                (at + half).min(WIDTH - MARGIN)
            );
        }
    }

    fn rectangle(&mut self, name: &str, node: &Node, left: f64, top: f64, width: f64) {
        let share = 100.0 * node.value as f64 / self.total.max(1) as f64;
        let sure = node.sure.as_ref().map(|(_, words)| format!(" {words}")).unwrap_or_default();
        let title = format!("{name}{} — {}, {share:.2} %{sure}", node.note, (self.value)(node.value));
        let height = ROW - 1.0;
        let drawn = (width - 0.6).max(0.4);
        let _ = write!(
            self.out,
            "<g><title>{}</title><rect x=\"{left:.2}\" y=\"{top:.1}\" width=\"{drawn:.2}\" height=\"{height:.1}\" \
             rx=\"1.5\" fill=\"{}\"/>",
            xml(&title),
            node.colour
        );
        if node.note == WAIT {
            let _ = write!(
                self.out,
                "<rect x=\"{left:.2}\" y=\"{top:.1}\" width=\"{drawn:.2}\" height=\"{height:.1}\" rx=\"1.5\" \
                 fill=\"url(#wait)\"/>"
            );
        }
        let text = fit(name, width);
        if !text.is_empty() {
            let _ = write!(
                self.out,
                "<svg x=\"{left:.2}\" y=\"{top:.1}\" width=\"{drawn:.2}\" height=\"{height:.1}\"><text x=\"3\" y=\"12.8\">{}\
                 </text></svg>",
                xml(&text)
            );
        }
        self.out.push_str("</g>\n");
    }
}

const WAIT: &str = " (wait)";
const SERVICE: &str = " (service)";

fn cpu_tree(profile: &Profile) -> Node {
    let mut root = Node::default();
    for (frames, count) in folded::stacks(profile) {
        let Some(layer) = frames.first() else { continue };
        if layer == Layer::Idle.name() && frames.get(1).is_some_and(|context| context == Context::Idle.name()) {
            continue;
        }
        root.value += count;
        let family = family(layer);
        let mut node = &mut root;
        for (depth, frame) in frames.iter().enumerate() {
            let (order, lighter) = if depth == 0 { (order(layer), 0) } else { (0, 6) };
            node = node.child(order, frame, count, &shade(family, if depth == 0 { layer } else { frame }, lighter), "");
        }
    }
    root
}

fn latency_tree(rows: &[LatencyRow]) -> Node {
    let mut root = Node::default();
    for row in rows.iter().filter(|row| row.ns > 0) {
        root.value += row.ns;
        let (colour, note) = if row.wait {
            (rgb(212, 60, 68), WAIT)
        } else {
            (rgb(22 + (order(&row.layer) as u32 * 7) % 24, 84, 64 + (order(&row.layer) as u32 * 5) % 9), SERVICE)
        };
        // Waits stand beside the service of the same layer.
        let order = order(&row.layer) * 2 + usize::from(row.wait);
        let device = if row.device.is_empty() { "(no device)" } else { &row.device };
        let node = root
            .child(0, &row.path, row.ns, &rgb(220, 10, 84), "")
            .child(order, &row.layer, row.ns, &colour, note)
            .child(0, device, row.ns, &colour, note);
        if !row.hook.is_empty() {
            node.child(0, &row.hook, row.ns, &colour, note);
        }
    }
    root
}

fn heading(out: &mut String, top: f64, title: &str, about: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{MARGIN}\" y=\"{:.1}\" class=\"h\">{}</text><text x=\"{}\" y=\"{:.1}\" class=\"n\" \
         text-anchor=\"end\">{}</text>",
        top + 16.0,
        xml(title),
        WIDTH - MARGIN,
        top + 16.0,
        xml(about)
    );
}

fn legend(out: &mut String, top: f64, entries: &[(&str, String, bool)]) {
    let mut left = MARGIN;
    for (name, colour, hatched) in entries {
        for fill in [Some(colour.as_str()), hatched.then_some("url(#wait)")].into_iter().flatten() {
            let _ = write!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"11\" height=\"11\" rx=\"1.5\" fill=\"{fill}\"/>"
            );
        }
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\" class=\"l\">{}</text>", left + 15.0, top + 9.5, xml(name));
        left += 27.0 + name.chars().count() as f64 * 4.9;
    }
}

/// The CPU time of a profile and the latency of its paths.
pub fn render(profile: &Profile, account: &Account) -> String {
    draw(profile, &latency_rows(profile, account), &account.intervals, &account.cpu)
}

/// The rows of the latency flame graph.
fn latency_rows(profile: &Profile, account: &Account) -> Vec<LatencyRow> {
    let mut rows = Vec::new();
    for path in &account.paths {
        let name = text::path_name(path);
        for span in &path.spans {
            rows.push(LatencyRow {
                path: name.clone(),
                layer: span.layer.map_or("unattributed", |layer| layer.name()).to_owned(),
                device: span.device.clone(),
                hook: span.hook.map_or_else(String::new, |part| profile.hook_name(part.hook)),
                wait: span.kind == SpanKind::Wait,
                ns: span.sum_ns,
            });
        }
        if path.unattributed_ns > 0 {
            rows.push(LatencyRow {
                path: name,
                layer: "unattributed".into(),
                device: String::new(),
                hook: String::new(),
                wait: false,
                ns: path.unattributed_ns,
            });
        }
    }
    rows
}

/// Draws both graphs. The same input gives the same bytes.
fn draw(profile: &Profile, latency: &[LatencyRow], intervals: &Intervals, account: &CpuAccount) -> String {
    let mut cpu = cpu_tree(profile);
    for ((_, name), node) in &mut cpu.children {
        let share = account.share(node.value);
        let interval = intervals.of(&Of::Layer(Layer::from_name(name)), "cpu_share");
        node.sure = interval.map(|[_, high]| (high - share) * account.busy as f64).zip(text::beyond(interval, share));
    }
    let paths = latency_tree(latency);
    let rows = |tree: &Node| tree.depth(tree.value as f64 * SMALLEST).max(1) as f64 * ROW;
    let cpu_top = 24.0 + LEGEND + 6.0;
    let second = cpu_top + rows(&cpu) + 26.0;
    let paths_top = second + 24.0 + LEGEND;
    let height = paths_top + rows(&paths) + MARGIN;

    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" viewBox=\"0 0 {WIDTH} {height:.0}\">\n<title>netstrata: CPU time and latency by \
         layer</title>\n<style>text{{font:11px Verdana,DejaVu Sans,sans-serif;fill:#1b1f24}}.h{{font-size:15px;\
         font-weight:bold}}.n{{fill:#5a6470}}.l{{font-size:9px}}g:hover>rect{{stroke:#1b1f24;stroke-width:.8}}</style>\n\
         <defs><pattern id=\"wait\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect width=\"2\" height=\"6\" fill=\"#ffffff\" fill-opacity=\".35\"/></pattern></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let small = format!("boxes under {} % are not drawn", SMALLEST * 100.0);

    let period = profile.cpu.period_ns;
    let about = format!("{} samples, {} busy; {small}", cpu.value, duration(cpu.value.saturating_mul(period)));
    // A picture of instructions must not pass for one of time.
    let unit = if profile.meta.clock == Clock::Instructions { ", in guest time that counts instructions" } else { "" };
    heading(&mut out, 4.0, &format!("CPU time by layer and stack{unit}"), &about);
    let entries: Vec<_> = Family::ALL.iter().map(|family| (family.name(), shade(*family, "", 0), false)).collect();
    legend(&mut out, 28.0, &entries);
    let samples = |count: u64| format!("{count} samples, {}", duration(count.saturating_mul(period)));
    empty(&mut out, &cpu, cpu_top, "no busy samples");
    Drawing { out: &mut out, total: cpu.value, value: &samples }.all(&cpu, cpu_top);

    let about = format!("{} over all packets; {small}", duration(paths.value));
    heading(&mut out, second, &format!("Latency by path, layer and device{unit}"), &about);
    let entries = [
        ("service: a CPU works on the packet", rgb(28, 84, 66), false),
        ("wait: the packet is queued", rgb(212, 60, 68), true),
    ];
    legend(&mut out, second + 24.0, &entries);
    empty(&mut out, &paths, paths_top, "no journeys");
    Drawing { out: &mut out, total: paths.value, value: &duration }.all(&paths, paths_top);
    out.push_str("</svg>\n");
    out
}

fn empty(out: &mut String, tree: &Node, top: f64, text: &str) {
    if tree.value == 0 {
        let _ = writeln!(out, "<text x=\"{MARGIN}\" y=\"{:.1}\" class=\"n\">{text}</text>", top + 13.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::testdata;

    fn drawn(profile: &Profile, rows: &[LatencyRow]) -> String {
        draw(profile, rows, &Intervals::default(), &CpuAccount::default())
    }

    fn rows() -> Vec<LatencyRow> {
        let row = |path: &str, layer: &str, device: &str, wait, ns| LatencyRow {
            path: path.to_owned(),
            layer: layer.to_owned(),
            device: device.to_owned(),
            hook: String::new(),
            wait,
            ns,
        };
        vec![
            row("client → server, tcp", "tcp", "eth0", false, 5_500_000),
            row("client → server, tcp", "qdisc", "eth0", false, 900_000),
            row("client → server, tcp", "qdisc", "veth1", false, 700_000),
            row("client → server, tcp", "veth", "eth0", false, 1_300_000),
            row("client → server, tcp", "backlog", "veth0", true, 5_800_000),
            row("client → server, tcp", "backlog", "eth0", true, 1_700_000),
            row("client → server, tcp", "bridge", "docker0", false, 6_500_000),
            row("client → server, tcp", "wakeup", "eth0", true, 8_000_000),
            row("server → client, tcp <ack>", "tcp", "", false, 2_500_000),
            row("server → client, tcp <ack>", "backlog", "eth0", true, 1_500_000),
            row("server → client, tcp <ack>", "ip", "eth0", false, 1_000),
        ]
    }

    #[test]
    fn both_graphs_are_in_one_file_and_bytes_do_not_change() {
        let profile = testdata::stream();
        let text = drawn(&profile, &rows());
        assert_eq!(text, drawn(&profile, &rows()));
        assert!(text.contains("CPU time by layer and stack") && text.contains("Latency by path, layer and device"));
        assert!(text.contains("<title>backlog (wait) — 7.50 ms, 21.80 %</title>"), "{text}");
        assert!(text.contains("<title>bridge — 67 samples, 67.00 ms, 12.74 %</title>"));
        assert!(text.contains("tcp &lt;ack&gt;") && !text.contains("<ack>"));
        assert!(text.contains("boxes under 0.1 % are not drawn"));
    }

    #[test]
    fn a_layer_whose_share_is_known_within_an_interval_has_a_whisker() {
        let profile = testdata::stream();
        let cpu = crate::cpu::account(&profile);
        let share = cpu.share(67);
        let bridge = Intervals::from([(Of::Layer(Some(Layer::Bridge)), "cpu_share", [0.5 * share, 1.5 * share])]);
        let text = draw(&profile, &rows(), &bridge, &cpu);
        assert!(text.contains("<title>bridge — 67 samples, 67.00 ms, 12.74 % ±50.0%</title>"), "{text}");
        assert_eq!(text.matches("pointer-events").count(), 1);
        assert!(!drawn(&profile, &rows()).contains("pointer-events"));
    }

    #[test]
    fn what_idles_is_not_drawn_though_the_profile_has_it() {
        let profile = testdata::stream();
        assert!(folded::stacks(&profile).keys().any(|frames| frames.contains(&"swapper/0".to_owned())));
        let text = drawn(&profile, &[]);
        let shown: Vec<&str> =
            ["swapper/0 — 484", "<title>idle — "].into_iter().filter(|title| text.contains(title)).collect();
        assert_eq!(shown, [""; 0]);
    }

    #[test]
    fn the_order_of_rows_does_not_matter() {
        let mut turned = rows();
        turned.reverse();
        let profile = testdata::stream();
        assert_eq!(drawn(&profile, &rows()), drawn(&profile, &turned));
    }

    #[test]
    fn nothing_recorded_is_said() {
        let text = drawn(&Profile::default(), &[]);
        assert!(text.contains("no busy samples") && text.contains("no journeys"));
    }

    #[test]
    fn text_is_cut_to_its_box() {
        assert_eq!(fit("tcp_sendmsg", 100.0), "tcp_sendmsg");
        assert_eq!(fit("tcp_sendmsg_locked", 60.0), "tcp_se…");
        assert_eq!(fit("tcp_sendmsg", 20.0), "");
        assert_eq!(xml("a<b>\u{1}&\""), "a&lt;b&gt;\u{fffd}&amp;&quot;");
    }

    #[test]
    fn every_layer_has_a_colour_and_unknown_ones_too() {
        for layer in Layer::ALL {
            assert!(shade(family(layer.name()), layer.name(), 0).starts_with('#'));
        }
        assert_eq!(family("unattributed"), Family::Other);
        assert_eq!(rgb(0, 100, 50), "#ff0000");
    }
}
