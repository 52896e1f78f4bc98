//! The table of programs: what each is attached to, with which others, since which kernel, and what is lost without it.
//!
//! Programs of the function tier come from the table of hooks (`netstrata_common::Hook`) beside this one; a test holds the
//! compiled object equal to both.

/// A program and when it is wanted.
pub struct Probe {
    /// Name of the program.
    pub name: &'static str,
    /// What it is attached to.
    pub at: At,
    /// What it is attached with.
    pub group: Group,
    /// Without it there is no recording.
    pub required: bool,
    /// First kernel that has what it is attached to; empty: every kernel that can record.
    pub since: &'static str,
    /// What is lost where the kernel lacks it.
    pub lost: &'static str,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A raw tracepoint.
    Tracepoint(&'static str),
    /// A function that packets cross and that no tracepoint announces, by a kprobe.
    Function {
        /// The tracepoint that it stands for where a kernel lacks that.
        stands_for: Option<&'static str>,
        /// The module that has it, which may be loaded at any time.
        module: Option<&'static str>,
    },
    /// The clock or the counter of every CPU (perf).
    Cpu,
}

/// Programs that are attached and detached together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Journeys of packets.
    Journey,
    /// What is rare, and counted all the time.
    Counts,
    /// Softirq times.
    Softirq,
    /// Samples of CPUs, all the time or densely for moments.
    Samples,
    /// What hooks of functions need beside them.
    Functions,
}

impl Group {
    /// The name that `doctor` shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Journey => "journey",
            Self::Counts => "counts",
            Self::Softirq => "softirq",
            Self::Samples => "samples",
            Self::Functions => "functions",
        }
    }
}

/// How this kernel lets probes be put on functions.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe/type";
/// What sockets announce data with, unless a protocol of the kernel's own owns them.
pub(super) const READY_FUNCTION: &str = "sock_def_readable";
/// The program that samples CPUs all the time.
pub(super) const SAMPLER: &str = "cpu_sample";
/// The one that samples them densely for moments, to split spans.
pub(super) const BURST: &str = "burst_sample";
/// Programs of the function tier that see softirqs begin and end, the end first.
pub(super) const FUNCTION_SOFTIRQS: [&str; 2] = ["function_softirq_exit", "function_softirq_entry"];
/// The one before each action of a flow of Open vSwitch.
pub(super) const FUNCTION_OVS_ACTION: &str = "function_ovs_do_execute_action";

/// A sentence about a loss, with the kernel since which there is none.
macro_rules! lost {
    ($lost:literal) => {
        $lost
    };
    ($lost:literal $since:literal) => {
        concat!($lost, " (needs ", $since, ")")
    };
}

macro_rules! probes {
    ($($need:ident $group:ident $name:literal $at:expr, $lost:literal $(since $since:literal)?;)*) => {
        /// Every program but those of hooks, in the order in which they are attached: ends of journeys first, starts last,
        /// so that nothing starts that could not be followed.
        pub const PROBES: &[Probe] = &[
            $(Probe {
                name: $name,
                at: $at,
                group: Group::$group,
                required: probes!(@$need),
                since: concat!($($since)?),
                lost: lost!($lost $($since)?),
            },)*
        ];
    };
    (@must) => { true };
    (@may) => { false };
}

/// The tracepoint of this name.
const fn tracepoint(name: &'static str) -> At {
    At::Tracepoint(name)
}

/// A function of Open vSwitch's module.
const OVS: At = At::Function { stands_for: None, module: Some("openvswitch") };
/// A function of WireGuard's.
const WIREGUARD: At = At::Function { stands_for: None, module: Some("wireguard") };

