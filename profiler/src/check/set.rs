//! Two sets of recordings that may be compared: read, in the order in which they were made, and refused where they are not of
//! the same work on the same machine.

use std::path::{Path, PathBuf};

use super::figures::{By, Figures, figures};
use crate::{
    analysis::{Pooled, Verdict, account},
    choices::Clock,
    failure::Failure,
    output::printable,
    profile::{MergeError, Profile, comparable, read_each},
};

/// Recordings of one side.
#[derive(Debug)]
pub struct Set {
    /// What to call it.
    pub label: String,
    /// Each with its file, in the order in which they were made.
    pub recordings: Vec<(PathBuf, Profile)>,
}

impl Set {
    /// Reads a set.
    ///
    /// # Errors
    /// If a recording cannot be read.
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let (recordings, label) = read_each(paths)?;
        let readable = |(file, profile): (PathBuf, Profile)| (file, profile.readable());
        let recordings: Vec<_> = recordings.into_iter().map(readable).collect();
        let of = recordings.len();
        // What several are called tells how many they are.
        let label = if of > 1 && !label.ends_with(')') { format!("{label} ({of} recordings)") } else { label };
        Ok(Self { label: printable(&label), recordings })
    }

    /// A set of recordings that are there already.
    #[cfg(test)]
    pub fn of(label: &str, profiles: Vec<Profile>) -> Self {
        let named = profiles.into_iter().zip(1..);
        let recordings = named.map(|(profile, at)| (format!("{label}-{at}.prof").into(), profile)).collect();
        Self { label: label.into(), recordings }
    }

    /// When they began: by the date, or since the boot where one of all has no date.
    fn starts(&self, dated: bool) -> impl Iterator<Item = u64> {
        self.recordings
            .iter()
            .map(move |(_, profile)| if dated { profile.meta.began_unix_ns } else { profile.meta.started_ns })
    }
}

/// Calls both sides by where they lie, if their names alone do not tell them apart, or by what they are.
pub fn tell_apart(sets: [&mut Set; 2], paths: [&[PathBuf]; 2]) {
    let [baseline, target] = sets;
    if baseline.label != target.label {
        return;
    }
    let place = |paths: &[PathBuf]| paths.first().map(|path| path.display().to_string()).unwrap_or_default();
    let places = paths.map(place);
    let [one, other] = match places[0] == places[1] {
        true => ["baseline", "target"].map(str::to_owned),
        false => places,
    };
    baseline.label = format!("{} [{one}]", baseline.label);
    target.label = format!("{} [{other}]", target.label);
}

/// Whether a recording can be judged at all.
///
/// # Errors
/// [`Failure::Usage`] where it is void, or holds nothing of the work.
pub fn fits(file: &Path, profile: &Profile) -> anyhow::Result<()> {
    let trust = account(profile).trust;
    if trust.verdict == Verdict::Void {
        let name = file.display();
        return Err(usage(format!("{name} is void and not judged: {}", trust.reasons.join("; "))).into());
    }
    Ok(figures_of(file, profile, By::Pairs, None).map(drop)?)
}

/// The figures of a recording.
///
/// # Errors
/// [`Failure::Usage`] where it holds nothing of the work.
pub fn figures_of(file: &Path, profile: &Profile, by: By, pooled: Option<&Pooled>) -> Result<Figures, Failure> {
    figures(&profile.balanced(), by, pooled).ok_or_else(|| {
        usage(format!("{} holds no packet that reached a reader: record while the work runs", file.display()))
    })
}

/// A refusal, in a sentence.
fn usage(text: String) -> Failure {
    Failure::Usage(text)
}

/// Whether two sets may be compared; what a reader should know of that.
///
/// # Errors
/// [`Failure::Usage`]: recordings of another kernel, machine, clock, work or way of recording; the same one twice; a void one.
pub fn compare(baseline: &Set, target: &Set) -> Result<Vec<String>, Failure> {
    let all = || baseline.recordings.iter().chain(&target.recordings);
    let named: Vec<(String, Profile)> =
        all().map(|(file, profile)| (file.display().to_string(), profile.clone())).collect();
    comparable(&named).map_err(|error| match error {
        MergeError::Unlike { one, other, what } => usage(format!("{one} and {other} cannot be compared: {what}")),
        other => usage(other.to_string()),
    })?;
    same_budget(&named)?;
    once_each(&named)?;
    let mut degraded = Vec::new();
    for (name, profile) in &named {
        let trust = account(profile).trust;
        match trust.verdict {
            Verdict::Void => return Err(usage(format!("{name} is void and not judged: {}", trust.reasons.join("; ")))),
            Verdict::Degraded => degraded.push(format!("{name} is degraded: {}", trust.reasons.join("; "))),
            Verdict::Ok => {}
        }
    }
    Ok(notes(baseline, target, &named, degraded))
}

