//! One look at everything: namespaces, their devices, and who is connected to whom.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::ErrorKind,
    os::fd::AsFd as _,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;

use super::{
    Device, DeviceCounters, Topology,
    answers::Gaps,
    conntrack,
    containers::Engines,
    namespaces::{self, Found, Named},
    netlink::{Netlink, RawLink, is_pair},
    process::{Processes, netns_of},
};
use crate::threads;

/// What one look at the machine found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Namespaces, devices, containers.
    pub topology: Topology,
    /// Counters of the same devices, read in the same dump.
    pub stats: Vec<DeviceCounters>,
    /// By namespace, packets that connection tracking had no room for, since the namespace began.
    pub untracked: BTreeMap<u32, u64>,
    /// What could not be seen, in plain words.
    pub notes: Vec<String>,
}

/// Topology and counters of this machine now.
///
/// # Errors
/// When not even the own namespace can be read.
pub fn snapshot() -> anyhow::Result<Snapshot> {
    Scanner::default().scan()
}

/// Topology of this machine now; without the right to enter other namespaces, that of the own one.
///
/// # Errors
/// When not even the own namespace can be read.
pub fn scan() -> anyhow::Result<Topology> {
    Ok(snapshot()?.topology)
}

/// Counters of all devices now.
///
/// # Errors
/// When not even the own namespace can be read.
pub fn device_stats() -> anyhow::Result<Vec<DeviceCounters>> {
    Ok(snapshot()?.stats)
}

/// Scans, and remembers what needs not be read again the next time. It holds no namespace between scans.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    processes: Processes,
    engines: Engines,
    known: BTreeSet<u32>,
    last_named: Option<SystemTime>,
}

/// A namespace whose name came so lately may not be there yet.
const LATELY: Duration = Duration::from_secs(2);

impl Scanner {
    /// Looks at everything.
    pub fn scan(&mut self) -> anyhow::Result<Snapshot> {
        let mut notes = Vec::new();
        let refused = self.processes.refresh();
        if refused > 0 {
            notes.push(format!(
                "the network namespaces of {refused} of {} processes cannot be read: reading them needs CAP_SYS_PTRACE",
                self.processes.by_pid.len()
            ));
        }
        let named = namespaces::mounted();
        let now: BTreeSet<u32> = self.namespaces_now(&named);
        let news = !now.is_subset(&self.known);
        self.known = now;
        let containers = self.engines.containers(&self.processes, news, &mut notes);
        let found = namespaces::find(&self.processes, &containers, &named);
        // A thread of its own for each scan: it ends in some other namespace, and must hold none afterwards.
        let read = std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name(threads::SCAN.to_owned())
                .spawn_scoped(scope, || read_all(found))
                .context("cannot start a thread")?
                .join()
                .map_err(|_| anyhow::anyhow!("the scanning thread failed"))?
        })?;
        notes.extend(read.notes);
        let (devices, stats) = read.links.into_iter().map(|link| (link.device, link.stats)).unzip();
        let topology = Topology {
            namespaces: read.namespaces.into_iter().map(|found| found.namespace).collect(),
            devices,
            containers,
        };
        Ok(Snapshot { topology, stats, untracked: read.untracked, notes })
    }

    fn namespaces_now(&self, named: &[Named]) -> BTreeSet<u32> {
        let of_processes = self.processes.by_pid.values().map(|process| process.netns).filter(|netns| *netns != 0);
        of_processes.chain(named.iter().map(|one| one.inum)).collect()
    }

    /// A cheap look: is there a namespace that the last scan did not know? `before` and `newest` are the newest
    /// process ids at the last look and now.
    pub fn news(&mut self, before: Option<u32>, newest: Option<u32>) -> bool {
        let changed = namespaces::last_named();
        // A namespace is mounted a moment after there is a file for it.
        let lately = changed.is_some_and(|at| at.elapsed().map_or(true, |age| age < LATELY));
        let may_be = lately || changed != self.last_named;
        self.last_named = changed;
        let known = |inum: u32| self.known.contains(&inum);
        may_be && namespaces::named().iter().any(|one| !known(one.inum))
            || self.processes.new_namespace(before, newest, &known)
    }
}

/// Why the devices of a namespace are not seen.
#[derive(Debug, thiserror::Error)]
enum Unseen {
    /// It is gone since it was listed.
    #[error("the namespace is gone")]
    Gone,
    /// This process may not enter it.
    #[error("the namespace may not be entered")]
    Refused,
    /// Anything else.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl Unseen {
    /// Why it was not entered.
    fn of_entering(error: std::io::Error) -> Self {
        match error.kind() {
            // A bare mount point fails with "invalid input".
            ErrorKind::NotFound | ErrorKind::InvalidInput => Self::Gone,
            ErrorKind::PermissionDenied => Self::Refused,
            _ => Self::Failed(error.into()),
        }
    }
}

