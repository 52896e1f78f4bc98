//! Failures with the exit code that the contract gives them.

use thiserror::Error;

/// A failure that decides the exit code.
#[derive(Debug, Error)]
pub enum Failure {
    /// A verdict is negative: exit code 1.
    #[error("{0}")]
    Verdict(String),
    /// Wrong usage or input: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The kernel or a privilege refused: exit code 3.
    #[error("{0}")]
    Refused(String),
    /// The result cannot be trusted: exit code 4.
    #[error("{0}")]
    Untrusted(String),
}

impl Failure {
    /// The exit code of the contract.
    pub fn code(&self) -> u8 {
        match self {
            Self::Verdict(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::Untrusted(_) => 4,
        }
    }
}
