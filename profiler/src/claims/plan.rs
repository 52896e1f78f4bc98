//! Which runs tell what claims say: claims that share a machine and a work share its runs. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::model::{Cell, Claim, Test, Work};
use crate::choices::{Clock, DEFAULT_KERNEL, RunsOn};

/// Where runs are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct On {
    /// The kernel of an emulated machine; none is here.
    pub kernel: Option<&'static str>,
    /// Whether its clock counts instructions.
    pub counted: bool,
}

impl On {
    /// The clock.
    pub fn clock(self) -> Clock {
        if self.counted { Clock::Instructions } else { Clock::Wall }
    }

    /// In words.
    pub fn text(self) -> String {
        match (self.kernel, self.counted) {
            (None, _) => "here".into(),
            (Some(kernel), true) => {
                format!("in an emulated machine with Linux {kernel}, whose clock counts instructions")
            }
            (Some(kernel), false) => format!("in an emulated machine with Linux {kernel}"),
        }
    }
}

/// Why a mode cannot run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// In a sentence.
    pub reason: String,
    /// Whether another kernel would do.
    pub kernel: bool,
}

/// What is true of this machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// CPUs.
    pub cpus: u32,
    /// Modes that cannot run.
    pub lacking: BTreeMap<&'static str, Lacking>,
    /// Why works cannot run, where a program of others is missing.
    pub programs: BTreeMap<Work, String>,
    /// Why there are no emulated machines, if that is so.
    pub no_emulated: Option<String>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// How long a run measures.
    pub duration: Duration,
    /// The same on a clock that counts instructions, where a second takes ten.
    pub counted: Duration,
    /// Runs of each mode.
    pub runs: u32,
    /// The same on a clock that counts instructions, which repeats.
    pub counted_runs: u32,
    /// In how many rounds works are measured that are compared with each other.
    pub rounds: u32,
    /// After so long nothing more is begun.
    pub limit: Duration,
}

impl Effort {
    /// `--quick`.
    pub const QUICK: Self = Self {
        duration: Duration::from_millis(800),
        counted: Duration::from_millis(300),
        runs: 6,
        counted_runs: 3,
        rounds: 2,
        limit: Duration::from_secs(15 * 60),
    };
    /// Without it.
    pub const FULL: Self = Self {
        duration: Duration::from_secs(3),
        counted: Duration::from_secs(1),
        runs: 12,
        counted_runs: 6,
        rounds: 3,
        limit: Duration::from_secs(2 * 3600),
    };

    /// The other one, and how it is asked for.
    pub fn other(&self) -> (Self, &'static str) {
        if *self == Self::QUICK { (Self::FULL, "without --quick") } else { (Self::QUICK, "with --quick") }
    }
}

/// Runs that are made together, in turns.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Where.
    pub on: On,
    /// What is done.
    pub work: Work,
    /// How long a run measures.
    pub duration: Duration,
    /// How often the networks are built.
    pub rounds: u32,
    /// Runs of each mode in a round.
    pub repeats: u32,
    /// The claims that rest on it, each with the modes that it needs.
    pub claims: BTreeMap<usize, BTreeSet<&'static str>>,
}

impl Group {
    /// All modes.
    pub fn modes(&self) -> BTreeSet<&'static str> {
        self.claims.values().flatten().copied().collect()
    }

    /// The same with some of its claims only.
    pub fn only(&self, wanted: impl Fn(&BTreeSet<&'static str>) -> bool) -> Self {
        let mut some = self.clone();
        some.claims.retain(|_, modes| wanted(modes));
        some
    }

    /// About how long it takes, in seconds.
    pub fn seconds(&self) -> f64 {
        let modes = self.modes();
        let build: f64 = modes.iter().map(|mode| build_seconds(mode)).sum();
        let run = self.duration.as_secs_f64() + RUN_SECONDS;
        let slow = match self.on.kernel {
            None => 1.0,
            Some(_) => EMULATED,
        };
        let boot = if self.on.kernel.is_some() { BOOT_SECONDS } else { 0.5 };
        let runs = modes.len() as f64 * f64::from(self.repeats);
        f64::from(self.rounds) * (boot + slow * (build + runs * run))
    }
}

/// What a run takes beside its duration: the warm-up, and a recording's begin and end.
const RUN_SECONDS: f64 = 0.65;
/// How many times slower everything is on an emulated processor.
const EMULATED: f64 = 9.0;
/// Until an emulated machine is up.
const BOOT_SECONDS: f64 = 15.0;