/// A recording that may cost more takes more of the work's time.
fn same_budget(named: &[(String, Profile)]) -> Result<(), Failure> {
    let Some(((first, base), rest)) = named.split_first() else { return Ok(()) };
    let (one, budget) = (base.sampling.budget, |profile: &Profile| profile.sampling.budget);
    match rest.iter().find(|(_, profile)| (budget(profile) - one).abs() > 1e-6) {
        Some((name, profile)) => Err(usage(format!(
            "{first} and {name} cannot be compared: their budgets differ, {:.2} % and {:.2} %",
            100.0 * one,
            100.0 * budget(profile)
        ))),
        None => Ok(()),
    }
}

fn once_each(named: &[(String, Profile)]) -> Result<(), Failure> {
    let identity = |profile: &Profile| {
        let (meta, observer) = (&profile.meta, &profile.observer);
        (meta.started_ns, meta.duration_ns, observer.crossings, observer.followed_crossings, profile.sampling.followed)
    };
    let mut sorted: Vec<_> = named.iter().map(|(name, profile)| (identity(profile), name)).collect();
    sorted.sort();
    match sorted.windows(2).find(|two| two[0].0 == two[1].0) {
        Some(two) => Err(usage(format!("{} and {} hold the same recording: give each once", two[0].1, two[1].1))),
        None => Ok(()),
    }
}

fn notes(baseline: &Set, target: &Set, named: &[(String, Profile)], degraded: Vec<String>) -> Vec<String> {
    let mut notes = Vec::new();
    let clock = named.first().map_or(Clock::Wall, |(_, profile)| profile.meta.clock);
    notes.extend(clock.note().map(str::to_owned));
    if clock == Clock::Instructions {
        notes.push("counted is not time: no cache misses, no waiting for others; waits are not judged".into());
    }
    let dated = named.iter().all(|(_, profile)| profile.meta.began_unix_ns > 0);
    let ends = |set: &Set| set.starts(dated).min().zip(set.starts(dated).max());
    if let Some(((first, last), (other_first, other_last))) = ends(baseline).zip(ends(target)) {
        let several = baseline.recordings.len() > 1 && target.recordings.len() > 1;
        if clock == Clock::Wall && several && (last < other_first || other_last < first) {
            notes.push(
                "one set was made after the other: what the machine did in between counts as a change; make recordings in turns"
                    .into(),
            );
        }
    }
    let mut recorders: Vec<&str> = named.iter().map(|(_, profile)| profile.meta.recorder.as_str()).collect();
    recorders.sort_unstable();
    recorders.dedup();
    if recorders.len() > 1 {
        notes.push(format!("recorded by several versions of netstrata: {}", recorders.join(", ")));
    }
    match &degraded[..] {
        [] => {}
        [one] => notes.push(one.clone()),
        [first, rest @ ..] => notes.push(format!("{first}; and {} others are degraded", rest.len())),
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testdata::repeats;

    fn refused(change: impl Fn(&mut Profile)) -> String {
        let mut target = Set::of("target", repeats(6, 1.0, 100));
        change(&mut target.recordings[2].1);
        match compare(&Set::of("baseline", repeats(6, 1.0, 0)), &target) {
            Err(Failure::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused_by_name_in_a_sentence() {
        let kernel = refused(|profile| profile.meta.kernel = "6.1.0".into());
        assert!(
            kernel.contains("baseline-1.prof and target-3.prof cannot be compared: their kernels differ"),
            "{kernel}"
        );
        assert!(refused(|profile| profile.meta.clock = Clock::Instructions).contains("their clocks differ"));
        assert!(refused(|profile| profile.meta.tiers.push(netstrata_common::Tier::Function)).contains("tiers differ"));
        assert!(refused(|profile| profile.sampling.budget = 0.02).contains("budgets differ, 1.00 % and 2.00 %"));
        let work = refused(|profile| {
            profile.meta.benchmark.as_mut().expect("the test has it").workload = "udp-rr".into();
        });
        assert!(work.contains("workloads differ"), "{work}");
        assert!(refused(|profile| profile.meta.steal_share = 0.5).contains("target-3.prof is void and not judged"));
        assert!(refused(|profile| profile.meta.started_ns = 102).contains("hold the same recording"));
        let error = Set::read(&["no-such-file.prof".into()]).expect_err("there is no such file");
        assert_eq!(
            crate::profile::read("no-such-file.prof".as_ref()).expect_err("none").to_string(),
            error.to_string()
        );
    }

    #[test]
    fn sets_that_were_not_made_in_turns_are_told() {
        let found = compare(&Set::of("a", repeats(6, 1.0, 0)), &Set::of("b", repeats(6, 1.0, 100))).expect("alike");
        assert!(found.iter().any(|note| note.contains("made after the other")), "{found:?}");
        let mut turns = repeats(6, 1.0, 0);
        for profile in &mut turns {
            profile.meta.started_ns = 10 * profile.meta.started_ns + 5;
        }
        let mut others = repeats(6, 1.0, 0);
        others.iter_mut().for_each(|profile| profile.meta.started_ns *= 10);
        assert_eq!(compare(&Set::of("a", turns), &Set::of("b", others)).expect("alike"), Vec::<String>::new());
    }
}
