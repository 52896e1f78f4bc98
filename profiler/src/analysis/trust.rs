//! How far to believe a profile.

use std::collections::BTreeMap;

use netstrata_common::{Judged, Limit, Loss, Whole, named};

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

/// Above this share of stolen CPU time a profile is degraded.
const DEGRADED_STEAL: f64 = 0.05;
/// Above this one it is void.
const VOID_STEAL: f64 = 0.25;
/// Samples that stand for a smaller share of the kernel's own busy time are too few …
const LEAST_SAMPLED: f64 = 0.75;
/// … if that time is long enough to tell.
const TELLING_NS: u64 = 500_000_000;
/// A recording that took more than its budget times this …
const OVER_BUDGET: f64 = 2.0;
/// … and more than this share of all CPU time is degraded.
const NOTICEABLE: f64 = 0.02;
/// Fewer followed packets than this say little about a distribution.
const FEW_PACKETS: u64 = 100;

/// A reason for a verdict worse than ok.
type Finding = (Verdict, String);

/// Judges a profile, of whose CPU samples so many were not idle.
pub fn trust(profile: &Profile, busy_samples: u64) -> Trust {
    let losses = Loss::ALL.iter().filter_map(|loss| judge(*loss, profile));
    let findings: Vec<Finding> = losses
        .chain(steal(profile))
        .chain(sampler(profile, busy_samples))
        .chain(observer(profile))
        .chain(followed(profile))
        .collect();
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
fn judge(loss: Loss, profile: &Profile) -> Option<Finding> {
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

fn steal(profile: &Profile) -> Option<Finding> {
    let share = profile.meta.steal_share;
    let verdict = match share {
        _ if share > VOID_STEAL => Verdict::Void,
        _ if share > DEGRADED_STEAL => Verdict::Degraded,
        _ => return None,
    };
    Some((verdict, format!("the hypervisor took {:.0} % of the CPU time", 100.0 * share)))
}

/// Idle CPUs may stop their clock: only busy time must have been sampled.
fn sampler(profile: &Profile, busy_samples: u64) -> Option<Finding> {
    let sampled = busy_samples * profile.cpu.period_ns;
    let kernel = profile.cpu.kernel_busy_ns;
    let few = kernel > TELLING_NS && (sampled as f64) < LEAST_SAMPLED * kernel as f64;
    (profile.cpu.source == "cpu-clock" && few).then(|| {
        let (sampled, kernel) = (sampled as f64 / 1e9, kernel as f64 / 1e9);
        (
            Verdict::Degraded,
            format!("sampler: samples stand for {sampled:.1} s of CPU time, the kernel counted {kernel:.1} s"),
        )
    })
}

fn observer(profile: &Profile) -> Option<Finding> {
    let (took, budget) = (profile.observer.cpu_share, profile.sampling.budget);
    (took > OVER_BUDGET * budget && took > NOTICEABLE).then(|| {
        let (took, budget) = (100.0 * took, 100.0 * budget);
        (
            Verdict::Degraded,
            format!("observer: the probes used {took:.1} % of the CPU time, the budget was {budget:.1} %"),
        )
    })
}

fn followed(profile: &Profile) -> Option<Finding> {
    match profile.sampling.followed {
        0 => Some((
            Verdict::Degraded,
            "no packet was followed: there was no traffic, or the filters let none pass".into(),
        )),
        few if few < FEW_PACKETS => Some((Verdict::Degraded, format!("only {few} packets were followed"))),
        _ => None,
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
    fn a_clean_profile_is_ok() {
        assert_eq!(trust(&profile(&[(Loss::SlotBusy, 100)]), 0).verdict, Verdict::Ok);
    }

    #[test]
    fn losses_degrade_and_great_losses_void() {
        assert_eq!(trust(&profile(&[(Loss::SlotBusy, 2_000)]), 0).verdict, Verdict::Degraded);
        assert_eq!(trust(&profile(&[(Loss::NodesFull, 30_000)]), 0).verdict, Verdict::Void);
        assert_eq!(trust(&profile(&[(Loss::RingFull, 1)]), 0).verdict, Verdict::Degraded);
    }

    #[test]
    fn a_loss_is_judged_at_the_limits_of_its_row_and_a_reader_gets_its_figures() {
        for loss in Loss::ALL.iter().copied() {
            let judged = |lost: u64| trust(&profile(&[(loss, lost)]), 0);
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
        let reasons = |lost: &[(Loss, u64)]| trust(&profile(lost), 0).reasons;
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

    #[test]
    fn a_recording_without_packets_says_so() {
        let trust = trust(&Profile::default(), 0);
        assert_eq!(trust.verdict, Verdict::Degraded);
        assert!(trust.reasons[0].contains("no packet"));
    }
}
