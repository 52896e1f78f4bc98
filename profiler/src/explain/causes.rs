//! Structural causes: what the target does that the baseline does not, each with the figures that prove it. A row of the
//! table for each; the table of `docs/explain.md` is made from it.

use netstrata_common::{Layer, named};

use super::{
    Side, WorkKind,
    facts::{Facts, LEAST_SAMPLES},
};
use crate::{analysis::Account, profile::Profile};

named! {
    /// A structural cause by its stable name, and what it takes to be one; in the order in which they are told.
    pub enum CauseName: CauseInfo;
    MorePackets "more-packets" "a packet more per transaction that reaches a reader, all of them on this host" { find: more_packets };
    ExtraDevices "extra-devices" "half a device more per packet" { find: extra_devices };
    MoreSoftirqs "more-softirqs" "a quarter of a softirq more per packet" { find: more_softirqs };
    MoreCpuHops "more-cpu-hops" "a quarter of a change of CPUs more per packet" { find: more_cpu_hops };
    Queueing "queueing" "the mean wait per packet in the backlog or a qdisc grew by 500 ns and by a fifth" { find: queueing };
    SlowerWakeups "slower-wakeups" "the mean wait per packet for its reader grew by 500 ns and by a fifth" { find: slower_wakeups };
    SoftwareSegmentation "software-segmentation" "1 % of busy samples in `gso`, and twice the baseline's share" {
        find: software_segmentation
    };
    XdpCopy "xdp-copy" "half of the packets are copied for an XDP program on their way, in the baseline less than half as many" {
        find: xdp_copy
    };
    GroNotMerging "gro-not-merging" "15 % fewer bytes per skb that reaches a reader, behind a tunnel that only the target has" {
        find: gro_not_merging
    };
    SmallerAggregates "smaller-aggregates" "15 % fewer bytes per skb that reaches a reader, without such a tunnel" {
        find: smaller_aggregates
    };
    SmallerMtu "smaller-mtu" "the smallest MTU on the way is smaller" { find: smaller_mtu };
    Fragmentation "fragmentation" "a hundredth of the packets in fragments, and twice the baseline's share" { find: fragmentation };
    UserSpaceTunnel "user-space-tunnel" "`tun` in the target only" { find: user_space_tunnel };
    ConntrackNat "conntrack-nat" "0.5 % of busy samples in `conntrack` and `nat`, and twice the baseline's CPU time per packet" {
        find: conntrack_nat
    };
    Netfilter "netfilter" "0.5 % of busy samples in `netfilter`, and twice the baseline's CPU time per packet" { find: netfilter };
    Ovs "ovs" "0.5 % of busy samples in `ovs`, and twice the baseline's CPU time per packet" { find: ovs };
    OneCpuSaturated "one-cpu-saturated" "one CPU above 90 %, another below 50 % (said if the baseline is like that too)" {
        find: one_cpu_saturated
    };
    BottleneckMoved "bottleneck-moved" "the busiest stations have different names (streams)" { find: bottleneck_moved };
    Retransmits "retransmits" "five a second, and twice the baseline's" { find: retransmits };
    BacklogDrops "backlog-drops" "five a second, and twice the baseline's" { find: backlog_drops };
    Drops "drops" "five a second, and twice the baseline's, without what is everyday work of TCP" { find: drops };
}

/// What else is true of a cause.
pub struct CauseInfo {
    /// Its sentence and its proof, if it is one here.
    find: fn(&Both<'_>) -> Option<Proven>,
}

/// A sentence, and the figures that prove it.
type Proven = (String, Vec<Proof>);

/// A figure of both profiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// What it is.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// In the baseline.
    pub baseline: f64,
    /// In the target.
    pub target: f64,
}

/// A structural cause that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Which.
    pub name: CauseName,
    /// What it means, in a sentence.
    pub sentence: String,
    /// The proof.
    pub figures: Vec<Proof>,
}

/// Two profiles beside each other.
struct Both<'a> {
    kind: WorkKind,
    /// The baseline.
    a: Facts,
    /// The target.
    b: Facts,
    sides: &'a [Side; 2],
}

