//! How far to believe a profile.

use std::collections::BTreeMap;

use netstrata_common::{Judged, Limit, Loss, Point, Whole, named};

use super::{conserved::most_unseen, correction::Correction};
use crate::profile::Profile;

named! {
    /// The verdict of a profile on itself.
    pub enum Verdict;
    Ok "ok" "within all limits";
    Degraded "degraded" "past a limit that a reader should know";
    Void "void" "not to be judged by";
}

/// How far to believe a profile, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Trust {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not "ok".
    pub reasons: Vec<String>,
    /// Share of the packets that passed while the probes were attached which were followed.
    pub sample_rate: f64,
    /// Share of the time during which the journey probes were attached.
    pub observed_share: f64,
    /// Losses; those of packets are weighted.
    pub lost: BTreeMap<Loss, u64>,
}

named! {
    /// What makes a profile doubtful besides losses; in the order in which it is judged, after them.
    pub enum Doubt: DoubtInfo;
    Steal "steal" "CPU time that the hypervisor took" {
        figure: |profile, _| Some(profile.meta.steal_share), unit: Unit::Share, degraded: Bound::Above(0.05),
        void: Some(Bound::Above(0.25)), telling: None, reason: stolen,
        because: "what was stolen is in the spans, and is no layer's work"
    };
    Sampler "sampler" "CPU time that the samples of a clock stand for, of what the kernel counted as busy" {
        figure: sampled, unit: Unit::Share, degraded: Bound::Below(0.75), void: None,
        telling: Some(Telling { by: |profile| profile.cpu.kernel_busy_ns as f64 / 1e9, above: 0.5, of: "seconds of busy time" }),
        reason: undersampled,
        because: "idle CPUs may stop their clock, busy ones may not"
    };
    Observer "observer" "time of the busiest CPU that observing used, of its budget" {
        figure: |profile, _| Some(profile.observer.judged_share() / profile.sampling.budget), unit: Unit::Share,
        degraded: Bound::Above(2.0), void: None,
        telling: Some(Telling { by: |profile| 100.0 * profile.observer.judged_share(), above: 2.0, of: "% of a CPU" }),
        reason: costly,
        because: "what is observed ran slower than without"
    };
    Correction "correction" "measured cost of the probes that spans are too short for, of all that is to be subtracted" {
        figure: unsubtracted, unit: Unit::Share, degraded: Bound::Above(0.01), void: None, telling: None,
        reason: overcorrected,
        because: "a cost larger than what it is a part of is known badly: corrected figures are too small elsewhere, too"
    };
    Instruments "instruments" "by how much CPU samples and service times of the same spans differ at least, with 95 % certainty" {
        figure: |_, seen| seen.instruments.map(|instruments| instruments.apart()), unit: Unit::Share,
        degraded: Bound::Above(0.1), void: None, telling: None, reason: apart,
        because: "two instruments that measure the same thing: one of them is wrong"
    };
    LongWaits "long waits" "the longest mean wait in a device's queue, of the time for which journeys are observed at a stretch" {
        figure: |profile, _| long_wait(profile).map(|wait| wait.of_window()), unit: Unit::Share, degraded: Bound::Above(0.1),
        void: None, telling: None, reason: cut_short,
        because: "what waits longer is the likelier to be cut off when the probes are detached: the mean is too low"
    };
    Unseen "unseen" "packets that a device transmitted or received, by its own counter, and no journey tells of" {
        figure: |profile, _| most_unseen(profile).map(|most| most.unseen() as f64 / most.counted as f64), unit: Unit::Share,
        degraded: Bound::Above(0.02), void: None,
        telling: Some(Telling { by: |profile| most_unseen(profile).map_or(0.0, |most| most.unseen() as f64), above: 100.0, of: "packets" }),
        reason: unseen,
        because: "they began where no probe is: a packet socket that bypasses the queue, XDP, a packet generator"
    };
    CutOff "cut off" "recordings that were cut off" {
        figure: |profile, _| Some(f64::from(u8::from(profile.meta.cut_off))), unit: Unit::Count, degraded: Bound::Above(0.0),
        void: None, telling: None, reason: cut_off,
        because: "the recorder was ended from outside; what came later, and what a benchmark said, is absent"
    };
    Followed "followed" "packets that were followed" {
        figure: |profile, _| Some(asked_for(profile) as f64), unit: Unit::Count, degraded: Bound::Below(100.0),
        void: None, telling: None, reason: few,
        because: "they say little about a distribution"
    };
}

