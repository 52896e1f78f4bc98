//! From the maps of a recording that has ended to its profile.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context as _, Result};
use netstrata_common::{Counter, CpuState, Head, Hook, Loss, Point, SampleKey, Tier};

use super::{
    assemble_functions as functions,
    bill::Bill,
    calibrate, filter,
    functions::Attached,
    interner::Interner,
    kept::{self, Place},
    kernel_counters::{Counters, own_peak_memory},
    recording::Recording,
    recover, softirqs as timed_softirqs,
    tree::{Swept, Tree, reason_name},
    whole::WholeJourney,
    within::{self, Within},
};
use crate::{
    cli::RecordArgs,
    host::{
        cpu::{online, own_time},
        emulated,
        facts::kernel_release,
    },
    kernel::symbols::Symbols,
    output::name,
    profile::{
        BatchRecord, CpuRecord, CrossingRecord, DropRecord, JourneyRecord, MOST_PATHS, Meta, Observer, PathRecord,
        Profile, SampleRecord, Sampling, SoftirqRecord, TaskRecord, Topology, TurnRecord,
    },
    topology::{Snapshotted, Watcher, container_of_pid, numbers_are_the_kernels},
};

/// Why a count of what the kernel skipped is missing.
const NOT_TOLD: &str = "this kernel does not tell (needs 5.12)";

/// What a profile is made of besides what a recording only holds.
struct Pieces<'a> {
    watched: Snapshotted,
    states: Vec<CpuState>,
    heads: Option<Vec<Head>>,
    tree: Tree,
    swept: Swept,
    batches: Vec<BatchRecord>,
    names: Names<'a>,
    chains: BTreeMap<Hook, String>,
    hooks: (Vec<Attached>, BTreeMap<String, String>),
    /// CPU time that this process used.
    own: Duration,
    observed: Duration,
    duration: Duration,
}

/// What functions are called.
enum Names<'a> {
    Known(&'a Symbols),
    /// They have addresses: names take longer to read than all else.
    Unread,
}

impl Names<'_> {
    fn of(&self, address: u64) -> String {
        match self {
            Self::Known(symbols) => symbols.name(address).to_owned(),
            Self::Unread => recover::unread(address),
        }
    }
}

/// The profile of a recording that has ended.
pub(super) fn profile(
    mut recording: Recording,
    args: &RecordArgs,
    duration: Duration,
    after: &Counters,
) -> Result<Profile> {
    let watcher = recording.watcher.take().context("the recording has ended already")?;
    let watched = watcher.finish();
    let states = recording.session.cpu_states()?;
    let heads = functions::heads(&recording)?;
    // A third of the time until a recording began went into them, and nothing needs them before.
    let symbols = recording.symbols.take().map_or_else(Symbols::running, Ok)?;
    let batches = std::mem::take(&mut recording.gathered.batches);
    let mut tree = std::mem::take(&mut recording.gathered.tree);
    let swept = tree.sweep(&recording.session, &recording.config)?;
    functions::read(&recording, &mut tree.paths)?;
    let chains = functions::chains(&recording)?;
    let hooks = recording.session.detach_functions();
    let (own, observed) = (recording.own_cpu, recording.observed);
    let names = Names::Known(&symbols);
    let pieces = Pieces { watched, states, heads, tree, swept, batches, names, chains, hooks, own, observed, duration };
    let mut profile = put_together(&recording, args, pieces, after)?;
    profile.fold(MOST_PATHS);
    Ok(profile)
}

