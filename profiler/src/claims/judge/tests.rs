use super::*;
use crate::claims::model::Work;

fn cell(mode: &'static str, pairs: &str) -> Cell {
    Cell { mode, work: Work([("pairs", pairs.to_owned())].into()) }
}

/// Cells of one group with six values each, a percent around a middle.
fn taken(group: usize, middles: &[(Cell, f64)], spread: f64) -> BTreeMap<Cell, Taken> {
    let values = |middle: f64, at: usize| {
        let turns = [1.0, -1.0, 0.5, -0.5, 0.2, -0.2];
        // Another order for each, or ratios would not spread.
        (0..6_u32).map(|turn| (turn, middle * (1.0 + spread * turns[(turn as usize + at) % 6]))).collect()
    };
    middles
        .iter()
        .enumerate()
        .map(|(at, (cell, middle))| (cell.clone(), Taken { group, values: values(*middle, at) }))
        .collect()
}

fn of_ratio(target: f64, is: Bound, spread: f64) -> Verdict {
    let (bridge, host) = (cell("bridge", "1"), cell("host", "1"));
    let found = taken(0, &[(bridge.clone(), target), (host.clone(), 1.0)], spread);
    judge(&Claimed::Value { of: vec![(bridge, 1.0), (host, -1.0)], is }, &found).verdict
}

#[test]
fn a_ratio_holds_holds_in_direction_is_contradicted_or_undecided() {
    let half = Bound::About { ratio: 0.44, within: 0.25 };
    assert_eq!(of_ratio(0.45, half, 0.01), Verdict::Holds);
    assert_eq!(of_ratio(0.8, half, 0.01), Verdict::HoldsInDirection);
    assert_eq!(of_ratio(1.2, half, 0.01), Verdict::Contradicted);
    assert_eq!(of_ratio(0.9, half, 0.5), Verdict::Undecided);
    assert_eq!(of_ratio(1.0, half, 0.01), Verdict::Contradicted, "known to be the same is not half");
    let double = Bound::About { ratio: 2.2, within: 0.25 };
    assert_eq!(of_ratio(2.0, double, 0.01), Verdict::Holds);
    assert_eq!(of_ratio(1.3, double, 0.01), Verdict::HoldsInDirection);
    assert_eq!(of_ratio(0.7, double, 0.01), Verdict::Contradicted);
}

#[test]
fn sameness_bounds_and_directions_are_judged_by_the_whole_interval() {
    assert_eq!(of_ratio(1.01, Bound::Equal(0.05), 0.01), Verdict::Holds);
    assert_eq!(of_ratio(1.2, Bound::Equal(0.05), 0.01), Verdict::Contradicted);
    assert_eq!(of_ratio(1.04, Bound::Equal(0.05), 0.05), Verdict::Undecided);
    let least = Bound::Between(Some(0.7), None);
    assert_eq!(of_ratio(0.8, least, 0.01), Verdict::Holds);
    assert_eq!(of_ratio(0.6, least, 0.01), Verdict::Contradicted);
    assert_eq!(of_ratio(0.7, least, 0.01), Verdict::Undecided);
    assert_eq!(of_ratio(1.5, Bound::More, 0.01), Verdict::Holds);
    assert_eq!(of_ratio(1.5, Bound::Less, 0.01), Verdict::Contradicted);
    assert_eq!(of_ratio(1.0, Bound::Less, 0.01), Verdict::Undecided);
}

#[test]
fn nothing_in_every_run_is_below_any_bound_and_above_none() {
    let bridge = cell("bridge", "1");
    let of = |is, zeros: u32| {
        let values = (0..6).map(|turn| (turn, if turn < zeros { 0.0 } else { 3.0 })).collect();
        let found = [(bridge.clone(), Taken { group: 0, values })].into();
        judge(&Claimed::Value { of: vec![(bridge.clone(), 1.0)], is }, &found).verdict
    };
    assert_eq!(of(Bound::Between(None, Some(0.1)), 6), Verdict::Holds);
    assert_eq!(of(Bound::Between(Some(0.1), None), 6), Verdict::Contradicted);
    assert_eq!(of(Bound::Between(None, Some(0.1)), 5), Verdict::Undecided, "a figure that is not 0 in one run");
    assert_eq!(of(Bound::More, 6), Verdict::Undecided);
}

