//! `netstrata claims`: whether what papers and people say of networks holds on this machine.
//!
//! A file of claims, what is measured for it, and the rule by which it is judged: `docs/claims.md`.

mod fields;
mod figures;
mod json;
mod judge;
mod junit;
mod lock;
mod markdown;
mod model;
mod plan;
mod read;
mod recordings;
mod run;
mod shipped;
mod store;
mod text;
mod why;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use anyhow::Result;

use self::{
    judge::{Estimated, Finding, Taken, Verdict},
    model::{Cell, Claim, Test},
    plan::{Effort, Lacking, Machine, On, Plan},
    recordings::{Need, Recordings},
    run::{Measured, Missing},
    store::Round,
    why::Why,
};
use crate::{
    choices::RunsOn,
    cli::{ClaimsArgs, ClaimsFormat},
    failure::Failure,
    host::{
        cpu,
        facts::kernel_release,
        runtime,
        signal::{self, Interrupted},
    },
    lab::{self, needs, programs},
    machine, note,
    output::{Format, list, print},
};

/// The complaint about a file of claims with this text, if there is one: what a search for odd files calls.
#[doc(hidden)]
pub fn complaint(name: &str, text: &str) -> Option<Failure> {
    read::read(name, text).err()
}

/// What was found of a claim.
#[derive(Debug)]
struct Answer<'a> {
    claim: &'a Claim,
    /// Where it was tested.
    on: Option<On>,
    finding: Finding,
    /// Why the slower mode is slower.
    why: Option<Why>,
    /// When its oldest runs were made: seconds since 1970.
    made: Option<u64>,
}

/// All claims of a run.
#[derive(Debug)]
struct Report<'a> {
    answers: Vec<Answer<'a>>,
    kernel: String,
    cpus: u32,
    /// Whether it was `--quick`.
    quick: bool,
    /// How long it took.
    seconds: f64,
    /// Groups of runs, and those of them that were there before.
    groups: [usize; 2],
}

impl Report<'_> {
    fn count(&self, verdict: Verdict) -> usize {
        self.answers.iter().filter(|answer| answer.finding.verdict == verdict).count()
    }

    /// How many there are of each verdict, in a line.
    fn summary(&self) -> String {
        let some =
            Verdict::ALL.iter().map(|verdict| (self.count(*verdict), verdict.name())).filter(|(count, _)| *count > 0);
        let some: Vec<String> = some.map(|(count, name)| format!("{count} {name}")).collect();
        format!("{}: {}", in_words(self.answers.len()), some.join(", "))
    }

    /// What was measured with, in a line.
    fn machine(&self) -> String {
        let how = if self.quick { ", --quick" } else { "" };
        format!("netstrata {}, Linux {}, {} CPUs{how}", env!("CARGO_PKG_VERSION"), self.kernel, self.cpus)
    }

    fn exit_code(&self) -> u8 {
        match (self.count(Verdict::Contradicted), self.count(Verdict::Undecided)) {
            (0, 0) => 0,
            (0, _) => 4,
            _ => 1,
        }
    }
}

/// So many claims, in words.
fn in_words(count: usize) -> String {
    if count == 1 { "1 claim".into() } else { format!("{count} claims") }
}

/// Runs `netstrata claims`.
///
/// # Errors
/// [`Failure::Usage`] for files that are no claims, [`Failure::Refused`] without root, and whatever measuring gives.
pub fn run(args: &ClaimsArgs) -> Result<ExitCode> {
    let claims = claims(args)?;
    match runtime::in_thread("ns-claims", || answer(args, &claims)) {
        Ok(None) => Ok(ExitCode::SUCCESS),
        Ok(Some(report)) => {
            print(&(format(args.format).render)(&report)?)?;
            Ok(ExitCode::from(report.exit_code()))
        }
        Err(error) => match error.downcast_ref::<Interrupted>() {
            Some(Interrupted(number)) => {
                note!("netstrata: interrupted; runs that were complete are kept and serve again");
                Ok(ExitCode::from(128u8.saturating_add(*number as u8)))
            }
            None => Err(error),
        },
    }
}

