//! The hooks of the function tier: the only list. Programs, loading, reports and documents all read this one.
//!
//! A row names kernel functions in order of preference; a function `module:name` is looked for in that module only. A
//! name also stands for what the compiler made of it (`.isra.0`, `.constprop.0`, `.part.0`). Rows without functions are
//! charged by the programs of other rows.
//!
//! The rows of nftables chains are written out, although they are alike: a row makes names of variants and programs, which
//! no macro of stable Rust can put together from a number.

use crate::{Layer, named};

/// What a hook takes from the function besides its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Nothing.
    Nothing,
    /// The call is charged to the row of the netfilter hook that it serves, told by `struct nf_hook_state`, the argument
    /// of this index.
    NetfilterHook(u8),
    /// The call is charged to a row of the nftables chain that the argument of this index points to.
    Chain(u8),
    /// 1 if the function, which has this many arguments, returned `GRO_MERGED` or `GRO_MERGED_FREE`.
    Merged(u8),
    /// The 32 bits behind the pointer that is the argument of this index, read when the function returns.
    Behind(u8),
}

/// What the value of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// There is none.
    Nothing,
    /// 1 if what was returned says that GRO merged the packet.
    IsMerged,
    /// What stands behind the argument that was kept.
    BehindArgument,
}

/// Which row a call is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargedTo {
    /// The row of the function.
    Itself,
    /// The row of the netfilter hook that the argument tells.
    NetfilterHook,
    /// The row of the nftables chain that the argument is.
    Chain,
}

impl Take {
    /// What the value of a call is.
    pub const fn value(self) -> Value {
        match self {
            Self::Nothing | Self::NetfilterHook(_) | Self::Chain(_) => Value::Nothing,
            Self::Merged(_) => Value::IsMerged,
            Self::Behind(_) => Value::BehindArgument,
        }
    }

    /// Which row a call is charged to.
    pub const fn charged_to(self) -> ChargedTo {
        match self {
            Self::NetfilterHook(_) => ChargedTo::NetfilterHook,
            Self::Chain(_) => ChargedTo::Chain,
            Self::Nothing | Self::Merged(_) | Self::Behind(_) => ChargedTo::Itself,
        }
    }

    /// Index of the argument that is kept from the entry of the function on.
    pub const fn kept_argument(self) -> Option<usize> {
        match self {
            Self::NetfilterHook(index) | Self::Behind(index) | Self::Chain(index) => Some(index as usize),
            Self::Nothing | Self::Merged(_) => None,
        }
    }

    /// Number of arguments of a function whose returned value is taken.
    pub const fn arguments_before_returned(self) -> Option<usize> {
        match self {
            Self::Merged(count) => Some(count as usize),
            Self::Nothing | Self::NetfilterHook(_) | Self::Chain(_) | Self::Behind(_) => None,
        }
    }
}

/// What is true of a hook. Its name in output is layer or subsystem, colon, what it does.
pub struct HookInfo {
    /// The layer that its own time belongs to; none: that of the span in which it runs.
    pub layer: Option<Layer>,
    /// Kernel functions, the best first.
    pub functions: &'static [&'static str],
    /// What is taken besides time.
    pub take: Take,
    /// What the value is, if one is taken.
    pub value: &'static str,
}

