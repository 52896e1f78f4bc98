//! The only list of layers. Output, documentation, the symbol table and the tests all read this one.

/// Describes a layer for people.
pub struct LayerInfo {
    /// The layer.
    pub layer: Layer,
    /// The name that output and documents use.
    pub name: &'static str,
    /// What the layer is, in a line.
    pub about: &'static str,
    /// Whether packets dwell in it (it can appear in a journey); the others exist in the CPU account only.
    pub datapath: bool,
}

macro_rules! layers {
    ($($variant:ident $name:literal $datapath:literal $about:literal;)*) => {
        /// A named part of the datapath.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Layer { $(#[doc = $about] $variant,)* }

        impl Layer {
            /// Every layer, in the order of output.
            pub const ALL: &'static [LayerInfo] = &[
                $(LayerInfo { layer: Layer::$variant, name: $name, about: $about, datapath: $datapath },)*
            ];
        }
    };
}

layers! {
    Userspace "userspace" true "the program itself: work in user mode, and the time between a read and the answer";
    Entry "entry" false "entry to and exit from the kernel: system calls, interrupts, exceptions";
    Socket "socket" true "sockets: send and receive calls, queues, epoll";
    Tcp "tcp" true "TCP";
    Udp "udp" true "UDP";
    Ip "ip" true "IPv4 and IPv6: input, output, forwarding, fragments, ICMP";
    Route "route" true "route look-up";
    Netfilter "netfilter" true "netfilter hooks: nftables, iptables, ebtables, br_netfilter";
    Conntrack "conntrack" true "connection tracking";
    Nat "nat" true "address translation";
    Neighbour "neighbour" true "neighbour look-up and resolution (ARP, ND)";
    Qdisc "qdisc" true "queueing disciplines and the device's transmit queue";
    Tc "tc" true "tc classifiers and actions, tcx and clsact programs";
    Xdp "xdp" true "XDP programs";
    Gso "gso" true "software segmentation";
    Gro "gro" true "merging of received segments";
    Backlog "backlog" true "the per-CPU queue between netif_rx and the receive softirq";
    Veth "veth" true "virtual Ethernet pairs";
    Bridge "bridge" true "Linux bridge: learning, look-up, forwarding";
    Ovs "ovs" true "Open vSwitch datapath";
    Macvlan "macvlan" true "macvlan";
    Ipvlan "ipvlan" true "ipvlan";
    Vxlan "vxlan" true "VXLAN encapsulation and decapsulation";
    Geneve "geneve" true "Geneve encapsulation and decapsulation";
    Ipip "ipip" true "IP-in-IP encapsulation and decapsulation";
    Gre "gre" true "GRE encapsulation and decapsulation";
    Tun "tun" true "tun and tap devices";
    Loopback "loopback" true "the loopback device";
    Nic "nic" true "drivers of physical and paravirtual devices";
    Wakeup "wakeup" true "waking the reader: scheduler, context switch";
    Drop "drop" true "dropped packets";
    Copy "copy" false "copies between user space and kernel, and between buffers";
    Checksum "checksum" false "checksums";
    SkbMemory "skb" false "allocation and release of packet buffers";
    Memory "memory" false "other memory management: slab, pages, faults";
    Lock "lock" false "spinlocks, mutexes, RCU";
    Softirq "softirq" false "softirq core: dispatch, NAPI polling, ksoftirqd";
    Timer "timer" false "timers and clocks";
    Scheduler "sched" false "scheduler outside of packet wake-ups";
    Observer "observer" false "netstrata's own probes";
    Idle "idle" false "nothing to do";
}

impl Layer {
    /// The name that output and documents use.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].name
    }

    /// The layer of a name, or `None`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|info| info.name == name).map(|info| info.layer)
    }

    /// Whether packets dwell in this layer.
    pub fn is_datapath(self) -> bool {
        Self::ALL[self as usize].datapath
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_indexed_by_the_layer_and_names_are_unique() {
        for (index, info) in Layer::ALL.iter().enumerate() {
            assert_eq!(info.layer as usize, index);
            assert_eq!(Layer::from_name(info.name), Some(info.layer));
        }
    }
}