/// Structural causes, in the order of the table.
pub(super) fn causes(
    kind: WorkKind,
    profiles: [&Profile; 2],
    accounts: [&Account; 2],
    sides: &[Side; 2],
) -> Vec<Cause> {
    let [a, b] = [0, 1].map(|index| Facts::new(kind, profiles[index], accounts[index], &sides[index]));
    let compared = Both { kind, a, b, sides };
    let found = CauseName::ALL.iter().filter_map(|name| {
        let (sentence, figures) = (name.info().find)(&compared)?;
        Some(Cause { name: *name, sentence, figures })
    });
    found.collect()
}

fn figure(name: &'static str, unit: &'static str, baseline: f64, target: f64) -> Proof {
    Proof { name, unit, baseline, target }
}

/// Whether a mean wait grew so that it matters: by half a microsecond and a fifth.
fn longer(baseline: f64, target: f64) -> bool {
    target - baseline >= 500.0 && target >= 1.2 * baseline
}

fn more_packets(Both { sides, .. }: &Both<'_>) -> Option<Proven> {
    let count = |side: &Side| side.transaction.as_ref().filter(|of| of.beyond.is_none()).map(|of| of.packets);
    let (baseline, target) = (count(&sides[0])?, count(&sides[1])?);
    (target - baseline >= 1.0).then(|| {
        (
            "a transaction takes more packets to a reader: a relay stands between, or messages come in pieces".into(),
            vec![figure("packets per transaction", "", baseline, target)],
        )
    })
}

fn extra_devices(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    let list = |facts: &Facts| facts.kinds.iter().cloned().collect::<Vec<_>>().join(", ");
    (b.devices - a.devices >= 0.5).then(|| {
        (
            format!("a packet crosses more devices ({}) than in the baseline ({})", list(b), list(a)),
            vec![figure("devices per packet", "", a.devices, b.devices)],
        )
    })
}

fn more_softirqs(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    (b.softirqs - a.softirqs >= 0.25).then(|| {
        (
            "a packet passes more softirqs: each queues it, raises the softirq and takes it out again".into(),
            vec![figure("softirqs per packet", "", a.softirqs, b.softirqs)],
        )
    })
}

fn more_cpu_hops(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    (b.hops - a.hops >= 0.25).then(|| {
        (
            "a packet changes CPUs more often, and its cache lines with it".into(),
            vec![figure("CPU changes per packet", "", a.hops, b.hops)],
        )
    })
}

fn queueing(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    let mut figures = vec![
        figure("backlog wait per packet", "ns", a.backlog_wait, b.backlog_wait),
        figure("qdisc wait per packet", "ns", a.qdisc_wait, b.qdisc_wait),
    ];
    figures.retain(|figure| longer(figure.baseline, figure.target));
    (!figures.is_empty()).then(|| ("packets lie longer in queues on the way".into(), figures))
}

fn slower_wakeups(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    longer(a.wakeup_wait, b.wakeup_wait).then(|| {
        (
            "readers sleep more often or are woken more slowly".into(),
            vec![figure("wakeup wait per packet", "ns", a.wakeup_wait, b.wakeup_wait)],
        )
    })
}

fn software_segmentation(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    let gso = [Layer::Gso];
    let (before, after) = (a.cpu_share(&gso), b.cpu_share(&gso));
    (b.samples(&gso) >= LEAST_SAMPLES && after >= 0.01 && after >= 2.0 * before).then(|| {
        (
            "large packets are cut in software on the way: a device after the sender cannot take them whole".into(),
            vec![figure("CPU in segmentation", "share", before, after)],
        )
    })
}

fn xdp_copy(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    (b.rebuilt >= 0.5 && b.rebuilt >= 2.0 * a.rebuilt).then(|| {
        (
            "an XDP program on a virtual device makes the kernel copy packets before it runs: they have no room for it, or \
             share their memory"
                .into(),
            vec![figure("copies for XDP per packet", "", a.rebuilt, b.rebuilt)],
        )
    })
}

