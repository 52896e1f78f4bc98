//! CPUs that come back while a recording runs: the kernel takes samplers off a CPU that goes, and puts none on one that comes.

use std::time::{Duration, Instant};

use crate::host::cpu::online;

/// Between two looks which CPUs there are. A look costs some microseconds; taking a CPU away and back takes longer than this.
const LOOK: Duration = Duration::from_millis(100);

/// The CPUs that are sampled.
pub(super) struct Sampled {
    cpus: Vec<u32>,
    looked: Instant,
}

impl Sampled {
    /// These are.
    pub fn new(cpus: Vec<u32>) -> Self {
        Self { cpus, looked: Instant::now() }
    }

    /// The CPUs to be sampled from now on, if one came.
    pub fn came(&mut self) -> Option<&[u32]> {
        if self.looked.elapsed() < LOOK {
            return None;
        }
        self.looked = Instant::now();
        let now = online().ok()?;
        let is_new = now.iter().any(|cpu| !self.cpus.contains(cpu));
        self.cpus = now;
        is_new.then_some(&self.cpus)
    }
}