/// The table: calls `$with!` with one row after the other.
#[macro_export]
macro_rules! hooks {
    ($with:ident) => { $with! {
Span span (None) "span" Nothing "" [] "a whole span of a packet, of which the hooks are parts";
Interrupted interrupted (None) "interrupted: softirq" Nothing "" []
    "a softirq ran on top of the task that works on the packet";
Calibration calibration (Some(Observer)) "calibration" Nothing "" ["__x64_sys_getpid", "__arm64_sys_getpid", "__do_sys_getpid",
    "__x64_sys_clock_gettime", "__arm64_sys_clock_gettime"]
    "a function that does little; attached only to measure what a hook costs";
NfOther nf_other (Some(Netfilter)) "netfilter: other hook" NetfilterHook(1) "" ["nf_hook_slow"]
    "a netfilter hook of another family (arp, netdev)";
NfPrerouting nf_prerouting (Some(Netfilter)) "netfilter: prerouting" Nothing "" [] "hook prerouting of IP";
NfInput nf_input (Some(Netfilter)) "netfilter: input" Nothing "" [] "hook input of IP";
NfForward nf_forward (Some(Netfilter)) "netfilter: forward" Nothing "" [] "hook forward of IP";
NfOutput nf_output (Some(Netfilter)) "netfilter: output" Nothing "" [] "hook output of IP";
NfPostrouting nf_postrouting (Some(Netfilter)) "netfilter: postrouting" Nothing "" [] "hook postrouting of IP";
NfBridgePrerouting nf_bridge_prerouting (Some(Netfilter)) "netfilter: bridge prerouting" Nothing "" []
    "hook prerouting of the bridge family";
NfBridgeInput nf_bridge_input (Some(Netfilter)) "netfilter: bridge input" Nothing "" [] "hook input of the bridge family";
NfBridgeForward nf_bridge_forward (Some(Netfilter)) "netfilter: bridge forward" Nothing "" []
    "hook forward of the bridge family";
NfBridgeOutput nf_bridge_output (Some(Netfilter)) "netfilter: bridge output" Nothing "" []
    "hook output of the bridge family";
NfBridgePostrouting nf_bridge_postrouting (Some(Netfilter)) "netfilter: bridge postrouting" Nothing "" []
    "hook postrouting of the bridge family";
NftChain nft_chain (Some(Netfilter)) "netfilter: nftables chain" Chain(1) "" ["nft_do_chain"]
    "the rules of nftables base chains beyond those that have rows of their own";
NftChain1 nft_chain1 (Some(Netfilter)) "netfilter: chain 1" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain2 nft_chain2 (Some(Netfilter)) "netfilter: chain 2" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain3 nft_chain3 (Some(Netfilter)) "netfilter: chain 3" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain4 nft_chain4 (Some(Netfilter)) "netfilter: chain 4" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain5 nft_chain5 (Some(Netfilter)) "netfilter: chain 5" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain6 nft_chain6 (Some(Netfilter)) "netfilter: chain 6" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain7 nft_chain7 (Some(Netfilter)) "netfilter: chain 7" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain8 nft_chain8 (Some(Netfilter)) "netfilter: chain 8" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain9 nft_chain9 (Some(Netfilter)) "netfilter: chain 9" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain10 nft_chain10 (Some(Netfilter)) "netfilter: chain 10" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain11 nft_chain11 (Some(Netfilter)) "netfilter: chain 11" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain12 nft_chain12 (Some(Netfilter)) "netfilter: chain 12" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain13 nft_chain13 (Some(Netfilter)) "netfilter: chain 13" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain14 nft_chain14 (Some(Netfilter)) "netfilter: chain 14" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain15 nft_chain15 (Some(Netfilter)) "netfilter: chain 15" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
NftChain16 nft_chain16 (Some(Netfilter)) "netfilter: chain 16" Nothing "" []
    "the rules of one nftables base chain and of what it jumps to";
IptTable ipt_table (Some(Netfilter)) "netfilter: iptables table" Nothing "" ["ipt_do_table"]
    "the rules of a table of the old iptables";
EbtTable ebt_table (Some(Netfilter)) "netfilter: ebtables table" Nothing "" ["ebt_do_table"] "the rules of an ebtables table";
BrNfPre br_nf_pre (Some(Netfilter)) "br_netfilter: prerouting" Nothing "" ["br_nf_pre_routing"]
    "shows bridged packets to the prerouting hook of IP";
BrNfForward br_nf_forward (Some(Netfilter)) "br_netfilter: forward" Nothing "" ["br_nf_forward", "br_nf_forward_ip"]
    "shows bridged packets to the forward hook of IP";
BrNfPost br_nf_post (Some(Netfilter)) "br_netfilter: postrouting" Nothing "" ["br_nf_post_routing"]
    "shows bridged packets to the postrouting hook of IP";
Conntrack conntrack (Some(Conntrack)) "conntrack: look-up" Nothing "" ["nf_conntrack_in"]
    "finds or makes the connection of a packet and follows its state";
Confirm confirm (Some(Conntrack)) "conntrack: confirm" Nothing "" ["__nf_conntrack_confirm", "nf_confirm"]
    "enters a new connection into the table";
NatHook nat_hook (Some(Nat)) "nat: hook" Nothing "" ["nf_nat_inet_fn"]
    "decides on the translation of a connection, by the rules if it is new";
NatPacket nat_packet (Some(Nat)) "nat: packet" Nothing "" ["nf_nat_packet"] "applies the connection's translation";
NatRewrite nat_rewrite (Some(Nat)) "nat: rewrite" Nothing "" ["nf_nat_manip_pkt"] "rewrites addresses and ports";
NeighbourResolve neighbour_resolve (Some(Neighbour)) "neighbour: resolve" Nothing "" ["neigh_resolve_output"]
    "writes the link header, after resolving the address if need be";
NeighbourConnected neighbour_connected (Some(Neighbour)) "neighbour: connected" Nothing "" ["neigh_connected_output"]
    "writes the link header of a reachable neighbour";
RouteInput route_input (Some(Route)) "route: input" Nothing "" ["ip_route_input_noref"] "where a received packet goes";
RouteOutput route_output (Some(Route)) "route: output" Nothing "" ["ip_route_output_key_hash"]
    "where a packet made here goes";
FibLookup fib_lookup (Some(Route)) "route: table look-up" Nothing "" ["fib_table_lookup"] "one look-up in one table";
BridgeHandle bridge_handle (Some(Bridge)) "bridge: handle" Nothing "" ["br_handle_frame"]
    "takes a frame at a port and decides what becomes of it";
BridgeLearn bridge_learn (Some(Bridge)) "bridge: learn" Nothing "" ["br_fdb_update"]
    "enters the sender's address into the forwarding table";
BridgeForward bridge_forward (Some(Bridge)) "bridge: forward" Nothing "" ["br_forward"] "forwards to one port";
BridgeFlood bridge_flood (Some(Bridge)) "bridge: flood" Nothing "" ["br_flood"] "forwards to all ports";
BridgePush bridge_push (Some(Bridge)) "bridge: to the port" Nothing "" ["br_dev_queue_push_xmit"]
    "hands the frame to the port's device";
BridgeDeliver bridge_deliver (Some(Bridge)) "bridge: deliver" Nothing "" ["br_pass_frame_up"]
    "passes a frame up to this host";
BridgeSend bridge_send (Some(Bridge)) "bridge: send" Nothing "" ["br_dev_xmit"] "takes a frame that this host sends";
OvsReceive ovs_receive (Some(Ovs)) "ovs: receive" Nothing "" ["ovs_vport_receive"] "takes a packet at a port";
OvsKey ovs_key (Some(Ovs)) "ovs: key" Nothing "" ["ovs_flow_key_extract"] "extracts the flow key of a packet";
OvsLookup ovs_lookup (Some(Ovs)) "ovs: flow look-up" Behind(3) "masks tried" ["ovs_flow_tbl_lookup_stats"]
    "finds the flow of a key, by mask cache and masks";
OvsActions ovs_actions (Some(Ovs)) "ovs: actions" Nothing "" ["ovs_execute_actions"] "runs the actions of a flow";
OvsOutput ovs_output (Some(Ovs)) "ovs: action output" Nothing "" ["do_output", "ovs_vport_send"]
    "action output: hands the packet to a port";
OvsConntrack ovs_conntrack (Some(Ovs)) "ovs: action ct" Nothing "" ["ovs_ct_execute"]
    "action ct: sends the packet through connection tracking";
OvsUserspace ovs_userspace (Some(Ovs)) "ovs: action userspace" Nothing "" []
    "action userspace: sends a copy of the packet to user space";
OvsSet ovs_set (Some(Ovs)) "ovs: action set" Nothing "" [] "actions set and set masked: rewrites fields";
OvsVlan ovs_vlan (Some(Ovs)) "ovs: action vlan" Nothing "" [] "actions push vlan and pop vlan";
OvsHeader ovs_header (Some(Ovs)) "ovs: action header" Nothing "" []
    "actions that push or pop headers of MPLS, Ethernet and NSH";
OvsRecirculate ovs_recirculate (Some(Ovs)) "ovs: action recirculate" Nothing "" []
    "action recirc: looks the packet up again";
OvsSample ovs_sample (Some(Ovs)) "ovs: action sample" Nothing "" [] "actions sample and psample";
OvsHash ovs_hash (Some(Ovs)) "ovs: action hash" Nothing "" [] "action hash: reckons a hash of the flow";
OvsMeter ovs_meter (Some(Ovs)) "ovs: action meter" Nothing "" [] "action meter: drops what exceeds a rate";
OvsClone ovs_clone (Some(Ovs)) "ovs: action clone" Nothing "" [] "action clone: runs actions on a copy";
OvsOther ovs_other (Some(Ovs)) "ovs: other action" Nothing "" [] "an action without a row of its own";
OvsUpcall ovs_upcall (Some(Ovs)) "ovs: upcall" Nothing "" ["ovs_dp_upcall"] "sends a packet without a flow to user space";
OvsReinject ovs_reinject (Some(Ovs)) "ovs: from user space" Nothing "" ["ovs_flow_key_extract_userspace"]
    "extracts the flow key of a packet that user space gives back";
VxlanSend vxlan_send (Some(Vxlan)) "vxlan: encapsulate" Nothing "" ["vxlan_xmit"] "finds the remote and encapsulates";
VxlanReceive vxlan_receive (Some(Vxlan)) "vxlan: decapsulate" Nothing "" ["vxlan_rcv"] "takes the envelope off";
GeneveSend geneve_send (Some(Geneve)) "geneve: encapsulate" Nothing "" ["geneve_xmit"] "encapsulates";
GeneveReceive geneve_receive (Some(Geneve)) "geneve: decapsulate" Nothing "" ["geneve_udp_encap_recv"]
    "takes the envelope off";
IpipSend ipip_send (Some(Ipip)) "ipip: encapsulate" Nothing "" ["ipip_tunnel_xmit"] "encapsulates";
IpipReceive ipip_receive (Some(Ipip)) "ipip: decapsulate" Nothing "" ["ipip_rcv", "ipip_tunnel_rcv"]
    "takes the outer header off";
GreSend gre_send (Some(Gre)) "gre: encapsulate" Nothing "" ["ipgre_xmit"] "encapsulates IP";
GreTapSend gre_tap_send (Some(Gre)) "gretap: encapsulate" Nothing "" ["gre_tap_xmit"] "encapsulates Ethernet";
GreReceive gre_receive (Some(Gre)) "gre: decapsulate" Nothing "" ["ip_gre:gre_rcv", "__ipgre_rcv"]
    "takes the outer headers off";
TunnelSend tunnel_send (None) "tunnel: send" Nothing "" ["ip_tunnel_xmit"]
    "the part of IP tunnels that all kinds share: outer route, MTU, header";
TunnelReceive tunnel_receive (None) "tunnel: receive" Nothing "" ["ip_tunnel_rcv"]
    "the part of IP tunnels that all kinds share";
UdpTunnelSend udp_tunnel_send (None) "udp tunnel: send" Nothing "" ["udp_tunnel_xmit_skb"] "writes the outer UDP header";
OuterIp outer_ip (Some(Ip)) "ip: outer header" Nothing "" ["iptunnel_xmit"] "writes a tunnel's outer IP header";
MacvlanSend macvlan_send (Some(Macvlan)) "macvlan: send" Nothing "" ["macvlan_start_xmit"] "sends at a macvlan device";
MacvlanReceive macvlan_receive (Some(Macvlan)) "macvlan: receive" Nothing "" ["macvlan_handle_frame"]
    "finds the device of an address";
IpvlanSend ipvlan_send (Some(Ipvlan)) "ipvlan: send" Nothing "" ["ipvlan_start_xmit"] "sends at an ipvlan device";
IpvlanReceive ipvlan_receive (Some(Ipvlan)) "ipvlan: receive" Nothing "" ["ipvlan_handle_frame"]
    "finds the device of an address";
GsoSegment gso_segment (Some(Gso)) "gso: segment" Nothing "" ["__skb_gso_segment"] "cuts a large packet into segments";
GsoCopy gso_copy (Some(Gso)) "gso: copy" Nothing "" ["skb_segment"] "makes the segments' buffers";
GroReceive gro_receive (Some(Gro)) "gro: receive" Merged(2) "merged" ["dev_gro_receive"] "looks for a packet to merge with";
GroMerge gro_merge (Some(Gro)) "gro: merge" Nothing "" ["skb_gro_receive"] "appends a segment to a held packet";
GroCells gro_cells (Some(Gro)) "gro: cells" Nothing "" ["gro_cells_receive"] "queues a decapsulated packet for GRO";
ChecksumSum checksum_sum (Some(Checksum)) "checksum: sum" Nothing "" ["skb_checksum"] "sums the bytes of a packet";
ChecksumHelp checksum_help (Some(Checksum)) "checksum: fill in" Nothing "" ["skb_checksum_help"]
    "fills in a checksum that was left to the device";
ChecksumVerify checksum_verify (Some(Checksum)) "checksum: verify" Nothing "" ["__skb_checksum_complete"]
    "verifies a received packet";
HeadCopy head_copy (Some(SkbMemory)) "skb: new head" Nothing "" ["pskb_expand_head"]
    "moves a packet's headers to a larger buffer";
TcpTransmit tcp_transmit (Some(Tcp)) "tcp: transmit" Nothing "" ["__tcp_transmit_skb"] "makes a segment and sends it";
TcpReceive tcp_receive (Some(Tcp)) "tcp: receive" Nothing "" ["tcp_v4_rcv"] "finds the socket of a segment";
TcpReceive6 tcp_receive6 (Some(Tcp)) "tcp: receive (IPv6)" Nothing "" ["tcp_v6_rcv"] "finds the socket of a segment";
TcpEstablished tcp_established (Some(Tcp)) "tcp: established" Nothing "" ["tcp_rcv_established"]
    "processes a segment of an established connection";
TcpAck tcp_ack (Some(Tcp)) "tcp: acknowledge" Nothing "" ["tcp_ack"] "processes an acknowledgement";
TcpBacklog tcp_backlog (Some(Tcp)) "tcp: backlog" Nothing "" ["tcp_add_backlog"]
    "queues a segment for the task that holds the socket";
TcpRelease tcp_release (Some(Tcp)) "tcp: release" Nothing "" ["__release_sock"] "processes the segments queued meanwhile";
UdpSend udp_send (Some(Udp)) "udp: send" Nothing "" ["udp_send_skb"] "writes the UDP header and sends";
UdpReceive udp_receive (Some(Udp)) "udp: receive" Nothing "" ["udp_rcv"] "finds the socket of a datagram";
UdpQueue udp_queue (Some(Udp)) "udp: queue" Nothing "" ["__udp_enqueue_schedule_skb"] "puts a datagram on its socket's queue";
IpReceive ip_receive (Some(Ip)) "ip: receive" Nothing "" ["ip_rcv"] "checks a received header";
IpDeliver ip_deliver (Some(Ip)) "ip: deliver" Nothing "" ["ip_local_deliver"] "hands a packet to its protocol";
IpForward ip_forward (Some(Ip)) "ip: forward" Nothing "" ["ip_forward"] "forwards a packet";
IpOutput ip_output (Some(Ip)) "ip: output" Nothing "" ["ip_output"] "sends a packet to its device";
IpQueueXmit ip_queue_xmit (Some(Ip)) "ip: header" Nothing "" ["__ip_queue_xmit", "ip_queue_xmit"]
    "routes a segment and writes its header";
IpFragment ip_fragment (Some(Ip)) "ip: fragment" Nothing "" ["ip_do_fragment"] "cuts a packet into fragments";
Ip6Receive ip6_receive (Some(Ip)) "ipv6: receive" Nothing "" ["ipv6_rcv"] "checks a received header";
Ip6Forward ip6_forward (Some(Ip)) "ipv6: forward" Nothing "" ["ip6_forward"] "forwards a packet";
Ip6Output ip6_output (Some(Ip)) "ipv6: output" Nothing "" ["ip6_output"] "sends a packet to its device";
ToDevice to_device (Some(Qdisc)) "qdisc: to the device" Nothing "" ["__dev_queue_xmit"]
    "takes a packet for a device; until tc egress has passed it, its span is the one before the device's";
TcClassify tc_classify (Some(Tc)) "tc: classify" Nothing "" ["tcf_classify"] "runs the classifiers of clsact or of a qdisc";
VethSend veth_send (Some(Veth)) "veth: send" Nothing "" ["veth_xmit"] "hands a packet to the peer";
TunSend tun_send (Some(Tun)) "tun: send" Nothing "" ["tun_net_xmit"] "queues a packet for the program behind the device";
TunWrite tun_write (Some(Tun)) "tun: write" Nothing "" ["tun_get_user"] "takes a packet from that program";
TunRead tun_read (Some(Tun)) "tun: read" Nothing "" ["tun_do_read"] "copies a packet to that program";
LoopbackSend loopback_send (Some(Loopback)) "loopback: send" Nothing "" ["loopback_xmit"] "turns a packet round";
    } };
}

