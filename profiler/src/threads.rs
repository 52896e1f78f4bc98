//! Names of the threads that record: profiles know by them what is no part of what was recorded. The kernel keeps fifteen
//! bytes of a name.

/// It records.
pub const RECORD: &str = "ns-recorder";
/// It watches devices and namespaces while a recording runs.
pub const WATCH: &str = "ns-watch";
/// It looks at them once, from one namespace to the next.
pub const SCAN: &str = "ns-scan";
/// They have the kernel verify programs.
pub const VERIFY: &str = "ns-verify";
/// It sends the packets that costs are measured with.
pub const CALIBRATE: &str = "ns-calibrate";
/// It passes on what the recorded command says.
pub const OUTPUT: &str = "ns-output";
/// It writes what a recording has so far.
pub const SPOOL: &str = "ns-spool";
/// They do what would block the thread that records.
pub const BLOCKING: &str = "ns-blocking";

/// All of them.
pub const RECORDER: [&str; 8] = [RECORD, WATCH, SCAN, VERIFY, CALIBRATE, OUTPUT, SPOOL, BLOCKING];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_keeps_each_name_whole() {
        assert!(RECORDER.iter().all(|name| name.len() <= 15 && name.starts_with("ns-")));
    }
}
