//! The probe points: one list, from which names, programs and attachment come.

macro_rules! points {
    ($($variant:ident $name:literal $about:literal;)*) => {
        /// A place in the kernel where a packet is seen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Point { $(#[doc = $about] $variant,)* }

        impl Point {
            /// Every point with its name and what happens there.
            pub const ALL: &'static [(Point, &'static str, &'static str)] =
                &[$((Point::$variant, $name, $about),)*];
        }
    };
}

points! {
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

impl Point {
    /// The name that profiles and documents use.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The point of a number that a kernel program wrote, or `None`.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(id as usize).map(|entry| entry.0)
    }

    /// The point of a name, or `None`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_indexed_by_the_point() {
        for (index, entry) in Point::ALL.iter().enumerate() {
            assert_eq!(entry.0 as usize, index);
            assert_eq!(Point::from_id(index as u8), Some(entry.0));
            assert_eq!(Point::from_name(entry.1), Some(entry.0));
        }
    }
}
