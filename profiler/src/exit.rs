//! The exit code of an error: the outermost room, where the errors of all others can be told apart.

use crate::{failure::Failure, profile::ProfileError};

/// The exit code of the contract: that of the first [`Failure`] in its chain; a profile that cannot be read is wrong input;
/// everything else is a refusal of the system.
pub fn code(error: &anyhow::Error) -> u8 {
    let known = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<Failure>() {
        Some(failure) => Some(failure.code()),
        None => cause.is::<ProfileError>().then_some(2),
    };
    error.chain().find_map(known).unwrap_or(3)
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
}
