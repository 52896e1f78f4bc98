//! The modes of the lab: the only list of them.

use anyhow::Context as _;
use serde::Serialize;

use super::{
    cleanup::Lab,
    needs::Need::{self, Cni, Device, Docker, Guest, Kernel, Program},
    network::{Build, Network, Shared, Site},
    networks::{cni, docker, local, nat, nested, overlay, ovs, routed, slave, tap, trunk, user, wire, wireguard},
};
use crate::{cli::LabRunArgs, failure::Failure};

/// A way to connect a client and a server.
#[derive(Debug, Serialize)]
pub struct Mode {
    /// Name on the command line.
    pub name: &'static str,
    /// What it is, in one line.
    pub text: &'static str,
    /// The devices between client and server, in order.
    pub chain: &'static [&'static str],
    /// Layers that a recording of it shows, each with the device it is charged to ("" where there is none, or where
    /// its name is the engine's choice).
    pub layers: &'static [(&'static str, &'static str)],
    /// What it needs of the machine.
    pub needs: &'static [Need],
    /// Builds it.
    #[serde(skip)]
    pub build: Build,
}

impl Mode {
    /// Builds its network.
    pub fn build(&self, lab: &Lab, args: &LabRunArgs, shared: &mut Shared) -> anyhow::Result<Network> {
        let site = &mut Site { mode: self.name, lab, args, shared };
        (self.build)(site).with_context(|| format!("cannot build mode {}", self.name))
    }

    /// Whether it needs Docker.
    pub fn docker(&self) -> bool {
        self.needs.contains(&Docker)
    }
}

