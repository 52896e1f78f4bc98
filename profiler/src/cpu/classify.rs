//! From a stack to the layer that was at work.
//!
//! **CPU account** ([`Classifier::sample_layer`]): walking from the innermost frame outwards, the first frame with a
//! layer names the sample. A spin lock taken in `br_forward` is `lock`.
//!
//! **Span of a packet** ([`Classifier::datapath_layer`], [`Classifier::span_layer`]): helpers (memory, locks, copies,
//! checksums, …) are skipped, and the first frame outwards that decides a layer of the datapath names the sample. The
//! same spin lock is `bridge`.
//!
//! What both share:
//! - a function without a rule is its caller's work;
//! - a BPF program takes the layer of the hook that runs it, and the helpers it calls are part of it; run by a driver
//!   it is `xdp`, run by `__dev_queue_xmit` or `__netif_receive_skb_core` (into which the tcx hook is compiled) `tc`;
//! - everything inside a tracer's entry (`bpf_trace_run*`, …) is `observer`, whatever the frames are called;
//! - an unknown function that the NAPI loop or `dev_hard_start_xmit` calls is a driver: `nic`;
//! - scheduler frames are `wakeup` if a layer of the datapath called them, otherwise `sched`;
//! - slab and page allocation called by the packet buffer functions is `skb`;
//! - the walk ends where an interrupt or a softirq began: what it interrupted has no part in it;
//! - the cores of entry and softirq name only their own work: a function without a rule right above them stays
//!   unattributed instead of being hidden in `entry`.

use netstrata_common::Layer;

use super::symbols::{self, Class, Role};

/// A symbol, read once.
struct Symbol {
    name: String,
    class: Class,
    /// Where a softirq or an interrupt begins.
    boundary: Option<Boundary>,
    /// Calls functions of drivers.
    calls_driver: bool,
    /// The tcx hook may be compiled into it.
    tc_hook: bool,
}

/// Why the work above a frame is not the work of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boundary {
    Softirq,
    Hardirq,
}

/// The layer of a frame within its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Naming {
    layer: Layer,
    role: Role,
}

/// A sample inside a packet's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InSpan {
    /// Position of the root frame in the stack.
    pub root: usize,
    /// Position of the frame that decided; none if no frame did.
    pub frame: Option<usize>,
    /// The layer that it decided.
    pub layer: Option<Layer>,
}

/// Classifies stacks whose frames are indices into one list of symbols.
pub struct Classifier {
    symbols: Vec<Symbol>,
}

fn boundary_of(name: &str) -> Option<Boundary> {
    const SOFTIRQ: &[&str] = &["handle_softirqs", "__do_softirq", "__softirqentry_text_start", "run_ksoftirqd"];
    const HARDIRQ: &[&str] = &[
        "asm_common_interrupt",
        "common_interrupt",
        "__common_interrupt",
        "gic_handle_irq",
        "generic_handle_domain_irq",
        "do_interrupt_handler",
        "el1_interrupt",
        "el0_interrupt",
        "handle_edge_irq",
        "handle_level_irq",
    ];
    const HARDIRQ_PREFIXES: &[&str] =
        &["handle_irq", "__handle_irq", "handle_fasteoi_", "handle_percpu_", "sysvec_", "__sysvec_", "asm_sysvec_"];
    if SOFTIRQ.contains(&name) {
        Some(Boundary::Softirq)
    } else if HARDIRQ.contains(&name) || HARDIRQ_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        Some(Boundary::Hardirq)
    } else {
        None
    }
}

impl Classifier {
    /// Reads each symbol once.
    pub fn new(symbols: &[String]) -> Self {
        let symbols = symbols
            .iter()
            .map(|symbol| {
                let name = symbols::strip(symbol);
                Symbol {
                    class: symbols::classify(name),
                    boundary: boundary_of(name),
                    calls_driver: matches!(
                        name,
                        "__napi_poll" | "napi_poll" | "net_rx_action" | "dev_hard_start_xmit" | "xmit_one"
                    ),
                    tc_hook: matches!(name, "__netif_receive_skb_core" | "__dev_queue_xmit")
                        || name.starts_with("sch_handle_")
                        || name.starts_with("netkit_"),
                    name: name.to_owned(),
                }
            })
            .collect();
        Self { symbols }
    }

