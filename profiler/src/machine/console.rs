//! What the console of a guest tells about the health of its kernel.

use std::fmt;

/// What went wrong in a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TroubleKind {
    /// The kernel gave up.
    Panic,
    /// It met what it cannot handle, and ended what it was doing.
    Oops,
    /// An assertion of its own failed.
    Bug,
    /// A CPU did not schedule for long, or a task waited for long.
    Lockup,
    /// A CPU did not let a grace period end.
    RcuStall,
    /// It warns of itself.
    Warning,
    /// The guest's own start-up failed.
    Start,
}

impl TroubleKind {
    /// Whether what ran in the guest cannot be trusted. A warning is shown and does not count.
    pub fn is_failure(self) -> bool {
        self != Self::Warning
    }
}

impl fmt::Display for TroubleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panic => "panic",
            Self::Oops => "oops",
            Self::Bug => "bug",
            Self::Lockup => "lockup",
            Self::RcuStall => "RCU stall",
            Self::Warning => "warning",
            Self::Start => "start",
        })
    }
}

/// One of the things that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it is.
    pub kind: TroubleKind,
    /// The line of the console, without its time.
    pub line: String,
}

/// What the kernel prints, and what that is. The first that fits a line counts.
const MARKS: &[(&str, TroubleKind)] = &[
    ("Kernel panic - not syncing", TroubleKind::Panic),
    ("soft lockup", TroubleKind::Lockup),
    ("hard LOCKUP", TroubleKind::Lockup),
    ("blocked for more than", TroubleKind::Lockup),
    ("self-detected stall", TroubleKind::RcuStall),
    ("detected stalls on CPUs/tasks", TroubleKind::RcuStall),
    ("detected expedited stalls", TroubleKind::RcuStall),
    ("Oops:", TroubleKind::Oops),
    ("general protection fault", TroubleKind::Oops),
    ("BUG: unable to handle", TroubleKind::Oops),
    ("kernel BUG at", TroubleKind::Bug),
    ("BUG: ", TroubleKind::Bug),
    ("WARNING: ", TroubleKind::Warning),
    ("netstrata-guest: ", TroubleKind::Start),
];

/// Reads a console.
pub fn troubles(console: &str) -> Vec<Trouble> {
    let mut found: Vec<Trouble> = Vec::new();
    for line in console.lines() {
        let text = without_time(line.trim());
        let Some((_, kind)) = MARKS.iter().find(|(mark, _)| text.contains(mark)) else { continue };
        let trouble = Trouble { kind: *kind, line: text.to_owned() };
        if !found.contains(&trouble) {
            found.push(trouble);
        }
    }
    found
}

/// The last lines, for a guest that ended without a word.
pub fn tail(console: &str, lines: usize) -> Vec<&str> {
    let all: Vec<&str> = console.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    all[all.len().saturating_sub(lines)..].to_vec()
}

/// A line without the time stamp `[   12.345678] ` of the kernel.
fn without_time(line: &str) -> &str {
    let rest = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match rest {
        Some((time, text)) if time.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ' ') => text,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(console: &str) -> Vec<TroubleKind> {
        troubles(console).into_iter().map(|trouble| trouble.kind).collect()
    }

    #[test]
    fn a_healthy_console_tells_of_nothing() {
        let console = "[    0.000000] Linux version 6.12\n[    2.1] debug: WARN level set\n\
                       [    3.000000] br0: port 1(veth) entered forwarding state\n";
        assert_eq!(troubles(console), []);
    }

    #[test]
    fn panics_and_what_led_to_them_are_told_apart() {
        let console = "[    2.073284] Oops: int3: 0000 [#1] SMP NOPTI\r\n\
                       [    2.076254] RIP: 0010:ktime_get_update_offsets_now+0x3b/0x200\r\n\
                       [    2.076431] Kernel panic - not syncing: Fatal exception in interrupt\r\n";
        assert_eq!(kinds(console), [TroubleKind::Oops, TroubleKind::Panic]);
        assert_eq!(troubles(console)[1].line, "Kernel panic - not syncing: Fatal exception in interrupt");
    }

    #[test]
    fn lockups_and_stalls_are_found_under_their_names() {
        for (line, kind) in [
            ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [ns-client:812]", TroubleKind::Lockup),
            ("INFO: task ip:77 blocked for more than 120 seconds.", TroubleKind::Lockup),
            ("rcu: INFO: rcu_preempt self-detected stall on CPU", TroubleKind::RcuStall),
            ("rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", TroubleKind::RcuStall),
            ("BUG: unable to handle page fault for address: ffff", TroubleKind::Oops),
            ("BUG: kernel NULL pointer dereference, address: 0000000000000008", TroubleKind::Bug),
            ("kernel BUG at net/core/skbuff.c:110!", TroubleKind::Bug),
            ("WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1/0x2", TroubleKind::Warning),
            ("netstrata-guest: cannot reach the host's files", TroubleKind::Start),
        ] {
            assert_eq!(kinds(&format!("[   41.000001] {line}\n")), [kind], "{line}");
            assert_eq!(kind.is_failure(), kind != TroubleKind::Warning);
        }
    }

    #[test]
    fn the_last_words_are_lines_with_something_in_them() {
        assert_eq!(tail("a\n\nb\r\nc\n\n", 2), ["b", "c"]);
        assert_eq!(tail("", 2), [""; 0]);
    }
}
