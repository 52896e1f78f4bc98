//! netstrata: follows packets through the network datapath of a live Linux host and accounts for their latency and
//! for the CPU time they cost, by layer and device.

pub mod analysis;
pub mod benchmark;
pub mod check;
pub mod choices;
pub mod claims;
pub mod cli;
pub mod cpu;
pub mod doctor;
pub mod exit;
pub mod explain;
pub mod failure;
pub mod host;
pub mod kernel;
pub mod lab;
pub mod logger;
pub mod machine;
pub mod measure;
pub mod merge;
pub mod numbers;
pub mod output;
#[cfg(test)]
mod page;
pub mod profile;
pub mod record;
pub mod report;
pub mod store;
pub mod threads;
pub mod topology;
pub mod units;
