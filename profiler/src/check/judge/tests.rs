use super::*;
use crate::{
    check::testdata::{repeats, slower},
    profile::Profile,
};

fn judged(baseline: Vec<Profile>, target: Vec<Profile>) -> Judgment {
    judge(&Set::of("before", baseline), &Set::of("after", target), 0.01, Vec::new()).expect("the test has it")
}

fn changed(found: &Judgment) -> Vec<(String, Verdict)> {
    found.changed().iter().map(|figure| (figure.key.title(), figure.verdict)).collect()
}

#[test]
fn the_same_work_again_is_ok_and_a_slower_layer_is_named() {
    let same = judged(repeats(12, 1.0, 0), repeats(12, 1.0, 100));
    assert_eq!((same.verdict, same.looked_at, changed(&same)), (Verdict::Ok, 12, Vec::new()));
    let slow = judged(repeats(12, 1.0, 0), repeats(12, 1.05, 100));
    assert_eq!(slow.verdict, Verdict::Regressed);
    let change = slow.total.change().expect("the test has it");
    assert!((change - 1000.0 / 33_000.0).abs() < 0.002, "{change}");
    let names = changed(&slow);
    assert!(names.contains(&("tcp service".into(), Verdict::Regressed)), "{names:?}");
    assert!(!names.iter().any(|(name, _)| name.contains("veth") || name.contains("backlog")), "{names:?}");
    let fast = judged(repeats(6, 1.05, 0), repeats(6, 1.0, 100));
    assert_eq!((fast.verdict, fast.looked_at), (Verdict::Improved, 6));
}

#[test]
fn too_few_pairs_are_never_judged_and_what_is_between_looks_waits() {
    for count in [2, 5] {
        let found = judged(repeats(count, 1.0, 0), repeats(count, 2.0, 100));
        assert_eq!((found.verdict, found.looked_at, changed(&found)), (Verdict::Undecided, 0, Vec::new()));
        assert!(found.notes.iter().any(|note| note.contains("at least 6 are needed")), "{:?}", found.notes);
        assert!(found.total.change().is_some_and(|change| change > 0.5), "it is shown all the same");
    }
    let found = judged(repeats(7, 1.0, 0), repeats(20, 1.0, 100));
    assert_eq!((found.verdict, found.looked_at), (Verdict::Ok, 6));
    let notes = found.notes.join("\n");
    assert!(notes.contains("6 of 7 pairs") && notes.contains("the next look is at 12"), "{notes}");
    assert!(notes.contains("20 recordings against 7"), "{notes}");
}

#[test]
fn what_moved_from_one_layer_to_another_is_no_regression() {
    let mut target = repeats(12, 1.0, 100);
    for profile in &mut target {
        slower(profile, 1, 600);
        slower(profile, 2, -600);
    }
    let found = judged(repeats(12, 1.0, 0), target);
    assert_eq!(found.verdict, Verdict::Moved);
    let verdicts: Vec<Verdict> = changed(&found).into_iter().map(|(_, verdict)| verdict).collect();
    assert!(verdicts.contains(&Verdict::Regressed) && verdicts.contains(&Verdict::Improved), "{:?}", changed(&found));
}

#[test]
fn time_that_was_not_there_is_a_part_of_the_total() {
    let mut baseline = repeats(12, 1.0, 0);
    baseline.iter_mut().for_each(|profile| slower(profile, 1, -1000));
    let found = judged(baseline, repeats(12, 1.0, 100));
    let new = found.others.iter().find(|figure| figure.of == Of::Total).expect("the test has it");
    assert_eq!((new.baseline, new.verdict), (0.0, Verdict::Regressed));
    assert!((new.target - 2000.0).abs() < 1e-6, "{}", new.target);
    let change = new.change().expect("the test has it");
    assert!((change - 2000.0 / 31_000.0).abs() < 1e-3, "{change}");
    assert_eq!(found.verdict, Verdict::Regressed);
}

#[test]
fn what_spreads_too_much_says_what_it_would_take() {
    let noisy = |from: u64| {
        let mut profiles = repeats(6, 1.0, from);
        for (profile, at) in profiles.iter_mut().zip(0_u64..) {
            slower(profile, 0, (at * 7 + from) as i64 % 5 * 800);
        }
        profiles
    };
    let found = judged(noisy(0), noisy(101));
    assert_eq!(found.verdict, Verdict::Undecided);
    let text = found.arithmetic().expect("the test has it");
    assert!(text.contains("a pair spreads by") && text.contains("decide at 1 %"), "{text}");
    assert!(found.total.pairs_needed.is_some_and(|pairs| pairs > 6.0), "{:?}", found.total);
}

