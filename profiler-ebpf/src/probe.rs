//! One program for each probe point. Above each the kernel's prototype.
//!
//! Raw tracepoints, not BTF ones: their arguments are plain numbers, so that an address can be hashed, and a packet that
//! is not followed is turned away before anything is read.

use aya_ebpf::{
    macros::{kprobe, perf_event, raw_tracepoint},
    programs::{PerfEventContext, ProbeContext, RawTracePointContext},
};
use netstrata_common::Point;

use crate::{drops, record, sample, softirq, staged};

/// Stamps a program at a tracepoint.
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
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/net.h#L143
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/net.h#L159
probe!(net_dev_queue, |arg| record::crossing(Point::Queue, arg(0), 0));

// (struct Qdisc *qdisc, const struct netdev_queue *txq, struct sk_buff *skb), since 5.15
// https://elixir.bootlin.com/linux/v6.12.117/source/include/trace/events/qdisc.h#L49
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/qdisc.h#L49
probe!(qdisc_enqueue, |arg| record::crossing(Point::Enqueue, arg(2), 0));

// (const struct sk_buff *skb, const struct net_device *dev)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/net.h#L14
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/net.h#L15
probe!(net_dev_start_xmit, |arg| record::crossing(Point::Xmit, arg(0), arg(1)));

// (struct sk_buff *skb, int rc, struct net_device *dev, unsigned int skb_len); skb may be freed
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/net.h#L71
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/net.h#L76
probe!(net_dev_xmit, |arg| record::transmitted(arg(0), arg(1), arg(2)));

// (struct sk_buff *skb)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/net.h#L157
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/net.h#L173
probe!(netif_rx, |arg| record::crossing(Point::Rx, arg(0), 0));

// (const struct sk_buff *skb)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/net.h#L235
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/net.h#L255
probe!(napi_gro_receive_entry, |arg| record::crossing(Point::Gro, arg(0), 0));

// (int ret): a gro_result_t
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/net.h#L294
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/net.h#L307
probe!(napi_gro_receive_exit, |arg| record::gro_done(arg(0) as u32));

// (const struct sk_buff *skb)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/net.h#L228
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/net.h#L248
probe!(napi_gro_frags_entry, |arg| record::crossing(Point::Gro, arg(0), 0));

// (int ret): a gro_result_t
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/net.h#L287
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/net.h#L300
probe!(napi_gro_frags_exit, |arg| record::gro_done(arg(0) as u32));

// (struct sk_buff *skb); runs for every packet of a list, too
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/net.h#L150
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/net.h#L166
probe!(netif_receive_skb, |arg| record::crossing(Point::Receive, arg(0), 0));

// (u32 tb_id, const struct flowi4 *flp, const struct fib_nh_common *nhc, int err)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/fib.h#L13
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/fib.h#L15
probe!(fib_table_lookup, |_arg| record::routed());

// (const struct net *net, const struct fib6_result *res, struct fib6_table *table, const struct flowi6 *flp)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/fib6.h#L13
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/fib6.h#L13
probe!(fib6_table_lookup, |_arg| record::routed());

// v5.10: (struct sock *sk, struct sk_buff *skb); v7.2: the skb is const
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/tcp.h#L229
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/tcp.h#L367
probe!(tcp_probe, |arg| record::tcp(arg(0), arg(1)));

// (const struct sock *sk), since 6.3
// https://elixir.bootlin.com/linux/v6.12.117/source/include/trace/events/sock.h#L241
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/sock.h#L240
probe!(sk_data_ready, |arg| record::ready(arg(0)));

// The function that it announces, for kernels before: (struct sock *sk)
// https://elixir.bootlin.com/linux/v5.10.223/source/net/core/sock.c#L2929
// https://elixir.bootlin.com/linux/v7.2.13/source/net/core/sock.c#L3659
#[kprobe]
fn sock_def_readable(context: ProbeContext) -> u32 {
    record::ready(context.arg(0).unwrap_or(0));
    0
}

