use super::*;

/// A generator of normal numbers that gives the same ones in each run.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Shares of the rounds of a simulation, and pairs in the mean.
#[derive(Debug)]
struct Rounds {
    regressed: f64,
    undecided: f64,
    pairs: f64,
}

const THRESHOLD: f64 = 0.01;
const ROUNDS: usize = 2000;

/// Checks that look again and again until they know.
fn simulate(spread: f64, disturbed: bool, shift: f64) -> Rounds {
    let mut random = Random(1);
    let (mut regressed, mut undecided, mut pairs) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let pair = |random: &mut Random| {
            let times = if disturbed && random.uniform() < 0.08 { 5.0 } else { 1.0 };
            shift + spread * times * random.normal()
        };
        let all: Vec<f64> = (0..96).map(|_| pair(&mut random)).collect();
        let decided = LOOKS.into_iter().find_map(|look| {
            let verdict = Estimate::of(&all[..look])?.alone(THRESHOLD);
            (verdict != Verdict::Undecided).then_some((verdict, look))
        });
        let (verdict, look) = decided.unwrap_or((Verdict::Undecided, 96));
        regressed += usize::from(verdict == Verdict::Regressed);
        undecided += usize::from(verdict == Verdict::Undecided);
        pairs += look;
    }
    let share = |count: usize| count as f64 / ROUNDS as f64;
    Rounds { regressed: share(regressed), undecided: share(undecided), pairs: share(pairs) }
}

/// (spread of a pair, some of them disturbed, undecided at most, pairs in the mean at most without a change)
const CELLS: [(f64, bool, f64, f64); 8] = [
    (0.005, false, 0.0, 10.0),
    (0.01, false, 0.0, 22.0),
    (0.02, false, 0.06, 60.0),
    (0.03, false, 0.45, 84.0),
    (0.005, true, 0.0, 13.0),
    (0.01, true, 0.01, 27.0),
    (0.02, true, 0.15, 69.0),
    (0.03, true, 0.6, 88.0),
];

#[test]
fn false_alarms_and_misses_are_as_rare_as_the_rule_says() {
    for (spread, disturbed, undecided, pairs) in CELLS {
        let (none, one) = (simulate(spread, disturbed, 0.0), simulate(spread, disturbed, THRESHOLD));
        println!("{spread} {disturbed}: {none:?} {one:?}");
        // One in a hundred, and what 2,000 rounds may make of it (four standard deviations).
        assert!(none.regressed <= 0.02, "{spread} {disturbed}: {none:?}");
        let missed = 1.0 - one.regressed - one.undecided;
        assert!(missed <= 0.02, "{spread} {disturbed}: {one:?}");
        assert!(none.undecided <= undecided && one.undecided <= undecided, "{spread} {disturbed}: {none:?} {one:?}");
        assert!(none.pairs <= pairs, "{spread} {disturbed}: {none:?}");
    }
}

#[test]
fn a_tenth_is_cut_off_at_either_end_where_there_are_enough() {
    let mut pairs: Vec<f64> = (0..20).map(|at| f64::from(at % 2) * 0.01).collect();
    let quiet = Estimate::of(&pairs).expect("enough");
    (pairs[0], pairs[1]) = (-5.0, 7.0);
    let disturbed = Estimate::of(&pairs).expect("enough");
    assert!((quiet.change - 0.005).abs() < 1e-12 && (disturbed.change - 0.005).abs() < 1e-12);
    assert!((disturbed.error - quiet.error).abs() < 1e-9, "{quiet:?} {disturbed:?}");
    assert_eq!(quiet.freedom, 15.0);
    // Of six nothing can be left out: mean and standard error as everybody knows them.
    let few = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0, 9.0]).expect("enough");
    assert!((few.change - 4.0).abs() < 1e-12 && (few.error - (8.0_f64 / 6.0).sqrt()).abs() < 1e-12, "{few:?}");
    assert_eq!((Estimate::of(&[1.0]), Estimate::of(&[1.0, f64::NAN])), (None, None));
}

#[test]
fn each_verdict_has_its_side_of_the_threshold() {
    let of = |change, error| Estimate { change, error, freedom: 11.0 }.alone(THRESHOLD);
    assert_eq!(of(0.0, 0.001), Verdict::Ok);
    assert_eq!(of(0.02, 0.001), Verdict::Regressed);
    assert_eq!(of(-0.02, 0.001), Verdict::Improved);
    assert_eq!(of(0.0, 0.02), Verdict::Undecided);
    // Sure, and too small to matter.
    assert_eq!(of(0.004, 0.000_1), Verdict::Ok);
    // Counted twice alike: nothing is spread.
    assert_eq!((of(0.0, 0.0), of(0.006, 0.0), of(0.004, 0.0)), (Verdict::Ok, Verdict::Regressed, Verdict::Ok));
}

#[test]
fn looks_are_few_and_what_is_between_them_waits() {
    assert_eq!([0, 5, 6, 11, 12, 95, 96, 500].map(look), [0, 0, 6, 6, 12, 48, 96, 96]);
    assert_eq!([0.0, 6.0, 6.1, 96.0, 97.0].map(look_from), [Some(6), Some(6), Some(12), Some(96), None]);
}

#[test]
fn the_least_likely_of_many_bears_all_of_them() {
    assert_eq!(holm(&[0.04, 0.001, 0.02], 0.05), [true; 3]);
    assert_eq!(holm(&[0.06, 0.001, 0.02], 0.05), [false, true, true]);
    assert_eq!(holm(&[0.02, 0.02, 0.02], 0.05), [false; 3]);
    assert!(holm(&[], 0.05).is_empty());
    // Twenty layers of pure noise, each of which would alarm in one of a hundred, together do in one of a hundred.
    let mut random = Random(3);
    let alarms = (0..2000).filter(|_| {
        let chances: Vec<f64> = (0..20).map(|_| random.uniform() / 2.0).collect();
        holm(&chances, 0.005).contains(&true)
    });
    let share = alarms.count() as f64 / 2000.0;
    assert!((0.002..0.03).contains(&share), "{share}");
}

#[test]
fn what_it_takes_grows_with_the_square_of_the_spread() {
    let pairs = [0.002, 0.01, 0.02, 0.13].map(|spread| pairs_for(spread, THRESHOLD));
    assert_eq!(pairs[..3], [6.0, 24.0, 48.0]);
    assert!((1400.0..1500.0).contains(&pairs[3]), "{pairs:?}");
    let twelve = Estimate { change: 0.0, error: 0.02 / 12_f64.sqrt(), freedom: 11.0 };
    let needed = 12.0 * twelve.times_needed(THRESHOLD);
    assert!((33.0..36.0).contains(&needed), "{needed}");
    // Far above the threshold it takes fewer: it only has to be told from none.
    let far = Estimate { change: 0.05, ..twelve };
    assert!(12.0 * far.times_needed(THRESHOLD) < 2.0);
}

#[test]
fn pairs_that_are_alike_are_told_and_independent_ones_are_not() {
    let mut random = Random(5);
    let mut mood = 0.0;
    let alike: Vec<f64> = (0..48)
        .map(|_| {
            mood = 0.7 * mood + random.normal();
            mood
        })
        .collect();
    assert!(likeness(&alike).is_some_and(|likeness| likeness > 0.3), "{:?}", likeness(&alike));
    let told = (0..200).filter(|_| likeness(&(0..24).map(|_| random.normal()).collect::<Vec<_>>()).is_some());
    assert!(told.count() <= 10);
    assert_eq!(likeness(&[1.0; 12]), None);
}
