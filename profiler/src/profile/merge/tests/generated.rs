//! Recordings by chance, of few names, so that they have much in common.

use std::collections::BTreeMap;

use netstrata_common::{Edge, End, Hook, Loss, Point, Protocol, Tier, Vector};

use crate::profile::{
    BatchHost, BatchPath, BatchRecord, BatchTurns, BatchWork, Benchmark, Container, CpuRecord, CrossingRecord, Device,
    DeviceCounters, DropRecord, FunctionRecord, Histogram, JourneyRecord, Meta, Namespace, Observer, PathRecord,
    Profile, SampleRecord, Sampling, SoftirqRecord, SoftirqVector, TaskRecord, Topology, TurnRecord,
};

/// Numbers by chance.
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    fn small(&mut self) -> u32 {
        self.below(4) as u32
    }

    fn share(&mut self) -> f64 {
        self.below(1 << 30) as f64 / (1_u64 << 30) as f64
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }

    fn some<T>(&mut self, most: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    /// Something for about each second of these.
    fn some_of<K: Ord, V>(&mut self, keys: impl Iterator<Item = K>, make: fn(&mut Self) -> V) -> BTreeMap<K, V> {
        let mut made = BTreeMap::new();
        for key in keys {
            if self.below(2) == 0 {
                made.insert(key, make(self));
            }
        }
        made
    }
}

const INODES: [u32; 5] = [0, 0xf000_0001, 0xf000_0002, 0xf000_0003, 0xf000_0004];

/// A recording; `at` tells it from others.
pub fn recording(seed: u64, at: u64) -> Profile {
    let dice = &mut Dice(seed);
    let paths = paths(dice);
    let cpu = cpu(dice);
    let ids: Vec<u64> = paths.iter().map(|path| path.id).collect();
    let most = dice.one(&[0, 3, 64]);
    let batches = dice.some(most, |dice| batch(dice, &ids, cpu.entries.len() as u32, cpu.bursts.len() as u32));
    let journeys = if ids.is_empty() { Vec::new() } else { dice.some(5, |dice| journey(dice, &ids)) };
    let turns = dice.some(4, |dice| TurnRecord { netns: dice.one(&INODES), pid: dice.small(), ns: histogram(dice) });
    let turns: BTreeMap<_, _> = turns.into_iter().map(|turn| ((turn.netns, turn.pid), turn)).collect();
    Profile {
        meta: meta(dice, at),
        topology: topology(dice),
        sampling: Sampling {
            budget: dice.share(),
            rates: dice.some(3, |dice| (dice.below(1000), dice.small())),
            observed_ns: dice.below(1000),
            looks: dice.some(3, |dice| (dice.below(9), dice.below(9))),
            followed: dice.below(1000),
            packets: dice.below(9000),
        },
        paths,
        cpu,
        softirqs: SoftirqRecord {
            observed_ns: dice.below(100),
            vectors: dice.some(3, |dice| SoftirqVector {
                cpu: dice.small() as u16,
                vector: dice.one(Vector::ALL),
                total: dice.below(99),
                ..SoftirqVector::default()
            }),
            backlog_drops: dice.below(3),
        },
        journeys,
        drops: dice.some(3, |dice| DropRecord {
            reason: dice.one(&["A", "B"]).into(),
            netns: dice.one(&INODES),
            ifindex: dice.small(),
            count: dice.below(9),
            ..DropRecord::default()
        }),
        turnarounds: turns.into_values().collect(),
        devices: dice.some(4, |dice| DeviceCounters {
            netns: dice.one(&INODES),
            ifindex: dice.small(),
            tx_packets: dice.below(99),
            ..DeviceCounters::default()
        }),
        retransmits: dice.below(5),
        lost: dice.some(3, |dice| (dice.one(Loss::ALL), dice.below(9))).into_iter().collect(),
        observer: observer(dice),
        chains: dice
            .some(4, |dice| (chain(dice), dice.one(&["f/in", "f/out", "n/post"]).to_owned()))
            .into_iter()
            .collect(),
        batches,
        ..Profile::default()
    }
}

