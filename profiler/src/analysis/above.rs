//! What lies above a device: masters and the devices that hang on it, to which the kernel lifts a packet without a
//! crossing. A bridge port that is a VLAN on a bond is still a bridge port.
//!
//! Receive handlers put the device above into `skb->dev` and go round again inside `__netif_receive_skb_core`, after its
//! tracepoint: <https://elixir.bootlin.com/linux/v6.12.117/source/net/core/dev.c#L5614>

use netstrata_common::Layer;

use crate::profile::{Device, Topology};

/// More devices than these are above no port that anyone made on purpose; each is looked for among all.
const MOST: usize = 16;

/// The switch (a bridge, Open vSwitch) that carries a frame from one device to another: it is above the first, however
/// many devices lie between, and the second is one of its ports or the switch itself.
pub fn switch_between<'a>(from: &'a Device, to: &Device, topology: &'a Topology) -> Option<&'a Device> {
    let carries = |above: &&Device| {
        is_switch(above)
            && above.netns == to.netns
            && (to.master == Some(above.ifindex) || to.ifindex == above.ifindex && !is_same(from, to))
    };
    let master = |device: &Device| device.master.and_then(|index| topology.device(device.netns, index));
    // Of most frames the ports themselves tell: all devices are looked through for the others only.
    let leads_to_one = is_switch(to) || master(to).is_some_and(is_switch);
    master(from)
        .filter(carries)
        .or_else(|| leads_to_one.then(|| upwards(from, topology).into_iter().find(carries)).flatten())
}

/// The devices that a frame is lifted to on its way up from one device to a switch, in any order. The kernel notes each in
/// `skb_iif` as it goes round again, so that is where samples are.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/core/dev.c#L5557>
pub fn on_the_way_up<'a>(from: &'a Device, switch: &Device, topology: &'a Topology) -> Vec<&'a Device> {
    if from.master == Some(switch.ifindex) && from.netns == switch.netns {
        return Vec::new();
    }
    let leads_there = |device: &&Device| upwards(device, topology).into_iter().any(|above| is_same(above, switch));
    upwards(from, topology).into_iter().skip(1).filter(|device| !is_switch(device)).filter(leads_there).collect()
}

/// The switch above a device that is itself the other one, where the packet never came up to the switch's own stack:
/// br_netfilter looks for a route there.
pub fn is_switch_above(from: &Device, to: &Device, topology: &Topology) -> bool {
    is_switch(to) && !is_same(from, to) && upwards(from, topology).into_iter().any(|above| is_same(above, to))
}

/// Whether frames go from port to port there.
pub fn is_switch(device: &Device) -> bool {
    Layer::of_device(&device.kind).info().switches
}

fn is_same(one: &Device, other: &Device) -> bool {
    (one.netns, one.ifindex) == (other.netns, other.ifindex)
}