fn build_seconds(mode: &str) -> f64 {
    match mode {
        "docker-overlay" | "docker-nat" => 15.0,
        _ if mode.starts_with("docker") => 3.0,
        _ if mode.starts_with("vm-") => 7.0,
        "routed" => 5.0,
        _ if mode.contains("ovs") => 0.6,
        _ => 0.15,
    }
}

/// What is measured, and on what each claim rests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The runs, those that tell most for their time first.
    pub groups: Vec<Group>,
    /// For each claim the group of each of its cells, or why it cannot be tested here.
    pub of: Vec<Result<BTreeMap<Cell, usize>, String>>,
}

impl Plan {
    /// Of claims.
    pub fn of(claims: &[&Claim], machine: &Machine, effort: &Effort, forced: (Option<RunsOn>, Option<Clock>)) -> Self {
        let mut groups: BTreeMap<(On, Work), Group> = BTreeMap::new();
        let mut places: Vec<Result<(On, Vec<Cell>), String>> = Vec::new();
        for (index, claim) in claims.iter().enumerate() {
            let place = claim.test.clone().and_then(|test| Ok((place(&test, machine, forced)?, test)));
            let place = place.map(|(on, test)| {
                let cells: Vec<Cell> = test.claimed.cells().into_iter().cloned().collect();
                let works: BTreeSet<&Work> = cells.iter().map(|cell| &cell.work).collect();
                let runs = if on.counted { effort.counted_runs } else { effort.runs };
                let rounds = match (test.figure.is_of_network(), works.len()) {
                    (true, _) => runs,
                    // An emulated machine takes its time to start, and does not drift.
                    (_, 1) => 1,
                    _ if on.counted => 1,
                    _ => effort.rounds,
                };
                for cell in &cells {
                    let group = groups.entry((on, cell.work.clone())).or_insert_with(|| Group {
                        on,
                        work: cell.work.clone(),
                        duration: if on.counted { effort.counted } else { effort.duration },
                        rounds: 1,
                        repeats: runs,
                        claims: BTreeMap::new(),
                    });
                    group.rounds = group.rounds.max(rounds);
                    group.repeats = runs.div_ceil(group.rounds);
                    group.claims.entry(index).or_default().insert(cell.mode);
                }
                (on, cells)
            });
            places.push(place);
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by(|one, other| cost(one).total_cmp(&cost(other)));
        let find = |on: On, cell: &Cell| groups.iter().position(|group| group.on == on && group.work == cell.work);
        let of = |(on, cells): (On, Vec<Cell>)| {
            cells.into_iter().filter_map(|cell| find(on, &cell).map(|group| (cell, group))).collect()
        };
        let of = places.into_iter().map(|place| place.map(of)).collect();
        Self { groups, of }
    }
}

/// Seconds for each claim that it tells something of.
fn cost(group: &Group) -> f64 {
    group.seconds() / group.claims.len().max(1) as f64
}

/// Where a claim is tested, or why it cannot be.
fn place(test: &Test, machine: &Machine, forced: (Option<RunsOn>, Option<Clock>)) -> Result<On, String> {
    let cells = test.claimed.cells();
    if let Some(reason) = cells.iter().find_map(|cell| machine.programs.get(&cell.work)) {
        return Err(reason.clone());
    }
    let lacking = cells.iter().find_map(|cell| machine.lacking.get(cell.mode));
    let kernel = match (forced.0.or(test.machine), lacking) {
        (Some(RunsOn::Emulated(kernel)), _) => Some(kernel.version),
        (_, None) => None,
        (Some(RunsOn::Here), Some(lacking)) => return Err(lacking.reason.clone()),
        (None, Some(lacking)) if lacking.kernel => Some(DEFAULT_KERNEL),
        (None, Some(lacking)) => return Err(lacking.reason.clone()),
    };
    if let (Some(_), Some(reason)) = (kernel, &machine.no_emulated) {
        return Err(reason.clone());
    }
    let clock = forced.1.or(test.clock).unwrap_or(if counts(test) { Clock::Instructions } else { Clock::Wall });
    let counted = kernel.is_some() && clock == Clock::Instructions;
    // Emulated machines have two CPUs, and one where instructions are counted.
    let there = if kernel.is_none() { machine.cpus } else { 2 - u32::from(counted) };
    match test.cpus.filter(|needed| *needed > there) {
        Some(needed) => Err(format!("needs {needed} CPUs, and there are {there}")),
        None => Ok(On { kernel, counted }),
    }
}

/// Whether a claim is about work, which instructions count, and not about who runs where and when.
fn counts(test: &Test) -> bool {
    let alone = |cell: &&Cell| ["pairs", "neighbours"].iter().all(|option| cell.work.get(option).is_none());
    let own = |cell: &&Cell| alone(cell) && cell.work.get("pin").is_none_or(|pin| pin == "same");
    let waits = test.figure.is_of_network() || test.figure.name.contains("cpu") || test.figure.name.contains("wait");
    !waits && test.claimed.cells().iter().all(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::read::read;

    const FILE: &str = r#"
[[claim]]
id = "stream"
statement = "a bridge keeps half"
figure = "throughput_bits_per_s"
mode = "bridge"
against = "host"
expect = { ratio = 0.5 }

[[claim]]
id = "busy"
statement = "and keeps its CPUs busy"
figure = "machine_busy_share"
mode = "macvlan"
against = "host"
expect = { direction = "more" }

[[claim]]
id = "grows"
statement = "it grows"
figure = "throughput_bits_per_s"
mode = "bridge"
expect = { growth = "up", over = "pairs", points = [2, 5] }

[[claim]]
id = "ovs"
statement = "like a bridge"
figure = "throughput_bits_per_s"
mode = "ovs"
against = "bridge"
expect = { equal = 0.05 }

[[claim]]
id = "docker"
statement = "like host"
figure = "throughput_bits_per_s"
mode = "docker-host"
against = "host"
needs = { cpus = 2 }
expect = { equal = 0.05 }

[[claim]]
id = "answers"
statement = "a container answers later"
figure = "first_answer_ns"
mode = "bridge"
against = "none"
workload = "tcp-rr"
expect = { direction = "more" }
"#;

    fn machine() -> Machine {
        let lacking = |reason: &str, kernel| Lacking { reason: reason.into(), kernel };
        Machine {
            cpus: 2,
            lacking: [("ovs", lacking("no openvswitch", true)), ("docker-host", lacking("no engine", false))].into(),
            ..Machine::default()
        }
    }

    fn plan(machine: &Machine, forced: (Option<RunsOn>, Option<Clock>)) -> Plan {
        let claims = read("test.toml", FILE).expect("it is right");
        Plan::of(&claims.iter().collect::<Vec<_>>(), machine, &Effort::QUICK, forced)
    }

    #[test]
    fn claims_of_the_same_work_share_its_runs() {
        let plan = plan(&machine(), (None, None));
        let shared =
            plan.groups.iter().find(|group| group.claims.keys().eq(&[0, 1])).expect("two claims share a group");
        assert_eq!(shared.modes().into_iter().collect::<Vec<_>>(), ["bridge", "host", "macvlan"]);
        assert_eq!((shared.rounds, shared.repeats), (1, Effort::QUICK.runs));
        assert_eq!(plan.groups.len(), 5, "pairs 2 and 5, another machine, another workload");
        let [one, other] = ["2", "5"].map(|pairs| {
            plan.groups.iter().find(|group| group.work.get("pairs") == Some(pairs)).expect("growth has its groups")
        });
        assert_eq!((one.rounds, other.rounds), (Effort::QUICK.rounds, Effort::QUICK.rounds));
        assert!(one.rounds * one.repeats >= Effort::QUICK.runs);
        let answers = plan.groups.iter().find(|group| group.claims.keys().eq(&[5])).expect("it has a group");
        assert_eq!((answers.rounds, answers.repeats), (Effort::QUICK.runs, 1), "a network each");
    }

    #[test]
    fn what_this_kernel_lacks_is_emulated_with_its_baseline_and_what_the_machine_lacks_is_not_testable() {
        let found = plan(&machine(), (None, None));
        let ovs = found.groups.iter().find(|group| group.modes().contains("ovs")).expect("it has a group");
        assert_eq!(ovs.on, On { kernel: Some(DEFAULT_KERNEL), counted: true });
        assert!(ovs.modes().contains("bridge") && ovs.claims.keys().eq(&[3]));
        assert_eq!(found.of[4], Err("no engine".into()));
        let here = plan(&machine(), (Some(RunsOn::Here), None));
        assert_eq!(here.of[3], Err("no openvswitch".into()));
        let none = Machine { no_emulated: Some("no qemu".into()), ..machine() };
        assert_eq!(plan(&none, (None, None)).of[3], Err("no qemu".into()));
    }

    #[test]
    fn cpus_that_are_missing_are_said_and_programs_too() {
        let one = Machine { cpus: 1, lacking: BTreeMap::new(), ..Machine::default() };
        assert_eq!(plan(&one, (None, None)).of[4], Err("needs 2 CPUs, and there are 1".into()));
        let work = Work([("workload", "tcp-rr".to_owned())].into());
        let without = Machine { programs: [(work, "no program".to_owned())].into(), ..machine() };
        assert_eq!(plan(&without, (None, None)).of[5], Err("no program".into()));
    }
}
