//! The profile: its data and its file.

mod batch;
mod file;
mod histogram;
mod leave_out;
pub mod measures;
mod model;
mod observer;
mod parts;
mod progress;
mod topology;
pub mod worker;

pub use batch::{BatchPath, BatchRecord, BatchTurns, BatchWork, MOST_BATCHES};
pub use file::{FORMAT_VERSION, ProfileError, read, write};
pub use histogram::{FAR, Far, Histogram};
pub use leave_out::Even;
pub use model::*;
pub use observer::*;
pub use progress::Progress;
pub use topology::*;
