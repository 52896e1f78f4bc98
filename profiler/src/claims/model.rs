//! Claims: what is said of networks, and how it can be told.

use std::{collections::BTreeMap, fmt::Write as _};

use netstrata_common::Layer;

use super::figures::{Figure, number};
use crate::{
    choices::{Clock, RunsOn},
    explain::CauseName,
};

/// A claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Its name, unique in a run.
    pub id: String,
    /// What is said, in a sentence.
    pub statement: String,
    /// Who says it: a paper, a team.
    pub source: String,
    /// Where in it.
    pub place: String,
    /// The file and line that it stands in.
    pub written: String,
    /// Absolute figures of the source: what they were then, nothing that is judged.
    pub context: Option<String>,
    /// What else a reader should know: how the lab differs from what the source measured.
    pub note: Option<String>,
    /// How it is tested, or why it cannot be.
    pub test: Result<Test, String>,
    /// The causes that the source names.
    pub causes: Vec<SaidCause>,
}

/// How a claim is tested.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// What is compared.
    pub figure: Figure,
    /// What is claimed of it.
    pub claimed: Claimed,
    /// CPUs that it takes to tell.
    pub cpus: Option<u32>,
    /// The machine that is asked for.
    pub machine: Option<RunsOn>,
    /// The clock that is asked for.
    pub clock: Option<Clock>,
}

impl Test {
    /// The two cells whose recordings tell why they differ; none where it is not their traffic that does.
    pub fn explained(&self) -> Option<[&Cell; 2]> {
        if self.figure.is_of_network() { None } else { self.claimed.explained() }
    }
}

/// A mode with the work that is done in it: where a figure is taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The mode.
    pub mode: &'static str,
    /// The work.
    pub work: Work,
}

/// Options of `lab run` by name, as they are written on its command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work(pub BTreeMap<&'static str, String>);

/// Options that a claim may give: those of `lab run` that say what is done.
pub const OPTIONS: &[&str] = &[
    "workload",
    "size",
    "pairs",
    "pin",
    "neighbours",
    "flow_size",
    "elephants",
    "elephant_size",
    "wire_rate",
    "wire_delay",
    "mtu",
];

impl Work {
    /// The words of `lab run`.
    pub fn words(&self) -> Vec<String> {
        self.0.iter().flat_map(|(name, value)| [format!("--{}", name.replace('_', "-")), value.clone()]).collect()
    }

    /// An option's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// An option's value, or what it is without: for growth.
    pub fn point(&self, name: &str) -> &str {
        self.get(name).unwrap_or(if name == "pairs" { "1" } else { "none" })
    }

    /// In words, the workload first.
    pub fn text(&self) -> String {
        let mut out = self.get("workload").unwrap_or(crate::choices::DEFAULT_WORKLOAD).to_owned();
        for (name, value) in self.0.iter().filter(|(name, _)| **name != "workload") {
            let _ = match *name {
                "size" => write!(out, ", {value} B"),
                "pairs" => write!(out, ", {value} pairs"),
                name => write!(out, ", {} {value}", name.replace('_', " ")),
            };
        }
        out
    }
}

/// What is claimed.
#[derive(Clone, Debug, PartialEq)]
pub enum Claimed {
    /// Of a ratio, or of a figure itself where there is nothing to divide by.
    Value {
        /// The cells, multiplied (1) and divided (-1).
        of: Vec<(Cell, f64)>,
        /// What it is.
        is: Bound,
    },
    /// That cells come in an order, the largest first.
    Order(Vec<Cell>),
    /// How it grows.
    Growth {
        /// What it grows with: an option.
        over: &'static str,
        /// The cells, in the order of the option's values.
        cells: Vec<Cell>,
        /// How.
        is: Bound,
    },
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// About this: on the same side of 1, and within a part of it.
    About {
        /// The ratio that is claimed.
        ratio: f64,
        /// The part: 0.25 is from 0.8 to 1.25 times it.
        within: f64,
    },
    /// The same within a part.
    Equal(f64),
    /// Within these.
    Between(Option<f64>, Option<f64>),
    /// Above 1.
    More,
    /// Below 1.
    Less,
}

impl Bound {
    /// It in words.
    pub fn text(self) -> String {
        self.with(&number)
    }

    /// The same with values as they are printed.
    pub fn with(self, number: &dyn Fn(f64) -> String) -> String {
        match self {
            Self::About { ratio, within } => format!("about {} (within {:.0} %)", number(ratio), 100.0 * within),
            Self::Equal(within) => format!("equal within {:.0} %", 100.0 * within),
            Self::Between(Some(least), Some(most)) => format!("from {} to {}", number(least), number(most)),
            Self::Between(Some(least), None) => format!("at least {}", number(least)),
            Self::Between(None, Some(most)) => format!("at most {}", number(most)),
            Self::Between(None, None) => "anything".into(),
            Self::More => "more".into(),
            Self::Less => "less".into(),
        }
    }
}

impl Claimed {
    /// All cells.
    pub fn cells(&self) -> Vec<&Cell> {
        match self {
            Self::Value { of, .. } => of.iter().map(|(cell, _)| cell).collect(),
            Self::Order(cells) | Self::Growth { cells, .. } => cells.iter().collect(),
        }
    }

    /// The two cells between which layers can tell the difference: same work, other mode.
    pub fn explained(&self) -> Option<[&Cell; 2]> {
        let two = match self {
            Self::Value { of, .. } => [&of.first()?.0, &of.get(1)?.0],
            Self::Order(cells) => [cells.first()?, cells.last()?],
            Self::Growth { .. } => return None,
        };
        (two[0].work == two[1].work && two[0].mode != two[1].mode).then_some(two)
    }
}

/// A cause that a source names.
#[derive(Clone, Debug, PartialEq)]
pub struct SaidCause {
    /// In its words.
    pub says: String,
    /// How it would show.
    pub shows: Shows,
}

/// How a cause shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shows {
    /// As a cause that `explain` finds.
    Cause(CauseName),
    /// As time of a layer.
    Layer(Layer),
}
