//! Repeats of a recording, made by hand.

use netstrata_common::{End, Point, Protocol};

use crate::profile::{Benchmark, CrossingRecord, Device, Histogram, PathRecord, Profile, TurnRecord};

fn values(ns: u64, count: u64) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.add(ns, count);
    histogram
}

/// A packet: TCP, then the backlog and a veth's own time.
fn way(from: u32, to: u32, ns: [u64; 3]) -> PathRecord {
    let points = [
        (Point::Send, from, 0),
        (Point::Queue, from, 2),
        (Point::Rx, to, 2),
        (Point::Receive, to, 2),
        (Point::Copy, to, 2),
    ];
    PathRecord {
        id: u64::from(from),
        crossings: points.map(|(point, netns, ifindex)| CrossingRecord { point, netns, ifindex }).to_vec(),
        end: End::Copied,
        protocol: Protocol::TCP,
        samples: 1000,
        packets: 1000,
        wire_packets: 1000,
        bytes: 130_000,
        end_to_end: values(ns.iter().sum::<u64>() + 500, 1000),
        spans: vec![values(ns[0], 1000), values(ns[1], 1000), values(ns[2], 1000), values(500, 1000)],
        ..PathRecord::default()
    }
}

/// So many recordings whose sending takes `times` as long as it did, and which differ by about a thousandth.
pub(super) fn repeats(count: u64, times: f64, from: u64) -> Vec<Profile> {
    let one = |at: u64| {
        let noise = 7 * ((at + from) * 5 % 11);
        let tcp = (10_000.0 * times) as u64 + noise;
        let mut profile = Profile::default();
        profile.meta.duration_ns = 1_000_000_000;
        profile.meta.cpus = 2;
        profile.meta.kernel = "6.18".into();
        profile.meta.started_ns = from + at + 1;
        profile.sampling.observed_ns = 1_000_000_000;
        profile.sampling.followed = 2000;
        profile.sampling.packets = 2000;
        profile.sampling.budget = 0.01;
        for netns in [1, 2] {
            let device =
                Device { netns, ifindex: 2, name: "veth2".into(), kind: "veth".into(), mtu: 1500, ..Device::default() };
            profile.topology.devices.push(device);
        }
        profile.paths = vec![way(1, 2, [tcp, 1000, 3000]), way(2, 1, [tcp, 1000, 3000])];
        let turn = |netns, pid| TurnRecord { netns, pid, ns: values(2000, 1000) };
        profile.turnarounds = vec![turn(1, 10), turn(2, 20)];
        let ns = (2 * (tcp + 4500 + 2000)) as f64;
        profile.meta.benchmark = Some(Benchmark {
            tool: "netstrata".into(),
            workload: "tcp-rr".into(),
            transactions_per_s: Some(1e9 / ns),
            pairs: Some(1),
            message_bytes: Some(64),
            duration_s: Some(1000.0 * ns / 1e9),
            ..Benchmark::default()
        });
        profile
    };
    (0..count).map(one).collect()
}

/// Lets a span of both ways take so much longer; what the benchmark measured, too.
pub(super) fn slower(profile: &mut Profile, span: usize, ns: i64) {
    let more = |sum: u64, count: u64| sum.saturating_add_signed(ns * count as i64);
    for path in &mut profile.paths {
        for histogram in [&mut path.spans[span], &mut path.end_to_end] {
            *histogram = values(more(histogram.sum, histogram.count) / histogram.count, histogram.count);
        }
    }
    if let Some(benchmark) = &mut profile.meta.benchmark {
        benchmark.transactions_per_s = benchmark.transactions_per_s.map(|rate| 1e9 / (1e9 / rate + 2.0 * ns as f64));
    }
}
