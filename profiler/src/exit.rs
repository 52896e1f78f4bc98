//! The exit code of an error: the outermost room, where the errors of all others can be told apart.

use crate::{failure::Failure, profile::ProfileError};

/// The exit code of wrong words on the command line.
pub fn usage() -> u8 {
    Failure::Usage(String::new()).code()
}

/// The exit code of the contract: that of the first [`Failure`] in its chain; a profile that cannot be read is wrong input;
/// everything else is a refusal of the system.
pub fn code(error: &anyhow::Error) -> u8 {
    let known = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<Failure>() {
        Some(failure) => Some(failure.code()),
        // A full disk is no wrong input.
        None => cause.downcast_ref::<ProfileError>().filter(|error| !error.is_refusal()).map(|_| 2),
    };
    error.chain().find_map(known).unwrap_or(3)
}

/// An error in one line: what is said of it, and why, each thing once.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Some errors say in their own words what is told of their cause.
        if !said.ends_with(&cause) {
            said = if said.is_empty() { cause } else { format!("{said}: {cause}") };
        }
    }
    said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_code_of_what_is_known_in_it() {
        let wrapped = anyhow::Error::new(Failure::Untrusted("void".into())).context("a profile").context("a report");
        assert_eq!(code(&wrapped), 4);
        let missing = crate::profile::read("no-such-file".as_ref()).expect_err("there is no such file");
        assert_eq!(code(&anyhow::Error::new(missing).context("the baseline")), 2);
        assert_eq!(code(&anyhow::anyhow!("something else")), 3);
    }

    #[test]
    fn a_sentence_says_each_thing_once_and_is_one_line() {
        let inner = std::io::Error::from_raw_os_error(2);
        let said = inner.to_string();
        let error = anyhow::Error::new(inner).context(format!("cannot read x: {said}")).context("no\n  recording");
        assert_eq!(sentence(&error), format!("no; recording: cannot read x: {said}"));
        let plain = anyhow::anyhow!("a").context("b: a").context("c");
        assert_eq!(sentence(&plain), "c: b: a");
    }

    #[test]
    fn what_cannot_be_written_is_a_refusal_of_the_system() {
        let profile = crate::profile::Profile::default();
        let full = crate::profile::write(&profile, "/dev/full".as_ref()).expect_err("it is full");
        assert_eq!(code(&anyhow::Error::new(full)), 3);
    }
}
