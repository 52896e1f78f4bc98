//! From a profile to an account: pure, no kernel, no clock. The same profile gives the same account.

mod correction;
#[cfg(test)]
mod folding;
mod functions;
mod intervals;
mod paths;
mod span;
mod spans;
mod totals;
mod trust;

pub use correction::Correction;
pub use functions::FunctionTotal;
pub use intervals::{Intervals, Of, turn_interval};
pub use paths::path_accounts;
pub use span::{HookPart, PathAccount, PathIntervals, RowIntervals, Span};
pub use spans::{SpanClass, SpanKind, classify, device_name};
pub use totals::{Account, LayerTotal, Reconciliation, account, account_with_intervals};
pub use trust::{Doubt, Seen, Trust, Verdict, trust};
