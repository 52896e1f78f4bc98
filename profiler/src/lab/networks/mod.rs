//! The networks of the modes: a file for each family. The table in `modes.rs` names the function that builds a mode.

pub mod cni;
pub mod docker;
pub mod hosts;
pub mod local;
pub mod nat;
pub mod nested;
pub mod overlay;
pub mod ovs;
pub mod routed;
pub mod slave;
pub mod tap;
pub mod trunk;
pub mod user;
pub mod wire;
pub mod wireguard;
