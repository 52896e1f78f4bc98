//! The time of one transaction of a profile: by layer, and by what it consists of.

use std::collections::BTreeMap;

use super::{
    connection,
    group::{Fate, Group, spans_of},
    legs::{self, Legs},
    waterfall::{Part, Slot, whole},
};
use crate::{
    analysis::Account,
    profile::{Far, Profile},
};

/// Packets of a transaction from one namespace to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    /// Namespace of the sender.
    pub from: String,
    /// Namespace of the reader, or of the device at which they leave this host.
    pub to: String,
    /// "read" by the application, "tunnelled" by a program on the way, "left" this host, or "kept" by the kernel.
    pub fate: &'static str,
    /// Packets in a transaction.
    pub packets: f64,
    /// How often their mean time is in it.
    pub times: f64,
    /// Nanoseconds of a transaction.
    pub ns: Part,
}

impl Leg {
    /// What tells it from others.
    pub fn name(&self) -> String {
        format!("{} -> {} {}", self.from, self.to, self.fate)
    }
}

impl Turn {
    /// What tells it from others.
    pub fn key(&self) -> String {
        format!("{} in {}", self.pid, self.netns)
    }
}

/// What a process takes between reads and its next sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The process.
    pub pid: u32,
    /// Its name, where CPU samples know it.
    pub name: String,
    /// Namespace of its socket.
    pub netns: String,
    /// How often in a transaction.
    pub times: f64,
    /// Nanoseconds of a transaction.
    pub ns: Part,
    /// Whether it ends a connection in it, and sets up the next one.
    pub connects: bool,
}

/// What one transaction consists of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transaction {
    /// Packets that reach a reader.
    pub packets: f64,
    /// Packets on their ways.
    pub legs: Vec<Leg>,
    /// Processes.
    pub turns: Vec<Turn>,
    /// What it takes beyond a device of this host: its name, and what was measured without what was seen.
    pub beyond: Option<(String, Option<i64>)>,
}

/// The time of one transaction.
pub(super) struct Times {
    /// Rounded once each.
    pub parts: BTreeMap<Slot, Part>,
    /// The same without what the probes took, before it is rounded.
    pub exact: BTreeMap<Slot, f64>,
    /// What few packets have that took far longer than most; in no part.
    pub rare_ns: f64,
    /// The same of such as are many, which is in the parts.
    pub kept_ns: f64,
    /// Whether the application's own time is among them.
    pub turns: bool,
    /// Whether some journeys end before the wake-up and the copy.
    pub announced: bool,
    /// What it consists of.
    pub of: Transaction,
    pub notes: Vec<String>,
}

/// Nanoseconds before they are rounded: as recorded, and without what the probes took.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    raw: f64,
    value: f64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.raw += other.raw;
        self.value += other.value;
    }

    fn times(self, by: f64) -> Self {
        Self { raw: self.raw * by, value: self.value * by }
    }

    fn part(self) -> Part {
        Part { raw: whole(self.raw), value: whole(self.value) }
    }
}

/// What all packets of a group took by layer; the sum of rare delays, which is not in it, and that of others, which is.
fn sums(profile: &Profile, group: &Group<'_>) -> (BTreeMap<Slot, Sum>, [f64; 2]) {
    let mut sums: BTreeMap<Slot, (u64, u64)> = BTreeMap::from([(Slot::Unattributed, (0, 0))]);
    let (mut rare_sum, mut kept_sum) = (0, 0);
    for path in &group.paths {
        let until = spans_of(&path.record, group.fate);
        let far: Vec<Far> = (0..until).map(|span| profile.far(&path.record, span)).collect();
        kept_sum += far.iter().map(|far| far.sum - far.rare_sum()).sum::<u64>();
        let share = |span: usize| far[span].rare_sum() as f64 / path.record.spans[span].sum.max(1) as f64;
        let rare: Vec<f64> = (0..until).map(share).collect();
        let mut known = 0;
        for span in path.spans.iter().filter(|span| span.index < until) {
            let slot = span.layer.map_or(Slot::Unattributed, |layer| Slot::Layer(layer, span.kind.into()));
            let own = span.sum_ns - span.probe_ns;
            let rare = (span.sum_ns as f64 * rare.get(span.index).copied().unwrap_or(0.0)) as u64;
            let rare = rare.min(own);
            let entry = sums.entry(slot).or_default();
            *entry = (entry.0 + span.sum_ns - rare, entry.1 + own - rare);
            rare_sum += rare;
            known += span.sum_ns;
        }
        let unattributed = if until == path.record.spans.len() {
            path.unattributed_ns
        } else {
            path.record.spans[..until].iter().map(|span| span.sum).sum::<u64>().saturating_sub(known)
        };
        let entry = sums.entry(Slot::Unattributed).or_default();
        *entry = (entry.0 + unattributed, entry.1 + unattributed);
    }
    let sums = sums.into_iter().map(|(slot, (raw, value))| (slot, Sum { raw: raw as f64, value: value as f64 }));
    (sums.collect(), [rare_sum as f64, kept_sum as f64])
}

