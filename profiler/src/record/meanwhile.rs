//! What happened to the host in the time of a batch.

use std::time::{Duration, Instant};

use netstrata_common::CpuState;

use super::{bill::Bill, calibrate::Calibration};
use crate::{
    host::cpu::{CpuTimes, own_time},
    profile::BatchHost,
};

/// Not asked more often: reading what the CPUs did takes longer than a short batch may cost, and the kernel counts by ticks of some
/// milliseconds. What lies in several batches is then in the last of them; such are soon joined.
const SELDOM: Duration = Duration::from_millis(250);

/// What was known when it was asked last.
pub struct Meanwhile {
    asked: Instant,
    cpus: Option<CpuTimes>,
    /// By the programs, since the beginning; by this process, since it began.
    paid: (f64, Duration),
}

impl Meanwhile {
    /// A recording begins, in which nothing has been paid for.
    pub fn begin() -> Self {
        Self { asked: Instant::now(), cpus: CpuTimes::now().ok(), paid: (0.0, own_time().total()) }
    }

    /// Since it was asked last; nothing if that was just now, unless it is the last time.
    pub fn since(&mut self, last: bool, costs: &Calibration, states: &[CpuState]) -> BatchHost {
        if self.asked.elapsed() < SELDOM && !last {
            return BatchHost::default();
        }
        let now = CpuTimes::now().ok();
        let used = now.zip(self.cpus).and_then(|(now, before)| now.since(&before));
        let stolen = used.map_or(0.0, |used| used.stolen_share * used.elapsed_ns as f64 * f64::from(used.cpus));
        let (paid, before) = ((Bill::programs_ns(costs, states), own_time().total()), self.paid);
        let programs = (paid.0 - before.0).max(0.0);
        let paid_ns = programs as u64 + paid.1.saturating_sub(before.1).as_nanos() as u64;
        *self = Self { asked: Instant::now(), cpus: now.or(self.cpus), paid };
        BatchHost { stolen_ns: stolen as u64, paid_ns, drops: 0 }
    }
}
