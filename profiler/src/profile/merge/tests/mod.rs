//! What merging promises.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

pub mod generated;

use netstrata_common::{Hook, Loss, Point};
use proptest::prelude::*;

use self::generated::{Dice, recording};
use super::*;
use crate::profile::{
    BatchPath, CrossingRecord, Device, FunctionRecord, Histogram, JourneyRecord, Namespace, PathRecord, TaskRecord,
    TurnRecord, measures::FlowTimes,
};

/// Merges with names of their own.
fn merged(profiles: &[&Profile]) -> Profile {
    let named = profiles.iter().enumerate().map(|(at, profile)| (format!("file {at}"), (*profile).clone()));
    merge(named.collect()).unwrap()
}

fn refusal(one: &Profile, other: &Profile) -> String {
    merge(vec![("a.prof".into(), one.clone()), ("b.prof".into(), other.clone())]).unwrap_err().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_order_does_not_matter(seeds: [u64; 4]) {
        let parts = [0, 1, 2, 3].map(|at| recording(seeds[at], 5 * at as u64 % 4));
        let [a, b, c, d] = [&parts[0], &parts[1], &parts[2], &parts[3]];
        let ab = merged(&[a, b]);
        prop_assert_eq!(&ab, &merged(&[b, a]));
        let all = merged(&[a, b, c, d]);
        prop_assert_eq!(&all, &merged(&[&ab, &merged(&[c, d])]));
        prop_assert_eq!(&all, &merged(&[&merged(&[&ab, c]), d]));
        prop_assert_eq!(&all, &merged(&[a, &merged(&[&merged(&[d, b]), c])]));
        prop_assert_eq!(&all, &merged(&[d, c, b, a]));
    }

    #[test]
    fn nor_does_it_where_paths_were_folded(seeds: [u64; 3], budget in 0_usize..4) {
        let parts = [0, 1, 2].map(|at| {
            let mut part = recording(seeds[at], at as u64);
            part.fold(budget);
            part
        });
        let [a, b, c] = [&parts[0], &parts[1], &parts[2]];
        let all = merged(&[a, b, c]);
        prop_assert_eq!(&all, &merged(&[c, &merged(&[b, a])]));
        prop_assert_eq!(&all, &merged(&[&merged(&[a, c]), b]));
        prop_assert_eq!(all.folded().0, parts.iter().map(|part| part.folded().0).sum::<u64>());
        let packets = |profile: &Profile| profile.paths.iter().map(|path| path.packets).sum::<u64>();
        prop_assert_eq!(packets(&all), parts.iter().map(packets).sum::<u64>());
    }

    #[test]
    fn counts_are_added_and_nothing_is_lost(seeds: [u64; 2]) {
        let parts = [0, 1].map(|at| recording(seeds[at], at as u64));
        let sum = merged(&[&parts[0], &parts[1]]);
        let counts: [fn(&Profile) -> u64; 14] = [
            |profile| profile.meta.duration_ns,
            |profile| profile.sampling.followed + profile.sampling.packets + profile.sampling.observed_ns,
            |profile| profile.sampling.rates.len() as u64,
            |profile| profile.paths.iter().map(|path| path.packets + path.samples).sum(),
            |profile| profile.paths.iter().map(|path| path.end_to_end.sum).sum(),
            |profile| profile.paths.iter().flat_map(|path| &path.spans).map(|span| span.count).sum(),
            |profile| profile.paths.iter().flat_map(|path| &path.functions).map(|function| function.calls).sum(),
            |profile| profile.cpu.entries.iter().map(|sample| sample.count).sum(),
            |profile| profile.cpu.bursts.iter().map(|sample| sample.count).sum(),
            |profile| profile.softirqs.vectors.iter().map(|vector| vector.total).sum(),
            |profile| profile.turnarounds.iter().map(|turn| turn.ns.count).sum(),
            |profile| profile.devices.iter().map(|device| device.tx_packets).sum(),
            |profile| profile.lost.values().sum::<u64>() + profile.journeys.len() as u64 + profile.retransmits,
            |profile| profile.observer.crossings + profile.drops.iter().map(|drop| drop.count).sum::<u64>(),
        ];
        for (at, count) in counts.iter().enumerate() {
            prop_assert_eq!(count(&sum), parts.iter().map(count).sum::<u64>(), "count {}", at);
        }
        let batched: [fn(&BatchRecord) -> u64; 4] = [
            |batch| batch.paths.values().map(|path| path.packets + path.sum_ns).sum(),
            |batch| batch.paths.values().flat_map(|path| &path.spans_ns).sum(),
            |batch| batch.turnarounds.iter().map(|turns| turns.count + turns.sum_ns).sum(),
            |batch| batch.samples.values().chain(batch.bursts.values()).sum::<u64>() + batch.windows.len() as u64 + batch.look.1,
        ];
        for (at, count) in batched.iter().enumerate() {
            for (part, alone) in parts.iter().enumerate() {
                let of_part = sum.batches.iter().filter(|batch| batch.part == part as u32);
                let all = alone.batches.iter().map(count).sum::<u64>();
                prop_assert_eq!(of_part.map(count).sum::<u64>(), all, "batched count {} of part {}", at, part);
            }
        }
        // Everything that batches and journeys name is there.
        let known = |id: &u64| sum.paths.iter().any(|path| path.id == *id);
        prop_assert!(sum.batches.iter().flat_map(|batch| batch.paths.keys()).all(known));
        prop_assert!(sum.journeys.iter().all(|journey| known(&journey.path)));
    }

    #[test]
    fn batches_have_room_and_stay_with_their_recording(counts in proptest::collection::vec(0_usize..65, 2..9)) {
        let parts: Vec<Profile> = counts.iter().zip(0..).map(|(count, at)| with_batches(*count, at)).collect();
        let sum = merged(&parts.iter().collect::<Vec<_>>());
        prop_assert!(sum.batches.len() <= MOST_BATCHES);
        let width = 1_u64 << sum.meta.joined;
        let fits = |width: usize| counts.iter().map(|count| count.div_ceil(width)).sum::<usize>() <= MOST_BATCHES;
        prop_assert!(fits(width as usize) && (width == 1 || !fits(width as usize / 2)));
        prop_assert!(sum.batches.is_sorted_by_key(|batch| (batch.part, batch.end_ns)));
        for (part, count) in counts.iter().enumerate() {
            let of_part: Vec<_> = sum.batches.iter().filter(|batch| batch.part == part as u32).collect();
            prop_assert_eq!(of_part.iter().map(|batch| batch.samples_ns).sum::<u64>(), *count as u64);
            prop_assert!(of_part.iter().rev().skip(1).all(|batch| batch.samples_ns == width));
        }
    }
}