/// The claims that are asked for.
fn claims(args: &ClaimsArgs) -> Result<Vec<Claim>> {
    let mut found: Vec<Claim> = Vec::new();
    let wanted: Vec<&str> = args.paper.iter().map(String::as_str).collect();
    let all = args.files.is_empty() && wanted.is_empty();
    for (name, text) in shipped::FILES {
        if all || wanted.iter().any(|paper| paper.eq_ignore_ascii_case(name)) {
            found.extend(read::read(&format!("{}.toml", name.to_lowercase()), text)?);
        }
    }
    if let Some(unknown) =
        wanted.iter().find(|paper| !shipped::FILES.iter().any(|(name, _)| paper.eq_ignore_ascii_case(name)))
    {
        let known = shipped::FILES.map(|(name, _)| name).join(", ");
        return Err(Failure::Usage(format!("there are no claims of `{unknown}`; there are those of: {known}")).into());
    }
    for file in &args.files {
        let shown = file.display();
        if crate::store::may_never_end(file) {
            return Err(Failure::Usage(format!("{shown} is no regular file; give one that holds claims")).into());
        }
        let text = fs::read_to_string(file).map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}")))?;
        found.extend(read::read(&shown.to_string(), &text)?);
    }
    let twice = found.iter().enumerate().find_map(|(at, claim)| {
        let other = found[..at].iter().find(|other| other.id == claim.id)?;
        Some(format!("{}: id: `{}` is that of the claim at {}", claim.written, claim.id, other.written))
    });
    if let Some(twice) = twice {
        return Err(Failure::Usage(twice).into());
    }
    if let Some(unknown) = args.only.iter().find(|id| !found.iter().any(|claim| claim.id == **id)) {
        return Err(Failure::Usage(format!("--only: there is no claim `{unknown}` here")).into());
    }
    found.retain(|claim| args.only.is_empty() || args.only.contains(&claim.id));
    Ok(found)
}

/// Measures and judges; `None` if only the plan was asked for.
fn answer<'a>(args: &ClaimsArgs, claims: &'a [Claim]) -> Result<Option<Report<'a>>> {
    signal::heed()?;
    let begun = Instant::now();
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let machine = machine(args, claims)?;
    let plan = Plan::of(&claims.iter().collect::<Vec<_>>(), &machine, &effort, (args.machine, args.clock));
    let keep = args.keep.clone().unwrap_or_else(|| machine::image::cache().join("claims"));
    if args.plan {
        print(&text::plan(&plan, claims, &keep))?;
        return Ok(None);
    }
    let what = match (args.fresh, args.kept) {
        (true, _) => Missing::Fresh,
        (_, true) => Missing::Leave,
        _ => Missing::Measure,
    };
    let measured = run::measure(&plan, &keep, what, &effort)?;
    let answers = judge_all(claims, &plan, &measured)?;
    let reused = measured.iter().filter(|group| group.reused).count();
    Ok(Some(Report {
        answers,
        kernel: kernel_release(),
        cpus: machine.cpus,
        quick: args.quick,
        seconds: begun.elapsed().as_secs_f64(),
        groups: [measured.len(), reused],
    }))
}

/// What this machine has of what the claims need.
fn machine(args: &ClaimsArgs, claims: &[Claim]) -> Result<Machine> {
    let cells: Vec<&Cell> =
        claims.iter().filter_map(|claim| claim.test.as_ref().ok()).flat_map(|test| test.claimed.cells()).collect();
    let modes: BTreeSet<&'static str> = cells.iter().map(|cell| cell.mode).collect();
    // What cannot be tested anywhere needs no privilege.
    let lacking = if modes.is_empty() { BTreeMap::new() } else { lab::lacking(modes)? };
    let lacking = lacking.into_iter().map(|(mode, (need, reason))| {
        (mode, Lacking { reason, kernel: matches!(need, needs::Need::Device(_) | needs::Need::Kernel(..)) })
    });
    let works: BTreeSet<_> = cells.iter().map(|cell| &cell.work).collect();
    let missing = |work: &&model::Work| -> Option<String> {
        let args = read::args(work).ok()?;
        programs::find(&args).err().map(|error| format!("{error:#}"))
    };
    let programs = works.into_iter().filter_map(|work| Some((work.clone(), missing(&work)?)));
    let no_emulated = match args.machine {
        Some(RunsOn::Here) => None,
        _ => machine::qemu::find().err().map(|error| format!("{error:#}")),
    };
    Ok(Machine {
        cpus: cpu::online()?.len() as u32,
        lacking: lacking.collect(),
        programs: programs.collect(),
        no_emulated,
    })
}

