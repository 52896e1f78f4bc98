//! Facts of the running kernel: field offsets, symbols, what may be attached.

pub mod doctor;