probes! {
    must Journey "kfree_skb" tracepoint("kfree_skb"), "the end of packets that are dropped";
    must Journey "consume_skb" tracepoint("consume_skb"), "the end of packets that nobody reads";
    must Journey "skb_copy_datagram_iovec" tracepoint("skb_copy_datagram_iovec"), "the reader's copy";
    may Journey "tcp_rcv_space_adjust" tracepoint("tcp_rcv_space_adjust"),
        "the end of data that readers take without copying them";
    may Journey "sk_data_ready" tracepoint("sk_data_ready"),
        "the split between protocol work and waking the reader" since "6.3";
    may Journey "fib_table_lookup" tracepoint("fib_table_lookup"), "the place of the route look-up";
    may Journey "fib6_table_lookup" tracepoint("fib6_table_lookup"), "the place of the route look-up of IPv6";
    may Journey "tcp_probe" tracepoint("tcp_probe"),
        "the split between IP and TCP, and segments that waited for a busy socket";
    must Journey "netif_receive_skb" tracepoint("netif_receive_skb"), "reception";
    may Journey "napi_gro_receive_entry" tracepoint("napi_gro_receive_entry"), "GRO";
    may Journey "napi_gro_frags_exit" tracepoint("napi_gro_frags_exit"), "what GRO merged of the drivers that hand it pages";
    may Journey "napi_gro_frags_entry" tracepoint("napi_gro_frags_entry"), "what drivers receive that hand GRO pages";
    may Journey "napi_gro_receive_exit" tracepoint("napi_gro_receive_exit"), "what GRO merged";
    must Journey "netif_rx" tracepoint("netif_rx"), "the backlog queue";
    must Journey "net_dev_xmit" tracepoint("net_dev_xmit"), "the end of transmission";
    must Journey "net_dev_start_xmit" tracepoint("net_dev_start_xmit"), "the start of transmission";
    may Journey "qdisc_enqueue" tracepoint("qdisc_enqueue"),
        "the difference between passing and waiting in a qdisc" since "5.15";
    may Journey "tcp_sendmsg_locked" tracepoint("tcp_sendmsg_locked"),
        "TCP's own send work, before the first device" since "6.15";
    must Journey "net_dev_queue" tracepoint("net_dev_queue"), "the start of journeys";
    may Journey "sock_def_readable" At::Function { stands_for: Some("sk_data_ready"), module: None },
        "the split between protocol work and waking the reader";
    may Journey "ovs_flow_key_extract_userspace" OVS,
        "the way of packets that Open vSwitch gets back from its daemon";
    may Journey "ovs_dp_upcall" OVS, "the way of packets that Open vSwitch sends to its daemon";
    may Journey "wg_packet_send_staged_packets" WIREGUARD, "the way of large packets that WireGuard cuts before it encrypts them";
    must Counts "count_drop" tracepoint("kfree_skb"), "drops";
    may Counts "count_retransmit" tracepoint("tcp_retransmit_skb"), "retransmits";
    may Softirq "softirq_exit" tracepoint("softirq_exit"), "softirq times";
    may Softirq "softirq_entry" tracepoint("softirq_entry"), "softirq times";
    may Softirq "softirq_raise" tracepoint("softirq_raise"), "the wait between raise and entry of a softirq";
    may Softirq "napi_poll" tracepoint("napi_poll"), "packets per poll";
    must Samples "cpu_sample" At::Cpu, "CPU time";
    must Samples "burst_sample" At::Cpu, "parts of spans";
    may Functions "function_softirq_exit" tracepoint("softirq_exit"), "hooks that a softirq interrupted";
    may Functions "function_softirq_entry" tracepoint("softirq_entry"), "hooks that a softirq interrupted";
    may Functions "function_ovs_do_execute_action" tracepoint("ovs_do_execute_action"),
        "the actions of Open vSwitch's flows" since "5.16";
}

impl Probe {
    /// The tracepoint that it is attached to.
    pub fn tracepoint(&self) -> Option<&'static str> {
        match self.at {
            At::Tracepoint(name) => Some(name),
            At::Function { .. } | At::Cpu => None,
        }
    }

    /// The tracepoint that it stands for where a kernel lacks that.
    pub(super) fn stands_for(&self) -> Option<&'static str> {
        match self.at {
            At::Function { stands_for, .. } => stands_for,
            At::Tracepoint(_) | At::Cpu => None,
        }
    }

    /// Under which name it is missing.
    pub(super) fn key(&self) -> &'static str {
        self.stands_for().unwrap_or(self.name)
    }

    /// Whether it is attached to a function, and that is there now; those of the kernel itself always are.
    pub(super) fn is_loaded(&self) -> bool {
        match self.at {
            At::Function { module, .. } => {
                module.is_none_or(|module| std::path::Path::new("/sys/module").join(module).exists())
            }
            At::Tracepoint(_) | At::Cpu => false,
        }
    }
}