/// The profile of a recording that goes on, of the batches that were taken so far; as long as it is not folded, and functions have
/// addresses. What is on its way is in none.
pub(super) fn so_far(recording: &Recording, args: &RecordArgs) -> Result<Profile> {
    let mut tree = recording.gathered.tree.clone();
    functions::read(recording, &mut tree.paths)?;
    let pieces = Pieces {
        watched: recording.watcher.as_ref().map(Watcher::so_far).unwrap_or_default(),
        states: recording.session.cpu_states()?,
        heads: functions::heads(recording)?,
        tree,
        swept: Swept::default(),
        batches: recording.gathered.batches.clone(),
        names: Names::Unread,
        chains: functions::chains(recording)?,
        hooks: recording.session.hooked(),
        own: own_time().total().saturating_sub(recording.own_cpu),
        observed: recording.attached(),
        duration: recording.started.elapsed(),
    };
    let mut profile = put_together(recording, args, pieces, &Counters::read()?)?;
    profile.meta.cut_off = true;
    profile.meta.command = super::command::words(&args.command);
    Ok(profile)
}

/// Each field of the profile once; what a field takes to find is in functions.
#[expect(clippy::too_many_lines, reason = "each field of the profile once; what a field takes to find is in functions")]
fn put_together(recording: &Recording, args: &RecordArgs, pieces: Pieces<'_>, after: &Counters) -> Result<Profile> {
    let Pieces { watched, states, heads, tree, swept, mut batches, names, chains, hooks, own, observed, duration } =
        pieces;
    let mut lost = losses(&states, heads.as_deref());
    // What the kernel does not tell is not 0.
    if let Some(missed) = recording.session.missed_nested() {
        lost.insert(Loss::MissedNested, missed);
    }
    if let Some(missed) = heads.as_ref().and(recording.session.missed_functions()) {
        lost.insert(Loss::FunctionMissed, missed);
    }
    lost.insert(Loss::JourneysNotKept, recording.journeys_not_kept);
    let mut cpu = cpu(recording, &names, duration, &states, &watched.topology, &mut batches)?;
    let used = after.cpus.zip(recording.counters.cpus).and_then(|(after, before)| after.since(&before));
    let used = used.context("the clock of the CPUs went back")?;
    cpu.kernel_busy_ns = used.busy_ns;
    lost.insert(Loss::InFlightAtEnd, swept.in_flight);
    *lost.entry(Loss::SlotBusy).or_default() += swept.mixed;
    let followed = sum(&states, |state| state.followed);
    let decisions = sum(&states, |state| state.decisions);
    let (hooks, missing_hooks) = hooks;
    let observer = observer(recording, &states, (own, duration), tree.paths.values())?;
    let mut missing = recording.session.missing.clone();
    missing.extend(missing_hooks);
    let counted = [Loss::MissedNested].into_iter().chain(heads.is_some().then_some(Loss::FunctionMissed));
    for loss in counted.filter(|loss| !lost.contains_key(loss)) {
        missing.insert(loss.name().into(), NOT_TOLD.into());
    }
    if let Some(reason) = &recording.no_functions {
        missing.insert("function tier".into(), reason.clone());
    }
    if !watched.notes.is_empty() {
        missing.insert("topology".into(), watched.notes.join("; "));
    }
    let mut tiers = vec![Tier::Tracepoint, Tier::Sampling];
    if !hooks.is_empty() {
        tiers.push(Tier::Function);
    }
    let journeys = journeys(&recording.journeys, &tree, recording.started_ns);
    let reasons = tree.reasons.clone();
    Ok(Profile {
        multiple: 0.0,
        meta: Meta {
            recorder: env!("CARGO_PKG_VERSION").into(),
            kernel: kernel_release(),
            arch: std::env::consts::ARCH.into(),
            cpus: used.cpus,
            clock: emulated::clock(),
            duration_ns: duration.as_nanos() as u64,
            tiers,
            probes: recording.session.probe_names(),
            missing,
            filters: filter::describe(args),
            steal_share: used.stolen_share,
            started_ns: recording.started_ns,
            began_unix_ns: recording.began_unix_ns,
            ..Meta::default()
        },
        topology: watched.topology,
        sampling: Sampling {
            budget: args.budget,
            rates: recording.rates.clone(),
            observed_ns: observed.as_nanos().min(duration.as_nanos()) as u64,
            looks: recording.looks.clone(),
            followed,
            // While it runs, a CPU may have counted the last one here and not yet there.
            packets: decisions.max(followed),
        },
        journeys,
        paths: tree.into_records(),
        cpu,
        softirqs: softirqs(recording, after)?,
        drops: without_room(drops(recording, &names, &reasons), &watched.untracked),
        turnarounds: turnarounds(recording),
        devices: watched.counters,
        retransmits: sum(&states, |state| state.retransmits),
        lost,
        observer,
        batches,
        hooks: functions::hooks(hooks),
        chains,
    })
}

