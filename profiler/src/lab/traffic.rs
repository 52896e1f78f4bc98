//! One run of a workload through a network: server, neighbours, client, and what they report.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    cleanup::Lab,
    mesh,
    neighbours::Neighbours,
    network::{Network, Place},
    programs::{Load, PORT, requests, words},
    workload::ANSWERED,
};
use crate::{
    benchmark,
    choices::{Driver, Tool, Workload},
    cli::{LabRunArgs, Pin},
    host::{
        cpu::{OwnTime, time_of, time_of_children},
        process::Process,
    },
    profile::{
        Benchmark, Progress,
        measures::SideUse,
        worker::{WorkerReport, combine},
    },
};

const READY_LIMIT: Duration = Duration::from_secs(10);
/// The workload whose first request tells that a network is there.
const FIRST: &str = "tcp-rr";
const WARM_UP: Duration = Duration::from_millis(300);
/// Between two looks whether a server of others listens.
const LISTEN: Duration = Duration::from_millis(10);
/// What starting and ending the client may take beyond the workload's own limits.
const SLACK: Duration = Duration::from_secs(2);

/// What one run of the traffic gave.
#[derive(Clone, Debug)]
pub struct Driven {
    /// What it measured.
    pub benchmark: Benchmark,
    /// What a reader of its figures should know.
    pub notes: Vec<String>,
    /// The client's command.
    pub command: Vec<String>,
    /// Reports of client and server (built-in workloads).
    pub reports: Option<(WorkerReport, WorkerReport)>,
}

impl Driven {
    /// What was done when, as the side tells that measures it.
    pub fn progress(&self) -> Option<&Progress> {
        let (client, server) = self.reports.as_ref()?;
        client.progress.as_ref().or(server.progress.as_ref())
    }
}

/// Sends a first request through a new network and waits for its answer: which workload follows does not matter.
pub async fn first_answer(args: &LabRunArgs, lab: &Lab, network: &Network) -> anyhow::Result<Instant> {
    let workload = Workload::find(FIRST).context("a workload")?;
    let args = LabRunArgs { workload: FIRST.into(), pairs: 1, size: vec![1], ..args.clone() };
    let duration = Duration::from_millis(1);
    let server = start_server(workload, &args, lab, network, duration).await?;
    let [_, mut command] = words(workload, &args, lab, network, duration.into())?;
    command.push("--announce".into());
    let mut client = network.client.spawn(lab, &command).context("cannot start the client")?;
    let patience = network.client.patience();
    client.wait_line(ANSWERED, READY_LIMIT + patience).await.context("the first request through the network")?;
    let answered = Instant::now();
    let ended = async {
        client.finish(workload.grace() + patience, true).await?;
        server.process.finish(workload.grace() + network.server.patience(), true).await
    };
    let ended = ended.await;
    if ended.is_err() {
        network.client.sweep();
        network.server.sweep();
    }
    ended.context("the first request through the network")?;
    Ok(answered)
}

/// Runs the same traffic for a short time: caches, neighbour entries, bridge learning, frequency. Gives its requests a second.
pub async fn warm_up(
    workload: &'static Workload,
    args: &LabRunArgs,
    lab: &Lab,
    network: &Network,
) -> anyhow::Result<Option<f64>> {
    let args = LabRunArgs { neighbours: Vec::new(), ..args.clone() };
    let mut load = Load::from(WARM_UP);
    // What counts requests has few of them at first, whose rate is that of a start; of the next ones there are enough.
    for _ in 0..if counts_requests(workload) { 2 } else { 1 } {
        let server = start_server(workload, &args, lab, network, WARM_UP).await.context("warm-up")?;
        load.rate = server.drive(&args, lab, network, load).await.context("warm-up")?.benchmark.transactions_per_s;
    }
    Ok(load.rate)
}

/// Whether a run ends after so many requests, and not after a time.
fn counts_requests(workload: &Workload) -> bool {
    matches!(workload.driver, Driver::External(external) if external.tool.counts_requests())
}

/// Starts a server and waits until it listens.
pub async fn start_server(
    workload: &'static Workload,
    args: &LabRunArgs,
    lab: &Lab,
    network: &Network,
    duration: Duration,
) -> anyhow::Result<Server> {
    let [command, _] = words(workload, args, lab, network, duration.into())?;
    let mut process = network.server.spawn(lab, &command).context("cannot start the server")?;
    match workload.driver {
        Driver::Builtin(_) => process.wait_line("ready", READY_LIMIT + network.server.patience()).await?,
        // The control connection of iperf3 is TCP in both cases.
        Driver::External(external) => {
            let udp = external.udp && external.tool != Tool::Iperf3;
            wait_listening(&mut process, network.server.as_ref(), PORT, udp).await?;
        }
    }
    let others = start_others(&command, args, lab, network).await?;
    Ok(Server { workload, process, others })
}

/// Starts the third and all further processes of all-to-all, as the second one was started.
async fn start_others(
    second: &[String],
    args: &LabRunArgs,
    lab: &Lab,
    network: &Network,
) -> anyhow::Result<Vec<Process>> {
    let places = mesh::places(args, network)?;
    let own = mesh::words(&places, 1, PORT);
    let mut others = Vec::new();
    for (rank, (place, at)) in places.iter().enumerate().skip(2) {
        let mut command: Vec<String> = second.iter().take(second.len() - own.len()).cloned().collect();
        let listens = command.iter().position(|word| word == "--listen").context("a server listens")?;
        command[listens + 1] = SocketAddr::new(*at, PORT + rank as u16).to_string();
        command.extend(mesh::words(&places, rank, PORT));
        let mut process = place.spawn(lab, &command).context("cannot start a process of all-to-all")?;
        process.wait_line("ready", READY_LIMIT).await?;
        others.push(process);
    }
    Ok(others)
}