/// A recording of so many batches, each of which counts as one.
fn with_batches(count: usize, at: u64) -> Profile {
    let mut profile = Profile::default();
    profile.meta.started_ns = at;
    profile.batches =
        (1..=count as u64).map(|end_ns| BatchRecord { end_ns, samples_ns: 1, ..BatchRecord::default() }).collect();
    profile
}

#[test]
fn a_merged_profile_survives_its_file() {
    let mut dice = Dice(1);
    let parts = [1, 2, 3].map(|at| recording(dice.below(u64::MAX), at));
    let sum = merged(&[&parts[0], &parts[1], &parts[2]]);
    let file = std::env::temp_dir().join(format!("netstrata-merged-{}", std::process::id()));
    crate::profile::write(&sum, &file).unwrap();
    let read = crate::profile::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(read, sum);
}

/// A packet from a client to a server through devices that have these numbers.
fn one_packet(at: u64, client: (u32, u32), server: (u32, u32), pid: u32) -> Profile {
    let mut profile = Profile::default();
    profile.meta.started_ns = at;
    for ((inum, ifindex), name) in [(client, "client"), (server, "server")] {
        let pids = vec![pid];
        profile.topology.namespaces.push(Namespace { inum, name: name.into(), origin: "named".into(), pids });
        let device = Device { netns: inum, ifindex, name: "eth0".into(), kind: "veth".into(), ..Device::default() };
        profile.topology.devices.push(Device { peer: Some(if name == "client" { server } else { client }), ..device });
    }
    let crossing = |point, (netns, ifindex)| CrossingRecord { point, netns, ifindex };
    let mut times = Histogram::default();
    times.add(100, 1);
    profile.paths.push(PathRecord {
        id: at,
        crossings: vec![crossing(Point::Xmit, client), crossing(Point::Rx, server)],
        packets: 1,
        end_to_end: times.clone(),
        spans: vec![times.clone()],
        ..PathRecord::default()
    });
    profile.cpu.tasks = vec![TaskRecord { pid, comm: "app".into(), container: None }];
    profile.turnarounds = vec![TurnRecord { netns: server.0, pid, ns: times }];
    let mut path = BatchPath::default();
    (path.packets, path.sum_ns, path.spans_ns) = (1, 100, vec![100]);
    profile.batches.push(BatchRecord { paths: [(at, path)].into(), ..BatchRecord::default() });
    profile
}

