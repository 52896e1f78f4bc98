//! The built-in workloads: one process for each side, one thread for each pair, plain sockets.
//!
//! The server prints `ready` when all its sockets listen. At its end each side prints one line of JSON
//! ([`WorkerReport`]). Pair N uses port + N. Threads are called `ns-client` and `ns-server`, so that profiles tell the
//! two sides apart.

mod connections;
mod mesh;
pub mod neighbour;
mod progress;
mod sides;
mod sockets;
mod tcp;
mod times;
mod udp;

use crate::note;
use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

use self::{
    connections::FlowPlan,
    sides::{drive, listen, serve},
    times::Times,
};
use crate::{
    choices::{Builtin, Workload, workload_names},
    cli::LabWorkerArgs,
    failure::Failure,
    host::cpu::own_time,
    profile::{
        Progress,
        measures::FlowTimes,
        worker::{WORKER_SCHEMA, WorkerReport},
    },
};

/// How much longer a server waits for its clients: the recording is set up between the two.
const WAIT_FOR_CLIENTS: Duration = Duration::from_secs(120);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// What a client says after its first answer, where it is asked to.
pub const ANSWERED: &str = "answered";

/// What one pair counted.
#[derive(Default)]
struct Pair {
    bytes: u64,
    transactions: u64,
    losses: u64,
    datagrams: u64,
    reordered: Option<u64>,
    dropped_at_socket: Option<u64>,
    retransmits: Option<u64>,
    round_trips: Option<Times>,
    /// Mice and elephants.
    flows: Option<[Times; 2]>,
    progress: Option<Progress>,
    start: Option<Instant>,
    end: Option<Instant>,
}

impl Pair {
    fn duration_ns(&self) -> u64 {
        self.start.zip(self.end).map_or(0, |(start, end)| end.duration_since(start).as_nanos() as u64)
    }

    /// Transactions, or else bits, a second.
    fn rate(&self) -> f64 {
        let count = if self.round_trips.is_some() { self.transactions } else { 8 * self.bytes };
        match self.duration_ns() {
            0 => 0.0,
            ns => count as f64 * 1e9 / ns as f64,
        }
    }
}

/// Runs one side to its end and gives its report. Prints `ready` when it is a server.
pub fn work(args: &LabWorkerArgs) -> anyhow::Result<WorkerReport> {
    let Some((workload, builtin)) = Workload::find_builtin(&args.workload) else {
        let known = workload_names(true);
        bail!(Failure::Usage(format!("unknown workload `{}`; built in: {known}", args.workload)));
    };
    if !workload.sizes.contains(&args.size) {
        bail!(Failure::Usage(format!("--size of {} lies within 1 and {}", args.workload, workload.sizes.end())));
    }
    let pairs = args.pairs.clamp(1, 1000);
    let mut patience = args.patience.unwrap_or_default();
    if args.listen.is_some() {
        patience += WAIT_FOR_CLIENTS;
    }
    watch(args.duration + workload.grace() + patience);
    let before = own_time();
    let (side, (results, machine)) = match (args.listen, args.connect) {
        (Some(_), None) if builtin == Builtin::AllToAll => ("server", (vec![mesh::run(args)?.0], None)),
        (None, Some(_)) if builtin == Builtin::AllToAll => {
            let (pair, machine) = mesh::run(args)?;
            ("client", (vec![pair], machine))
        }
        (Some(address), None) => ("server", (serve(builtin, listen(builtin, address, pairs)?, args)?, None)),
        (None, Some(address)) => ("client", drive(builtin, address, args, pairs)?),
        _ => bail!(Failure::Usage("a worker needs --listen ADDRESS:PORT or --connect ADDRESS:PORT".into())),
    };
    let after = own_time();
    let mut report = report(args, side, &results);
    report.user_ns = after.user.saturating_sub(before.user).as_nanos() as u64;
    report.system_ns = after.system.saturating_sub(before.system).as_nanos() as u64;
    report.machine = machine;
    if builtin == Builtin::AllToAll {
        report.pairs = args.peers.len() as u32;
    }
    Ok(report)
}

