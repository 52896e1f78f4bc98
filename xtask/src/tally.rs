//! Counts tests from what the runner prints.

use std::fmt;

/// Tests by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Tests that found that they cannot run here, said `skipped: …` and returned; the runner counts them as passed.
    skipped: u64,
}

impl Tally {
    /// Takes a line of output into account.
    pub fn read(&mut self, line: &str) {
        // With one thread and no capture the runner prints the name first, on the same line.
        let said = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")).map_or(line, |(_, said)| said);
        if said.starts_with("skipped: ") {
            self.skipped += 1;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            let count = |name: &str| {
                let words: Vec<_> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
                words.windows(2).find(|pair| pair[1] == name).and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
            };
            self.passed += count("passed");
            self.failed += count("failed");
            self.ignored += count("ignored");
        }
    }

    /// Whether a test failed.
    pub fn failed(&self) -> bool {
        self.failed > 0
    }

    /// Adds what another run counted.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.passed.saturating_sub(self.skipped);
        write!(f, "{passed} passed, {} failed, {} skipped", self.failed, self.skipped + self.ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn results_of_several_runners_are_summed() {
        let all = tally(
            "test a ... ok\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s\n\
             test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.10s\n",
        );
        assert_eq!(all.to_string(), "7 passed, 1 failed, 1 skipped");
        assert!(all.failed());
    }

    #[test]
    fn a_test_that_cannot_run_has_not_passed() {
        let all = tally(
            "---- live stdout ----\n\
             skipped: live: needs root\n\
             test second ... skipped: second: no docker\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(all.to_string(), "1 passed, 0 failed, 2 skipped");
        assert!(!all.failed());
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(tally("running 3 tests\nthis was skipped: not\n"), Tally::default());
    }
}