macro_rules! table {
    ($($hook:ident $program:ident ($($layer:tt)*) $name:literal $take:ident $(($argument:literal))? $value:literal
        [$($function:literal),*] $about:literal;)*) => {
        named! {
            /// A kernel function that is timed for followed packets.
            pub enum Hook: HookInfo;
            $($hook $name $about {
                layer: {
                    #[allow(unused_imports, clippy::allow_attributes, reason = "a row may have no layer")]
                    use Layer::*;
                    $($layer)*
                },
                functions: &[$($function),*],
                take: Take::$take $(($argument))?,
                value: $value
            };)*
        }

        impl Hook {
            /// Names of the programs of each hook, in the same order, without their suffix.
            pub const PROGRAMS: &'static [&'static str] = &[$(stringify!($program),)*];
        }
    };
}
hooks!(table);

impl Default for Hook {
    /// The whole span, which no function takes a part of.
    fn default() -> Self {
        Self::Span
    }
}

/// Hooks at most; a power of two, so that an index can be masked. With one row too many the program does not compile: then
/// this has to be 256, for which each CPU keeps another 128 [`crate::Taken`] for each of its two contexts, and at which
/// numbers of hooks still fit the `u8` that charges have for them.
pub const MAX_HOOKS: usize = 128;
const _: () = assert!(Hook::ALL.len() <= MAX_HOOKS, "more hooks than there is room for: see MAX_HOOKS");
const _: () = assert!(MAX_HOOKS.is_power_of_two() && MAX_HOOKS <= u8::MAX as usize + 1);
const _: () = assert!(Hook::NftChain16 as usize - Hook::NftChain1 as usize + 1 == crate::CHAINS);
/// A row says what its value is if, and only if, its [`Take`] makes the programs take one.
const _: () = {
    let mut at = 0;
    while at < Hook::ALL.len() {
        let info = Hook::ALL[at].info();
        assert!(
            info.value.is_empty() == matches!(info.take.value(), Value::Nothing),
            "a row names a value that nothing takes, or takes one without a name"
        );
        // What is taken needs a function from which.
        assert!(
            !info.functions.is_empty() || matches!(info.take, Take::Nothing),
            "a row without functions takes something"
        );
        at += 1;
    }
};

