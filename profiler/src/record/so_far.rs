//! When what a recording has so far is put together to be written.

use std::time::Duration;

use super::{assemble, recording::Recording};
use crate::{cli::RecordArgs, host::clock::thread_cpu_ns};

impl Recording {
    /// Writes what there is so far, if it is time for that.
    pub fn spool(&mut self, args: &RecordArgs) {
        let may = self.ended.is_empty() && self.softirq_window.is_none() && !self.gathered.batches.is_empty();
        // Where probes are attached in turns it is done without them: what it takes would be observed, and longer than was meant.
        let may = may && (self.window.is_none() || self.governor.duty >= 1.0);
        let is_due = may && self.spool.as_mut().is_some_and(|spool| spool.is_due(args.budget));
        if !is_due {
            return;
        }
        let begun = thread_cpu_ns();
        let so_far = assemble::so_far(self, args);
        let together = Duration::from_nanos(thread_cpu_ns().saturating_sub(begun));
        match (so_far, &mut self.spool) {
            (Ok(profile), Some(spool)) => spool.write(profile, together),
            // The recording goes on without.
            (Err(error), spool) => {
                log::debug!("what there is so far cannot be put together: {error:#}");
                *spool = None;
            }
            _ => {}
        }
    }
}
