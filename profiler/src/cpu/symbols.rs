//! The one table from kernel symbols to layers.
//!
//! A rule is a list of words: a word that ends in `*` is a prefix, any other is the whole name of a function. An exact
//! name beats a prefix, a longer prefix beats a shorter one. The names are those of Linux 5.10 to 7.2, x86-64 and arm64;
//! a function that no rule names takes the layer of its caller, so the table only has to know where a layer begins.

use std::{collections::HashMap, sync::LazyLock};

use netstrata_common::Layer;

/// What a rule says about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Names a layer of the datapath (or idleness).
    Decides,
    /// Generic work (memory, locks, copies, …) that every layer does: a layer of the CPU account, but a packet's span
    /// gives it to the layer that called it.
    Helper,
    /// Shared by several layers: it is its caller's work.
    Passes,
    /// A tracer's entry: whatever runs inside it is the observer's cost.
    Absorbs,
    /// A BPF program: its layer is the hook that runs it.
    Program,
    /// A BPF trampoline: a program under it is the observer's, a kernel function under it is its caller's.
    Trampoline,
    /// No rule: it is its caller's work.
    Unnamed,
}

/// A row of the table.
pub struct Rule {
    /// The layer; none for rules that pass to the caller.
    pub layer: Option<Layer>,
    /// What the rule says.
    pub role: Role,
    /// Names, and prefixes that end in `*`.
    pub words: &'static [&'static str],
}

/// What the table says about one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// The layer, if a rule names one.
    pub layer: Option<Layer>,
    /// What the rule says.
    pub role: Role,
}

impl Class {
    /// A symbol that no rule names.
    pub const UNNAMED: Self = Self { layer: None, role: Role::Unnamed };
}

const fn decides(layer: Layer, words: &'static [&'static str]) -> Rule {
    Rule { layer: Some(layer), role: Role::Decides, words }
}

const fn helper(layer: Layer, words: &'static [&'static str]) -> Rule {
    Rule { layer: Some(layer), role: Role::Helper, words }
}

