//! What one transaction consists of, and how often each of it is in one: packets on their way to a reader, by the
//! namespaces of sender and reader; packets that leave this host; and the processes that answer.
//!
//! How many there are is counted: packets by the probes, transactions by the benchmark. A relay between the two makes four
//! packets of two.

use std::collections::BTreeMap;

use netstrata_common::{End, Point, Points};

use super::{
    WorkKind, connection,
    group::{Answers, Fate, Group, spans_of},
    is_announced, measured, protocol, reaches_reader, windows,
};
use crate::{
    analysis::{Account, PathAccount, SamplerShare, device_name},
    profile::{Far, Histogram, PathRecord, Profile},
};

/// What comes less often in a transaction is not the application's.
const LEAST: f64 = 0.05;
/// Packets that leave this host less often are of something else that talks to other hosts.
const LEAST_LEFT: f64 = 0.5;
/// Fewer turnarounds for each packet than this: they were not seen.
const SEEN_TURNS: f64 = 0.1;
/// How far a count may lie from a whole number, as a part of it and at most, to be taken for it: packets are sampled.
const NEAR: (f64, f64) = (0.2, 0.4);
/// Fewer packets in a transaction than this cannot be: what was counted are not the benchmark's transactions.
const LEAST_COUNTED: f64 = 0.5;
/// Packets of a transaction where nobody counted transactions.
const ASSUMED: f64 = 2.0;
/// Packets that hold less than this part of a message are pieces of one.
const PIECE: f64 = 0.9;

/// Which packets are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hop {
    /// Namespace of the sender.
    from: u32,
    /// Namespace of the reader.
    to: u32,
    fate: Fate,
    /// The device at which they leave.
    device: u32,
}

/// What a transaction consists of.
pub(super) struct Legs<'a> {
    pub groups: Vec<Group<'a>>,
    pub answers: Vec<Answers>,
    /// Packets that are too rare to be of the application.
    pub strangers: Vec<Group<'a>>,
    /// Packets in a transaction that reach a reader.
    pub packets: f64,
    /// Whether transactions were counted, by a benchmark.
    pub counted: bool,
    /// Devices at which packets leave this host.
    pub leave_at: Option<String>,
    /// Namespaces in which packets are read and nobody was seen to answer.
    pub silent: Vec<u32>,
}

/// A packet that ends in the reader of a tun device goes on as another one.
fn ends_in_tunnel(path: &PathRecord) -> bool {
    let points: Vec<Point> = path.crossings.iter().map(|crossing| crossing.point).collect();
    matches!(points[..], [.., from, Point::Copy] if from.is_in(Points::TRANSMITTED))
}

/// Where a path that was made here leaves this host: the index of its last crossing at a physical device.
fn leaves(profile: &Profile, path: &PathRecord) -> Option<usize> {
    let first = path.crossings.first()?;
    let freed = path.end != End::Dropped || path.reason.as_deref() == Some("NOT_SPECIFIED");
    if first.point.is_in(Points::BEGIN_OUTSIDE) || path.end.is_read() || path.end == End::Merged || !freed {
        return None;
    }
    let at = path.crossings.iter().rposition(|crossing| !matches!(crossing.point, Point::Consume | Point::Drop))?;
    let last = path.crossings[at];
    let physical = profile.topology.device(last.netns, last.ifindex).is_some_and(|device| device.kind == "nic");
    (physical && last.point.is_in(Points::TRANSMITTED)).then_some(at)
}

/// Paths whose time is part of a transaction, and what becomes of their packets.
pub(super) fn paths<'a>(profile: &Profile, account: &'a Account) -> Vec<(&'a PathAccount, Fate)> {
    let protocol = protocol(profile);
    let tunnel =
        account.paths.iter().any(|path| reaches_reader(&path.record, protocol) && ends_in_tunnel(&path.record));
    // Where a tunnel's packets are followed through its program, their later parts alone would count twice.
    let is_part = |path: &PathAccount| profile.paths.iter().any(|other| path.record.is_later_part_of(other));
    let tells_data = profile.paths.iter().any(|path| path.payload_bytes > 0);
    let fate = |path: &PathAccount| {
        let record = &path.record;
        let with_data = !tells_data || record.payload_bytes > 0;
        if reaches_reader(record, protocol) && !ends_in_tunnel(record) {
            Some(Fate::Read)
        } else if tunnel && record.end == End::Copied {
            Some(Fate::Tunnelled)
        } else {
            let leaves = record.protocol == protocol && with_data && leaves(profile, record).is_some();
            leaves.then_some(Fate::Left)
        }
    };
    let found = account.paths.iter().filter_map(|path| Some((path, fate(path)?)));
    found.filter(|(path, _)| !is_part(path)).collect()
}

