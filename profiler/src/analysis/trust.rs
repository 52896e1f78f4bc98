//! How far to believe a profile.

use std::collections::BTreeMap;

use netstrata_common::{Judged, Limit, Loss, Whole, named};

use super::correction::Correction;
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
    Followed "followed" "packets that were followed" {
        figure: |profile, _| Some(profile.sampling.followed as f64), unit: Unit::Count, degraded: Bound::Below(100.0),
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

fn few(profile: &Profile, _: &Seen) -> String {
    match profile.sampling.followed {
        0 => "no packet was followed: there was no traffic, or the filters let none pass".into(),
        few => format!("only {few} packets were followed"),
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use netstrata_common::Counter;

    use super::*;
    use crate::profile::Sampling;

    /// The table of losses in `docs/output.md`.
    fn table() -> String {
        let limit = |limit: Limit, of: Whole| {
            let few = if limit.more_than > 0 { format!(" if more than {}", limit.more_than) } else { String::new() };
            format!("{} % of {}{few}", 100.0 * limit.share, of.name())
        };
        let mut out = String::from(
            "| cause | lost are | counted by | degraded beyond | void beyond | because |\n|---|---|---|---|---|---|\n",
        );
        for loss in Loss::ALL {
            let info = loss.info();
            let counted_by = match info.counted_by {
                Counter::Points => "probes, sampler",
                Counter::Functions => "function tier",
                Counter::Recorder => "recorder",
            };
            let (degraded, void) = match info.judged {
                Judged::Share { of, degraded, void, .. } => {
                    (limit(degraded, of), void.map_or("-".into(), |void| limit(void, of)))
                }
                Judged::Any { .. } => ("any".into(), "-".into()),
                Judged::Never => ("-".into(), "-".into()),
            };
            let (name, about, because) = (loss.name(), loss.about(), info.because);
            out += &format!("| `{name}` | {about} | {counted_by} | {degraded} | {void} | {because} |\n");
        }
        out
    }

    #[test]
    fn the_page_of_losses_is_made_from_the_table() {
        crate::page::check_part("output.md", "losses", &table());
    }

    /// The table of doubts in `docs/output.md`.
    fn table_of_doubts() -> String {
        let mut out = String::from(
            "| cause | judged is | degraded | void | only beyond | because |\n|---|---|---|---|---|---|\n",
        );
        for doubt in Doubt::ALL {
            let DoubtInfo { unit, degraded, void, telling, because, .. } = doubt.info();
            let amount = |bound: f64| match unit {
                Unit::Share => format!("{} %", 100.0 * bound),
                Unit::Count => bound.to_string(),
            };
            let bound = |bound: Bound| match bound {
                Bound::Above(bound) => format!("above {}", amount(bound)),
                Bound::Below(bound) => format!("below {}", amount(bound)),
            };
            let telling = telling.map_or("-".into(), |telling| format!("{} {}", telling.above, telling.of));
            let (degraded, void) = (bound(*degraded), void.map_or("-".into(), bound));
            out += &format!("| {} | {} | {degraded} | {void} | {telling} | {because} |\n", doubt.name(), doubt.about());
        }
        out
    }

    #[test]
    fn the_page_of_doubts_is_made_from_the_table() {
        crate::page::check_part("output.md", "doubts", &table_of_doubts());
    }

    /// A clean profile but for one figure, and what was seen of it.
    fn doubted(doubt: Doubt, figure: f64) -> (Profile, Seen) {
        let (mut profile, mut seen) = (profile(&[]), Seen::default());
        match doubt {
            Doubt::Steal => profile.meta.steal_share = figure,
            Doubt::Sampler => {
                profile.cpu.source = "cpu-clock".into();
                profile.cpu.period_ns = 1_000_000;
                profile.cpu.kernel_busy_ns = 1_000_000_000;
                seen.busy_samples = (figure * 1000.0).round() as u64;
            }
            Doubt::Observer => profile.observer.cpu_share = figure * profile.sampling.budget,
            Doubt::Correction => {
                profile.observer.ns_in_span_high = 1.0;
                let unsubtracted_ns = (figure * 1000.0).round() as u64;
                seen.correction = Correction { subtracted_ns: 1000 - unsubtracted_ns, unsubtracted_ns };
            }
            Doubt::Instruments => {
                seen.instruments = Some(Instruments { ratio: 0.6, interval: [0.5, 1.0 - figure] });
            }
            Doubt::Followed => profile.sampling.followed = figure as u64,
        }
        (profile, seen)
    }

    #[test]
    fn a_profile_is_doubted_beyond_the_bounds_of_a_row_and_only_where_it_tells() {
        for doubt in Doubt::ALL.iter().copied() {
            let DoubtInfo { unit, degraded, void, telling, .. } = doubt.info();
            let step = if matches!(unit, Unit::Count) { 1.0 } else { 0.01 };
            let bounds = [(Some(*degraded), Verdict::Degraded), (*void, Verdict::Void)];
            for (bound, verdict) in bounds.into_iter().filter_map(|(bound, verdict)| Some((bound?, verdict))) {
                let (within, beyond) = match bound {
                    Bound::Above(bound) => (bound - step, bound + step),
                    Bound::Below(bound) => (bound + step, bound - step),
                };
                let judged = |figure: f64| {
                    let (profile, seen) = doubted(doubt, figure);
                    trust(&profile, seen)
                };
                assert!(judged(within).verdict < verdict, "{doubt:?}: {within}");
                let judged = judged(beyond);
                assert_eq!((judged.verdict, judged.reasons.len()), (verdict, 1), "{doubt:?}: {beyond}");
            }
            let Some(telling) = telling else { continue };
            let (mut profile, seen) = doubted(doubt, 0.0);
            profile.cpu.kernel_busy_ns = 400_000_000;
            profile.sampling.budget = 0.001;
            profile.observer.cpu_share = 0.019;
            let figure = (doubt.info().figure)(&profile, &seen);
            assert!(figure.is_some_and(|figure| degraded.is_passed(figure)), "{doubt:?}: {figure:?}");
            assert!((telling.by)(&profile) <= telling.above, "{doubt:?}");
            assert_eq!(trust(&profile, seen).verdict, Verdict::Ok, "{doubt:?}");
        }
    }

    #[test]
    fn the_budget_is_judged_on_the_busiest_cpu() {
        let (mut profile, seen) = doubted(Doubt::Observer, 0.1);
        profile.observer.busiest_cpu_share = 0.6;
        let judged = trust(&profile, seen);
        assert_eq!(judged.verdict, Verdict::Degraded);
        assert!(judged.reasons[0].contains("60.0 % of the busiest CPU's time"), "{:?}", judged.reasons);
        profile.observer.cpu_share = 0.6;
        profile.observer.busiest_cpu_share = 0.001;
        assert_eq!(trust(&profile, seen).verdict, Verdict::Ok);
    }

    #[test]
    fn doubts_read_as_ever() {
        let reason = |doubt: Doubt, figure: f64| {
            let (profile, seen) = doubted(doubt, figure);
            trust(&profile, seen).reasons.join("; ")
        };
        for (doubt, figure, wanted) in [
            (Doubt::Steal, 0.3, "the hypervisor took 30 % of the CPU time"),
            (Doubt::Sampler, 0.5, "sampler: samples stand for 0.5 s of CPU time, the kernel counted 1.0 s"),
            (Doubt::Observer, 3.0, "observer: the probes used 3.0 % of the CPU time, the budget was 1.0 %"),
            (
                Doubt::Correction,
                0.05,
                "correction: 5.0 % of the probes' measured cost is more than the spans took that it lies in",
            ),
            (
                Doubt::Instruments,
                0.3,
                "instruments: CPU samples tell 0.60 times the service time that journeys tell of the same spans (0.50 to 0.70)",
            ),
            (Doubt::Followed, 7.0, "only 7 packets were followed"),
            (Doubt::Followed, 0.0, "no packet was followed: there was no traffic, or the filters let none pass"),
        ] {
            assert_eq!(reason(doubt, figure), wanted);
        }
    }

    fn profile(lost: &[(Loss, u64)]) -> Profile {
        let mut profile = Profile {
            sampling: Sampling {
                followed: 10_000,
                packets: 100_000,
                observed_ns: 1,
                budget: 0.01,
                ..Sampling::default()
            },
            lost: lost.iter().copied().collect(),
            ..Profile::default()
        };
        profile.cpu.samples = 5_000;
        profile.observer.hook_calls = 20_000;
        profile.observer.followed_crossings = 40_000;
        profile
    }

    #[test]
    fn instruments_that_may_agree_are_not_doubted() {
        let apart = |interval| Instruments { ratio: 1.0, interval }.apart();
        assert_eq!([apart([0.2, 1.7]), apart([0.85, 1.0])], [0.0, 0.0]);
        assert!((apart([1.25, 1.7]) - 0.25).abs() < 1e-9 && (apart([0.2, 0.75]) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn a_profile_from_before_intervals_is_not_judged_by_them() {
        let (mut profile, seen) = doubted(Doubt::Correction, 0.5);
        profile.observer.ns_in_span_high = 0.0;
        assert_eq!(trust(&profile, seen).verdict, Verdict::Ok);
    }

    #[test]
    fn a_clean_profile_is_ok() {
        assert_eq!(trust(&profile(&[(Loss::SlotBusy, 100)]), Seen::default()).verdict, Verdict::Ok);
    }

    #[test]
    fn losses_degrade_and_great_losses_void() {
        assert_eq!(trust(&profile(&[(Loss::SlotBusy, 2_000)]), Seen::default()).verdict, Verdict::Degraded);
        assert_eq!(trust(&profile(&[(Loss::NodesFull, 30_000)]), Seen::default()).verdict, Verdict::Void);
        assert_eq!(trust(&profile(&[(Loss::RingFull, 1)]), Seen::default()).verdict, Verdict::Degraded);
    }

    #[test]
    fn a_loss_is_judged_at_the_limits_of_its_row_and_a_reader_gets_its_figures() {
        for loss in Loss::ALL.iter().copied() {
            let judged = |lost: u64| trust(&profile(&[(loss, lost)]), Seen::default());
            match loss.info().judged {
                Judged::Share { of, degraded, void, .. } => {
                    let whole = whole(of, &profile(&[]));
                    for (limit, verdict) in [(Some(degraded), Verdict::Degraded), (void, Verdict::Void)] {
                        let Some(limit) = limit else { continue };
                        let most = (limit.share * whole as f64).floor() as u64;
                        assert!(judged(most).verdict < verdict, "{}: {most} of {whole}", loss.name());
                        let beyond = judged(most + 1);
                        assert_eq!(beyond.verdict, verdict, "{}: {} of {whole}", loss.name(), most + 1);
                        let reason = &beyond.reasons[0];
                        assert!(reason.starts_with(&format!("{}: {} ", loss.name(), most + 1)), "{reason}");
                        assert!(!reason.contains(['{', '}']), "{reason}");
                    }
                }
                Judged::Any { .. } => assert_eq!(judged(1).verdict, Verdict::Degraded, "{}", loss.name()),
                Judged::Never => assert_eq!(judged(u64::MAX).verdict, Verdict::Ok, "{}", loss.name()),
            }
            assert_eq!(judged(0).reasons, Vec::<String>::new(), "{}", loss.name());
        }
    }

    #[test]
    fn reasons_read_as_ever() {
        let reasons = |lost: &[(Loss, u64)]| trust(&profile(lost), Seen::default()).reasons;
        assert_eq!(
            reasons(&[
                (Loss::TimeBackwards, 101),
                (Loss::SamplesFull, 51),
                (Loss::RingFull, 3),
                (Loss::InFlightAtEnd, 1_500),
                (Loss::SlotBusy, 30_000),
            ]),
            [
                "slot_busy: 30000 of 100000 packets (30 %)",
                "in_flight_at_end: 1500 of 100000 packets (1.5 %)",
                "ring_full: 3 whole journeys for drawing were lost",
                "samples_full: 51 CPU samples were lost",
                "time_backwards: 101 crossings",
            ]
        );
    }
}
