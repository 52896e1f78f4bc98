//! What a recording has so far is written while it runs, so that one that is killed leaves what `netstrata recover` reads.
//!
//! It is put together where the recorder is, between two looks, and written by a thread of its own. The CPU time of both is on the bill,
//! and decides when it is written again: so it costs a share of the budget, and the longer the more there is.

use std::{
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    host::clock::thread_cpu_ns,
    kernel::confine::{Confined, WRITING, confine},
    note,
    profile::{MOST_PATHS, Profile, write_unfinished},
    store::Unfinished,
    threads,
};

/// Part of the budget, of one CPU, that it may use.
const SHARE: f64 = 0.1;
/// When it is written first, and how often at most.
const FIRST: Duration = Duration::from_secs(1);

/// Where it is written.
pub(super) struct Spool {
    to: Option<Unfinished>,
    due: Instant,
    /// It is being written; it gives back the place, and what it took.
    writing: Option<JoinHandle<(Unfinished, Duration)>>,
    /// What putting it together took.
    together: Duration,
}

impl Spool {
    pub fn new(to: Unfinished) -> Self {
        Self { to: Some(to), due: Instant::now() + FIRST, writing: None, together: Duration::ZERO }
    }

    /// Whether it is to be written now.
    pub fn is_due(&mut self, budget: f64) -> bool {
        if let Some(writing) = self.writing.take_if(|writing| writing.is_finished()) {
            self.written(writing, budget);
        }
        self.to.is_some() && Instant::now() >= self.due
    }

    fn written(&mut self, writing: JoinHandle<(Unfinished, Duration)>, budget: f64) {
        let Ok((to, took)) = writing.join() else { return };
        self.to = Some(to);
        let all = self.together + took;
        log::debug!("what there is so far was put together in {:?} and written in {took:?}", self.together);
        self.due = Instant::now() + all.div_f64(SHARE * budget).max(FIRST);
    }

    /// Has it written.
    pub fn write(&mut self, profile: Profile, together: Duration) {
        let Some(to) = self.to.take() else { return };
        self.together = together;
        let work = move || {
            let beside = to.path().parent().unwrap_or(Path::new("."));
            confine(Confined { keeps: WRITING, writes: Some(&[beside]) });
            let begun = thread_cpu_ns();
            let mut profile = profile;
            profile.fold(MOST_PATHS);
            // A disk that is full now may have room at the end.
            if let Err(error) = write_unfinished(&profile, &to) {
                log::debug!("what there is so far cannot be written: {error}");
            }
            drop(profile);
            (to, Duration::from_nanos(thread_cpu_ns().saturating_sub(begun)))
        };
        self.writing = thread::Builder::new().name(threads::SPOOL.into()).spawn(work).ok();
    }

    /// The recording is written: what there was of it is removed.
    pub fn finish(mut self) {
        drop(self.place());
    }

    fn place(&mut self) -> Option<Unfinished> {
        let of_thread = self.writing.take().and_then(|writing| writing.join().ok()).map(|(to, _)| to);
        self.to.take().or(of_thread)
    }
}

impl Drop for Spool {
    /// The recording failed: what there is of it is left.
    fn drop(&mut self) {
        let Some(to) = self.place().filter(|to| to.path().exists()) else { return };
        note!("netstrata: what was recorded until then is in {}; `netstrata recover` reads it", to.path().display());
        to.leave();
    }
}
