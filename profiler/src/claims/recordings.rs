//! What claims need of recordings: each file is read once, however many claims use it, and of what was read figures and sums stay.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::figures::Figure;
use crate::{
    analysis::account,
    host::signal,
    profile::{self, Profile, merge},
};

/// What a claim needs of a mode's recordings.
#[derive(Clone, Debug)]
pub struct Need {
    /// The group of runs and the mode: recordings of others are other files.
    pub of: (usize, &'static str),
    /// The recordings.
    pub files: Vec<PathBuf>,
    /// Its figure.
    pub figure: Figure,
    /// Whether layers are told, of all files together.
    pub explained: bool,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Recordings {
    values: BTreeMap<(PathBuf, Figure), f64>,
    sums: BTreeMap<Vec<PathBuf>, Profile>,
}

impl Recordings {
    /// Reads what is needed. The recordings of one mode are in memory at a time.
    ///
    /// # Errors
    /// If a recording cannot be read, and if a signal comes.
    pub fn read(needs: &[Need]) -> Result<Self> {
        let mut found = Self::default();
        let modes: BTreeSet<_> = needs.iter().map(|need| need.of).collect();
        for mode in modes {
            let own: Vec<&Need> = needs.iter().filter(|need| need.of == mode).collect();
            let files: BTreeSet<&PathBuf> = own.iter().flat_map(|need| &need.files).collect();
            let mut profiles: BTreeMap<&PathBuf, Profile> = BTreeMap::new();
            for file in files {
                signal::check()?;
                let profile = profile::read(file)?;
                let of_file = own.iter().filter(|need| need.files.contains(file));
                found.enter(file, &profile, of_file.map(|need| need.figure).collect());
                profiles.insert(file, profile);
            }
            let explained: BTreeSet<_> = own.iter().filter(|need| need.explained).map(|need| &need.files).collect();
            for files in explained {
                let named =
                    files.iter().filter_map(|file| Some((file.display().to_string(), profiles.get(file)?.clone())));
                // Those that cannot be added are not explained.
                if let Ok(sum) = merge(named.collect()) {
                    found.sums.insert(files.clone(), sum);
                }
            }
        }
        Ok(found)
    }

    fn enter(&mut self, file: &Path, profile: &Profile, figures: BTreeSet<Figure>) {
        let account = LazyCell::new(|| account(profile));
        for figure in figures {
            if let Some(value) = figure.of(profile, &account) {
                self.values.insert((file.to_owned(), figure), value);
            }
        }
    }

    /// A figure of a recording.
    pub fn value(&self, file: &Path, figure: Figure) -> Option<f64> {
        self.values.get(&(file.to_owned(), figure)).copied()
    }

    /// Recordings as one.
    pub fn sum(&self, files: &[PathBuf]) -> Option<&Profile> {
        self.sums.get(files)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_read_once_and_its_figures_serve_all_claims() {
        let directory = std::env::temp_dir().join(format!("netstrata-claims-read-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/profiles/tcp-rr-host.prof");
        let files: Vec<PathBuf> = ["a.prof", "b.prof"].map(|name| directory.join(name)).into();
        for file in &files {
            std::fs::copy(&fixture, file).unwrap();
        }
        let need = |figure: &str, files: &[PathBuf], explained| Need {
            of: (0, "host"),
            files: files.to_owned(),
            figure: Figure::find(figure).unwrap(),
            explained,
        };
        let [trip, softirqs] = ["round_trip_ns", "softirqs_per_packet"];
        let needs = [need(trip, &files, false), need(softirqs, &files[..1], false), need(trip, &files[..1], true)];
        let found = Recordings::read(&needs).unwrap();
        let value = |file: usize, name: &str| found.value(&files[file], Figure::find(name).unwrap());
        assert!(value(0, trip).unwrap() > 0.0 && value(1, trip) == value(0, trip));
        assert!(value(0, softirqs).is_some() && value(1, softirqs).is_none(), "nobody asked for it");
        assert!(found.sum(&files[..1]).is_some() && found.sum(&files).is_none());
        std::fs::remove_file(&files[1]).unwrap();
        assert!(Recordings::read(&needs).is_err());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
