//! Namespaces, devices and containers, as plain data.

use serde::{Deserialize, Serialize};

use super::limits::{self, at_most};

/// Everything that existed at any time of a recording, or exists now.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Topology {
    /// Network namespaces, the initial one first.
    #[serde(deserialize_with = "at_most::<{ limits::PLACES }, _, _>")]
    pub namespaces: Vec<Namespace>,
    /// Devices, by namespace and index.
    #[serde(deserialize_with = "at_most::<{ limits::PLACES }, _, _>")]
    pub devices: Vec<Device>,
    /// Containers.
    #[serde(deserialize_with = "at_most::<{ limits::PLACES }, _, _>")]
    pub containers: Vec<Container>,
}

/// A network namespace.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace {
    /// Inode number: the identity.
    pub inum: u32,
    /// The name a person would use: "host", the name under /run/netns, the container's name, "pid 123 (nginx)".
    pub name: String,
    /// Where the name comes from: "host", "named", "container", "process".
    pub origin: String,
    /// Processes in it (a few).
    pub pids: Vec<u32>,
}

/// A container.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Full id.
    pub id: String,
    /// Name, or the short id where no engine tells it; of a pod POD/CONTAINER, in Kubernetes NAMESPACE/POD/CONTAINER.
    pub name: String,
    /// "docker", "podman", "containerd", "cri-o", "kubernetes", "lxc", "incus", "lxd", "nspawn", "runc", "crun", "unknown" …
    pub engine: String,
    /// Inode of its network namespace, 0 if unknown.
    pub netns: u32,
    /// Its processes (a few).
    pub pids: Vec<u32>,
    /// Inode of its cgroup v2 directory, 0 if it has none.
    pub cgroup: u64,
}

/// A device.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// Inode of its namespace.
    pub netns: u32,
    /// Index within the namespace.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Kind as iproute2 names it: "veth", "bridge", "vxlan", "macvlan", "tun", "openvswitch" …; "loopback" for lo;
    /// "nic" for devices that no link type made.
    pub kind: String,
    /// (namespace, index) of the other end of a pair; index only known: namespace 0.
    pub peer: Option<(u32, u32)>,
    /// Index of the master (bridge, bond, OVS) in the same namespace.
    pub master: Option<u32>,
    /// (namespace, index) of the device below (macvlan, vlan, vxlan with `dev`).
    pub lower: Option<(u32, u32)>,
    /// Parameters of a tunnel.
    pub tunnel: Option<Tunnel>,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
    /// Hardware address.
    pub mac: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// Up.
    pub up: bool,
    /// Root queueing discipline as the kernel names it ("noqueue", "tbf", …), empty if unknown.
    pub qdisc: String,
    /// Who runs its XDP program: "driver", "generic", "hardware", "several"; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub xdp: String,
}

/// Parameters of a tunnel.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tunnel {
    /// VXLAN or Geneve network identifier.
    pub id: Option<u32>,
    /// Local address.
    pub local: Option<String>,
    /// Remote address or group.
    pub remote: Option<String>,
    /// Destination port.
    pub port: Option<u16>,
}

/// What a device counted, by IFLA_STATS64: so far, or during a recording. Virtual devices count skbs, drivers what they
/// like.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct DeviceCounters {
    /// Inode of the namespace.
    pub netns: u32,
    /// Device index.
    pub ifindex: u32,
    /// Packets received (skbs for virtual devices).
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets transmitted.
    pub tx_packets: u64,
    /// Bytes transmitted.
    pub tx_bytes: u64,
    /// Dropped on receive.
    pub rx_dropped: u64,
    /// Dropped on transmit.
    pub tx_dropped: u64,
}

impl Topology {
    /// A device.
    pub fn device(&self, netns: u32, ifindex: u32) -> Option<&Device> {
        self.devices.iter().find(|device| device.netns == netns && device.ifindex == ifindex)
    }

    /// The name of a namespace, or `netns:INODE`.
    pub fn namespace_name(&self, netns: u32) -> String {
        match self.namespaces.iter().find(|namespace| namespace.inum == netns) {
            Some(namespace) => namespace.name.clone(),
            None => format!("netns:{netns}"),
        }
    }
}