fn sum(states: &[CpuState], field: impl Fn(&CpuState) -> u64) -> u64 {
    states.iter().map(field).sum()
}

/// Every loss that the programs count, also those of nothing: a reader must see that it was looked for.
fn losses(states: &[CpuState], heads: Option<&[Head]>) -> BTreeMap<Loss, u64> {
    let counted = |loss: Loss| match loss.info().counted_by {
        Counter::Points => Some(states.iter().map(|state| state.lost[loss]).sum()),
        Counter::Functions => Some(heads?.iter().map(|head| head.lost[loss]).sum()),
        Counter::Recorder => None,
    };
    Loss::ALL.iter().filter_map(|loss| Some((*loss, counted(*loss)?))).collect()
}

fn journeys(seen: &[WholeJourney], tree: &Tree, started_ns: u64) -> Vec<JourneyRecord> {
    seen.iter()
        .filter_map(|whole| {
            let journey = &whole.journey;
            let path = journey.path_id();
            tree.paths.contains_key(&path).then(|| JourneyRecord {
                path,
                start_ns: journey.start_ns.saturating_sub(started_ns),
                bytes: journey.len,
                wire_packets: journey.wire,
                crossings: whole.crossings().map(|crossing| (crossing.delta_ns, crossing.cpu)).collect(),
                ..JourneyRecord::default()
            })
        })
        .collect()
}

/// The samples. In the batches their numbers become those of the records.
fn cpu(
    recording: &Recording,
    names_of: &Names<'_>,
    duration: Duration,
    states: &[CpuState],
    topology: &Topology,
    batches: &mut [BatchRecord],
) -> Result<CpuRecord> {
    let mut names = Interner::default();
    let mut stack_index: HashMap<u64, Option<u32>> = HashMap::new();
    let mut stack_list: Interner<Vec<u32>> = Interner::default();
    let mut tasks: Interner<TaskRecord> = Interner::default();
    let stacks = &recording.gathered.stacks;
    type Alike = (bool, Option<u32>, u32, u16, bool, Option<CrossingRecord>);
    let mut alike: BTreeMap<Alike, Vec<u32>> = BTreeMap::new();
    let mut samples: Vec<(u32, &SampleKey)> = (0..).zip(&recording.gathered.samples.items).collect();
    samples.sort_by_key(|(_, key)| (key.stack, key.pid, key.comm, key.cpu));
    let by_number = numbers_are_the_kernels();
    for (number, key) in samples {
        let stack = *stack_index.entry(key.stack).or_insert_with(|| {
            let frames = stacks.get(&key.stack)?.iter();
            let frames = frames.map(|address| names.index(names_of.of(*address))).collect();
            Some(stack_list.index(frames))
        });
        let comm = name(key.comm.split(|byte| *byte == 0).next().unwrap_or_default());
        let container = topology
            .containers
            .iter()
            .find(|container| {
                (container.cgroup != 0 && container.cgroup == key.cgroup)
                    || (by_number && container.pids.contains(&key.pid))
            })
            .map(|container| container.name.clone())
            .or_else(|| if key.pid == 0 || !by_number { None } else { container_of_pid(key.pid, topology) });
        let task = tasks.index(TaskRecord { pid: key.pid, comm, container });
        let place = Point::from_id(key.point as u8)
            .filter(|point| *point != Point::None && key.netns != 0)
            .map(|point| CrossingRecord { point, netns: key.netns, ifindex: key.ifindex });
        let of_same = (key.burst != 0, stack, task, key.cpu, key.user != 0, place);
        alike.entry(of_same).or_default().push(number);
    }
    let (mut entries, mut bursts) = (Vec::new(), Vec::new());
    let mut numbers = vec![(false, 0); recording.gathered.samples.items.len()];
    for (&(burst, stack, task, cpu, user, place), of_same) in &alike {
        let records = if burst { &mut bursts } else { &mut entries };
        of_same.iter().for_each(|number| numbers[*number as usize] = (burst, records.len() as u32));
        records.push(SampleRecord { stack, task, cpu, user, place, count: 0 });
    }
    count_samples(batches, &numbers, &mut entries, &mut bursts);
    let frequency = recording.frequency;
    Ok(CpuRecord {
        source: recording.source.into(),
        period_ns: 1_000_000_000_u64.checked_div(frequency).unwrap_or(0),
        asked_hz: recording.asked_hz,
        expected: (duration.as_secs_f64() * frequency as f64 * online()?.len() as f64) as u64,
        samples: sum(states, |state| state.samples),
        kernel_busy_ns: 0,
        symbols: names.items,
        stacks: stack_list.items,
        tasks: tasks.items,
        entries,
        bursts,
        burst_samples: sum(states, |state| state.burst_samples),
    })
}

