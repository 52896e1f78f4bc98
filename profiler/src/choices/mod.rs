//! What can be chosen on the command line and is known by name in more than one room: a leaf, so that the command line
//! needs no room that does work.

mod clock;
mod kernel;
mod neighbour;
mod workload;

pub use clock::{Clock, NS_PER_INSTRUCTION};
pub use kernel::{
    DEFAULT_KERNEL, Files, KERNELS, Kernel, RunsOn, find_kernel, kernel_versions, parse_kernel, parse_runs_on,
};
pub use neighbour::{BUSY, FLOOD, Neighbour, parse_neighbour};
pub use workload::{
    Builtin, DEFAULT_WORKLOAD, Driver, ELEPHANT_BYTES, External, FLOW_BYTES, Program, Tool, Traffic, WORKLOADS,
    Workload, default_sizes, external_programs, workload_names,
};