#[test]
fn what_is_called_alike_is_one_whichever_numbers_the_kernel_gave_it() {
    let (a, b) = ((0xf000_0001, 7), (0xf000_0002, 9));
    // The second time the kernel gave the numbers the other way round.
    let parts = [one_packet(1, a, b, 100), one_packet(2, b, a, 200), one_packet(3, (0xf000_0009, 4), a, 100)];
    let sum = merged(&[&parts[0], &parts[1], &parts[2]]);
    assert_eq!((sum.paths.len(), sum.paths[0].packets, sum.paths[0].spans[0].count), (1, 3, 3));
    assert_eq!((sum.topology.namespaces.len(), sum.topology.devices.len()), (2, 2));
    let [from, to] = [0, 1].map(|at| sum.paths[0].crossings[at]);
    assert_eq!([from, to].map(|at| sum.topology.namespace_name(at.netns)), ["client", "server"]);
    assert!([from, to].iter().all(|at| sum.topology.device(at.netns, at.ifindex).is_some()));
    let device = sum.topology.device(from.netns, from.ifindex).unwrap();
    assert_eq!(device.peer, Some((to.netns, to.ifindex)));
    assert_eq!((sum.turnarounds.len(), sum.turnarounds[0].ns.count, sum.cpu.tasks.len()), (1, 3, 1));
    assert_eq!((sum.turnarounds[0].netns, sum.turnarounds[0].pid), (to.netns, sum.cpu.tasks[0].pid));
    assert!(sum.batches.iter().all(|batch| batch.paths.contains_key(&sum.paths[0].id)) && sum.batches.len() == 3);
}

#[test]
fn what_shares_its_name_is_told_apart_as_the_kernel_does() {
    let (a, b) = ((0xf000_0001, 7), (0xf000_0002, 9));
    let mut one = one_packet(1, a, b, 100);
    one.topology.namespaces.iter_mut().for_each(|namespace| namespace.name = "pod".into());
    one.cpu.tasks.push(TaskRecord { pid: 101, ..one.cpu.tasks[0].clone() });
    one.turnarounds.push(TurnRecord { pid: 101, ..one.turnarounds[0].clone() });
    let mut other = one.clone();
    other.meta.started_ns = 2;
    let sum = merged(&[&one, &other]);
    assert_eq!((sum.topology.namespaces.len(), sum.topology.devices.len(), sum.paths.len()), (2, 2, 1));
    assert_eq!(sum.turnarounds.iter().map(|turn| turn.pid).collect::<Vec<_>>(), [100, 101]);
}

#[test]
fn one_recording_alone_stays_as_it_is() {
    let profile = recording(7, 1);
    assert_eq!(merged(&[&profile]), profile);
}