// A function: (struct datapath *dp, struct sk_buff *skb, struct sw_flow_key *key, ...)
// https://elixir.bootlin.com/linux/v5.10.223/source/net/openvswitch/datapath.c#L277
// https://elixir.bootlin.com/linux/v7.2.13/source/net/openvswitch/datapath.c#L330
#[kprobe]
fn ovs_dp_upcall(context: ProbeContext) -> u32 {
    record::upcall(context.arg(1).unwrap_or(0));
    0
}

// A function: (struct net *net, const struct nlattr *attr, struct sk_buff *skb, struct sw_flow_key *key, bool log)
// https://elixir.bootlin.com/linux/v5.10.223/source/net/openvswitch/flow.c#L908
// https://elixir.bootlin.com/linux/v7.2.13/source/net/openvswitch/flow.c#L1075
#[kprobe]
fn ovs_flow_key_extract_userspace(context: ProbeContext) -> u32 {
    record::executed(context.arg(2).unwrap_or(0));
    0
}

// A function, after what is to be sent was put into the peer's queue: (struct wg_peer *peer)
// https://elixir.bootlin.com/linux/v5.10.223/source/drivers/net/wireguard/send.c#L352
// https://elixir.bootlin.com/linux/v7.2.13/source/drivers/net/wireguard/send.c#L341
#[kprobe]
fn wg_packet_send_staged_packets(context: ProbeContext) -> u32 {
    staged::staged(context.arg(0).unwrap_or(0));
    0
}

// (const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal), since 6.15
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/tcp.h#L335
probe!(tcp_sendmsg_locked, |arg| record::send(arg(0)));

// (const struct sk_buff *skb, int len)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/skb.h#L54
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/skb.h#L76
probe!(skb_copy_datagram_iovec, |arg| record::copy(arg(0), arg(1) as u32));

// (struct sock *sk)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/tcp.h#L162
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/tcp.h#L271
probe!(tcp_rcv_space_adjust, |arg| record::passed(arg(0)));

// v5.10: (struct sk_buff *skb); v6.6: + void *location
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/skb.h#L37
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/skb.h#L57
probe!(consume_skb, |arg| record::consume(arg(0)));

// v5.10: (skb, void *location); v5.17: + enum skb_drop_reason reason; v6.11: + struct sock *rx_sk
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/skb.h#L15
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/skb.h#L24
probe!(kfree_skb, |arg| record::dropped(arg(0), arg(1), reason(&arg)));

// The same tracepoint, all the time.
probe!(count_drop, |arg| drops::count(arg(0), arg(1), reason(&arg)));

// v5.10: (const struct sock *sk, const struct sk_buff *skb); v6.16: + int err
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/tcp.h#L95
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/tcp.h#L16
probe!(count_retransmit, |arg| drops::sent_again(arg(1)));

// (unsigned int vec_nr)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/irq.h#L156
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/irq.h#L156
probe!(softirq_raise, |arg| softirq::raise(arg(0) as u32));

// (unsigned int vec_nr)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/irq.h#L128
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/irq.h#L128
probe!(softirq_entry, |arg| softirq::entry(arg(0) as u32));

// (unsigned int vec_nr)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/irq.h#L142
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/irq.h#L142
probe!(softirq_exit, |arg| softirq::exit(arg(0) as u32));

// (struct napi_struct *napi, int work, int budget)
// https://elixir.bootlin.com/linux/v5.10.223/source/include/trace/events/napi.h#L14
// https://elixir.bootlin.com/linux/v7.2.13/source/include/trace/events/napi.h#L14
probe!(napi_poll, |arg| softirq::poll(arg(1) as u32));

/// The kernel refuses to attach what reads past a tracepoint's arguments; the branch on a constant is removed before.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/kernel/trace/bpf_trace.c#L2391>
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