impl Hook {
    /// The row whose programs charge this one: its own, unless netfilter's hooks or its chains are told apart.
    pub fn charged_by(self) -> Hook {
        let to = if (Self::NfPrerouting..=Self::NfBridgePostrouting).contains(&self) {
            ChargedTo::NetfilterHook
        } else if self.is_chain() {
            ChargedTo::Chain
        } else {
            return self;
        };
        Self::ALL.iter().copied().find(|hook| hook.info().take.charged_to() == to).unwrap_or(self)
    }

    /// Whether this is the row of one nftables chain, whose name only a recording knows.
    pub fn is_chain(self) -> bool {
        (Self::NftChain1..=Self::NftChain16).contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_function_stands_in_two_rows() {
        for hook in Hook::ALL {
            for function in hook.info().functions {
                let rows = Hook::ALL.iter().filter(|other| other.info().functions.contains(function)).count();
                assert_eq!(rows, 1, "{function}");
            }
        }
    }

    #[test]
    fn rows_that_others_charge_have_one_row_that_does() {
        for to in [ChargedTo::NetfilterHook, ChargedTo::Chain] {
            assert_eq!(Hook::ALL.iter().filter(|hook| hook.info().take.charged_to() == to).count(), 1, "{to:?}");
        }
        assert_eq!(Hook::NfInput.charged_by(), Hook::NfOther);
        assert_eq!(Hook::NftChain16.charged_by(), Hook::NftChain);
        assert_eq!(Hook::IptTable.charged_by(), Hook::IptTable);
    }

    #[test]
    fn the_rows_of_netfilter_lie_in_the_order_of_its_hook_numbers() {
        let inet = [Hook::NfPrerouting, Hook::NfInput, Hook::NfForward, Hook::NfOutput, Hook::NfPostrouting];
        let bridge = [
            Hook::NfBridgePrerouting,
            Hook::NfBridgeInput,
            Hook::NfBridgeForward,
            Hook::NfBridgeOutput,
            Hook::NfBridgePostrouting,
        ];
        for number in 0..5 {
            assert_eq!(inet[number] as usize, Hook::NfPrerouting as usize + number);
            assert_eq!(bridge[number] as usize, Hook::NfBridgePrerouting as usize + number);
        }
    }
}
