//! Batches of all parts, each as wide as it takes for all of them to have room.
//!
//! A batch of level L is 2^L consecutive ones of its recording, so the level that a set needs follows from how many each of its
//! recordings had: it is the same whichever way the set was put together. Batches of two recordings are never one.

use std::{collections::BTreeMap, mem::take};

use super::samples::Became;
use crate::profile::{BatchRecord, MOST_BATCHES, Profile};

/// The batches in the order of their parts, and their level. `became` tells which CPU samples are which now.
pub(super) fn sum(profiles: &mut [Profile], became: &[Became]) -> (Vec<BatchRecord>, u32) {
    let mut parts: Vec<(u32, Vec<BatchRecord>)> = Vec::new();
    for (profile, became) in profiles.iter_mut().zip(became) {
        let level = profile.meta.joined;
        for mut batch in take(&mut profile.batches) {
            renumber(&mut batch.samples, &became.entries);
            renumber(&mut batch.bursts, &became.bursts);
            match parts.iter_mut().find(|(_, batches)| batches[0].part == batch.part) {
                Some((_, batches)) => batches.push(batch),
                None => parts.push((level, vec![batch])),
            }
        }
    }
    parts.sort_by_key(|(_, batches)| batches[0].part);
    let least = profiles.iter().map(|profile| profile.meta.joined).max().unwrap_or(0);
    let needed =
        |level: u32| -> usize { parts.iter().map(|(own, batches)| batches.len().div_ceil(1 << (level - own))).sum() };
    let level = (least..).find(|level| needed(*level) <= MOST_BATCHES).unwrap_or(least);
    // Level by level, so that it is the same if it was done in part before, fractions too.
    let halved = |batches, _| BatchRecord::halve(batches);
    let joined = parts.into_iter().flat_map(|(own, batches)| (own..level).fold(batches, halved));
    (joined.collect(), level)
}

fn renumber(samples: &mut BTreeMap<u32, u64>, places: &[u32]) {
    for (sample, count) in take(samples) {
        if let Some(place) = places.get(sample as usize) {
            *samples.entry(*place).or_default() += count;
        }
    }
}
