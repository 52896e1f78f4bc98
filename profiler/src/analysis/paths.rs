//! The account of a path: its spans by layer and device, which with what is unattributed sum to its end-to-end time.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use netstrata_common::{Layer, Point, Points, Protocol, Tier};

use super::{
    functions::{self, Costs},
    sampler::SamplerShare,
    span::{PathAccount, PathIntervals, Span},
    spans::{SpanClass, SpanKind, classify, device_name, lifted_between},
};
use crate::{
    cpu::{Places, split_table},
    profile::{CrossingRecord, Kind, PathRecord, Peer, Profile, Topology},
};

/// Fewer samples than this in a place do not split its spans. Few are enough: a share of ten samples is uncertain by a
/// sixth of the span, but not split, all that other layers took would be put down to the span's own.
pub(super) const LEAST_SAMPLES: u64 = 10;

/// What of a path does not depend on its figures.
struct Way {
    from: String,
    to: String,
    devices: Vec<String>,
    /// What each span means, the names of the devices at its ends, and where its packets were lifted to meanwhile.
    classes: Vec<(SpanClass, [String; 2], Vec<CrossingRecord>)>,
}

/// The ways of all paths, for as many accounts as are made of them.
pub struct Ways(Vec<Way>);

impl Ways {
    /// In the profile's order.
    pub fn of(profile: &Profile) -> Self {
        let topology = &profile.topology;
        let name = |crossing: Option<&CrossingRecord>| {
            crossing.map(|crossing| topology.namespace_name(crossing.netns)).unwrap_or_default()
        };
        let way = |path: &PathRecord| {
            let names = |index: usize| [0, 1].map(|end| device_name(topology, path.crossings[index + end]));
            Way {
                from: path.peers[0].as_ref().map_or_else(|| name(path.crossings.first()), Peer::name),
                to: path.peers[1].as_ref().map_or_else(|| name(path.crossings.last()), Peer::name),
                devices: devices(path, topology),
                classes: (0..path.spans.len())
                    .map(|index| {
                        let [from, to] = [0, 1].map(|end| path.crossings[index + end]);
                        (classify(path, index, topology), names(index), lifted_between(from, to, topology))
                    })
                    .collect(),
            }
        };
        Self(profile.paths.iter().map(way).collect())
    }
}

/// Accounts of all paths, in the profile's order.
pub fn path_accounts(profile: &Profile) -> Vec<PathAccount> {
    accounts_by(profile, &Ways::of(profile))
}

/// The same, of ways that are known.
pub fn accounts_by(profile: &Profile, ways: &Ways) -> Vec<PathAccount> {
    accounts_of(profile, ways, &places(profile))
}

/// The same with samples that are given.
pub(super) fn accounts_of(
    profile: &Profile,
    ways: &Ways,
    places: &BTreeMap<CrossingRecord, Places>,
) -> Vec<PathAccount> {
    let costs = Costs::new(profile);
    let sampler = SamplerShare::of(profile);
    let accounts = profile.paths.iter().zip(&ways.0);
    accounts.map(|(path, way)| path_account(profile, path, way, places, &costs, sampler)).collect()
}

/// The samples of a recording's places, those of classes of paths among them.
pub(super) fn places(profile: &Profile) -> BTreeMap<CrossingRecord, Places> {
    let mut places = split_table(profile);
    places_of_classes(profile, &mut places);
    places
}

/// Samples know the device they were taken at: those of all devices of a kind tell how a class of paths splits.
fn places_of_classes(profile: &Profile, places: &mut BTreeMap<CrossingRecord, Places>) {
    let folded = profile.paths.iter().filter(|path| path.folded.is_some());
    let classes: BTreeSet<CrossingRecord> =
        folded.flat_map(|path| path.crossings.iter().map(|crossing| place_of(*crossing))).collect();
    if classes.is_empty() {
        return;
    }
    let kind = |at: &CrossingRecord| (at.point, Kind::of(at.netns, at.ifindex, &profile.topology));
    let mut by_kind: BTreeMap<_, Places> = BTreeMap::new();
    places.iter().for_each(|(at, own)| by_kind.entry(kind(at)).or_default().merge(own));
    for at in classes {
        if let Some(own) = by_kind.get(&kind(&at)) {
            places.insert(at, own.clone());
        }
    }
}

