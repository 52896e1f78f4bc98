//! Profiles made by hand.

use netstrata_common::{End, Point, Protocol};

use crate::{
    cpu::testdata as samples,
    profile::{Benchmark, CrossingRecord, Device, Histogram, PathRecord, Profile, TurnRecord},
};

/// A sender's stack in TCP.
pub(crate) const TCP: &str = "tcp_write_xmit;tcp_sendmsg_locked;tcp_sendmsg;do_syscall_64";
/// A stack in a bridge.
pub(crate) const BRIDGE: &str = "br_forward;br_handle_frame;tcp_sendmsg;do_syscall_64";
/// A softirq on top of a sender.
pub(crate) const SOFTIRQ: &str =
    "tcp_v4_rcv;ip_rcv;net_rx_action;handle_softirqs;do_softirq.part.0;tcp_sendmsg;do_syscall_64";
/// Software segmentation.
pub(crate) const GSO: &str = "skb_segment;tcp_gso_segment;tcp_sendmsg;do_syscall_64";
/// Connection tracking.
pub(crate) const CONNTRACK: &str = "nf_conntrack_in;nf_hook_slow;ip_rcv;tcp_sendmsg;do_syscall_64";

/// A tun device that hands packets to its reader.
pub(crate) const TUN: &str = "tun_net_xmit;dev_hard_start_xmit;tcp_sendmsg;do_syscall_64";
/// Rules of netfilter.
pub(crate) const NETFILTER: &str = "nft_do_chain;nf_hook_slow;ip_rcv;tcp_sendmsg;do_syscall_64";
/// The datapath of Open vSwitch.
pub(crate) const OVS: &str = "ovs_dp_process_packet;netdev_frame_hook;tcp_sendmsg;do_syscall_64";

/// Labels of a baseline and a target.
pub(crate) fn labels() -> [String; 2] {
    ["fast".into(), "slow".into()]
}

/// So many values that are alike.
pub(crate) fn values(ns: u64, count: u64) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.add(ns, count);
    histogram
}

/// A crossing.
pub(crate) fn at(point: Point, netns: u32, ifindex: u32) -> CrossingRecord {
    CrossingRecord { point, netns, ifindex }
}

/// A profile of a second without traffic.
pub(crate) fn profile() -> Profile {
    let mut profile = Profile::default();
    profile.meta.duration_ns = 1_000_000_000;
    profile.meta.cpus = 2;
    profile.sampling.observed_ns = 1_000_000_000;
    profile.sampling.followed = 1000;
    profile.sampling.packets = 1000;
    profile.sampling.budget = 0.01;
    for netns in [1, 2] {
        for ifindex in 2..10 {
            profile.topology.devices.push(Device {
                netns,
                ifindex,
                name: format!("veth{ifindex}"),
                kind: "veth".into(),
                mtu: 1500,
                ..Device::default()
            });
        }
    }
    profile
}

/// A packet from one namespace to another: 1000 ns of TCP, then for each device 500 ns in the backlog.
pub(crate) fn way(from: u32, to: u32, devices: u32, bytes: u64) -> PathRecord {
    let mut crossings = vec![at(Point::Send, from, 0), at(Point::Queue, from, 2)];
    let mut spans = vec![values(1000, 100)];
    for ifindex in 0..devices {
        crossings.extend([at(Point::Rx, to, 2 + ifindex), at(Point::Receive, to, 2 + ifindex)]);
        spans.extend([values(0, 100), values(500, 100)]);
    }
    crossings.push(at(Point::Copy, to, 1 + devices));
    spans.push(values(0, 100));
    PathRecord {
        id: u64::from(from),
        crossings,
        end: End::Copied,
        protocol: Protocol::TCP,
        samples: 100,
        packets: 100,
        wire_packets: 100,
        bytes: 100 * bytes,
        end_to_end: values(1000 + 500 * u64::from(devices), 100),
        spans,
        ..PathRecord::default()
    }
}

/// So many turnarounds of a process.
pub(crate) fn turned(netns: u32, pid: u32, ns: u64, count: u64) -> TurnRecord {
    TurnRecord { netns, pid, ns: values(ns, count) }
}

