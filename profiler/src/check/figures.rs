//! The figures of one recording that are judged, each with its name.

use std::collections::{BTreeMap, BTreeSet};

use netstrata_common::{Layer, Tier};

use crate::{
    analysis::{Account, PathAccount, Pooled, account, account_pooled},
    choices::Clock,
    explain::{RowKind, Slot, WorkKind, alone},
    profile::Profile,
};

/// What a figure is of, in the order of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// What the work takes: one figure, which is judged alone.
    Total,
    /// The same by another instrument.
    Other,
    /// Time that a CPU works.
    Service,
    /// How often.
    Count,
    /// Time in queues.
    Wait,
}

impl Group {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Total | Self::Other => "total",
            Self::Service => "service",
            Self::Count => "count",
            Self::Wait => "wait",
        }
    }
}

/// What a benchmark measures.
const MEASURED: &str = "time per transaction";
/// The same of a stream.
const MEASURED_BYTE: &str = "time per byte";

/// What tells a figure from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it is of.
    pub group: Group,
    /// The layer, or what the figure is.
    pub name: String,
}

impl Key {
    /// The key of several together.
    pub fn joined(keys: &[Self]) -> Option<Self> {
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        keys.first().map(|first| Self::new(first.group, &names.join(" + ")))
    }

    fn new(group: Group, name: &str) -> Self {
        Self { group, name: name.to_owned() }
    }

    /// Whether the benchmark itself measured it.
    pub fn is_measured(&self) -> bool {
        self.group == Group::Total && [MEASURED, MEASURED_BYTE].contains(&self.name.as_str())
    }

    /// Its name with what it is of: `bridge service`.
    pub fn title(&self) -> String {
        match self.group {
            Group::Total | Group::Other => self.name.clone(),
            Group::Count if self.name.contains(" per ") => self.name.clone(),
            Group::Count => format!("{} crossings per packet", self.name),
            Group::Service | Group::Wait => format!("{} {}", self.name, self.group.name()),
        }
    }
}

/// The figures of a recording.
#[derive(Clone, Debug)]
pub struct Figures {
    /// What was done.
    pub kind: WorkKind,
    /// Each with its value; times are nanoseconds of a transaction or a byte.
    pub values: BTreeMap<Key, f64>,
    /// Those of layers that CPU samples told apart.
    pub sampled: BTreeSet<Key>,
}

impl Figures {
    /// Enters the sum of some as one more.
    pub fn join(&mut self, keys: &[Key], sum: &Key) {
        let ns = keys.iter().filter_map(|key| self.values.get(key)).sum();
        self.values.insert(sum.clone(), ns);
    }
}

/// Layers of spans that were split by CPU samples.
fn told_by_samples(account: &Account) -> BTreeSet<Layer> {
    let of_path = |path: &PathAccount| {
        let split: BTreeSet<usize> =
            path.spans.iter().filter(|span| span.tier == Tier::Sampling).map(|span| span.index).collect();
        let spans = path.spans.iter().filter(|span| split.contains(&span.index));
        spans.filter_map(|span| span.layer).collect::<Vec<_>>()
    };
    account.paths.iter().flat_map(of_path).collect()
}

/// Whose differences tell how sure a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Recordings.
    Pairs,
    /// Batches of one: what the benchmark measured over all of it does not differ between them.
    Batches,
}

/// The figures of a recording; `None` where no packet reached a reader. `pooled` are the samples of all that are compared.
pub fn figures(profile: &Profile, by: By, pooled: Option<&Pooled>) -> Option<Figures> {
    let account = pooled.map_or_else(|| account(profile), |pooled| account_pooled(profile, pooled));
    let found = alone(profile, &account)?;
    let told = told_by_samples(&account);
    let mut sampled_keys = BTreeSet::new();
    let is_counted = profile.meta.clock == Clock::Instructions;
    let mut values = BTreeMap::new();
    let (mut service, mut wait) = (0.0, 0.0);
    for (slot, ns) in &found.layers {
        let group = match slot {
            Slot::Layer(Layer::Observer, _) => continue,
            Slot::Layer(_, RowKind::Wait) => Group::Wait,
            _ => Group::Service,
        };
        *(if group == Group::Wait { &mut wait } else { &mut service }) += ns;
        let by_samples = match slot {
            Slot::Layer(layer, RowKind::Service) => told.contains(layer),
            Slot::Layer(_, RowKind::Cpu) => true,
            _ => false,
        };
        if by_samples {
            sampled_keys.insert(Key::new(group, slot.name()));
        }
        if group == Group::Service || !is_counted {
            values.insert(Key::new(group, slot.name()), *ns);
        }
    }
    let measured = match by {
        By::Pairs => found.measured_ns,
        By::Batches => found.measured_in_batches_ns,
    };
    let stream = found.kind == WorkKind::Stream;
    let sampled = found.layers.keys().any(|slot| matches!(slot, Slot::Layer(_, RowKind::Cpu)));
    let (group, name, ns) = match (is_counted, stream, sampled) {
        (true, false, _) => (Group::Total, "service per transaction", service),
        (true, true, _) => (Group::Total, "service per byte", service),
        (false, false, _) => (Group::Other, "recorded time per transaction", service + wait),
        (false, true, true) => (Group::Other, "CPU time per byte", service),
        (false, true, false) => (Group::Other, "recorded service per byte", service),
    };
    values.insert(Key::new(group, name), ns);
    if let Some(ns) = measured.filter(|_| !is_counted) {
        values.insert(Key::new(Group::Total, if stream { MEASURED_BYTE } else { MEASURED }), ns);
    }
    values.extend(found.crossings.iter().map(|(layer, count)| (Key::new(Group::Count, layer.name()), *count)));
    values.extend(found.counts.iter().map(|(name, count)| (Key::new(Group::Count, name), *count)));
    Some(Figures { kind: found.kind, values, sampled: sampled_keys })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testdata::repeats;

    fn names(clock: Clock, by: By) -> Vec<String> {
        let mut profile = repeats(1, 1.0, 0).remove(0);
        profile.meta.clock = clock;
        let found = figures(&profile, by, None).expect("the test has it");
        found.values.keys().map(Key::title).collect()
    }

    #[test]
    fn the_total_comes_first_and_what_counts_instructions_has_no_waits() {
        let wall = names(Clock::Wall, By::Pairs);
        assert_eq!(wall[..2], ["time per transaction", "recorded time per transaction"]);
        assert!(wall.contains(&"backlog wait".into()) && wall.contains(&"userspace service".into()), "{wall:?}");
        assert!(wall.contains(&"backlog crossings per packet".into()), "{wall:?}");
        let counted = names(Clock::Instructions, By::Pairs);
        assert_eq!(counted[0], "service per transaction");
        assert!(!counted.iter().any(|name| name.contains("wait")), "{counted:?}");
        // Without what was done in each batch, the benchmark's figure is one and no more.
        assert_eq!(names(Clock::Wall, By::Batches)[0], "recorded time per transaction");
    }
}
