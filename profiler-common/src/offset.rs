//! Fields of kernel structures. All records are `repr(C)` without hidden padding.

/// Offsets, in bytes, of the kernel fields that the programs read; from the running kernel's BTF.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// sk_buff.dev
    pub skb_dev: u32,
    /// sk_buff.sk
    pub skb_sk: u32,
    /// sk_buff._skb_refdst
    pub skb_dst: u32,
    /// dst_entry.dev
    pub dst_dev: u32,
    /// sk_buff.skb_iif
    pub skb_iif: u32,
    /// sk_buff.len
    pub skb_len: u32,
    /// sk_buff.head
    pub skb_head: u32,
    /// sk_buff.end
    pub skb_end: u32,
    /// sk_buff.network_header
    pub skb_network_header: u32,
    /// sk_buff.transport_header
    pub skb_transport_header: u32,
    /// sk_buff.data
    pub skb_data: u32,
    /// skb_shared_info.gso_segs
    pub shinfo_gso_segs: u32,
    /// net_device.ifindex
    pub dev_ifindex: u32,
    /// net_device.nd_net
    pub dev_net: u32,
    /// net_device.rtnl_link_ops
    pub dev_link_ops: u32,
    /// net_device.flags
    pub dev_flags: u32,
    /// rtnl_link_ops.kind
    pub link_ops_kind: u32,
    /// net.ns.inum
    pub net_inum: u32,
    /// sock.__sk_common.skc_net
    pub sk_net: u32,
    /// sock.__sk_common.skc_num
    pub sk_num: u32,
    /// sock.sk_receive_queue.prev: the last packet of the queue
    pub sk_queue_tail: u32,
    /// tcp_sock.rcv_nxt
    pub tcp_rcv_nxt: u32,
    /// tcp_sock.copied_seq
    pub tcp_copied_seq: u32,
    /// sock.sk_wq
    pub sk_wq: u32,
    /// socket_wq.wait.head
    pub wq_head: u32,
    /// nf_hook_state.hook; its low byte
    pub nf_state_hook: u32,
    /// nf_hook_state.pf; its low byte
    pub nf_state_pf: u32,
    /// nft_chain.name; 0 where the kernel does not tell
    pub nft_chain_name: u32,
    /// nft_chain.table
    pub nft_chain_table: u32,
    /// nft_table.name
    pub nft_table_name: u32,
}
