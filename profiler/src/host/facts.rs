//! Single facts of this machine and of its processes.

use std::fs;

/// A file of one line, trimmed; none if it cannot be read.
pub fn read_line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Release of the running kernel, like `6.12.107+deb13-amd64`; empty where /proc does not tell.
pub fn kernel_release() -> String {
    read_line("/proc/sys/kernel/osrelease").unwrap_or_default()
}

/// The user that this process acts as.
pub fn user() -> u32 {
    // SAFETY: a plain system call without arguments.
    unsafe { libc::geteuid() }
}

/// Whether this process acts as root.
pub fn is_root() -> bool {
    user() == 0
}

/// Start time of a process in clock ticks since boot (field 22 of `/proc/PID/stat`); none if it does not live.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name in parentheses, may hold anything; the third follows the last parenthesis.
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_start_time_is_known() {
        assert!(start_time(std::process::id()).is_some_and(|start| start > 0));
        assert_eq!(start_time(u32::MAX), None);
    }
}