const IP: Need = Program("ip", "iproute2");
const VETH: Need = Device("veth");
const BRIDGE: Need = Device("bridge");
const NFT_NAT: Need = Kernel(
    "address translation for nftables (modules nf_tables, nft_nat, nft_masq)",
    &[
        "nft",
        "add table ip trial; add chain ip trial c { type nat hook postrouting priority 100 ; }; \
         add rule ip trial c masquerade",
    ],
);
const IPTABLES_NAT: Need = Kernel(
    "address translation for iptables (modules nft_compat or ip_tables, xt_MASQUERADE)",
    &["iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE"],
);
const TBF: Need = Kernel(
    "tbf (module sch_tbf)",
    &["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "10kb", "latency", "50ms"],
);
const INGRESS: Need = Kernel(
    "queue for filters of what is received (module sch_ingress)",
    &["tc", "qdisc", "add", "dev", "lo", "ingress"],
);
const OVS_DAEMON: Need = Program("ovs-vswitchd", "openvswitch-switch");
const OVS_DATABASE: Need = Program("ovsdb-server", "openvswitch-switch");
const OVS_DATAPATH: Need = Kernel("Open vSwitch datapath (module openvswitch)", &["ovs-dpctl", "add-dp", "trial"]);
const OVS: &[Need] = &[IP, VETH, OVS_DAEMON, OVS_DATABASE, OVS_DATAPATH];

/// All modes.
#[rustfmt::skip]
pub const MODES: &[Mode] = &[
    Mode {
        name: "none",
        text: "no container network: two plain processes on one stack, here in a namespace of the lab's own that has \
               nothing but its loopback",
        chain: &["client", "lo", "server"],
        layers: &[("loopback", "lo"), ("backlog", "lo")],
        needs: &[IP],
        build: local::loopback,
    },
    Mode {
        name: "host",
        text: "client and server use the host's network; the lab's host is a namespace of its own, so that nothing of the \
               real one is touched: packets go the same way as in `none`",
        chain: &["client", "lo", "server"],
        layers: &[("loopback", "lo"), ("backlog", "lo")],
        needs: &[IP],
        build: local::loopback,
    },
    Mode {
        name: "container",
        text: "the client joins the server's network namespace, which has an `eth0` on a bridge; they talk over its loopback",
        chain: &["client", "lo", "server"],
        layers: &[("loopback", "lo"), ("backlog", "lo")],
        needs: &[IP, VETH, BRIDGE],
        build: local::container,
    },
    Mode {
        name: "bridge",
        text: "client and server in a namespace each, joined by veth pairs to a Linux bridge in a third",
        chain: &["client", "eth0", "veth-client", "br0", "veth-server", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", "veth-client"), ("bridge", "br0")],
        needs: &[IP, VETH, BRIDGE],
        build: local::bridge,
    },
    Mode {
        name: "vlan-bridge",
        text: "two hosts whose wire carries tagged frames: on each a bridge whose ports are the container and a VLAN of the \
               wire, as Proxmox and OpenStack join machines",
        chain: &[
            "client", "eth0", "veth-client", "br0", "wire0.10", "wire0", "wire0", "wire0.10", "br0", "veth-server", "eth0",
            "server",
        ],
        layers: &[
            ("veth", "eth0"), ("backlog", "veth-client"), ("bridge", "br0"), ("vlan", "wire0.10"), ("veth", "wire0"),
            ("backlog", "wire0"),
        ],
        needs: &[IP, VETH, BRIDGE, Device("vlan")],
        build: trunk::vlan_bridge,
    },
    Mode {
        name: "netkit",
        text: "client and server in a namespace each, joined by netkit pairs to a third, which routes between them, as Cilium's \
               netkit devices without its programs",
        chain: &["client", "eth0", "nk-client", "node", "nk-server", "eth0", "server"],
        layers: &[("netkit", "eth0"), ("backlog", "nk-client"), ("ip", "nk-client"), ("route", "nk-client")],
        needs: &[IP, Device("netkit")],
        build: trunk::netkit,
    },
    Mode {
        name: "nat",
        text: "the server's container is on a bridge, its port published on the host by nftables rules (DNAT and \
               masquerade, conntrack); the client is outside",
        chain: &["client", "eth0", "veth-client", "conntrack, nat", "br0", "veth-server", "eth0", "server"],
        layers: &[
            ("veth", "eth0"), ("backlog", "veth-client"), ("netfilter", "veth-client"), ("conntrack", "veth-client"),
            ("nat", "veth-client"), ("ip", "veth-client"), ("bridge", "br0"),
        ],
        needs: &[IP, VETH, BRIDGE, Program("nft", "nftables"), NFT_NAT],
        build: nat::nft,
    },
    Mode {
        name: "nat-iptables",
        text: "like `nat`, with the same rules of iptables",
        chain: &["client", "eth0", "veth-client", "conntrack, nat", "br0", "veth-server", "eth0", "server"],
        layers: &[
            ("veth", "eth0"), ("backlog", "veth-client"), ("netfilter", "veth-client"), ("conntrack", "veth-client"),
            ("nat", "veth-client"), ("ip", "veth-client"), ("bridge", "br0"),
        ],
        needs: &[IP, VETH, BRIDGE, Program("iptables", "iptables"), IPTABLES_NAT],
        build: nat::iptables,
    },
    Mode {
        name: "macvlan",
        text: "client and server each have a macvlan device in bridge mode on one lower device: no bridge, no learning",
        chain: &["client", "eth0", "macvlan on uplink", "eth0", "server"],
        layers: &[("macvlan", "eth0")],
        needs: &[IP, VETH, Device("macvlan")],
        build: slave::macvlan,
    },
    Mode {
        name: "ipvlan",
        text: "client and server each have an ipvlan device in mode l2 on one lower device, whose hardware address they share",
        chain: &["client", "eth0", "ipvlan on uplink", "eth0", "server"],
        layers: &[("ipvlan", "eth0")],
        needs: &[IP, VETH, Device("ipvlan")],
        build: slave::ipvlan_l2,
    },
    Mode {
        name: "ipvlan-l3",
        text: "client and server each have an ipvlan device in mode l3: packets are routed by address, without ARP",
        chain: &["client", "eth0", "ipvlan on uplink", "eth0", "server"],
        layers: &[("ipvlan", "eth0")],
        needs: &[IP, VETH, Device("ipvlan")],
        build: slave::ipvlan_l3,
    },
    Mode {
        name: "ovs",
        text: "client and server are ports of Open vSwitch's kernel datapath, steered by an ovs-vswitchd of the lab's own: \
               the action is `normal` (learning)",
        chain: &["client", "eth0", "veth-client", "ovs-system", "veth-server", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", "veth-client"), ("ovs", "ovs-system")],
        needs: OVS,
        build: ovs::normal,
    },
    Mode {
        name: "ovs-flows",
        text: "like `ovs`, with explicit flows: by port and hardware address through two tables, a header field set, output",
        chain: &["client", "eth0", "veth-client", "ovs-system", "veth-server", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", "veth-client"), ("ovs", "ovs-system")],
        needs: OVS,
        build: ovs::flows,
    },
    Mode {
        name: "ovs-upcall",
        text: "like `ovs`, but the datapath may keep no flow: every packet goes up to ovs-vswitchd and back, as the first of \
               each flow does elsewhere",
        chain: &[
            "client", "eth0", "veth-client", "ovs-system", "ovs-vswitchd", "ovs-system", "veth-server", "eth0", "server",
        ],
        layers: &[("veth", "eth0"), ("backlog", "veth-client"), ("ovs", "ovs-system"), ("userspace", "ovs-system")],
        needs: OVS,
        build: ovs::upcall,
    },
    Mode {
        name: "routed",
        text: "two hosts that tell each other their containers' addresses over BGP (bird) and route plainly, as Calico does: \
               every container is behind a veth pair with a route to its one address",
        chain: &[
            "client", "eth0", "veth-client", "host-a", "wire0", "wire0", "host-b", "veth-server", "eth0", "server",
        ],
        layers: &[
            ("veth", "eth0"), ("backlog", "veth-client"), ("ip", "veth-client"), ("route", "veth-client"),
            ("veth", "wire0"), ("backlog", "wire0"), ("ip", "wire0"), ("route", "wire0"),
        ],
        needs: &[IP, VETH, Program("bird", "bird2")],
        build: routed::bgp,
    },
    Mode {
        name: "ipip",
        text: "two hosts with an IP-in-IP tunnel between them, as Calico's IPIP mode",
        chain: &[
            "client", "eth0", "veth-client", "ipip0", "wire0", "wire0", "ipip0", "veth-server", "eth0", "server",
        ],
        layers: &[
            ("veth", "eth0"), ("backlog", "veth-client"), ("ip", "veth-client"), ("ipip", "ipip0"), ("ip", "ipip0"),
            ("veth", "wire0"), ("backlog", "wire0"),
        ],
        needs: &[IP, VETH, Device("ipip")],
        build: routed::ipip,
    },
    Mode {
        name: "gre",
        text: "like `ipip`, with a GRE tunnel",
        chain: &[
            "client", "eth0", "veth-client", "gre1", "wire0", "wire0", "gre1", "veth-server", "eth0", "server",
        ],
        layers: &[
            ("veth", "eth0"), ("backlog", "veth-client"), ("ip", "veth-client"), ("gre", "gre1"), ("ip", "gre1"),
            ("veth", "wire0"), ("backlog", "wire0"),
        ],
        needs: &[IP, VETH, Device("gre")],
        build: routed::gre,
    },
    Mode {
        name: "wireguard",
        text: "two hosts with a WireGuard tunnel between them, as Flannel's backend of that name and Calico's encryption",
        chain: &[
            "client", "eth0", "veth-client", "wg0", "wire0", "wire0", "wg0", "veth-server", "eth0", "server",
        ],
        layers: &[
            ("veth", "eth0"), ("backlog", "veth-client"), ("ip", "veth-client"), ("wireguard", "wg0"), ("ip", "wg0"),
            ("veth", "wire0"), ("backlog", "wire0"),
        ],
        needs: &[IP, VETH, Program("wg", "wireguard-tools"), Device("wireguard")],
        build: wireguard::tunnel,
    },
    Mode {
        name: "vxlan",
        text: "two hosts with one subnet over both: on each a bridge whose ports are the container and a VXLAN device, as \
               Docker's overlay networks",
        chain: &[
            "client", "eth0", "veth-client", "br0", "vxlan0", "wire0", "wire0", "vxlan0", "br0", "veth-server", "eth0",
            "server",
        ],
        layers: &[
            ("veth", "eth0"), ("backlog", "veth-client"), ("bridge", "br0"), ("vxlan", "vxlan0"), ("udp", "vxlan0"),
            ("ip", "vxlan0"), ("veth", "wire0"), ("backlog", "wire0"),
        ],
        needs: &[IP, VETH, BRIDGE, Device("vxlan")],
        build: overlay::vxlan,
    },
    Mode {
        name: "geneve",
        text: "like `vxlan`, with Geneve devices, as OVN",
        chain: &[
            "client", "eth0", "veth-client", "br0", "geneve0", "wire0", "wire0", "geneve0", "br0", "veth-server", "eth0",
            "server",
        ],
        layers: &[
            ("veth", "eth0"), ("backlog", "veth-client"), ("bridge", "br0"), ("geneve", "geneve0"), ("udp", "geneve0"),
            ("ip", "geneve0"), ("veth", "wire0"), ("backlog", "wire0"),
        ],
        needs: &[IP, VETH, BRIDGE, Device("geneve")],
        build: overlay::geneve,
    },
    Mode {
        name: "user-overlay",
        text: "two hosts whose packets go through a program in user space (socat) between a tun device and a UDP socket, as \
               Flannel's udp backend",
        chain: &[
            "client", "eth0", "veth-client", "tun0", "socat", "wire0", "wire0", "socat", "tun0", "veth-server", "eth0",
            "server",
        ],
        layers: &[
            ("veth", "eth0"), ("backlog", "veth-client"), ("ip", "veth-client"), ("tun", "tun0"), ("userspace", "tun0"),
            ("veth", "wire0"), ("backlog", "wire0"),
        ],
        needs: &[IP, VETH, Device("tun"), Program("socat", "socat")],
        build: user::overlay,
    },
    Mode {
        name: "nested-host-host",
        text: "containers in containers: both parents and both children use the host's network",
        chain: &["client", "lo", "server"],
        layers: &[("loopback", "lo"), ("backlog", "lo")],
        needs: &[IP],
        build: nested::nested,
    },
    Mode {
        name: "nested-host-bridge",
        text: "containers in containers: the parents use the host's network, where the children's bridge is",
        chain: &["client", "eth0", "veth-client", "br-child", "veth-server", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", "veth-client"), ("bridge", "br-child")],
        needs: &[IP, VETH, BRIDGE],
        build: nested::nested,
    },
    Mode {
        name: "nested-bridge-host",
        text: "containers in containers: the parents are on a bridge, the children use their parent's network",
        chain: &["client", "eth0", "veth-client", "br-parent", "veth-server", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", "veth-client"), ("bridge", "br-parent")],
        needs: &[IP, VETH, BRIDGE],
        build: nested::nested,
    },
    Mode {
        name: "nested-bridge-bridge",
        text: "containers in containers: in each parent a bridge joins the child to the parent's `eth0`, which is on the \
               host's bridge",
        chain: &[
            "client", "eth0", "veth-inner-c", "br-child", "eth0", "veth-client", "br-parent", "veth-server", "eth0",
            "br-child", "veth-inner-s", "eth0", "server",
        ],
        layers: &[("veth", "eth0"), ("backlog", "veth-client"), ("bridge", "br-child"), ("bridge", "br-parent")],
        needs: &[IP, VETH, BRIDGE],
        build: nested::nested,
    },
    Mode {
        name: "nested-ovs-host",
        text: "containers in containers: the parents are on Open vSwitch, the children use their parent's network",
        chain: &["client", "eth0", "veth-client", "ovs-system", "veth-server", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", "veth-client"), ("ovs", "ovs-system")],
        needs: OVS,
        build: nested::nested,
    },
    Mode {
        name: "nested-ovs-bridge",
        text: "containers in containers: in each parent a bridge joins the child to the parent's `eth0`, which is on Open \
               vSwitch",
        chain: &[
            "client", "eth0", "veth-inner-c", "br-child", "eth0", "veth-client", "ovs-system", "veth-server", "eth0",
            "br-child", "veth-inner-s", "eth0", "server",
        ],
        layers: &[("veth", "eth0"), ("backlog", "veth-client"), ("bridge", "br-child"), ("ovs", "ovs-system")],
        needs: OVS,
        build: nested::nested,
    },
    Mode {
        name: "docker-host",
        text: "two containers with `--network host` of a private Docker daemon; the host is a namespace of the lab's own",
        chain: &["client", "lo", "server"],
        layers: &[("loopback", "lo"), ("backlog", "lo")],
        needs: &[IP, Docker],
        build: docker::host,
    },
    Mode {
        name: "docker-bridge",
        text: "two containers on the default bridge of a private Docker daemon, with Docker's own netfilter rules",
        chain: &["client", "eth0", "veth…", "docker0", "veth…", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", ""), ("bridge", "docker0")],
        needs: &[IP, Docker],
        build: docker::bridge,
    },
    Mode {
        name: "docker-container",
        text: "the client's container joins the network namespace of the server's (`--network container:`)",
        chain: &["client", "lo", "server"],
        layers: &[("loopback", "lo"), ("backlog", "lo")],
        needs: &[IP, Docker],
        build: docker::shared,
    },
    Mode {
        name: "docker-macvlan",
        text: "two containers on Docker's macvlan in bridge mode; a veth end stands for the network card",
        chain: &["client", "eth0", "card0", "eth0", "server"],
        layers: &[("macvlan", "eth0"), ("backlog", "card0")],
        needs: &[IP, Docker, Device("macvlan")],
        build: docker::macvlan,
    },
    Mode {
        name: "docker-nat",
        text: "two hosts, a private Docker daemon each: from a container, masqueraded, to a published port of the \
               other host, translated, to a container there",
        chain: &["client", "eth0", "veth…", "docker0", "eth0", "eth0", "docker0", "veth…", "eth0", "server"],
        layers: &[
            ("veth", "eth0"), ("backlog", "eth0"), ("bridge", "docker0"), ("ip", "eth0"), ("netfilter", "docker0"),
            ("conntrack", "docker0"), ("nat", ""),
        ],
        needs: &[IP, Docker],
        build: docker::nat,
    },
    Mode {
        name: "docker-overlay",
        text: "two hosts, a private Docker daemon each, are one swarm; a container on each, on an overlay network",
        chain: &[
            "client", "eth0", "veth…", "br0", "vxlan0", "eth0", "eth0", "vxlan0", "br0", "veth…", "eth0", "server",
        ],
        layers: &[("veth", "eth0"), ("bridge", "br0"), ("vxlan", "vxlan0"), ("ip", "eth0"), ("backlog", "vxlan0")],
        needs: &[IP, Docker, Device("vxlan")],
        build: docker::overlay,
    },
    Mode {
        name: "cni-bridge",
        text: "two containers on the bridge of the CNI plugin `bridge`, with its rules for masquerading",
        chain: &["client", "eth0", "veth…", "cni0", "veth…", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", ""), ("bridge", "cni0")],
        needs: &[IP, Cni("bridge")],
        build: cni::bridge,
    },
    Mode {
        name: "cni-bandwidth",
        text: "like `cni-bridge`, with the CNI plugin `bandwidth` after it: what a container receives is held to 1 Gbit/s by TBF at \
               the node's end of its veth pair, what it sends by TBF at an ifb device",
        chain: &["client", "eth0", "veth…", "ifb", "cni0", "veth…", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", ""), ("bridge", "cni0"), ("qdisc", ""), ("tc", "")],
        needs: &[IP, Cni("bridge"), Cni("bandwidth"), Device("ifb"), TBF, INGRESS],
        build: cni::bandwidth,
    },
    Mode {
        name: "cni-ptp",
        text: "two containers, each with a veth pair of the CNI plugin `ptp` to the node, which routes between them",
        chain: &["client", "eth0", "veth…", "veth…", "eth0", "server"],
        layers: &[("veth", "eth0"), ("backlog", ""), ("ip", "")],
        needs: &[IP, Cni("ptp")],
        build: cni::ptp,
    },
    Mode {
        name: "cni-macvlan",
        text: "two containers on the macvlan of the CNI plugin of that name; a veth end stands for the network card",
        chain: &["client", "eth0", "card0", "eth0", "server"],
        layers: &[("macvlan", "eth0"), ("backlog", "card0")],
        needs: &[IP, Cni("macvlan"), Device("macvlan")],
        build: cni::macvlan,
    },
    Mode {
        name: "vm-bridge",
        text: "the client in an emulated guest, whose virtio network card is a tap device on a Linux bridge; the \
               device model is a program of the host",
        chain: &["client", "eth0", "tap0", "br0", "veth-server", "eth0", "server"],
        layers: &[("tun", "tap0"), ("bridge", "br0"), ("veth", "veth-server"), ("backlog", "eth0")],
        needs: &[IP, Guest, Device("bridge"), Device("tun")],
        build: tap::bridge,
    },
    Mode {
        name: "vm-ovs",
        text: "the client in an emulated guest, whose tap device is a port of Open vSwitch's kernel datapath",
        chain: &["client", "eth0", "tap0", "ovs-system", "veth-server", "eth0", "server"],
        layers: &[("tun", "tap0"), ("ovs", "ovs-system"), ("veth", "veth-server"), ("backlog", "eth0")],
        needs: &[IP, VETH, OVS_DAEMON, OVS_DATABASE, OVS_DATAPATH, Guest, Device("tun")],
        build: tap::ovs,
    },
    Mode {
        name: "nic-host",
        text: "client and server in an emulated machine each, joined by their network cards (virtio, with two queues), which \
               cut segments and merge them; each machine records itself: two profiles",
        chain: &["client", "eth0", "wire", "eth0", "server"],
        layers: &[("qdisc", "eth0"), ("gro", "eth0"), ("ip", "eth0")],
        needs: &[IP, Guest, BRIDGE, Device("tun")],
        build: wire::host,
    },
    Mode {
        name: "nic-bridge",
        text: "like `nic-host`, with a container on each host, at a bridge of which the card is a port",
        chain: &["client", "eth0", "veth-pod", "br0", "eth0", "wire", "eth0", "br0", "veth-pod", "eth0", "server"],
        layers: &[("veth", "eth0"), ("bridge", "br0"), ("qdisc", "eth0"), ("gro", "eth0"), ("backlog", "eth0")],
        needs: &[IP, Guest, BRIDGE, Device("tun")],
        build: wire::bridge,
    },
    Mode {
        name: "nic-vxlan",
        text: "like `nic-bridge`, where not the card but a VXLAN between the hosts is a port of the bridge",
        chain: &[
            "client", "eth0", "veth-pod", "br0", "vx0", "eth0", "wire", "eth0", "vx0", "br0", "veth-pod", "eth0", "server",
        ],
        layers: &[("veth", "eth0"), ("bridge", "br0"), ("vxlan", "vx0"), ("qdisc", "eth0"), ("gro", "eth0")],
        needs: &[IP, Guest, BRIDGE, Device("tun")],
        build: wire::vxlan,
    },
    Mode {
        name: "nic-bond-vlan",
        text: "like `nic-host`, over a VLAN on a bond of which the card is the one port",
        chain: &["client", "bond0.77", "bond0", "eth0", "wire", "eth0", "bond0", "bond0.77", "server"],
        layers: &[("vlan", "bond0.77"), ("bond", "bond0"), ("qdisc", "eth0"), ("gro", "eth0")],
        needs: &[IP, Guest, BRIDGE, Device("tun")],
        build: wire::bond_vlan,
    },
];

/// Modes whose two sides are machines of their own, which an emulated machine has no room for.
pub fn has_machines(name: &str) -> bool {
    name.starts_with("nic-")
}

/// The mode of this name; an unknown name is wrong usage.
pub fn find(name: &str) -> Result<&'static Mode, Failure> {
    MODES.iter().find(|mode| mode.name == name).ok_or_else(|| {
        let known: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
        Failure::Usage(format!("unknown mode `{name}`; known: {}", known.join(", ")))
    })
}

/// The list for people.
pub fn text() -> String {
    let mut out = String::new();
    for mode in MODES {
        out.push_str(&format!("{:<20} {}\n{:<20}   {}\n", mode.name, mode.text, "", mode.chain.join(" ─ ")));
    }
    out
}

/// The list for programs: `netstrata.lab/1`.
pub fn json() -> serde_json::Value {
    let mut modes = serde_json::json!(MODES);
    for (row, mode) in modes.as_array_mut().into_iter().flatten().zip(MODES) {
        row["docker"] = mode.docker().into();
    }
    serde_json::json!({ "schema": "netstrata.lab/1", "modes": modes })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use netstrata_common::Layer;

    use super::*;
    use crate::lab::needs::TRIALS;

    #[test]
    fn unknown_modes_are_refused_with_the_known_ones() {
        let failure = find("overlay9").unwrap_err();
        assert_eq!(failure.code(), 2);
        for mode in MODES {
            assert!(failure.to_string().contains(mode.name), "{failure}");
        }
    }

    #[test]
    fn names_are_unique_and_every_chain_leads_from_client_to_server() {
        for (index, mode) in MODES.iter().enumerate() {
            assert!(MODES[..index].iter().all(|other| other.name != mode.name), "{} is there twice", mode.name);
            assert_eq!((mode.chain.first(), mode.chain.last()), (Some(&"client"), Some(&"server")), "{}", mode.name);
            assert!(text().contains(mode.name));
        }
        assert_eq!(json()["schema"], "netstrata.lab/1");
        assert_eq!(json()["modes"][0]["docker"], false);
    }

    /// One that is made by its name alone would be said to be missing from every kernel.
    #[test]
    fn every_kind_of_device_that_a_mode_needs_has_its_trial() {
        for need in MODES.iter().flat_map(|mode| mode.needs) {
            if let Device(kind) = need {
                assert!(TRIALS.iter().any(|trial| trial.0 == *kind), "{kind}");
            }
        }
    }

    #[test]
    fn layers_of_modes_are_known_ones() {
        for mode in MODES {
            assert!(!mode.layers.is_empty(), "{}", mode.name);
            for (layer, _) in mode.layers {
                assert!(Layer::from_name(layer).is_some_and(Layer::is_datapath), "{}: {layer}", mode.name);
            }
        }
    }
}
