//! Stacks of Linux 6.18 for tests, innermost frame first.

use std::collections::BTreeMap;

use netstrata_common::Point;

use crate::profile::{CpuRecord, CrossingRecord, Profile, SampleRecord, TaskRecord};

const SYSCALL: &str = "__sys_sendto;__x64_sys_sendto;do_syscall_64;entry_SYSCALL_64_after_hwframe";
const SEND: &str = "tcp_sendmsg_locked;tcp_sendmsg;sock_sendmsg";
const OUTPUT: &str = "__dev_queue_xmit;ip_finish_output2;__ip_queue_xmit;__tcp_transmit_skb;tcp_write_xmit;\
                      __tcp_push_pending_frames";
const SOFTIRQ: &str = "net_rx_action;handle_softirqs;do_softirq.part.0;__local_bh_enable_ip";
const RECEIVE: &str = "__netif_receive_skb_one_core;process_backlog;__napi_poll";

/// Collects the symbols of stacks.
#[derive(Default)]
pub(crate) struct Stacks {
    /// Symbols in the order of their first use.
    pub symbols: Vec<String>,
    known: BTreeMap<String, u32>,
}

impl Stacks {
    /// The frames of names joined with `;`, innermost first.
    pub fn stack(&mut self, names: &str) -> Vec<u32> {
        names
            .split(';')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| {
                *self.known.entry(name.to_owned()).or_insert_with(|| {
                    self.symbols.push(name.to_owned());
                    self.symbols.len() as u32 - 1
                })
            })
            .collect()
    }
}

/// A crossing in namespace 1.
pub(crate) fn place(point: Point, ifindex: u32) -> CrossingRecord {
    CrossingRecord { point, netns: 1, ifindex }
}

/// One sample of a test: task, CPU, stack (none: user mode), place, count.
pub(crate) type Row<'a> = (u32, u16, Option<&'a str>, Option<CrossingRecord>, u64);

/// A profile of samples. Tasks: 0 the idle task, 1 a sender in a container, 2 a receiver, 3 ksoftirqd/1.
pub(crate) fn profile(rows: &[Row<'_>]) -> Profile {
    let task = |pid, comm: &str, container: Option<&str>| TaskRecord {
        pid,
        comm: comm.to_owned(),
        container: container.map(str::to_owned),
    };
    let mut stacks = Stacks::default();
    let mut cpu = CpuRecord {
        source: "cpu-clock".to_owned(),
        period_ns: 1_000_000,
        tasks: vec![
            task(0, "swapper/0", None),
            task(100, "iperf3", Some("client")),
            task(200, "iperf3", Some("server")),
            task(20, "ksoftirqd/1", None),
        ],
        ..CpuRecord::default()
    };
    for &(task, on, stack, place, count) in rows {
        let at = stack.map(|names| {
            cpu.stacks.push(stacks.stack(names));
            cpu.stacks.len() as u32 - 1
        });
        cpu.entries.push(SampleRecord { stack: at, task, cpu: on, user: at.is_none(), place, count });
        cpu.samples += count;
    }
    cpu.symbols = stacks.symbols;
    Profile { cpu, ..Profile::default() }
}

type OwnedRow = (u32, u16, Option<String>, Option<CrossingRecord>, u64);

/// A stream between two containers over a bridge.
pub(crate) fn stream() -> Profile {
    let sent = |inner: &str| format!("{inner};{SEND};sock_write_iter;vfs_write;ksys_write;{SYSCALL}");
    let inline = |inner: &str| sent(&format!("{inner};{RECEIVE};{SOFTIRQ};{OUTPUT}"));
    let receive = Some(place(Point::Receive, 3));
    let arrived = Some(place(Point::Receive, 5));
    let rows: Vec<OwnedRow> = vec![
        (0, 0, Some("pv_native_safe_halt;default_idle;default_idle_call;do_idle;cpu_startup_entry".into()), receive, 300),
        (1, 0, None, None, 40),
        (1, 0, Some(sent("rep_movs_alternative;_copy_from_iter;skb_do_copy_data_nocache")), Some(place(Point::Send, 0)), 90),
        (1, 0, Some(sent("kmem_cache_alloc_node_noprof;__alloc_skb;tcp_stream_alloc_skb")), Some(place(Point::Send, 0)), 25),
        (1, 0, Some(sent("tcp_write_xmit;__tcp_push_pending_frames")), Some(place(Point::Send, 0)), 30),
        (1, 0, Some(sent(&format!("veth_xmit;dev_hard_start_xmit;{OUTPUT}"))), Some(place(Point::Xmit, 2)), 20),
        (1, 0, Some(inline("br_handle_frame_finish;br_handle_frame;__netif_receive_skb_core.constprop.0")), receive, 45),
        (1, 0, Some(inline("nft_do_chain;nft_do_chain_bridge;nf_hook_slow;br_forward;br_handle_frame_finish;br_handle_frame;__netif_receive_skb_core.constprop.0")), receive, 15),
        (1, 0, Some(inline("tcp_rcv_established;tcp_v4_do_rcv;tcp_v4_rcv;ip_protocol_deliver_rcu;ip_local_deliver_finish;ip_rcv")), arrived, 50),
        (1, 0, Some(inline("nf_conntrack_in;nf_hook_slow;ip_rcv")), arrived, 12),
        (1, 0, Some(inline("try_to_wake_up;__wake_up_common;__wake_up_sync_key;sock_def_readable;tcp_data_ready;tcp_rcv_established;tcp_v4_do_rcv;tcp_v4_rcv;ip_protocol_deliver_rcu")), Some(place(Point::ReadyWake, 5)), 18),
        (3, 1, Some("br_forward;br_handle_frame;__netif_receive_skb_core.constprop.0;__netif_receive_skb_one_core;process_backlog;__napi_poll;net_rx_action;handle_softirqs;run_ksoftirqd;smpboot_thread_fn;kthread;ret_from_fork".into()), receive, 22),
        (2, 1, Some("_copy_to_iter;simple_copy_to_iter;__skb_datagram_iter;skb_copy_datagram_iter;tcp_recvmsg_locked;tcp_recvmsg;inet_recvmsg;sock_recvmsg;sock_read_iter;vfs_read;ksys_read;do_syscall_64;entry_SYSCALL_64_after_hwframe".into()), Some(place(Point::Copy, 5)), 110),
        (2, 1, Some("__schedule;schedule;schedule_timeout;wait_woken;sk_wait_data;tcp_recvmsg_locked;tcp_recvmsg;inet_recvmsg;sock_recvmsg;sock_read_iter;vfs_read;ksys_read;do_syscall_64;entry_SYSCALL_64_after_hwframe".into()), None, 9),
        (2, 1, Some("skb_release_data;__kfree_skb;tcp_recvmsg_locked;tcp_recvmsg;inet_recvmsg;sock_recvmsg;do_syscall_64;entry_SYSCALL_64_after_hwframe".into()), None, 14),
        (2, 1, Some("ext4_read;do_syscall_64;entry_SYSCALL_64_after_hwframe".into()), None, 3),
        (2, 1, None, None, 21),
        (0, 1, Some("ktime_get;tick_nohz_handler;__hrtimer_run_queues;hrtimer_interrupt;sysvec_apic_timer_interrupt;asm_sysvec_apic_timer_interrupt;pv_native_safe_halt;do_idle".into()), None, 2),
        (0, 1, Some("pv_native_safe_halt;default_idle;do_idle".into()), None, 184),
    ];
    let rows: Vec<Row<'_>> = rows.iter().map(|row| (row.0, row.1, row.2.as_deref(), row.3, row.4)).collect();
    profile(&rows)
}
