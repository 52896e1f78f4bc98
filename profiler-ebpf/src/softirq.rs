//! Exact softirq times. These programs are attached in turns where softirqs are many.

use netstrata_common::{Softirq, Vector};

use crate::{cpu, maps::SOFTIRQ};

#[inline(always)]
fn vector(index: u32) -> Option<&'static mut Softirq> {
    // SAFETY: the entry is this CPU's own.
    SOFTIRQ.get_ptr_mut(index).map(|entry| unsafe { &mut *entry })
}

/// The first raise counts: a vector raised again before it ran waits since the first.
#[inline(always)]
pub fn raise(index: u32) {
    if let Some(softirq) = vector(index)
        && softirq.raise_ns == 0
    {
        softirq.raise_ns = cpu::now();
    }
}

#[inline(always)]
pub fn entry(index: u32) {
    let Some(softirq) = vector(index) else { return };
    let now = cpu::now();
    if softirq.raise_ns != 0 {
        softirq.waits += 1;
        softirq.wait_ns += now.wrapping_sub(softirq.raise_ns);
        softirq.raise_ns = 0;
    }
    softirq.entry_ns = now;
}

#[inline(always)]
pub fn exit(index: u32) {
    let Some(softirq) = vector(index) else { return };
    if softirq.entry_ns != 0 {
        softirq.count += 1;
        softirq.ns += cpu::now().wrapping_sub(softirq.entry_ns);
        softirq.entry_ns = 0;
    }
}

#[inline(always)]
pub fn poll(work: u32) {
    if let Some(softirq) = vector(Vector::NetRx as u32) {
        softirq.polls += 1;
        softirq.polled += work as u64;
    }
}
