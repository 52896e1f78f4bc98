//! A connection for each transaction (`tcp-crr`): what the client does between an answer and its next request is to end a
//! connection and to set up the next one.
//!
//! It is seen as the client's turnaround. What packets without data take of it has layers: SYN there, its answer back, and
//! the server's FIN. Which of a connection's empty packets these are is not recorded, so each counts as the mean of those
//! that go its way.

use netstrata_common::{End, Points, Protocol};

use super::group::{Answers, Fate, Group, spans_of};
use crate::{
    analysis::{Account, PathAccount},
    profile::{CrossingRecord, PathRecord, Profile},
};

/// Names of clients: the thread of a built-in workload's, and netperf.
const CLIENTS: [&str; 2] = ["ns-client", "netperf"];
/// Packets without data that a client waits for: its SYN, the answer to it, the server's FIN.
const THERE: f64 = 1.0;
const BACK: f64 = 2.0;

/// Whether each transaction of a profile has a connection of its own.
pub(super) fn for_each_transaction(profile: &Profile) -> bool {
    profile.meta.benchmark.as_ref().is_some_and(|benchmark| benchmark.workload == "tcp-crr")
}

/// Whether a process is the client, as the CPU samples know it.
pub(super) fn is_client(profile: &Profile, pid: u32) -> bool {
    profile.cpu.tasks.iter().any(|task| task.pid == pid && CLIENTS.contains(&task.comm.as_str()))
}

/// Whether a path's packets hold no data and were received by the kernel itself.
fn is_empty(path: &PathRecord) -> bool {
    let received = path.crossings.iter().any(|crossing| crossing.point.is_in(Points::TO_READER));
    path.protocol == Protocol::TCP
        && path.payload_bytes == 0
        && matches!(path.end, End::Absorbed | End::Consumed)
        && received
}

/// The packets of a connection that its client waits for.
pub(super) fn legs<'a>(
    profile: &Profile,
    account: &'a Account,
    groups: &[Group<'a>],
    answers: &[Answers],
) -> Vec<Group<'a>> {
    let tells_data = profile.paths.iter().any(|path| path.payload_bytes > 0);
    let client = answers.iter().find(|answers| is_client(profile, answers.pid)).map(|client| client.netns);
    let Some(client) = client.filter(|_| for_each_transaction(profile) && tells_data) else { return Vec::new() };
    let between = |from: u32, to: u32| -> Vec<&'a PathAccount> {
        let ends = |path: &&PathAccount| {
            let at = |crossing: Option<&CrossingRecord>| crossing.map(|crossing| crossing.netns);
            let last = spans_of(&path.record, Fate::Kept);
            at(path.record.crossings.first()) == Some(from) && at(path.record.crossings.get(last)) == Some(to)
        };
        account.paths.iter().filter(|path| is_empty(&path.record)).filter(ends).collect()
    };
    let mut found: Vec<Group<'a>> = Vec::new();
    let mut add = |from: u32, to: u32, times: f64| {
        let paths = between(from, to);
        let packets: u64 = paths.iter().map(|path| path.record.end_to_end.count).sum();
        if packets > 0 {
            found.push(Group { from, to, fate: Fate::Kept, paths, packets, each: times, times });
        }
    };
    // The first hop of the client's requests, and the way back.
    let asked = groups.iter().filter(|group| group.fate == Fate::Read && group.from == client);
    let Some(server) = asked.max_by_key(|group| group.packets).map(|group| group.to) else { return found };
    if server == client {
        add(client, client, THERE + BACK);
    } else {
        add(client, server, THERE);
        add(server, client, BACK);
    }
    found
}
