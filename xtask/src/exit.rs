//! A failure that decides the exit code, with the same meaning as in `netstrata` itself.

use std::fmt;

/// A failure with its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: u8,
    /// What happened, in a sentence.
    pub message: String,
}

impl Exit {
    /// Something is missing that cannot be installed here: exit code 2.
    pub fn unusable(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// A privilege or a step was refused: exit code 3.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into() }
    }

    /// The exit code of any error: its own if it has one, else 1.
    pub fn code_of(error: &anyhow::Error) -> u8 {
        error.downcast_ref::<Self>().map_or(1, |exit| exit.code)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Exit {}
