//! What the kernel programs and the profiler share: the points of the datapath, the layers, the records that
//! pass through maps, and the histogram. No allocation, no kernel and no std.
#![no_std]

mod abi;
mod function;
mod histogram;
mod layer;
mod lineage;
#[cfg(feature = "user")]
mod pod;
mod point;
mod work;

pub use abi::*;
pub use function::{Hook, HookInfo, MAX_HOOKS, Take};
pub use histogram::{BUCKETS, bucket_high, bucket_low, bucket_of};
pub use layer::{Layer, LayerInfo};
pub use lineage::Edge;
pub use point::Point;
pub use work::*;
