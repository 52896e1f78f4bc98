//! What was done, and what limits it.

/// Kind of the work that was done while recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkKind {
    /// One message there, one back, and again.
    RequestResponse,
    /// The same, many at a time on a CPU that is full: it is the limit, and not the way.
    Saturated,
    /// Bytes in one direction, as many as go.
    Stream,
}

impl WorkKind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestResponse | Self::Saturated => "request-response",
            Self::Stream => "stream",
        }
    }

    /// Unit of measured and predicted rates.
    pub fn rate_unit(self) -> &'static str {
        match self {
            Self::RequestResponse | Self::Saturated => "transactions_per_s",
            Self::Stream => "bits_per_s",
        }
    }

    /// What limits its rate: how long the way of one takes, or the CPU time of a station.
    pub fn limited_by(self) -> &'static str {
        match self {
            Self::RequestResponse => "way",
            Self::Saturated | Self::Stream => "station",
        }
    }
}
