//! What the programs timed of softirqs, as it is read from their table.

use anyhow::Result;
use netstrata_common::{Softirq, Vector};

use super::session::Session;
use crate::profile::SoftirqVector;

/// What was timed so far, by CPU and vector; without the kernel's own count of all.
pub fn timed(session: &Session) -> Result<Vec<SoftirqVector>> {
    let mut all = Vec::new();
    for (vector, cpus) in Vector::ALL.iter().copied().zip(session.per_cpu::<Softirq>("SOFTIRQ")?) {
        for (cpu, softirq) in cpus.into_iter().enumerate() {
            let Softirq { count, ns, waits, wait_ns, polls, polled, .. } = softirq;
            let cpu = cpu as u16;
            all.push(SoftirqVector { cpu, vector, total: 0, count, ns, waits, wait_ns, polls, polled });
        }
    }
    Ok(all)
}

/// What was timed between two readings, of those that ran; nothing was before the first one.
pub fn since(before: Vec<SoftirqVector>, mut now: Vec<SoftirqVector>) -> Vec<SoftirqVector> {
    now.iter_mut().zip(before).for_each(|(vector, before)| vector.take_out(before));
    now.retain(|vector| vector.count > 0 || vector.polls > 0);
    now
}
