//! `lab run --until`: as many repeats as it takes until each explanation is exact enough.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    cli::LabRunArgs,
    explain::{Explanation, Figure, explain},
    profile::{Profile, merge},
};

/// Fewer repeats tell nothing of how runs differ.
const LEAST_REPEATS: u32 = 3;

/// Recordings so far, by mode and size, with the names of their files.
pub struct Until {
    half: f64,
    at_most: Duration,
    begun: Instant,
    baseline: &'static str,
    recordings: BTreeMap<(u64, &'static str), Vec<(String, Profile)>>,
    /// What they say, since they were asked last.
    explained: Vec<(String, Option<Explanation>)>,
}

impl Until {
    /// As the arguments ask for it; none where they do not. The first mode is the baseline of all others.
    pub fn new(args: &LabRunArgs, baseline: &'static str) -> Option<Self> {
        let half = args.until?;
        let (at_most, begun) = (args.at_most, Instant::now());
        Some(Self { half, at_most, begun, baseline, recordings: BTreeMap::new(), explained: Vec::new() })
    }

    /// Takes a recording in.
    pub fn add(&mut self, mode: &'static str, size: u64, name: String, profile: Profile) {
        self.recordings.entry((size, mode)).or_default().push((name, profile));
    }

    /// Explanations of all modes against the baseline, with what they are of; none where one cannot be made.
    fn explanations(&self) -> Vec<(String, Option<Explanation>)> {
        let sizes = self.recordings.keys().map(|(size, _)| *size).collect::<std::collections::BTreeSet<_>>().len();
        let targets = self.recordings.iter().filter(|((_, mode), _)| *mode != self.baseline);
        let explanation = |(&(size, mode), target): (&(u64, &'static str), &Vec<(String, Profile)>)| {
            let name = if sizes > 1 { format!("{mode} at {size} B") } else { mode.to_owned() };
            let made = || {
                let baseline = merge(self.recordings.get(&(size, self.baseline))?.clone()).ok()?;
                let target = merge(target.clone()).ok()?;
                explain(&baseline, &target, &[self.baseline.to_owned(), mode.to_owned()]).ok()
            };
            (name, made())
        };
        targets.map(explanation).collect()
    }

    /// After so many repeats: whether it is enough, and how exact the least exact explanation is.
    pub fn enough(&mut self, repeats: u32) -> (bool, String) {
        self.explained = self.explanations();
        let halves: Vec<Option<f64>> = self
            .explained
            .iter()
            .map(|(_, found)| {
                found.as_ref().and_then(|found| {
                    // Where nothing differs, nothing is to be split.
                    if found.no_difference { Some(0.0) } else { found.sure.half(&Figure::Share) }
                })
            })
            .collect();
        let widest = halves.iter().copied().try_fold(0.0, |most: f64, half| Some(most.max(half?)));
        let exact = widest.is_some_and(|half| half <= self.half) && repeats >= LEAST_REPEATS;
        let said = widest.map_or("not known yet".into(), |half| format!("±{:.0} points", 100.0 * half));
        (exact || self.begun.elapsed() >= self.at_most, said)
    }

    /// What the explanations say in the end, a line for each.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        for (name, found) in &self.explained {
            let said = match found {
                None => "cannot be explained; netstrata explain tells why".into(),
                Some(found) if found.no_difference => "does not differ measurably".into(),
                Some(found) => match (found.explained_share, found.sure.half(&Figure::Share)) {
                    (Some(share), Some(half)) => {
                        let short = if half > self.half { ", which is less exact than asked for" } else { "" };
                        format!("layers answer for {} of the measured difference{short}", found.percent(share))
                    }
                    _ => "was not recorded for long enough to tell how sure an explanation is".into(),
                },
            };
            out.push_str(&format!("{name} against {}: {said}\n", self.baseline));
        }
        let most = self.recordings.values().map(Vec::len).max().unwrap_or(0);
        out.push_str(&format!("{most} recordings of each, in {:.0} s\n", self.begun.elapsed().as_secs_f64()));
        out
    }
}
