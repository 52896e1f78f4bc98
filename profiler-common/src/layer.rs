//! The only list of layers. Output, pictures, documentation, the spans, the symbol table, the causes and the tests all read
//! this one.

use crate::named;

/// What is true of a layer.
pub struct LayerInfo {
    /// Whether packets dwell in it (it can appear in a journey); the others exist in the CPU account only.
    pub datapath: bool,
    /// What it looks like in pictures.
    pub family: Family,
    /// Kinds of device whose own work it is, as the kernel names them (`nic`, `loopback`: as the topology does).
    pub devices: &'static [&'static str],
    /// The functions by which those devices transmit.
    pub transmit: &'static [&'static str],
    /// Whether it puts packets into others, which takes a part of the MTU and hides what GRO looks at.
    pub tunnel: bool,
    /// Whether it carries frames from one of its ports to another, as no IP does.
    pub switches: bool,
    /// Whether its devices hand packets to workers, in which they go on: no other packet can have the address meanwhile.
    pub defers: bool,
}

named! {
    /// Layers that have a colour in common, by their words in a legend.
    pub enum Family: Colour;
    Sockets "sockets, TCP, UDP" "what programs and transport protocols do" { hue: 205, saturation: 62, lightness: 66 };
    Network "IP, route, neighbour" "where a packet goes" { hue: 165, saturation: 42, lightness: 60 };
    Filters "netfilter, conntrack, NAT" "what looks at packets and changes them" { hue: 350, saturation: 70, lightness: 70 };
    Queues "queues, tc, XDP, GRO, GSO" "where packets lie, are cut and merged" { hue: 45, saturation: 80, lightness: 62 };
    Devices "devices, bridges, tunnels" "what carries packets on" { hue: 25, saturation: 82, lightness: 66 };
    Memory "copy, checksum, memory, lock" "what every layer needs" { hue: 270, saturation: 45, lightness: 74 };
    Core "wakeup, sched, entry, softirq" "the kernel's own machinery" { hue: 95, saturation: 38, lightness: 64 };
    Other "user, observer, no layer" "what is not the network's" { hue: 220, saturation: 8, lightness: 76 };
}

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// In degrees.
    pub hue: u32,
    /// In percent.
    pub saturation: u32,
    /// In percent.
    pub lightness: u32,
}

/// Packets dwell in it.
const fn way(family: Family) -> LayerInfo {
    LayerInfo { datapath: true, family, devices: &[], transmit: &[], tunnel: false, switches: false, defers: false }
}

/// It exists in the CPU account only.
const fn cpu(family: Family) -> LayerInfo {
    LayerInfo { datapath: false, ..way(family) }
}

/// The work of devices of these kinds.
const fn device(devices: &'static [&'static str], transmit: &'static [&'static str]) -> LayerInfo {
    LayerInfo { devices, transmit, ..way(Family::Devices) }
}

/// The work of tunnel devices of these kinds.
const fn tunnel(devices: &'static [&'static str], transmit: &'static [&'static str]) -> LayerInfo {
    LayerInfo { tunnel: true, ..device(devices, transmit) }
}