/// The table, in the order of `Layer::ALL`.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    helper(Layer::Entry, &[
        "entry_SYSCALL*", "entry_INT80*", "do_syscall_64", "do_int80*", "do_fast_syscall_32", "do_SYSENTER_32", "asm_*",
        "syscall_*", "x64_sys_call", "ia32_sys_call", "__x64_sys_*", "__ia32_sys_*", "__arm64_sys_*", "__do_sys_*",
        "__se_sys_*", "invoke_syscall*", "do_el0_svc*", "el0_*", "el0t_*", "el1_*", "el1h_*", "ret_to_user*",
        "ret_from_fork*", "exit_to_user_mode*", "irqentry_*", "exc_*", "error_entry", "error_return", "paranoid_*",
        "sync_regs", "fred_*", "swapgs_*", "common_interrupt*", "__common_interrupt", "sysvec_*", "__sysvec_*",
        "handle_irq*", "handle_edge_irq", "handle_fasteoi_*", "handle_level_irq", "handle_percpu_*",
        "__handle_irq_event_percpu", "__handle_irq", "generic_handle_*", "irq_enter*", "irq_exit*", "__irq_exit_rcu",
        "gic_handle_irq", "gic_eoimode1_*", "do_interrupt_handler", "call_on_irq_stack", "do_notify_resume",
        "apic_ack_*", "apic_eoi", "native_apic_*", "note_interrupt", "ksys_read", "ksys_write", "vfs_read",
        "vfs_write", "vfs_readv", "vfs_writev", "do_readv", "do_writev", "do_iter_*", "new_sync_read",
        "new_sync_write", "rw_verify_area", "__fdget*", "__fget*", "fdget*", "fput*", "__fput*", "__seccomp_filter",
        "__secure_computing",
    ]),
    decides(Layer::Socket, &[
        "sock_*", "__sock_*", "sk_*", "__sk_*", "__sys_send*", "__sys_recv*", "___sys_*", "____sys_*", "__sys_accept*",
        "__sys_connect*", "inet_sendmsg", "inet_recvmsg", "inet6_sendmsg", "inet6_recvmsg", "inet_send_prepare",
        "inet_accept", "inet_release", "inet6_release", "inet_stream_connect", "__inet_stream_connect",
        "inet_dgram_connect", "inet_shutdown", "inet_autobind", "ep_*", "__ep_*", "do_epoll_*", "epoll_*",
        "eventpoll_*", "do_poll*", "do_sys_poll", "poll_*", "pollwake", "__pollwait", "do_select", "core_sys_select",
        "select_estimate_accuracy", "unix_*", "__unix_*", "netlink_*", "__netlink_*", "packet_*", "tpacket_*",
        "prb_*", "dev_queue_xmit_nit", "__skb_recv_datagram", "__skb_wait_for_more_packets", "__skb_try_recv_*",
        "skb_recv_datagram", "sockfd_lookup*", "move_addr_to_*", "copy_msghdr_from_user", "sendmsg_copy_msghdr",
        "recvmsg_copy_msghdr", "release_sock", "__release_sock", "lock_sock*", "__lock_sock*", "datagram_poll",
        "do_sock_*", "__cgroup_bpf_run_*", "cgroup_bpf_*", "put_cmsg*", "io_send*", "io_recv*", "tls_*",
        "splice_to_socket", "kernel_sendmsg", "kernel_recvmsg", "security_socket_*", "security_sock_*",
        "selinux_socket_*", "apparmor_socket_*", "aa_sk_perm",
    ]),
    decides(Layer::Tcp, &[
        "tcp_*", "__tcp_*", "tcp4_*", "tcp6_*", "tcpv6_*", "do_tcp_*", "bbr_*", "cubictcp_*", "bictcp_*", "dctcp_*",
        "inet_csk_*", "__inet_csk_*", "inet6_csk_*", "__inet_lookup_*", "inet_lookup_*", "__inet6_lookup_*",
        "inet6_lookup*", "inet_ehash*", "inet6_ehash*", "inet_hash*", "__inet_hash*", "inet_unhash", "inet_twsk_*",
        "__inet_twsk_*", "inet_reqsk_*", "inet_rtx_syn_ack", "reqsk_*", "sk_stream_*", "__sk_stream_*",
        "secure_tcp*", "mptcp_*", "__mptcp_*", "tso_fragment",
    ]),
    decides(Layer::Udp, &[
        "udp_*", "__udp_*", "udpv6_*", "__udpv6_*", "udp4_*", "__udp4_*", "udp6_*", "__udp6_*", "udplite*",
        "skb_consume_udp", "__skb_recv_udp", "first_packet_length",
    ]),
    decides(Layer::Ip, &[
        "ip_*", "__ip_*", "ip4_*", "ip6_*", "__ip6_*", "ipv4_*", "ipv6_*", "__ipv6_*", "ip6frag_*", "inet_frag*",
        "inet6_fill*", "icmp_*", "__icmp_*", "icmpv6_*", "icmp6_*", "igmp_*", "igmp6_*", "mld_*", "ping_*", "dst_output",
        "dst_input", "raw_rcv*", "raw_local_deliver", "raw_v4_input", "raw_sendmsg", "raw_recvmsg", "raw6_*", "rawv6_*",
        "xfrm_*", "__xfrm_*", "xfrm4_*", "xfrm6_*", "esp_*", "esp6_*", "mpls_*", "lwtunnel_*", "seg6_*", "ipmr_*",
        "inet_ctl_*", "inet_sk_rebuild_header", "inet_peer*", "inet_getpeer*",
    ]),
    decides(Layer::Route, &[
        "fib_*", "__fib_*", "fib4_*", "fib6_*", "__fib6_*", "rt_*", "rt6_*", "__rt6_*", "ip_route_*", "__ip_route_*",
        "ip_rt_*", "ip_mkroute_input", "__mkroute_*", "ip_mc_validate_source", "ip_check_mc_rcu", "ip6_route_*",
        "ip6_pol_route*", "ip6_rt_*", "ip6_dst_*", "ip6_mtu", "ip6_hold_safe", "ip6_sk_dst_*", "ip6_create_rt_rcu",
        "ip6_default_advmss", "ip6_link_failure", "ipv4_dst_*", "ipv4_mtu", "ipv4_default_advmss",
        "ipv4_link_failure", "ipv4_cow_metrics", "ipv4_negative_advice", "ipv4_blackhole_route", "dst_*", "__dst_*",
        "skb_dst_*", "sk_dst_check", "__sk_dst_check", "sk_setup_caps", "inet_addr_type*", "__inet_dev_addr_type",
        "inet_dev_addr_type", "inet_select_addr", "ipv6_chk_addr*", "__ipv6_chk_addr*", "ipv6_dev_get_saddr",
        "find_exception", "find_rr_leaf", "nexthop_*", "l3mdev_*", "xfrm_lookup*", "update_or_create_fnhe",
        "icmp_route_lookup*",
    ]),
    decides(Layer::Netfilter, &[
        "nf_*", "__nf_*", "nft_*", "__nft_*", "ipt_*", "ip6t_*", "arpt_*", "xt_*", "ebt_*", "iptable_*", "ip6table_*",
        "ebtable_*", "br_nf_*", "brnf_*", "setup_pre_routing", "ip_sabotage_in", "ip_set_*", "ip_route_me_harder",
        "ip6_route_me_harder", "nfqnl_*", "nfnetlink_*", "nfulnl_*", "nfnl_*", "tcp_mt", "udp_mt", "icmp_match",
        "icmp6_match", "comment_mt*", "addrtype_mt*", "mark_mt*", "mark_tg*", "multiport_mt*", "set_match*",
        "limit_mt*", "hashlimit_mt*", "physdev_mt*", "state_mt*", "statistic_mt*", "owner_mt*", "tcpmss_*", "ip_packet_match",
    ]),
    decides(Layer::Conntrack, &[
        "nf_conntrack_*", "__nf_conntrack_*", "nf_ct_*", "__nf_ct_*", "nf_confirm", "__nf_confirm", "ipv4_confirm*",
        "ipv6_confirm*", "ipv4_conntrack_*", "ipv6_conntrack_*", "nf_ct_bridge_*", "resolve_normal_ct*",
        "init_conntrack*", "hash_conntrack_*", "__hash_conntrack", "early_drop*", "death_by_timeout", "tcp_in_window",
        "nf_tcp_*", "conntrack_mt*", "get_l4proto", "gre_pkt_to_tuple", "ip_ct_*", "nf_ip6_conntrack*",
        "icmp_pkt_to_tuple", "nf_skb_is_*", "nf_invert_tuple",
    ]),
    decides(Layer::Nat, &[
        "nf_nat_*", "__nf_nat_*", "nft_nat_*", "nft_masq_*", "nft_redir_*", "nf_xfrm_me_harder", "masquerade_tg*",
        "xt_nat_*", "xt_snat_*", "xt_dnat_*", "redirect_tg*", "iptable_nat_*", "ip6table_nat_*", "ip_vs_*",
        "__ip_vs_*", "get_unique_tuple", "find_appropriate_src", "find_best_ips_proto", "l4proto_manip_pkt",
    ]),
    decides(Layer::Neighbour, &[
        "neigh_*", "__neigh_*", "___neigh_*", "pneigh_*", "__pneigh_*", "arp_*", "ndisc_*", "__ipv4_neigh_*",
        "ipv4_neigh_*", "__ipv6_neigh_*", "ip6_neigh_*", "ip6_dst_neigh_lookup", "ip_neigh_*", "ipv4_confirm_neigh",
        "ip6_confirm_neigh", "dst_neigh_*",
    ]),
    decides(Layer::Qdisc, &[
        "__dev_queue_xmit", "dev_queue_xmit", "dev_queue_xmit_accel", "__dev_xmit_skb", "dev_qdisc_enqueue",
        "dev_hard_start_xmit", "xmit_one*", "dev_direct_xmit", "__dev_direct_xmit", "sch_direct_xmit*",
        "validate_xmit_*", "qdisc_*", "__qdisc_*", "net_tx_action", "__netif_schedule", "__netif_reschedule",
        "netif_schedule_queue", "netif_tx_*", "pfifo_*", "bfifo_*", "fq_*", "codel_*", "cake_*", "htb_*", "tbf_*",
        "hfsc_*", "cbs_*", "prio_enqueue", "prio_dequeue", "prio_classify", "prio_peek", "sfq_*", "sfb_*",
        "red_enqueue", "red_dequeue", "red_peek", "netem_*", "mqprio_*", "mq_select_queue", "taprio_*", "etf_*",
        "ets_*", "drr_*", "qfq_*", "pie_*", "dualpi2_*", "noop_enqueue", "noop_dequeue", "noqueue_*", "dequeue_skb*",
        "netdev_pick_tx", "__netdev_pick_tx", "netdev_core_pick_tx", "netdev_tx_*", "dql_*", "__get_xps_queue_idx",
        "skb_tx_hash", "netif_skb_features", "passthru_features_check", "harmonize_features", "qdisc_pkt_len_*",
        "sch_frag_*", "sch_fragment",
    ]),
    decides(Layer::Tc, &[
        "tcf_*", "__tcf_*", "tc_run*", "tcx_*", "cls_bpf_*", "u32_classify", "fl_classify", "mall_classify",
        "basic_classify", "flow_classify", "route4_classify", "fw_classify", "cls_cgroup_classify",
        "sch_handle_ingress*", "sch_handle_egress*", "skb_do_redirect", "__bpf_redirect*", "__bpf_tx_skb", "em_*",
        "tunnel_key_act", "clsact_*", "ingress_*", "mini_qdisc_*", "ifb_*",
    ]),
    decides(Layer::Xdp, &[
        "xdp_*", "__xdp_*", "do_xdp_generic", "bpf_prog_run_generic_xdp", "bpf_prog_run_xdp", "netif_receive_generic_xdp",
        "generic_xdp_*", "bpf_dispatcher_xdp*", "cpu_map_*", "dev_map_*", "__dev_flush", "__cpu_map_*", "bq_*", "xsk_*",
        "__xsk_*", "xp_*",
    ]),
    decides(Layer::Gso, &[
        "__skb_gso_segment", "skb_gso_segment", "skb_segment*", "skb_mac_gso_segment", "skb_eth_gso_segment",
        "tcp_gso_*", "tcp4_gso_*", "tcp6_gso_*", "__tcp_gso_*", "__tcpv4_gso_*", "__tcpv6_gso_*", "__tcp4_gso_*",
        "__tcp6_gso_*", "inet_gso_*", "ipv6_gso_*", "ipip_gso_*", "ip4ip6_gso_*", "ip6ip6_gso_*", "sit_gso_*",
        "gre_gso_*", "udp4_ufo_fragment", "udp6_ufo_fragment", "__udp_gso_*", "__udpv4_gso_*", "__udpv6_gso_*",
        "skb_udp_tunnel_segment", "__skb_udp_tunnel_segment", "xfrm4_gso_*", "esp4_gso_*", "mpls_gso_*", "nsh_gso_*",
        "vxlan_gso_*",
    ]),
    decides(Layer::Gro, &[
        "napi_gro_*", "dev_gro_receive", "gro_*", "skb_gro_*", "__skb_gro_*", "inet_gro_*", "ipv6_gro_*", "tcp_gro_receive",
        "tcp_gro_complete", "tcp_gro_lookup", "tcp_gro_pull_header", "tcp_gro_dev_warn", "tcp4_gro_*", "tcp6_gro_*",
        "udp_gro_*", "udp4_gro_*", "udp6_gro_*", "eth_gro_*", "vlan_gro_*", "vxlan_gro_*", "vxlan_gpe_gro_*",
        "geneve_gro_*", "gre_gro_*", "ipip_gro_*", "sit_gro_*", "sit_ip6ip6_gro_*", "ip4ip6_gro_*", "esp4_gro_*",
        "fou_gro_*", "gue_gro_*", "napi_frags_*", "napi_get_frags", "napi_reuse_skb", "__napi_gro_*",
        "skb_frag_ref_merge",
    ]),
    decides(Layer::Backlog, &[
        "netif_rx*", "__netif_rx", "enqueue_to_backlog", "process_backlog", "get_rps_cpu*", "rps_*", "net_rps_*",
        "trigger_rx_softirq", "flush_backlog", "set_rps_cpu", "backlog_*", "dev_loopback_xmit",
    ]),
    decides(Layer::Veth, &["veth_*", "__veth_*"]),
    decides(Layer::Bridge, &[
        "br_*", "__br_*", "fdb_*", "__fdb_*", "maybe_deliver*", "deliver_clone", "should_deliver", "nbp_*",
    ]),
    decides(Layer::Ovs, &[
        "ovs_*", "__ovs_*", "internal_dev_xmit", "internal_dev_recv", "netdev_frame_hook", "netdev_port_receive",
        "do_execute_actions", "do_output", "clone_execute", "execute_*", "key_extract*", "masked_flow_lookup",
        "flow_lookup*", "queue_userspace_packet", "queue_gso_packets", "output_userspace", "set_ip_addr",
        "dec_ttl_exception_handler",
    ]),
    decides(Layer::Macvlan, &["macvlan_*", "macvtap_*"]),
    decides(Layer::Ipvlan, &["ipvlan_*", "ipvtap_*"]),
    decides(Layer::Vxlan, &["vxlan_*", "__vxlan_*"]),
    decides(Layer::Geneve, &["geneve_*", "__geneve_*"]),
    decides(Layer::Ipip, &[
        "ipip_*", "ipip6_*", "mplsip_*", "sit_*", "tunnel4_*", "tunnel64_*", "tunnel6_*", "tunnel46_*", "ip6_tnl_*",
        "__ip6_tnl_*", "ip4ip6_*", "ip6ip6_*", "ipxip6_*", "vti_*", "vti6_*", "fou_*", "gue_*",
    ]),
    decides(Layer::Gre, &["gre_*", "__gre_*", "ipgre_*", "__ipgre_*", "ip6gre_*", "__ip6gre_*", "erspan_*", "ip6erspan_*"]),
    decides(Layer::Tun, &["tun_*", "__tun_*", "tap_*", "vhost_*", "__vhost_*", "handle_tx*", "handle_rx*"]),
    decides(Layer::Loopback, &["loopback_*"]),
    decides(Layer::Nic, &[
        "virtnet_*", "__virtnet_*", "start_xmit", "xmit_skb", "free_old_xmit*", "__free_old_xmit*", "receive_buf",
        "receive_mergeable*", "receive_small*", "receive_big*", "skb_recv_done", "skb_xmit_done", "page_to_skb",
        "try_fill_recv*", "add_recvbuf_*", "ena_*", "mlx4_*", "mlx5_*", "mlx5e_*", "ixgbe_*", "__ixgbe_*", "ixgbevf_*", "i40e_*",
        "__i40e_*", "iavf_*", "ice_*", "idpf_*", "igb_*", "igbvf_*", "igc_*", "e1000_*", "e1000e_*", "vmxnet3_*",
        "netvsc_*", "xennet_*", "xenvif_*", "tg3_*", "bnx2x_*", "bnxt_*", "__bnxt_*", "rtl8169_*", "rtl_*", "cxgb4_*",
        "gve_*", "mana_*", "ionic_*", "nfp_*", "qede_*", "efx_*", "ef100_*", "aq_*", "hns3_*", "fec_*", "stmmac_*",
        "mvneta_*", "mvpp2_*", "dpaa2_*", "enic_*", "fm10k_*", "sky2_*", "b44_*", "macb_*", "cpsw_*", "bcmgenet_*",
        "tso_build_*", "tso_start",
    ]),
    helper(Layer::Wakeup, &[
        "try_to_wake_up", "ttwu_*", "wake_up_*", "__wake_up*", "default_wake_function", "autoremove_wake_function",
        "woken_wake_function", "schedule", "schedule_timeout*", "schedule_hrtimeout*", "schedule_preempt_disabled",
        "__schedule", "preempt_schedule*", "finish_task_switch", "__switch_to*", "prepare_to_wait*", "finish_wait",
        "wait_woken", "add_wait_queue*", "remove_wait_queue", "__add_wait_queue*", "swake_up_*",
    ]),
    decides(Layer::Netkit, &["netkit_*"]),
    decides(Layer::Vlan, &["vlan_*", "__vlan_*"]),
    decides(Layer::Bond, &["bond_*", "__bond_*", "team_*", "__team_*", "lb_transmit", "rr_transmit", "ab_transmit", "bc_transmit"]),
    decides(Layer::Vrf, &["vrf_*", "__vrf_*"]),
    // The ciphers that its workers call are no rule's, and so are theirs.
    decides(Layer::Wireguard, &["wg_*", "encrypt_packet", "decrypt_packet"]),
    decides(Layer::Device, &[
        "dummy_xmit", "macsec_*", "hsr_*", "dsa_*", "batadv_*", "bareudp_*", "gtp_*", "xfrmi_*", "nlmon_*",
    ]),
    helper(Layer::Copy, &[
        "copy_to_iter*", "_copy_to_iter*", "copy_from_iter*", "_copy_from_iter*", "__copy_from_iter*", "copy_page_to_iter*",
        "copy_page_from_iter*", "copyout*", "copyin*", "_copy_to_user", "_copy_from_user", "copy_to_user*",
        "copy_from_user*", "__copy_user*", "copy_user_*", "raw_copy_*", "copy_mc_*", "rep_movs*", "__arch_copy_*",
        "skb_copy_datagram_*", "skb_copy_bits", "skb_copy_and_*", "skb_store_bits", "skb_copy_from_linear*",
        "__skb_datagram_iter", "skb_zerocopy*", "__zerocopy_sg_from_iter", "zerocopy_*", "skb_splice_*",
        "__skb_splice_*", "simple_copy_to_iter", "memcpy*", "__memcpy*", "__pi_memcpy*", "memmove", "__memmove",
        "__pi_memmove", "csum_and_copy_*", "csum_partial_copy_*", "crc32c_and_copy_*", "iov_iter_*", "import_iovec",
        "__import_iovec", "import_ubuf", "import_single_range", "sk_msg_memcopy_from_iter",
    ]),
    helper(Layer::Checksum, &[
        "csum_*", "__csum_*", "do_csum", "ip_fast_csum", "ip_compute_csum", "skb_checksum*", "__skb_checksum*",
        "skb_csum_*", "skb_crc32c*", "inet_proto_csum_*", "nf_checksum*", "nf_ip_checksum", "nf_ip6_checksum",
        "crc32c*", "crc32_*",
    ]),
    helper(Layer::SkbMemory, &[
        "__alloc_skb", "alloc_skb*", "__build_skb*", "build_skb*", "slab_build_skb", "napi_alloc_*", "__napi_alloc_*",
        "napi_build_skb", "__napi_build_skb", "napi_skb_cache_*", "napi_skb_free_*", "napi_consume_skb", "__napi_kfree_skb",
        "__netdev_alloc_*", "netdev_alloc_*", "skb_release_*", "skb_free_*", "skb_clone*", "skb_copy", "skb_copy_header",
        "skb_copy_expand", "skb_copy_ubufs", "__pskb_copy*", "pskb_copy*", "pskb_expand_head", "__pskb_pull_tail",
        "pskb_*", "___pskb_trim", "skb_expand_head", "skb_realloc_headroom", "skb_morph", "skb_cow*", "skb_pp_cow_data",
        "skb_unclone*", "__skb_unclone*", "skb_condense", "skb_ext_*", "__skb_ext_*", "skb_attempt_defer_free",
        "skb_defer_free_flush", "kick_defer_list_purge", "kfree_skb*", "__kfree_skb*", "kfree_skbmem", "consume_skb",
        "__consume_stateless_skb", "sk_skb_reason_drop", "dev_kfree_skb*", "__dev_kfree_skb*", "skb_queue_purge*",
        "skb_rbtree_purge", "skb_errqueue_purge", "page_pool_*", "__page_pool_*", "napi_pp_*", "page_frag_*",
        "__page_frag_*", "skb_page_frag_refill", "sk_page_frag_refill", "kmalloc_reserve", "skb_tx_error",
        "skb_mark_not_on_list",
    ]),
    helper(Layer::Memory, &[
        "kmem_cache_*", "__kmem_cache_*", "kmalloc_*", "__kmalloc*", "kmalloc", "kfree", "kfree_bulk", "kvfree*",
        "kvmalloc*", "__kvmalloc*", "__slab_*", "___slab_*", "slab_*", "___cache_free", "deactivate_slab", "put_cpu_partial",
        "__unfreeze_partials", "get_partial_node*", "alloc_pages*", "__alloc_pages*", "__alloc_frozen_*", "alloc_frozen_*",
        "get_page_from_freelist", "__free_pages*", "free_pages*", "free_unref_*", "free_frozen_*", "free_one_page",
        "free_pcppages*", "free_tail_page*", "__rmqueue*", "rmqueue*", "put_page*", "__put_page*", "folio_*", "__folio_*",
        "mem_cgroup_*", "__mem_cgroup_*", "memcg_*", "__memcg_*", "obj_cgroup_*", "refill_stock", "refill_obj_stock",
        "consume_obj_stock", "drain_stock*", "try_charge*", "exc_page_fault", "do_user_addr_fault", "do_page_fault",
        "do_mem_abort", "do_translation_fault", "handle_mm_fault", "__handle_mm_fault", "do_anonymous_page",
        "do_fault*", "do_wp_page", "wp_page_*", "clear_page*", "clear_huge_page", "memset*", "__memset*",
        "__pi_memset*", "__pi_clear_page", "rep_stos*", "unmap_*", "zap_*", "do_mmap", "do_munmap", "vm_mmap_*",
        "vma_*", "mas_*", "lru_*", "release_pages", "free_pages_and_swap_cache", "flush_tlb_*", "tlb_*", "pcpu_*",
        "mod_memcg_*", "__mod_memcg_*", "__mod_node_*", "mod_objcg_state", "__mod_objcg_*", "lock_vma_*",
        "check_heap_object", "__check_object_size", "__check_heap_object", "fault_in_*",
    ]),
    helper(Layer::Lock, &[
        "_raw_spin_*", "_raw_read_*", "_raw_write_*", "__raw_spin_*", "native_queued_*", "__native_queued_*",
        "__pv_queued_*", "queued_*", "__raw_callee_save_*", "resilient_*", "mutex_*", "__mutex_*", "rwsem_*",
        "down_read*", "down_write*", "up_read*", "up_write*", "down", "up", "down_interruptible", "__down_*", "osq_*",
        "percpu_down_*", "__percpu_down_*", "percpu_up_*", "rt_mutex_*", "rt_spin_*", "rtlock_*", "rtnl_lock",
        "rtnl_unlock", "rcu_*", "__rcu_*", "call_rcu*", "__call_rcu_*", "srcu_*", "__srcu_*", "synchronize_*",
        "kvm_wait", "kvm_kick_cpu", "pv_wait*", "lockref_*", "refcount_*", "futex_*", "__futex_*", "do_futex",
        "lock_acquire", "lock_release",
    ]),
    helper(Layer::Softirq, &[
        "handle_softirqs", "__do_softirq", "do_softirq*", "__softirqentry_text_start", "run_ksoftirqd",
        "smpboot_thread_fn", "__local_bh_*", "_local_bh_enable", "local_bh_*", "net_rx_action", "__napi_*", "napi_*",
        "____napi_schedule", "raise_softirq*", "__raise_softirq*", "invoke_softirq", "wakeup_softirqd", "tasklet_*",
        "__tasklet_*", "netif_receive_skb*", "__netif_receive_skb*", "deliver_skb", "deliver_ptype_list_skb",
        "busy_poll_stop",
    ]),
    helper(Layer::Timer, &[
        "ktime_*", "__ktime_*", "read_tsc", "kvm_clock_*", "pvclock_*", "__pvclock_*", "sched_clock*", "native_sched_clock",
        "local_clock*", "hrtimer_*", "__hrtimer_*", "enqueue_hrtimer", "tick_*", "__tick_*", "timer_*", "mod_timer*",
        "__mod_timer", "add_timer*", "del_timer*", "__timer_*", "enqueue_timer", "run_timer_*", "__run_timer*",
        "call_timer_fn", "timerqueue_*", "lapic_*", "clockevents_*", "timekeeping_*", "update_wall_time",
        "clocksource_*", "posix_get_*", "update_process_times", "tmigr_*", "calc_wheel_index", "arch_timer_*",
        "arch_counter_*", "account_process_tick", "account_system_*", "account_user_time", "irqtime_account_*", "vtime_*",
        "run_posix_cpu_timers", "delay_tsc", "native_write_msr*", "read_hv_clock_*",
    ]),
    helper(Layer::Scheduler, &[
        "sched_*", "__sched_*", "schedule_*", "schedule_tail", "select_task_rq*", "select_idle_*", "available_idle_cpu",
        "enqueue_task*", "dequeue_task*", "enqueue_entity", "dequeue_entit*", "__enqueue_entity", "__dequeue_entity",
        "place_entity", "reweight_*", "requeue_*", "pick_next_*", "pick_task_*", "pick_eevdf", "__pick_*",
        "set_next_*", "put_prev_*", "update_curr*", "update_load_avg*", "update_rq_clock*", "update_cfs_*",
        "update_min_vruntime", "update_se*", "update_sd_*", "update_sg_*", "update_group_*",
        "update_blocked_averages", "__update_load_avg_*", "update_irq_load_avg", "resched_*", "scheduler_tick",
        "task_tick_*", "newidle_*", "load_balance*", "find_busiest_*", "rebalance_domains", "psi_*", "cpuacct_*",
        "__cgroup_account_*", "check_preempt_*", "wakeup_preempt*", "cpu_util*", "attach_*", "detach_*", "do_sched_yield",
        "yield_*", "__cond_resched", "io_schedule*", "activate_task", "deactivate_task", "set_task_cpu", "migrate_task_*",
        "switch_mm*", "load_new_mm_cr3", "switch_fpu_*", "restore_fpregs_*", "save_fpregs_*", "context_switch",
        "raw_spin_rq_*", "_raw_spin_rq_*", "kick_process", "native_smp_send_*", "x2apic_send_*", "kvm_send_ipi_*",
        "__smp_call_single_queue", "generic_smp_call_*", "smp_call_function_*", "flush_smp_call_*",
        "__flush_smp_call_*", "call_function_single_prep_ipi", "send_call_function_*", "do_nanosleep", "task_work_*",
    ]),
    Rule { layer: Some(Layer::Observer), role: Role::Absorbs, words: &[
        "bpf_trace_run*", "__bpf_trace_*", "__traceiter_*", "__probestub_*", "perf_trace_*", "trace_event_raw_event_*",
        "trace_event_buffer_*", "trace_call_bpf", "kprobe_ftrace_handler", "kprobe_dispatcher", "kprobe_perf_func",
        "kretprobe_dispatcher", "kretprobe_perf_func", "rethook_trampoline_handler", "fprobe_*", "ftrace_*",
        "aggr_pre_handler", "opt_pre_handler", "uprobe_*", "kprobe_multi_*", "bpf_perf_event_*", "bpf_overflow_handler",
    ]},
    helper(Layer::Observer, &[
        "perf_*", "__perf_*", "__bpf_prog_enter*", "__bpf_prog_exit*", "intel_pmu_*", "x86_pmu_*", "amd_pmu_*", "kprobe_*",
        "kretprobe_*",
    ]),
    decides(Layer::Idle, &[
        "do_idle", "cpu_idle_poll*", "default_idle*", "default_enter_idle", "cpuidle_*", "call_cpuidle", "acpi_idle_*",
        "acpi_processor_ffh_*", "acpi_safe_halt", "pv_native_safe_halt", "native_safe_halt", "xen_safe_halt",
        "kvm_guest_safe_halt", "tdx_safe_halt", "mwait_idle*", "intel_idle*", "amd_e400_idle", "poll_idle", "haltpoll_*",
        "menu_*", "teo_*", "ladder_*", "arch_cpu_idle*", "cpu_do_idle", "psci_enter_*", "cpu_startup_entry", "start_secondary",
        "secondary_startup_64*", "__secondary_switched", "secondary_start_kernel", "rest_init", "start_kernel",
        "x86_64_start_*", "common_startup_64", "ct_idle_*", "rcu_idle_*", "schedule_idle",
    ]),
    // Shared by several layers: whoever calls them pays. So do those who unlock: where interrupts were off, the sampling
    // timer fires at the unlock, and the cost was inside the section.
    Rule { layer: None, role: Role::Passes, words: &[
        "_raw_spin_unlock*", "_raw_read_unlock*", "_raw_write_unlock*", "__raw_spin_unlock*", "__raw_callee_save___pv_queued_spin_unlock*",
        "udp_tunnel_*", "udp_tunnel6_*", "__udp_tunnel_*", "iptunnel_*", "ip_tunnel_*", "__ip_tunnel_*", "ip_md_tunnel_*",
        "skb_gso_validate_*", "skb_gso_transport_seglen", "bpf_xdp_*", "virtqueue_*", "vring_*", "vp_interrupt",
        "vp_vring_interrupt", "vp_notify*", "bpf_prog_*", "__bpf_prog_run*", "bpf_dispatcher_*", "arch_rethook_*",
        "__kretprobe_trampoline", "dst_cache_*", "fq_flush_timeout", "fq_ring_free_locked", "copy_xdp_*",
        "tcp_mem_*", "sk_filter_func_proto",
    ]},
    Rule { layer: None, role: Role::Trampoline, words: &["bpf_trampoline_*"] },
    Rule { layer: None, role: Role::Program, words: &["___bpf_prog_run", "__bpf_prog_run_args*"] },
];

