//! Makes the runs of a plan that are not there yet: each group is a `netstrata lab run` of its own, here or in an emulated machine,
//! which removes what it made whatever happens to this program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::process::Command;

use super::{
    figures::minutes,
    lock,
    plan::{Effort, Group, Plan},
    store::Store,
};
use crate::{
    host::{child, process::die_with_parent, program, runtime, signal},
    note,
    output::printable,
};

/// How long a lab that is ended may take to remove what it made.
const GRACE: Duration = Duration::from_secs(60);
/// What a run may take: this many times what it should, and some more.
const PATIENCE: (f64, f64) = (4.0, 300.0);

/// What there is of a group.
#[derive(Debug)]
pub struct Measured {
    /// Its rounds.
    pub store: Store,
    /// Why there are fewer than there should be.
    pub failed: Option<String>,
    /// Whether all of it was there before.
    pub reused: bool,
}

/// What is done about runs that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// They are made.
    Measure,
    /// All are made anew.
    Fresh,
    /// None is made.
    Leave,
}

/// Measures what is missing.
///
/// # Errors
/// [`signal::Interrupted`] if a signal comes; what was measured until then is kept.
pub fn measure(plan: &Plan, keep: &Path, what: Missing, effort: &Effort) -> Result<Vec<Measured>> {
    signal::heed()?;
    let stores: Vec<Store> = plan.groups.iter().map(|group| Store::of(keep, group)).collect();
    let lacks = plan.groups.iter().zip(&stores).any(|(group, store)| missing(group, store).1 > 0);
    let measures = what == Missing::Fresh || what == Missing::Measure && lacks;
    // Until the end, since what is missing may be what another one makes just now.
    let _held = measures.then(|| lock::take(keep)).transpose()?;
    if what == Missing::Fresh {
        stores.iter().for_each(Store::forget);
    }
    let to_do: Vec<(Group, u32)> =
        plan.groups.iter().zip(&stores).map(|(group, store)| missing(group, store)).collect();
    let mut failed: Vec<Option<String>> = vec![None; plan.groups.len()];
    let mut progress = Progress::new(&to_do, effort.limit);
    let begun = Instant::now();
    for index in schedule(&to_do) {
        let (group, store) = (&to_do[index].0, &stores[index]);
        if failed[index].is_some() {
            continue;
        }
        if what == Missing::Leave {
            failed[index] = Some(not_kept(&plan.groups[index], keep, effort));
            continue;
        }
        if begun.elapsed().as_secs_f64() + progress.expected(group) > effort.limit.as_secs_f64() {
            let minutes = effort.limit.as_secs() / 60;
            failed[index] = Some(format!("was not measured: it would not have ended within {minutes} minutes"));
            continue;
        }
        progress.begin(group);
        if let Err(error) = round(group, store) {
            signal::check()?;
            progress.say(&format!("{}: measuring failed: {error:#}", group.work.text()));
            failed[index] = Some(format!("measuring failed: {error:#}"));
            continue;
        }
        progress.end(group);
    }
    progress.bar.finish_and_clear();
    let found = stores.into_iter().zip(failed).zip(to_do);
    Ok(found.map(|((store, failed), (_, rounds))| Measured { store, failed, reused: rounds == 0 }).collect())
}

/// Why runs are missing that are not to be made: those of another effort may be there.
fn not_kept(group: &Group, keep: &Path, effort: &Effort) -> String {
    let (other, said) = effort.other();
    let duration = if group.on.counted { other.counted } else { other.duration };
    let there = Store::of(keep, &Group { duration, ..group.clone() }).rounds(&BTreeSet::new());
    if there.is_empty() {
        return "was not measured".into();
    }
    format!("was not measured; what is kept was measured {said}: give --kept {said}")
}

/// The part of a group whose claims lack runs, and in how many rounds they are made.
pub fn missing(group: &Group, store: &Store) -> (Group, u32) {
    let lack = |modes: &BTreeSet<&'static str>| {
        let runs: u32 = store.rounds(modes).iter().map(|round| round.manifest.repeats).sum();
        (group.rounds * group.repeats).saturating_sub(runs)
    };
    let most = group.claims.values().map(lack).max().unwrap_or(0);
    (group.only(|modes| lack(modes) > 0), most.div_ceil(group.repeats.max(1)))
}

/// The rounds that are missing, by their groups: those here before emulated machines, which take longest; and the first rounds of
/// all of them before the second ones, so that works that are compared share what the machine does meanwhile.
fn schedule(to_do: &[(Group, u32)]) -> Vec<usize> {
    let rounds =
        to_do.iter().enumerate().flat_map(|(index, (_, rounds))| (0..*rounds).map(move |round| (index, round)));
    let mut all: Vec<(usize, u32)> = rounds.collect();
    all.sort_by_key(|(index, round)| (to_do[*index].0.on.kernel.is_some(), *round, *index));
    all.into_iter().map(|(index, _)| index).collect()
}

