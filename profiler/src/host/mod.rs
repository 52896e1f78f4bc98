//! This machine, its processes and this program as one of them: each fact, and each way to get at it, once.
//!
//! Everything here is live. What only thinks (profile, analysis, reports) must not use it.

pub mod changes;
pub mod child;
pub mod clock;
pub mod cpu;
pub mod descriptors;
pub mod emulated;
pub mod facts;
pub mod process;
pub mod program;
pub mod runs;
pub mod runtime;
pub mod shell;
pub mod signal;