named! {
    /// A named part of the datapath; in the order of output.
    pub enum Layer: LayerInfo;
    Userspace "userspace" "the program itself: work in user mode, and the time between a read and the answer" { ..way(Family::Other) };
    Entry "entry" "entry to and exit from the kernel: system calls, interrupts, exceptions" { ..cpu(Family::Core) };
    Socket "socket" "sockets: send and receive calls, queues, epoll" { ..way(Family::Sockets) };
    Tcp "tcp" "TCP" { ..way(Family::Sockets) };
    Udp "udp" "UDP" { ..way(Family::Sockets) };
    Ip "ip" "IPv4 and IPv6: input, output, forwarding, fragments, ICMP" { ..way(Family::Network) };
    Route "route" "route look-up" { ..way(Family::Network) };
    Netfilter "netfilter" "netfilter hooks: nftables, iptables, ebtables, br_netfilter" { ..way(Family::Filters) };
    Conntrack "conntrack" "connection tracking" { ..way(Family::Filters) };
    Nat "nat" "address translation" { ..way(Family::Filters) };
    Neighbour "neighbour" "neighbour look-up and resolution (ARP, ND)" { ..way(Family::Network) };
    Qdisc "qdisc" "queueing disciplines and the device's transmit queue" { ..way(Family::Queues) };
    Tc "tc" "tc classifiers and actions, tcx and clsact programs, and the ifb devices that these redirect to" { devices: &["ifb"], transmit: &["ifb_xmit"], ..way(Family::Queues) };
    Xdp "xdp" "XDP programs" { ..way(Family::Queues) };
    Gso "gso" "software segmentation" { ..way(Family::Queues) };
    Gro "gro" "merging of received segments" { ..way(Family::Queues) };
    Backlog "backlog" "the per-CPU queue between netif_rx and the receive softirq" { ..way(Family::Queues) };
    Veth "veth" "virtual Ethernet pairs" { ..device(&["veth"], &["veth_xmit"]) };
    Bridge "bridge" "Linux bridge: learning, look-up, forwarding" { switches: true, ..device(&["bridge"], &["br_dev_xmit"]) };
    Ovs "ovs" "Open vSwitch datapath" { switches: true, ..device(&["openvswitch"], &["internal_dev_xmit"]) };
    Macvlan "macvlan" "macvlan" { ..device(&["macvlan", "macvtap"], &["macvlan_start_xmit"]) };
    Ipvlan "ipvlan" "ipvlan" { ..device(&["ipvlan", "ipvtap"], &["ipvlan_start_xmit"]) };
    Vxlan "vxlan" "VXLAN encapsulation and decapsulation" { ..tunnel(&["vxlan"], &["vxlan_xmit"]) };
    Geneve "geneve" "Geneve encapsulation and decapsulation" { ..tunnel(&["geneve"], &["geneve_xmit"]) };
    Ipip "ipip" "IP-in-IP encapsulation and decapsulation, VTI" { ..tunnel(&["ipip", "sit", "ip6tnl", "vti", "vti6"], &["ipip_tunnel_xmit", "sit_tunnel_xmit", "ip6_tnl_start_xmit", "vti_tunnel_xmit", "vti6_tnl_xmit"]) };
    Gre "gre" "GRE encapsulation and decapsulation" { ..tunnel(&["gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan"], &["ipgre_xmit", "gre_tap_xmit", "erspan_xmit", "ip6gre_tunnel_xmit", "ip6erspan_tunnel_xmit"]) };
    Tun "tun" "tun and tap devices" { ..device(&["tun", "tap"], &["tun_net_xmit"]) };
    Loopback "loopback" "the loopback device" { ..device(&["loopback"], &["loopback_xmit"]) };
    Nic "nic" "drivers of physical and paravirtual devices" { ..device(&["nic"], &["start_xmit", "ena_start_xmit", "mlx5e_xmit", "ixgbe_xmit_frame", "i40e_lan_xmit_frame", "ice_start_xmit", "igb_xmit_frame", "e1000_xmit_frame", "vmxnet3_xmit_frame"]) };
    Wakeup "wakeup" "waking the reader: scheduler, context switch" { ..way(Family::Core) };
    Drop "drop" "dropped packets" { ..way(Family::Other) };
    // Pictures take colours from the order: these came later, and the others keep theirs.
    Netkit "netkit" "netkit pairs" { ..device(&["netkit"], &["netkit_xmit"]) };
    Vlan "vlan" "VLAN devices" { ..device(&["vlan"], &["vlan_dev_hard_start_xmit"]) };
    Bond "bond" "bonds and teams of devices" { ..device(&["bond", "team"], &["bond_start_xmit", "team_xmit"]) };
    Vrf "vrf" "routing domains (VRF)" { ..device(&["vrf"], &["vrf_xmit"]) };
    Wireguard "wireguard" "WireGuard: encryption, decryption, and the way to and from the workers that do them" { defers: true, ..tunnel(&["wireguard"], &["wg_xmit"]) };
    Device "device" "virtual devices of other kinds" { ..device(&["dummy", "macsec", "hsr", "dsa", "batadv", "bareudp", "gtp", "xfrm"], &["dummy_xmit", "macsec_start_xmit", "hsr_dev_xmit", "dsa_user_xmit", "dsa_slave_xmit", "bareudp_xmit", "gtp_dev_xmit", "xfrmi_xmit"]) };
    Copy "copy" "copies between user space and kernel, and between buffers" { ..cpu(Family::Memory) };
    Checksum "checksum" "checksums" { ..cpu(Family::Memory) };
    SkbMemory "skb" "allocation and release of packet buffers" { ..cpu(Family::Memory) };
    Memory "memory" "other memory management: slab, pages, faults" { ..cpu(Family::Memory) };
    Lock "lock" "spinlocks, mutexes, RCU" { ..cpu(Family::Memory) };
    Softirq "softirq" "softirq core: dispatch, NAPI polling, ksoftirqd" { ..cpu(Family::Core) };
    Timer "timer" "timers and clocks" { ..cpu(Family::Core) };
    Scheduler "sched" "scheduler outside of packet wake-ups" { ..cpu(Family::Core) };
    Observer "observer" "netstrata's own probes" { ..cpu(Family::Other) };
    Idle "idle" "nothing to do" { ..cpu(Family::Other) };
}

impl Layer {
    /// Whether packets dwell in this layer.
    pub const fn is_datapath(self) -> bool {
        self.info().datapath
    }

    /// The layer of a device's own work, by its kind: kinds of which nothing is known have one together.
    pub fn of_device(kind: &str) -> Self {
        Self::known_device(kind).unwrap_or(Self::Device)
    }

    /// The first four bytes of the kinds of devices that hand packets to workers.
    pub const DEFERRING: [u32; 1] = {
        let (mut found, mut count, mut at) = ([0], 0, 0);
        while at < Self::ALL.len() {
            let info = Self::ALL[at].info();
            let mut kind = 0;
            while info.defers && kind < info.devices.len() {
                let name = info.devices[kind].as_bytes();
                found[count] = u32::from_ne_bytes([name[0], name[1], name[2], name[3]]);
                (count, kind) = (count + 1, kind + 1);
            }
            at += 1;
        }
        assert!(count == found.len(), "there are more or fewer of them");
        found
    };

    /// The layer whose row names a kind of device.
    pub fn known_device(kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|layer| layer.info().devices.contains(&kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_device_and_a_function_stand_in_one_row_only() {
        for layer in Layer::ALL {
            let info = layer.info();
            for kind in info.devices {
                assert_eq!(Layer::of_device(kind), *layer, "{kind}");
            }
            for function in info.transmit {
                let rows = Layer::ALL.iter().filter(|other| other.info().transmit.contains(function)).count();
                assert_eq!(rows, 1, "{function}");
            }
            // Packets dwell in devices, and a device without a function to transmit cannot be told in a stack.
            assert!(info.devices.is_empty() || info.datapath && !info.transmit.is_empty(), "{}", layer.name());
            assert!(!info.tunnel || !info.devices.is_empty(), "{}", layer.name());
        }
        assert_eq!((Layer::known_device("seltsam"), Layer::of_device("seltsam")), (None, Layer::Device));
    }
}
