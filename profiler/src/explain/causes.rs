//! Structural causes: what the target does that the baseline does not, each with the figures that prove it.

use std::collections::{BTreeMap, BTreeSet};

use netstrata_common::{Layer, Point};

use super::{Side, WorkKind, protocol, reaches_reader, rr};
use crate::{
    analysis::{Account, Kind, PathAccount},
    profile::Profile,
};

/// A figure of both profiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// In the baseline.
    pub baseline: f64,
    /// In the target.
    pub target: f64,
}

/// A structural cause.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Stable name.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub sentence: String,
    /// The proof.
    pub figures: Vec<Figure>,
}

/// Fewer CPU samples than this prove nothing.
const LEAST_SAMPLES: u64 = 5;
/// Drop reasons that are everyday work of TCP.
const BENIGN: [&str; 4] = ["TCP_OLD_DATA", "TCP_OVERWINDOW", "TCP_OLD_SEQUENCE", "TCP_OLD_ACK"];

/// What causes are judged by, of one profile. "Per packet" is per skb that reached a reader.
struct Facts {
    softirqs: f64,
    hops: f64,
    devices: f64,
    kinds: BTreeSet<String>,
    bytes: f64,
    wire: f64,
    qdisc_wait: f64,
    backlog_wait: f64,
    wakeup_wait: f64,
    mtu: u32,
    /// Samples and CPU time per packet by layer.
    cpu: BTreeMap<Layer, (u64, f64)>,
    busy: f64,
    layers: BTreeSet<Layer>,
    retransmits: f64,
    backlog_drops: f64,
    drops: f64,
    drop_reason: String,
    cpu_most: f64,
    cpu_least: f64,
}

impl Facts {
    fn new(kind: WorkKind, profile: &Profile, account: &Account, side: &Side) -> Self {
        let paths: Vec<&PathAccount> = match kind {
            WorkKind::RequestResponse => rr::counted(profile, account),
            WorkKind::Stream => {
                let protocol = protocol(profile);
                account.paths.iter().filter(|path| reaches_reader(&path.record, protocol)).collect()
            }
        };
        let packets = match kind {
            WorkKind::RequestResponse => rr::endpoint_packets(profile, &paths),
            WorkKind::Stream => paths.iter().map(|path| path.record.packets).sum(),
        };
        let per = |value: u64| value as f64 / packets.max(1) as f64;
        let sum = |value: &dyn Fn(&PathAccount) -> u64| per(paths.iter().map(|path| value(path)).sum());
        let waits = |layer: Layer| {
            sum(&|path| {
                let spans = path.spans.iter().filter(|span| span.layer == Some(layer) && span.kind == Kind::Wait);
                spans.map(|span| span.sum_ns).sum()
            })
        };
        let seconds = profile.meta.duration_ns.max(1) as f64 / 1e9;
        // Without packets nothing is per packet.
        let scaled = if packets == 0 { f64::INFINITY } else { packets as f64 * account.scale };
        let cpu = account.cpu.layers.iter();
        let mut layers: BTreeSet<Layer> =
            paths.iter().flat_map(|path| path.spans.iter().filter_map(|span| span.layer)).collect();
        layers.extend(account.cpu.layers.iter().filter(|entry| *entry.1 >= LEAST_SAMPLES).map(|entry| *entry.0));
        let serious = profile.drops.iter().filter(|drop| !BENIGN.contains(&drop.reason.as_str()));
        let worst = serious.clone().max_by(|a, b| a.count.cmp(&b.count).then_with(|| b.reason.cmp(&a.reason)));
        let busy = side.cpus.iter().map(|entry| entry.1);
        Self {
            softirqs: sum(&|path| u64::from(path.softirqs) * path.record.packets),
            hops: sum(&|path| path.record.cpu_hops),
            devices: sum(&|path| devices(path).len() as u64 * path.record.packets),
            kinds: paths.iter().flat_map(|path| kinds(profile, path)).collect(),
            bytes: sum(&|path| path.record.bytes),
            wire: sum(&|path| path.record.wire_packets),
            qdisc_wait: waits(Layer::Qdisc),
            backlog_wait: waits(Layer::Backlog),
            wakeup_wait: waits(Layer::Wakeup),
            mtu: paths.iter().flat_map(|path| mtus(profile, path)).min().unwrap_or(0),
            cpu: cpu.map(|(layer, count)| (*layer, (*count, account.cpu.ns(*count) as f64 / scaled))).collect(),
            busy: account.cpu.busy as f64,
            layers,
            retransmits: profile.retransmits as f64 / seconds,
            backlog_drops: profile.softirqs.backlog_drops as f64 / seconds,
            drop_reason: worst.map(|drop| drop.reason.clone()).unwrap_or_default(),
            drops: serious.map(|drop| drop.count).sum::<u64>() as f64 / seconds,
            cpu_most: busy.clone().fold(0.0, f64::max),
            cpu_least: busy.fold(f64::INFINITY, f64::min).min(1.0),
        }
    }

