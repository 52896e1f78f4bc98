//! The account of a slower mode against a faster one: pure, the same two profiles give the same bytes.
//!
//! What is a formula and what a prediction: `docs/explain.md`.

mod alone;
mod causes;
mod connection;
mod facts;
mod group;
mod json;
mod kind;
mod legs;
mod parts;
mod rr;
mod station;
mod stream;
mod sure;
mod svg;
mod table;
#[cfg(test)]
mod testdata;
mod text;
mod together;
mod transaction;
mod waterfall;
mod windows;

use std::process::ExitCode;

use netstrata_common::{End, Points, Protocol};

pub use alone::{Alone, alone};
pub use causes::{Cause, CauseName, Proof};
pub use kind::WorkKind;
pub use sure::{Figure, Of, Sure};
pub use together::{Shown, untold};
pub use transaction::{Leg, Transaction, Turn};
pub use waterfall::{Part, Remainder, Row, RowKind, Slot, Waterfall};

use crate::{
    analysis::{Account, Verdict, account_with_intervals},
    choices::Clock,
    cli::{ExplainArgs, ExplainFormat},
    failure::Failure,
    output::{Format, list, print, printable},
    profile::{self, Benchmark, PathRecord, Profile},
};

/// An explained share is sure if it is known within so much on either side.
const SURE: f64 = 0.2;
/// Measured differences below this share of the baseline are no difference.
const LEAST_DIFFERENCE: f64 = 0.02;

/// One of the two profiles in the account.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// Stem of the file's name, or what several are called.
    pub label: String,
    /// What ran, as its benchmark tells.
    pub benchmark: Option<Benchmark>,
    /// What the benchmark measured: transactions a second or bits a second.
    pub measured: Option<f64>,
    /// The same while journeys were observed, probes included, where that was a part of the run (request/response only).
    pub recorded: Option<f64>,
    /// The same, predicted from this profile's own spans without what the probes cost (request/response only).
    pub predicted: Option<f64>,
    /// The same with what the probes cost.
    pub predicted_raw: Option<f64>,
    /// Predicted from the baseline's measurement and the layers' differences (target only).
    pub predicted_from_baseline: Option<f64>,
    /// Verdict of the profile on itself.
    pub verdict: Verdict,
    /// Its reasons.
    pub reasons: Vec<String>,
    /// What one transaction consists of (request/response only).
    pub transaction: Option<Transaction>,
    /// The busiest station (streams only).
    pub station: Option<station::StationFacts>,
    /// Busy share of each CPU (0 to 1).
    pub cpus: Vec<(u16, f64)>,
}

/// The account of a target against a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What both did.
    pub kind: WorkKind,
    /// The faster profile.
    pub baseline: Side,
    /// The slower profile.
    pub target: Side,
    /// From baseline to target, layer by layer; it closes in integers.
    pub waterfall: Waterfall,
    /// Share of the measured difference that has a layer; none where nothing was measured or nothing differs.
    pub explained_share: Option<f64>,
    /// Whether a measured difference is too small to be split.
    pub no_difference: bool,
    /// Structural causes with the figures that prove them.
    pub causes: Vec<Cause>,
    /// What a reader should know about this comparison.
    pub notes: Vec<String>,
    /// What drove the clock of both.
    pub clock: Clock,
    /// How sure the figures are.
    pub sure: Sure,
    /// Rows that cannot be told apart: they are shown as one.
    pub together: Vec<Vec<Slot>>,
    /// How many recordings the side has that has more.
    pub recordings: u64,
}

impl Explanation {
    /// The explained share in percent, with half of its interval where that is known.
    pub fn percent(&self, share: f64) -> String {
        let half = self.sure.half(&Figure::Share).map_or(String::new(), |half| format!(" ± {:.0}", 100.0 * half));
        format!("{:.0}{half} %", 100.0 * share)
    }

    /// How many recordings of each it takes until the explained share is known within 20 points;
    /// `None` where it is, or where it is not known how sure it is.
    pub fn repeats_needed(&self) -> Option<u64> {
        self.explained_share?;
        let half = self.sure.half(&Figure::Share).filter(|half| *half > SURE)?;
        Some(((half / SURE).powi(2) * self.recordings as f64).ceil() as u64)
    }
}

