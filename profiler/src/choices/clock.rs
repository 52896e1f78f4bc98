//! What drives the clock of the machine that was recorded.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What drives the clock of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Time as it passes.
    #[default]
    Wall,
    /// The instructions that the (only) processor of an emulated machine executes, two nanoseconds each.
    Instructions,
}

/// Guest time of one instruction with [`Clock::Instructions`]: qemu's `shift=1`.
pub const NS_PER_INSTRUCTION: u32 = 2;

impl Clock {
    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Instructions => "instructions",
        }
    }

    /// CPU samples a second where none are asked for. A sample interrupts whatever it meets, and that time is in the span
    /// it falls into: at random, so that no two runs with a clock that otherwise repeats would be alike.
    pub const fn default_frequency(self) -> u64 {
        match self {
            // No multiple or part of what timers of kernels and programs run at.
            Self::Wall => 999,
            Self::Instructions => 0,
        }
    }

    /// CPU time that a recording may cost where nothing is said. What probes take of a counted clock is known exactly, and no user waits
    /// for it: there a recording of a few seconds rests on thousands of packets instead of dozens.
    pub const fn default_budget(self) -> f64 {
        match self {
            Self::Wall => 0.01,
            Self::Instructions => 0.25,
        }
    }

    /// What its times are, where they are not what they seem; at most 100 columns.
    pub fn note(self) -> Option<&'static str> {
        (self == Self::Instructions)
            .then_some("clock: guest time that counts instructions, 2 ns each; it compares work and is no wall time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_is_no_clock_needs_a_word() {
        assert_eq!(Clock::Wall.note(), None);
        let note = Clock::Instructions.note().unwrap_or_default();
        assert!(note.contains(&format!("{NS_PER_INSTRUCTION} ns each")) && note.len() <= 100, "{note}");
    }

    #[test]
    fn names_are_those_of_files_and_of_the_command_line() {
        for clock in [Clock::Wall, Clock::Instructions] {
            assert_eq!(serde_json::to_value(clock).ok(), Some(clock.name().into()));
            assert_eq!(Clock::from_str(clock.name(), false), Ok(clock));
        }
    }
}