/// The name of a process: that of the thread of it which was sampled most.
fn name_of(profile: &Profile, pid: u32) -> String {
    let mut names: BTreeMap<&str, u64> = BTreeMap::new();
    for (at, task) in profile.cpu.tasks.iter().enumerate().filter(|(_, task)| task.pid == pid) {
        let samples = profile.cpu.entries.iter().filter(|entry| entry.task as usize == at);
        *names.entry(&task.comm).or_default() += samples.map(|entry| entry.count).sum::<u64>();
    }
    names.into_iter().max_by_key(|(_, samples)| *samples).map(|(name, _)| name.to_owned()).unwrap_or_default()
}

const fn fate_name(fate: Fate) -> &'static str {
    match fate {
        Fate::Read => "read",
        Fate::Tunnelled => "tunnelled",
        Fate::Left => "left",
        Fate::Kept => "kept",
    }
}

/// The time of one transaction of a profile; `None` where no packet reached a reader.
pub(super) fn times(profile: &Profile, account: &Account, label: &str) -> Option<Times> {
    let legs = legs::legs(profile, account)?;
    let namespace = |netns: u32| profile.topology.namespace_name(netns);
    let mut parts: BTreeMap<Slot, Sum> = BTreeMap::from([(Slot::Unattributed, Sum::default())]);
    let mut of = Transaction { packets: legs.packets, ..Transaction::default() };
    let (mut rare_ns, mut kept_ns, mut of_connections) = (0.0, 0.0, Sum::default());
    for group in &legs.groups {
        let (sums, [rare, kept]) = sums(profile, group);
        let by = group.times / group.packets.max(1) as f64;
        let mut whole = Sum::default();
        for (slot, sum) in sums {
            parts.entry(slot).or_default().add(sum.times(by));
            whole.add(sum.times(by));
        }
        rare_ns += rare * by;
        kept_ns += kept * by;
        if group.fate == Fate::Kept {
            of_connections.add(whole);
        }
        of.legs.push(Leg {
            from: namespace(group.from),
            to: namespace(group.to),
            fate: fate_name(group.fate),
            packets: group.each,
            times: group.times,
            ns: whole.part(),
        });
    }
    // What leaves and is of something else was not waited for.
    for group in legs.strangers.iter().filter(|group| group.fate != Fate::Left) {
        let ends = group.paths.iter().map(|path| path.record.end_to_end.sum).sum::<u64>();
        rare_ns += group.each * ends as f64 / group.packets.max(1) as f64;
    }
    for answers in &legs.answers {
        let connects = connection::for_each_transaction(profile) && connection::is_client(profile, answers.pid);
        let value = (answers.mean - answers.probes).max(0.0);
        let own = Sum { raw: answers.mean, value }.times(answers.times);
        let (slot, own) = if connects {
            let rest = |all: f64, part: f64| (all - part).max(0.0);
            (
                Slot::Connection,
                Sum { raw: rest(own.raw, of_connections.raw), value: rest(own.value, of_connections.value) },
            )
        } else {
            (Slot::Turnaround, own)
        };
        parts.entry(slot).or_default().add(own);
        rare_ns += answers.times * answers.rare;
        kept_ns += answers.times * answers.kept;
        of.turns.push(Turn {
            pid: answers.pid,
            name: name_of(profile, answers.pid),
            netns: namespace(answers.netns),
            times: answers.times,
            ns: own.part(),
            connects,
        });
    }
    of.beyond = legs.leave_at.clone().map(|device| (device, None));
    let (turns, announced) = (!legs.answers.is_empty(), legs.is_announced());
    let (exact, parts) = rounded(parts);
    Some(Times { parts, exact, rare_ns, kept_ns, turns, announced, of, notes: notes(profile, &legs, label) })
}

