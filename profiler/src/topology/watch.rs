//! Watches the topology while a recording runs, so that what came and went in between has a name.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{DeviceCounters, Topology, process::newest_pid, scan::Scanner, union::Union};
use crate::{
    kernel::confine::{Confined, WATCHING, confine},
    threads,
};

/// How often the watcher looks for new namespaces. No event tells of them: netlink speaks of devices of the own namespace, and
/// of others only once they have a number there; a process that unshares, and an engine that mounts a namespace, raise nothing.
/// Counters must be read again and again anyway, or those of a device that goes would be lost.
const LOOK: Duration = Duration::from_millis(250);
/// How often it reads all devices again; on large machines less often, so that it stays cheap.
const SCAN: Duration = Duration::from_secs(1);
const SCAN_AT_LEAST: Duration = Duration::from_secs(15);
/// A scan that takes 1 ms is made once in a second at most: a tenth of the default budget.
const SCAN_SHARE: u32 = 1000;

/// How long the first scan may take, and the last one: a file system or an engine that hangs is not to keep a recording.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a watch saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshotted {
    /// Everything that existed at any time; a namespace that lived for less than a quarter of a second may be missing.
    pub topology: Topology,
    /// Counters of each device over the watch.
    pub counters: Vec<DeviceCounters>,
    /// By namespace, packets that connection tracking had no room for.
    pub untracked: BTreeMap<u32, u64>,
    /// What could not be seen, in plain words.
    pub notes: Vec<String>,
}

/// A background watch of the topology. It holds no namespace open but during a scan of some milliseconds.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Mutex<Shared>>,
    ask: mpsc::Sender<Ask>,
    /// Its other end is dropped when the thread ends.
    ended: mpsc::Receiver<()>,
}

/// What a watch is asked for.
#[derive(Debug)]
enum Ask {
    /// To count from now on, and to say so.
    CountFrom(mpsc::Sender<()>),
    /// To count no more.
    CountTo,
    /// To look a last time, and end.
    End,
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
        let shared = Arc::new(Mutex::new(Shared::default()));
        let ((ask, asked), (begun, first)) = (mpsc::channel(), mpsc::channel());
        let (ending, ended) = mpsc::channel::<()>();
        let work = {
            let shared = Arc::clone(&shared);
            move || {
                confine(Confined { keeps: WATCHING, writes: None });
                let mut scanner = Scanner::default();
                // Before the scan: what starts meanwhile is looked at again.
                let newest = newest_pid();
                let took = scan(&mut scanner, &shared);
                let goes_on = took.as_ref().ok().copied();
                if begun.send(took.map(drop)).is_ok()
                    && let Some(took) = goes_on
                {
                    watch(&mut scanner, &shared, &asked, (took, newest));
                }
                drop(ending);
            }
        };
        std::thread::Builder::new().name(threads::WATCH.to_owned()).spawn(work).context("cannot start a thread")?;
        first.recv_timeout(PATIENCE).context("reading namespaces and devices does not end")??;
        Ok(Self { shared, ask, ended })
    }

    /// From here on devices are counted: what they counted before, while the programs were verified, belongs to no journey.
    pub fn count_from_now(&self) {
        let (said, counts) = mpsc::channel();
        // A watch that hangs is told of when it ends.
        if self.ask.send(Ask::CountFrom(said)).is_ok() {
            let _ = counts.recv_timeout(PATIENCE);
        }
    }

    /// Up to here devices are counted, in a moment.
    pub fn count_to_now(&self) {
        let _ = self.ask.send(Ask::CountTo);
    }

    /// The topology of the latest scan.
    pub fn current(&self) -> Topology {
        lock(&self.shared).latest.clone()
    }

    /// All that was seen so far; the watch goes on.
    pub fn so_far(&self) -> Snapshotted {
        let shared = lock(&self.shared);
        let Union { topology, notes, .. } = &shared.union;
        let (counters, untracked) = (shared.union.deltas(), shared.union.untracked());
        Snapshotted { topology: topology.clone(), counters, untracked, notes: notes.clone() }
    }

    /// Looks a last time, ends the watch, and returns all that was seen.
    pub fn finish(self) -> Snapshotted {
        // The thread may have ended only by a panic, or hang; then what it had seen is still here.
        let told = self.ask.send(Ask::End).is_ok();
        let ended = self.ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Disconnected);
        let Shared { union, .. } = std::mem::take(&mut *lock(&self.shared));
        let (counters, untracked) = (union.deltas(), union.untracked());
        let mut notes = union.notes;
        if !(told && ended) {
            notes.push("the watch of namespaces and devices ended early".to_owned());
        }
        Snapshotted { topology: union.topology, counters, untracked, notes }
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

fn watch(scanner: &mut Scanner, shared: &Mutex<Shared>, asked: &mpsc::Receiver<Ask>, first: (Duration, Option<u32>)) {
    let (mut took, mut before) = first;
    let mut last_scan = Instant::now();
    let mut again = false;
    loop {
        let ask = asked.recv_timeout(LOOK);
        let stop = matches!(ask, Ok(Ask::End) | Err(mpsc::RecvTimeoutError::Disconnected));
        let newest = newest_pid();
        let news = scanner.news(before, newest);
        before = newest;
        let due = last_scan.elapsed() >= (took * SCAN_SHARE).clamp(SCAN, SCAN_AT_LEAST);
        if !matches!(ask, Err(mpsc::RecvTimeoutError::Timeout)) || news || again || due {
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
        match ask {
            Ok(Ask::CountFrom(said)) => {
                lock(shared).union.count_from_now();
                let _ = said.send(());
            }
            Ok(Ask::CountTo) => lock(shared).union.count_no_more(),
            Ok(Ask::End) | Err(_) => {}
        }
        if stop {
            return;
        }
    }
}
