//! From a profile to an account: pure, no kernel, no clock. The same profile gives the same account.

mod above;
mod conserved;
mod correction;
#[cfg(test)]
mod folding;
mod functions;
mod intervals;
mod known;
mod paths;
mod pooled;
mod sampler;
mod span;
mod spans;
mod totals;
mod trust;
mod xdp;

pub use conserved::{Conserved, Side, passed};
pub use correction::Correction;
pub use functions::FunctionTotal;
pub use intervals::{account_with_intervals, turn_interval};
pub use known::{Intervals, Of};
pub use paths::path_accounts;
pub use pooled::{Pooled, account_pooled};
pub use sampler::SamplerShare;
pub use span::{HookPart, PathAccount, PathIntervals, RowIntervals, Span};
pub use spans::{SpanClass, SpanKind, classify, device_name};
pub use totals::{Account, LayerTotal, Reconciliation, account};
pub use trust::{Doubt, Seen, Trust, Verdict, trust};
pub use xdp::{BehindXdp, behind_xdp};