/// The figures of packets that became smaller, and the tunnel that only the target has.
fn smaller_packets(Both { kind, a, b, .. }: &Both<'_>) -> Option<(Option<Layer>, Vec<Proof>)> {
    let tunnel = |facts: &Facts| facts.layers.iter().copied().find(|layer| layer.info().tunnel);
    (*kind == WorkKind::Stream && a.bytes > 2000.0 && b.bytes < 0.85 * a.bytes).then(|| {
        (
            tunnel(b).filter(|_| tunnel(a).is_none()),
            vec![
                figure("bytes per packet", "B", a.bytes, b.bytes),
                figure("wire packets per packet", "", a.wire, b.wire),
            ],
        )
    })
}

fn gro_not_merging(compared: &Both<'_>) -> Option<Proven> {
    let (tunnel, figures) = smaller_packets(compared)?;
    let tunnel = tunnel?.name();
    let what =
        format!("behind the {tunnel} tunnel packets reach the reader in smaller pieces: GRO does not merge them");
    Some((what, figures))
}

fn smaller_aggregates(compared: &Both<'_>) -> Option<Proven> {
    let (tunnel, figures) = smaller_packets(compared)?;
    let what = "the stack carries fewer bytes per packet, so that every layer is paid more often";
    tunnel.is_none().then(|| (what.into(), figures))
}

fn smaller_mtu(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    (b.mtu > 0 && b.mtu < a.mtu).then(|| {
        let tunnel = a.mtu - b.mtu <= 100 && b.layers.iter().any(|layer| layer.info().tunnel);
        let why = if tunnel { ": the difference goes to tunnel headers" } else { "" };
        (
            format!("the smallest MTU on the way is smaller{why}"),
            vec![figure("smallest MTU", "B", f64::from(a.mtu), f64::from(b.mtu))],
        )
    })
}

fn fragmentation(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    let at: Vec<String> = b.cut_at.iter().map(|(device, mtu)| format!("{device} (MTU {mtu})")).collect();
    let at = if at.is_empty() { String::new() } else { format!(" at {}", at.join(", ")) };
    let remedy = match b.layers.iter().find(|layer| layer.info().tunnel) {
        Some(tunnel) => {
            format!("give what sends through the {} tunnel an MTU that leaves room for its headers", tunnel.name())
        }
        None => "send messages that fit the MTU, or give all devices on the way a larger one".into(),
    };
    (b.fragmented >= 0.01 && b.fragmented >= 2.0 * a.fragmented).then(|| {
        (
            format!("IP cuts packets into fragments{at} and puts them together again: {remedy}"),
            vec![figure("packets in fragments", "share", a.fragmented, b.fragmented)],
        )
    })
}

fn user_space_tunnel(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    let tun = [Layer::Tun];
    (b.layers.contains(&Layer::Tun) && !a.layers.contains(&Layer::Tun)).then(|| {
        (
            "packets are copied to a program in user space and back through a tun device".into(),
            vec![figure("CPU in tun per packet", "ns", a.cpu_ns(&tun), b.cpu_ns(&tun))],
        )
    })
}

fn conntrack_nat(compared: &Both<'_>) -> Option<Proven> {
    let layers = [Layer::Conntrack, Layer::Nat];
    let what = "connection tracking and NAT look packets up";
    paid_for(compared, &layers, what, "CPU in conntrack and NAT per packet")
}

fn netfilter(compared: &Both<'_>) -> Option<Proven> {
    let what = "netfilter hooks and rules run for each packet";
    paid_for(compared, &[Layer::Netfilter], what, "CPU in netfilter per packet")
}

fn ovs(compared: &Both<'_>) -> Option<Proven> {
    let what = "the Open vSwitch datapath looks flows up for each packet";
    paid_for(compared, &[Layer::Ovs], what, "CPU in ovs per packet")
}

