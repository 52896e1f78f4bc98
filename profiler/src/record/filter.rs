//! Filters of the command line turned into keys that the programs compare.

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    net::IpAddr,
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use anyhow::Result;
use netstrata_common::{Config, DeviceKey, FILTER_DEVICE, FILTER_FLOW, FILTER_NETNS, TUNNEL_PORTS};

use crate::{cli::RecordArgs, failure::Failure, output::printable, topology::Topology};

/// Puts the filters in force into the configuration.
pub fn configure(args: &RecordArgs, config: &mut Config) {
    if !args.netns.is_empty() || !args.container.is_empty() {
        config.filters |= FILTER_NETNS;
    }
    if !args.device.is_empty() {
        config.filters |= FILTER_DEVICE;
    }
    if let Some(flow) = args.flow {
        config.filters |= FILTER_FLOW;
        config.flow_protocol = u32::from(flow.protocol.unwrap_or_default().0);
        (config.flow_version, config.flow_address) = match flow.address {
            None => (0, [0, 0]),
            Some(IpAddr::V4(address)) => (4, [u64::from(u32::from_ne_bytes(address.octets())), 0]),
            Some(IpAddr::V6(address)) => (6, halves(address.octets())),
        };
        config.flow_port = u32::from(flow.port.unwrap_or(0));
    }
}

/// Tells which kind of namespace a file stands for (`linux/nsfs.h`).
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// The halves of an address of IPv6 as they stand in a header.
fn halves(octets: [u8; 16]) -> [u64; 2] {
    let [first, second] = [0, 8].map(|at| {
        let mut half = [0; 8];
        half.copy_from_slice(&octets[at..at + 8]);
        u64::from_ne_bytes(half)
    });
    [first, second]
}

/// Ports of VXLAN by its standard (<https://www.rfc-editor.org/rfc/rfc7348>) and Linux's own default, and of Geneve
/// (<https://www.rfc-editor.org/rfc/rfc8926>): of tunnels whose ends are not on this machine.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
const GENEVE_PORTS: [u16; 1] = [6081];

/// Puts the ports into the configuration at which tunnels carry flows. False if there are more than it holds.
pub fn find_tunnels(topology: &Topology, config: &mut Config) -> bool {
    let mut all = true;
    let mut ports = |kind: &str, usual: &[u16]| {
        let devices = topology.devices.iter().filter(|device| device.kind == kind);
        let of_devices = devices.filter_map(|device| device.tunnel.as_ref()?.port).filter(|port| !usual.contains(port));
        let found: BTreeSet<u16> = of_devices.collect();
        let mut ports = [0; TUNNEL_PORTS];
        all &= usual.len() + found.len() <= TUNNEL_PORTS;
        ports.iter_mut().zip(usual.iter().copied().chain(found)).for_each(|(port, one)| *port = one);
        ports
    };
    config.vxlan_ports = ports("vxlan", &VXLAN_PORTS);
    config.geneve_ports = ports("geneve", &GENEVE_PORTS);
    all
}

/// The namespaces and devices that the filters name at this moment.
pub fn wanted(args: &RecordArgs, topology: &Topology) -> Vec<DeviceKey> {
    let mut keys = Vec::new();
    for name in &args.netns {
        keys.extend(namespace(name, topology).into_iter().map(|netns| DeviceKey { netns, ifindex: 0 }));
    }
    for name in &args.container {
        let matching = topology.containers.iter().filter(|container| {
            is_called(&container.name, name) || (name.len() >= 4 && container.id.starts_with(name.as_str()))
        });
        keys.extend(
            matching
                .filter(|container| container.netns != 0)
                .map(|container| DeviceKey { netns: container.netns, ifindex: 0 }),
        );
    }
    for name in &args.device {
        let matching = topology.devices.iter().filter(|device| is_told_as(&device.name, name));
        keys.extend(matching.map(|device| DeviceKey { netns: device.netns, ifindex: device.ifindex }));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Whether something has this name, or is printed so.
fn is_told_as(known: &str, name: &str) -> bool {
    known == name || printable(known) == name
}

/// Whether a container has this name, as a whole or within its pod, or is of the pod that has.
fn is_called(container: &str, name: &str) -> bool {
    let after = container.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
    after || container.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
}

/// The number of the network namespace that a file stands for; of another file none.
fn namespace_of(path: &Path) -> Option<u32> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).ok()?;
    // SAFETY: the descriptor is open, and the call writes nothing.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    (kind == libc::CLONE_NEWNET).then(|| file.metadata().ok().map(|data| data.ino() as u32)).flatten()
}