fn chain(dice: &mut Dice) -> Hook {
    dice.one(&[Hook::NftChain1, Hook::NftChain2, Hook::NftChain3])
}

fn meta(dice: &mut Dice, at: u64) -> Meta {
    let benchmark = Benchmark {
        tool: "netstrata".into(),
        workload: "tcp-rr".into(),
        transactions_per_s: Some(1e5 * dice.share()),
        round_trip_ns: Some(1e4 * dice.share()),
        round_trip_p99_ns: Some(1e5 * dice.share()),
        round_trip_max_ns: Some(1e6 * dice.share()),
        duration_s: Some(dice.share()),
        ..Benchmark::default()
    };
    Meta {
        recorder: dice.one(&["0.1.0", "0.2.0"]).into(),
        kernel: "6.18".into(),
        cpus: 2,
        duration_ns: dice.below(1 << 30),
        tiers: vec![Tier::Tracepoint],
        probes: vec![dice.one(&["a", "b"]).into()],
        missing: [(dice.one(&["c", "d"]).into(), dice.one(&["not there", "not now"]).into())].into(),
        command: vec![dice.one(&["one", "other"]).into()],
        exit_code: dice.one(&[None, Some(0), Some(143)]),
        benchmark: Some(benchmark),
        benchmark_notes: dice.one(&[None, Some("one"), Some("other")]).map(str::to_owned).into_iter().collect(),
        steal_share: dice.share(),
        started_ns: 1 + at,
        joined: dice.small(),
        ..Meta::default()
    }
}

fn observer(dice: &mut Dice) -> Observer {
    Observer {
        ns_per_crossing: 50.0 * dice.share(),
        pace: dice.one(&[0.0, 1.3]),
        ns_in_span_per_crossing: 100.0 * dice.share(),
        ns_in_span_high: 200.0 * dice.share(),
        crossings: dice.below(9999),
        followed_crossings: dice.below(999),
        cpu_share: dice.share(),
        ..Observer::default()
    }
}

fn topology(dice: &mut Dice) -> Topology {
    let mut topology = Topology::default();
    for inum in INODES.into_iter().filter(|inum| *inum != 0) {
        if dice.below(3) > 0 {
            let (name, origin) = dice.one(&[("client", "named"), ("server", "named"), ("host", "host")]);
            let pids = dice.some(2, Dice::small);
            topology.namespaces.push(Namespace { inum, name: name.into(), origin: origin.into(), pids });
        }
        for ifindex in 1..4 {
            topology.devices.push(Device {
                netns: inum,
                ifindex,
                name: dice.one(&["eth0", "br0", "lo"]).into(),
                kind: dice.one(&["veth", "bridge"]).into(),
                master: dice.one(&[None, Some(1)]),
                peer: dice.one(&[None, Some((INODES[1], 2))]),
                mtu: 1500 + dice.small(),
                ..Device::default()
            });
        }
    }
    topology.containers = dice.some(2, |dice| Container {
        id: dice.one(&["a", "b"]).into(),
        netns: dice.one(&INODES),
        pids: dice.some(2, Dice::small),
        ..Container::default()
    });
    topology
}

fn histogram(dice: &mut Dice) -> Histogram {
    let mut histogram = Histogram::default();
    dice.some(4, |dice| (dice.below(9999), 1 + dice.below(9))).into_iter().for_each(|(ns, by)| histogram.add(ns, by));
    histogram
}

fn crossing(dice: &mut Dice) -> CrossingRecord {
    let point = dice.one(&[Point::Queue, Point::Xmit, Point::Rx]);
    CrossingRecord { point, netns: dice.one(&INODES), ifindex: dice.small() }
}