    fn samples(&self, layers: &[Layer]) -> u64 {
        layers.iter().filter_map(|layer| self.cpu.get(layer)).map(|entry| entry.0).sum()
    }

    fn cpu_ns(&self, layers: &[Layer]) -> f64 {
        layers.iter().filter_map(|layer| self.cpu.get(layer)).map(|entry| entry.1).sum()
    }

    fn cpu_share(&self, layers: &[Layer]) -> f64 {
        self.samples(layers) as f64 / self.busy.max(1.0)
    }
}

/// Devices on the way, each once.
fn devices(path: &PathAccount) -> BTreeSet<(u32, u32)> {
    let crossings = path.record.crossings.iter().filter(|crossing| crossing.ifindex != 0);
    crossings.filter(|crossing| crossing.point != Point::None).map(|at| (at.netns, at.ifindex)).collect()
}

fn kinds(profile: &Profile, path: &PathAccount) -> Vec<String> {
    let topology = &profile.topology;
    let mut kinds = Vec::new();
    for device in devices(path).into_iter().filter_map(|(netns, index)| topology.device(netns, index)) {
        // A bridge or OVS is on the way through its ports.
        let master = device.master.and_then(|index| topology.device(device.netns, index));
        kinds.extend([Some(device), master].into_iter().flatten().map(|device| device.kind.clone()));
    }
    kinds
}

fn mtus(profile: &Profile, path: &PathAccount) -> Vec<u32> {
    let known = devices(path).into_iter().filter_map(|(netns, index)| profile.topology.device(netns, index));
    known.map(|device| device.mtu).filter(|mtu| *mtu > 0).collect()
}

fn figure(name: &'static str, unit: &'static str, baseline: f64, target: f64) -> Figure {
    Figure { name, unit, baseline, target }
}

/// Whether a mean wait grew so that it matters: by half a microsecond and a fifth.
fn longer(baseline: f64, target: f64) -> bool {
    target - baseline >= 500.0 && target >= 1.2 * baseline
}

/// Structural causes, in a fixed order.
pub(super) fn causes(
    kind: WorkKind,
    profiles: [&Profile; 2],
    accounts: &[Account; 2],
    sides: &[Side; 2],
) -> Vec<Cause> {
    let [a, b] = [0, 1].map(|index| Facts::new(kind, profiles[index], &accounts[index], &sides[index]));
    let mut found = Vec::new();
    let mut add = |name, sentence: String, figures: Vec<Figure>| found.push(Cause { name, sentence, figures });
    way(&a, &b, &mut add);
    segments(kind, &a, &b, &mut add);
    layers(&a, &b, &mut add);
    machine(&a, &b, sides, &mut add);
    losses(&a, &b, &mut add);
    found
}

type Add<'a> = dyn FnMut(&'static str, String, Vec<Figure>) + 'a;

/// What lies on the way, and how often a packet waits.
fn way(a: &Facts, b: &Facts, add: &mut Add<'_>) {
    if b.devices - a.devices >= 0.5 {
        let list = |facts: &Facts| facts.kinds.iter().cloned().collect::<Vec<_>>().join(", ");
        add(
            "extra-devices",
            format!("a packet crosses more devices ({}) than in the baseline ({})", list(b), list(a)),
            vec![figure("devices per packet", "", a.devices, b.devices)],
        );
    }
    if b.softirqs - a.softirqs >= 0.25 {
        add(
            "more-softirqs",
            "a packet passes more softirqs: each queues it, raises the softirq and takes it out again".into(),
            vec![figure("softirqs per packet", "", a.softirqs, b.softirqs)],
        );
    }
    if b.hops - a.hops >= 0.25 {
        add(
            "more-cpu-hops",
            "a packet changes CPUs more often, and its cache lines with it".into(),
            vec![figure("CPU changes per packet", "", a.hops, b.hops)],
        );
    }
    if longer(a.qdisc_wait, b.qdisc_wait) || longer(a.backlog_wait, b.backlog_wait) {
        add(
            "queueing",
            "packets lie longer in queues on the way".into(),
            vec![
                figure("backlog wait per packet", "ns", a.backlog_wait, b.backlog_wait),
                figure("qdisc wait per packet", "ns", a.qdisc_wait, b.qdisc_wait),
            ]
            .into_iter()
            .filter(|figure| longer(figure.baseline, figure.target))
            .collect(),
        );
    }
    if longer(a.wakeup_wait, b.wakeup_wait) {
        add(
            "slower-wakeups",
            "readers sleep more often or are woken more slowly".into(),
            vec![figure("wakeup wait per packet", "ns", a.wakeup_wait, b.wakeup_wait)],
        );
    }
}