/// Runs `netstrata explain`.
///
/// # Errors
/// [`Failure::Usage`] if the two did different work, [`Failure::Untrusted`] if one cannot be judged by, and whatever
/// reading the files gives.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let [baseline, target] = args.sides();
    let ((baseline, one), (target, other)) = (profile::read_set(&baseline)?, profile::read_set(&target)?);
    print(&rendered(baseline, target, [one, other], args.format)?)
}

/// An explanation in a format, as it is printed.
///
/// # Errors
/// As [`explain`] has them.
pub fn rendered(
    baseline: Profile,
    target: Profile,
    labels: [String; 2],
    name: ExplainFormat,
) -> anyhow::Result<String> {
    let (baseline, target) = (baseline.readable(), target.readable());
    (format(name).render)(&explain(&baseline, &target, &labels.map(|label| printable(&label)))?)
}

/// An explanation in a format.
pub type Render = fn(&Explanation) -> anyhow::Result<String>;

/// The format of a name of the command line: the only list.
pub fn format(name: ExplainFormat) -> Format<Render> {
    let (extension, render): (_, Render) = match name {
        ExplainFormat::Text => ("txt", text::render),
        ExplainFormat::Json => ("json", json::render),
        ExplainFormat::Svg => ("svg", svg::render),
    };
    Format { extension, render }
}

/// The formats, for programs.
pub fn formats() -> String {
    list("explain", format)
}

/// Explains why a target is slower than a baseline.
///
/// # Errors
/// [`Failure::Usage`] if the two did different work; [`Failure::Untrusted`] if a profile is void or holds nothing that
/// could be explained.
pub fn explain(baseline: &Profile, target: &Profile, labels: &[String; 2]) -> Result<Explanation, Failure> {
    let balanced = [baseline, target].map(Profile::balanced);
    let profiles = balanced.each_ref();
    let accounts = profiles.map(account_with_intervals);
    let accounts = accounts.each_ref();
    for ((profile, account), label) in profiles.iter().zip(&accounts).zip(labels) {
        if account.trust.verdict == Verdict::Void {
            return Err(Failure::Untrusted(format!("{label} is void: {}", account.trust.reasons.join("; "))));
        }
        if !profile.paths.iter().any(|path| path.packets > 0) {
            return Err(Failure::Untrusted(format!("{label} holds no journeys; record while the work runs")));
        }
    }
    let clocks = profiles.map(|profile| profile.meta.clock);
    if clocks[0] != clocks[1] {
        return Err(Failure::Usage(format!(
            "{} was recorded with a clock of {} and {} with one of {}: their times do not compare",
            labels[0],
            clocks[0].name(),
            labels[1],
            clocks[1].name()
        )));
    }
    let mut found = compare(profiles, accounts, labels, [None, None])?;
    sure::tell(&mut found, profiles, accounts, labels);
    Ok(found)
}

/// The account of two profiles, without how sure it is. Stations are those that are given, where they are.
fn compare(
    profiles: [&Profile; 2],
    accounts: [&Account; 2],
    labels: &[String; 2],
    stations: [Option<&station::StationFacts>; 2],
) -> Result<Explanation, Failure> {
    let mut notes = Vec::new();
    let (kind, compared) = choose(profiles, accounts, labels, &mut notes)?;
    for (profile, label) in profiles.iter().zip(labels) {
        notes.extend(profile.meta.benchmark_notes.iter().map(|note| format!("{label}: {note}")));
    }
    differing_work(profiles, &mut notes);
    let mut sides = [0, 1].map(|index| {
        let benchmark = profiles[index].meta.benchmark.clone();
        Side {
            label: labels[index].clone(),
            measured: benchmark.as_ref().filter(|_| compared).and_then(|benchmark| measured(kind, benchmark)),
            benchmark,
            recorded: None,
            predicted: None,
            predicted_raw: None,
            predicted_from_baseline: None,
            verdict: accounts[index].trust.verdict,
            reasons: accounts[index].trust.reasons.clone(),
            transaction: None,
            station: None,
            cpus: accounts[index].cpu.busy_in(profiles[index].meta.duration_ns),
        }
    });
    let many = compared && sides.iter().all(|side| pairs(side.benchmark.as_ref()) > 1.0);
    let full =
        |profiles, sides: &[Side; 2]| stations[0].is_some() || many && station::is_full(profiles, accounts, sides);
    let kind = if kind == WorkKind::RequestResponse && full(profiles, &sides) { WorkKind::Saturated } else { kind };
    let waterfall = match kind {
        WorkKind::RequestResponse => rr::waterfall(profiles, accounts, &mut sides, &mut notes)?,
        WorkKind::Saturated | WorkKind::Stream => {
            stream::waterfall(kind, profiles, accounts, &mut sides, &mut notes, stations)?
        }
    };
    let causes = causes::causes(kind, profiles, accounts, &sides);
    let [baseline, target] = sides;
    let both = baseline.measured.is_some() && target.measured.is_some();
    let no_difference = both && waterfall.delta().unsigned_abs() as f64 <= LEAST_DIFFERENCE * waterfall.baseline as f64;
    let explained_share = if both && !no_difference { waterfall.explained_share() } else { None };
    Ok(Explanation {
        kind,
        baseline,
        target,
        waterfall,
        explained_share,
        no_difference,
        causes,
        notes,
        clock: profiles[0].meta.clock,
        sure: Sure::default(),
        together: vec![],
        recordings: profiles.iter().map(|profile| profile.meta.parts.len().max(1) as u64).max().unwrap_or(1),
    })
}

