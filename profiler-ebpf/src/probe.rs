//! One program for each probe point. Above each the kernel's prototype.
//!
//! Raw tracepoints, not BTF ones: their arguments are plain numbers, so that an address can be hashed, and a packet that
//! is not followed is turned away before anything is read.

use aya_ebpf::{
    macros::{kprobe, perf_event, raw_tracepoint},
    programs::{PerfEventContext, ProbeContext, RawTracePointContext},
};
use netstrata_common::Point;

use crate::{cpu, lineage, record, sample, softirq};

/// Stamps a program. The name is the tracepoint's.
macro_rules! probe {
    ($name:ident, |$arg:ident| $body:expr) => {
        #[raw_tracepoint]
        fn $name(context: RawTracePointContext) -> i32 {
            let $arg = |index: usize| -> u64 { context.arg(index) };
            $body;
            0
        }
    };
}

// (struct sk_buff *skb)
probe!(net_dev_queue, |arg| record::crossing(Point::Queue, arg(0), 0));
// v5.10: (struct Qdisc *qdisc, const struct netdev_queue *txq, struct sk_buff *skb), since 5.15
probe!(qdisc_enqueue, |arg| record::crossing(Point::Enqueue, arg(2), 0));
// (const struct sk_buff *skb, const struct net_device *dev)
probe!(net_dev_start_xmit, |arg| record::crossing(Point::Xmit, arg(0), arg(1)));
// (struct sk_buff *skb, int rc, struct net_device *dev, unsigned int skb_len); skb may be freed
probe!(net_dev_xmit, |arg| record::crossing(Point::XmitEnd, arg(0), arg(2)));
// (struct sk_buff *skb)
probe!(netif_rx, |arg| record::crossing(Point::Rx, arg(0), 0));
// (const struct sk_buff *skb)
probe!(napi_gro_receive_entry, |arg| record::crossing(Point::Gro, arg(0), 0));
// (int ret): a gro_result_t
probe!(napi_gro_receive_exit, |arg| lineage::gro_done(arg(0) as u32));
// (struct sk_buff *skb); runs for every packet of a list, too
probe!(netif_receive_skb, |arg| record::crossing(Point::Receive, arg(0), 0));
// (u32 tb_id, const struct flowi4 *flp, const struct fib_nh_common *nhc, int err)
probe!(fib_table_lookup, |_arg| record::routed());
// (struct sock *sk, struct sk_buff *skb)
probe!(tcp_probe, |arg| record::tcp(arg(0), arg(1)));
// (const struct sock *sk), since 6.3
probe!(sk_data_ready, |arg| record::ready(arg(0)));
// The function that it announces, for kernels before: (struct sock *sk)
#[kprobe]
fn sock_def_readable(context: ProbeContext) -> u32 {
    record::ready(context.arg(0).unwrap_or(0));
    0
}
// A function: (struct datapath *dp, struct sk_buff *skb, struct sw_flow_key *key, ...)
#[kprobe]
fn ovs_dp_upcall(context: ProbeContext) -> u32 {
    record::upcall(context.arg(1).unwrap_or(0));
    0
}
// A function: (struct net *net, const struct nlattr *attr, struct sk_buff *skb, struct sw_flow_key *key, bool log)
#[kprobe]
fn ovs_flow_key_extract_userspace(context: ProbeContext) -> u32 {
    record::executed(context.arg(2).unwrap_or(0));
    0
}
// (const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal), since 6.15
probe!(tcp_sendmsg_locked, |arg| record::send(arg(0)));
// (const struct sk_buff *skb, int len)
probe!(skb_copy_datagram_iovec, |arg| record::copy(arg(0), arg(1) as u32));
// v5.10: (struct sk_buff *skb); v6.6: + void *location
probe!(consume_skb, |arg| record::consume(arg(0)));
// v5.10: (skb, void *location); v5.17: + enum skb_drop_reason reason; v6.11: + struct sock *rx_sk
probe!(kfree_skb, |arg| record::dropped(arg(0), arg(1), reason(&arg)));
// v5.10: (const struct sock *sk, const struct sk_buff *skb); v6.16: + int err
probe!(tcp_retransmit_skb, |_arg| if let Some(cpu) = cpu::state() {
    cpu.retransmits += 1
});
// (unsigned int vec_nr)
probe!(softirq_raise, |arg| softirq::raise(arg(0) as u32));
probe!(softirq_entry, |arg| softirq::entry(arg(0) as u32));
probe!(softirq_exit, |arg| softirq::exit(arg(0) as u32));
// (struct napi_struct *napi, int work, int budget)
probe!(napi_poll, |arg| softirq::poll(arg(1) as u32));

/// The verifier refuses a read past a tracepoint's arguments; the branch on a constant is removed before.
#[inline(always)]
fn reason(arg: &impl Fn(usize) -> u64) -> u32 {
    if crate::globals::has_reason() == 0 { 0 } else { arg(2) as u32 }
}

#[perf_event]
fn cpu_sample(context: PerfEventContext) -> u32 {
    sample::take(&context, false);
    0
}

#[perf_event]
fn burst_sample(context: PerfEventContext) -> u32 {
    sample::take(&context, true);
    0
}