/// Layers that the baseline does not pay for.
fn paid_for(Both { a, b, .. }: &Both<'_>, layers: &[Layer], what: &str, of: &'static str) -> Option<Proven> {
    let (before, after) = (a.cpu_ns(layers), b.cpu_ns(layers));
    let share = b.cpu_share(layers);
    (b.samples(layers) >= LEAST_SAMPLES && after >= 2.0 * before && share >= 0.005).then(|| {
        let share = figure("share of CPU", "share", a.cpu_share(layers), share);
        (what.into(), vec![figure(of, "ns", before, after), share])
    })
}

fn one_cpu_saturated(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    let uneven = |facts: &Facts| facts.cpu_most > 0.9 && facts.cpu_least < 0.5;
    uneven(b).then(|| {
        let too = if uneven(a) { ", as in the baseline" } else { "" };
        (
            format!("one CPU is full while another idles{too}: the work of a packet's flow does not spread"),
            vec![
                figure("busiest CPU", "share", a.cpu_most, b.cpu_most),
                figure("least busy CPU", "share", a.cpu_least, b.cpu_least),
            ],
        )
    })
}

fn bottleneck_moved(Both { sides, .. }: &Both<'_>) -> Option<Proven> {
    let (first, second) = (sides[0].station.as_ref()?, sides[1].station.as_ref()?);
    (first.name != second.name).then(|| {
        (
            format!("the busiest station is {}, it was {}", second.name, first.name),
            vec![figure("its utilisation", "share", first.utilisation, second.utilisation)],
        )
    })
}

/// Whether so many a second are a cause.
fn more(baseline: f64, target: f64) -> bool {
    target >= 5.0 && target >= 2.0 * baseline
}

fn retransmits(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    let proof = || vec![figure("retransmits a second", "1/s", a.retransmits, b.retransmits)];
    more(a.retransmits, b.retransmits).then(|| ("TCP sends segments again".into(), proof()))
}

fn backlog_drops(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    let proof = || vec![figure("backlog drops a second", "1/s", a.backlog_drops, b.backlog_drops)];
    let what = "a CPU's receive queue is full and drops packets";
    more(a.backlog_drops, b.backlog_drops).then(|| (what.into(), proof()))
}