/// A namespace by name, inode number or path.
fn namespace(name: &str, topology: &Topology) -> Option<u32> {
    let by_name =
        topology.namespaces.iter().find(|namespace| is_told_as(&namespace.name, name)).map(|namespace| namespace.inum);
    by_name
        .or_else(|| name.parse().ok().filter(|inum| topology.namespaces.iter().any(|entry| entry.inum == *inum)))
        .or_else(|| match name.contains('/') {
            true => namespace_of(Path::new(name)),
            false => namespace_of(&Path::new("/run/netns").join(name)),
        })
}

/// Refuses filters that name nothing that exists: the recording would be empty.
pub fn check(args: &RecordArgs, topology: &Topology) -> Result<()> {
    let empty = Topology::default();
    let only = |edit: &dyn Fn(&mut RecordArgs)| {
        let mut one = RecordArgs::default();
        edit(&mut one);
        !wanted(&one, topology).is_empty() || !wanted(&one, &empty).is_empty()
    };
    let complain = |what: &str, name: &str| {
        Err(Failure::Usage(format!("there is no {what} `{name}`; `netstrata topology` lists what there is")).into())
    };
    for name in &args.netns {
        if !only(&|one| one.netns.push(name.clone())) {
            return complain("network namespace", name);
        }
    }
    for name in &args.container {
        if !only(&|one| one.container.push(name.clone())) {
            return complain("running container", name);
        }
    }
    for name in &args.device {
        if !only(&|one| one.device.push(name.clone())) {
            return complain("device", name);
        }
    }
    Ok(())
}

/// The filters as they were given.
pub fn describe(args: &RecordArgs) -> Vec<String> {
    let mut filters = Vec::new();
    filters.extend(args.netns.iter().map(|name| format!("netns={name}")));
    filters.extend(args.container.iter().map(|name| format!("container={name}")));
    filters.extend(args.device.iter().map(|name| format!("device={name}")));
    if let Some(flow) = args.flow {
        let part = |value: Option<String>| value.unwrap_or_default();
        let address = |address| match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        filters.push(format!(
            "flow={}:{}:{}",
            part(flow.protocol.map(|protocol| protocol.name().map_or_else(|| protocol.0.to_string(), str::to_owned))),
            part(flow.address.map(address)),
            part(flow.port.map(|port| port.to_string()))
        ));
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::profile::{Device, Tunnel};

    #[test]
    fn addresses_are_compared_as_they_stand_in_headers() {
        let configured = |address: &str| {
            let (mut args, mut config) = (RecordArgs::default(), Config::default());
            args.flow.get_or_insert_default().address = address.parse().ok();
            configure(&args, &mut config);
            (config.flow_version, config.flow_address.map(u64::to_ne_bytes))
        };
        let (version, [first, second]) = configured("fd09:1:203::2");
        assert_eq!((version, first, second), (6, [0xfd, 9, 0, 1, 2, 3, 0, 0], [0, 0, 0, 0, 0, 0, 0, 2]));
        let (version, [first, second]) = configured("10.9.0.2");
        assert_eq!((version, &first[..4], second), (4, &[10, 9, 0, 2][..], [0; 8]));
        assert_eq!(configured("any"), (0, [[0; 8]; 2]));
    }

    #[test]
    fn tunnels_are_looked_into_at_the_ports_that_devices_have() {
        let device = |kind: &str, port| Device {
            kind: kind.into(),
            tunnel: Some(Tunnel { port: Some(port), ..Tunnel::default() }),
            ..Device::default()
        };
        let devices = vec![device("vxlan", 4789), device("vxlan", 5555), device("geneve", 6666), device("ipip", 7)];
        let (mut topology, mut config) = (Topology { devices, ..Topology::default() }, Config::default());
        assert!(find_tunnels(&topology, &mut config));
        assert_eq!(config.vxlan_ports, [4789, 8472, 5555, 0, 0, 0, 0, 0]);
        assert_eq!(config.geneve_ports, [6081, 6666, 0, 0, 0, 0, 0, 0]);
        topology.devices.extend((1..=7).map(|port| device("vxlan", port)));
        assert!(!find_tunnels(&topology, &mut config));
    }

    #[test]
    fn a_file_that_is_no_network_namespace_names_none() {
        let named = |name: &str| namespace(name, &Topology::default());
        assert!(named("/proc/self/ns/net").is_some());
        for name in ["", ".", "..", "/", "/dev/null", "/etc/passwd", "../../etc/passwd", "/proc/self/ns/mnt"] {
            assert_eq!(named(name), None, "{name}");
        }
    }

    #[test]
    fn a_container_is_called_by_its_own_name_or_its_pods() {
        let called = |name| is_called("default/web/app", name);
        assert!(["default/web/app", "web/app", "app", "default/web", "default"].into_iter().all(called));
        assert!(!["pp", "web", "def", "default/we", "default/web/ap"].into_iter().any(called));
    }
}
