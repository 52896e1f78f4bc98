//! The only list of layers. Output, documentation, the symbol table and the tests all read this one.

use crate::named;

/// What is true of a layer.
pub struct LayerInfo {
    /// Whether packets dwell in it (it can appear in a journey); the others exist in the CPU account only.
    pub datapath: bool,
}

named! {
    /// A named part of the datapath; in the order of output.
    pub enum Layer: LayerInfo;
    Userspace "userspace" "the program itself: work in user mode, and the time between a read and the answer" { datapath: true };
    Entry "entry" "entry to and exit from the kernel: system calls, interrupts, exceptions" { datapath: false };
    Socket "socket" "sockets: send and receive calls, queues, epoll" { datapath: true };
    Tcp "tcp" "TCP" { datapath: true };
    Udp "udp" "UDP" { datapath: true };
    Ip "ip" "IPv4 and IPv6: input, output, forwarding, fragments, ICMP" { datapath: true };
    Route "route" "route look-up" { datapath: true };
    Netfilter "netfilter" "netfilter hooks: nftables, iptables, ebtables, br_netfilter" { datapath: true };
    Conntrack "conntrack" "connection tracking" { datapath: true };
    Nat "nat" "address translation" { datapath: true };
    Neighbour "neighbour" "neighbour look-up and resolution (ARP, ND)" { datapath: true };
    Qdisc "qdisc" "queueing disciplines and the device's transmit queue" { datapath: true };
    Tc "tc" "tc classifiers and actions, tcx and clsact programs" { datapath: true };
    Xdp "xdp" "XDP programs" { datapath: true };
    Gso "gso" "software segmentation" { datapath: true };
    Gro "gro" "merging of received segments" { datapath: true };
    Backlog "backlog" "the per-CPU queue between netif_rx and the receive softirq" { datapath: true };
    Veth "veth" "virtual Ethernet pairs" { datapath: true };
    Bridge "bridge" "Linux bridge: learning, look-up, forwarding" { datapath: true };
    Ovs "ovs" "Open vSwitch datapath" { datapath: true };
    Macvlan "macvlan" "macvlan" { datapath: true };
    Ipvlan "ipvlan" "ipvlan" { datapath: true };
    Vxlan "vxlan" "VXLAN encapsulation and decapsulation" { datapath: true };
    Geneve "geneve" "Geneve encapsulation and decapsulation" { datapath: true };
    Ipip "ipip" "IP-in-IP encapsulation and decapsulation" { datapath: true };
    Gre "gre" "GRE encapsulation and decapsulation" { datapath: true };
    Tun "tun" "tun and tap devices" { datapath: true };
    Loopback "loopback" "the loopback device" { datapath: true };
    Nic "nic" "drivers of physical and paravirtual devices" { datapath: true };
    Wakeup "wakeup" "waking the reader: scheduler, context switch" { datapath: true };
    Drop "drop" "dropped packets" { datapath: true };
    Copy "copy" "copies between user space and kernel, and between buffers" { datapath: false };
    Checksum "checksum" "checksums" { datapath: false };
    SkbMemory "skb" "allocation and release of packet buffers" { datapath: false };
    Memory "memory" "other memory management: slab, pages, faults" { datapath: false };
    Lock "lock" "spinlocks, mutexes, RCU" { datapath: false };
    Softirq "softirq" "softirq core: dispatch, NAPI polling, ksoftirqd" { datapath: false };
    Timer "timer" "timers and clocks" { datapath: false };
    Scheduler "sched" "scheduler outside of packet wake-ups" { datapath: false };
    Observer "observer" "netstrata's own probes" { datapath: false };
    Idle "idle" "nothing to do" { datapath: false };
}

impl Layer {
    /// Whether packets dwell in this layer.
    pub const fn is_datapath(self) -> bool {
        self.info().datapath
    }
}