fn paths(dice: &mut Dice) -> Vec<PathRecord> {
    let mut paths = dice.some(6, |dice| {
        let crossings: Vec<CrossingRecord> = (0..2 + dice.below(2)).map(|_| crossing(dice)).collect();
        let functions = dice.some(3, |dice| FunctionRecord {
            span: dice.below(crossings.len() as u64 - 1) as u32,
            hook: dice.one(&[Hook::Span, Hook::NftChain, Hook::NftChain1, Hook::NftChain2]),
            calls: dice.below(9),
            entered: [dice.below(9), 0],
            ..FunctionRecord::default()
        });
        PathRecord {
            spans: (1..crossings.len()).map(|_| histogram(dice)).collect(),
            end: dice.one(&[End::Copied, End::Dropped]),
            reason: dice.one(&[None, Some("R".to_owned())]),
            protocol: Protocol::TCP,
            samples: dice.below(9),
            packets: dice.below(99),
            edges: dice.one(&[vec![], vec![(1, Edge::Clone)]]),
            end_to_end: histogram(dice),
            crossings,
            functions,
            ..PathRecord::default()
        }
    });
    paths.iter_mut().zip(7..).for_each(|(path, id)| path.id = id);
    paths
}

fn cpu(dice: &mut Dice) -> CpuRecord {
    let symbols = dice.some(4, |dice| dice.one(&["f", "g", "h", "i"]).to_owned());
    let stacks = match symbols.len() as u64 {
        0 => Vec::new(),
        names => dice.some(4, |dice| dice.some(3, |dice| dice.below(names) as u32)),
    };
    let tasks = dice.some(4, |dice| TaskRecord {
        pid: dice.small(),
        comm: dice.one(&["swapper", "client", "server"]).into(),
        container: dice.one(&[None, Some("web".to_owned())]),
    });
    let sample = |dice: &mut Dice| SampleRecord {
        stack: dice.one(&[None, Some(0), Some(1), Some(2)]),
        task: dice.small(),
        cpu: dice.below(2) as u16,
        place: Some(crossing(dice)).filter(|_| dice.below(2) == 0),
        count: 1 + dice.below(9),
        ..SampleRecord::default()
    };
    let (entries, bursts) = (dice.some(6, sample), dice.some(3, sample));
    CpuRecord {
        source: "cpu-clock".into(),
        period_ns: 9 + dice.below(3) * 4,
        samples: dice.below(99),
        symbols,
        stacks,
        tasks,
        entries,
        bursts,
        ..CpuRecord::default()
    }
}

fn batch(dice: &mut Dice, ids: &[u64], entries: u32, bursts: u32) -> BatchRecord {
    let path = |dice: &mut Dice| {
        let mut path = BatchPath::default();
        (path.packets, path.sum_ns, path.spans_ns) = (dice.below(9), dice.below(99), vec![dice.below(99)]);
        path
    };
    let turns = |dice: &mut Dice| {
        let mut turns = BatchTurns::default();
        (turns.netns, turns.pid, turns.count, turns.sum_ns) = (dice.one(&INODES), dice.small(), 1, dice.below(99));
        turns
    };
    BatchRecord {
        end_ns: dice.below(1 << 30),
        // None that begins where another ends: those become one.
        windows: dice.some(2, |dice| (10 + dice.below(9), dice.below(9))),
        look: (dice.below(9), dice.below(9)),
        paths: dice.some_of(ids.iter().copied(), path),
        turnarounds: dice.some(3, turns),
        samples: dice.some_of(0..entries, |dice| dice.below(9)),
        bursts: dice.some_of(0..bursts, |dice| dice.below(9)),
        samples_ns: dice.below(99),
        host: BatchHost { stolen_ns: dice.below(9), paid_ns: dice.below(9), drops: dice.below(9) },
        work: dice.one(&[None, Some(BatchWork { ns: 1, done: 2 })]),
        ..BatchRecord::default()
    }
}

fn journey(dice: &mut Dice, ids: &[u64]) -> JourneyRecord {
    JourneyRecord {
        path: dice.one(ids),
        start_ns: dice.below(99),
        crossings: dice.some(3, |dice| (dice.below(9), 0)),
        ..JourneyRecord::default()
    }
}
