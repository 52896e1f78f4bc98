//! A look at the load.

use netstrata_common::CpuState;

use super::kernel_counters::receive_softirqs;
use crate::host::clock::monotonic_ns;

/// What a look at the load saw.
#[derive(Default)]
pub(super) struct Look {
    /// CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// NET_RX softirqs so far.
    pub softirqs: u64,
    /// Packets chosen so far.
    pub followed: u64,
}

impl Look {
    pub fn now(states: &[CpuState]) -> Self {
        let followed = states.iter().map(|state| state.followed).sum();
        Self { at_ns: monotonic_ns(), softirqs: receive_softirqs(), followed }
    }
}