/// The programs that a recording without hooks attaches to tracepoints.
pub fn tracepoints() -> impl Iterator<Item = &'static Probe> {
    PROBES.iter().filter(|probe| probe.tracepoint().is_some() && probe.group != Group::Functions)
}

/// The programs at functions that packets cross.
pub(super) fn functions() -> impl Iterator<Item = &'static Probe> {
    PROBES.iter().filter(|probe| matches!(probe.at, At::Function { .. }))
}

/// The kernel has kprobes: a quick look that does not try them.
pub fn has_kprobes() -> bool {
    std::path::Path::new(KPROBES).exists()
}

/// The function whose probe stands for a tracepoint that a kernel lacks, where functions can be hooked.
pub fn stand_in(tracepoint: &str) -> Option<&'static str> {
    let probe = functions().find(|probe| probe.stands_for() == Some(tracepoint))?;
    has_kprobes().then_some(probe.name)
}

/// The programs that are looked for by name.
#[cfg(test)]
const NAMED: [&str; 6] =
    [READY_FUNCTION, SAMPLER, BURST, FUNCTION_SOFTIRQS[0], FUNCTION_SOFTIRQS[1], FUNCTION_OVS_ACTION];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aya_obj::{Object, ProgramSection};
    use netstrata_common::Hook;

    use super::*;

    /// Programs of the object, with their kinds.
    fn compiled() -> BTreeSet<(String, &'static str)> {
        let object = Object::parse(super::super::object::OBJECT).expect("an object");
        let kind = |section: &ProgramSection| match section {
            ProgramSection::RawTracePoint => "raw tracepoint",
            ProgramSection::KProbe => "kprobe",
            ProgramSection::KRetProbe => "kretprobe",
            ProgramSection::FEntry { sleepable: false } => "fentry",
            ProgramSection::FExit { sleepable: false } => "fexit",
            ProgramSection::PerfEvent => "perf event",
            _ => "something else",
        };
        object.programs.iter().map(|(name, program)| (name.clone(), kind(&program.section))).collect()
    }

    #[test]
    fn the_object_has_the_programs_of_the_tables_and_no_other() {
        let probes = PROBES.iter().map(|probe| {
            let kind = match probe.at {
                At::Tracepoint(_) => "raw tracepoint",
                At::Function { .. } => "kprobe",
                At::Cpu => "perf event",
            };
            (probe.name.to_owned(), kind)
        });
        // Rows without a function are filled by the programs of others.
        let hooks = Hook::ALL.iter().filter(|hook| !hook.info().functions.is_empty()).flat_map(|hook| {
            let program = Hook::PROGRAMS[*hook as usize];
            ["fentry", "fexit", "kprobe", "kretprobe"].map(|kind| (format!("{program}_{kind}"), kind))
        });
        let (expected, compiled) = (probes.chain(hooks).collect::<BTreeSet<_>>(), compiled());
        let missing: Vec<_> = expected.difference(&compiled).collect();
        let unknown: Vec<_> = compiled.difference(&expected).collect();
        assert!(missing.is_empty() && unknown.is_empty(), "not compiled: {missing:?}; in no table: {unknown:?}");
    }

    #[test]
    fn every_row_is_one_program_and_names_that_are_looked_for_have_one() {
        for (index, probe) in PROBES.iter().enumerate() {
            assert!(PROBES[..index].iter().all(|before| before.name != probe.name), "{}", probe.name);
            assert_eq!(probe.lost.contains("needs"), !probe.since.is_empty(), "{}", probe.name);
        }
        for name in NAMED {
            assert!(PROBES.iter().any(|probe| probe.name == name), "{name}");
        }
        for probe in functions() {
            let stands_for = probe.stands_for();
            assert!(stands_for.is_none_or(|name| tracepoints().any(|probe| probe.tracepoint() == Some(name))));
        }
    }
}
