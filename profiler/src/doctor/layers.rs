//! Layers of the datapath: by what they are seen, since when, and whether this kernel has them.

use netstrata_common::Layer;
use serde::Serialize;

use super::config::{BuildConfig, Built};

/// How a layer is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// As the time between two crossings of a packet, at tracepoints.
    Span,
    /// As a part of such a span, sized by CPU samples within it.
    Part,
}

/// What it takes to see a layer.
#[derive(Clone, Copy, Debug)]
pub struct Support {
    /// How it is seen.
    pub sight: Sight,
    /// Tracepoints that are all needed.
    pub points: &'static [&'static str],
    /// The kernel option (without `CONFIG_`) that brings the layer; empty: every kernel with a network has it.
    pub option: &'static str,
    /// First kernel with what is needed. Nothing works before 5.8: ring buffer, CAP_BPF.
    pub since: &'static str,
    /// What another kernel shows more of it, or less.
    pub note: &'static str,
}

/// Tracepoints at which a packet enters a device and leaves it to another.
const DEVICE: &[&str] = &["net_dev_start_xmit", "netif_rx", "netif_receive_skb"];

/// What it takes to see a layer; `None` for those in which no packet dwells.
#[expect(clippy::too_many_lines, reason = "a table: an arm for each layer")]
pub fn support(layer: Layer) -> Option<Support> {
    use Sight::{Part, Span};
    let entry = |sight, points, option| Support { sight, points, option, since: "5.8", note: "" };
    let device = |option| entry(Span, DEVICE, option);
    let part = |option| entry(Part, &[], option);
    Some(match layer {
        Layer::Userspace => Support {
            note: "from a reader's copy to its next send; without tcp_sendmsg_locked (6.15) to its next packet",
            ..entry(Span, &["skb_copy_datagram_iovec", "net_dev_queue"], "")
        },
        Layer::Socket => Support {
            since: "6.3",
            note: "wait in the socket's queue; before 6.3 together with the wake-up",
            ..entry(Span, &["skb_copy_datagram_iovec", "sk_data_ready"], "")
        },
        Layer::Tcp => Support {
            note: "the sender's part needs tcp_sendmsg_locked (6.15), the receiver's end sk_data_ready (6.3)",
            ..entry(Span, &["netif_receive_skb", "sk_data_ready"], "INET")
        },
        Layer::Udp => Support {
            note: "the receiver's part; the sender's is in CPU samples only",
            ..entry(Span, &["netif_receive_skb", "sk_data_ready"], "INET")
        },
        Layer::Ip => entry(Span, &["netif_receive_skb", "net_dev_queue"], "INET"),
        Layer::Route => entry(Part, &["fib_table_lookup"], "INET"),
        Layer::Netfilter => part("NETFILTER"),
        Layer::Conntrack => part("NF_CONNTRACK"),
        Layer::Nat => part("NF_NAT"),
        Layer::Neighbour => part(""),
        Layer::Qdisc => Support {
            note: "waiting and passing are told apart by qdisc_enqueue (5.15)",
            ..entry(Span, &["net_dev_queue", "net_dev_start_xmit"], "")
        },
        Layer::Tc => part("NET_CLS_ACT"),
        Layer::Xdp => part("BPF_SYSCALL"),
        Layer::Gso => part(""),
        Layer::Gro => entry(Span, &["napi_gro_receive_entry", "netif_receive_skb"], ""),
        Layer::Backlog => entry(Span, &["netif_rx", "netif_receive_skb"], ""),
        Layer::Veth => device("VETH"),
        Layer::Netkit => Support { since: "6.7", ..device("NETKIT") },
        Layer::Bridge => entry(Span, &["netif_receive_skb", "net_dev_queue"], "BRIDGE"),
        Layer::Ovs => entry(Span, &["netif_receive_skb", "net_dev_queue"], "OPENVSWITCH"),
        Layer::Vlan => device("VLAN_8021Q"),
        Layer::Bond => device("BONDING"),
        Layer::Vrf => device("NET_VRF"),
        Layer::Macvlan => device("MACVLAN"),
        Layer::Ipvlan => device("IPVLAN"),
        Layer::Vxlan => device("VXLAN"),
        Layer::Geneve => device("GENEVE"),
        Layer::Ipip => device("NET_IPIP"),
        Layer::Gre => device("NET_IPGRE"),
        Layer::Wireguard => Support {
            note: "its workers are seen as a wait: from the transmission to the datagram's queue, from the datagram's \
                   reception to GRO",
            ..entry(Span, &["net_dev_start_xmit", "net_dev_queue", "napi_gro_receive_entry"], "WIREGUARD")
        },
        Layer::Tun => device("TUN"),
        Layer::Loopback | Layer::Device => device(""),
        Layer::Nic => entry(Span, &["net_dev_start_xmit", "net_dev_xmit", "napi_gro_receive_entry"], ""),
        Layer::Wakeup => Support {
            since: "6.3",
            note: "before 6.3 together with the wait in the socket",
            ..entry(Span, &["sk_data_ready", "skb_copy_datagram_iovec"], "")
        },
        Layer::Drop => Support { note: "reasons of drops since 5.17", ..entry(Span, &["kfree_skb"], "") },
        Layer::Entry
        | Layer::Copy
        | Layer::Checksum
        | Layer::SkbMemory
        | Layer::Memory
        | Layer::Lock
        | Layer::Softirq
        | Layer::Timer
        | Layer::Scheduler
        | Layer::Observer
        | Layer::Idle => return None,
    })
}

