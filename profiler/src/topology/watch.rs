//! Watches the topology while a recording runs, so that what came and went in between has a name.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{DeviceCounters, Topology, process::newest_pid, scan::Scanner, union::Union};
use crate::threads;

/// How often the watcher looks for new namespaces. No event tells of them: netlink speaks of devices of the own namespace, and
/// of others only once they have a number there; a process that unshares, and an engine that mounts a namespace, raise nothing.
/// Counters must be read again and again anyway, or those of a device that goes would be lost.
const LOOK: Duration = Duration::from_millis(250);
/// How often it reads all devices again; on large machines less often, so that it stays cheap.
const SCAN: Duration = Duration::from_secs(1);
const SCAN_AT_LEAST: Duration = Duration::from_secs(5);
/// A scan that takes 1 ms is made once in a second at most: a tenth of the default budget.
const SCAN_SHARE: u32 = 1000;

/// What a watch saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshotted {
    /// Everything that existed at any time; a namespace that lived for less than a quarter of a second may be missing.
    pub topology: Topology,
    /// Counters of each device over the watch.
    pub counters: Vec<DeviceCounters>,
    /// What could not be seen, in plain words.
    pub notes: Vec<String>,
}

/// A background watch of the topology. It holds no namespace open but during a scan of some milliseconds.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Mutex<Shared>>,
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    latest: Topology,
    union: Union,
}

impl Watcher {
    /// Takes the first snapshot and starts watching.
    ///
    /// # Errors
    /// When not even the own namespace can be read.
    pub fn start() -> anyhow::Result<Self> {
        let mut scanner = Scanner::default();
        let shared = Arc::new(Mutex::new(Shared::default()));
        // Before the scan: what starts meanwhile is looked at again.
        let newest = newest_pid();
        let took = scan(&mut scanner, &shared)?;
        let (stop, stopped) = mpsc::channel();
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(threads::WATCH.to_owned())
                .spawn(move || watch(&mut scanner, &shared, &stopped, (took, newest)))
                .context("cannot start a thread")?
        };
        Ok(Self { shared, stop, thread })
    }

    /// The topology of the latest scan.
    pub fn current(&self) -> Topology {
        lock(&self.shared).latest.clone()
    }

    /// Looks a last time, ends the watch, and returns all that was seen.
    pub fn finish(self) -> Snapshotted {
        // The thread may have ended only by a panic; then what it had seen is still here.
        let told = self.stop.send(()).is_ok();
        let ended = self.thread.join().is_ok();
        let Shared { union, .. } = std::mem::take(&mut *lock(&self.shared));
        let counters = union.deltas();
        let mut notes = union.notes;
        if !(told && ended) {
            notes.push("the watch of namespaces and devices ended early".to_owned());
        }
        Snapshotted { topology: union.topology, counters, notes }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Scans and adds the result. Returns how long it took.
fn scan(scanner: &mut Scanner, shared: &Mutex<Shared>) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let snapshot = scanner.scan()?;
    let mut shared = lock(shared);
    shared.union.add(&snapshot);
    shared.latest = snapshot.topology;
    Ok(begin.elapsed())
}

fn watch(scanner: &mut Scanner, shared: &Mutex<Shared>, stopped: &mpsc::Receiver<()>, first: (Duration, Option<u32>)) {
    let (mut took, mut before) = first;
    let mut last_scan = Instant::now();
    let mut again = false;
    loop {
        let stop = !matches!(stopped.recv_timeout(LOOK), Err(mpsc::RecvTimeoutError::Timeout));
        let newest = newest_pid();
        let news = scanner.news(before, newest);
        before = newest;
        let due = last_scan.elapsed() >= (took * SCAN_SHARE).clamp(SCAN, SCAN_AT_LEAST);
        if stop || news || again || due {
            last_scan = Instant::now();
            match scan(scanner, shared) {
                Ok(time) => took = time,
                Err(error) => {
                    let note = format!("a look at the devices failed during the recording: {error:#}");
                    lock(shared).union.add_note(&note);
                }
            }
            // Devices and names come into a new namespace a moment after it.
            again = news;
        }
        if stop {
            return;
        }
    }
}
