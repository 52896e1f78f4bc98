//! What the process may do, and which capability it lacks.

/// A capability that recording needs or likes to have.
pub struct Capability {
    /// Number in `linux/capability.h`.
    pub number: u32,
    /// Name.
    pub name: &'static str,
    /// What it is for.
    pub why: &'static str,
    /// Recording is refused without it.
    pub required: bool,
}

/// The only list: documentation, `doctor` and the refusals read it.
pub const CAPABILITIES: &[Capability] = &[
    Capability { number: 39, name: "CAP_BPF", why: "load the kernel programs and their maps", required: true },
    Capability {
        number: 38,
        name: "CAP_PERFMON",
        why: "attach to tracepoints and sample the CPUs with kernel stacks",
        required: true,
    },
    Capability {
        number: 34,
        name: "CAP_SYSLOG",
        why: "read the addresses of kernel functions; required unless kernel.perf_event_paranoid is at most 1 and \
              kernel.kptr_restrict is 0",
        required: false,
    },
    Capability {
        number: 21,
        name: "CAP_SYS_ADMIN",
        why: "enter other network namespaces to name their devices",
        required: false,
    },
    Capability {
        number: 19,
        name: "CAP_SYS_PTRACE",
        why: "see the namespaces of other users' processes",
        required: false,
    },
    Capability {
        number: 12,
        name: "CAP_NET_ADMIN",
        why: "measure the cost of probes in a network namespace of its own (with CAP_SYS_ADMIN)",
        required: false,
    },
];

/// The effective capabilities of this thread, as a mask.
pub fn effective() -> u64 {
    std::fs::read_to_string("/proc/thread-self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}

/// Whether a mask grants a capability; CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, as in the kernel.
pub fn has(mask: u64, capability: &Capability) -> bool {
    let bit = |number: u32| mask >> number & 1 == 1;
    bit(capability.number) || (matches!(capability.number, 38 | 39) && bit(21))
}

/// Names of the required capabilities that are missing.
pub fn missing_required(mask: u64) -> Vec<&'static str> {
    CAPABILITIES.iter().filter(|entry| entry.required && !has(mask, entry)).map(|entry| entry.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_with_the_set_and_both_are_without() {
        assert_eq!(missing_required(1 << 38 | 1 << 39), Vec::<&str>::new());
        assert_eq!(missing_required(1 << 21), Vec::<&str>::new());
        assert_eq!(missing_required(0), ["CAP_BPF", "CAP_PERFMON"]);
    }
}