#[test]
fn what_must_not_be_added_is_refused_by_name() {
    let mut base = recording(7, 1);
    base.cpu.period_ns = 9;
    type Edit = fn(&mut Profile);
    let edits: [(Edit, &str); 16] = [
        (|profile| profile.meta.kernel = "6.1".into(), "kernels differ, 6.18 and 6.1"),
        (|profile| profile.meta.arch = "aarch64".into(), "architectures"),
        (|profile| profile.meta.cpus = 8, "numbers of CPUs differ, 2 and 8"),
        (|profile| profile.meta.clock = crate::choices::Clock::Instructions, "clocks differ, wall and instructions"),
        (|profile| profile.meta.tiers.clear(), "tiers differ"),
        (|profile| profile.meta.filters.push("tcp".into()), "filters differ, none and tcp"),
        (|profile| profile.cpu.period_ns = 0, "sources of CPU samples differ, cpu-clock and none"),
        (|profile| profile.cpu.source = "cycles".into(), "CPU samples differ"),
        (|profile| profile.cpu.period_ns = 19, "CPU samples stand for 9 to 19 ns each"),
        (|profile| profile.meta.benchmark = None, "only the first holds a benchmark's result"),
        (|profile| benchmark(profile).workload = "udp-rr".into(), "workloads differ, tcp-rr and udp-rr"),
        (|profile| benchmark(profile).message_bytes = Some(64), "message sizes differ, unknown and 64"),
        (|profile| benchmark(profile).pairs = Some(2), "numbers of pairs differ"),
        (|profile| benchmark(profile).pin = Some("same".into()), "choices of CPUs differ, none and same"),
        (|profile| benchmark(profile).ip = Some(6), "versions of IP differ, 4 and 6"),
        (|profile| benchmark(profile).flows.push(FlowTimes::default()), "flows differ"),
    ];
    for (edit, words) in edits {
        let mut other = recording(8, 2);
        other.cpu.period_ns = 9;
        edit(&mut other);
        let said = refusal(&base, &other);
        assert!(said.starts_with("a.prof and b.prof cannot be added: ") && said.contains(words), "{said}");
    }
}

fn benchmark(profile: &mut Profile) -> &mut crate::profile::Benchmark {
    profile.meta.benchmark.as_mut().unwrap()
}

#[test]
fn samples_stand_for_as_much_time_as_before() {
    let mut parts = [recording(1, 1), recording(2, 2), recording(3, 3)];
    for (profile, (samples, period)) in parts.iter_mut().zip([(100, 10), (300, 20), (0, 15)]) {
        (profile.cpu.samples, profile.cpu.period_ns) = (samples, period);
    }
    let sum = merged(&[&parts[0], &merged(&[&parts[1], &parts[2]])]);
    assert_eq!((sum.cpu.samples, sum.cpu.period_ns), (400, 7000 / 400));
    // Far apart only through a third one.
    parts[2].cpu.period_ns = 30;
    assert!(refusal(&parts[0], &merged(&[&parts[1], &parts[2]])).contains("10 to 30 ns"));
}

#[test]
fn a_recording_counts_once() {
    let [one, other] = [1, 2].map(|at| recording(at, at));
    let both = merged(&[&one, &other]);
    for said in [refusal(&one, &one), refusal(&both, &other), refusal(&one, &both)] {
        assert!(said.starts_with("a.prof and b.prof hold the same recording"), "{said}");
    }
}

#[test]
fn more_recordings_than_batches_are_refused() {
    let parts: Vec<_> = (0..65).map(|at| (at.to_string(), with_batches(1, at))).collect();
    assert_eq!(merge(parts[..64].to_vec()).unwrap().batches.len(), 64);
    let said = merge(parts).unwrap_err().to_string();
    assert!(said.starts_with("65 recordings are too many"), "{said}");
}

#[test]
fn whole_journeys_are_drawn_by_lot_and_the_rest_is_counted() {
    let part = |at: u64| {
        let mut profile = with_batches(1, at);
        let journey = |start_ns: u64| JourneyRecord { start_ns: start_ns * 77 + at, ..JourneyRecord::default() };
        profile.journeys = (0..1500).map(journey).collect();
        profile
    };
    let parts = [part(1), part(2), part(3)];
    let sum = merged(&[&parts[0], &parts[1], &parts[2]]);
    assert_eq!((sum.journeys.len(), sum.lost[&Loss::JourneysNotKept]), (2000, 2500));
    assert_eq!(sum, merged(&[&parts[1], &merged(&[&parts[2], &parts[0]])]));
    for part in 0..3 {
        let share = sum.journeys.iter().filter(|journey| journey.part == part).count();
        assert!((500..850).contains(&share), "{share} of part {part}");
    }
}

/// A recording that met chains of these names in this order, each once.
fn with_chains(names: &[String], at: u64) -> Profile {
    let mut profile = with_batches(1, at);
    let rows = Hook::ALL.iter().copied().filter(|hook| hook.is_chain());
    profile.chains = rows.zip(names.iter().cloned()).collect();
    let functions =
        profile.chains.keys().map(|hook| FunctionRecord { hook: *hook, calls: 1, ..FunctionRecord::default() });
    profile.paths = vec![PathRecord { functions: functions.collect(), ..PathRecord::default() }];
    profile
}