#[derive(Default)]
struct Read {
    namespaces: Vec<Found>,
    links: Vec<RawLink>,
    untracked: BTreeMap<u32, u64>,
    notes: Vec<String>,
}

/// The scanning thread and the namespace that it is in.
struct Visitor {
    here: u32,
    paths: HashMap<u32, Vec<PathBuf>>,
}

impl Visitor {
    fn go(&mut self, inum: u32) -> std::io::Result<()> {
        if self.here != inum {
            let paths = self.paths.get(&inum).map(Vec::as_slice).unwrap_or_default();
            namespaces::enter(&namespaces::open(inum, paths)?)?;
            self.here = inum;
        }
        Ok(())
    }

    fn read(&mut self, inum: u32) -> Result<(Vec<RawLink>, Gaps), Unseen> {
        self.go(inum).map_err(Unseen::of_entering)?;
        Ok(Netlink::open()?.links(inum)?)
    }

    /// Which of `candidates` the namespace `from` knows as number `nsid`; an error if that cannot be asked.
    fn ask(&mut self, from: u32, nsid: i32, candidates: &[u32]) -> anyhow::Result<Option<u32>> {
        self.go(from)?;
        let mut netlink = Netlink::open()?;
        for candidate in candidates {
            let paths = self.paths.get(candidate).map(Vec::as_slice).unwrap_or_default();
            let Ok(file) = namespaces::open(*candidate, paths) else { continue };
            if netlink.nsid_of(file.as_fd())? == Some(nsid) {
                return Ok(Some(*candidate));
            }
        }
        Ok(None)
    }
}

/// Reads the devices of all namespaces. Runs in a thread that ends afterwards.
fn read_all(found: Vec<Found>) -> anyhow::Result<Read> {
    let here = netns_of("thread-self").context("cannot tell the own network namespace")?;
    let paths = found.iter().map(|found| (found.namespace.inum, found.paths.clone())).collect();
    let mut visitor = Visitor { here, paths };
    let mut by_namespace: HashMap<u32, Vec<RawLink>> = HashMap::new();
    let mut read = Read::default();
    let (mut refused, mut gaps) = (Vec::new(), Gaps::default());

    let (links, missing) = visitor.read(here).context("cannot read the devices of the own network namespace")?;
    by_namespace.insert(here, links);
    read.untracked.extend(conntrack::dropped().map(|count| (here, count)));
    gaps += missing;
    for one in found {
        let inum = one.namespace.inum;
        if inum != here {
            match visitor.read(inum) {
                Ok((links, missing)) => {
                    by_namespace.insert(inum, links);
                    read.untracked.extend(conntrack::dropped().map(|count| (inum, count)));
                    gaps += missing;
                }
                Err(Unseen::Gone) => continue,
                Err(Unseen::Refused) => refused.push(one.namespace.name.clone()),
                Err(Unseen::Failed(error)) => read.notes.push(format!("{}: {error:#}", one.namespace.name)),
            }
        }
        read.namespaces.push(one);
    }
    if !refused.is_empty() {
        read.notes.push(format!(
            "devices of {} other network namespaces cannot be seen: entering them needs CAP_SYS_ADMIN ({})",
            refused.len(),
            refused.join(", ")
        ));
    }
    read.notes.extend(gaps.notes());
    for one in &read.namespaces {
        let mut links = by_namespace.remove(&one.namespace.inum).unwrap_or_default();
        links.sort_by_key(|link| link.device.ifindex);
        read.links.append(&mut links);
    }
    resolve(&mut read.links, |from, nsid, candidates| visitor.ask(from, nsid, candidates));
    Ok(read)
}