/// A request/response over so many devices with a turnaround of 2000 ns.
pub(crate) fn rr(devices: u32, rate: f64) -> Profile {
    let mut profile = profile();
    profile.meta.benchmark = Some(Benchmark {
        tool: "netstrata".into(),
        workload: "tcp-rr".into(),
        transactions_per_s: Some(rate),
        pairs: Some(1),
        message_bytes: Some(64),
        // As many transactions as packets each way.
        duration_s: Some(100.0 / rate),
        ..Benchmark::default()
    });
    profile.paths = vec![way(1, 2, devices, 130), way(2, 1, devices, 130)];
    profile.turnarounds = vec![turned(1, 10, 2000, 100), turned(2, 20, 2000, 100)];
    profile
}

/// The same through a relay beside the server: 300 ns for each packet on loopback, 3000 ns for each of the relay's two
/// answers, 2000 and 4000 ns for those of client and server.
pub(crate) fn relayed(rate: f64) -> Profile {
    let mut profile = rr(1, rate);
    let mut inside = way(2, 2, 1, 130);
    for histogram in inside.spans.iter_mut().chain([&mut inside.end_to_end]) {
        *histogram = values(histogram.sum / histogram.count / 5, 200);
    }
    inside.packets = 200;
    inside.samples = 200;
    inside.bytes *= 2;
    inside.id = 9;
    profile.paths.push(inside);
    profile.turnarounds = vec![turned(1, 10, 2000, 100), turned(2, 20, 4000, 100), turned(2, 30, 3000, 200)];
    profile
}

/// A client whose server is on another host: 1000 ns of TCP to the card, which frees the packet 5000 ns later; the answer
/// waits so long in GRO; a turnaround of 1000 ns.
pub(crate) fn one_side_of_a_wire(rate: f64, wait: u64) -> Profile {
    let mut profile = rr(1, rate);
    profile.topology.devices.push(Device {
        netns: 1,
        ifindex: 20,
        name: "eth0".into(),
        kind: "nic".into(),
        ..Device::default()
    });
    let (mut out, mut back) = (way(1, 1, 1, 130), way(1, 1, 1, 130));
    out.crossings = [Point::Send, Point::Queue, Point::Xmit, Point::Consume].map(|point| at(point, 1, 20)).to_vec();
    out.spans = vec![values(1000, 100), values(0, 100), values(5000, 100)];
    (out.end, out.end_to_end) = (End::Consumed, values(6000, 100));
    back.crossings = [Point::Gro, Point::Receive, Point::ReadyWake, Point::Copy].map(|point| at(point, 1, 20)).to_vec();
    back.spans = vec![values(wait, 100), values(0, 100), values(0, 100)];
    back.end_to_end = values(wait, 100);
    (out.payload_bytes, back.payload_bytes) = (6400, 6400);
    profile.paths = vec![out, back];
    profile.turnarounds = vec![turned(1, 10, 1000, 100)];
    profile
}

/// A stream of 8 Gbit/s; samples: task (1 sender on CPU 0, 2 receiver on CPU 1), stack, count, of 1 ms each.
pub(crate) fn stream(rows: &[(u32, &str, u64)]) -> Profile {
    let rows: Vec<samples::Row<'_>> = if rows.is_empty() {
        vec![(1, 0, Some(TCP), None, 900), (2, 1, Some(TCP), None, 300)]
    } else {
        rows.iter().map(|&(task, stack, count)| (task, (task - 1) as u16, Some(stack), None, count)).collect()
    };
    let mut profile = Profile { cpu: samples::profile(&rows).cpu, ..profile() };
    profile.cpu.tasks[1].comm = "sender".into();
    profile.cpu.tasks[2].comm = "receiver".into();
    profile.meta.benchmark = Some(Benchmark {
        tool: "netstrata".into(),
        workload: "tcp-stream".into(),
        throughput_bits_per_s: Some(8e9),
        pairs: Some(1),
        ..Benchmark::default()
    });
    profile.paths = vec![way(1, 2, 1, 60_000)];
    profile
}
