//! Fields of kernel structures that the programs read: the only list. The loader looks their offsets up, and recorded
//! kernels (`fixtures/kernels`) keep their structures.
//!
//! Nothing of this crate is used here: `xtask` builds this file by itself.

/// Where a field lies, and what it is for.
pub struct OffsetInfo {
    /// The structure.
    pub structure: &'static str,
    /// The field, through members with a name; `a.b` is `b` within `a`.
    pub path: &'static str,
    /// The module that has the structure, if it is none of the kernel itself. Kernels that have the module built in tell it
    /// with their own types.
    pub module: Option<&'static str>,
    /// Whether there is no recording without it. The offset of another one that this kernel does not tell is 0.
    pub required: bool,
    /// Enters an offset into the structure of all.
    pub set: fn(&mut Offsets, u32),
}

macro_rules! offsets {
    ($($field:ident $need:ident $structure:literal $path:literal $(of $module:literal)? $what_for:literal;)*) => {
        /// Offsets, in bytes, of the kernel fields that the programs read; from the running kernel's BTF. `repr(C)` without
        /// hidden padding.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Offsets { $(
            #[doc = concat!("`", $structure, ".", $path, "`: ", $what_for)]
            pub $field: u32,
        )* }

        impl Offsets {
            /// Before they are looked up.
            pub const ZERO: Self = Self { $($field: 0,)* };

            /// All fields.
            pub const ALL: &'static [OffsetInfo] = &[$(OffsetInfo {
                structure: $structure,
                path: $path,
                module: offsets!(@module $($module)?),
                required: offsets!(@$need),
                set: |offsets, offset| offsets.$field = offset,
            },)*];
        }
    };
    (@module) => { None };
    (@module $module:literal) => { Some($module) };
    (@required) => { true };
    (@optional) => { false };
}

offsets! {
    skb_dev required "sk_buff" "dev" "the device that a packet is at";
    skb_sk required "sk_buff" "sk" "the socket of a packet that is sent";
    skb_dst required "sk_buff" "_skb_refdst" "the route of a packet";
    dst_dev required "dst_entry" "dev" "the device that a route leads to";
    skb_iif required "sk_buff" "skb_iif" "the device that a packet came in by";
    skb_len required "sk_buff" "len" "the length of a packet";
    skb_data_len required "sk_buff" "data_len" "how much of it lies in pages of its own";
    skb_napi_id optional "sk_buff" "napi_id" "whether a driver handed a packet to GRO";
    skb_protocol required "sk_buff" "protocol" "what the header of a packet is that a driver hands in";
    skb_mac_header required "sk_buff" "mac_header" "where the frame of a packet begins";
    skb_head required "sk_buff" "head" "the memory of a packet, which its clones share";
    skb_end required "sk_buff" "end" "where that memory ends, and `skb_shared_info` begins";
    skb_network_header required "sk_buff" "network_header" "the IP header of a packet";
    skb_transport_header required "sk_buff" "transport_header" "the TCP or UDP header of a packet";
    skb_data required "sk_buff" "data" "the first byte of a packet that counts now";
    shinfo_frags required "skb_shared_info" "frags" "the pages of a packet";
    shinfo_gso_segs required "skb_shared_info" "gso_segs" "the wire packets of a packet";
    shinfo_gso_size required "skb_shared_info" "gso_size" "the bytes of each of them";
    shinfo_nr_frags required "skb_shared_info" "nr_frags" "whether data lies in pages";
    skb_inner_network_header required "sk_buff" "inner_network_header" "the IP header inside a tunnel's";
    skb_cloned required "sk_buff" "__cloned_offset" "the byte whose first bit tells that it is a clone";
    dev_ifindex required "net_device" "ifindex" "the index of a device";
    dev_net required "net_device" "nd_net.net" "the namespace of a device";
    dev_link_ops required "net_device" "rtnl_link_ops" "the operations of a device, which know its kind";
    dev_flags required "net_device" "flags" "whether a device is the loopback device";
    link_ops_kind required "rtnl_link_ops" "kind" "the kind of a device: tun or not";
    net_inum required "net" "ns.inum" "the number of a namespace";
    sk_net required "sock" "__sk_common.skc_net.net" "the namespace of a socket";
    sk_owned required "sock" "sk_lock.owned" "whether its reader holds a socket";
    sk_protocol required "sock" "sk_protocol" "the protocol of a socket";
    sk_num required "sock" "__sk_common.skc_num" "the port of a socket";
    sk_queue_tail required "sock" "sk_receive_queue.prev" "the last packet of a socket's queue";
    tcp_rcv_nxt required "tcp_sock" "rcv_nxt" "up to where data has arrived";
    tcp_copied_seq required "tcp_sock" "copied_seq" "up to where data was read";
    sk_wq required "sock" "sk_wq" "who waits for a socket";
    wq_head required "socket_wq" "wait.head" "whether anybody does";
    wq_wait required "socket_wq" "wait" "the queue in which they wait";
    epoll_link optional "eppoll_entry" "wait.entry" "the place of an epoll instance among those who wait";
    epoll_queue optional "eppoll_entry" "whead" "the queue that it is in: nobody else's entry says so";
    epoll_item optional "eppoll_entry" "base" "what the instance keeps of a file";
    epoll_of_item optional "epitem" "ep" "the instance";
    epoll_sleepers optional "eventpoll" "wq.head" "whether anybody sleeps in it";
    epoll_pollers optional "eventpoll" "poll_wait.head" "whether it is waited for as a file itself";
    wg_staged_tail optional "wg_peer" "staged_packet_queue.prev" of "wireguard" "the last packet that WireGuard is to encrypt";
    nf_state_hook optional "nf_hook_state" "hook" "the netfilter hook that runs (its low byte); charges of the function tier";
    nf_state_pf optional "nf_hook_state" "pf" "the family of that hook (its low byte)";
    nft_chain_name optional "nft_chain" "name" of "nf_tables" "the name of an nftables chain";
    nft_chain_table optional "nft_chain" "table" of "nf_tables" "the table of a chain";
    nft_table_name optional "nft_table" "name" of "nf_tables" "the name of a table";
}
