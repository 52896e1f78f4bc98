//! What the kernel programs and the profiler share: the points of the datapath, the layers, the records that
//! pass through maps, and the histogram. No allocation, no kernel and no std.
#![no_std]

mod config;
mod cpu;
mod device;
mod edge;
mod end;
mod function;
mod histogram;
mod journey;
mod layer;
mod loss;
mod membership;
mod named;
mod offset;
mod path;
#[cfg(feature = "user")]
mod pod;
mod point;
mod program;
mod protocol;
mod sample;
mod tail;
mod tier;
mod turn;
mod vector;
mod work;

pub use config::*;
pub use cpu::*;
pub use device::*;
pub use edge::Edge;
pub use end::End;
pub use function::{ChargedTo, Hook, HookInfo, MAX_HOOKS, Take, Value};
pub use histogram::{BUCKETS, KEPT_BUCKETS, bucket_high, bucket_low, bucket_of};
pub use journey::*;
pub use layer::{Colour, Family, Layer, LayerInfo};
pub use loss::{Counter, Judged, Limit, Loss, LossInfo, Lost, Whole};
pub use membership::Membership;
pub use named::Named;
#[cfg(feature = "user")]
#[doc(hidden)]
pub use named::by_name;
#[doc(hidden)]
pub use named::check_names;
pub use offset::{OffsetInfo, Offsets};
pub use path::*;
pub use point::{Begins, Clones, DeviceFrom, Object, Point, PointInfo, Points, Stage, Then};
pub use program::*;
pub use protocol::Protocol;
pub use sample::*;
pub use tail::*;
pub use tier::{Tier, Way};
pub use turn::*;
pub use vector::Vector;
pub use work::*;
