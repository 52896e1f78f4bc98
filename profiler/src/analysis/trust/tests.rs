use netstrata_common::{Counter, Point};

use super::*;
use crate::profile::{BatchRecord, CrossingRecord, DeviceCounters, Histogram, PathRecord, Sampling};

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
    let mut out =
        String::from("| cause | judged is | degraded | void | only beyond | because |\n|---|---|---|---|---|---|\n");
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
        Doubt::CutOff => profile.meta.cut_off = figure > 0.0,
        Doubt::Observer => profile.observer.cpu_share = figure * profile.sampling.budget,
        Doubt::Correction => {
            profile.observer.ns_in_span_high = 1.0;
            let unsubtracted_ns = (figure * 1000.0).round() as u64;
            seen.correction = Correction { subtracted_ns: 1000 - unsubtracted_ns, unsubtracted_ns };
        }
        Doubt::Instruments => {
            seen.instruments = Some(Instruments { ratio: 0.6, interval: [0.5, 1.0 - figure] });
        }
        Doubt::LongWaits => lies(&mut profile, figure),
        Doubt::Unseen => sends(&mut profile, figure),
        Doubt::Followed => profile.sampling.followed = figure as u64,
    }
    (profile, seen)
}

/// A device sends a million packets, of which so many are of no journey.
fn sends(profile: &mut Profile, part: f64) {
    (profile.meta.duration_ns, profile.sampling.observed_ns) = (1, 1);
    profile.devices = vec![DeviceCounters { netns: 1, ifindex: 2, tx_packets: 1_000_000, ..DeviceCounters::default() }];
    profile.sampling.followed = profile.sampling.packets;
    // 2 % are left to the edges of a recording, and nothing to chance: so much was followed.
    profile.paths = vec![PathRecord {
        crossings: vec![CrossingRecord { point: Point::Xmit, netns: 1, ifindex: 2 }],
        samples: 1_000_000_000_000,
        packets: ((0.98 - part) * 1e6).round() as u64,
        ..PathRecord::default()
    }];
}

/// Packets lie in a queue for a part of the 100 ms for which journeys are observed at a stretch.
fn lies(profile: &mut Profile, part: f64) {
    (profile.meta.duration_ns, profile.sampling.observed_ns) = (2_000_000_000, 200_000_000);
    let window = |from: u64, until: u64| (from * 1_000_000, until * 1_000_000);
    profile.batches = vec![
        BatchRecord { windows: vec![window(0, 60)], ..BatchRecord::default() },
        BatchRecord { windows: vec![window(60, 100), window(1000, 1100)], ..BatchRecord::default() },
    ];
    let wait = Histogram { count: 10, sum: (part * 1e9).round() as u64, ..Histogram::default() };
    let at = |point| CrossingRecord { point, netns: 1, ifindex: 2 };
    let path =
        PathRecord { crossings: vec![at(Point::Enqueue), at(Point::Xmit)], spans: vec![wait], ..PathRecord::default() };
    profile.paths = vec![path];
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
        profile.devices[..].iter_mut().for_each(|device| device.tx_packets = 100);
        profile.paths.clear();
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
        (
            Doubt::LongWaits,
            0.5,
            "long waits: packets lie in the queue of a device for 50.0 ms in the mean, and journeys are observed for 100.0 ms at a stretch: the longest waits are cut off, and the mean is too low (a larger budget helps)",
        ),
        (
            Doubt::Unseen,
            0.5,
            "unseen: at least 499997 of the 1000000 packets that if2 in netns:1 transmitted are of no journey: they began where no probe is (a packet socket that bypasses the queue, XDP, a packet generator), or were lost from sight",
        ),
        (Doubt::Followed, 7.0, "only 7 packets were followed"),
        (Doubt::Followed, 0.0, "no packet was followed: there was no traffic, or the filters let none pass"),
    ] {
        assert_eq!(reason(doubt, figure), wanted);
    }
}

fn profile(lost: &[(Loss, u64)]) -> Profile {
    let mut profile = Profile {
        sampling: Sampling { followed: 10_000, packets: 100_000, observed_ns: 1, budget: 0.01, ..Sampling::default() },
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
