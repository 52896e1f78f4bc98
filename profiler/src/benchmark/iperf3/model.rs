//! What iperf3 3.1 to 3.21 print with `-J`, as far as it is read. Keys that a version does not have are none.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// The one object of `-J`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Document {
    pub start: Option<Start>,
    pub end: Option<End>,
    /// What went wrong; figures beside it are of what was done until then.
    pub error: Option<String>,
}

/// A line of `--json-stream` (3.17): the name of the event, without what it tells.
#[derive(Debug, Deserialize)]
pub struct EventName {
    pub event: String,
}

/// The same with what it tells.
#[derive(Debug, Deserialize)]
pub struct Event<T> {
    pub data: T,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Start {
    pub version: Option<String>,
    pub timestamp: Option<Timestamp>,
    /// Only a server has it.
    pub accepted_connection: Option<IgnoredAny>,
    /// The same for both sides of a test.
    pub cookie: Option<String>,
    pub test_start: Option<TestStart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Timestamp {
    pub timesecs: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TestStart {
    pub protocol: Option<String>,
    pub num_streams: Option<f64>,
    pub blksize: Option<f64>,
    /// Seconds at the beginning that no figure is of.
    pub omit: Option<f64>,
    pub reverse: Option<f64>,
    /// Since 3.11.
    pub bidir: Option<f64>,
}

/// Sums of one direction or of one stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sum {
    pub seconds: Option<f64>,
    pub bytes: Option<f64>,
    pub bits_per_second: Option<f64>,
    pub retransmits: Option<f64>,
    /// Of datagrams: the highest number that came; of the sender, what was sent.
    pub packets: Option<f64>,
    /// Gaps in the numbers; negative where datagrams came twice or late.
    pub lost_packets: Option<f64>,
    pub out_of_order: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stream {
    pub sender: Option<Sum>,
    pub receiver: Option<Sum>,
    pub udp: Option<Sum>,
}

/// Percents of a CPU of this process (`host`) and the other side's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Shares {
    pub host_total: Option<f64>,
    pub host_user: Option<f64>,
    pub host_system: Option<f64>,
    pub remote_total: Option<f64>,
    pub remote_user: Option<f64>,
    pub remote_system: Option<f64>,
}

/// The end, with all sums of a kind in their order: of a test in both directions 3.7 to 3.10 write the same key twice, later
/// versions give the direction back the name `…_bidir_reverse`.
#[derive(Debug, Default)]
pub struct End {
    pub streams: Vec<Stream>,
    pub sent: Vec<Sum>,
    pub received: Vec<Sum>,
    /// UDP: of both sides in one, before 3.11 the only one.
    pub both: Vec<Sum>,
    pub shares: Shares,
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(EndVisitor)
    }
}

struct EndVisitor;

impl<'de> Visitor<'de> for EndVisitor {
    type Value = End;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the end of a test")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<End, M::Error> {
        let mut end = End::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "streams" => end.streams = map.next_value()?,
                "sum_sent" | "sum_sent_bidir_reverse" => end.sent.extend(map.next_value::<Option<Sum>>()?),
                "sum_received" | "sum_received_bidir_reverse" => end.received.extend(map.next_value::<Option<Sum>>()?),
                "sum" | "sum_bidir_reverse" => end.both.extend(map.next_value::<Option<Sum>>()?),
                "cpu_utilization_percent" => end.shares = map.next_value::<Option<Shares>>()?.unwrap_or_default(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(end)
    }
}