fn measured(kind: WorkKind, benchmark: &Benchmark) -> Option<f64> {
    let rate = match kind {
        WorkKind::RequestResponse | WorkKind::Saturated => benchmark.transactions_per_s.or_else(|| {
            let trip = benchmark.round_trip_ns.filter(|ns| *ns > 0.0)?;
            Some(pairs(Some(benchmark)) * 1e9 / trip)
        }),
        WorkKind::Stream => benchmark.throughput_bits_per_s,
    };
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
}

/// Connections at one time; one where nothing is known.
fn pairs(benchmark: Option<&Benchmark>) -> f64 {
    f64::from(benchmark.and_then(|benchmark| benchmark.pairs).unwrap_or(1).max(1))
}

fn benchmark_kind(profile: &Profile) -> Option<WorkKind> {
    let benchmark = profile.meta.benchmark.as_ref()?;
    [WorkKind::RequestResponse, WorkKind::Stream].into_iter().find(|kind| measured(*kind, benchmark).is_some())
}

/// What both did, and whether both measured it.
fn choose(
    profiles: [&Profile; 2],
    accounts: [&Account; 2],
    labels: &[String; 2],
    notes: &mut Vec<String>,
) -> Result<(WorkKind, bool), Failure> {
    let known = profiles.map(benchmark_kind);
    let kinds = [0, 1].map(|index| known[index].unwrap_or_else(|| guess(profiles[index], accounts[index])));
    if kinds[0] != kinds[1] {
        let [first, second] = kinds.map(WorkKind::name);
        return Err(Failure::Usage(format!(
            "{} did {first} and {} {second}: give two profiles of the same work",
            labels[0], labels[1]
        )));
    }
    let compared = known.iter().all(Option::is_some);
    if !compared {
        let who = match known {
            [None, None] => "neither profile holds".to_owned(),
            [None, _] => format!("{} does not hold", labels[0]),
            _ => format!("{} does not hold", labels[1]),
        };
        notes.push(format!(
            "{who} a benchmark's result: taken as {} by its packets, and there is no measurement to compare with",
            kinds[0].name()
        ));
    }
    Ok((kinds[0], compared))
}

/// A request/response has about as many packets in both directions, or answers most of what it reads.
fn guess(profile: &Profile, account: &Account) -> WorkKind {
    let protocol = protocol(profile);
    let mut directions: std::collections::BTreeMap<(u32, u32), u64> = std::collections::BTreeMap::new();
    let mut packets = 0;
    for path in account.paths.iter().map(|path| &path.record).filter(|path| reaches_reader(path, protocol)) {
        if let (Some(first), Some(last)) = (path.crossings.first(), path.crossings.last()) {
            *directions.entry((first.netns, last.netns)).or_default() += path.packets;
            packets += path.packets;
        }
    }
    let answers: u64 = profile.turnarounds.iter().map(|turn| turn.ns.count).sum();
    let back = |&(from, to): &(u32, u32)| directions.get(&(to, from)).copied().unwrap_or(0);
    let both = directions
        .iter()
        .any(|(way, there)| way.0 != way.1 && *there.min(&back(way)) as f64 >= 0.8 * *there.max(&back(way)) as f64);
    if both || (packets > 0 && 2 * answers >= packets) { WorkKind::RequestResponse } else { WorkKind::Stream }
}