/// What the account of a profile found that its judgement needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// CPU samples that were not idle.
    pub busy_samples: u64,
    /// The correction for the probes' own cost.
    pub correction: Correction,
    /// Where it is known how sure that is.
    pub instruments: Option<Instruments>,
}

/// CPU time of samples over service time of journeys.
#[derive(Clone, Copy, Debug)]
pub struct Instruments {
    /// All in all.
    pub ratio: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
}

impl Instruments {
    /// The least difference that lies within the interval, as a share.
    fn apart(&self) -> f64 {
        let [low, high] = self.interval;
        (low - 1.0).max(1.0 - high).max(0.0)
    }
}

/// What else is true of a doubt.
pub struct DoubtInfo {
    /// What is judged; none where there is nothing to judge.
    pub figure: fn(&Profile, &Seen) -> Option<f64>,
    /// In what.
    pub unit: Unit,
    /// Beyond this a profile is degraded.
    pub degraded: Bound,
    /// Beyond this it is void.
    pub void: Option<Bound>,
    /// What must be there to tell.
    pub telling: Option<Telling>,
    /// The reason that a reader gets.
    pub reason: fn(&Profile, &Seen) -> String,
    /// Why it is doubtful.
    pub because: &'static str,
}

/// The unit of a bound.
#[derive(Clone, Copy)]
pub enum Unit {
    /// A share; 1 is all.
    Share,
    /// So many.
    Count,
}

/// Where doubt begins.
#[derive(Clone, Copy)]
pub enum Bound {
    /// With a larger figure.
    Above(f64),
    /// With a smaller one.
    Below(f64),
}

/// What must be there for a figure to tell something.
#[derive(Clone, Copy)]
pub struct Telling {
    /// What is looked at.
    pub by: fn(&Profile) -> f64,
    /// Less than this does not suffice.
    pub above: f64,
    /// Of what.
    pub of: &'static str,
}

impl Bound {
    fn is_passed(self, figure: f64) -> bool {
        match self {
            Self::Above(bound) => figure > bound,
            Self::Below(bound) => figure < bound,
        }
    }
}

/// A reason for a verdict worse than ok.
type Reason = (Verdict, String);

/// Judges a profile.
pub fn trust(profile: &Profile, seen: Seen) -> Trust {
    let losses = Loss::ALL.iter().filter_map(|loss| judge(*loss, profile));
    let doubts = Doubt::ALL.iter().filter_map(|doubt| doubtful(*doubt, profile, &seen));
    let findings: Vec<Reason> = losses.chain(doubts).collect();
    Trust {
        verdict: findings.iter().map(|finding| finding.0).max().unwrap_or(Verdict::Ok),
        reasons: findings.into_iter().map(|finding| finding.1).collect(),
        sample_rate: share(profile.sampling.followed, profile.sampling.packets),
        observed_share: share(profile.sampling.observed_ns, profile.meta.duration_ns).min(1.0),
        lost: profile.lost.clone(),
    }
}

/// What there was of what a loss is a share of.
fn whole(of: Whole, profile: &Profile) -> u64 {
    let packets = profile.sampling.packets.max(1);
    match of {
        Whole::Packets => packets,
        // Of all packets, also where paths that were not entered have none.
        Whole::Spans => {
            profile.paths.iter().map(|path| path.packets * path.crossings.len() as u64).sum::<u64>().max(packets)
        }
        Whole::FollowedCrossings => profile.observer.followed_crossings,
        Whole::Samples => profile.cpu.samples,
        Whole::HookCalls => profile.observer.hook_calls,
    }
}

