//! Two sets judged: the total first, then everything else together (Holm).

use std::collections::BTreeSet;

use super::{
    figures::{By, Figures, Group, Key, figures},
    rule::{Estimate, LOOKS, TAIL, Verdict, holm, kept, likeness, look, look_from, pairs_for},
    set::{Set, figures_of},
};
use crate::{
    analysis::Pooled,
    choices::Clock,
    explain::{Cause, WorkKind, untold},
    failure::Failure,
    numbers::{Spread, median},
    profile::{BatchWork, Even, Profile},
};

/// A layer that is known within this part of the threshold, as a part of the total, stands for itself.
const SMALL: f64 = 0.1;

/// What a change is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Of the figure itself.
    Itself,
    /// Of the total: the time is nothing in some recordings.
    Total,
    /// Of nothing, it is a difference: the count is nothing in some recordings.
    Packet,
}

impl Of {
    /// A change as a ratio less 1, or a difference.
    fn back(self, value: f64) -> f64 {
        if self == Self::Itself { value.exp_m1() } else { value }
    }

    /// A threshold on the scale of changes.
    fn scaled(self, threshold: f64) -> f64 {
        if self == Self::Itself { threshold.ln_1p() } else { threshold }
    }
}

/// A figure of both sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Which one.
    pub key: Key,
    /// The baseline's value: the mean that the change is of, so that the two never contradict it.
    pub baseline: f64,
    /// The target's.
    pub target: f64,
    /// What the change is a part of.
    pub of: Of,
    /// The change, on the scale of `of`; none where too little tells.
    pub estimate: Option<Estimate>,
    /// How much one pair differs from others: a standard deviation in which what was cut off has no part; only of pairs.
    pub spread: Option<f64>,
    /// What it is judged to be.
    pub verdict: Verdict,
    /// Pairs at which it can be told, where it cannot yet.
    pub pairs_needed: Option<f64>,
    /// The title of the sum that is judged in its place, where CPU samples cannot tell its layer from others.
    pub within: Option<String>,
}

impl Figure {
    /// The change as a ratio less 1 (a part of the total, or a difference of counts, by `of`).
    pub fn change(&self) -> Option<f64> {
        self.estimate.map(|estimate| self.of.back(estimate.change))
    }

    /// The interval that decides; none where too little tells.
    pub fn interval(&self) -> Option<[f64; 2]> {
        self.estimate.map(|estimate| estimate.interval(TAIL).map(|end| self.of.back(end)))
    }
}

