//! Filters of the command line turned into keys that the programs compare.

use anyhow::Result;
use netstrata_common::{Config, DeviceKey, FILTER_DEVICE, FILTER_FLOW, FILTER_NETNS};

use crate::{cli::RecordArgs, failure::Failure, topology::Topology};

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
        config.flow_address = flow.address.map_or(0, |address| u32::from_ne_bytes(address.octets()));
        config.flow_port = u32::from(flow.port.unwrap_or(0));
    }
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
        let matching = topology.devices.iter().filter(|device| device.name == *name);
        keys.extend(matching.map(|device| DeviceKey { netns: device.netns, ifindex: device.ifindex }));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Whether a container has this name, as a whole or within its pod, or is of the pod that has.
fn is_called(container: &str, name: &str) -> bool {
    let after = container.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
    after || container.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
}

/// A namespace by name, inode number or path.
fn namespace(name: &str, topology: &Topology) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let by_name = topology.namespaces.iter().find(|namespace| namespace.name == name).map(|namespace| namespace.inum);
    by_name
        .or_else(|| name.parse().ok().filter(|inum| topology.namespaces.iter().any(|entry| entry.inum == *inum)))
        .or_else(|| std::fs::metadata(format!("/run/netns/{name}")).ok().map(|data| data.ino() as u32))
        .or_else(|| name.contains('/').then(|| std::fs::metadata(name).ok().map(|data| data.ino() as u32)).flatten())
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
        filters.push(format!(
            "flow={}:{}:{}",
            part(flow.protocol.map(|protocol| protocol.0.to_string())),
            part(flow.address.map(|address| address.to_string())),
            part(flow.port.map(|port| port.to_string()))
        ));
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_called_by_its_own_name_or_its_pods() {
        let called = |name| is_called("default/web/app", name);
        assert!(["default/web/app", "web/app", "app", "default/web", "default"].into_iter().all(called));
        assert!(!["pp", "web", "def", "default/we", "default/web/ap"].into_iter().any(called));
    }
}
