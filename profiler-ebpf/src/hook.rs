//! The programs of the function tier: for each row of the table of hooks an entry and an exit, once as fentry/fexit and
//! once as kprobe/kretprobe. The loader loads those that it attaches.
//!
//! One program for each, because kprobes have no cookie that would tell a common program its hook before 5.15:
//! <https://elixir.bootlin.com/linux/v6.12.117/source/include/uapi/linux/bpf.h#L5282>.

use core::ffi::c_void;

use aya_ebpf::{
    macros::raw_tracepoint,
    programs::{FEntryContext, ProbeContext, RawTracePointContext, RetProbeContext},
};
use netstrata_common::{Hook, KIND_FENTRY, KIND_KPROBE, hooks};

use crate::function;

/// Top of the stack at the entry of a function; 0 where it is not known.
#[inline(always)]
fn stack(context: *mut c_void) -> u64 {
    let registers = ProbeContext::new(context).regs;
    // SAFETY: a kprobe's context is the registers.
    #[cfg(bpf_target_arch = "x86_64")]
    return unsafe { (*registers).rsp };
    // SAFETY: the same.
    #[cfg(bpf_target_arch = "aarch64")]
    return unsafe { (*registers).sp };
    #[cfg(not(any(bpf_target_arch = "x86_64", bpf_target_arch = "aarch64")))]
    {
        let _ = registers;
        0
    }
}

macro_rules! programs {
    ($($hook:ident $program:ident ($($layer:tt)*) $name:literal $take:ident $(($argument:literal))? $value:literal
        [$($function:literal),*] $about:literal;)*) => {
        $(programs!(@row $hook $program $($function)*);)*
    };
    // Other rows' programs charge it.
    (@row $hook:ident $program:ident) => {};
    (@row $hook:ident $program:ident $($function:literal)+) => {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = "fentry")]
        extern "C" fn ${concat($program, _fentry)}(context: *mut c_void) -> i32 {
            // What fentry is put on is called, and returns to it.
            function::entry(Hook::$hook, KIND_FENTRY, || 0, || match const { Hook::$hook.info().take.kept_argument() } {
                Some(index) => FEntryContext::new(context).arg(index),
                None => 0,
            });
            0
        }

        #[unsafe(no_mangle)]
        #[unsafe(link_section = "fexit")]
        extern "C" fn ${concat($program, _fexit)}(context: *mut c_void) -> i32 {
            function::exit(Hook::$hook, KIND_FENTRY, || match const { Hook::$hook.info().take.arguments_before_returned() } {
                // What is returned follows the arguments.
                Some(count) => FEntryContext::new(context).arg(count),
                None => 0,
            });
            0
        }

        #[unsafe(no_mangle)]
        #[unsafe(link_section = "kprobe")]
        extern "C" fn ${concat($program, _kprobe)}(context: *mut c_void) -> i32 {
            function::entry(Hook::$hook, KIND_KPROBE, || stack(context), || match const { Hook::$hook.info().take.kept_argument() } {
                Some(index) => ProbeContext::new(context).arg(index).unwrap_or(0),
                None => 0,
            });
            0
        }

        #[unsafe(no_mangle)]
        #[unsafe(link_section = "kretprobe")]
        extern "C" fn ${concat($program, _kretprobe)}(context: *mut c_void) -> i32 {
            function::exit(Hook::$hook, KIND_KPROBE, || match const { Hook::$hook.info().take.arguments_before_returned() } {
                Some(_) => RetProbeContext::new(context).ret(),
                None => 0,
            });
            0
        }
    };
}
hooks!(programs);

// (unsigned int vec_nr)
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/irq.h#L128
#[raw_tracepoint]
fn function_softirq_entry(_context: RawTracePointContext) -> i32 {
    function::softirq_entry();
    0
}

// (unsigned int vec_nr)
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/irq.h#L142
#[raw_tracepoint]
fn function_softirq_exit(_context: RawTracePointContext) -> i32 {
    function::softirq_exit();
    0
}

// (struct datapath *dp, struct sk_buff *skb, struct sw_flow_key *key, const struct nlattr *a, int rem), since 5.16
// https://elixir.bootlin.com/linux/v7.2.13/source/net/openvswitch/openvswitch_trace.h#L12
#[raw_tracepoint]
fn function_ovs_do_execute_action(context: RawTracePointContext) -> i32 {
    function::action(context.arg(3));
    0
}