/// Packets of the application, weighted: those that a reader got, and those that left.
pub(super) fn endpoint_packets(paths: &[(&PathAccount, Fate)]) -> u64 {
    let ends = paths.iter().filter(|(_, fate)| *fate != Fate::Tunnelled);
    ends.map(|(path, _)| path.record.end_to_end.count).sum()
}

/// A whole number if a count is near it.
fn whole(count: f64) -> f64 {
    let near = count.round();
    if (count - near).abs() <= (NEAR.0 * near).min(NEAR.1) { near } else { count }
}

fn groups<'a>(paths: &[(&'a PathAccount, Fate)]) -> Vec<Group<'a>> {
    let mut found: BTreeMap<Hop, Vec<&PathAccount>> = BTreeMap::new();
    for (path, fate) in paths {
        let crossings = &path.record.crossings;
        let Some((first, last)) = crossings.first().zip(crossings.get(spans_of(&path.record, *fate))) else { continue };
        let device = if *fate == Fate::Left { last.ifindex } else { 0 };
        let hop = Hop { from: first.netns, to: last.netns, fate: *fate, device };
        found.entry(hop).or_default().push(path);
    }
    let group = |(hop, paths): (Hop, Vec<&'a PathAccount>)| Group {
        from: hop.from,
        to: hop.to,
        fate: hop.fate,
        packets: paths.iter().map(|path| path.record.end_to_end.count).sum(),
        paths,
        each: 0.0,
        times: 0.0,
    };
    found.into_iter().map(group).collect()
}

/// Transactions in the observed turns; `None` without a benchmark's count. A built-in workload told them; else how many of a
/// run's lie in the turns the kernel's own count of softirqs tells, and where that was not kept, packets of the devices.
fn transactions(profile: &Profile, account: &Account) -> Option<f64> {
    let benchmark = profile.meta.benchmark.as_ref()?;
    let rate = measured(WorkKind::RequestResponse, benchmark)?;
    let seconds = benchmark.ran_s().unwrap_or(profile.meta.duration_ns as f64 / 1e9);
    let counted = windows::work(profile).map(|work| work.done as f64);
    let seen = counted.unwrap_or_else(|| rate * seconds * windows::share(profile).unwrap_or(1.0 / account.scale));
    (seen >= 1.0).then_some(seen)
}

/// How often the packets of a group are in a transaction: as often as messages are.
fn times(group: &Group<'_>, message: Option<u64>) -> f64 {
    let payload: u64 = group.paths.iter().map(|path| path.record.payload_bytes).sum();
    let packets: u64 = group.paths.iter().map(|path| path.record.packets).sum();
    let held = message.filter(|_| packets > 0).map(|bytes| payload as f64 / packets as f64 / bytes.max(1) as f64);
    let messages = held.filter(|held| *held > 0.0 && *held < PIECE).map(|held| group.each * held);
    // An answer may have another size than the request, which is what a benchmark tells.
    whole(messages.filter(|times| *times >= 0.5).unwrap_or(group.each))
}

/// Counts what a transaction consists of; `None` where no packet reached a reader.
pub(super) fn legs<'a>(profile: &Profile, account: &'a Account) -> Option<Legs<'a>> {
    let paths = paths(profile, account);
    let mut groups = groups(&paths);
    let of =
        |groups: &[Group<'_>], fate| groups.iter().filter(|group| group.fate == fate).map(|group| group.packets).sum();
    let (read, left): (u64, u64) = (of(&groups, Fate::Read), of(&groups, Fate::Left));
    if read == 0 {
        return None;
    }
    let counted = transactions(profile, account).map(|seen| read as f64 / seen).filter(|each| *each >= LEAST_COUNTED);
    let packets = match counted {
        Some(each) => whole(each),
        // Of two packets, one that leaves is not read here.
        None if 2 * left >= read => ASSUMED - 1.0,
        None => ASSUMED,
    };
    let seen_transactions = read as f64 / packets;
    let message = profile.meta.benchmark.as_ref().and_then(|benchmark| benchmark.message_bytes);
    for group in &mut groups {
        group.each = group.packets as f64 / seen_transactions;
        group.times = times(group, message);
    }
    let left = left as f64 / seen_transactions;
    let belongs = |group: &Group<'_>| match group.fate {
        Fate::Left => group.each >= LEAST && left >= LEAST_LEFT,
        _ => group.each >= LEAST,
    };
    let (mut groups, strangers): (Vec<_>, Vec<_>) = groups.into_iter().partition(belongs);
    let (answers, silent) = answers(profile, &groups, read, seen_transactions);
    let of_connections = connection::legs(profile, account, &groups, &answers);
    groups.extend(of_connections);
    let leave_at = devices(profile, &groups);
    Some(Legs { groups, answers, strangers, packets, counted: counted.is_some(), leave_at, silent })
}