/// Workload, message size and pairs should be the same; it is said where they are not.
fn differing_work(profiles: [&Profile; 2], notes: &mut Vec<String>) {
    notes.extend(profiles[0].meta.clock.note().map(str::to_owned));
    let [Some(first), Some(second)] = profiles.map(|profile| profile.meta.benchmark.as_ref()) else { return };
    let mut differ = |what: &str, a: String, b: String| {
        if a != b {
            notes.push(format!("the {what} differ: {a} and {b}"));
        }
    };
    let number = |value: Option<u64>| value.map_or("unknown".into(), |value| value.to_string());
    differ("workloads", first.workload.clone(), second.workload.clone());
    differ("versions of IP", first.ip.unwrap_or(4).to_string(), second.ip.unwrap_or(4).to_string());
    differ("message sizes", number(first.message_bytes), number(second.message_bytes));
    differ("numbers of pairs", pairs(Some(first)).to_string(), pairs(Some(second)).to_string());
    let size = |benchmark: &Benchmark| {
        let sizes = benchmark.flows.iter().filter_map(|flows| flows.flow_bytes).map(|bytes| bytes.to_string());
        sizes.collect::<Vec<_>>().join(" and ")
    };
    differ("flow sizes", size(first), size(second));
    let machine = |profile: &Profile| format!("Linux {} with {} CPUs", profile.meta.kernel, profile.meta.cpus);
    differ("machines", machine(profiles[0]), machine(profiles[1]));
    let flow = |benchmark: &Benchmark| benchmark.flows.first().map(|flows| flows.mean_ns / 1e3);
    if let Some((first, second)) = flow(first).zip(flow(second)) {
        notes.push(format!(
            "a flow took {first:.1} and {second:.1} us in the mean: its packets overlap, so it is explained by its bytes; what it \
             waits for, as for its connection, is utilisation"
        ));
    }
}

/// The protocol whose packets do the work: the benchmark's if packets of it reached a reader, else the commonest.
fn protocol(profile: &Profile) -> Protocol {
    let copied = |protocol| {
        let of = profile.paths.iter().filter(|path| reaches_reader(path, protocol));
        of.map(|path| path.packets).sum::<u64>()
    };
    let workload = profile.meta.benchmark.as_ref().map_or("", |benchmark| benchmark.workload.as_str());
    let named = [Protocol::TCP, Protocol::UDP]
        .into_iter()
        .find(|protocol| protocol.name().is_some_and(|name| workload.starts_with(name)));
    if let Some(protocol) = named.filter(|protocol| copied(*protocol) > 0) {
        return protocol;
    }
    // Of equally common ones the lowest number.
    (0..=u8::MAX).rev().map(Protocol).max_by_key(|protocol| copied(*protocol)).unwrap_or_default()
}

/// Whether a path of this protocol ends with its reader. Small UDP messages are copied without a probe: such a journey
/// ends where the socket announces them.
fn reaches_reader(path: &PathRecord, protocol: Protocol) -> bool {
    path.protocol == protocol && (path.end.is_read() || is_announced(path))
}

