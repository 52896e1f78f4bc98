//! Tests: an account is the same before and after paths are folded.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::account;
use crate::profile::{BatchRecord, PathRecord, Profile, generated};

fn sums(profile: &Profile) -> Vec<u64> {
    let of = |figure: fn(&PathRecord) -> u64| profile.paths.iter().map(figure).sum::<u64>();
    let batches = |figure: fn(&BatchRecord) -> u64| profile.batches.iter().map(figure).sum::<u64>();
    vec![
        of(|path| path.packets),
        of(|path| path.bytes),
        of(|path| path.samples),
        of(|path| path.end_to_end.sum),
        of(|path| path.end_to_end.count),
        of(|path| path.spans.iter().map(|span| span.sum).sum()),
        of(|path| path.spans.iter().map(|span| span.count).sum()),
        of(|path| path.functions.iter().map(|function| function.sum_ns).sum()),
        of(|path| path.folded.as_ref().map_or(1, |folded| folded.paths)),
        profile.original_paths().map(|path| path.packets).sum(),
        batches(|batch| batch.paths.values().map(|path| path.packets).sum()),
        batches(|batch| batch.paths.values().map(|path| path.sum_ns).sum()),
        batches(|batch| batch.paths.values().flat_map(|path| &path.spans_ns).sum()),
    ]
}

/// Latency and waiting by layer, as the spans tell it.
fn layers(profile: &Profile) -> Vec<(&'static str, u64, u64, u64)> {
    let totals = account(profile).layers;
    totals.iter().map(|(layer, total)| (layer.name(), total.latency_ns, total.wait_ns, total.cpu_samples)).collect()
}

/// A recording of a few namespaces, of which a device is no port of itself.
fn recording(seed: u64) -> Profile {
    let mut profile = generated::recording(seed, 1);
    for device in profile.topology.devices.iter_mut().filter(|device| device.ifindex == 1) {
        device.master = None;
    }
    profile.paths = [0, 1, 2].iter().flat_map(|turn| generated::recording(seed + turn, 1).paths).collect();
    profile.paths.iter_mut().zip(7..).for_each(|(path, id)| path.id = id);
    profile.paths.iter_mut().for_each(|path| path.functions.clear());
    profile
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_and_layers_stay(seed: u64, budget in 0_usize..12) {
        let mut profile = recording(seed >> 1);
        // Samples split classes by those of all devices of the kind: that is not the sum of what they were split to.
        profile.cpu.entries.iter_mut().chain(&mut profile.cpu.bursts).for_each(|sample| sample.place = None);
        let mut folded = profile.clone();
        folded.fold(budget);
        prop_assert_eq!(sums(&folded), sums(&profile));
        prop_assert_eq!(layers(&folded), layers(&profile));
        let (paths, classes) = folded.folded();
        prop_assert_eq!(folded.paths.len(), profile.paths.len().min(budget) + classes);
        prop_assert_eq!(paths as usize, profile.paths.len().saturating_sub(budget));
        prop_assert!(folded.paths.iter().all(|path| path.spans.len() + 1 == path.crossings.len()));
        let known: BTreeSet<u64> = folded.paths.iter().map(|path| path.id).collect();
        prop_assert_eq!(known.len(), folded.paths.len());
        prop_assert!(folded.journeys.iter().all(|journey| known.contains(&journey.path)));
        let mut again = folded.clone();
        again.fold(budget);
        prop_assert_eq!(again, folded);
    }
}