#[test]
fn different_work_and_no_work_are_refused() {
    let mut empty = repeats(6, 1.0, 100);
    empty[1].paths.clear();
    let result = judge(&Set::of("a", repeats(6, 1.0, 0)), &Set::of("b", empty), 0.01, Vec::new());
    assert!(matches!(result, Err(Failure::Usage(text)) if text.contains("b-2.prof holds no packet")));
    let mut stream = repeats(6, 1.0, 100);
    for profile in &mut stream {
        let benchmark = profile.meta.benchmark.as_mut().expect("the test has it");
        (benchmark.transactions_per_s, benchmark.throughput_bits_per_s) = (None, Some(1e9));
    }
    let result = judge(&Set::of("a", repeats(6, 1.0, 0)), &Set::of("b", stream), 0.01, Vec::new());
    assert!(matches!(result, Err(Failure::Usage(text)) if text.contains("did request-response and b-1.prof stream")));
}

#[test]
fn the_values_of_both_sides_never_contradict_the_change() {
    let scaled = |from: u64, times: [f64; 6]| {
        let mut profiles = repeats(6, 1.0, from);
        for (profile, times) in profiles.iter_mut().zip(times) {
            let benchmark = profile.meta.benchmark.as_mut().expect("the test has it");
            benchmark.transactions_per_s = Some(50_000.0 / times);
        }
        profiles
    };
    // Medians 1.0 and 1.05, but one pair is so much faster that the mean of the logarithms is below 0.
    let found = judged(scaled(0, [1.0, 1.0, 1.0, 1.0, 1.0, 9.0]), scaled(100, [1.05, 1.05, 1.05, 1.05, 1.05, 1.0]));
    let change = found.total.change().expect("the test has it");
    assert!(change < -0.1, "{change}");
    let ratio = found.total.target / found.total.baseline;
    assert!((ratio - 1.0 - change).abs() < 1e-9, "{ratio} {change}");
    for figure in found.all().filter(|figure| figure.change().is_some_and(|change| change.abs() > 1e-9)) {
        let change = figure.change().expect("the test has it");
        assert_eq!(figure.target > figure.baseline, change > 0.0, "{figure:?}");
    }
}

#[test]
fn what_was_not_measured_each_time_is_no_total() {
    let mut target = repeats(6, 1.0, 100);
    let benchmark = target[3].meta.benchmark.as_mut().expect("the test has it");
    benchmark.transactions_per_s = None;
    let found = judged(repeats(6, 1.0, 0), target);
    assert_eq!((found.total.key.title().as_str(), found.verdict), ("recorded time per transaction", Verdict::Ok));
    assert!(!found.others.iter().any(|figure| figure.key.title() == "time per transaction"));
}

/// Repeats whose sending is split by so many samples in TCP and IP, each with its own number.
fn sampled(from: u64, times: f64, samples: [[u64; 2]; 6]) -> Vec<Profile> {
    use crate::profile::CrossingRecord;
    use netstrata_common::Point;
    let mut profiles = repeats(6, times, from);
    for (profile, [tcp, ip]) in profiles.iter_mut().zip(samples) {
        let rows = [1, 2].map(|netns| {
            let place = Some(CrossingRecord { point: Point::Send, netns, ifindex: 0 });
            [
                (1, 0, Some("tcp_write_xmit;tcp_sendmsg_locked;tcp_sendmsg;do_syscall_64"), place, tcp),
                (1, 0, Some("ip_output;__tcp_transmit_skb;tcp_sendmsg_locked;tcp_sendmsg"), place, ip),
            ]
        });
        profile.cpu = crate::cpu::testdata::profile(&rows.concat()).cpu;
    }
    profiles
}

#[test]
fn few_samples_name_no_wrong_layer() {
    // TCP takes longer by 2000 ns, and IP 2500 ns as before: fewer than ten samples in a recording before, and more afterwards.
    let baseline = sampled(0, 1.0, [[6, 2], [5, 3], [7, 1], [6, 2], [6, 2], [6, 2]]);
    let target = sampled(100, 1.2, [[9, 3], [10, 2], [10, 2], [9, 3], [10, 2], [9, 3]]);
    let found = judged(baseline, target);
    assert_eq!(found.verdict, Verdict::Regressed);
    let names: Vec<String> = changed(&found).into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().any(|name| name.contains("tcp")), "{names:?}");
    assert!(!names.contains(&"ip service".to_owned()), "{names:?}");
    let ip = found.others.iter().find(|figure| figure.key.title() == "ip service").expect("it is shown");
    assert_eq!(ip.within.as_deref(), Some("ip + tcp service"), "{ip:?}");
    // A figure that is within another one is no case of its own.
    assert!(found.judged().all(|figure| figure.key.title() != "ip service"));
}

#[test]
fn layers_that_samples_tell_apart_stay_apart() {
    let many = |ip: u64| [[3 * (10_000 - ip), 3 * ip]; 6];
    let found = judged(sampled(0, 1.0, many(2500)), sampled(100, 1.2, many(2083)));
    let names: Vec<String> = changed(&found).into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"tcp service".to_owned()) && !names.iter().any(|name| name.contains("ip")), "{names:?}");
    assert!(found.others.iter().all(|figure| figure.within.is_none()));
}