fn path_account(
    profile: &Profile,
    path: &PathRecord,
    way: &Way,
    places: &BTreeMap<CrossingRecord, Places>,
    costs: &Costs<'_>,
    sampler: SamplerShare,
) -> PathAccount {
    let mut spans: Vec<Span> = Vec::new();
    for (index, (histogram, (class, names, lifted))) in path.spans.iter().zip(&way.classes).enumerate() {
        let of_samples = sampler_ns(sampler, class.kind, histogram.sum);
        let by_probes = probe_ns(profile, path, index).saturating_add(of_samples);
        let whole = Span {
            index,
            layer: class.layer,
            device: class.device.clone(),
            netns: class.netns,
            kind: class.kind,
            tier: Tier::Tracepoint,
            count: histogram.count,
            sum_ns: histogram.sum,
            probe_ns: by_probes.min(histogram.sum),
            unsubtracted_ns: by_probes.saturating_sub(histogram.sum),
            distribution: Some(histogram.clone()),
            hook: None,
        };
        let (from, to) = (path.crossings[index], path.crossings[index + 1]);
        let (sum_ns, probe_ns) = (whole.sum_ns, whole.probe_ns);
        let mut parts = functions::split(costs, path, index, whole);
        let by_function = parts.len() > 1;
        // What no function took is still split by samples, over the layers that have no hooks.
        let whole = parts.remove(0);
        match samples_between(places, from, to, lifted) {
            Some(samples)
                if class.kind == SpanKind::Service && class.layer.is_some() && samples.total() >= LEAST_SAMPLES =>
            {
                let real = sum_ns - probe_ns;
                let known = if by_function { costs.layers() } else { Vec::new() };
                spans.extend(split(whole, &samples, names, real, &known));
            }
            _ => spans.push(whole),
        }
        spans.append(&mut parts);
    }
    // What losses tore out of the tree is no layer's time.
    let known: u64 = spans.iter().filter(|span| span.layer.is_some()).map(|span| span.sum_ns).sum();
    spans.retain(|span| span.layer.is_some());
    let unattributed_ns = path.end_to_end.sum.saturating_sub(known);
    PathAccount {
        from: way.from.clone(),
        to: way.to.clone(),
        protocol: protocol_name(path.protocol),
        devices: way.devices.clone(),
        spans,
        unattributed_ns,
        intervals: PathIntervals::default(),
        softirqs: softirqs(path),
        record: path.clone(),
    }
}

/// Devices on the way, each once where several crossings follow each other there.
fn devices(path: &PathRecord, topology: &Topology) -> Vec<String> {
    let mut devices: Vec<String> = path.crossings.iter().map(|crossing| device_name(topology, *crossing)).collect();
    devices.retain(|device| !device.is_empty());
    devices.dedup();
    devices
}

/// What the probes took within a span by their measured cost: one crossing of a followed packet; those of other packets that
/// the same CPU met meanwhile, which were turned away; and where the transmit function comes back (after `netif_rx`), which is
/// one of these, what that takes more. It may be more than the span, if the cost is wrong.
fn probe_ns(profile: &Profile, path: &PathRecord, index: usize) -> u64 {
    let observer = &profile.observer;
    let returns = path.crossings[index].point == Point::Rx && path.crossings[index + 1].point == Point::Receive;
    // Such a probe lies half before the clock is read, half after.
    let ready = path.crossings[index..=index + 1].iter().filter(|at| at.point.is_in(Points::ANNOUNCED));
    let each = observer.ns_in_span_per_crossing
        + ready.count() as f64 * observer.ns_in_span_at_ready / 2.0
        + if returns { observer.at_return() } else { 0.0 };
    let span = &path.spans[index];
    let known = if returns { span.count } else { 0 };
    (each * span.count as f64 + observer.ns_per_crossing * span.others.saturating_sub(known) as f64) as u64
}

/// What CPU samples took of a span.
fn sampler_ns(sampler: SamplerShare, kind: SpanKind, sum_ns: u64) -> u64 {
    let share = match kind {
        SpanKind::Service => sampler.of_service,
        SpanKind::Wait => sampler.of_wait,
    };
    (sum_ns as f64 * share) as u64
}