struct Table {
    exact: HashMap<&'static str, Class>,
    prefixes: HashMap<&'static str, Class>,
    longest: usize,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { exact: HashMap::new(), prefixes: HashMap::new(), longest: 0 };
    for rule in RULES {
        let class = Class { layer: rule.layer, role: rule.role };
        for word in rule.words {
            match word.strip_suffix('*') {
                Some(prefix) => {
                    table.longest = table.longest.max(prefix.len());
                    table.prefixes.insert(prefix, class);
                }
                None => {
                    table.exact.insert(word, class);
                }
            }
        }
    }
    table
});

/// A symbol without its module and without what the compiler adds to names of copies and parts of functions:
/// `br_forward.part.0 [bridge]` is `br_forward`.
pub fn strip(symbol: &str) -> &str {
    let name = symbol.split([' ', '\t', '[']).next().unwrap_or(symbol);
    let name = name.split('+').next().unwrap_or(name);
    // A leading dot is part of a name; every later one starts a compiler's suffix.
    match name.get(1..).and_then(|rest| rest.find('.')) {
        Some(at) => &name[..at + 1],
        None => name,
    }
}

/// The program that the kernel's compiler made: `bpf_prog_`, 16 hexadecimal digits, and a name.
fn is_program(name: &str) -> bool {
    name.strip_prefix("bpf_prog_")
        .and_then(|rest| rest.get(..16))
        .is_some_and(|tag| tag.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What the table says about a symbol: exact names first, then the longest prefix.
pub fn classify(symbol: &str) -> Class {
    let name = strip(symbol);
    if is_program(name) {
        return Class { layer: None, role: Role::Program };
    }
    if let Some(class) = TABLE.exact.get(name) {
        return *class;
    }
    let longest = name.len().min(TABLE.longest);
    (1..=longest)
        .rev()
        .filter_map(|length| name.get(..length))
        .find_map(|prefix| TABLE.prefixes.get(prefix).copied())
        .unwrap_or(Class::UNNAMED)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Layers that no kernel function stands for.
    const WITHOUT_SYMBOLS: &[Layer] = &[Layer::Userspace, Layer::Drop];

    #[test]
    fn what_a_device_transmits_by_is_the_work_of_its_layer() {
        for layer in Layer::ALL {
            for function in layer.info().transmit {
                assert_eq!(classify(function).layer, Some(*layer), "{function}");
            }
        }
    }

    #[test]
    fn every_layer_has_a_rule_and_no_word_stands_twice() {
        let mut words = BTreeSet::new();
        for rule in RULES {
            for word in rule.words {
                assert!(words.insert(word), "`{word}` stands twice");
                assert!(word.trim_end_matches('*').len() > 1, "`{word}` is too wide");
            }
        }
        for layer in Layer::ALL {
            let ruled = RULES.iter().any(|rule| rule.layer == Some(*layer));
            assert_eq!(ruled, !WITHOUT_SYMBOLS.contains(layer), "{}", layer.name());
        }
    }

    #[test]
    fn helpers_are_layers_outside_of_the_datapath_except_wakeup() {
        for rule in RULES.iter().filter(|rule| rule.role == Role::Helper) {
            let layer = rule.layer.expect("the test has it");
            assert!(!layer.is_datapath() || layer == Layer::Wakeup, "{}", layer.name());
        }
        for rule in RULES.iter().filter(|rule| rule.role == Role::Decides) {
            let layer = rule.layer.expect("the test has it");
            assert!(layer.is_datapath() || layer == Layer::Idle, "{}", layer.name());
        }
    }

    #[test]
    fn suffixes_of_compiler_and_module_are_stripped() {
        for (symbol, name) in [
            ("br_forward", "br_forward"),
            ("br_forward.part.0", "br_forward"),
            ("__netif_receive_skb_core.constprop.0", "__netif_receive_skb_core"),
            ("skb_put_data.constprop.0.isra.0", "skb_put_data"),
            ("vxlan_rcv.cold", "vxlan_rcv"),
            ("ovs_vport_receive [openvswitch]", "ovs_vport_receive"),
            ("ovs_vport_receive\t[openvswitch]", "ovs_vport_receive"),
            ("tcp_ack+0x12/0x80", "tcp_ack"),
            ("", ""),
            (".text", ".text"),
        ] {
            assert_eq!(strip(symbol), name);
        }
    }

    #[test]
    fn exact_beats_prefix_and_the_longer_prefix_wins() {
        assert_eq!(classify("tcp_mt").layer, Some(Layer::Netfilter));
        assert_eq!(classify("tcp_sendmsg").layer, Some(Layer::Tcp));
        assert_eq!(classify("ip_vs_in").layer, Some(Layer::Nat));
        assert_eq!(classify("ip_route_input_noref").layer, Some(Layer::Route));
        assert_eq!(classify("ip_rcv").layer, Some(Layer::Ip));
        assert_eq!(classify("rt_mutex_lock").layer, Some(Layer::Lock));
        assert_eq!(classify("ext4_file_read_iter"), Class::UNNAMED);
        assert_eq!(classify("bpf_prog_run_generic_xdp").layer, Some(Layer::Xdp));
        assert_eq!(classify("bpf_prog_0123456789abcdef_classify").role, Role::Program);
        assert_eq!(classify("bpf_prog_put").role, Role::Passes);
    }

    /// Names of Linux 5.10 to 7.2, with the layer that the table must give them.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table: the names of each layer")]
    fn functions_of_the_datapath_have_their_layer() {
        use Layer::*;
        let table: &[(Layer, &str)] = &[
            (
                Entry,
                "entry_SYSCALL_64_after_hwframe do_syscall_64 asm_common_interrupt asm_sysvec_apic_timer_interrupt \
                     syscall_exit_to_user_mode x64_sys_call __x64_sys_sendto common_interrupt handle_irq_event \
                     __handle_irq_event_percpu handle_edge_irq irq_exit_rcu vfs_write ksys_read el0t_64_sync",
            ),
            (
                Socket,
                "sock_sendmsg __sock_sendmsg sock_write_iter sock_read_iter sock_recvmsg __sys_sendto ____sys_recvmsg \
                      inet_sendmsg inet6_recvmsg sock_def_readable sk_wait_data do_epoll_wait ep_poll_callback \
                      sk_filter_trim_cap release_sock lock_sock_nested __cgroup_bpf_run_filter_skb do_sys_poll \
                      unix_stream_sendmsg tpacket_rcv dev_queue_xmit_nit sock_wfree",
            ),
            (
                Tcp,
                "tcp_sendmsg tcp_sendmsg_locked tcp_write_xmit __tcp_push_pending_frames __tcp_transmit_skb tcp_v4_rcv \
                   tcp_v6_do_rcv tcp_rcv_established tcp_ack tcp_recvmsg_locked tcp_data_queue tcp_stream_alloc_skb \
                   cubictcp_cong_avoid bbr_main __inet_lookup_established inet_csk_accept sk_stream_wait_memory \
                   tcp_cleanup_rbuf tcp_rack_mark_lost tcp_schedule_loss_probe tcp_wfree tcp_rcv_space_adjust",
            ),
            (
                Udp,
                "udp_sendmsg udpv6_sendmsg udp_recvmsg udp_rcv __udp4_lib_rcv udp_unicast_rcv_skb __udp_enqueue_schedule_skb \
                   udp_queue_rcv_one_skb udp4_lib_lookup2 __skb_recv_udp udp_send_skb.isra.0",
            ),
            (
                Ip,
                "ip_rcv ip_rcv_core ip_rcv_finish ip_local_deliver ip_local_deliver_finish ip_protocol_deliver_rcu ip_list_rcv \
                  ip_sublist_rcv ip_forward ip_forward_finish ip_output ip_finish_output ip_finish_output2 __ip_queue_xmit \
                  ip_queue_xmit __ip_local_out ip_local_out ip_do_fragment ip_make_skb ipv6_rcv ip6_input ip6_xmit \
                  ip6_finish_output2 icmp_rcv icmp_reply ip_defrag inet_frag_find",
            ),
            (
                Route,
                "fib_table_lookup __fib_lookup fib_validate_source ip_route_input_noref ip_route_input_slow \
                     ip_route_output_key_hash_rcu ip_route_output_flow ip6_pol_route dst_release ipv4_dst_check ipv4_mtu \
                     rt_dst_alloc inet_addr_type_dev_table fib6_table_lookup sk_dst_check",
            ),
            (
                Netfilter,
                "nf_hook_slow nf_hook_slow_list nft_do_chain nft_do_chain_inet nft_meta_get_eval ipt_do_table \
                         ip6t_do_table ebt_do_table br_nf_pre_routing br_nf_forward_ip br_nf_hook_thresh br_nf_post_routing \
                         setup_pre_routing ip_set_test nfqnl_enqueue_packet nft_rhash_lookup tcp_mt comment_mt \
                         nf_flow_offload_ip_hook xt_register_table",
            ),
            (
                Conntrack,
                "nf_conntrack_in __nf_conntrack_find_get __nf_conntrack_confirm nf_conntrack_tcp_packet nf_ct_get_tuple \
                         nf_ct_delete ipv4_conntrack_in ipv4_conntrack_defrag nf_confirm resolve_normal_ct conntrack_mt_v3 \
                         hash_conntrack_raw nf_ct_bridge_pre __nf_ct_refresh_acct",
            ),
            (
                Nat,
                "nf_nat_inet_fn nf_nat_packet nf_nat_manip_pkt nf_nat_ipv4_local_in nf_nat_setup_info nft_nat_do_chain \
                   nft_masq_eval masquerade_tg xt_dnat_target_v2 ip_vs_in_hook get_unique_tuple",
            ),
            (
                Neighbour,
                "neigh_resolve_output neigh_hh_output __neigh_event_send neigh_connected_output arp_rcv arp_process \
                         ndisc_recv_ns ip6_neigh_lookup ipv4_neigh_lookup neigh_update",
            ),
            (
                Qdisc,
                "__dev_queue_xmit dev_hard_start_xmit sch_direct_xmit validate_xmit_skb validate_xmit_skb_list __qdisc_run \
                     pfifo_fast_enqueue fq_codel_dequeue fq_enqueue tbf_dequeue htb_enqueue netem_enqueue \
                     qdisc_watchdog net_tx_action netdev_core_pick_tx dql_completed xmit_one.constprop.0 netif_skb_features \
                     __dev_xmit_skb noqueue_init",
            ),
            (
                Tc,
                "tcf_classify tc_run cls_bpf_classify tcf_mirred_act tcf_action_exec sch_handle_ingress sch_handle_egress \
                  u32_classify fl_classify tcx_run skb_do_redirect __tcf_classify tcf_bpf_act",
            ),
            (
                Xdp,
                "xdp_do_redirect do_xdp_generic bpf_prog_run_generic_xdp dev_map_enqueue cpu_map_kthread_run \
                   xsk_rcv xdp_do_flush __xdp_return bq_enqueue xdp_do_generic_redirect",
            ),
            (
                Gso,
                "skb_segment __skb_gso_segment tcp_gso_segment tcp4_gso_segment inet_gso_segment skb_mac_gso_segment \
                   skb_udp_tunnel_segment __udp_gso_segment gre_gso_segment ipip_gso_segment skb_segment_list",
            ),
            (
                Gro,
                "napi_gro_receive dev_gro_receive inet_gro_receive tcp4_gro_receive tcp_gro_receive skb_gro_receive \
                   udp_gro_receive vxlan_gro_receive gro_cell_poll gro_cells_receive napi_gro_flush gro_receive_skb \
                   eth_gro_receive gre_gro_receive geneve_gro_receive napi_gro_frags",
            ),
            (
                Backlog,
                "netif_rx __netif_rx netif_rx_internal netif_rx_ni enqueue_to_backlog process_backlog get_rps_cpu \
                       rps_trigger_softirq net_rps_action_and_irq_enable",
            ),
            (Veth, "veth_xmit veth_poll veth_xdp_rcv veth_forward_skb"),
            (Netkit, "netkit_xmit netkit_xnet"),
            (Vlan, "vlan_do_receive vlan_dev_hard_start_xmit vlan_skb_recv"),
            (
                Bond,
                "bond_start_xmit bond_handle_frame bond_dev_queue_xmit __bond_start_xmit team_xmit team_handle_frame",
            ),
            (Vrf, "vrf_xmit vrf_ip_rcv vrf_l3_out vrf_local_xmit vrf_finish_direct"),
            (
                Wireguard,
                "wg_xmit wg_packet_encrypt_worker wg_packet_tx_worker wg_packet_receive wg_packet_rx_poll wg_socket_send_skb_to_peer",
            ),
            (Device, "dummy_xmit macsec_start_xmit xfrmi_xmit dsa_user_xmit hsr_dev_xmit"),
            (
                Bridge,
                "br_handle_frame br_handle_frame_finish br_forward br_forward_finish __br_forward br_dev_xmit \
                      br_dev_queue_push_xmit br_fdb_update br_fdb_find_rcu br_pass_frame_up br_flood br_multicast_rcv \
                      maybe_deliver fdb_find_rcu br_netif_receive_skb br_handle_vlan",
            ),
            (
                Ovs,
                "ovs_vport_receive ovs_dp_process_packet ovs_execute_actions do_execute_actions ovs_flow_key_extract \
                   ovs_flow_tbl_lookup_stats ovs_dp_upcall queue_userspace_packet internal_dev_xmit netdev_frame_hook \
                   ovs_ct_execute key_extract masked_flow_lookup ovs_vport_send do_output",
            ),
            (Macvlan, "macvlan_start_xmit macvlan_handle_frame macvlan_queue_xmit macvlan_broadcast macvtap_newlink"),
            (Ipvlan, "ipvlan_start_xmit ipvlan_queue_xmit ipvlan_handle_frame ipvlan_process_v4_outbound"),
            (Vxlan, "vxlan_xmit vxlan_xmit_one vxlan_rcv vxlan_build_skb.isra.0 vxlan_find_mac_rcu vxlan_encap_bypass"),
            (Geneve, "geneve_xmit geneve_udp_encap_recv geneve_rx geneve_build_skb"),
            (Ipip, "ipip_tunnel_xmit ipip_rcv tunnel4_rcv sit_tunnel_xmit ip6_tnl_xmit ipip_tunnel_rcv"),
            (Gre, "ipgre_xmit gre_rcv gre_tap_xmit __gre_xmit ip6gre_tunnel_xmit erspan_xmit gre_build_header"),
            (Tun, "tun_net_xmit tun_get_user tun_chr_write_iter tun_do_read tap_handle_frame tun_sendmsg vhost_worker"),
            (Loopback, "loopback_xmit loopback_get_stats64"),
            (
                Nic,
                "virtnet_poll virtnet_receive start_xmit skb_recv_done receive_buf receive_mergeable free_old_xmit_skbs \
                   ena_start_xmit ena_io_poll mlx5e_xmit mlx5e_napi_poll ixgbe_xmit_frame_ring i40e_napi_poll ice_start_xmit \
                   igb_poll e1000_clean e1000_xmit_frame vmxnet3_poll netvsc_poll xennet_poll bnxt_poll gve_tx \
                   vmxnet3_xmit_frame",
            ),
            (
                Wakeup,
                "try_to_wake_up ttwu_do_activate __wake_up_common __wake_up_sync_key autoremove_wake_function schedule \
                      __schedule schedule_timeout wait_woken finish_task_switch.isra.0 __switch_to_asm",
            ),
            (
                Copy,
                "copy_to_iter _copy_to_iter _copy_from_iter rep_movs_alternative copy_user_enhanced_fast_string \
                    copy_user_generic_string skb_copy_datagram_iter __skb_datagram_iter memcpy_orig csum_and_copy_to_iter \
                    copy_page_from_iter simple_copy_to_iter __arch_copy_to_user",
            ),
            (
                Checksum,
                "csum_partial skb_checksum_help __skb_checksum_complete inet_proto_csum_replace4 do_csum nf_ip_checksum",
            ),
            (
                SkbMemory,
                "__alloc_skb napi_alloc_skb skb_release_data kfree_skb_reason consume_skb __kfree_skb napi_skb_cache_put \
                         skb_clone pskb_expand_head page_pool_alloc_pages __napi_alloc_skb build_skb kfree_skbmem \
                         sk_skb_reason_drop skb_attempt_defer_free skb_page_frag_refill skb_free_head",
            ),
            (
                Memory,
                "kmem_cache_alloc_node_noprof kmem_cache_free __kmalloc kfree __slab_free get_page_from_freelist \
                      exc_page_fault handle_mm_fault mem_cgroup_charge_skmem clear_page_erms __alloc_pages_noprof memset_orig",
            ),
            (
                Lock,
                "_raw_spin_lock _raw_spin_lock_bh native_queued_spin_lock_slowpath mutex_lock \
                    __mutex_lock.constprop.0 rcu_core __rcu_read_lock osq_lock __pv_queued_spin_lock_slowpath rwsem_down_read_slowpath",
            ),
            (
                Softirq,
                "handle_softirqs __do_softirq do_softirq net_rx_action __napi_poll run_ksoftirqd __local_bh_enable_ip \
                       napi_complete_done __napi_schedule __raise_softirq_irqoff __netif_receive_skb_core.constprop.0 \
                       __netif_receive_skb_one_core netif_receive_skb_list_internal tasklet_action_common",
            ),
            (
                Timer,
                "ktime_get ktime_get_with_offset read_tsc kvm_clock_get_cycles hrtimer_interrupt tick_nohz_handler \
                     mod_timer __mod_timer call_timer_fn sched_clock_cpu native_sched_clock",
            ),
            (
                Scheduler,
                "select_task_rq_fair enqueue_task_fair update_curr pick_next_task_fair update_load_avg \
                         sched_balance_rq resched_curr psi_task_switch switch_mm_irqs_off dequeue_entities",
            ),
            (
                Observer,
                "bpf_trace_run2 __bpf_trace_net_dev_template __traceiter_netif_receive_skb perf_trace_consume_skb \
                        perf_event_task_tick trace_call_bpf kprobe_ftrace_handler __bpf_prog_enter_recur",
            ),
            (
                Idle,
                "do_idle default_idle default_idle_call cpuidle_enter_state acpi_idle_enter pv_native_safe_halt \
                    native_safe_halt haltpoll_enter_idle mwait_idle cpu_startup_entry intel_idle poll_idle start_secondary",
            ),
        ];
        let mut wrong = Vec::new();
        for (layer, names) in table {
            for name in names.split_whitespace() {
                let found = classify(name).layer;
                if found != Some(*layer) {
                    wrong.push(format!("{name}: {} expected, {found:?} found", layer.name()));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        for layer in Layer::ALL {
            let tested = table.iter().any(|row| row.0 == *layer);
            assert_eq!(tested, !WITHOUT_SYMBOLS.contains(layer), "{}", layer.name());
        }
    }

    #[test]
    fn shared_tunnel_functions_pass_to_their_caller() {
        for name in ["udp_tunnel_xmit_skb", "iptunnel_xmit", "ip_tunnel_xmit", "ip_tunnel_rcv", "virtqueue_add_outbuf"]
        {
            assert_eq!(classify(name).role, Role::Passes, "{name}");
        }
    }
}