fn report(args: &LabWorkerArgs, side: &str, results: &[Pair]) -> WorkerReport {
    let start = results.iter().filter_map(|pair| pair.start).min();
    let end = results.iter().filter_map(|pair| pair.end).max();
    let sum = |count: fn(&Pair) -> u64| results.iter().map(count).sum::<u64>();
    let known = |count: fn(&Pair) -> Option<u64>| results.iter().filter_map(count).reduce(|sum, next| sum + next);
    let trips = all(results.iter().filter_map(|pair| pair.round_trips.as_ref()));
    WorkerReport {
        schema: WORKER_SCHEMA.into(),
        side: side.into(),
        workload: args.workload.clone(),
        message_bytes: args.size,
        pairs: results.len() as u32,
        duration_ns: start.zip(end).map_or(0, |(start, end)| end.duration_since(start).as_nanos() as u64),
        bytes: sum(|pair| pair.bytes),
        pair_bytes: results.iter().map(|pair| pair.bytes).collect(),
        pair_rates: results.iter().map(Pair::rate).collect(),
        transactions: sum(|pair| pair.transactions),
        losses: sum(|pair| pair.losses),
        datagrams: sum(|pair| pair.datagrams),
        reordered: known(|pair| pair.reordered),
        dropped_at_socket: known(|pair| pair.dropped_at_socket),
        round_trip: trips.and_then(|trips| trips.round_trip()),
        flows: flows(args, results),
        progress: progress::all(results.iter().filter_map(|pair| pair.progress.clone())),
        retransmits: known(|pair| pair.retransmits),
        ..WorkerReport::default()
    }
}

/// All of these together; none without any.
fn all<'a>(parts: impl Iterator<Item = &'a Times>) -> Option<Times> {
    parts.fold(None, |merged: Option<Times>, next| match merged {
        None => Some(next.clone()),
        Some(mut merged) => {
            merged.merge(next);
            Some(merged)
        }
    })
}

/// Completion times of all flows, and of mice and elephants where there are both.
fn flows(args: &LabWorkerArgs, results: &[Pair]) -> Vec<FlowTimes> {
    let plan = flow_plan(args);
    let class = |number: usize| all(results.iter().filter_map(|pair| Some(&pair.flows.as_ref()?[number])));
    let (Some(mice), Some(elephants)) = (class(0), class(1)) else { return Vec::new() };
    let classes = [mice.flows("mice", Some(plan.mouse)), elephants.flows("elephants", Some(plan.elephant))];
    let mut found: Vec<FlowTimes> = classes.into_iter().flatten().collect();
    match &mut found[..] {
        [only] => only.class = "all".into(),
        _ => found.splice(0..0, all([mice, elephants].iter()).and_then(|both| both.flows("all", None))).for_each(drop),
    }
    found
}

/// Ends the process when it takes longer than `limit`: a peer that never came must not leave a worker behind.
fn watch(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        note!("netstrata: the other side did not come or did not end within {limit:?}");
        std::process::exit(3);
    });
}

