//! What causes are judged by, of one profile.

use std::collections::{BTreeMap, BTreeSet};

use netstrata_common::{Edge, Layer, Point};

use super::{Side, WorkKind, legs, protocol, reaches_reader};
use crate::{
    analysis::{Account, PathAccount, SpanKind},
    profile::Profile,
};

/// Fewer CPU samples than this prove nothing.
pub(super) const LEAST_SAMPLES: u64 = 5;
/// Drop reasons that are everyday work of TCP.
const BENIGN: [&str; 4] = ["TCP_OLD_DATA", "TCP_OVERWINDOW", "TCP_OLD_SEQUENCE", "TCP_OLD_ACK"];

/// Figures of one profile. "Per packet" is per skb that reached a reader, or left this host.
pub(super) struct Facts {
    pub softirqs: f64,
    pub hops: f64,
    pub devices: f64,
    pub kinds: BTreeSet<String>,
    pub bytes: f64,
    pub wire: f64,
    /// How often a packet was copied for an XDP program.
    pub rebuilt: f64,
    pub qdisc_wait: f64,
    pub backlog_wait: f64,
    pub wakeup_wait: f64,
    pub mtu: u32,
    /// The part of the packets that were cut into fragments, and where.
    pub fragmented: f64,
    pub cut_at: BTreeSet<(String, u32)>,
    /// Samples and CPU time per packet by layer.
    pub cpu: BTreeMap<Layer, (u64, f64)>,
    pub busy: f64,
    pub layers: BTreeSet<Layer>,
    pub retransmits: f64,
    pub backlog_drops: f64,
    pub drops: f64,
    pub drop_reason: String,
    pub cpu_most: f64,
    pub cpu_least: f64,
}

impl Facts {
    pub fn new(kind: WorkKind, profile: &Profile, account: &Account, side: &Side) -> Self {
        let (paths, packets): (Vec<&PathAccount>, u64) = match kind {
            WorkKind::RequestResponse | WorkKind::Saturated => {
                let paths = legs::paths(profile, account);
                let packets = legs::endpoint_packets(&paths);
                (paths.into_iter().map(|(path, _)| path).collect(), packets)
            }
            WorkKind::Stream => {
                let protocol = protocol(profile);
                let paths = account.paths.iter().filter(|path| reaches_reader(&path.record, protocol));
                (paths.clone().collect(), paths.map(|path| path.record.packets).sum())
            }
        };
        let per = |value: u64| value as f64 / packets.max(1) as f64;
        let sum = |value: &dyn Fn(&PathAccount) -> u64| per(paths.iter().map(|path| value(path)).sum());
        let waits = |layer: Layer| {
            sum(&|path| {
                let spans = path.spans.iter().filter(|span| span.layer == Some(layer) && span.kind == SpanKind::Wait);
                spans.map(|span| span.sum_ns).sum()
            })
        };
        let seconds = profile.meta.duration_ns.max(1) as f64 / 1e9;
        // Without packets nothing is per packet.
        let scaled = if packets == 0 { f64::INFINITY } else { profile.once(packets) * account.scale };
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
            rebuilt: sum(&|path| {
                let copies = path.record.edges.iter().filter(|(_, edge)| *edge == Edge::Rebuild);
                copies.count() as u64 * path.record.packets
            }),
            qdisc_wait: waits(Layer::Qdisc),
            backlog_wait: waits(Layer::Backlog),
            wakeup_wait: waits(Layer::Wakeup),
            mtu: paths.iter().flat_map(|path| mtus(profile, path)).min().unwrap_or(0),
            fragmented: sum(&|path| if is_in_fragments(path) { path.record.packets } else { 0 }),
            cut_at: paths.iter().filter_map(|path| cut_at(profile, path)).collect(),
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

    pub fn samples(&self, layers: &[Layer]) -> u64 {
        layers.iter().filter_map(|layer| self.cpu.get(layer)).map(|entry| entry.0).sum()
    }

    pub fn cpu_ns(&self, layers: &[Layer]) -> f64 {
        layers.iter().filter_map(|layer| self.cpu.get(layer)).map(|entry| entry.1).sum()
    }

    pub fn cpu_share(&self, layers: &[Layer]) -> f64 {
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

/// Whether its packets travel in fragments for a part of their way.
fn is_in_fragments(path: &PathAccount) -> bool {
    path.record.edges.iter().any(|(_, edge)| matches!(edge, Edge::Fragment | Edge::Reassemble))
}

/// The device for which a path's packets were cut, and its MTU.
fn cut_at(profile: &Profile, path: &PathAccount) -> Option<(String, u32)> {
    let (at, _) = path.record.edges.iter().find(|(_, edge)| *edge == Edge::Fragment)?;
    let crossing = path.record.crossings.get(usize::from(*at))?;
    let device = profile.topology.device(crossing.netns, crossing.ifindex)?;
    Some((device.name.clone(), device.mtu))
}

fn mtus(profile: &Profile, path: &PathAccount) -> Vec<u32> {
    let known = devices(path).into_iter().filter_map(|(netns, index)| profile.topology.device(netns, index));
    known.map(|device| device.mtu).filter(|mtu| *mtu > 0).collect()
}