/// A check.
#[derive(Clone, Debug)]
pub struct Judgment {
    /// Of all together.
    pub verdict: Verdict,
    /// What was done.
    pub kind: WorkKind,
    /// The benchmark's name of it, with the kernel and the machine.
    pub work: String,
    /// What drove the clock.
    pub clock: Clock,
    /// From which change on it is a regression.
    pub threshold: f64,
    /// What tells how sure figures are.
    pub by: By,
    /// What baseline and target are called.
    pub labels: [String; 2],
    /// How many recordings each has.
    pub recordings: [usize; 2],
    /// How many pairs were looked at; 0 before the first look.
    pub looked_at: usize,
    /// What the work takes.
    pub total: Figure,
    /// All others.
    pub others: Vec<Figure>,
    /// What the target does that the baseline does not, where something regressed or moved.
    pub causes: Vec<Cause>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Judgment {
    /// What changed: times first, the one that changed most first; then counts, likewise.
    pub fn changed(&self) -> Vec<&Figure> {
        let mut found: Vec<&Figure> = self.others.iter().filter(|figure| figure.verdict.is_change()).collect();
        let size = |figure: &Figure| match figure.key.group {
            Group::Count => figure.change().unwrap_or(0.0).abs(),
            _ => (figure.target - figure.baseline).abs(),
        };
        let is_count = |figure: &Figure| figure.key.group == Group::Count;
        found.sort_by(|one, other| is_count(one).cmp(&is_count(other)).then(size(other).total_cmp(&size(one))));
        found
    }

    /// Figures that are judged, besides the total.
    pub fn judged(&self) -> impl Iterator<Item = &Figure> {
        self.others.iter().filter(|figure| figure.within.is_none())
    }

    /// All figures, the total first.
    pub fn all(&self) -> impl Iterator<Item = &Figure> {
        std::iter::once(&self.total).chain(&self.others)
    }

    /// What can be decided with the spread of the total, in words.
    pub fn arithmetic(&self) -> Option<String> {
        let spread = self.total.spread?;
        let pairs = pairs_for(spread, self.threshold.ln_1p());
        let at = format!("at {}", percent(self.threshold));
        Some(match look_from(pairs) {
            Some(look) => format!("a pair spreads by {}: {look} pairs decide {at}", percent(spread)),
            None => {
                let most = LOOKS[LOOKS.len() - 1];
                let least = LOOKS.len();
                let could =
                    (1..=1000).map(|of| f64::from(of) / 1000.0).find(|at| pairs_for(spread, at.ln_1p()) <= most as f64);
                let could = could.map_or(String::new(), |could| format!(", {most} could {}", percent(could)));
                format!(
                    "a pair spreads by {}: {pairs:.0} pairs would decide {at}, more than the {most} of the last of {least} looks{could}; a \
                     quieter machine, longer recordings, a larger --threshold or recordings that count instructions decide sooner",
                    percent(spread)
                )
            }
        })
    }
}

/// A part as text: `1 %`, `2.1 %`.
pub fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    if percent >= 99.95 || (percent - percent.round()).abs() < 5e-4 {
        format!("{percent:.0} %")
    } else if percent >= 0.1 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.3} %")
    }
}

/// Judges two sets that may be compared.
///
/// # Errors
/// [`Failure::Usage`] if they did different work, or one holds nothing that could be judged.
pub fn judge(baseline: &Set, target: &Set, threshold: f64, mut notes: Vec<String>) -> Result<Judgment, Failure> {
    let sets = [baseline, target];
    let recordings = sets.map(|set| set.recordings.len());
    let count = recordings[0].min(recordings[1]);
    let by = if count == 1 { By::Batches } else { By::Pairs };
    let looked_at = if by == By::Pairs { look(count) } else { 0 };
    // Before the first look all are shown, and nothing is judged.
    let used = if looked_at > 0 { looked_at } else { count };
    let profiles = sets.iter().flat_map(|set| set.recordings.iter().take(used)).map(|(_, profile)| profile);
    let pooled = (by == By::Pairs).then(|| Pooled::of(profiles));
    let found = [of_set(baseline, used, by, pooled.as_ref())?, of_set(target, used, by, pooled.as_ref())?];
    let kind = same_kind(sets, &found)?;
    let samples = match by {
        By::Pairs => [Vec::new(), Vec::new()],
        By::Batches => sets.map(|set| without(&set.recordings[0].1, kind)),
    };
    let measured = sets.map(|set| work_without(&set.recordings[0].1));
    let mut table = Table { found, samples, measured, by, threshold };
    let (total_key, keys) = table.keys()?;
    // Runs differ by more than the batches of one know: of two recordings of the same work, one after the other, one in twelve
    // looked changed (measured). So one of each is never judged, whatever its interval.
    let judged = looked_at > 0;
    let total = table.figure(&total_key, &total_key, judged);
    let joined = if judged { table.join(&total_key) } else { Vec::new() };
    let sums = joined.iter().map(|(sum, _)| sum);
    let mut others: Vec<Figure> = keys.iter().chain(sums).map(|key| table.figure(key, &total_key, false)).collect();
    for (sum, keys) in &joined {
        others
            .iter_mut()
            .filter(|figure| keys.contains(&figure.key))
            .for_each(|figure| figure.within = Some(sum.title()));
    }
    if judged {
        table.judge_together(&mut others);
    }
    let changed = others.iter().any(|figure| figure.verdict.is_change());
    let verdict = if total.verdict == Verdict::Ok && changed { Verdict::Moved } else { total.verdict };
    notes.extend(advice(by, recordings, looked_at));
    if let Some(likeness) = likeness(&table.pairs(&total_key, total.of, &total_key)).filter(|_| judged) {
        notes.push(format!(
            "pairs that follow each other are alike ({likeness:.1}): it errs more often than said; take the two of a pair in an \
             order by chance, or let more time pass between pairs"
        ));
    }
    let profile = &baseline.recordings[0].1;
    Ok(Judgment {
        verdict,
        kind,
        work: work(profile),
        clock: profile.meta.clock,
        threshold,
        by,
        labels: sets.map(|set| set.label.clone()),
        recordings,
        looked_at,
        total,
        others,
        causes: Vec::new(),
        notes,
    })
}

