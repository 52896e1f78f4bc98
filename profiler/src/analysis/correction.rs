//! The correction for the probes' own cost, as a whole: what was subtracted, and what could not be.

use super::span::PathAccount;

/// What the probes took of journeys by the model of their cost (`Observer`), weighted nanoseconds. A span cannot be
/// shorter than a part of it: where the model says so it is wrong, and the rest of the cost stands here, not in the spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Correction {
    /// Subtracted from spans.
    pub subtracted_ns: u64,
    /// What spans were too short for.
    pub unsubtracted_ns: u64,
}

impl Correction {
    /// Of all paths.
    pub fn of(paths: &[PathAccount]) -> Self {
        paths.iter().flat_map(|path| &path.spans).fold(Self::default(), |sum, span| Self {
            subtracted_ns: sum.subtracted_ns.saturating_add(span.probe_ns),
            unsubtracted_ns: sum.unsubtracted_ns.saturating_add(span.unsubtracted_ns),
        })
    }

    /// The share of the cost that could not be subtracted.
    pub fn unsubtracted_share(&self) -> f64 {
        let all = self.subtracted_ns as f64 + self.unsubtracted_ns as f64;
        if all > 0.0 { self.unsubtracted_ns as f64 / all } else { 0.0 }
    }
}
