//! The profile: its data and its file.

mod batch;
mod file;
mod files;
mod histogram;
pub mod measures;
mod merge;
mod model;
mod observer;
mod parts;
mod topology;
pub mod worker;

pub use batch::{BatchPath, BatchRecord, BatchTurns, BatchWork, MOST_BATCHES};
pub use file::{FORMAT_VERSION, ProfileError, read, write};
pub use files::read_set;
pub use histogram::Histogram;
pub use merge::{MergeError, merge};
pub use model::*;
pub use observer::*;
pub use topology::*;
