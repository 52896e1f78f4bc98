//! What `netstrata report` says of a profile.

use std::path::Path;

use serde_json::Value;

use super::{netstrata, succeeded};

/// The report in JSON.
pub fn report(file: &Path) -> Value {
    let output = netstrata(&["report", "--format", "json", file.to_str().unwrap()]);
    serde_json::from_str(&succeeded(&output)).unwrap()
}

/// Checks from the JSON alone that the spans of every path sum to its time, and gives the packets.
pub fn closed(report: &Value) -> u64 {
    let sum = |value: &Value| value["sum"].as_u64().unwrap();
    let mut packets = 0;
    for path in report["paths"].as_array().unwrap() {
        let spans: u64 = path["spans"].as_array().unwrap().iter().map(|span| sum(&span["ns"])).sum();
        assert_eq!(spans + sum(&path["unattributed_ns"]), sum(&path["end_to_end_ns"]), "{path}");
        packets += path["packets"].as_u64().unwrap();
    }
    packets
}