/// Fills `peer` and `lower`. `ask(from, nsid, candidates)` asks the kernel which candidate is meant.
fn resolve(links: &mut [RawLink], mut ask: impl FnMut(u32, i32, &[u32]) -> anyhow::Result<Option<u32>>) {
    // For every number that a namespace uses for another one: who can be meant, the likeliest first.
    let mut guesses: BTreeMap<(u32, i32), BTreeMap<u32, usize>> = BTreeMap::new();
    let mut pairs: BTreeMap<(u32, i32), usize> = BTreeMap::new();
    let mut at_index: HashMap<u32, Vec<&RawLink>> = HashMap::new();
    for link in links.iter() {
        at_index.entry(link.device.ifindex).or_default().push(link);
    }
    for link in links.iter() {
        let (Some(index), Some(nsid)) = (link.link, link.link_nsid) else { continue };
        let key = (link.device.netns, nsid);
        let guess = guesses.entry(key).or_default();
        *pairs.entry(key).or_default() += usize::from(is_pair(&link.device.kind));
        for other in at_index.get(&index).into_iter().flatten() {
            if other.device.netns != link.device.netns && may_be_other_end(link, other) {
                *guess.entry(other.device.netns).or_default() += 1;
            }
        }
    }
    let mut meant: HashMap<(u32, i32), u32> = HashMap::new();
    for (key, guess) in guesses {
        let mut candidates: Vec<(u32, usize)> = guess.into_iter().collect();
        candidates.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let order: Vec<u32> = candidates.iter().map(|(inum, _)| *inum).collect();
        let answer = match ask(key.0, key.1, &order) {
            Ok(answer) => answer,
            // The kernel cannot be asked: believe a single namespace whose devices all point back.
            Err(_) => match candidates.as_slice() {
                [(inum, count)] if pairs.get(&key) == Some(count) => Some(*inum),
                _ => None,
            },
        };
        meant.insert(key, answer.unwrap_or(0));
    }
    for link in links {
        let Some(index) = link.link else { continue };
        let Device { netns, ifindex, .. } = link.device;
        let place = match link.link_nsid {
            Some(nsid) => meant.get(&(netns, nsid)).copied().unwrap_or(0),
            None if index == ifindex => continue,
            None => netns,
        };
        if is_pair(&link.device.kind) {
            link.device.peer = Some((place, index));
        } else {
            link.device.lower = Some((place, index));
        }
    }
}

fn may_be_other_end(link: &RawLink, other: &RawLink) -> bool {
    if !is_pair(&link.device.kind) {
        return true;
    }
    other.device.kind == link.device.kind && other.link == Some(link.device.ifindex) && other.link_nsid.is_some()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn link(netns: u32, ifindex: u32, kind: &str, link: u32, nsid: Option<i32>) -> RawLink {
        let device = Device { netns, ifindex, kind: kind.into(), ..Device::default() };
        RawLink { device, link: Some(link), link_nsid: nsid, ..RawLink::default() }
    }

    #[test]
    fn a_pair_is_found_by_asking_the_kernel_among_those_that_point_back() {
        // Two pairs alike: 1:2-3:2 and 4:2-5:2.
        let mut links = vec![
            link(1, 2, "veth", 2, Some(0)),
            link(3, 2, "veth", 2, Some(0)),
            link(4, 2, "veth", 2, Some(0)),
            link(5, 2, "veth", 2, Some(0)),
            link(5, 9, "macvlan", 2, Some(0)),
            link(5, 10, "vlan", 2, None),
            link(5, 11, "veth", 12, None),
        ];
        let truth = HashMap::from([(1, 3), (3, 1), (4, 5), (5, 4)]);
        resolve(&mut links, |from, _, candidates| {
            Ok(truth.get(&from).copied().filter(|inum| candidates.contains(inum)))
        });
        let peers: Vec<_> = links.iter().map(|link| link.device.peer.or(link.device.lower)).collect();
        let expected = [(3, 2), (1, 2), (5, 2), (4, 2), (4, 2), (5, 2), (5, 12)].map(Some);
        assert_eq!(peers, expected);
    }

    #[test]
    fn without_the_kernel_only_a_single_match_is_believed() {
        let mut links = vec![
            link(1, 2, "veth", 7, Some(0)),
            link(3, 7, "veth", 2, Some(0)),
            link(1, 4, "veth", 99, Some(1)),
            link(1, 5, "veth", 8, Some(2)),
            link(3, 8, "veth", 5, Some(4)),
            link(4, 8, "veth", 5, Some(4)),
        ];
        resolve(&mut links, |_, _, _| anyhow::bail!("no"));
        let peers: Vec<_> = links.iter().take(4).map(|link| link.device.peer).collect();
        assert_eq!(peers, [Some((3, 7)), Some((1, 2)), Some((0, 99)), Some((0, 8))]);
    }

    #[test]
    fn this_machine_can_be_scanned() {
        let snapshot = snapshot().unwrap();
        let lo = snapshot.topology.devices.iter().find(|device| device.name == "lo").unwrap();
        assert_eq!(lo.kind, "loopback");
        assert_eq!(snapshot.stats.len(), snapshot.topology.devices.len());
    }
}
