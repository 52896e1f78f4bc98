//! What the kernel programs say, told with what this program says. Only programs that were loaded with a level say anything.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// Where in the program they speak.
const PLACE: &str = "netstrata::programs";
/// So many messages are told in each such time, the rest is counted: packets may be as odd as there are many, and telling it
/// sends packets where standard error goes over a network.
const MOST: u32 = 200;
const TIME: Duration = Duration::from_secs(1);

/// Reads what the programs say.
pub(super) struct Messages(EbpfLogger<Teller>);

impl Messages {
    /// Of an object that was loaded with a level.
    pub fn of(ebpf: &mut Ebpf) -> Result<Self> {
        let teller = Teller(Mutex::new(Limit::default()));
        Ok(Self(EbpfLogger::init_with_logger(ebpf, teller).context("cannot read what the kernel programs say")?))
    }

    /// A descriptor that can be waited for.
    pub fn descriptor(&self) -> Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned().context("cannot wait for what the kernel programs say")
    }

    /// Tells what they said since the last time.
    pub fn tell(&mut self) {
        self.0.flush();
    }
}

/// Passes messages on under the name of the programs, as many as are readable.
struct Teller(Mutex<Limit>);

impl Log for Teller {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if told.left_out > 0 {
            log::warn!(target: PLACE, "{} more messages were not told", told.left_out);
        }
        if told.this {
            // Names of the programs are filled up with spaces.
            log::log!(target: PLACE, record.level(), "{}", record.args().to_string().trim_end());
        }
    }

    fn flush(&self) {}
}

impl Drop for Teller {
    fn drop(&mut self) {
        let left_out = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).left_out;
        if left_out > 0 {
            log::warn!(target: PLACE, "{left_out} more messages were not told");
        }
    }
}

/// How many were told of late.
#[derive(Default)]
struct Limit {
    since: Option<Instant>,
    told: u32,
    left_out: u64,
}

/// What is to be told.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    this: bool,
    /// How many were not before this one.
    left_out: u64,
}

impl Limit {
    fn admit(&mut self, now: Instant) -> Told {
        let mut left_out = 0;
        if self.since.is_none_or(|since| now.duration_since(since) >= TIME) {
            left_out = std::mem::take(&mut self.left_out);
            (self.since, self.told) = (Some(now), 0);
        }
        let this = self.told < MOST;
        if this {
            self.told += 1;
        } else {
            self.left_out += 1;
        }
        Told { this, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_messages_the_first_of_each_time_are_told_and_the_rest_counted() {
        let (mut limit, begun) = (Limit::default(), Instant::now());
        let told = |told: Told| told.this;
        assert_eq!((0..MOST + 7).filter(|_| told(limit.admit(begun))).count(), MOST as usize);
        assert_eq!(limit.admit(begun + TIME), Told { this: true, left_out: 7 });
        assert_eq!(limit.admit(begun + TIME), Told { this: true, left_out: 0 });
        assert_eq!(limit.left_out, 0);
    }
}
