//! The profile: its data and its file.

mod balance;
mod batch;
mod file;
mod files;
mod fold;
mod histogram;
mod leave_out;
mod limits;
mod looks;
pub mod measures;
mod merge;
mod model;
mod observer;
mod parts;
mod peers;
mod progress;
mod readable;
mod softirqs;
mod sound;
mod topology;
mod words;
pub mod worker;

pub use batch::{BatchCounts, BatchHost, BatchPath, BatchRecord, BatchTurns, BatchWork, MOST_BATCHES, turns_of};
#[doc(hidden)]
pub use file::parse;
pub use file::{FORMAT_VERSION, ProfileError, read, unsound, write, write_to, write_unfinished};
pub use files::{read_each, read_set};
pub use fold::{Folded, Kind, MOST_PATHS, is_of_class};
pub use histogram::{FAR, Far, Histogram};
pub use leave_out::Even;
#[cfg(test)]
pub(crate) use merge::tests::generated;
pub use merge::{MergeError, comparable, merge};
pub use model::*;
pub use observer::*;
pub use peers::Peer;
pub(crate) use peers::add_peers;
pub use progress::Progress;
pub use softirqs::*;
pub use topology::*;