/// What was done on what.
fn work(profile: &Profile) -> String {
    let meta = &profile.meta;
    let benchmark = meta.benchmark.as_ref().map_or("no benchmark", |benchmark| benchmark.workload.as_str());
    format!("{benchmark}, Linux {}, {} CPUs, clock: {}", meta.kernel, meta.cpus, meta.clock.name())
}

fn advice(by: By, recordings: [usize; 2], looked_at: usize) -> Vec<String> {
    let count = recordings[0].min(recordings[1]);
    let mut notes = Vec::new();
    if by == By::Batches {
        notes.push(format!(
            "one recording of a side: intervals by its batches tell how sure it is of itself, but runs differ by more than that; at \
             least {} pairs are needed before anything is judged",
            LOOKS[0]
        ));
    } else if looked_at == 0 {
        notes.push(format!("{count} pairs are too few: at least {} are needed before anything is judged", LOOKS[0]));
    } else if looked_at < count {
        let next = LOOKS.into_iter().find(|look| *look > count);
        let next = next.map_or(String::new(), |next| format!("; the next look is at {next}"));
        notes.push(format!("{looked_at} of {count} pairs were looked at{next}"));
    }
    if recordings[0] != recordings[1] && by == By::Pairs {
        notes.push(format!(
            "{} recordings against {}: the last ones of the larger set have no pair",
            recordings[1], recordings[0]
        ));
    }
    notes
}

/// The figures of the first recordings of a set.
fn of_set(set: &Set, count: usize, by: By, pooled: Option<&Pooled>) -> Result<Vec<Figures>, Failure> {
    set.recordings.iter().take(count).map(|(file, profile)| figures_of(file, profile, by, pooled)).collect()
}

fn same_kind(sets: [&Set; 2], found: &[Vec<Figures>; 2]) -> Result<WorkKind, Failure> {
    let all = || sets.iter().zip(found).flat_map(|(set, found)| set.recordings.iter().zip(found));
    let first = all().next().ok_or_else(|| Failure::Usage("there is nothing to compare".into()))?;
    match all().find(|(_, figures)| figures.kind != first.1.kind) {
        Some((other, figures)) => Err(Failure::Usage(format!(
            "{} did {} and {} {}: give recordings of the same work",
            first.0.0.display(),
            first.1.kind.name(),
            other.0.display(),
            figures.kind.name()
        ))),
        None => Ok(first.1.kind),
    }
}

/// The figures of a recording without each of its parts.
fn without(profile: &Profile, kind: WorkKind) -> Vec<Figures> {
    let profile = profile.balanced();
    let slices = profile.slices(if kind == WorkKind::Stream { Even::Time } else { Even::Packets });
    slices.iter().filter_map(|slice| figures(&profile.without(slice), By::Batches, None)).collect()
}

/// What the benchmark measured, up to a factor, without each batch: it measures all the time, also where nothing is observed.
fn work_without(profile: &Profile) -> Vec<f64> {
    let work: Vec<_> = profile.batches.iter().filter_map(|batch| batch.work).filter(|work| work.done > 0).collect();
    let all: BatchWork = work.iter().copied().sum();
    work.iter().map(|work| (all.ns - work.ns) as f64 / (all.done - work.done) as f64).collect()
}

