//! The thread of a running recording, as the rest of the program sees it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use anyhow::{Context as _, Result};

use super::{kernel_counters::forget_peak_memory, recording::Recording, refusal::Refusal};
use crate::{cli::RecordArgs, failure::Failure, kernel::privilege, profile::Profile};

/// A recording that runs.
pub struct Recorder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Profile>>,
}

impl Recorder {
    /// Attaches everything, then returns.
    pub fn start(args: &RecordArgs) -> Result<Self> {
        let missing = privilege::missing_required(privilege::effective());
        if !missing.is_empty() {
            return Err(Failure::Refused(format!(
                "recording needs {}; run as root, or give the program those capabilities",
                missing.join(" and ")
            ))
            .into());
        }
        let output = args.output.clone();
        forget_peak_memory();
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, attached) = mpsc::channel();
        let (args, until) = (args.clone(), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("ns-recorder".into())
            .spawn(move || {
                let mut recording = Recording::open(&args)?;
                // The receiver may be gone only if the starter died; then the loop ends at once.
                let _ = ready.send(());
                recording.run(&args, &until)?;
                recording.finish(&args)
            })
            .context("cannot start a thread")?;
        if attached.recv().is_err() {
            return Err(match thread.join() {
                Ok(Ok(_)) => anyhow::anyhow!("the recorder ended before it began"),
                Ok(Err(error)) => said(error, &output),
                Err(_) => anyhow::anyhow!("the recorder panicked"),
            });
        }
        Ok(Self { stop, thread })
    }

    /// Detaches everything and returns what was recorded.
    pub fn stop(self) -> Result<Profile> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().map_err(|_| anyhow::anyhow!("the recorder panicked"))?
    }
}

/// What the kernel refused, in a sentence; a verifier's log lies beside the recording then.
fn said(error: anyhow::Error, output: &Path) -> anyhow::Error {
    let Some(refusal) = error.downcast_ref::<Refusal>() else { return error };
    let beside = output.parent().filter(|directory| directory.is_dir());
    Failure::Refused(refusal.sentence(beside.unwrap_or(&std::env::temp_dir()))).into()
}
