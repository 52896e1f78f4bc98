//! The profile: its data and its file.

mod clock;
mod file;
mod histogram;
pub mod measures;
mod model;
mod parts;
pub mod worker;

pub use clock::{Clock, NS_PER_INSTRUCTION};
pub use file::{FORMAT_VERSION, ProfileError, read, write};
pub use histogram::Histogram;
pub use model::*;
