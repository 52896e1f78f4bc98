//! Why a mode is slower, from the recordings of the same runs, and whether the causes show that a source names.

use super::{
    figures::number,
    model::{Cell, SaidCause, Shows},
};
use crate::{
    choices::Clock,
    explain::{CauseName, Explanation, Figure, Of, Row, Shown, Slot, explain},
    output::printable,
    profile::Profile,
};

/// A layer that takes less than this part of the difference is none that answers for it.
const LEAST: f64 = 0.05;
/// Layers that are told.
const ROWS: usize = 5;
/// Layers are told where their share of the difference is known within this on either side.
const SURE: f64 = 0.6;
/// Causes that CPU samples tell, of which there are none where instructions are counted.
const BY_SAMPLES: &[CauseName] = &[
    CauseName::SoftwareSegmentation,
    CauseName::ConntrackNat,
    CauseName::Netfilter,
    CauseName::Ovs,
    CauseName::OneCpuSaturated,
];

/// Why one mode is slower than another.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    /// The faster and the slower mode.
    pub modes: [&'static str; 2],
    /// The share of the difference that has a layer, in words.
    pub share: Option<String>,
    /// Layers with their part of the difference, the largest first.
    pub layers: Vec<(String, f64)>,
    /// Structural causes: name, sentence, and figures.
    pub causes: Vec<(&'static str, String, String)>,
    /// The causes that the source names.
    pub said: Vec<(String, Seen)>,
    /// Why nothing is told.
    pub reason: Option<String>,
}

/// Whether a cause shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// The recordings cannot tell.
    Unknown,
}

impl Seen {
    /// In output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "shows here, too",
            Self::No => "does not show here",
            Self::Unknown => "cannot be told here",
        }
    }

    /// In JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// Explains a mode against another one that is faster, or at least costs less, by the recordings of each as one.
pub fn why([faster, slower]: [(&Cell, &Profile); 2], said: &[SaidCause]) -> Why {
    let modes = [faster.0.mode, slower.0.mode];
    match explain(faster.1, slower.1, &modes.map(str::to_owned)) {
        Ok(found) => told(modes, &found, said),
        Err(failure) => Why {
            modes,
            share: None,
            layers: Vec::new(),
            causes: Vec::new(),
            said: said.iter().map(|cause| (cause.says.clone(), Seen::Unknown)).collect(),
            reason: Some(printable(&failure.to_string())),
        },
    }
}

fn told(modes: [&'static str; 2], found: &Explanation, said: &[SaidCause]) -> Why {
    let total = found.waterfall.delta() as f64;
    let part = |delta: i64| if total > 0.0 { delta as f64 / total } else { 0.0 };
    let mut layers: Vec<(String, f64)> =
        found.shown().iter().map(|row| (row_name(found, row), part(row.delta()))).collect();
    layers.retain(|(_, part)| part.abs() >= LEAST);
    layers.sort_by(|one, other| other.1.abs().total_cmp(&one.1.abs()));
    layers.truncate(ROWS);
    let unsure = found.sure.half(&Figure::Share).is_some_and(|half| half > SURE);
    let reason = if found.no_difference || total <= 0.0 {
        Some("it is not, by what the same runs did in a second")
    } else if unsure {
        Some("runs differ too much to tell which layers answer for it; longer runs without --quick may")
    } else {
        None
    };
    if reason.is_some() {
        layers.clear();
    }
    let causes = found.causes.iter().map(|cause| {
        let figures = cause.figures.iter().map(|proof| {
            // The name says that it is one.
            let unit = if matches!(proof.unit, "" | "share") { String::new() } else { format!(" {}", proof.unit) };
            let [one, other] = [proof.baseline, proof.target].map(number);
            format!("{}: {one} -> {other}{unit}", proof.name)
        });
        (cause.name.name(), cause.sentence.clone(), figures.collect::<Vec<_>>().join("; "))
    });
    Why {
        modes,
        share: found.explained_share.map(|share| found.percent(share)),
        layers,
        causes: causes.collect(),
        said: said.iter().map(|cause| (cause.says.clone(), seen(found, cause.shows, reason.is_none()))).collect(),
        reason: reason.map(str::to_owned),
    }
}

fn row_name(found: &Explanation, row: &Shown) -> String {
    let kind = row.slots.first().map_or("", |slot| slot.kind());
    let name = found.name(row);
    if kind.is_empty() { name } else { format!("{name} ({kind})") }
}

/// Whether a cause shows; `is_sure`: layers can be told.
fn seen(found: &Explanation, shows: Shows, is_sure: bool) -> Seen {
    match shows {
        Shows::Cause(name) if found.causes.iter().any(|cause| cause.name == name) => Seen::Yes,
        Shows::Cause(name) if found.clock == Clock::Instructions && BY_SAMPLES.contains(&name) => Seen::Unknown,
        Shows::Cause(_) => Seen::No,
        Shows::Layer(_) if !is_sure => Seen::Unknown,
        Shows::Layer(layer) => {
            // Of what layers add: rare delays of a busy machine may be most of a difference.
            let layers =
                found.waterfall.rows.iter().filter(|row| matches!(row.slot, Slot::Layer(..) | Slot::Turnaround));
            let total: f64 = layers.map(|row| row.delta().max(0) as f64).sum();
            let rows: Vec<_> = found.waterfall.rows.iter().filter(|row| row.slot.name() == layer.name()).collect();
            let delta: i64 = rows.iter().map(|row| row.delta()).sum();
            let unsure = |row: &&&Row| {
                found.sure.may_be_nothing(&Figure::Row(row.slot, Of::Change), row.delta() as f64) == Some(true)
            };
            match delta as f64 {
                delta if total <= 0.0 || delta < LEAST * total => Seen::No,
                _ if rows.iter().filter(unsure).count() == rows.len() => Seen::Unknown,
                _ => Seen::Yes,
            }
        }
    }
}
