//! A profile whose names a person may read: anybody may choose what threads, devices, namespaces and containers are called.

use std::mem::take;

use super::{
    Benchmark, Container, Device, DropRecord, HookRecord, Meta, Namespace, PartRecord, Profile, TaskRecord, Tunnel,
};
use crate::output::printable;

impl Profile {
    /// The same with names of which nothing is obeyed by a terminal, and none of which has a line's end. For everything that is
    /// printed but JSON, which has a way to write them.
    pub fn readable(mut self) -> Self {
        of_meta(&mut self.meta);
        for Namespace { inum: _, name, origin, pids: _ } in &mut self.topology.namespaces {
            clean([name, origin]);
        }
        self.topology.devices.iter_mut().for_each(of_device);
        for Container { id, name, engine, netns: _, pids: _, cgroup: _ } in &mut self.topology.containers {
            clean([id, name, engine]);
        }
        clean(self.paths.iter_mut().filter_map(|path| path.reason.as_mut()));
        clean([&mut self.cpu.source]);
        clean(&mut self.cpu.symbols);
        for TaskRecord { pid: _, comm, container } in &mut self.cpu.tasks {
            clean([comm]);
            clean(container);
        }
        for DropRecord { reason, function, netns: _, ifindex: _, count: _ } in &mut self.drops {
            clean([reason, function]);
        }
        for HookRecord { hook: _, function, module, kind: _ } in &mut self.hooks {
            clean([function, module]);
        }
        clean(self.chains.values_mut());
        self
    }
}

fn clean<'a>(names: impl IntoIterator<Item = &'a mut String>) {
    names.into_iter().for_each(|name| *name = printable(name));
}

fn of_meta(meta: &mut Meta) {
    clean([&mut meta.recorder, &mut meta.kernel, &mut meta.arch]);
    clean(meta.probes.iter_mut().chain(&mut meta.filters).chain(&mut meta.command));
    meta.missing = take(&mut meta.missing).iter().map(|(name, why)| (printable(name), printable(why))).collect();
    meta.benchmark_notes = take(&mut meta.benchmark_notes).iter().map(|note| printable(note)).collect();
    meta.benchmark.iter_mut().for_each(of_benchmark);
    for PartRecord { recorder, benchmark, .. } in &mut meta.parts {
        clean([recorder]);
        benchmark.iter_mut().for_each(of_benchmark);
    }
}

fn of_benchmark(benchmark: &mut Benchmark) {
    clean([&mut benchmark.tool, &mut benchmark.workload]);
    clean(&mut benchmark.pin);
    clean(benchmark.pair_spread.iter_mut().map(|spread| &mut spread.figure));
    clean(benchmark.flows.iter_mut().map(|flows| &mut flows.class));
    clean(benchmark.neighbours.iter_mut().map(|neighbour| &mut neighbour.kind));
}

fn of_device(device: &mut Device) {
    let Device {
        netns: _,
        ifindex: _,
        name,
        kind,
        peer: _,
        master: _,
        lower: _,
        tunnel,
        addresses,
        mac,
        mtu: _,
        up: _,
        qdisc,
        xdp,
    } = device;
    clean([name, kind, mac, qdisc, xdp]);
    clean(addresses);
    if let Some(Tunnel { id: _, local, remote, port: _ }) = tunnel {
        clean(local.iter_mut().chain(remote));
    }
}