/// Names of the devices at which packets leave.
fn devices(profile: &Profile, groups: &[Group<'_>]) -> Option<String> {
    let left = groups.iter().filter(|group| group.fate == Fate::Left);
    let mut names: Vec<String> = left
        .filter_map(|group| {
            let path = &group.paths.first()?.record;
            Some(device_name(&profile.topology, *path.crossings.get(spans_of(path, Fate::Left))?))
        })
        .collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Processes that answer, and namespaces in which packets are read and nobody was seen to answer. Turnarounds may be lost
/// where a process reads several sockets in turn, so how often a process answers follows from how often its namespace
/// reads; only processes of one namespace are told apart by their own counts.
fn answers(profile: &Profile, groups: &[Group<'_>], read: u64, transactions: f64) -> (Vec<Answers>, Vec<u32>) {
    let all: u64 = profile.turnarounds.iter().map(|turn| turn.ns.count).sum();
    if all == 0 || (all as f64) < SEEN_TURNS * read as f64 {
        return (Vec::new(), Vec::new());
    }
    let mut processes: BTreeMap<u32, BTreeMap<u32, (Histogram, Far)>> = BTreeMap::new();
    for turn in &profile.turnarounds {
        let (all, far) = processes.entry(turn.netns).or_default().entry(turn.pid).or_default();
        all.merge(&turn.ns);
        *far = far.plus(profile.far_turns(turn));
    }
    let sampler = SamplerShare::of(profile);
    let mut reads: BTreeMap<u32, f64> = BTreeMap::new();
    for group in groups.iter().filter(|group| group.fate == Fate::Read) {
        *reads.entry(group.to).or_default() += group.times;
    }
    let mut found = Vec::new();
    for (netns, of) in &processes {
        let sum: u64 = of.values().map(|(turns, _)| turns.count).sum();
        let kept = of.iter().filter(|(_, (turns, _))| turns.count > 0 && turns.count as f64 >= LEAST * sum as f64);
        let sum: u64 = kept.clone().map(|(_, (turns, _))| turns.count).sum();
        let expected = reads.get(netns).copied();
        for (pid, (turns, far)) in kept {
            let times = match expected {
                Some(expected) => expected * turns.count as f64 / sum as f64,
                None => turns.count as f64 / transactions,
            };
            let rare = far.rare_sum().min(turns.sum);
            let each = |sum: u64| sum as f64 / turns.count as f64;
            let answers = Answers {
                pid: *pid,
                netns: *netns,
                times: whole(times),
                mean: each(turns.sum - rare),
                rare: each(rare),
                kept: each(far.sum - far.rare_sum()),
                probes: (profile.observer.in_turnaround(turns) + sampler.of_service * turns.mean()).min(turns.mean()),
            };
            if times >= LEAST {
                found.push(answers);
            }
        }
    }
    let silent = reads.keys().copied().filter(|netns| found.iter().all(|answers| answers.netns != *netns)).collect();
    (found, silent)
}

impl Legs<'_> {
    /// Whether each leg and each answer is in a transaction a whole number of times.
    pub fn is_whole(&self) -> bool {
        let read = self.groups.iter().filter(|group| group.fate != Fate::Left).map(|group| group.times);
        read.chain(self.answers.iter().map(|answers| answers.times)).all(|times| times.fract() == 0.0)
    }

    /// Whether some journeys end before the wake-up and the copy.
    pub fn is_announced(&self) -> bool {
        self.groups.iter().flat_map(|group| &group.paths).any(|path| is_announced(&path.record))
    }
}

#[cfg(test)]
mod tests {
    use netstrata_common::Protocol;

    use super::*;
    use crate::{analysis::account, explain::testdata::*};

    fn turns(profile: &Profile) -> Vec<(u32, f64, f64)> {
        let account = account(profile);
        let legs = legs(profile, &account).expect("the test has it");
        legs.answers.iter().map(|answers| (answers.pid, answers.times, answers.mean)).collect()
    }

    #[test]
    fn each_process_counts_with_its_own_mean_as_often_as_its_namespace_reads() {
        let mut profile = rr(1, 20_000.0);
        // The server's turnarounds were seen less often, and it takes longer.
        profile.turnarounds = vec![turned(1, 10, 1000, 100), turned(2, 20, 9000, 30)];
        assert_eq!(turns(&profile), [(10, 1.0, 1000.0), (20, 1.0, 9000.0)]);
        // Two workers of one server share its answers.
        profile.turnarounds = vec![turned(1, 10, 1000, 100), turned(2, 20, 9000, 30), turned(2, 21, 3000, 30)];
        assert_eq!(turns(&profile), [(10, 1.0, 1000.0), (20, 0.5, 9000.0), (21, 0.5, 3000.0)]);
    }

    #[test]
    fn a_small_process_is_not_the_application() {
        let mut profile = rr(1, 20_000.0);
        profile.turnarounds.push(turned(1, 99, 1_000_000, 1));
        assert_eq!(turns(&profile), [(10, 1.0, 2000.0), (20, 1.0, 2000.0)]);
        profile.turnarounds = vec![turned(1, 10, 2000, 10)];
        assert_eq!(turns(&profile), []);
    }

    #[test]
    fn where_nobody_answers_is_told() {
        let mut profile = rr(1, 20_000.0);
        profile.turnarounds.pop();
        let account = account(&profile);
        let legs = legs(&profile, &account).expect("the test has it");
        assert_eq!((legs.answers.len(), legs.silent), (1, vec![2]));
    }

    #[test]
    fn counts_are_whole_where_they_are_near_it() {
        let found = [0.5, 0.85, 1.19, 1.3, 2.4, 2.45, 3.7, 4.5].map(whole);
        assert_eq!(found, [0.5, 1.0, 1.0, 1.3, 2.0, 2.45, 4.0, 4.5]);
    }

    #[test]
    fn pieces_of_a_message_travel_beside_each_other() {
        let mut profile = rr(1, 20_000.0);
        let benchmark = profile.meta.benchmark.as_mut().expect("the test has it");
        benchmark.message_bytes = Some(4000);
        // Four packets of 1000 bytes in each message.
        benchmark.duration_s = benchmark.duration_s.map(|seconds| seconds / 4.0);
        for path in &mut profile.paths {
            path.payload_bytes = 100_000;
        }
        let account = account(&profile);
        let found = legs(&profile, &account).expect("the test has it");
        assert_eq!(found.packets, 8.0);
        assert!(found.groups.iter().all(|group| group.each == 4.0 && group.times == 1.0));
    }

    #[test]
    fn without_a_count_a_transaction_is_two_packets_and_what_is_no_count_is_none() {
        let mut profile = rr(1, 20_000.0);
        profile.meta.benchmark = None;
        let without = account(&profile);
        let found = legs(&profile, &without).expect("the test has it");
        assert_eq!((found.packets, found.counted), (2.0, false));
        let mut strange = rr(1, 20_000.0);
        strange.meta.benchmark.as_mut().expect("the test has it").duration_s = Some(100.0);
        let account = account(&strange);
        assert!(!legs(&strange, &account).expect("the test has it").counted);
    }

    #[test]
    fn a_rare_way_is_no_part_of_a_transaction() {
        let mut profile = rr(1, 20_000.0);
        let mut other = way(3, 2, 1, 130);
        for histogram in other.spans.iter_mut().chain([&mut other.end_to_end]) {
            *histogram = values(1_000_000, 2);
        }
        profile.paths.push(other);
        let account = account(&profile);
        let found = legs(&profile, &account).expect("the test has it");
        assert_eq!((found.groups.len(), found.strangers.len(), found.packets), (2, 1, 2.0));
    }

    #[test]
    fn what_is_forwarded_acknowledged_or_dropped_did_not_leave_for_an_answer() {
        let mut profile = one_side_of_a_wire(20_000.0, 500);
        let left = |profile: &Profile| {
            let account = crate::analysis::account(profile);
            paths(profile, &account).iter().filter(|(_, fate)| *fate == Fate::Left).count()
        };
        assert_eq!(left(&profile), 1);
        let whole = profile.paths[0].clone();
        profile.paths[0].payload_bytes = 0;
        assert_eq!(left(&profile), 0);
        profile.paths[0] = PathRecord { end: End::Dropped, reason: Some("NO_SOCKET".into()), ..whole.clone() };
        assert_eq!(left(&profile), 0);
        profile.paths[0] = PathRecord { protocol: Protocol::UDP, ..whole.clone() };
        assert_eq!(left(&profile), 0);
        profile.paths[0] = whole.clone();
        profile.paths[0].end_to_end.count = 20;
        let account = account(&profile);
        assert_eq!(legs(&profile, &account).expect("the test has it").leave_at, None);
        profile.paths[0] = whole;
        profile.paths[0].crossings[0].point = Point::Receive;
        assert_eq!(left(&profile), 0);
    }
}
