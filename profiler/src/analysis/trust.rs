//! How far to believe a profile.

use std::collections::BTreeMap;

use netstrata_common::named;

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
    /// Losses by cause; packet losses are weighted.
    pub lost: BTreeMap<String, u64>,
}

/// Causes that cost packets, as a share of the packets that were to be followed.
const PACKET_LOSSES: [&str; 8] = [
    "slot_busy",
    "path_too_long",
    "paths_full",
    "nodes_full",
    "map_busy",
    "missed_nested",
    "cut_by_detaching",
    "in_flight_at_end",
];
/// Above: degraded.
const DEGRADED_LOSS: f64 = 0.01;
/// Above: void.
const VOID_LOSS: f64 = 0.2;
const DEGRADED_STEAL: f64 = 0.05;
const VOID_STEAL: f64 = 0.25;
/// Fewer followed packets than this say little about a distribution.
const FEW_PACKETS: u64 = 100;

/// Judges a profile, of whose CPU samples so many were not idle.
pub fn trust(profile: &Profile, busy_samples: u64) -> Trust {
    let mut trust = Trust {
        verdict: Verdict::Ok,
        reasons: Vec::new(),
        sample_rate: share(profile.sampling.followed, profile.sampling.packets),
        observed_share: share(profile.sampling.observed_ns, profile.meta.duration_ns).min(1.0),
        lost: profile.lost.clone(),
    };
    let mut find = |verdict: Verdict, reason: String| {
        trust.verdict = trust.verdict.max(verdict);
        trust.reasons.push(reason);
    };
    let lost = |name: &str| profile.lost.get(name).copied().unwrap_or(0);
    let packets = profile.sampling.packets.max(1);
    // A full tree loses single spans: it is held against the spans of all packets.
    let spans: u64 = profile.paths.iter().map(|path| path.packets * path.crossings.len() as u64).sum();
    for name in PACKET_LOSSES {
        let (whole, what) = if name == "nodes_full" { (packets.max(spans), "spans") } else { (packets, "packets") };
        let part = lost(name) as f64 / whole as f64;
        if part > VOID_LOSS && lost(name) > FEW_PACKETS {
            find(Verdict::Void, format!("{name}: {} of {whole} {what} ({:.0} %)", lost(name), 100.0 * part));
        } else if part > DEGRADED_LOSS && lost(name) > 10 {
            find(Verdict::Degraded, format!("{name}: {} of {whole} {what} ({:.1} %)", lost(name), 100.0 * part));
        }
    }
    for (name, what) in [
        ("ring_full", "whole journeys for drawing"),
        ("drops_full", "drops"),
        ("samples_full", "CPU samples"),
        ("stacks_full", "stacks of CPU samples"),
        ("function_charges_full", "charges of functions"),
        ("function_table_full", "figures of functions (weighted)"),
        ("function_too_many", "functions of a span"),
        ("function_too_deep", "nested functions"),
    ] {
        let of = if name.starts_with("sa") || name.starts_with("st") { profile.cpu.samples } else { 0 };
        let of = if name.starts_with("function") { profile.observer.hook_calls } else { of };
        if lost(name) > of / 100 {
            find(Verdict::Degraded, format!("{name}: {} {what} were lost", lost(name)));
        }
    }
    if lost("time_backwards") > packets / 1000 {
        find(Verdict::Degraded, format!("time_backwards: {} crossings", lost("time_backwards")));
    }
    if profile.meta.steal_share > VOID_STEAL {
        find(Verdict::Void, format!("the hypervisor took {:.0} % of the CPU time", 100.0 * profile.meta.steal_share));
    } else if profile.meta.steal_share > DEGRADED_STEAL {
        find(
            Verdict::Degraded,
            format!("the hypervisor took {:.0} % of the CPU time", 100.0 * profile.meta.steal_share),
        );
    }
    // Idle CPUs may stop their clock: only busy time must have been sampled.
    let sampled = busy_samples * profile.cpu.period_ns;
    let kernel = profile.cpu.kernel_busy_ns;
    if profile.cpu.source == "cpu-clock" && kernel > 500_000_000 && (sampled as f64) < 0.75 * kernel as f64 {
        find(
            Verdict::Degraded,
            format!(
                "sampler: samples stand for {:.1} s of CPU time, the kernel counted {:.1} s",
                sampled as f64 / 1e9,
                kernel as f64 / 1e9
            ),
        );
    }
    if profile.observer.cpu_share > 2.0 * profile.sampling.budget && profile.observer.cpu_share > 0.02 {
        find(
            Verdict::Degraded,
            format!(
                "observer: the probes used {:.1} % of the CPU time, the budget was {:.1} %",
                100.0 * profile.observer.cpu_share,
                100.0 * profile.sampling.budget
            ),
        );
    }
    if profile.sampling.followed == 0 {
        find(Verdict::Degraded, "no packet was followed: there was no traffic, or the filters let none pass".into());
    } else if profile.sampling.followed < FEW_PACKETS {
        find(Verdict::Degraded, format!("only {} packets were followed", profile.sampling.followed));
    }
    trust
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Sampling;

    fn profile(lost: &[(&str, u64)]) -> Profile {
        Profile {
            sampling: Sampling {
                followed: 10_000,
                packets: 100_000,
                observed_ns: 1,
                budget: 0.01,
                ..Sampling::default()
            },
            lost: lost.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            ..Profile::default()
        }
    }

    #[test]
    fn a_clean_profile_is_ok() {
        assert_eq!(trust(&profile(&[("slot_busy", 100)]), 0).verdict, Verdict::Ok);
    }

    #[test]
    fn losses_degrade_and_great_losses_void() {
        assert_eq!(trust(&profile(&[("slot_busy", 2_000)]), 0).verdict, Verdict::Degraded);
        assert_eq!(trust(&profile(&[("nodes_full", 30_000)]), 0).verdict, Verdict::Void);
        assert_eq!(trust(&profile(&[("ring_full", 1)]), 0).verdict, Verdict::Degraded);
    }

    #[test]
    fn a_recording_without_packets_says_so() {
        let trust = trust(&Profile::default(), 0);
        assert_eq!(trust.verdict, Verdict::Degraded);
        assert!(trust.reasons[0].contains("no packet"));
    }
}
