//! Facts of the running kernel: field offsets, symbols, what may be attached.

pub mod btf;
pub mod confine;
pub mod events;
pub mod places;
pub mod privilege;
pub mod symbols;
mod types;