    /// The stripped name of a frame; `?` if the index has no symbol.
    pub fn name(&self, frame: u32) -> &str {
        self.symbol(frame).map_or("?", |symbol| &symbol.name)
    }

    fn symbol(&self, frame: u32) -> Option<&Symbol> {
        self.symbols.get(frame as usize)
    }

    fn class(&self, frame: u32) -> Class {
        self.symbol(frame).map_or(Class::UNNAMED, |symbol| symbol.class)
    }

    /// The innermost frame that tells whether the work is a softirq's or an interrupt's.
    pub(super) fn boundary(&self, stack: &[u32]) -> Option<Boundary> {
        stack.iter().find_map(|&frame| self.symbol(frame)?.boundary)
    }

    fn is_boundary(&self, frame: u32) -> bool {
        self.symbol(frame).is_some_and(|symbol| symbol.boundary.is_some())
    }

    /// The hook that runs a program.
    fn hook(&self, stack: &[u32], at: usize) -> Option<Layer> {
        for &frame in &stack[at + 1..] {
            let symbol = self.symbol(frame)?;
            match symbol.class.role {
                Role::Program | Role::Passes | Role::Unnamed => {}
                Role::Trampoline => return Some(Layer::Observer),
                _ if symbol.tc_hook => return Some(Layer::Tc),
                _ => {
                    return match symbol.class.layer {
                        Some(Layer::Nic | Layer::Veth | Layer::Tun) => Some(Layer::Xdp),
                        layer => layer,
                    };
                }
            }
        }
        None
    }

    /// Whether a layer of the datapath asked the scheduler.
    fn woken_by_datapath(&self, stack: &[u32], at: usize) -> bool {
        for &frame in &stack[at + 1..] {
            let class = self.class(frame);
            match (class.role, class.layer) {
                (Role::Helper, Some(Layer::Wakeup | Layer::Scheduler | Layer::Lock | Layer::Timer)) => {}
                (Role::Helper | Role::Absorbs, _) => return false,
                (Role::Decides, Some(layer)) => return layer.is_datapath(),
                _ => {}
            }
            if self.is_boundary(frame) {
                return false;
            }
        }
        false
    }

    /// Whether memory is handled for a packet buffer.
    fn for_packet_buffer(&self, stack: &[u32], at: usize) -> bool {
        stack[at + 1..]
            .iter()
            .map(|&frame| self.class(frame))
            .find(|class| class.layer.is_some() && !matches!(class.layer, Some(Layer::Memory | Layer::Lock)))
            .is_some_and(|class| class.layer == Some(Layer::SkbMemory))
    }

    /// The layer of one frame, seen in its stack.
    fn named(&self, stack: &[u32], at: usize) -> Option<Naming> {
        let class = self.class(stack[at]);
        match (class.role, class.layer) {
            (Role::Program, _) => self.hook(stack, at).map(|layer| Naming { layer, role: Role::Decides }),
            (Role::Unnamed, _) => {
                let caller = stack.get(at + 1).and_then(|&frame| self.symbol(frame))?;
                caller.calls_driver.then_some(Naming { layer: Layer::Nic, role: Role::Decides })
            }
            (Role::Helper, Some(Layer::Wakeup | Layer::Scheduler)) => Some(if self.woken_by_datapath(stack, at) {
                Naming { layer: Layer::Wakeup, role: Role::Decides }
            } else {
                Naming { layer: Layer::Scheduler, role: Role::Helper }
            }),
            (Role::Helper, Some(Layer::Memory)) if self.for_packet_buffer(stack, at) => {
                Some(Naming { layer: Layer::SkbMemory, role: Role::Helper })
            }
            (role, layer) => layer.map(|layer| Naming { layer, role }),
        }
    }