/// All figures of both sets.
struct Table {
    /// Of each recording, of baseline and target.
    found: [Vec<Figures>; 2],
    /// Of one recording without each of its parts.
    samples: [Vec<Figures>; 2],
    /// What the benchmark measured without each batch.
    measured: [Vec<f64>; 2],
    by: By,
    threshold: f64,
}

fn values(figures: &[Figures], key: &Key) -> Vec<f64> {
    figures.iter().map(|figures| figures.values.get(key).copied().unwrap_or(0.0)).collect()
}

impl Table {
    /// The total, which every recording has, and all others that one has. What a benchmark did not measure each time is none.
    fn keys(&self) -> Result<(Key, Vec<Key>), Failure> {
        let all = self.found.iter().flatten().flat_map(|figures| figures.values.keys().cloned());
        let all: BTreeSet<Key> = all.collect();
        let values = |key: &Key| self.found.iter().flat_map(|figures| values(figures, key)).collect::<Vec<_>>();
        let is_whole = |key: &Key| values(key).into_iter().all(|value| value > 0.0);
        let may_be = |key: &&Key| matches!(key.group, Group::Total | Group::Other);
        let total = all.iter().filter(may_be).find(|key| is_whole(key)).cloned().ok_or_else(|| {
            Failure::Usage(
                "the recordings hold no time of the work that could be judged: record while a benchmark runs".into(),
            )
        })?;
        let is_there = |key: &Key| match key.group {
            Group::Total | Group::Other => is_whole(key),
            _ => values(key).into_iter().any(|value| value != 0.0),
        };
        let others = all.into_iter().filter(|key| *key != total && is_there(key)).collect();
        Ok((total, others))
    }

    /// Joins layers that CPU samples cannot tell apart, by the rule of `explain`: each sum, with what it is of. Where one layer gets what
    /// the other lacks in each recording, only what both took together is known.
    fn join(&mut self, total: &Key) -> Vec<(Key, Vec<Key>)> {
        let sampled: BTreeSet<Key> = self.found.iter().flatten().flat_map(|figures| figures.sampled.clone()).collect();
        let changes = |keys: &[Key]| {
            let each = keys.iter().map(|key| self.pairs(key, Of::Total, total));
            let sums = each.reduce(|sum, own| sum.iter().zip(own).map(|(one, other)| one + other).collect());
            Estimate::of(&sums.unwrap_or_default())
        };
        let step = |keys: &[Key]| changes(keys).map_or(0.0, |estimate| estimate.change);
        let half = |keys: &[Key]| changes(keys).map(|estimate| estimate.half(TAIL));
        let small = SMALL * self.threshold;
        let groups = untold(sampled.into_iter(), small, |one, other| one.group == other.group, step, half);
        let joined: Vec<_> = groups.into_iter().filter_map(|keys| Some((Key::joined(&keys)?, keys))).collect();
        for (sum, keys) in &joined {
            self.found.iter_mut().flatten().for_each(|figures| figures.join(keys, sum));
        }
        joined
    }

    /// Of what a change is a part: what is nothing in some recording has no ratio.
    fn of(&self, key: &Key) -> Of {
        let all = self.found.iter().chain(&self.samples).flat_map(|figures| values(figures, key));
        match all.into_iter().all(|value| value > 0.0) {
            true => Of::Itself,
            false if key.group == Group::Count => Of::Packet,
            false => Of::Total,
        }
    }

