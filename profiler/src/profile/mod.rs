//! The profile: its data, its file, and reading what benchmarks print.

pub mod benchmark;
mod clock;
mod file;
pub mod measures;
mod model;
mod parts;
pub mod worker;

pub use benchmark::parse as parse_benchmark;
pub use clock::{Clock, NS_PER_INSTRUCTION};
pub use file::{FORMAT_VERSION, ProfileError, read, write};
pub use model::*;
