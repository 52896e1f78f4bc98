//! Containers: from the files that engines and runtimes keep, from Docker's socket, and otherwise from the cgroups of processes.

mod bundles;
mod docker;
mod known;
mod kubelet;
mod machines;
mod names;
mod storage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use known::{Known, short};
pub(super) use names::of_namespaces;

use super::{
    Container, Topology,
    believed::Files,
    cgroups,
    patience::all_within,
    process::{Processes, first_child, is_trusted, netns_of, started},
};

/// Processes listed per container or namespace.
pub(super) const FEW: usize = 8;
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// For all that engines tell, together.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What engines told, kept from scan to scan: they are asked again only when something new appears.
#[derive(Debug, Default)]
pub(super) struct Engines {
    files: Files,
    known: BTreeMap<String, Known>,
    kubelet: kubelet::Names,
    asked: bool,
    ids: BTreeSet<String>,
    /// Sockets at which nobody answered in time: they are not asked again.
    silent: BTreeSet<PathBuf>,
}

impl Engines {
    /// Containers now. Engines are asked if `news` (a new namespace) or if a container's id is new.
    pub fn containers(&mut self, processes: &Processes, news: bool, notes: &mut Vec<String>) -> Vec<Container> {
        let mut found = by_cgroup(processes);
        let ids: BTreeSet<String> = found.keys().cloned().collect();
        if !self.asked || news || ids != self.ids {
            self.asked = true;
            self.ids = ids;
            self.ask(processes, notes);
        }
        for (id, (container, pod)) in &mut found {
            if let Some(name) = self.kubelet.of(id, pod.as_deref()) {
                container.name.clone_from(name);
            }
            if container.engine == "lxc" {
                machines::manager(&self.files, id).clone_into(&mut container.engine);
            }
        }
        let mut found: BTreeMap<String, Container> = found.into_iter().map(|(id, (found, _))| (id, found)).collect();
        for (id, known) in &self.known {
            self.enter(id, known, processes, &mut found);
        }
        for container in found.values_mut() {
            container.cgroup = container.pids.first().map_or(0, |pid| cgroups::inode(*pid));
        }
        found.into_values().collect()
    }

    /// Enters what is told of a container that processes were found of, or that an engine runs where they have no cgroup of their
    /// own: its word on the first process is enough.
    fn enter(&self, id: &str, known: &Known, processes: &Processes, found: &mut BTreeMap<String, Container>) {
        let alive = processes.by_pid.get(&known.pid).filter(|_| known.is_alive());
        let of_kubelet = self.kubelet.of(id, None);
        let container = match (found.contains_key(id), alive) {
            (false, None) => return,
            _ => found.entry(id.to_owned()).or_default(),
        };
        id.clone_into(&mut container.id);
        of_kubelet.unwrap_or(&known.name).clone_into(&mut container.name);
        if container.engine != "kubernetes" {
            known.engine.clone_into(&mut container.engine);
        }
        if let Some(process) = alive {
            container.netns = process.netns;
            if !container.pids.contains(&known.pid) {
                container.pids.insert(0, known.pid);
            }
        }
    }

    /// What tells more of a container comes later.
    fn ask(&mut self, processes: &Processes, notes: &mut Vec<String>) {
        let before = std::mem::take(&mut self.known);
        self.kubelet = kubelet::Names::read(&self.files);
        let told = [bundles::all(&self.files), machines::all(&self.files), running_machines(processes)];
        self.known.extend(told.into_iter().flatten().filter(|(_, known)| known.is_here()));
        for (id, known) in storage::all(&self.files) {
            // What has ended is listed, too.
            let pid = if known.is_here() { known.pid } else { self.known.get(&id).map_or(0, |runtime| runtime.pid) };
            self.known.insert(id, Known { pid, ..known });
        }
        self.ask_docker(processes, &before, notes);
    }