#[test]
fn a_figure_alone_is_bounded_in_its_own_unit() {
    let veth = cell("bridge", "1");
    let claimed = |most| Claimed::Value { of: vec![(veth.clone(), 1.0)], is: Bound::Between(None, Some(most)) };
    let found = taken(0, &[(veth.clone(), 550.0)], 0.01);
    let finding = judge(&claimed(600.0), &found);
    assert_eq!(finding.verdict, Verdict::Holds);
    assert!((finding.found.expect("it has one").value - 550.0).abs() < 1.0);
    assert_eq!(judge(&claimed(500.0), &found).verdict, Verdict::Contradicted);
}

#[test]
fn an_order_holds_by_its_neighbours() {
    let cells = ["ovs", "macvlan", "bridge"].map(|mode| cell(mode, "1"));
    let verdict = |values: [f64; 3], spread| {
        let middles: Vec<_> = cells.iter().cloned().zip(values).collect();
        judge(&Claimed::Order(cells.to_vec()), &taken(0, &middles, spread))
    };
    assert_eq!(verdict([3.0, 2.0, 1.0], 0.01).verdict, Verdict::Holds);
    let finding = verdict([2.0, 1.0, 1.0], 0.01);
    assert_eq!(finding.verdict, Verdict::HoldsInDirection);
    assert_eq!(
        finding.steps.iter().map(|step| step.0.as_str()).collect::<Vec<_>>(),
        ["ovs / macvlan", "macvlan / bridge"]
    );
    assert_eq!(verdict([3.0, 1.0, 2.0], 0.01).verdict, Verdict::Contradicted);
    assert_eq!(verdict([1.0, 1.0, 1.0], 0.01).verdict, Verdict::Undecided);
}

#[test]
fn growth_is_judged_from_end_to_end_with_its_steps() {
    let cells = ["1", "5", "10"].map(|pairs| cell("bridge", pairs));
    let verdict = |values: [f64; 3], is| {
        // Each is a group of its own: other pairs are other runs.
        let found = cells.iter().zip(values).enumerate();
        let found = found.flat_map(|(group, (cell, value))| taken(group, &[(cell.clone(), value)], 0.01)).collect();
        judge(&Claimed::Growth { over: "pairs", cells: cells.to_vec(), is }, &found).verdict
    };
    assert_eq!(verdict([1.0, 2.0, 3.0], Bound::More), Verdict::Holds);
    assert_eq!(verdict([1.0, 2.0, 2.0], Bound::More), Verdict::HoldsInDirection);
    assert_eq!(verdict([3.0, 2.0, 1.0], Bound::More), Verdict::Contradicted);
    assert_eq!(verdict([3.0, 2.0, 1.0], Bound::Less), Verdict::Holds);
    assert_eq!(verdict([1.0, 1.0, 1.05], Bound::Equal(0.25)), Verdict::Holds);
    assert_eq!(verdict([1.0, 2.0, 2.1], Bound::About { ratio: 2.0, within: 0.25 }), Verdict::Holds);
}

#[test]
fn two_ratios_of_different_work_are_compared_with_the_errors_of_both() {
    let cells = [cell("vxlan", "tcp"), cell("host", "tcp"), cell("vxlan", "udp"), cell("host", "udp")];
    let [tcp, tcp_host, udp, udp_host] = cells.clone();
    let of = vec![(tcp.clone(), 1.0), (tcp_host.clone(), -1.0), (udp.clone(), -1.0), (udp_host.clone(), 1.0)];
    let mut found = taken(0, &[(tcp, 0.2), (tcp_host, 1.0)], 0.01);
    found.extend(taken(1, &[(udp, 0.6), (udp_host, 1.0)], 0.01));
    let finding = judge(&Claimed::Value { of, is: Bound::Less }, &found);
    assert_eq!(finding.verdict, Verdict::Holds);
    assert!((finding.found.expect("it has one").value - 1.0 / 3.0).abs() < 0.01);
}

#[test]
fn what_was_not_measured_is_zero_or_single_is_undecided_with_a_reason() {
    let host = cell("host", "1");
    let claimed = Claimed::Value { of: vec![(host.clone(), 1.0)], is: Bound::More };
    let reason = |values: &[f64]| {
        let values = (0..).zip(values.iter().copied()).collect();
        let finding = judge(&claimed, &[(host.clone(), Taken { group: 0, values })].into());
        assert_eq!(finding.verdict, Verdict::Undecided);
        finding.reason.expect("it has one")
    };
    assert!(reason(&[]).contains("no such figure"));
    assert!(reason(&[0.0, 1.0]).contains("is 0"));
    assert!(reason(&[1.0]).contains("one run"));
    assert_eq!(judge(&claimed, &BTreeMap::new()).verdict, Verdict::Undecided);
}