/// A UDP message whose wake-up and copy were not seen.
fn is_announced(path: &PathRecord) -> bool {
    let last = path.crossings.last().map(|crossing| crossing.point);
    path.protocol == Protocol::UDP
        && matches!(path.end, End::Consumed | End::Absorbed)
        && last.is_some_and(|point| point.is_in(Points::ANNOUNCED))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::profile::measures::FlowTimes;
    use testdata::{labels, profile, rr, stream};

    #[test]
    fn instructions_do_not_compare_with_time_and_say_what_they_are() {
        let (mut first, mut second) = (rr(1, 20_000.0), rr(1, 10_000.0));
        second.meta.clock = Clock::Instructions;
        let error = explain(&first, &second, &labels()).expect_err("it is refused");
        assert!(matches!(error, Failure::Usage(_)) && error.to_string().contains("instructions"), "{error}");
        first.meta.clock = Clock::Instructions;
        let found = explain(&first, &second, &labels()).expect("both count instructions");
        assert!(found.notes.iter().any(|note| note.contains("counts instructions")), "{:?}", found.notes);
        assert!(json::render(&found).expect("the test has it").contains("\"clock\": \"instructions\""));
    }

    #[test]
    fn different_work_is_wrong_usage() {
        let error = explain(&rr(1, 20_000.0), &stream(&[]), &labels()).expect_err("it is refused");
        assert!(matches!(error, Failure::Usage(_)), "{error}");
        assert_eq!(error.to_string(), "fast did request-response and slow stream: give two profiles of the same work");
    }

    #[test]
    fn a_void_profile_and_one_without_journeys_are_not_judged() {
        let mut void = rr(1, 20_000.0);
        void.meta.steal_share = 0.5;
        let error = explain(&rr(1, 20_000.0), &void, &labels()).expect_err("it is refused");
        assert!(matches!(&error, Failure::Untrusted(reason) if reason.contains("hypervisor")), "{error}");
        let mut empty = rr(1, 20_000.0);
        empty.paths.clear();
        let error = explain(&empty, &rr(1, 20_000.0), &labels()).expect_err("it is refused");
        assert!(matches!(&error, Failure::Untrusted(reason) if reason.contains("no journeys")), "{error}");
    }

    #[test]
    fn without_a_benchmark_the_packets_tell_the_kind() {
        let (mut first, mut second) = (rr(1, 20_000.0), rr(2, 18_000.0));
        first.meta.benchmark = None;
        second.meta.benchmark = None;
        let found = explain(&first, &second, &labels()).expect("the test has it");
        assert_eq!(found.kind, WorkKind::RequestResponse);
        assert_eq!((found.baseline.measured, found.target.measured, found.explained_share), (None, None, None));
        assert!(found.notes[0].contains("no measurement"), "{:?}", found.notes);
        second.turnarounds.clear();
        second.paths.truncate(1);
        assert!(matches!(explain(&first, &second, &labels()), Err(Failure::Usage(_))));
        let mut one_way = stream(&[]);
        one_way.meta.benchmark = None;
        assert_eq!(explain(&one_way, &one_way, &labels()).expect("the test has it").kind, WorkKind::Stream);
    }

    #[test]
    fn flows_are_explained_by_their_bytes_and_their_times_are_told() {
        let flows = |mean_ns, bytes| {
            let mut profile = stream(&[]);
            let benchmark = profile.meta.benchmark.as_mut().expect("the test has it");
            let all =
                FlowTimes { class: "all".into(), count: 9, flow_bytes: Some(bytes), mean_ns, ..FlowTimes::default() };
            (benchmark.workload, benchmark.flows) = ("fct".into(), vec![all]);
            profile
        };
        let found = explain(&flows(5000.0, 10), &flows(7000.0, 20), &labels()).expect("the test has it");
        assert_eq!(found.kind, WorkKind::Stream);
        let notes = found.notes.join("\n");
        assert!(notes.contains("5.0 and 7.0 us") && notes.contains("the flow sizes differ: 10 and 20"), "{notes}");
    }

    #[test]
    fn the_protocol_is_the_benchmarks_or_the_commonest() {
        assert_eq!(protocol(&rr(1, 1.0)), Protocol::TCP);
        let mut profile = profile();
        assert_eq!(protocol(&profile), Protocol::default());
        profile.paths = rr(1, 1.0).paths;
        profile.paths[0].protocol = Protocol::UDP;
        profile.paths[0].packets += 1;
        assert_eq!(protocol(&profile), Protocol::UDP);
    }

    #[test]
    fn the_page_names_every_format() {
        let listed = formats();
        let names: Vec<&str> = listed.lines().filter_map(|line| line.split('\t').nth(1)).collect();
        let wanted = format!("[--format {}]", names.join("|"));
        assert!(include_str!("../../../docs/explain.md").contains(&wanted), "{wanted}");
    }

    #[test]
    fn the_same_profiles_give_the_same_bytes_in_every_format() {
        let draw = || {
            let found = explain(&rr(1, 20_000.0), &rr(3, 12_000.0), &labels()).expect("the test has it");
            let names = ExplainFormat::value_variants().iter();
            let drawn = names.map(|name| (format(*name).render)(&found).expect("the test has it"));
            drawn.collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }
}