#[test]
fn chains_are_told_by_name_and_those_without_a_row_together() {
    let name = |number: u64| format!("table/chain{number:02}");
    let parts =
        [0, 1, 2].map(|at| with_chains(&(0..9).map(|row| name((row * 7 + at * 8) % 25)).collect::<Vec<_>>(), at));
    let sum = merged(&[&parts[0], &parts[1], &parts[2]]);
    assert_eq!(sum, merged(&[&parts[2], &merged(&[&parts[0], &parts[1]])]));
    assert_eq!(sum, merged(&[&merged(&[&parts[2], &parts[0]]), &parts[1]]));
    assert_eq!(sum.chains.len(), 16);
    let functions = &sum.paths[0].functions;
    let calls = |of: fn(Hook) -> bool| functions.iter().filter(|own| of(own.hook)).map(|own| own.calls).sum::<u64>();
    assert_eq!(calls(|_| true), 27);
    assert!(calls(|hook| hook == Hook::NftChain) > 0 && calls(Hook::is_chain) > 16, "{functions:?}");
    for (hook, name) in &sum.chains {
        let met = parts.iter().filter(|part| part.chains.values().any(|other| other == name)).count() as u64;
        assert_eq!(functions.iter().find(|own| own.hook == *hook).map(|own| own.calls), Some(met), "{name}");
    }
}

#[test]
fn looks_stand_for_all_that_was_observed_or_for_nothing() {
    let mut parts = [with_batches(1, 1), with_batches(1, 2), with_batches(1, 3)];
    parts[0].sampling.looks = vec![(5, 1)];
    parts[1].sampling.looks = vec![(3, 2)];
    let two = merged(&[&parts[0], &parts[1]]);
    assert_eq!(two.sampling.looks, [(3, 2), (5, 1)]);
    let three = merged(&[&two, &parts[2]]);
    assert_eq!((three.sampling.looks.len(), &three), (0, &merged(&[&merged(&[&parts[2], &parts[0]]), &parts[1]])));
}

#[test]
fn rates_count_by_time_and_what_cannot_be_added_is_not_there() {
    let mut parts = [recording(1, 1), recording(2, 2)];
    for (profile, (rate, trip, seconds)) in parts.iter_mut().zip([(100.0, 10.0, 1.0), (400.0, 2.0, 3.0)]) {
        let benchmark = benchmark(profile);
        benchmark.transactions_per_s = Some(rate);
        benchmark.round_trip_ns = Some(trip);
        benchmark.duration_s = Some(seconds);
    }
    (parts[0].meta.duration_ns, parts[1].meta.duration_ns) = (1, 3);
    (parts[0].meta.steal_share, parts[1].meta.steal_share) = (0.4, 0.0);
    let sum = merged(&[&parts[0], &parts[1]]);
    let both = sum.meta.benchmark.as_ref().unwrap();
    assert_eq!((both.transactions_per_s, both.duration_s), (Some(325.0), Some(4.0)));
    // 100 round trips of 10 and 1200 of 2.
    assert_eq!((both.round_trip_ns, both.round_trip_p99_ns), (Some(3400.0 / 1300.0), None));
    assert!((sum.meta.steal_share - 0.1).abs() < 1e-12);
    assert_eq!(sum.meta.parts.iter().map(|part| part.started_ns).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn parts_are_in_the_order_of_their_dates_also_where_the_machine_was_started_anew() {
    let (a, b) = ((0xf000_0001, 7), (0xf000_0002, 9));
    let dated = |started_ns, date| {
        let mut profile = one_packet(started_ns, a, b, 100);
        (profile.meta.started_ns, profile.meta.began_unix_ns) = (started_ns, date);
        profile
    };
    let (first, second) = (dated(900, 1), dated(20, 2));
    for order in [[&first, &second], [&second, &first]] {
        let sum = merged(&order);
        assert_eq!(sum.meta.parts.iter().map(|part| part.started_ns).collect::<Vec<_>>(), [900, 20]);
        assert_eq!(sum.meta.began_unix_ns, 1);
    }
}
