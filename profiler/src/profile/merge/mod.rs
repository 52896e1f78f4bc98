//! Recordings added: a merged profile is the sum of its parts, whichever way they were put together.
//!
//! So that `a + (b + c)` is `(a + b) + c` to the last byte, each recording is first written down by *roles* ([`roles`]), for
//! itself: what is alike in two recordings has the same number then, whatever else is merged. All that can be added is added;
//! all that cannot (costs, shares, rates) is made anew from [`PartRecord`]s, which a merged profile keeps in one order.

mod alike;
mod batches;
mod benchmark;
mod figures;
pub(super) mod paths;
mod roles;
mod samples;
mod tables;
#[cfg(test)]
pub(super) mod tests;

use thiserror::Error;

pub(super) use benchmark::of_parts;

use super::{
    BatchRecord, MOST_BATCHES, Meta, Observer, PartRecord, Profile,
    limits::fits,
    sound::{self, Totals},
};

/// Why recordings cannot be added.
#[derive(Debug, Error)]
pub enum MergeError {
    /// They differ in what makes figures comparable.
    #[error("{one} and {other} cannot be added: {what}")]
    Unlike {
        /// The one.
        one: String,
        /// The other.
        other: String,
        /// What differs.
        what: String,
    },
    /// The same recording twice.
    #[error("{one} and {other} hold the same recording, which would count twice; give each once")]
    Twice {
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// More recordings than batches.
    #[error("{0} recordings are too many: a profile holds {MOST_BATCHES} batches, and each recording needs one")]
    TooMany(usize),
    /// Sums that no profile holds.
    #[error("these recordings are too much for one profile: {0}")]
    TooMuch(String),
    /// Two namespaces or devices that chance has given one number; it takes billions of them.
    #[error("{0} and {1} cannot be told apart by number; leave one of their recordings out")]
    OneNumber(String, String),
}

/// Whether recordings were made the same way of the same work, each with the name that refusals give it.
///
/// # Errors
/// If not: [`MergeError::Unlike`].
pub fn comparable(named: &[(String, Profile)]) -> Result<(), MergeError> {
    alike::check(named)
}

/// Adds recordings, or what was merged before, each with the name that refusals give it. One alone stays as it is.
///
/// # Errors
/// If they must not be added: other kernels, clocks, ways of recording or work; the same recording twice; too many.
pub fn merge(mut named: Vec<(String, Profile)>) -> Result<Profile, MergeError> {
    if named.len() <= 1 {
        return Ok(named.pop().map(|(_, profile)| profile).unwrap_or_default());
    }
    alike::check(&named)?;
    // What was made in memory need not be what a file may hold.
    let totals: Result<Vec<Totals>, String> = named.iter().map(|(_, profile)| sound::check(profile)).collect();
    let of_files = totals.is_ok();
    let totals = totals.unwrap_or_default().into_iter().fold(Totals::default(), Totals::and);
    totals.check().map_err(MergeError::TooMuch)?;
    named.iter_mut().for_each(|(_, profile)| roles::write_down(profile));
    let parts = in_order(&mut named)?;
    let mut profiles: Vec<Profile> = named.into_iter().map(|(_, profile)| profile).collect();
    let (mut cpu, became) = samples::sum(&profiles);
    cpu.period_ns = figures::period(&parts);
    let chains = paths::rename_chains(&mut profiles);
    let (batches, joined) = batches::sum(&mut profiles, &became);
    let (journeys, left_out) = tables::journeys(&mut profiles);
    // Every field of a profile stands here, so that the compiler asks what becomes of a new one.
    let sum = Profile {
        multiple: 0.0,
        topology: tables::topology(&profiles)?,
        sampling: figures::sampling(&profiles, &parts),
        observer: figures::observer(&parts),
        cpu,
        softirqs: tables::softirqs(&profiles),
        drops: tables::drops(&profiles),
        turnarounds: tables::turnarounds(&profiles),
        devices: tables::devices(&profiles),
        retransmits: profiles.iter().map(|profile| profile.retransmits).sum(),
        lost: tables::lost(&profiles, left_out),
        hooks: tables::hooks(&profiles),
        chains,
        batches,
        journeys,
        meta: meta(&profiles, parts, joined),
        paths: paths::sum(profiles),
    };
    fits(&sum).map_err(MergeError::TooMuch)?;
    if of_files {
        // Nobody could read it.
        sound::check(&sum).map_err(MergeError::TooMuch)?;
    }
    Ok(sum)
}

/// What of the meta data all have in common, and what can be added of the rest.
fn meta(profiles: &[Profile], parts: Vec<PartRecord>, joined: u32) -> Meta {
    let metas = || profiles.iter().map(|profile| &profile.meta);
    let Some(first) = metas().next() else { return Meta::default() };
    let mut probes: Vec<String> = metas().flat_map(|meta| meta.probes.iter().cloned()).collect();
    probes.sort();
    probes.dedup();
    let mut missing = std::collections::BTreeMap::new();
    for (name, reason) in metas().flat_map(|meta| &meta.missing) {
        let known: &mut String = missing.entry(name.clone()).or_insert_with(|| reason.clone());
        known.clone_from(std::cmp::min(&known.clone(), reason));
    }
    let same_command = metas().all(|meta| meta.command == first.command);
    Meta {
        kernel: first.kernel.clone(),
        arch: first.arch.clone(),
        cpus: first.cpus,
        clock: first.clock,
        duration_ns: metas().map(|meta| meta.duration_ns).sum(),
        tiers: first.tiers.clone(),
        probes,
        missing,
        filters: first.filters.clone(),
        command: if same_command { first.command.clone() } else { Vec::new() },
        exit_code: metas().filter_map(|meta| meta.exit_code).max(),
        started_ns: metas().map(|meta| meta.started_ns).min().unwrap_or(0),
        began_unix_ns: metas().map(|meta| meta.began_unix_ns).min().unwrap_or(0),
        benchmark: of_parts(&parts),
        benchmark_notes: metas().flat_map(|meta| meta.benchmark_notes.iter().cloned()).collect(),
        steal_share: figures::steal_share(&parts),
        recorder: figures::recorders(&parts),
        parts,
        joined,
        cut_off: metas().any(|meta| meta.cut_off),
    }
}

/// What tells a recording from any other.
fn identity(part: &PartRecord) -> [u64; 5] {
    let Observer { crossings, followed_crossings, recorder_rss_bytes, .. } = part.observer;
    [part.started_ns, part.duration_ns, crossings, followed_crossings, recorder_rss_bytes]
}

/// The parts of all in the order of their beginning; batches and journeys learn the new place of theirs.
fn in_order(named: &mut [(String, Profile)]) -> Result<Vec<PartRecord>, MergeError> {
    let mut parts: Vec<(usize, usize, PartRecord)> = Vec::new();
    for (of, (_, profile)) in named.iter_mut().enumerate() {
        let taken = std::mem::take(&mut profile.meta.parts).into_iter().enumerate();
        parts.extend(taken.map(|(at, part)| (of, at, part)));
    }
    if parts.len() > MOST_BATCHES {
        return Err(MergeError::TooMany(parts.len()));
    }
    // By the date, where there is one: time since a boot would mix those of several boots.
    parts.sort_by_key(|(_, _, part)| (part.began_unix_ns, identity(part)));
    if let Some(two) = parts.windows(2).find(|two| identity(&two[0].2) == identity(&two[1].2)) {
        let [one, other] = [two[0].0, two[1].0].map(|of| named[of].0.clone());
        return Err(MergeError::Twice { one, other });
    }
    let places: std::collections::BTreeMap<(usize, u32), u32> =
        parts.iter().zip(0..).map(|((of, at, _), place)| ((*of, *at as u32), place)).collect();
    for (of, (_, profile)) in named.iter_mut().enumerate() {
        let place = |part: u32| places.get(&(of, part)).copied().unwrap_or_default();
        profile.batches.iter_mut().for_each(|BatchRecord { part, .. }| *part = place(*part));
        profile.journeys.iter_mut().for_each(|journey| journey.part = place(journey.part));
    }
    Ok(parts.into_iter().map(|(_, _, part)| part).collect())
}
