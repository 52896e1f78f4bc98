//! What a transaction consists of, for a terminal: leg by leg and process by process, where it is not one packet there,
//! one back and two answers.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Explanation, Side, Transaction};
use crate::output::{clip, count};

/// Columns of a row's name.
const NAME: usize = 46;

/// Packets of a transaction.
fn packets(of: &Transaction) -> String {
    if of.packets.fract() == 0.0 { format!("{:.0}", of.packets) } else { format!("{:.1}", of.packets) }
}

/// One packet there and one back, and nothing else.
fn is_plain(of: &Transaction) -> bool {
    of.packets == 2.0 && of.beyond.is_none() && of.legs.iter().all(|leg| leg.fate == "read")
}

fn both(found: &Explanation) -> Option<[&Transaction; 2]> {
    Some([found.baseline.transaction.as_ref()?, found.target.transaction.as_ref()?])
}

/// What a transaction is taken as.
pub(super) fn of_what(found: &Explanation) -> String {
    match both(found) {
        Some(both) if !both.iter().all(|of| is_plain(of)) => {
            let [first, second] = both.map(packets);
            format!("packets that reach a reader: {first} against {second}")
        }
        _ => "two packets, two turnarounds".into(),
    }
}

/// A row of the table: how often, and nanoseconds.
type Cell = (f64, i64);

/// The rows of a side, in the order of output.
fn rows(side: &Side) -> BTreeMap<(u8, String), Cell> {
    let mut rows: BTreeMap<(u8, String), Cell> = BTreeMap::new();
    let Some(of) = &side.transaction else { return rows };
    let mut add = |order: u8, name: String, times: f64, ns: i64| {
        let row = rows.entry((order, name)).or_default();
        *row = (row.0 + times, row.1 + ns);
    };
    for leg in &of.legs {
        let what = match leg.fate {
            "read" => "",
            "tunnelled" => " (tunnel)",
            "left" => " (leaves this host)",
            _ => " (no data)",
        };
        add(0, format!("{} -> {}{what}", leg.from, leg.to), leg.times, leg.ns.value);
    }
    for turn in &of.turns {
        let name = if turn.name.is_empty() { "a process" } else { &turn.name };
        let what = if turn.connects { ", connects" } else { "" };
        add(1, format!("{name} in {}{what}", turn.netns), turn.times, turn.ns.value);
    }
    if let Some((device, Some(ns))) = &of.beyond {
        add(2, format!("beyond {device}"), 1.0, *ns);
    }
    rows
}

/// The table; nothing where all is plain.
pub(super) fn table(out: &mut String, found: &Explanation) -> std::fmt::Result {
    let Some(both) = both(found) else { return Ok(()) };
    if both.iter().all(|of| is_plain(of)) {
        return Ok(());
    }
    let (first, second) = (rows(&found.baseline), rows(&found.target));
    let names: std::collections::BTreeSet<&(u8, String)> = first.keys().chain(second.keys()).collect();
    writeln!(out, "\nThe same by packets and processes, and how often each is in a transaction")?;
    let line = |out: &mut String, name: &str, cells: [&str; 4]| {
        let [times, first, second, delta] = cells;
        let line = format!("  {:<NAME$} {times:>13} {first:>10} {second:>10} {delta:>10}", clip(name, NAME));
        writeln!(out, "{}", line.trim_end())
    };
    line(out, "", ["times", "baseline", "target", "change"])?;
    for name in names {
        let [a, b] = [&first, &second].map(|rows| rows.get(name).copied().unwrap_or_default());
        let times = format!("{} -> {}", times(a.0), times(b.0));
        let delta = b.1 - a.1;
        let delta = format!("{}{}", if delta > 0 { "+" } else { "" }, grouped(delta));
        line(out, &name.1, [&times, &grouped(a.1), &grouped(b.1), &delta])?;
    }
    Ok(())
}

/// A number in groups of digits.
pub(super) fn grouped(number: i64) -> String {
    format!("{}{}", if number < 0 { "-" } else { "" }, count(number.unsigned_abs()))
}

fn times(times: f64) -> String {
    if times.fract() == 0.0 { format!("{times:.0}") } else { format!("{times:.2}") }
}