/// What a loss does to the verdict.
fn judge(loss: Loss, profile: &Profile) -> Option<Reason> {
    let lost = *profile.lost.get(&loss)?;
    let said = |reason: &str| format!("{}: {}", loss.name(), reason.replace("{lost}", &lost.to_string()));
    match loss.info().judged {
        Judged::Share { of, degraded, void, reason } => {
            let whole = whole(of, profile);
            let part = lost as f64 / whole as f64;
            let beyond = |limit: Limit| part > limit.share && lost > limit.more_than;
            let (verdict, digits) = match void {
                Some(void) if beyond(void) => (Verdict::Void, 0),
                _ if beyond(degraded) => (Verdict::Degraded, 1),
                _ => return None,
            };
            let share = format!("{:.digits$} %", 100.0 * part);
            Some((verdict, said(reason).replace("{whole}", &whole.to_string()).replace("{share}", &share)))
        }
        Judged::Any { reason } => (lost > 0).then(|| (Verdict::Degraded, said(reason))),
        Judged::Never => None,
    }
}

/// What a doubt does to the verdict.
fn doubtful(doubt: Doubt, profile: &Profile, seen: &Seen) -> Option<Reason> {
    let DoubtInfo { figure, degraded, void, telling, reason, .. } = doubt.info();
    let figure = figure(profile, seen)?;
    if telling.is_some_and(|telling| (telling.by)(profile) <= telling.above) {
        return None;
    }
    let verdict = match void {
        Some(void) if void.is_passed(figure) => Verdict::Void,
        _ if degraded.is_passed(figure) => Verdict::Degraded,
        _ => return None,
    };
    Some((verdict, reason(profile, seen)))
}

fn stolen(profile: &Profile, _: &Seen) -> String {
    format!("the hypervisor took {:.0} % of the CPU time", 100.0 * profile.meta.steal_share)
}

/// Only of a clock: other sources of samples count something else.
fn sampled(profile: &Profile, seen: &Seen) -> Option<f64> {
    let sampled = seen.busy_samples * profile.cpu.period_ns;
    (profile.cpu.source == "cpu-clock").then(|| sampled as f64 / profile.cpu.kernel_busy_ns as f64)
}

fn undersampled(profile: &Profile, seen: &Seen) -> String {
    let [sampled, kernel] =
        [seen.busy_samples * profile.cpu.period_ns, profile.cpu.kernel_busy_ns].map(|ns| ns as f64 / 1e9);
    format!("sampler: samples stand for {sampled:.1} s of CPU time, the kernel counted {kernel:.1} s")
}

fn costly(profile: &Profile, _: &Seen) -> String {
    let observer = &profile.observer;
    let [took, budget] = [observer.judged_share(), profile.sampling.budget].map(|share| 100.0 * share);
    let of = if observer.busiest_cpu_share > 0.0 { "the busiest CPU's time" } else { "the CPU time" };
    format!("observer: the probes used {took:.1} % of {of}, the budget was {budget:.1} %")
}

/// A profile from before has no interval: nothing bounds its correction, and it is not judged by that.
fn unsubtracted(profile: &Profile, seen: &Seen) -> Option<f64> {
    profile.observer.has_interval().then(|| seen.correction.unsubtracted_share())
}

fn overcorrected(_: &Profile, seen: &Seen) -> String {
    let share = 100.0 * seen.correction.unsubtracted_share();
    format!("correction: {share:.1} % of the probes' measured cost is more than the spans took that it lies in")
}

fn apart(_: &Profile, seen: &Seen) -> String {
    let Instruments { ratio, interval: [low, high] } =
        seen.instruments.unwrap_or(Instruments { ratio: 0.0, interval: [0.0; 2] });
    format!(
        "instruments: CPU samples tell {ratio:.2} times the service time that journeys tell of the same spans ({low:.2} to {high:.2})"
    )
}