/// Gives the samples of batches the numbers of their records, and counts them there.
fn count_samples(
    batches: &mut [BatchRecord],
    numbers: &[(bool, u32)],
    entries: &mut [SampleRecord],
    bursts: &mut [SampleRecord],
) {
    for batch in batches {
        for (number, count) in std::mem::take(&mut batch.samples) {
            let (burst, index) = numbers[number as usize];
            let (records, sums) =
                if burst { (&mut *bursts, &mut batch.bursts) } else { (&mut *entries, &mut batch.samples) };
            records[index as usize].count += count;
            *sums.entry(index).or_default() += count;
        }
    }
}

fn softirqs(recording: &Recording, after: &Counters) -> Result<SoftirqRecord> {
    let mut vectors = timed_softirqs::timed(&recording.session)?;
    for vector in &mut vectors {
        let (row, cpu) = (vector.vector as usize, usize::from(vector.cpu));
        let reading =
            |counters: &Counters| counters.softirqs.get(row).and_then(|row| row.get(cpu)).copied().unwrap_or(0);
        vector.total = reading(after).saturating_sub(reading(&recording.counters));
    }
    vectors.retain(|vector| vector.total > 0 || vector.count > 0);
    Ok(SoftirqRecord {
        observed_ns: recording.softirq_observed.as_nanos() as u64,
        vectors,
        backlog_drops: after.backlog_drops.saturating_sub(recording.counters.backlog_drops),
    })
}

fn drops(recording: &Recording, names: &Names<'_>, reasons: &HashMap<u32, String>) -> Vec<DropRecord> {
    let mut by_place: BTreeMap<(String, String, u32, u32), u64> = BTreeMap::new();
    for (key, count) in &recording.gathered.drops {
        let function = names.of(key.location);
        *by_place.entry((reason_name(reasons, key.reason), function, key.netns, key.ifindex)).or_default() += count;
    }
    by_place
        .into_iter()
        .map(|((reason, function, netns, ifindex), count)| DropRecord { reason, function, netns, ifindex, count })
        .collect()
}

/// What a netfilter hook's drops are called whose reason was connection tracking.
const WITHOUT_ROOM: &str = "CONNTRACK_FULL";

