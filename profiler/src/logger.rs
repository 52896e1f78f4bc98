//! What is told on standard error for bug reports, beside the notes that every user gets: how much (`-v`, `NETSTRATA_LOG`), and
//! in which form.

use std::{
    ffi::OsStr,
    fmt::Arguments,
    io::{IsTerminal as _, Write as _},
    sync::OnceLock,
    time::{Duration, Instant},
};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::{failure::Failure, output::printable};

/// Names the level where no `-v` is given.
pub const VARIABLE: &str = "NETSTRATA_LOG";

/// What this program tells where nobody asked for a level.
const UNASKED: LevelFilter = LevelFilter::Warn;
/// What other crates have to say is for those who want everything: netlink's warn of each attribute that is new to them. Even
/// then aya's debug messages, one for each relocation, would hide all else.
const OTHERS: (LevelFilter, Level) = (LevelFilter::Trace, Level::Info);
const OWN: &str = env!("CARGO_CRATE_NAME");

/// The level that was asked for, and when.
static BEGUN: OnceLock<(Option<LevelFilter>, Instant)> = OnceLock::new();

/// Begins to tell, as the command line and the environment ask.
///
/// # Errors
/// [`Failure::Usage`] if the environment has a word that is no level.
pub fn begin(verbose: u8) -> Result<(), Failure> {
    let asked = level(verbose, std::env::var_os(VARIABLE).as_deref())?;
    BEGUN.get_or_init(|| (asked, Instant::now()));
    // Only a second call fails, and changes nothing.
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(asked.unwrap_or(UNASKED));
    }
    Ok(())
}

/// The level for what costs something even if it says nothing: off unless somebody asked for one.
pub fn asked() -> LevelFilter {
    BEGUN.get().and_then(|begun| begun.0).unwrap_or(LevelFilter::Off)
}

/// The level that is asked for: by `-v`, else by a word.
fn level(verbose: u8, word: Option<&OsStr>) -> Result<Option<LevelFilter>, Failure> {
    match (verbose, word) {
        (0, None) => Ok(None),
        (0, Some(word)) if word.is_empty() => Ok(None),
        (0, Some(word)) => word.to_str().and_then(|word| word.parse().ok()).map(Some).ok_or_else(|| {
            let levels = LevelFilter::iter().map(|level| level.as_str().to_lowercase()).collect::<Vec<_>>().join(", ");
            Failure::Usage(format!("{VARIABLE}={} is no level; there are {levels}", word.display()))
        }),
        (1, _) => Ok(Some(LevelFilter::Info)),
        (2, _) => Ok(Some(LevelFilter::Debug)),
        (3.., _) => Ok(Some(LevelFilter::Trace)),
    }
}

/// Whether what is said there is told at this level.
fn is_told(target: &str, level: Level, max: LevelFilter) -> bool {
    let own = target.strip_prefix(OWN).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    level <= max && (own || max >= OTHERS.0 && level <= OTHERS.1)
}

/// A line: who tells it, how grave it is, seconds since the program began, where in the program, and what.
fn line(level: Level, since: Duration, target: &str, text: &Arguments) -> String {
    let place = target.strip_prefix(OWN).map_or(target, |rest| rest.trim_start_matches(':'));
    let colon = if place.is_empty() { "" } else { ": " };
    format!(
        "{OWN}: {} {:.6} {place}{colon}{}\n",
        level.as_str().to_lowercase(),
        since.as_secs_f64(),
        printable(&text.to_string())
    )
}

/// Tells on standard error, a line at once: the command that is recorded may write there, too.
struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        is_told(metadata.target(), metadata.level(), log::max_level())
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let since = BEGUN.get().map_or(Duration::ZERO, |begun| begun.1.elapsed());
        let line = line(record.level(), since, record.target(), record.args());
        let mut errors = std::io::stderr().lock();
        // A progress that stands on this line of the terminal is drawn again by itself.
        let clear = if errors.is_terminal() { "\r\x1b[2K" } else { "" };
        // Whoever read it went away, which is no reason to end what is done.
        let _ = errors.write_all(format!("{clear}{line}").as_bytes());
    }

    fn flush(&self) {}
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn of_word(word: &str) -> Result<Option<LevelFilter>, Failure> {
        level(0, Some(OsStr::new(word)))
    }

    #[test]
    fn each_v_and_each_word_is_a_level() {
        let levels: Vec<_> = (0..5).map(|verbose| level(verbose, None).unwrap()).collect();
        let [info, debug, trace] = [LevelFilter::Info, LevelFilter::Debug, LevelFilter::Trace].map(Some);
        assert_eq!(levels, [None, info, debug, trace, trace]);
        for level in LevelFilter::iter() {
            assert_eq!(of_word(&level.as_str().to_lowercase()).unwrap(), Some(level));
        }
        assert_eq!(of_word("").unwrap(), None, "as if it were not there");
    }

    #[test]
    fn v_goes_before_the_word() {
        assert_eq!(level(1, Some(OsStr::new("trace"))).unwrap(), Some(LevelFilter::Info));
        assert_eq!(level(3, Some(OsStr::new("off"))).unwrap(), Some(LevelFilter::Trace));
        assert_eq!(level(2, Some(OsStr::new("loud"))).unwrap(), Some(LevelFilter::Debug));
    }

    #[test]
    fn a_wrong_word_is_wrong_usage_and_says_which_are_right() {
        for word in ["loud", "debug,info", "netstrata=debug", " info"] {
            let failure = of_word(word).unwrap_err();
            assert_eq!(failure.code(), 2);
            let text = failure.to_string();
            assert_eq!(
                text,
                format!("NETSTRATA_LOG={word} is no level; there are off, error, warn, info, debug, trace")
            );
        }
    }

    #[test]
    fn other_crates_are_told_only_with_everything() {
        for (target, own) in [("netstrata", true), ("netstrata::record", true), ("netstratax", false), ("aya", false)] {
            assert_eq!(is_told(target, Level::Warn, LevelFilter::Debug), own, "{target}");
            assert_eq!(is_told(target, Level::Debug, LevelFilter::Trace), own, "{target}");
            assert!(is_told(target, Level::Warn, LevelFilter::Trace), "{target}");
            assert!(!is_told(target, Level::Warn, LevelFilter::Error), "{target}");
        }
    }

    #[test]
    fn a_line_tells_level_time_place_and_text() {
        let of = |target| line(Level::Debug, Duration::from_micros(1_500_000), target, &format_args!("it works"));
        assert_eq!(of("netstrata::record::turns"), "netstrata: debug 1.500000 record::turns: it works\n");
        assert_eq!(of("netstrata"), "netstrata: debug 1.500000 it works\n");
        assert_eq!(of("other::place"), "netstrata: debug 1.500000 other::place: it works\n");
    }
}