/// A server that listens.
pub struct Server {
    workload: &'static Workload,
    process: Process,
    /// Further ones (all-to-all).
    others: Vec<Process>,
}

impl Server {
    /// Runs the client beside the neighbours and waits for all of them.
    pub async fn drive(self, args: &LabRunArgs, lab: &Lab, network: &Network, load: Load) -> anyhow::Result<Driven> {
        let [_, command] = words(self.workload, args, lab, network, load)?;
        let before = used_so_far(self.process.id(), network);
        let limit = load.duration + self.workload.grace() + SLACK + network.client.patience();
        let port = PORT + args.pairs as u16;
        let driven = async {
            let neighbours = Neighbours::start(&args.neighbours, lab, network, port, limit + SLACK).await?;
            let client = network.client.spawn(lab, &command).context("cannot start the client")?;
            let said = client.finish(limit, true).await.context("the client of the workload")?;
            anyhow::Ok((neighbours, said))
        };
        let said = driven.await;
        if said.is_err() {
            network.client.sweep();
            network.server.sweep();
        }
        let (neighbours, said) = said?;
        let mut driven = match self.workload.driver {
            Driver::Builtin(_) => {
                let heard = self.process.finish(self.workload.grace() + network.server.patience(), true).await;
                let heard = heard.context("the server of the workload")?;
                for other in self.others {
                    other.finish(self.workload.grace(), true).await.context("a process of all-to-all")?;
                }
                let client = WorkerReport::find(&said).context("the client printed no report")?;
                let server = WorkerReport::find(&heard).context("the server printed no report")?;
                let benchmark = combine(&client, &server);
                Driven { benchmark, notes: Vec::new(), command, reports: Some((client, server)) }
            }
            Driver::External(_) => {
                let after = used_so_far(self.process.id(), network);
                drop(self.process);
                network.server.sweep();
                let read = benchmark::read(&command, &said, true);
                let mut benchmark = read.benchmark.with_context(|| read.notes.join("; "))?;
                if counts_requests(self.workload)
                    && let Some(rate) = benchmark.transactions_per_s
                {
                    // It tells the time in hundredths of a second, and of a short run not at all.
                    benchmark.duration_s = Some(requests(load, args.pairs) as f64 / rate);
                }
                enter_use(&mut benchmark, before, after);
                Driven { benchmark, notes: read.notes, command, reports: None }
            }
        };
        driven.benchmark.neighbours = neighbours.stop(network).await?;
        driven.benchmark.pin = match args.pin {
            Pin::None => None,
            Pin::Same => Some("same".into()),
            Pin::Different => Some("different".into()),
        };
        Ok(driven)
    }
}

/// CPU time of client and server so far: of children that have ended, among which the client will be, and of the server. A process behind
/// an engine is none of ours.
fn used_so_far(server: u32, network: &Network) -> [Option<OwnTime>; 2] {
    // Any number: another process inside tells that this one only asks for it.
    let is_own = |place: &dyn Place| place.inside(server) == server;
    let client = is_own(network.client.as_ref()).then(time_of_children);
    [client, is_own(network.server.as_ref()).then(|| time_of(server)).flatten()]
}

/// Enters the CPU time of both sides where the program itself tells none, of a benchmark that counts requests.
fn enter_use(benchmark: &mut Benchmark, before: [Option<OwnTime>; 2], after: [Option<OwnTime>; 2]) {
    let Some((seconds, rate)) = benchmark.duration_s.zip(benchmark.transactions_per_s) else { return };
    if benchmark.client.is_some() || benchmark.server.is_some() || seconds <= 0.0 {
        return;
    }
    let side = |at: usize| {
        let used = after[at]?.since(before[at]?);
        let total = used.total().as_secs_f64();
        Some(SideUse {
            cpu_share: total / seconds,
            user_ns: Some(used.user.as_nanos() as u64),
            system_ns: Some(used.system.as_nanos() as u64),
            cpu_us_per_transaction: Some(1e6 * total / seconds / rate),
            cpu_ns_per_byte: None,
        })
    };
    (benchmark.client, benchmark.server) = (side(0), side(1));
}

/// Waits until a socket listens on `port` in the network namespace of the server.
async fn wait_listening(server: &mut Process, place: &dyn Place, port: u16, udp: bool) -> anyhow::Result<()> {
    let pid = place.inside(server.id());
    let deadline = Instant::now() + READY_LIMIT;
    let names = if udp { ["udp", "udp6"] } else { ["tcp", "tcp6"] };
    loop {
        let tables = names.map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
        if tables.iter().any(|table| listens(table, port, udp)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the server did not listen within {READY_LIMIT:?}");
        }
        server.goes_on(LISTEN).await?;
    }
}

/// Whether `/proc/PID/net/tcp` has a listening socket (state 0A) on `port`, or `/proc/PID/net/udp` an unconnected one
/// (state 07).
fn listens(table: &str, port: u16, udp: bool) -> bool {
    let suffix = format!(":{port:04X}");
    let state = if udp { "07" } else { "0A" };
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields.len() > 3 && fields[1].ends_with(&suffix) && fields[3] == state
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_seen() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                     0: 0100007F:1451 00000000:0000 0A 00000000:00000000\n\
                     1: 0100007F:1452 0100007F:9999 01 00000000:00000000\n\
                     2: 0100007F:1453 00000000:0000 07 00000000:00000000\n";
        assert!(listens(table, 5201, false));
        assert!(!listens(table, 5202, false));
        assert!(listens(table, 5203, true) && !listens(table, 5201, true));
    }
}