    /// The layer that a sample belongs to in the CPU account; none if no frame has one.
    ///
    /// Frames are innermost first.
    pub fn sample_layer(&self, stack: &[u32]) -> Option<Layer> {
        let mut found: Option<Naming> = None;
        let mut unnamed = false;
        let mut closed = false;
        for (at, &frame) in stack.iter().enumerate() {
            let role = self.class(frame).role;
            let named = self.named(stack, at);
            match role {
                Role::Absorbs => return Some(Layer::Observer),
                // Helpers that a program calls are part of the program.
                Role::Program if !closed && found.is_none_or(|found| found.role == Role::Helper) => {
                    found = named;
                    unnamed |= named.is_none();
                }
                _ if found.is_some() || closed => {}
                _ => match named {
                    Some(Naming { layer: Layer::Entry | Layer::Softirq, .. }) if unnamed => closed = true,
                    Some(named) => found = Some(named),
                    None => unnamed |= role == Role::Unnamed,
                },
            }
            if self.is_boundary(frame) {
                break;
            }
        }
        found.map(|found| found.layer)
    }

    /// The layer of the datapath at work: helpers are skipped. `Layer::Observer` where a tracer ran.
    ///
    /// Frames are innermost first.
    pub fn datapath_layer(&self, stack: &[u32]) -> Option<Layer> {
        self.deciding(stack, stack.len()).map(|found| found.1)
    }

    /// The innermost of the first `end` frames that decides, within one context.
    pub(super) fn deciding(&self, stack: &[u32], end: usize) -> Option<(usize, Layer)> {
        let mut found = None;
        for (at, &frame) in stack.iter().enumerate().take(end) {
            if self.class(frame).role == Role::Absorbs {
                return Some((at, Layer::Observer));
            }
            if found.is_none()
                && let Some(Naming { layer, role: Role::Decides }) = self.named(stack, at)
                && (layer.is_datapath() || layer == Layer::Observer)
            {
                found = Some((at, layer));
            }
            if self.is_boundary(frame) {
                // The packet waits while something else runs: no layer of the packet's is at work.
                return found.filter(|found| found.1 == Layer::Observer);
            }
        }
        found
    }