/// What was found about a layer.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The layer.
    pub layer: &'static str,
    /// "yes"; "part": only inside another layer's time, or only as CPU time; "no".
    pub seen: &'static str,
    /// "span": between two points; "cpu": by CPU samples only.
    pub by: &'static str,
    /// Points that see it here.
    pub points: Vec<&'static str>,
    /// Points that are needed and missing.
    pub missing: Vec<&'static str>,
    /// First kernel that shows it.
    pub since: &'static str,
    /// "built in", "module", "not in this kernel", "unknown".
    pub kernel: &'static str,
    /// What is to know.
    pub note: String,
}

/// Every layer of the datapath. `present` tells whether the kernel has a tracepoint, `sampled` whether CPU samples can
/// be taken and named.
pub fn findings(present: &dyn Fn(&str) -> bool, sampled: bool, config: &BuildConfig) -> Vec<Finding> {
    Layer::ALL
        .iter()
        .filter_map(|layer| support(*layer).map(|support| (layer, support)))
        .map(|(layer, support)| {
            let (points, missing): (Vec<_>, Vec<_>) = support.points.iter().partition(|point| present(point));
            let built = if support.option.is_empty() { Built::In } else { config.built(support.option) };
            let span = support.sight == Sight::Span && missing.is_empty();
            let (seen, by) = match (built, span) {
                (Built::Out, _) => ("no", "nothing"),
                (_, true) => ("yes", "span"),
                (_, false) if sampled => ("part", "cpu"),
                _ => ("no", "nothing"),
            };
            let note = match (seen, support.sight) {
                ("no", _) if built == Built::Out => format!("CONFIG_{} is not set", support.option),
                ("no", _) => "neither points nor CPU samples".into(),
                (_, Sight::Part) => "CPU samples within the spans around it size its part".into(),
                _ => support.note.into(),
            };
            Finding { layer: layer.name(), seen, by, points, missing, since: support.since, kernel: built.name(), note }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tracepoints;

    #[test]
    fn every_layer_of_the_datapath_has_an_entry_and_no_other() {
        for layer in Layer::ALL {
            assert_eq!(support(*layer).is_some(), layer.is_datapath(), "{}", layer.name());
        }
    }

    #[test]
    fn the_points_of_layers_are_probes() {
        for point in Layer::ALL.iter().filter_map(|layer| support(*layer)).flat_map(|support| support.points) {
            assert!(tracepoints().any(|probe| probe.name == *point), "{point}");
        }
    }

    #[test]
    fn a_kernel_without_a_point_shows_the_layer_by_samples_only() {
        let config = BuildConfig::parse("CONFIG_VETH=m\nCONFIG_INET=y\n");
        let found = findings(&|point| point != "sk_data_ready", true, &config);
        let layer = |name: &str| found.iter().find(|finding| finding.layer == name).expect("a layer").clone();
        assert_eq!((layer("wakeup").seen, layer("wakeup").by), ("part", "cpu"));
        assert_eq!(layer("wakeup").missing, ["sk_data_ready"]);
        assert_eq!((layer("veth").seen, layer("veth").kernel), ("yes", "module"));
        assert_eq!((layer("ovs").seen, layer("ovs").kernel), ("no", "not in this kernel"));
        let blind = findings(&|_| false, false, &config);
        assert!(!blind.is_empty() && blind.iter().all(|finding| finding.seen == "no"));
    }
}