/// Why an emulated machine contradicts no claim about bytes.
const COPIES: &str = "the processor is emulated and takes long to copy bytes, which hides what layers take of a stream: \
    a real machine with this kernel would tell";

/// A claim that is tested, with its runs.
struct Tested<'a> {
    claim: &'a Claim,
    test: &'a Test,
    /// The group of each cell.
    of: &'a BTreeMap<Cell, usize>,
    /// Of each group the rounds that hold all modes of the claim: its ratios are those of one turn.
    rounds: BTreeMap<usize, Vec<Round>>,
}

impl<'a> Tested<'a> {
    fn new(number: usize, claim: &'a Claim, plan: &'a Plan, measured: &[Measured]) -> Result<Self, &'a str> {
        let (of, test) = match (&plan.of[number], &claim.test) {
            (Ok(of), Ok(test)) => (of, test),
            (Err(reason), _) | (_, Err(reason)) => return Err(reason),
        };
        let rounds =
            of.values().map(|group| (*group, measured[*group].store.rounds(&plan.groups[*group].claims[&number])));
        Ok(Self { claim, test, of, rounds: rounds.collect() })
    }

    /// The recordings of a cell in the order in which they were made, with the number of each one's turn and whether it is the first one of its
    /// network.
    fn files(&self, cell: &Cell) -> Vec<(u32, bool, PathBuf)> {
        let rounds = (0..).zip(&self.rounds[&self.of[cell]]);
        let of_round = |(number, round): (u32, &Round)| {
            let files = round.recordings(cell.mode).into_iter();
            files.map(move |(repeat, file)| (number * 1000 + repeat, repeat == 1, file)).collect::<Vec<_>>()
        };
        rounds.flat_map(of_round).collect()
    }

    fn paths(&self, cell: &Cell) -> Vec<PathBuf> {
        self.files(cell).into_iter().map(|(.., file)| file).collect()
    }

    /// What it needs of recordings.
    fn needs(&self) -> Vec<Need> {
        let explained = self.test.explained();
        let need = |(cell, group): (&Cell, &usize)| Need {
            of: (*group, cell.mode),
            files: self.paths(cell),
            figure: self.test.figure,
            explained: explained.is_some_and(|two| two.contains(&cell)),
        };
        self.of.iter().map(need).collect()
    }

    /// Why a mode of it did not run, though nothing failed.
    fn skipped(&self) -> Option<String> {
        let reason = |(cell, group): (&Cell, &usize)| {
            self.rounds[group].iter().find_map(|round| round.manifest.modes.get(cell.mode).cloned().flatten())
        };
        self.of.iter().find_map(reason)
    }

    /// The values of all cells. What is known of a network once is one value, however many runs it had.
    fn taken(&self, recordings: &Recordings) -> BTreeMap<Cell, Taken> {
        let figure = self.test.figure;
        let of_cell = |(cell, group): (&Cell, &usize)| {
            let counts = |first: bool| first || !figure.is_of_network();
            let files = self.files(cell).into_iter().filter(|(_, first, _)| counts(*first));
            let values = files.filter_map(|(turn, _, file)| Some((turn, recordings.value(&file, figure)?)));
            (cell.clone(), Taken { group: *group, values: values.collect() })
        };
        self.of.iter().map(of_cell).collect()
    }

    /// Why a verdict rests on fewer runs than it should.
    fn fewer(&self, found: Estimated, plan: &Plan, failed: Option<&String>) -> Option<String> {
        let wanted = |group: &usize| {
            let group = &plan.groups[*group];
            if self.test.figure.is_of_network() { group.rounds } else { group.rounds * group.repeats }
        };
        let wanted = self.of.values().map(wanted).min().unwrap_or(0) as usize;
        let why = failed.map_or("the others lack the figure in one of the modes", String::as_str);
        (found.runs < wanted).then(|| format!("{} runs of {wanted}: {why}", found.runs))
    }
}

