//! Samples of several recordings of the same work together: where one has few, they tell whether a span is split at all, and how
//! where it has none. Without them a recording that happens to have a few more samples would be split where the next one is not, and
//! what lies between the two would pass for a cost that moved from one layer to another.

use std::collections::BTreeMap;

use netstrata_common::{Layer, Point};

use super::paths::{LEAST_SAMPLES, Ways, accounts_of, place_of, places};
use super::totals::{Account, account_of};
use crate::{
    cpu::{Places, split_table},
    profile::{CrossingRecord, Kind, Profile},
};

/// Samples of places by what these are in every recording: numbers of devices and namespaces differ.
#[derive(Clone, Debug, Default)]
pub struct Pooled(BTreeMap<(Point, Kind), Places>);

fn key(profile: &Profile, at: CrossingRecord) -> (Point, Kind) {
    (at.point, Kind::of(at.netns, at.ifindex, &profile.topology))
}

/// Samples that tell layers apart: what the probes themselves took does not.
fn telling(places: &Places) -> u64 {
    places.total() - places.layers.get(&Some(Layer::Observer)).copied().unwrap_or(0)
}

impl Pooled {
    /// Of all of them.
    pub fn of<'a>(profiles: impl Iterator<Item = &'a Profile>) -> Self {
        let mut all: BTreeMap<(Point, Kind), Places> = BTreeMap::new();
        for profile in profiles {
            for (at, own) in split_table(profile) {
                all.entry(key(profile, at)).or_default().merge(&own);
            }
        }
        Self(all)
    }

    /// The places of a recording as they split its spans: by its own samples where it has some, however few, else by all.
    fn places(&self, profile: &Profile) -> BTreeMap<CrossingRecord, Places> {
        let mut found = places(profile);
        let crossings = profile.paths.iter().flat_map(|path| &path.crossings).map(|crossing| place_of(*crossing));
        for at in crossings {
            let Some(all) = self.0.get(&key(profile, at)).filter(|all| telling(all) >= LEAST_SAMPLES) else { continue };
            let own = found.entry(at).or_default();
            if telling(own) == 0 {
                own.clone_from(all);
            }
        }
        for (at, own) in &mut found {
            let enough = self.0.get(&key(profile, *at)).is_some_and(|all| telling(all) >= LEAST_SAMPLES);
            if enough && own.total() < LEAST_SAMPLES {
                // As many as are asked for, in the same proportions.
                own.weigh(LEAST_SAMPLES);
            }
        }
        found
    }
}

/// The account of one of several recordings whose samples are pooled.
pub fn account_pooled(profile: &Profile, pooled: &Pooled) -> Account {
    account_of(profile, accounts_of(profile, &Ways::of(profile), &pooled.places(profile)))
}