/// The samples of a span. On the way from a device to a socket a receive handler (macvlan) may lift the packet to another
/// device, where no crossing tells: samples know both. So it is on the way to a switch (`above`).
fn samples_between<'a>(
    places: &'a BTreeMap<CrossingRecord, Places>,
    from: CrossingRecord,
    to: CrossingRecord,
    above: &[CrossingRecord],
) -> Option<Cow<'a, Places>> {
    let mut found = places.get(&place_of(from)).map(Cow::Borrowed);
    for more in above.iter().filter_map(|at| places.get(at)) {
        let mut both = found.unwrap_or_default().into_owned();
        both.merge(more);
        found = Some(Cow::Owned(both));
    }
    let lifted = (from.netns, from.ifindex) != (to.netns, to.ifindex)
        && from.point.is_in(Points::RECEIVED)
        && to.point.is_in(Points::TO_READER)
        && to.point != Point::Receive;
    match places.get(&CrossingRecord { point: from.point, ..to }).filter(|_| lifted) {
        Some(above) => {
            let mut both = found.unwrap_or_default().into_owned();
            both.merge(above);
            Some(Cow::Owned(both))
        }
        None => found,
    }
}

/// Samples know the namespace of a sender, but no device yet; a route look-up is part of the reception.
pub(super) fn place_of(crossing: CrossingRecord) -> CrossingRecord {
    CrossingRecord { ifindex: if crossing.point.is_in(Points::OF_SENDER) { 0 } else { crossing.ifindex }, ..crossing }
}

/// Splits a span in proportion to the CPU samples within it. The parts sum to the whole in integers; what no layer
/// claims stays with the span's own layer. `real` is the time of all that the samples saw; `whole` is that, or what is left
/// of it without the layers that are `known` otherwise.
fn split(whole: Span, places: &Places, ends: &[String; 2], real: u64, known: &[Layer]) -> Vec<Span> {
    // What the probes themselves took is neither layer's; it is left out on both sides of the fraction.
    let total = places.total() - places.layers.get(&Some(Layer::Observer)).copied().unwrap_or(0);
    if total == 0 {
        return vec![whole];
    }
    let own = whole.layer;
    let mut parts: Vec<(Layer, String, u64)> = Vec::new();
    for (layer, count) in &places.layers {
        let Some(layer) = layer.filter(|layer| !known.contains(layer)) else { continue };
        if layer == Layer::Tc {
            // A classifier belongs to the device it is attached to, not to what lies between the two.
            parts.push((layer, ends[0].clone(), places.tc_ingress));
            parts.push((layer, ends[1].clone(), places.tc_egress));
        } else if Some(layer) != own && layer.is_datapath() {
            parts.push((layer, whole.device.clone(), *count));
        }
    }
    // Samples of all packets size the parts, so the probes' cost on followed ones is set apart before.
    let mut left = whole.sum_ns;
    let mut spans = Vec::new();
    for (layer, device, samples) in parts.into_iter().filter(|part| part.2 > 0) {
        let ns = (u128::from(real) * u128::from(samples) / u128::from(total)) as u64;
        let ns = ns.min(left - whole.probe_ns);
        left -= ns;
        spans.push(Span {
            layer: Some(layer),
            device,
            tier: Tier::Sampling,
            sum_ns: ns,
            probe_ns: 0,
            unsubtracted_ns: 0,
            distribution: None,
            ..whole.clone()
        });
    }
    if spans.is_empty() {
        return vec![whole];
    }
    let tier = if known.is_empty() { Tier::Sampling } else { whole.tier };
    spans.insert(0, Span { tier, sum_ns: left, distribution: None, ..whole });
    spans
}

fn softirqs(path: &PathRecord) -> u32 {
    let received = |pair: &&[CrossingRecord]| pair[1].point == Point::Receive && pair[0].point.is_in(Points::ARRIVING);
    path.crossings.windows(2).filter(received).count() as u32
}

