//! Traffic of the calibration's own: a thread in a network namespace of its own sends datagrams to itself over loopback, in
//! batches, and tells how fast the machine was meanwhile.

use std::{
    cell::Cell,
    net::UdpSocket,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use netstrata_common::{Config, FILTER_FLOW, Protocol};

use super::priority::keep_time;
use crate::threads;

const BATCHES: usize = 2;
/// Batches that are tried for them.
const TRIES: usize = 5;
/// Datagrams of a batch.
pub const DATAGRAMS: usize = 150;
/// System calls that tell whether the machine is as fast as it can be, and by how much it may be slower.
const SYSTEM_CALLS: u32 = 50;
/// Looks at how fast it is, of which the fastest counts: some hundred microseconds.
const LOOKS: usize = 64;
/// So many times slower than the fastest still counts as calm.
pub const CALM: f64 = 1.08;
const WARM_UP: Duration = Duration::from_millis(30);

/// Runs work that needs traffic, in a thread in a network namespace of its own (its inode).
pub(super) fn with_traffic<T: Send>(work: impl FnOnce(&Traffic, u32) -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(threads::CALIBRATE.into());
        let work = || {
            own_loopback()?;
            let netns = std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |metadata| metadata.ino() as u32);
            let traffic = Traffic::new()?;
            // A processor that was idle is slow at first.
            let start = Instant::now();
            while start.elapsed() < WARM_UP {
                traffic.batch()?;
                traffic.system_call();
            }
            work(&traffic, netns)
        };
        let handle = thread.spawn_scoped(scope, work).context("cannot start a thread")?;
        handle.join().map_err(|_| anyhow::anyhow!("the calibration panicked"))?
    })
}

/// Datagrams from a socket to itself.
pub(super) struct Traffic {
    socket: UdpSocket,
    port: u16,
    /// Fastest system call seen, nanoseconds.
    calm: Cell<f64>,
    /// Datagrams sent.
    sent: Cell<u64>,
}

/// One batch, and what was read before and after it.
pub(super) struct Batch<T> {
    /// Nanoseconds per datagram.
    pub ns: f64,
    /// Nanoseconds of a system call before or after it, the longer: how fast the machine was.
    pub pace: f64,
    pub before: T,
    pub after: T,
}

impl Traffic {
    fn new() -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).context("cannot use the loopback device")?;
        let address = socket.local_addr()?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self { socket, port: address.port(), calm: Cell::new(f64::MAX), sent: Cell::new(0) })
    }

    /// Fastest system call seen, nanoseconds.
    pub fn calm(&self) -> f64 {
        self.calm.get()
    }

    /// Datagrams sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Nanoseconds per datagram of one batch.
    pub fn batch(&self) -> Result<f64> {
        let mut buffer = [0; 64];
        let start = Instant::now();
        for _ in 0..DATAGRAMS {
            self.socket.send(&[1; 16])?;
            self.socket.recv(&mut buffer)?;
        }
        self.sent.set(self.sent.get() + DATAGRAMS as u64);
        Ok(start.elapsed().as_nanos() as f64 / DATAGRAMS as f64)
    }

    /// The same, only that no packets are followed but these: what else is on this host is in nobody's figures, and pays nothing for
    /// being followed.
    pub fn only_own(&self, config: Config) -> Config {
        Config {
            filters: FILTER_FLOW,
            flow_protocol: u32::from(Protocol::UDP.0),
            flow_port: u32::from(self.port),
            ..config
        }
    }

    /// Some batches during which the machine was as fast as it can be: a processor that shares its core with another one's
    /// work runs slower for tens of milliseconds, and a cost is the difference of two batches. Where it never is, the best
    /// there is.
    pub fn batches<T>(&self, mut read: impl FnMut() -> Result<T>) -> Result<Vec<Batch<T>>> {
        let mut steady = Vec::new();
        let mut best: Option<Batch<T>> = None;
        for _ in 0..TRIES {
            // On a busy host it would be interrupted; for a millisecond at a time nobody misses the processor.
            keep_time(true);
            let pace = self.system_call();
            let before = read()?;
            let ns = self.batch()?;
            let after = read()?;
            let pace = pace.max(self.system_call());
            keep_time(false);
            let batch = Batch { ns, pace, before, after };
            if pace <= self.calm.get() * CALM {
                steady.push(batch);
                if steady.len() == BATCHES {
                    break;
                }
            } else if best.as_ref().is_none_or(|best| pace < best.pace) {
                best = Some(batch);
            }
        }
        if steady.is_empty() {
            steady.extend(best);
        }
        Ok(steady)
    }

    /// Nanoseconds per datagram of the fastest of some batches.
    pub fn fastest_ns(&self) -> Result<f64> {
        Ok(self.batches(|| Ok(()))?.iter().map(|batch| batch.ns).fold(f64::MAX, f64::min))
    }

    /// Nanoseconds of a system call that does almost nothing.
    fn system_call(&self) -> f64 {
        let ns = system_call_ns();
        self.calm.set(self.calm.get().min(ns));
        ns
    }
}

/// Nanoseconds of a system call that does almost nothing, now.
fn system_call_ns() -> f64 {
    let start = Instant::now();
    for _ in 0..SYSTEM_CALLS {
        // SAFETY: a query without arguments that cannot fail.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    start.elapsed().as_nanos() as f64 / f64::from(SYSTEM_CALLS)
}

/// The same while nothing disturbs it.
pub(super) fn calm_system_call_ns() -> f64 {
    (0..LOOKS).map(|_| system_call_ns()).fold(f64::MAX, f64::min)
}

/// Moves this thread into a network namespace of its own with a loopback device. Where that is not allowed the current
/// namespace serves; it is only noisier.
fn own_loopback() -> Result<()> {
    let before = std::fs::File::open("/proc/thread-self/ns/net");
    // SAFETY: affects this thread only, which ends after the calibration.
    let (Ok(before), 0) = (before, unsafe { libc::unshare(libc::CLONE_NEWNET) }) else { return Ok(()) };
    let up = loopback_up();
    if up.is_err() {
        // CAP_SYS_ADMIN without CAP_NET_ADMIN: a namespace may be made, but not its device brought up.
        // SAFETY: the descriptor is open; affects this thread only.
        let back = unsafe { libc::setns(std::os::fd::AsRawFd::as_raw_fd(&before), libc::CLONE_NEWNET) };
        anyhow::ensure!(back == 0, "cannot leave the calibration's namespace: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

fn loopback_up() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request outlives the call.
    let result = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCSIFFLAGS, &raw mut request) };
    anyhow::ensure!(result == 0, "cannot bring the loopback device up: {}", std::io::Error::last_os_error());
    Ok(())
}