/// One round of a group.
fn round(group: &Group, store: &Store) -> Result<()> {
    let directory = store.next()?;
    let log = directory.join("said.txt");
    let said = || File::create(&log).with_context(|| format!("cannot write {}", log.display()));
    let mut command = Command::new(program::netstrata()?);
    command.args(["lab", "run"]).args(group.modes()).args(group.work.words());
    command.args(["--duration", &format!("{}ms", group.duration.as_millis())]);
    command.args(["--repeat", &group.repeats.to_string()]).arg("-o").arg(&directory);
    if let Some(kernel) = group.on.kernel {
        command.args(["--machine", &format!("emulated:{kernel}"), "--clock", group.on.clock().name()]);
    }
    command.stdout(Stdio::null()).stderr(said()?);
    // SAFETY: one system call about the child, which is async-signal-safe.
    unsafe { command.pre_exec(|| die_with_parent(libc::SIGTERM)) };
    let limit = Duration::from_secs_f64(PATIENCE.0 * group.seconds() + PATIENCE.1);
    let ended = runtime::wait(child::to_end(command, "netstrata lab run", limit, GRACE))?;
    let last = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing was said").to_owned();
        printable(line.strip_prefix("netstrata: ").unwrap_or(&line))
    };
    match ended {
        Some(status) if status.success() => store.complete(&directory, modes(group, &directory)?, group.repeats),
        Some(_) => anyhow::bail!("{}", last()),
        None => anyhow::bail!("it did not end within {:.0} minutes", limit.as_secs_f64() / 60.0),
    }
}

/// The modes of a round, with the reason where one was skipped.
fn modes(group: &Group, directory: &Path) -> Result<BTreeMap<String, Option<String>>> {
    let file = directory.join("comparison.json");
    let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let comparison: serde_json::Value = serde_json::from_slice(&text)?;
    let skipped = comparison["skipped"].as_array().cloned().unwrap_or_default();
    let reason = |mode: &str| {
        let of = skipped.iter().find(|skipped| skipped["mode"] == mode)?;
        Some(of["reason"].as_str().unwrap_or("it was skipped").to_owned())
    };
    Ok(group.modes().into_iter().map(|mode| (mode.to_owned(), reason(mode))).collect())
}

/// What is done, and how long it still takes: a bar on a terminal, lines elsewhere.
struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    /// Seconds that are left, as they were expected.
    left: f64,
    /// Seconds that passed for those that were expected.
    passed: (f64, f64),
    since: Instant,
    /// After which nothing more is begun.
    end: Instant,
}

impl Progress {
    fn new(to_do: &[(Group, u32)], limit: Duration) -> Self {
        use std::io::IsTerminal as _;
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let rounds = to_do.iter().map(|(_, rounds)| u64::from(*rounds)).sum();
        let bar = ProgressBar::with_draw_target(Some(rounds), target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        let left = to_do.iter().map(|(group, rounds)| f64::from(*rounds) * of_round(group)).sum();
        let now = Instant::now();
        Self { bar, is_terminal, left, passed: (0.0, 0.0), since: now, end: now + limit }
    }

    /// By how much this machine differs from what is expected of it.
    fn factor(&self) -> f64 {
        if self.passed.1 < 5.0 { 1.0 } else { (self.passed.0 / self.passed.1).clamp(0.5, 4.0) }
    }

    fn expected(&self, group: &Group) -> f64 {
        of_round(group) * self.factor()
    }

    fn begin(&mut self, group: &Group) {
        self.since = Instant::now();
        let modes = group.modes().into_iter().collect::<Vec<_>>().join(", ");
        let place = if group.on.kernel.is_some() { format!(" {}", group.on.text()) } else { String::new() };
        let limit = self.end.saturating_duration_since(self.since).as_secs_f64();
        let left = minutes((self.left * self.factor()).min(limit));
        let text = format!("{}: {modes}{place} ({left} left)", group.work.text());
        self.bar.set_message(text.clone());
        if !self.is_terminal {
            note!("netstrata: measuring {text}");
        }
    }

    fn end(&mut self, group: &Group) {
        self.left -= of_round(group);
        self.passed.0 += self.since.elapsed().as_secs_f64();
        self.passed.1 += of_round(group);
        self.bar.inc(1);
    }

    fn say(&self, what: &str) {
        self.bar.suspend(|| note!("netstrata: {what}"));
    }
}

fn of_round(group: &Group) -> f64 {
    group.seconds() / f64::from(group.rounds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::{model::Work, plan::On};

    fn group(kernel: Option<&'static str>) -> Group {
        Group {
            on: On { kernel, counted: false },
            work: Work([("workload", "tcp-rr".to_owned())].into()),
            duration: Duration::from_secs(1),
            rounds: 2,
            repeats: 3,
            claims: [(0, ["host", "bridge"].into()), (1, ["host", "vxlan"].into())].into(),
        }
    }

    #[test]
    fn rounds_take_turns_and_emulated_machines_come_last() {
        let to_do =
            |rounds: [u32; 3]| [Some("6.12"), None, None].map(group).into_iter().zip(rounds).collect::<Vec<_>>();
        assert_eq!(schedule(&to_do([1, 2, 2])), [1, 2, 1, 2, 0]);
        assert_eq!(schedule(&to_do([0, 0, 1])), [2]);
    }

    #[test]
    fn only_what_claims_lack_is_measured() {
        let keep = std::env::temp_dir().join(format!("netstrata-claims-lack-{}", std::process::id()));
        let group = group(None);
        let store = Store::of(&keep, &group);
        assert_eq!(missing(&group, &store), (group.clone(), 2));
        let made = |modes: &[&str], repeats| {
            let modes = modes.iter().map(|mode| ((*mode).to_owned(), None)).collect();
            store.complete(&store.next().expect("a directory"), modes, repeats).expect("a manifest");
        };
        made(&["bridge", "host"], 6);
        let (rest, rounds) = missing(&group, &store);
        assert_eq!((rest.modes(), rounds), (["host", "vxlan"].into(), 2));
        made(&["bridge", "host", "vxlan"], 3);
        assert_eq!(missing(&group, &store).1, 1);
        made(&["host", "vxlan"], 3);
        assert_eq!(missing(&group, &store).1, 0);
        fs::remove_dir_all(&keep).expect("it was made");
    }
}
