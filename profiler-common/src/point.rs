//! The probe points: one list, from which names, programs and attachment come.

use crate::named;

named! {
    /// A place in the kernel where a packet is seen.
    pub enum Point;
    None "none" "no point: the CPU has not seen a packet yet";
    Send "send" "tcp_sendmsg_locked: the application handed bytes to TCP";
    Queue "queue" "net_dev_queue: the packet reached a device's queue, after tc egress";
    Enqueue "enqueue" "qdisc_enqueue: a queueing discipline took the packet";
    Xmit "xmit" "net_dev_start_xmit: the device's transmit function is about to run";
    XmitEnd "xmit_end" "net_dev_xmit: the device's transmit function came back";
    Rx "rx" "netif_rx: the packet was put on a CPU's backlog";
    Gro "gro" "napi_gro_receive_entry: a NAPI poll hands the packet to GRO";
    Receive "receive" "netif_receive_skb: the receive softirq works on the packet";
    Route "route" "fib_table_lookup: a route is looked up for the packet being received";
    Tcp "tcp" "tcp_probe: TCP works on the segment, straight from the reception";
    TcpBacklog "tcp_backlog" "tcp_probe: TCP works on the segment, which lay in the backlog of a busy socket";
    Ready "ready" "sk_data_ready: the socket announces data and nobody sleeps on it";
    ReadyWake "ready_wake" "sk_data_ready: the socket announces data to a sleeping reader";
    Copy "copy" "skb_copy_datagram_iovec: the reader copies the packet's bytes";
    Consume "consume" "consume_skb: the packet was freed after its work was done";
    Drop "drop" "kfree_skb: the packet was dropped";
    Upcall "upcall" "ovs_dp_upcall: Open vSwitch is about to send the packet to its daemon";
    Execute "execute" "ovs_flow_key_extract_userspace: Open vSwitch got the packet back from its daemon";
}
