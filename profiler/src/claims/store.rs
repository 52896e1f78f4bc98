//! Recordings that were made for claims are kept, and serve again: `DIR/KEY/round-N/` is a directory of `lab run`, with
//! `runs.json` beside its recordings once all of them were made.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::plan::Group;
use crate::host::facts::kernel_release;

const MANIFEST: &str = "runs.json";

/// What a round holds.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What was measured, where and with what: recordings serve those who ask for the same.
    pub key: String,
    /// The modes, with the reason where one could not run.
    pub modes: BTreeMap<String, Option<String>>,
    /// Runs of each mode.
    pub repeats: u32,
    /// When it was made: seconds since 1970.
    pub made: u64,
}

/// A round whose recordings can be used.
#[derive(Clone, Debug)]
pub struct Round {
    /// Its directory.
    pub directory: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
}

impl Round {
    /// The recordings of a mode, in turn; a run that left none is missing.
    pub fn recordings(&self, mode: &str) -> Vec<(u32, PathBuf)> {
        let name = |repeat: u32| {
            if self.manifest.repeats > 1 { format!("{mode}-{repeat}.prof") } else { format!("{mode}.prof") }
        };
        let files = (1..=self.manifest.repeats).map(|repeat| (repeat, self.directory.join(name(repeat))));
        files.filter(|(_, file)| file.is_file()).collect()
    }
}

/// The rounds of one group.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    key: String,
}

impl Store {
    /// For a group, in this directory.
    pub fn of(keep: &Path, group: &Group) -> Self {
        let release = group.on.kernel.map_or_else(kernel_release, |version| format!("emulated {version}"));
        let key = format!(
            "netstrata {}; Linux {release}; clock {}; {} ms; {}",
            env!("CARGO_PKG_VERSION"),
            group.on.clock().name(),
            group.duration.as_millis(),
            group.work.words().join(" "),
        );
        let workload = group.work.get("workload").unwrap_or(crate::choices::DEFAULT_WORKLOAD);
        let directory = keep.join(format!("{workload}-{:08x}", crc32fast::hash(key.as_bytes())));
        Self { directory, key }
    }

    /// Rounds that hold all of these modes.
    pub fn rounds(&self, modes: &BTreeSet<&'static str>) -> Vec<Round> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut found: Vec<(u32, Round)> = entries
            .filter_map(|entry| {
                let number = number(&entry.path())?;
                let manifest: Manifest = serde_json::from_slice(&fs::read(entry.path().join(MANIFEST)).ok()?).ok()?;
                let serves = manifest.key == self.key && modes.iter().all(|mode| manifest.modes.contains_key(*mode));
                serves.then_some((number, Round { directory: entry.path(), manifest }))
            })
            .collect();
        found.sort_by_key(|(number, _)| *number);
        found.into_iter().map(|(_, round)| round).collect()
    }

    /// A directory for the next round. What a round left that was cut off goes.
    pub fn next(&self) -> Result<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| {
            let number = number(&entry.path())?;
            if entry.path().join(MANIFEST).is_file() {
                return Some(number);
            }
            let _ = fs::remove_dir_all(entry.path());
            None
        });
        let directory = self.directory.join(format!("round-{}", numbers.max().unwrap_or(0) + 1));
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(directory)
    }

    /// A round is complete.
    pub fn complete(&self, directory: &Path, modes: BTreeMap<String, Option<String>>, repeats: u32) -> Result<()> {
        let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let manifest = Manifest { key: self.key.clone(), modes, repeats, made };
        let file = directory.join(MANIFEST);
        let text = serde_json::to_string_pretty(&manifest)?;
        fs::write(&file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }

    /// Removes all rounds: they are measured anew.
    pub fn forget(&self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("round-")?.parse().ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::claims::{model::Work, plan::On};

    #[test]
    fn complete_rounds_serve_who_asks_for_the_same_and_cut_off_ones_go() {
        let keep = std::env::temp_dir().join(format!("netstrata-claims-test-{}", std::process::id()));
        let group = Group {
            on: On::default(),
            work: Work([("workload", "tcp-rr".to_owned())].into()),
            duration: Duration::from_secs(1),
            rounds: 1,
            repeats: 2,
            claims: [(0, ["bridge", "host"].into())].into(),
        };
        let store = Store::of(&keep, &group);
        assert!(store.rounds(&group.modes()).is_empty());
        let first = store.next().unwrap();
        assert_eq!(store.next().unwrap(), first, "it was not completed");
        fs::write(first.join("host-2.prof"), "").unwrap();
        store.complete(&first, [("host".into(), None), ("bridge".into(), Some("why".into()))].into(), 2).unwrap();
        assert_eq!(store.next().unwrap().file_name().unwrap(), "round-2");
        let rounds = store.rounds(&group.modes());
        assert_eq!(rounds.len(), 1, "the second is not complete");
        assert_eq!(rounds[0].recordings("host"), [(2, first.join("host-2.prof"))]);
        assert!(store.rounds(&["vxlan"].into()).is_empty(), "another mode was not measured");
        let longer = Group { duration: Duration::from_secs(2), ..group.clone() };
        assert!(Store::of(&keep, &longer).rounds(&group.modes()).is_empty());
        store.forget();
        assert!(store.rounds(&group.modes()).is_empty());
        fs::remove_dir_all(&keep).unwrap();
    }
}