/// A device and all that it is lifted to, the nearest first.
fn upwards<'a>(from: &'a Device, topology: &'a Topology) -> Vec<&'a Device> {
    let mut found = vec![from];
    let mut at = 0;
    while let Some(&below) = found.get(at) {
        at += 1;
        let place = (below.netns, below.ifindex);
        // A tunnel's packets come out at crossings of their own.
        let hangs_on = |device: &&Device| {
            below.master.is_some_and(|master| (device.netns, device.ifindex) == (below.netns, master))
                || device.lower == Some(place) && !Layer::of_device(&device.kind).info().tunnel
        };
        for device in topology.devices.iter().filter(hangs_on) {
            if found.len() < MOST && !found.iter().any(|known| is_same(known, device)) {
                found.push(device);
            }
        }
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// (name, kind, index, master, lower), all in one namespace; the second number of a lower device is its namespace.
    type Row = (&'static str, &'static str, u32, Option<u32>, Option<(u32, u32)>);

    fn topology(rows: &[Row]) -> Topology {
        let device = |&(name, kind, ifindex, master, lower): &Row| Device {
            netns: 1,
            ifindex,
            name: name.into(),
            kind: kind.into(),
            master,
            lower,
            ..Device::default()
        };
        Topology { devices: rows.iter().map(device).collect(), ..Topology::default() }
    }

    /// The switch between two devices, by name.
    fn between(rows: &[Row], from: &str, to: &str) -> Option<String> {
        let topology = topology(rows);
        let find = |name: &str| topology.devices.iter().find(|device| device.name == name).unwrap();
        switch_between(find(from), find(to), &topology).map(|device| device.name.clone())
    }

    const HOST: &[Row] = &[
        ("eth0", "nic", 2, Some(4), None),
        ("eth1", "nic", 3, Some(4), None),
        ("bond0", "bond", 4, None, None),
        ("bond0.10", "vlan", 5, Some(6), Some((1, 4))),
        ("br10", "bridge", 6, None, None),
        ("tap0", "tun", 7, Some(6), None),
        ("br0", "bridge", 8, None, None),
        ("veth0", "veth", 9, Some(8), None),
        ("br10.7", "vlan", 10, Some(8), Some((1, 6))),
        ("blue", "vrf", 11, None, None),
        ("veth1", "veth", 12, Some(11), None),
        ("veth2", "veth", 13, Some(11), None),
        ("mac0", "macvlan", 14, Some(8), Some((1, 4))),
        ("vx0", "vxlan", 15, Some(8), Some((1, 3))),
    ];

    #[test]
    fn a_port_is_found_through_any_chain() {
        for (from, to, switch) in [
            ("eth0", "tap0", Some("br10")),
            ("eth1", "br10", Some("br10")),
            ("tap0", "bond0.10", Some("br10")),
            // Through the VLAN of a bridge into another bridge; a macvlan of a bond is a port, too.
            ("tap0", "veth0", Some("br0")),
            ("eth0", "veth0", Some("br0")),
            ("veth0", "br10.7", Some("br0")),
            // What a bridge's own stack sends comes to it by a crossing; br_netfilter finds a port from the bridge.
            ("br0", "veth0", Some("br0")),
            // IP carries between what hangs on the same VRF or bond.
            ("veth1", "veth2", None),
            ("eth0", "eth1", None),
            ("veth1", "blue", None),
            ("veth1", "veth0", None),
        ] {
            assert_eq!(between(HOST, from, to).as_deref(), switch, "{from} -> {to}");
        }
    }

    #[test]
    fn a_tunnel_above_is_not_silently_entered() {
        let rows: &[Row] = &[
            ("wire0", "veth", 2, None, None),
            ("vx0", "vxlan", 3, Some(4), Some((1, 2))),
            ("br0", "bridge", 4, None, None),
            ("veth0", "veth", 5, Some(4), None),
        ];
        assert_eq!(between(rows, "wire0", "veth0"), None);
        assert_eq!(between(rows, "vx0", "veth0").as_deref(), Some("br0"));
    }

    #[test]
    fn a_frame_is_lifted_to_those_devices_only_that_lead_to_the_switch() {
        let topology = topology(HOST);
        let find = |name: &str| topology.devices.iter().find(|device| device.name == name).unwrap();
        let names = |from: &str, switch: &str| -> Vec<&str> {
            on_the_way_up(find(from), find(switch), &topology).into_iter().map(|device| device.name.as_str()).collect()
        };
        assert_eq!(names("eth0", "br10"), ["bond0", "bond0.10"]);
        assert_eq!(names("tap0", "br10"), [""; 0]);
        assert_eq!(names("tap0", "br0"), ["br10.7"]);
    }

    #[test]
    fn a_circle_that_a_profile_claims_ends() {
        let rows: &[Row] = &[("a", "vlan", 1, Some(2), Some((1, 2))), ("b", "vlan", 2, Some(1), Some((1, 1)))];
        assert_eq!(between(rows, "a", "b"), None);
    }

    #[test]
    fn the_bridge_of_a_port_is_above_it_and_not_above_itself() {
        let topology = topology(HOST);
        let find = |name: &str| topology.devices.iter().find(|device| device.name == name).unwrap();
        assert!(is_switch_above(find("eth0"), find("br10"), &topology));
        assert!(!is_switch_above(find("br10"), find("br10"), &topology));
        assert!(!is_switch_above(find("veth1"), find("br0"), &topology));
        assert!(!is_switch_above(find("veth1"), find("blue"), &topology));
    }
}
