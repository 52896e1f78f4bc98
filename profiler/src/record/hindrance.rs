//! What may stand behind a refusal of something that the privileges would allow.

use std::fs;

/// What refuses, and what can be done about it, if it can be seen.
pub(super) fn advice() -> Option<String> {
    let of_process = fs::read_to_string("/proc/self/status").unwrap_or_default();
    advice_of(&of_process, &lockdown())
}

/// Whether programs may not read the kernel's memory: the verifier then refuses calls that it knows everywhere else.
pub(super) fn is_locked_down() -> bool {
    lockdown().contains(LOCKED)
}

fn lockdown() -> String {
    fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default()
}

/// The level in force stands in brackets.
const LOCKED: &str = "[confidentiality]";

fn advice_of(status: &str, lockdown: &str) -> Option<String> {
    let word = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if lockdown.contains(LOCKED) {
        return Some(
            "this kernel is locked down (lockdown=confidentiality): boot with lockdown=integrity, or none".into(),
        );
    }
    if word("Seccomp:") == Some("2") {
        return Some(
            "a seccomp filter is in force here, which may refuse it: run outside of this container, or with a profile that \
             allows bpf and perf_event_open"
                .into(),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_is_named_where_it_is_seen() {
        assert_eq!(advice_of("Seccomp:\t0\nSeccomp_filters:\t0\n", "none [integrity] confidentiality\n"), None);
        assert_eq!(advice_of("", ""), None);
        let said = |status, lockdown| advice_of(status, lockdown).unwrap_or_default();
        assert!(said("Seccomp:\t2\n", "").contains("seccomp"));
        assert!(said("Seccomp:\t2\n", "none integrity [confidentiality]\n").contains("lockdown=integrity"));
    }
}
