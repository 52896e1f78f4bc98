//! The profile: its data, its file, and reading what benchmarks print.

pub mod benchmark;
mod file;
mod model;

pub use file::{FORMAT_VERSION, ProfileError, read, write};
pub use model::*;
/// stub
pub fn parse_benchmark(_c: &[String], _o: &str) -> Option<Benchmark> {
    None
}
