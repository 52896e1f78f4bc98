//! The intervals that are known of figures, by what they are of.

use std::collections::BTreeMap;

use netstrata_common::{Hook, Layer, Vector};

use crate::cpu::{Context, TaskKey};

/// What a figure is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// A layer; none: what no layer has.
    Layer(Option<Layer>),
    /// A hooked function, by the layer that it is charged to.
    Function(Option<Layer>, Hook),
    /// A context.
    Context(Context),
    /// A task.
    Task(TaskKey),
    /// A CPU.
    Cpu(u16),
    /// A softirq vector on a CPU.
    Softirq(u16, Vector),
    /// Both instruments.
    Reconciliation,
    /// The correction for the probes' own cost.
    Correction,
    /// What the host's CPUs did for others: the hypervisor, and observing.
    Host,
}

/// By what they are of, and by the names that they have in reports.
pub(super) type Figures<T> = BTreeMap<Of, BTreeMap<&'static str, T>>;

/// 95 % intervals of the figures over all paths and of the CPU; none where there are too few batches, or a figure is the same in
/// all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intervals(pub(super) Figures<[f64; 2]>);

impl Intervals {
    /// The interval of a figure.
    pub fn of(&self, of: &Of, name: &str) -> Option<[f64; 2]> {
        self.0.get(of)?.get(name).copied()
    }

    /// All that are known of something, by name.
    pub fn all(&self, of: &Of) -> impl Iterator<Item = (&'static str, [f64; 2])> {
        self.0.get(of).into_iter().flatten().map(|(name, interval)| (*name, *interval))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(Of, &'static str, [f64; 2]); N]> for Intervals {
    fn from(known: [(Of, &'static str, [f64; 2]); N]) -> Self {
        let mut figures: Figures<[f64; 2]> = BTreeMap::new();
        for (of, name, interval) in known {
            figures.entry(of).or_default().insert(name, interval);
        }
        Self(figures)
    }
}