/// The verdicts of all claims.
fn judge_all<'a>(claims: &'a [Claim], plan: &Plan, measured: &[Measured]) -> Result<Vec<Answer<'a>>> {
    let tested: Vec<_> =
        claims.iter().enumerate().map(|(number, claim)| Tested::new(number, claim, plan, measured)).collect();
    let needs: Vec<Need> = tested.iter().flatten().flat_map(Tested::needs).collect();
    let recordings = Recordings::read(&needs)?;
    let answer = |(claim, tested): (&'a Claim, &Result<Tested<'_>, &str>)| match tested {
        Ok(tested) => judged(claim, tested, plan, measured, &recordings),
        Err(reason) => {
            let finding = Finding::without(Verdict::NotTestable, *reason);
            Ok(Answer { claim, on: None, finding, why: None, made: None })
        }
    };
    claims.iter().zip(&tested).map(answer).collect()
}

/// The verdict of a claim by the recordings of its cells.
fn judged<'a>(
    claim: &'a Claim,
    tested: &Tested<'_>,
    plan: &Plan,
    measured: &[Measured],
    recordings: &Recordings,
) -> Result<Answer<'a>> {
    signal::check()?;
    let (of, test) = (tested.of, tested.test);
    let on = of.values().next().map(|group| plan.groups[*group].on);
    if let Some(reason) = tested.skipped() {
        let finding = Finding::without(Verdict::NotTestable, reason);
        return Ok(Answer { claim, on, finding, why: None, made: None });
    }
    let mut finding = judge::judge(&test.claimed, &tested.taken(recordings));
    let failed = of.values().find_map(|group| measured[*group].failed.as_ref());
    if let Some(found) = finding.found {
        finding.reason = finding.reason.or_else(|| tested.fewer(found, plan, failed));
    } else if finding.verdict == Verdict::Undecided && failed.is_some() {
        finding.reason = failed.cloned();
    }
    if finding.verdict == Verdict::Contradicted && on.is_some_and(|on| on.kernel.is_some()) && test.figure.is_of_bytes()
    {
        finding.verdict = Verdict::Undecided;
        finding.reason = Some(COPIES.into());
    }
    let different = finding.found.filter(Estimated::is_different);
    let why = test.explained().zip(different).and_then(|([one, other], found)| {
        // The one with more of a rate is faster, and so is the one with less of anything else.
        let faster_first = (found.value > 1.0) == test.figure.is_rate();
        let [faster, slower] = if faster_first { [one, other] } else { [other, one] };
        let sum = |cell: &Cell| recordings.sum(&tested.paths(cell));
        Some(why::why([(faster, sum(faster)?), (slower, sum(slower)?)], &tested.claim.causes))
    });
    let made = tested.rounds.values().flatten().map(|round| round.manifest.made).min();
    Ok(Answer { claim, on, finding, why, made })
}

/// A report in a format.
type Render = fn(&Report<'_>) -> Result<String>;

/// The format of a name of the command line: the only list.
fn format(name: ClaimsFormat) -> Format<Render> {
    let (extension, render): (_, Render) = match name {
        ClaimsFormat::Text => ("txt", text::render),
        ClaimsFormat::Json => ("json", json::render),
        ClaimsFormat::Junit => ("xml", junit::render),
        ClaimsFormat::Markdown => ("md", markdown::render),
    };
    Format { extension, render }
}

/// The formats, for programs.
pub fn formats() -> String {
    list("claims", format)
}

/// Where recordings are kept by default.
#[cfg(test)]
mod tests;