    /// The layer at work for a packet whose span runs inside one of the `roots`; none if no such frame is in the stack.
    ///
    /// Only frames inside the innermost root count. Frames are innermost first.
    pub fn span_layer(&self, stack: &[u32], roots: &[&str]) -> Option<InSpan> {
        let root = stack.iter().position(|&frame| roots.contains(&self.name(frame)))?;
        let decided = self.deciding(stack, root);
        Some(InSpan { root, frame: decided.map(|decided| decided.0), layer: decided.map(|decided| decided.1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::testdata::Stacks;

    fn sample(stack: &str) -> Option<Layer> {
        let mut stacks = Stacks::default();
        let frames = stacks.stack(stack);
        Classifier::new(&stacks.symbols).sample_layer(&frames)
    }

    fn datapath(stack: &str) -> Option<Layer> {
        let mut stacks = Stacks::default();
        let frames = stacks.stack(stack);
        Classifier::new(&stacks.symbols).datapath_layer(&frames)
    }

    #[test]
    fn the_innermost_frame_with_a_layer_names_the_sample() {
        assert_eq!(sample("br_forward;br_handle_frame;__netif_receive_skb_core.constprop.0"), Some(Layer::Bridge));
        assert_eq!(sample("_raw_spin_lock;br_forward;br_handle_frame"), Some(Layer::Lock));
        assert_eq!(sample("eth_type_trans;__dev_forward_skb2;veth_xmit;dev_hard_start_xmit"), Some(Layer::Veth));
        assert_eq!(sample(""), None);
    }

    #[test]
    fn a_span_skips_helpers() {
        assert_eq!(datapath("_raw_spin_lock;br_forward;br_handle_frame"), Some(Layer::Bridge));
        assert_eq!(datapath("memcpy_orig;skb_copy_bits;tcp_gso_segment;__dev_queue_xmit"), Some(Layer::Gso));
        assert_eq!(datapath("_raw_spin_lock;__alloc_skb;do_syscall_64"), None);
    }

    #[test]
    fn a_program_takes_the_layer_of_its_hook() {
        let program = "bpf_prog_0123456789abcdef_spin";
        for (callers, layer) in [
            ("cls_bpf_classify;tcf_classify;tc_run;__netif_receive_skb_core.constprop.0", Layer::Tc),
            ("__netif_receive_skb_core.constprop.0;process_backlog", Layer::Tc),
            ("__dev_queue_xmit;ip_finish_output2", Layer::Tc),
            ("bpf_prog_run_generic_xdp;do_xdp_generic;__netif_receive_skb_core", Layer::Xdp),
            ("bpf_dispatcher_xdp_func;veth_xdp_rcv_skb;veth_poll", Layer::Xdp),
            ("mlx5e_xdp_handle;mlx5e_poll_rx_cq", Layer::Xdp),
            ("sk_filter_trim_cap;tcp_v4_rcv", Layer::Socket),
            ("__cgroup_bpf_run_filter_skb;ip_finish_output", Layer::Socket),
            ("bpf_trace_run2;consume_skb", Layer::Observer),
            ("bpf_trampoline_6442536812;tcp_sendmsg", Layer::Observer),
        ] {
            assert_eq!(sample(&format!("{program};{callers}")), Some(layer), "{callers}");
            assert_eq!(datapath(&format!("{program};{callers}")), Some(layer), "{callers}");
            // What the program calls is part of it.
            assert_eq!(sample(&format!("ktime_get;bpf_ktime_get_ns;{program};{callers}")), Some(layer), "{callers}");
        }
        assert_eq!(sample(program), None);
    }

    #[test]
    fn a_tail_called_program_has_the_hook_of_the_first() {
        let stack = "bpf_prog_0123456789abcdef_b;bpf_prog_fedcba9876543210_a;tcf_classify;__dev_queue_xmit";
        assert_eq!(sample(stack), Some(Layer::Tc));
    }

    #[test]
    fn layers_that_a_program_calls_keep_their_name() {
        let stack = "fib_table_lookup;bpf_ipv4_fib_lookup;bpf_prog_0123456789abcdef_x;tcf_classify;__dev_queue_xmit";
        assert_eq!(sample(stack), Some(Layer::Route));
    }

    #[test]
    fn whatever_a_tracer_runs_is_the_observer() {
        let stack = "_raw_spin_lock_irqsave;bpf_ringbuf_reserve;bpf_prog_0123456789abcdef_x;bpf_trace_run2;\
                     __bpf_trace_net_dev_template;__traceiter_netif_receive_skb;__netif_receive_skb_core";
        assert_eq!(sample(stack), Some(Layer::Observer));
        assert_eq!(datapath(stack), Some(Layer::Observer));
        // A kernel function that a trampoline calls is not.
        assert_eq!(sample("tcp_sendmsg;bpf_trampoline_6442536812;inet_sendmsg"), Some(Layer::Tcp));
        assert_eq!(sample("foo;bpf_trampoline_6442536812;inet_sendmsg"), Some(Layer::Socket));
        // A softirq that interrupted a tracer is not.
        assert_eq!(sample("br_forward;net_rx_action;handle_softirqs;irq_exit_rcu;bpf_trace_run2"), Some(Layer::Bridge));
    }

    #[test]
    fn an_unknown_function_of_a_driver_is_the_nic() {
        assert_eq!(sample("foo_clean_rx;foo_poll;__napi_poll;net_rx_action;handle_softirqs"), Some(Layer::Nic));
        assert_eq!(sample("foo_xmit;dev_hard_start_xmit;sch_direct_xmit;__dev_queue_xmit"), Some(Layer::Nic));
        assert_eq!(sample("__napi_poll;net_rx_action;handle_softirqs"), Some(Layer::Softirq));
    }

    #[test]
    fn the_scheduler_is_wakeup_where_the_datapath_calls_it() {
        let wake = "try_to_wake_up;autoremove_wake_function;__wake_up_common;__wake_up_sync_key;sock_def_readable";
        assert_eq!(
            sample(&format!("select_task_rq_fair;{wake};tcp_data_ready;tcp_rcv_established")),
            Some(Layer::Wakeup)
        );
        assert_eq!(
            sample("__schedule;schedule;schedule_timeout;wait_woken;sk_wait_data;tcp_recvmsg_locked"),
            Some(Layer::Wakeup)
        );
        assert_eq!(
            sample("ttwu_do_activate;try_to_wake_up;ep_autoremove_wake_function;ep_poll_callback"),
            Some(Layer::Wakeup)
        );
        assert_eq!(sample("__schedule;schedule;do_nanosleep;hrtimer_nanosleep;do_syscall_64"), Some(Layer::Scheduler));
        assert_eq!(sample("__schedule;schedule;smpboot_thread_fn;kthread;ret_from_fork"), Some(Layer::Scheduler));
        assert_eq!(
            sample(
                "try_to_wake_up;hrtimer_wakeup;__hrtimer_run_queues;handle_softirqs;__local_bh_enable_ip;tcp_sendmsg"
            ),
            Some(Layer::Scheduler)
        );
        assert_eq!(datapath("try_to_wake_up;sock_def_readable;tcp_data_ready"), Some(Layer::Wakeup));
    }

    #[test]
    fn memory_of_packet_buffers_is_skb() {
        assert_eq!(sample("kmem_cache_alloc_node_noprof;__alloc_skb;tcp_stream_alloc_skb"), Some(Layer::SkbMemory));
        assert_eq!(sample("__slab_free;kmem_cache_free;skb_free_head;skb_release_data"), Some(Layer::SkbMemory));
        assert_eq!(sample("kmem_cache_alloc_noprof;dst_alloc;rt_dst_alloc"), Some(Layer::Memory));
    }

    #[test]
    fn what_was_interrupted_has_no_part() {
        assert_eq!(sample("foo_isr;__handle_irq_event_percpu;handle_irq_event;asm_common_interrupt;br_forward"), None);
        assert_eq!(sample("handle_irq_event;handle_edge_irq;asm_common_interrupt;br_forward"), Some(Layer::Entry));
        assert_eq!(sample("blk_done;handle_softirqs;__local_bh_enable_ip;tcp_sendmsg"), None);
        assert_eq!(datapath("ktime_get;hrtimer_interrupt;sysvec_apic_timer_interrupt;br_forward"), None);
    }

    #[test]
    fn entry_names_only_its_own_work() {
        assert_eq!(sample("do_syscall_64;entry_SYSCALL_64_after_hwframe"), Some(Layer::Entry));
        assert_eq!(sample("ext4_write;vfs_write;ksys_write;do_syscall_64"), None);
        assert_eq!(sample("vfs_write;ksys_write;do_syscall_64"), Some(Layer::Entry));
    }

    #[test]
    fn shared_tunnel_work_is_the_tunnels() {
        assert_eq!(sample("udp_tunnel_xmit_skb;vxlan_xmit_one;vxlan_xmit"), Some(Layer::Vxlan));
        assert_eq!(sample("ip_tunnel_xmit;ipip_tunnel_xmit;dev_hard_start_xmit"), Some(Layer::Ipip));
        assert_eq!(sample("ip_tunnel_xmit;__gre_xmit;ipgre_xmit"), Some(Layer::Gre));
    }

    #[test]
    fn a_span_ends_at_its_root() {
        let mut stacks = Stacks::default();
        let stack = stacks.stack("_raw_spin_lock;nf_hook_slow;br_handle_frame;__netif_receive_skb_core;br_forward");
        let bare = stacks.stack("_raw_spin_lock;__netif_receive_skb_core.constprop.0;br_forward");
        let classifier = Classifier::new(&stacks.symbols);
        let roots = ["__netif_receive_skb_core"];
        let inside = InSpan { root: 3, frame: Some(1), layer: Some(Layer::Netfilter) };
        assert_eq!(classifier.span_layer(&stack, &roots), Some(inside));
        assert_eq!(classifier.span_layer(&bare, &roots), Some(InSpan { root: 1, frame: None, layer: None }));
        assert_eq!(classifier.span_layer(&stack, &["tcp_sendmsg"]), None);
    }

    #[test]
    fn a_frame_without_symbol_is_no_error() {
        let classifier = Classifier::new(&[]);
        assert_eq!(classifier.sample_layer(&[7]), None);
        assert_eq!(classifier.name(7), "?");
    }
}