/// Name of an IP protocol in reports.
fn protocol_name(protocol: Protocol) -> String {
    match protocol.name() {
        Some(name) => name.into(),
        None if protocol == Protocol::default() => "other".into(),
        None => format!("ip-{}", protocol.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::span::whole, *};
    use crate::profile::{FunctionRecord, Histogram};
    use netstrata_common::Hook;
    use proptest::prelude::*;

    #[test]
    fn a_classifier_is_charged_to_the_device_it_is_attached_to() {
        let places = Places {
            layers: BTreeMap::from([(Some(Layer::Tc), 60), (Some(Layer::Netfilter), 20), (None, 20)]),
            tc_ingress: 50,
            tc_egress: 10,
        };
        let parts = split(whole(1000, 10), &places, &["in".into(), "out".into()], 1000, &[]);
        let found = |layer, device: &str| {
            parts.iter().find(|part| part.layer == Some(layer) && part.device == device).map(|part| part.sum_ns)
        };
        assert_eq!(found(Layer::Tc, "in"), Some(500));
        assert_eq!(found(Layer::Tc, "out"), Some(100));
        assert_eq!(found(Layer::Netfilter, "br0"), Some(200));
        assert_eq!(found(Layer::Bridge, "br0"), Some(200));
    }

    /// A path of some journeys, with one of its spans lost, as when the tree is full.
    fn path(ids: &[(usize, u32, u32)], values: &[(u64, u64)], lost: usize) -> PathRecord {
        let crossings: Vec<CrossingRecord> = ids
            .iter()
            .map(|&(point, netns, ifindex)| CrossingRecord { point: Point::ALL[point], netns, ifindex })
            .collect();
        let spans = vec![Histogram::default(); crossings.len() - 1];
        let mut path = PathRecord { spans, crossings, ..PathRecord::default() };
        for &(value, weight) in values {
            let mut total = 0;
            for (index, span) in path.spans.iter_mut().enumerate() {
                let part = value.rotate_left(index as u32) % 1_000_000;
                total += part;
                if index != lost {
                    span.add(part, weight);
                }
            }
            path.end_to_end.add(total, weight);
        }
        path
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole(
            sum_ns: u64, tc in 0u64..1000, egress in 0u64..1000, netfilter in 0u64..1000, none in 1u64..1000,
        ) {
            let places = Places {
                layers: BTreeMap::from([
                    (Some(Layer::Tc), tc + egress), (Some(Layer::Netfilter), netfilter), (None, none),
                ]),
                tc_ingress: tc,
                tc_egress: egress,
            };
            let parts = split(whole(sum_ns, 10), &places, &["in".into(), "out".into()], sum_ns, &[]);
            prop_assert_eq!(parts.iter().map(|part| u128::from(part.sum_ns)).sum::<u128>(), u128::from(sum_ns));
        }

        #[test]
        fn corrected_parts_sum_to_corrected_totals_and_nothing_is_taken_that_is_not_there(
            ids in proptest::collection::vec((0..Point::ALL.len(), 1u32..3, 0u32..5), 2..20),
            values in proptest::collection::vec((0u64..3_000, 1u64..1000), 1..20),
            costs in (0f64..1_500.0, 0f64..500.0, 0f64..500.0),
            functions in proptest::collection::btree_map(0u32..19, (0u64..1_000, 0u64..5), 0..6),
        ) {
            let mut profile = Profile { paths: vec![path(&ids, &values, usize::MAX)], ..Profile::default() };
            (profile.observer.ns_in_span_per_crossing, profile.observer.ns_per_crossing) = (costs.0, costs.1);
            profile.observer.ns_in_span_at_ready = costs.2;
            (profile.observer.ns_in_span_high, profile.observer.ns_in_span_at_return) = (costs.0, costs.2);
            for (span, (sum_ns, calls)) in functions {
                let record = FunctionRecord { span, calls, returns: calls, sum_ns, ends: calls, ..FunctionRecord::default() };
                profile.paths[0].functions.push(FunctionRecord { hook: Hook::Span, ..record.clone() });
                profile.paths[0].functions.push(FunctionRecord { hook: Hook::BridgeHandle, ..record });
            }
            for account in path_accounts(&profile) {
                prop_assert!(account.spans.iter().all(|span| span.probe_ns <= span.sum_ns));
                let parts: u64 = account.spans.iter().map(|span| span.sum_ns - span.probe_ns).sum();
                let whole = account.corrected_mean() * account.record.end_to_end.count as f64;
                prop_assert!(((parts + account.unattributed_ns) as f64 - whole).abs() <= 1e-9 * whole);
                // What the probes took by their cost is subtracted or told.
                for (index, _) in account.record.spans.iter().enumerate() {
                    let of_span = || account.spans.iter().filter(|span| span.index == index);
                    if classify(&account.record, index, &profile.topology).layer.is_some() {
                        let told: u64 = of_span().map(|span| span.probe_ns + span.unsubtracted_ns).sum();
                        prop_assert_eq!(told, probe_ns(&profile, &account.record, index), "nothing was sampled");
                    }
                }
            }
        }

        #[test]
        fn layers_and_unattributed_sum_to_end_to_end(
            ids in proptest::collection::vec((0..Point::ALL.len(), 1u32..3, 0u32..5), 1..20),
            values in proptest::collection::vec((0u64..1_000_000_000, 1u64..1000), 1..20),
            keep in 0usize..21,
        ) {
            let profile = Profile { paths: vec![path(&ids, &values, keep)], ..Profile::default() };
            for account in path_accounts(&profile) {
                prop_assert!(account.is_closed());
            }
        }
    }
}