fn flow_plan(args: &LabWorkerArgs) -> FlowPlan {
    FlowPlan { mouse: args.flow_size, elephant: args.elephant_size, share: args.elephants }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::profile::worker::combine;

    fn args(name: &str) -> LabWorkerArgs {
        LabWorkerArgs {
            workload: name.into(),
            size: Workload::find(name).unwrap().default_size(),
            duration: Duration::from_millis(100),
            flow_size: 100_000,
            elephant_size: 1_000_000,
            ..LabWorkerArgs::default()
        }
    }

    /// Listens on the loopback, on ports that nobody uses.
    fn listen_anywhere(workload: Builtin, pairs: u32) -> (SocketAddr, Vec<sides::Listening>) {
        let found = (0..100).find_map(|_| {
            // Free when it was asked for; one of the pairs' may be another's.
            let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
            listen(workload, free, pairs).ok().map(|sockets| (free, sockets))
        });
        found.expect("free ports")
    }

    fn run(args: &LabWorkerArgs, pairs: u32) -> (WorkerReport, WorkerReport) {
        let (_, workload) = Workload::find_builtin(&args.workload).unwrap();
        let (address, sockets) = listen_anywhere(workload, pairs);
        let mine = args.clone();
        let server = thread::spawn(move || {
            let results = serve(workload, sockets, &mine).unwrap();
            report(&mine, "server", &results)
        });
        let (results, machine) = drive(workload, address, args, pairs).unwrap();
        let client = WorkerReport { machine, ..report(args, "client", &results) };
        (client, server.join().unwrap())
    }

    #[test]
    fn tcp_streams_arrive_whole() {
        let (client, server) = run(&args("tcp-stream"), 2);
        assert!(server.bytes > 0);
        assert_eq!(client.bytes, server.bytes);
        assert_eq!((server.pair_bytes.len(), server.pair_rates.len()), (2, 2));
        assert!(client.retransmits.is_some() && server.retransmits.is_some());
        assert!(server.benchmark().throughput_bits_per_s.unwrap() > 0.0);
        assert!(client.machine.unwrap().busy_share <= 1.0);
    }

    #[test]
    fn every_request_has_its_answer() {
        for name in ["tcp-rr", "udp-rr", "tcp-crr"] {
            let (client, server) = run(&args(name), 2);
            assert!(client.transactions > 0);
            assert_eq!(client.bytes, client.transactions * 64);
            assert!(server.bytes >= client.bytes, "{name}");
            let trip = client.round_trip.unwrap();
            assert!(trip.p50_ns > 0 && trip.p50_ns <= trip.p90_ns && trip.p90_ns <= trip.p99_ns, "{trip:?}");
            assert!(trip.p99_ns <= trip.p999_ns && trip.p999_ns <= trip.max_ns, "{trip:?}");
        }
    }

    #[test]
    fn datagrams_are_counted_where_they_arrive() {
        let (client, server) = run(&args("udp-stream"), 1);
        assert!(server.bytes > 0 && server.bytes <= client.bytes);
        assert!(server.datagrams > 0 && server.datagrams <= client.datagrams);
        assert_eq!(client.benchmark().throughput_bits_per_s, None);
        assert!(server.benchmark().throughput_bits_per_s.is_some());
        // On a loopback nothing overtakes, and what is lost is lost at the socket.
        let datagrams = combine(&client, &server).datagrams.unwrap();
        assert_eq!((datagrams.reordered, datagrams.lost_at_socket), (Some(0), Some(datagrams.lost)));
    }

    #[test]
    fn small_datagrams_bear_no_number() {
        let (_, server) = run(&LabWorkerArgs { size: 7, ..args("udp-stream") }, 1);
        assert_eq!(server.reordered, None);
        assert!(server.datagrams > 0);
    }

    #[test]
    fn flows_are_completed_and_every_fifth_is_an_elephant() {
        let (client, server) = run(&LabWorkerArgs { elephants: 0.2, ..args("fct") }, 2);
        assert_eq!(client.bytes, server.bytes);
        let [all, mice, elephants] = &client.flows[..] else { panic!("{:?}", client.flows) };
        assert_eq!((all.class.as_str(), mice.flow_bytes), ("all", Some(100_000)));
        assert_eq!(all.count, mice.count + elephants.count);
        assert_eq!(client.bytes, mice.count * 100_000 + elephants.count * 1_000_000);
        assert!(mice.p50_ns <= mice.p99_ns && all.max_ns == mice.max_ns.max(elephants.max_ns));
        let (client, _) = run(&args("fct"), 1);
        assert_eq!((client.flows.len(), client.flows[0].flow_bytes), (1, Some(100_000)));
    }

    #[test]
    fn sizes_that_no_datagram_has_are_refused() {
        let args = LabWorkerArgs { workload: "udp-rr".into(), size: 70_000, ..LabWorkerArgs::default() };
        assert!(work(&args).unwrap_err().to_string().contains("65507"));
    }
}