fn drops(Both { a, b, .. }: &Both<'_>) -> Option<Proven> {
    let proof = || vec![figure("drops a second", "1/s", a.drops, b.drops)];
    more(a.drops, b.drops).then(|| (format!("packets are dropped, most for {}", b.drop_reason), proof()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use netstrata_common::{Edge, Point};

    use super::*;
    use crate::{
        explain::{explain, testdata::*},
        profile::DropRecord,
    };

    #[test]
    fn the_page_is_made_from_the_table() {
        let mut made = String::from("| name | present when |\n|---|---|\n");
        for name in CauseName::ALL {
            made += &format!("| {} | {} |\n", name.name(), name.about());
        }
        crate::page::check_part("explain.md", "causes", &made);
    }

    fn names(baseline: &Profile, target: &Profile) -> Vec<CauseName> {
        explain(baseline, target, &labels()).expect("the test has it").causes.iter().map(|cause| cause.name).collect()
    }

    fn plain() -> Profile {
        stream(&[(1, TCP, 800), (2, TCP, 700)])
    }

    /// Smaller packets over smaller devices.
    fn small() -> Profile {
        let mut small = plain();
        small.paths[0].bytes /= 2;
        small.topology.devices.iter_mut().for_each(|device| device.mtu = 1450);
        small
    }

    /// The same behind a tunnel.
    fn tunnel() -> Profile {
        let mut tunnel = small();
        for device in tunnel.topology.devices.iter_mut().filter(|device| device.netns == 2) {
            device.kind = "vxlan".into();
        }
        tunnel.paths[0].crossings[1] = at(Point::Xmit, 2, 2);
        tunnel
    }

    /// The same packets, copied for an XDP program.
    fn copied() -> Profile {
        let mut copied = plain();
        copied.paths[0].edges.push((2, Edge::Rebuild));
        copied
    }

    /// The same packets, which IP cuts.
    fn in_fragments() -> Profile {
        let mut cut = plain();
        cut.paths.iter_mut().for_each(|path| path.edges = vec![(1, Edge::Fragment), (2, Edge::Reassemble)]);
        cut
    }

    /// A full CPU, losses, and readers that are woken late on another CPU.
    fn lossy() -> Profile {
        let mut other = stream(&[(1, TCP, 930), (2, TCP, 100)]);
        other.retransmits = 50;
        other.softirqs.backlog_drops = 40;
        let drop = |reason: &str, count| DropRecord { reason: reason.into(), count, ..DropRecord::default() };
        other.drops = vec![drop("TCP_OLD_DATA", 1000), drop("NO_SOCKET", 30)];
        let path = &mut other.paths[0];
        let last = path.crossings.len() - 2;
        path.crossings[last].point = Point::ReadyWake;
        path.spans[last] = values(5000, 100);
        path.cpu_hops = path.packets;
        other
    }

    #[test]
    fn each_cause_is_found_where_it_is_and_nowhere_else() {
        use CauseName::*;
        let layers = [(1, TCP, 700), (1, GSO, 60), (1, CONNTRACK, 40), (2, TCP, 700)];
        let rules = [(1, TCP, 700), (1, TUN, 40), (1, NETFILTER, 40), (1, OVS, 40), (2, TCP, 700)];
        let cases: [(Profile, Profile, &[CauseName]); 10] = [
            (rr(1, 1000.0), rr(3, 900.0), &[ExtraDevices, MoreSoftirqs, Queueing]),
            (rr(1, 1000.0), relayed(500.0), &[MorePackets]),
            (plain(), stream(&layers), &[SoftwareSegmentation, ConntrackNat]),
            (plain(), stream(&rules), &[UserSpaceTunnel, Netfilter, Ovs]),
            (plain(), copied(), &[XdpCopy]),
            (plain(), small(), &[SmallerAggregates, SmallerMtu]),
            (plain(), tunnel(), &[GroNotMerging, SmallerMtu]),
            (plain(), in_fragments(), &[Fragmentation]),
            (plain(), lossy(), &[MoreCpuHops, SlowerWakeups, OneCpuSaturated, Retransmits, BacklogDrops, Drops]),
            (plain(), stream(&[(1, TCP, 300), (2, TCP, 800)]), &[BottleneckMoved]),
        ];
        let mut found = BTreeSet::new();
        for (baseline, target, wanted) in &cases {
            assert_eq!(names(baseline, target), *wanted);
            found.extend(wanted.iter().copied());
        }
        let never: Vec<_> = CauseName::ALL.iter().filter(|name| !found.contains(name)).collect();
        assert!(never.is_empty(), "nothing here is caused by {never:?}");
    }

    #[test]
    fn a_profile_has_no_cause_against_itself_and_a_better_one_has_none() {
        for profile in [rr(1, 1000.0), rr(3, 1000.0), plain()] {
            assert_eq!(names(&profile, &profile), []);
        }
        assert_eq!(names(&rr(3, 1000.0), &rr(1, 900.0)), []);
        let few = stream(&[(1, TCP, 796), (1, CONNTRACK, 4), (2, TCP, 700)]);
        assert_eq!(names(&plain(), &few), []);
    }

    #[test]
    fn a_cause_has_its_figures_and_a_tunnel_its_name() {
        let found = explain(&rr(1, 1000.0), &rr(3, 900.0), &labels()).expect("the test has it");
        assert_eq!((found.causes[1].figures[0].baseline, found.causes[1].figures[0].target), (1.0, 3.0));
        let found = explain(&plain(), &tunnel(), &labels()).expect("the test has it");
        let sentences: Vec<&str> = found.causes.iter().map(|cause| cause.sentence.as_str()).collect();
        assert!(sentences.iter().any(|sentence| sentence.contains("behind the vxlan tunnel")), "{sentences:?}");
        assert!(sentences.iter().any(|sentence| sentence.contains("tunnel headers")), "{sentences:?}");
        let found = explain(&plain(), &in_fragments(), &labels()).expect("the test has it");
        assert!(found.causes[0].sentence.contains("that fit the MTU"), "{}", found.causes[0].sentence);
    }
}