/// Parts before and after they are rounded.
fn rounded(parts: BTreeMap<Slot, Sum>) -> (BTreeMap<Slot, f64>, BTreeMap<Slot, Part>) {
    parts.into_iter().map(|(slot, sum)| ((slot, sum.value), (slot, sum.part()))).unzip()
}

/// What is to be known of how a transaction was counted.
fn notes(profile: &Profile, legs: &Legs<'_>, label: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if legs.counted && !legs.is_whole() {
        notes.push(format!(
            "{label}: {:.1} packets per transaction reached a reader, and not each way has a whole number of them: messages of \
             several packets, other traffic, or several ways",
            legs.packets
        ));
    }
    if legs.groups.iter().any(|group| group.fate == Fate::Read && group.each - group.times > 0.5) {
        notes.push(format!(
            "{label}: messages come in pieces, {:.1} packets per transaction: each way counts once with the mean of its pieces, and \
             the time from the first piece to the last is in the remainder",
            legs.packets
        ));
    }
    if !legs.counted && legs.groups.len() > 2 {
        notes.push(format!(
            "{label}: transactions were not counted: one is taken as {:.0} packets that reach a reader, by whatever ways",
            legs.packets
        ));
    }
    let client = legs.answers.iter().any(|answers| connection::is_client(profile, answers.pid));
    if connection::for_each_transaction(profile) && !client && !legs.answers.is_empty() {
        notes.push(format!("{label}: which process is the client is not known: its connections are in userspace"));
    }
    if !legs.silent.is_empty() && !legs.answers.is_empty() {
        let names: Vec<String> = legs.silent.iter().map(|netns| profile.topology.namespace_name(*netns)).collect();
        notes
            .push(format!("{label}: nobody was seen to answer in {}: that time is in the remainder", names.join(", ")));
    }
    notes
}

impl Times {
    pub(super) fn total(&self, part: impl Fn(&Part) -> i64) -> i64 {
        self.parts.values().map(part).sum()
    }

    /// Enters what the benchmark itself measured of rare delays, but those that are in the parts.
    pub(super) fn put_delays(&mut self, far_ns: f64) {
        self.parts.insert(Slot::Delays, Part::plain(whole((far_ns - self.kept_ns).max(0.0))));
    }

    /// What was not seen in both profiles is comparable in none.
    pub(super) fn forget_turns(&mut self) {
        self.parts.remove(&Slot::Turnaround);
        self.parts.remove(&Slot::Connection);
        self.of.turns.clear();
    }

    /// Where a part of it is beyond a device, all that was not seen of what was measured is.
    pub(super) fn put_beyond(&mut self, measured: Option<i64>) {
        let Some(seen) = measured.map(|total| total - self.total(|part| part.value)) else { return };
        if let Some((_, ns)) = &mut self.of.beyond {
            let rest = seen.max(0);
            *ns = Some(rest);
            self.parts.insert(Slot::Beyond, Part::plain(rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use netstrata_common::Point;

    use super::*;
    use crate::{analysis::account, explain::testdata::*};

    #[test]
    fn a_packet_read_from_a_tun_device_is_half_way() {
        let mut profile = rr(1, 20_000.0);
        let mut read = profile.paths[0].clone();
        read.crossings = [Point::Queue, Point::Xmit, Point::Copy].map(|point| at(point, 1, 2)).to_vec();
        read.spans = vec![values(100, 100), values(900, 100)];
        read.end_to_end = values(1000, 100);
        profile.paths.push(read);
        let account = account(&profile);
        let paths = legs::paths(&profile, &account);
        assert_eq!((paths.len(), legs::endpoint_packets(&paths)), (3, 200));
        let found = times(&profile, &account, "x").expect("the test has it");
        assert_eq!((found.total(|part| part.raw), found.of.packets), (7000 + 1000, 2.0));
    }
}