    /// A figure; `alone`: it is judged, and by itself.
    fn figure(&self, key: &Key, total: &Key, alone: bool) -> Figure {
        let of = self.of(key);
        let totals = values(&self.found[0], total);
        let pairs = self.pairs(key, of, total);
        let [baseline, target] = self.means(key, of, &pairs, &totals);
        let estimate = match self.by {
            By::Pairs => Estimate::of(&pairs),
            By::Batches => self.by_batches(key, of, pairs.first().copied(), totals.first().copied()),
        };
        let threshold = of.scaled(self.threshold);
        let of_pairs = estimate.filter(|_| self.by == By::Pairs);
        let needed = |estimate: Estimate| (pairs.len() as f64 * estimate.times_needed(threshold)).ceil();
        Figure {
            key: key.clone(),
            baseline,
            target,
            of,
            estimate,
            spread: of_pairs.map(|estimate| estimate.error * (pairs.len() as f64).sqrt()),
            verdict: estimate.filter(|_| alone).map_or(Verdict::Undecided, |estimate| estimate.alone(threshold)),
            within: None,
            pairs_needed: of_pairs.map(|estimate| needed(estimate).max(LOOKS[0] as f64)),
        }
    }

    /// The means of both sides of which the change is: of the pairs that count, geometric where it is a ratio. Of other means, or
    /// of medians, the larger one may be on the side that is judged to be faster.
    fn means(&self, key: &Key, of: Of, pairs: &[f64], totals: &[f64]) -> [f64; 2] {
        let kept = kept(pairs);
        // A part of the total counts by that pair's total.
        let weight = |at: usize| if of == Of::Total { 1.0 / totals[at] } else { 1.0 };
        let all: f64 = kept.iter().map(|at| weight(*at)).sum();
        self.found.each_ref().map(|figures| {
            let own = values(figures, key);
            let mean = |scaled: fn(f64) -> f64| kept.iter().map(|at| weight(*at) * scaled(own[*at])).sum::<f64>() / all;
            let mean = if of == Of::Itself { mean(f64::ln).exp() } else { mean(|value| value) };
            if mean.is_finite() { mean } else { median(&own) }
        })
    }

    /// The change of each pair.
    fn pairs(&self, key: &Key, of: Of, total: &Key) -> Vec<f64> {
        let [base, target] = self.found.each_ref().map(|figures| values(figures, key));
        let totals = values(&self.found[0], total);
        let pair = |((one, other), total): ((&f64, &f64), &f64)| match of {
            Of::Itself => other.ln() - one.ln(),
            Of::Total => (other - one) / total,
            Of::Packet => other - one,
        };
        base.iter().zip(&target).zip(&totals).map(pair).collect()
    }

    /// A change by how it differs without each part of either recording.
    fn by_batches(&self, key: &Key, of: Of, change: Option<f64>, total: Option<f64>) -> Option<Estimate> {
        let change = change.filter(|change| change.is_finite())?;
        let spread = |side: usize| {
            let own = match key.is_measured() {
                true => self.measured[side].clone(),
                false => values(&self.samples[side], key),
            };
            let scaled = own.into_iter().map(|value| match of {
                Of::Itself => value.ln(),
                Of::Total => value / total.unwrap_or(1.0),
                Of::Packet => value,
            });
            Spread::of(&scaled.collect::<Vec<_>>())
        };
        let sum = spread(0)?.plus(spread(1)?);
        // A time that is the same without each part was not told by them; a count may be.
        let is_told = sum.variance > 0.0 || key.group == Group::Count;
        is_told.then_some(Estimate { change, error: sum.variance.sqrt(), freedom: sum.freedom })
    }

    /// Judges what is not the total: the chance of any error among all of them is that of one figure.
    fn judge_together(&self, figures: &mut [Figure]) {
        let mut figures: Vec<&mut Figure> = figures.iter_mut().filter(|figure| figure.within.is_none()).collect();
        let chances = figures.iter().filter_map(|figure| figure.estimate).map(|estimate| estimate.chance());
        let mut sure = holm(&chances.collect::<Vec<_>>(), TAIL).into_iter();
        for figure in &mut figures {
            let Some(estimate) = figure.estimate else { continue };
            figure.verdict = estimate.verdict(figure.of.scaled(self.threshold), sure.next() == Some(true));
        }
    }
}

#[cfg(test)]
mod tests;
