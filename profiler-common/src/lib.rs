//! What the kernel programs and the profiler share: the points of the datapath, the layers, the records that
//! pass through maps, and the histogram. No allocation, no kernel and no std.
#![no_std]

mod abi;
mod histogram;
mod layer;
mod lineage;
mod point;

pub use abi::*;
pub use histogram::{BUCKETS, bucket_high, bucket_low, bucket_of};
pub use layer::{Layer, LayerInfo};
pub use lineage::Edge;
pub use point::Point;
