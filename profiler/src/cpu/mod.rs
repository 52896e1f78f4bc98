//! The CPU account: kernel symbols to layers, samples to layers and contexts.

mod account;
mod classify;
#[cfg(test)]
mod page;
mod split;
mod symbols;
#[cfg(test)]
pub(crate) mod testdata;

pub use account::{Context, CpuAccount, Station, TaskAccount, TaskKey, account, context_of, of_traffic};
pub(crate) use account::{layer_of, stack_of};
pub use classify::{Classifier, InSpan};
pub use split::{Places, split_table, steady_table};
pub use symbols::{Class, RULES, Role, Rule, classify, strip};
