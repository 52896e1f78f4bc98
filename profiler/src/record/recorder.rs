//! A recording from outside: it runs while something else is waited for, in the same thread.

use std::{future::Future, path::Path};

use anyhow::Result;
use tokio::sync::oneshot;

use super::{
    assemble, kernel_counters::forget_peak_memory, priority::Hurry, recording::Recording, refusal::Refusal,
    spool::Spool,
};
use crate::{
    cli::RecordArgs,
    failure::Failure,
    host::{cpu, descriptors::make_room},
    kernel::privilege,
    profile::Profile,
    store::Unfinished,
};

/// Files that a recording has open at least: programs, maps, and what attaches them.
const FILES: u64 = 112;
/// And of each CPU: two samplers, each with what attaches the program to it.
const FILES_OF_CPU: u64 = 4;
/// Hooks of the function tier, each with its program and what attaches it.
const FILES_OF_FUNCTIONS: u64 = 384;

/// A recording that runs.
pub struct Recorder<'a> {
    args: &'a RecordArgs,
    recording: Recording,
}

impl<'a> Recorder<'a> {
    /// Attaches everything, then returns. This thread must be within its runtime.
    pub fn start(args: &'a RecordArgs) -> Result<Self> {
        // First of all: what it looks at are files, too.
        let least = FILES + FILES_OF_CPU * cpu::configured();
        make_room(least, least + FILES_OF_FUNCTIONS)?;
        let missing = privilege::missing_required(privilege::effective());
        if !missing.is_empty() {
            return Err(Failure::Refused(format!(
                "recording needs {}; run as root, or give the program those capabilities",
                missing.join(" and ")
            ))
            .into());
        }
        forget_peak_memory();
        let recording = Recording::open(args).map_err(|error| said(error, &args.output))?;
        Ok(Self { args, recording })
    }

    /// What was recorded so far is written there while it goes on.
    pub(super) fn spool_to(&mut self, place: Option<Unfinished>) {
        self.recording.spool = place.map(Spool::new);
    }

    /// Collects while `work` is waited for. What is due in the recording goes first.
    pub async fn collect<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        let (over, until) = oneshot::channel::<()>();
        let work = async {
            let result = work.await;
            drop(over);
            result
        };
        let (collected, result) = tokio::join!(biased; self.recording.run(self.args, until), work);
        collected.map(|()| result)
    }

    /// What was written so far: to be finished when the recording is.
    pub(super) fn take_spool(&mut self) -> Option<Spool> {
        self.recording.spool.take()
    }

    /// Detaches everything and returns what was recorded.
    pub async fn stop(mut self) -> Result<Profile> {
        let _hurry = Hurry::begin();
        let (duration, counters) = self.recording.end().await?;
        assemble::profile(self.recording, self.args, duration, &counters)
    }
}

/// What the kernel refused, in a sentence; a verifier's log lies beside the recording then.
fn said(error: anyhow::Error, output: &Path) -> anyhow::Error {
    let Some(refusal) = error.downcast_ref::<Refusal>() else { return error };
    let beside = output.parent().filter(|directory| directory.is_dir());
    Failure::Refused(refusal.sentence(beside.unwrap_or(&std::env::temp_dir()))).into()
}