/// How large the packets are.
fn segments(kind: WorkKind, a: &Facts, b: &Facts, add: &mut Add<'_>) {
    let gso = [Layer::Gso];
    let (before, after) = (a.cpu_share(&gso), b.cpu_share(&gso));
    if b.samples(&gso) >= LEAST_SAMPLES && after >= 0.01 && after >= 2.0 * before {
        add(
            "software-segmentation",
            "large packets are cut in software on the way: a device after the sender cannot take them whole".into(),
            vec![figure("CPU in segmentation", "share", before, after)],
        );
    }
    if kind == WorkKind::Stream && a.bytes > 2000.0 && b.bytes < 0.85 * a.bytes {
        let tunnels = |facts: &Facts| facts.layers.iter().copied().find(|layer| layer.info().tunnel);
        let figures = vec![
            figure("bytes per packet", "B", a.bytes, b.bytes),
            figure("wire packets per packet", "", a.wire, b.wire),
        ];
        match tunnels(b).filter(|_| tunnels(a).is_none()) {
            Some(layer) => add(
                "gro-not-merging",
                format!(
                    "behind the {} tunnel packets reach the reader in smaller pieces: GRO does not merge them",
                    layer.name()
                ),
                figures,
            ),
            None => add(
                "smaller-aggregates",
                "the stack carries fewer bytes per packet, so that every layer is paid more often".into(),
                figures,
            ),
        }
    }
    if b.mtu > 0 && b.mtu < a.mtu {
        let tunnel = a.mtu - b.mtu <= 100 && b.layers.iter().any(|layer| layer.info().tunnel);
        let why = if tunnel { ": the difference goes to tunnel headers" } else { "" };
        add(
            "smaller-mtu",
            format!("the smallest MTU on the way is smaller{why}"),
            vec![figure("smallest MTU", "B", f64::from(a.mtu), f64::from(b.mtu))],
        );
    }
}

/// Layers that the baseline does not pay for.
fn layers(a: &Facts, b: &Facts, add: &mut Add<'_>) {
    if b.layers.contains(&Layer::Tun) && !a.layers.contains(&Layer::Tun) {
        let tun = [Layer::Tun];
        add(
            "user-space-tunnel",
            "packets are copied to a program in user space and back through a tun device".into(),
            vec![figure("CPU in tun per packet", "ns", a.cpu_ns(&tun), b.cpu_ns(&tun))],
        );
    }
    let looked: [(&str, &[Layer], &str, &str); 3] = [
        (
            "conntrack-nat",
            &[Layer::Conntrack, Layer::Nat],
            "connection tracking and NAT look packets up",
            "CPU in conntrack and NAT per packet",
        ),
        (
            "netfilter",
            &[Layer::Netfilter],
            "netfilter hooks and rules run for each packet",
            "CPU in netfilter per packet",
        ),
        ("ovs", &[Layer::Ovs], "the Open vSwitch datapath looks flows up for each packet", "CPU in ovs per packet"),
    ];
    for (name, layers, sentence, of) in looked {
        let (before, after) = (a.cpu_ns(layers), b.cpu_ns(layers));
        let share = b.cpu_share(layers);
        if b.samples(layers) >= LEAST_SAMPLES && after >= 2.0 * before && share >= 0.005 {
            add(
                name,
                sentence.into(),
                vec![figure(of, "ns", before, after), figure("share of CPU", "share", a.cpu_share(layers), share)],
            );
        }
    }
}

/// How the CPUs share the work.
fn machine(a: &Facts, b: &Facts, sides: &[Side; 2], add: &mut Add<'_>) {
    if b.cpu_most > 0.9 && b.cpu_least < 0.5 {
        let too = if a.cpu_most > 0.9 && a.cpu_least < 0.5 { ", as in the baseline" } else { "" };
        add(
            "one-cpu-saturated",
            format!("one CPU is full while another idles{too}: the work of a packet's flow does not spread"),
            vec![
                figure("busiest CPU", "share", a.cpu_most, b.cpu_most),
                figure("least busy CPU", "share", a.cpu_least, b.cpu_least),
            ],
        );
    }
    if let [Some(first), Some(second)] = [0, 1].map(|index| sides[index].station.as_ref())
        && first.name != second.name
    {
        add(
            "bottleneck-moved",
            format!("the busiest station is {}, it was {}", second.name, first.name),
            vec![figure("its utilisation", "share", first.utilisation, second.utilisation)],
        );
    }
}