/// A queue in which packets lie long.
struct LongWait {
    at: (u32, u32),
    mean_ns: f64,
    window_ns: f64,
}

impl LongWait {
    fn of_window(&self) -> f64 {
        self.mean_ns / self.window_ns
    }
}

/// The queue with the longest mean wait, where journeys are observed in turns.
fn long_wait(profile: &Profile) -> Option<LongWait> {
    if profile.sampling.observed_ns >= profile.meta.duration_ns {
        return None;
    }
    let window_ns = mean_window_ns(profile)?;
    let mut queues: BTreeMap<(u32, u32), (u64, u64)> = BTreeMap::new();
    for path in &profile.paths {
        let ways = path.crossings.windows(2).zip(&path.spans);
        for (ends, span) in ways.filter(|(ends, _)| (ends[0].point, ends[1].point) == (Point::Enqueue, Point::Xmit)) {
            let queue = queues.entry((ends[0].netns, ends[0].ifindex)).or_default();
            *queue = (queue.0 + span.sum, queue.1 + span.count);
        }
    }
    let waits = queues.into_iter().filter(|(_, (_, count))| *count > 0);
    let waits = waits.map(|(at, (sum, count))| LongWait { at, mean_ns: sum as f64 / count as f64, window_ns });
    waits.max_by(|a, b| a.mean_ns.total_cmp(&b.mean_ns))
}

/// For how long journeys are observed at a stretch; a window may go on from batch to batch.
fn mean_window_ns(profile: &Profile) -> Option<f64> {
    let windows = profile.batches.iter().flat_map(|batch| batch.windows.iter().map(|window| (batch.part, *window)));
    let (mut count, mut sum, mut last) = (0_u64, 0, None);
    for (part, (from, until)) in windows {
        count += u64::from(last != Some((part, from)));
        sum += until.saturating_sub(from);
        last = Some((part, until));
    }
    (sum > 0).then(|| sum as f64 / count as f64)
}

fn cut_short(profile: &Profile, _: &Seen) -> String {
    let Some(wait) = long_wait(profile) else { return String::new() };
    let device = profile.topology.device(wait.at.0, wait.at.1).map_or("a device", |device| device.name.as_str());
    let [mean, window] = [wait.mean_ns, wait.window_ns].map(|ns| ns / 1e6);
    format!(
        "long waits: packets lie in the queue of {device} for {mean:.1} ms in the mean, and journeys are observed for \
         {window:.1} ms at a stretch: the longest waits are cut off, and the mean is too low (a larger budget helps)"
    )
}

fn unseen(profile: &Profile, _: &Seen) -> String {
    let Some(most) = most_unseen(profile) else { return String::new() };
    format!(
        "unseen: at least {} of the {} packets that {} in {} {} are of no journey: they began where no probe is (a packet socket \
         that bypasses the queue, XDP, a packet generator), or were lost from sight",
        most.unseen(),
        most.counted,
        most.device(profile),
        profile.topology.namespace_name(most.netns),
        most.side.word()
    )
}

fn cut_off(profile: &Profile, _: &Seen) -> String {
    let seconds = profile.meta.duration_ns as f64 / 1e9;
    format!(
        "cut off: the recorder was ended from outside; what came after {seconds:.1} s, and what a benchmark said, is absent"
    )
}

/// Packets that were followed; with filters those of them that came by what these name.
fn asked_for(profile: &Profile) -> u64 {
    match profile.meta.filters.is_empty() {
        true => profile.sampling.followed,
        false => profile.paths.iter().map(|path| path.samples).sum::<u64>().min(profile.sampling.followed),
    }
}

fn few(profile: &Profile, _: &Seen) -> String {
    match asked_for(profile) {
        0 if profile.sampling.followed > 0 => {
            format!(
                "{} packets were followed, and none of them came by what the filters name",
                profile.sampling.followed
            )
        }
        0 => "no packet was followed: there was no traffic, or the filters let none pass".into(),
        few => format!("only {few} packets were followed"),
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests;