    /// All at once, so that one that is slow takes no other's time.
    fn ask_docker(&mut self, processes: &Processes, before: &BTreeMap<String, Known>, notes: &mut Vec<String>) {
        let mut sockets = BTreeSet::from([PathBuf::from(DOCKER_SOCKET)]);
        sockets.extend(processes.by_pid.values().flat_map(|process| process.docker_sockets.iter().cloned()));
        if let Ok(host) = std::env::var("DOCKER_HOST")
            && let Some(path) = host.strip_prefix("unix://")
        {
            sockets.insert(path.into());
        }
        sockets.retain(|socket| {
            !self.silent.contains(socket) && fs::metadata(socket).is_ok_and(|there| is_trusted(&[there.uid()]))
        });
        // A recording waits for it.
        let until = Instant::now() + TIMEOUT;
        let pids: BTreeMap<String, u32> =
            before.iter().filter(|(_, known)| known.is_alive()).map(|(id, known)| (id.clone(), known.pid)).collect();
        let alive =
            move |id: &str| pids.get(id).copied().filter(|pid| fs::exists(format!("/proc/{pid}")).unwrap_or(false));
        let works = sockets.iter().map(|socket| {
            let (socket, alive) = (socket.clone(), alive.clone());
            move || docker::ask(&socket, alive, until)
        });
        let answers = all_within(TIMEOUT, works.collect());
        for (socket, answer) in sockets.into_iter().zip(answers) {
            let error = match answer {
                Some(Ok(containers)) => {
                    self.known.extend(containers);
                    continue;
                }
                Some(Err(error)) => error,
                None => {
                    self.silent.insert(socket.clone());
                    anyhow::anyhow!("it does not answer")
                }
            };
            notes.push(format!("Docker at {} did not tell its containers: {error:#}", socket.display()));
        }
    }
}

/// Containers that processes are in by their cgroups, with the ids of their pods.
fn by_cgroup(processes: &Processes) -> BTreeMap<String, (Container, Option<String>)> {
    let mut found: BTreeMap<String, (Container, Option<String>)> = BTreeMap::new();
    let mut members: Vec<_> = processes.by_pid.iter().collect();
    members.sort_by_key(|(pid, _)| **pid);
    for (pid, process) in members {
        let Some(cgroups::Place { id, engine, pod }) = &process.container else { continue };
        let (container, _) = found.entry(id.clone()).or_insert_with(|| {
            let container = Container {
                id: id.clone(),
                name: short(id),
                engine: (*engine).to_owned(),
                netns: process.netns,
                ..Container::default()
            };
            (container, pod.clone())
        });
        if container.pids.len() < FEW {
            container.pids.push(*pid);
        }
    }
    found
}

/// Machines that systemd-nspawn runs, registered or not.
fn running_machines(processes: &Processes) -> Vec<(String, Known)> {
    let machines = processes.by_pid.iter().filter_map(|(pid, process)| {
        let name = process.machine.clone()?;
        let pid = first_child(*pid)?;
        Some((name.clone(), Known { name, engine: "nspawn", pid, started: started(pid) }))
    });
    machines.collect()
}

/// The name of the container that a process runs in: by its cgroup, or else by the mount namespace that it shares
/// with a container's process. None if it runs in no container.
pub fn container_of_pid(pid: u32, topology: &Topology) -> Option<String> {
    if let Some(container) = topology.containers.iter().find(|container| container.pids.contains(&pid)) {
        return Some(container.name.clone());
    }
    if let Some(cgroups::Place { id, .. }) = cgroups::container_in(&cgroups::of_pid(pid)) {
        let known = topology.containers.iter().find(|container| container.id == id);
        return Some(known.map_or_else(|| short(&id), |container| container.name.clone()));
    }
    let mount = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = mount(&pid.to_string())?;
    if mount("self").as_ref() == Some(&own) || mount("1").as_ref() == Some(&own) {
        return None;
    }
    let netns = netns_of(pid).ok()?;
    let shares = |container: &&Container| {
        container.netns == netns
            && container.pids.first().and_then(|first| mount(&first.to_string())) == Some(own.clone())
    };
    topology.containers.iter().find(shares).map(|container| container.name.clone())
}
