//! Counts tests from what the runner prints.

use std::fmt;

/// Lines of a failed test that are said again at the end, and the length to which each is cut.
const SAID_AGAIN: (usize, usize) = (6, 1000);

/// Tests by how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Tests that found that they cannot run here, said `skipped: …` and returned; the runner counts them as passed.
    skipped: u64,
    /// What consoles of emulated machines told: panics, oopses, lockups, warnings.
    troubles: u64,
    /// What failed tests said of why: megabytes of output later nobody finds it.
    why: Vec<String>,
    /// The runner tells of its failures now, and a test as many lines more of its panic.
    telling: bool,
    more: usize,
}

impl Tally {
    /// Takes a line of output into account.
    pub fn read(&mut self, line: &str) {
        self.read_why(line);
        // With one thread and no capture the runner prints the name first, on the same line.
        let said = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")).map_or(line, |(_, said)| said);
        if said.starts_with("skipped: ") {
            self.skipped += 1;
        } else if line.starts_with("netstrata: console of Linux ") {
            self.troubles += 1;
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

    /// Keeps what a test that failed said when it panicked. Those that pass may panic, too, and are told of before.
    fn read_why(&mut self, line: &str) {
        self.telling = line == "failures:" || self.telling && !line.starts_with("test result: ");
        let begins = line.contains("' panicked at ") || line.contains(") panicked at ");
        if self.telling && begins {
            self.more = SAID_AGAIN.0;
        } else if !self.telling || line.is_empty() || line.starts_with("note: run with") {
            self.more = 0;
        }
        if self.more > 0 {
            self.more -= 1;
            self.why.push(line.chars().take(SAID_AGAIN.1).collect());
        }
    }

    /// What failed tests said of why.
    pub fn why(&self) -> &[String] {
        &self.why
    }

    /// Counts something that could not run at all, and so is in no runner's count.
    pub fn left_out(&mut self) {
        self.ignored += 1;
    }

    /// Counts a success that no runner has counted.
    pub fn went_well(&mut self) {
        self.passed += 1;
    }

    /// Counts a failure that no runner has counted.
    pub fn went_wrong(&mut self) {
        self.failed += 1;
    }

    /// Columns of a table: passed, failed, skipped, troubles on the console.
    pub fn columns(&self) -> [u64; 4] {
        [self.passed.saturating_sub(self.skipped), self.failed, self.skipped + self.ignored, self.troubles]
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
        self.troubles += other.troubles;
        self.why.extend(other.why);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [passed, failed, skipped, _] = self.columns();
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
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
    fn what_a_runner_does_not_count_is_counted_all_the_same() {
        let mut all = tally(
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             netstrata: console of Linux 7.2: oops: Oops: int3: 0000 [#1]\n",
        );
        all.left_out();
        all.went_well();
        all.went_wrong();
        assert_eq!(all.columns(), [4, 1, 1, 1]);
        assert!(all.failed());
    }

    #[test]
    fn what_failed_tests_said_is_kept_and_nothing_of_those_that_passed() {
        let all = tally(
            "successes:\n\n---- a stdout ----\nthread 'a' (7) panicked at a.rs:1:2:\nmeant\n\n\
             failures:\n\n---- b stdout ----\nbefore\nthread 'b' (8) panicked at b.rs:3:4:\nleft: 1\nnote: run with\nmore\n\
             \nfailures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed\nthread 'c' panicked at c.rs:5:6:\n",
        );
        assert_eq!(all.why(), ["thread 'b' (8) panicked at b.rs:3:4:", "left: 1"]);
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(tally("running 3 tests\nthis was skipped: not\n"), Tally::default());
    }
}