/// Of the drops of netfilter hooks, those that connection tracking made because it had no room: the kernel has one reason for
/// all of them, and a count of these in each namespace.
fn without_room(drops: Vec<DropRecord>, untracked: &BTreeMap<u32, u64>) -> Vec<DropRecord> {
    let mut left = untracked.clone();
    let mut told = Vec::new();
    for mut drop in drops {
        let by_hook = drop.function.starts_with("nf_hook_slow");
        if by_hook && let Some(left) = left.get_mut(&drop.netns).filter(|left| **left > 0) {
            let count = drop.count.min(*left);
            (drop.count, *left) = (drop.count - count, *left - count);
            told.push(DropRecord { reason: WITHOUT_ROOM.into(), count, ..drop.clone() });
        }
        if drop.count > 0 {
            told.push(drop);
        }
    }
    told
}

fn turnarounds(recording: &Recording) -> Vec<TurnRecord> {
    let turns = recording.gathered.turns.iter();
    turns.map(|(&(netns, pid), ns)| TurnRecord { netns, pid, ns: ns.clone() }).collect()
}

fn observer<'a>(
    recording: &Recording,
    states: &[CpuState],
    (own, duration): (Duration, Duration),
    paths: impl Iterator<Item = &'a PathRecord>,
) -> Result<Observer> {
    let costs = recording.costs;
    let pace = calibrate::pace(&costs, states);
    let slower = pace.unwrap_or(1.0);
    let mut observer = Observer::default();
    let bill = Bill {
        costs: &costs,
        pace: slower,
        states,
        softirqs: &calibrate::timed_softirqs(&recording.session)?,
        hooks_ns: &functions::cost(&mut observer, recording)?,
        own,
        own_by_cpu: &recording.own_by_cpu,
        duration,
    };
    let shares = bill.shares(online()?.len());
    let bound = within::bound(paths);
    if let Some(key) = recording.key.as_ref().filter(|_| kept::contradicted(&costs, pace, bound)) {
        Place::default().forget(key);
    }
    let within = Within::new(&costs, slower, bound);
    Ok(Observer {
        ns_per_crossing: costs.ns_per_crossing,
        ns_per_followed_crossing: costs.ns_per_followed_crossing,
        pace: pace.unwrap_or(0.0),
        ns_in_span_per_crossing: within.ns,
        ns_in_span_low: within.low,
        ns_in_span_high: within.high,
        ns_in_span_at_return: within::grown(costs.ns_in_span_at_return, &costs, slower),
        ns_in_span_at_ready: costs.ns_in_span_at_ready,
        crossings: sum(states, |state| state.crossings),
        followed_crossings: sum(states, |state| state.followed_crossings),
        hooks: recording.hook_costs,
        ns_per_sample: costs.ns_per_sample,
        ns_per_timed_softirq: costs.ns_per_timed_softirq,
        cpu_share: shares.mean,
        busiest_cpu_share: shares.busiest,
        recorder_share: own.as_secs_f64() / duration.as_secs_f64().max(1e-9),
        recorder_rss_bytes: own_peak_memory(),
        ..observer
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_hooks_are_those_of_connection_tracking_as_far_as_it_counted_them() {
        let drop = |reason: &str, function: &str, netns, count| DropRecord {
            reason: reason.into(),
            function: function.into(),
            netns,
            count,
            ..DropRecord::default()
        };
        let drops = vec![
            drop("NETFILTER_DROP", "nf_hook_slow", 1, 10),
            drop("NETFILTER_DROP", "nf_hook_slow", 2, 10),
            drop("NETFILTER_DROP", "nf_hook_slow", 3, 10),
            drop("NO_SOCKET", "tcp_v4_rcv", 1, 10),
        ];
        let told = without_room(drops, &BTreeMap::from([(1, 4), (2, 99)]));
        let told: Vec<_> = told.iter().map(|drop| (drop.reason.as_str(), drop.netns, drop.count)).collect();
        assert_eq!(
            told,
            [
                ("CONNTRACK_FULL", 1, 4),
                ("NETFILTER_DROP", 1, 6),
                ("CONNTRACK_FULL", 2, 10),
                ("NETFILTER_DROP", 3, 10),
                ("NO_SOCKET", 1, 10)
            ]
        );
    }
}