/// What is lost and sent again.
fn losses(a: &Facts, b: &Facts, add: &mut Add<'_>) {
    let more = |before: f64, after: f64| after >= 5.0 && after >= 2.0 * before;
    if more(a.retransmits, b.retransmits) {
        add(
            "retransmits",
            "TCP sends segments again".into(),
            vec![figure("retransmits a second", "1/s", a.retransmits, b.retransmits)],
        );
    }
    if more(a.backlog_drops, b.backlog_drops) {
        add(
            "backlog-drops",
            "a CPU's receive queue is full and drops packets".into(),
            vec![figure("backlog drops a second", "1/s", a.backlog_drops, b.backlog_drops)],
        );
    }
    if more(a.drops, b.drops) {
        add(
            "drops",
            format!("packets are dropped, most for {}", b.drop_reason),
            vec![figure("drops a second", "1/s", a.drops, b.drops)],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        explain::{explain, testdata::*},
        profile::DropRecord,
    };

    fn names(baseline: &Profile, target: &Profile) -> Vec<&'static str> {
        explain(baseline, target, &labels()).expect("the test has it").causes.iter().map(|cause| cause.name).collect()
    }

    #[test]
    fn a_profile_has_no_cause_against_itself() {
        for profile in [rr(1, 1000.0), rr(3, 1000.0), stream(&[(1, TCP, 800), (2, TCP, 700)])] {
            assert_eq!(names(&profile, &profile), [""; 0]);
        }
    }

    #[test]
    fn more_devices_mean_more_softirqs_and_queues() {
        let found = explain(&rr(1, 1000.0), &rr(3, 900.0), &labels()).expect("the test has it");
        let names: Vec<&str> = found.causes.iter().map(|cause| cause.name).collect();
        assert_eq!(names, ["extra-devices", "more-softirqs", "queueing"]);
        assert_eq!((found.causes[1].figures[0].baseline, found.causes[1].figures[0].target), (1.0, 3.0));
        assert_eq!(explain(&rr(3, 1000.0), &rr(1, 900.0), &labels()).expect("the test has it").causes, []);
    }

    #[test]
    fn layers_that_only_the_target_pays_for() {
        let plain = stream(&[(1, TCP, 800), (2, TCP, 700)]);
        let rich = stream(&[(1, TCP, 700), (1, GSO, 60), (1, CONNTRACK, 40), (2, TCP, 700)]);
        assert_eq!(names(&plain, &rich), ["software-segmentation", "conntrack-nat"]);
        let few = stream(&[(1, TCP, 796), (1, CONNTRACK, 4), (2, TCP, 700)]);
        assert_eq!(names(&plain, &few), [""; 0]);
    }

    #[test]
    fn packets_and_devices_that_shrink() {
        let plain = stream(&[(1, TCP, 800), (2, TCP, 700)]);
        let mut small = plain.clone();
        small.paths[0].bytes /= 2;
        for device in &mut small.topology.devices {
            device.mtu = 1450;
        }
        assert_eq!(names(&plain, &small), ["smaller-aggregates", "smaller-mtu"]);
        let mut tunnel = small.clone();
        for device in tunnel.topology.devices.iter_mut().filter(|device| device.netns == 2) {
            device.kind = "vxlan".into();
        }
        let crossings = &mut tunnel.paths[0].crossings;
        crossings[1] = at(Point::Xmit, 2, 2);
        let found = explain(&plain, &tunnel, &labels()).expect("the test has it");
        let sentences: Vec<&str> = found.causes.iter().map(|cause| cause.sentence.as_str()).collect();
        assert!(sentences.iter().any(|sentence| sentence.contains("behind the vxlan tunnel")), "{sentences:?}");
        assert!(sentences.iter().any(|sentence| sentence.contains("tunnel headers")), "{sentences:?}");
    }

    #[test]
    fn a_full_cpu_losses_and_wakeups() {
        let plain = stream(&[(1, TCP, 800), (2, TCP, 700)]);
        let mut other = stream(&[(1, TCP, 930), (2, TCP, 100)]);
        other.retransmits = 50;
        other.softirqs.backlog_drops = 40;
        let drop = |reason: &str, count| DropRecord { reason: reason.into(), count, ..DropRecord::default() };
        other.drops = vec![drop("TCP_OLD_DATA", 1000), drop("NO_SOCKET", 30)];
        let path = &mut other.paths[0];
        let last = path.crossings.len() - 2;
        path.crossings[last].point = Point::ReadyWake;
        path.spans[last] = values(5000, 100);
        assert_eq!(
            names(&plain, &other),
            ["slower-wakeups", "one-cpu-saturated", "retransmits", "backlog-drops", "drops"]
        );
        let moved = stream(&[(1, TCP, 300), (2, TCP, 800)]);
        assert_eq!(names(&plain, &moved), ["bottleneck-moved"]);
    }
}
