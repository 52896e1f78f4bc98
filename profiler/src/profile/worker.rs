//! What the two sides of a built-in workload report, and the result that they are together.

use serde::{Deserialize, Serialize};

use super::{
    Benchmark, Progress,
    measures::{Datagrams, FlowTimes, MachineUse, PairSpread, SideUse},
};

/// Schema of a worker's line.
pub const WORKER_SCHEMA: &str = "netstrata.worker/1";

/// The one line of JSON that a side of a built-in workload prints at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct WorkerReport {
    /// [`WORKER_SCHEMA`].
    pub schema: String,
    /// "client" or "server".
    pub side: String,
    /// Name of the workload.
    pub workload: String,
    /// Bytes of one message.
    pub message_bytes: u64,
    /// Pairs at one time.
    pub pairs: u32,
    /// Client: from the common start to the last answer. Server: from the first byte to the last, over all pairs.
    pub duration_ns: u64,
    /// Client: bytes that the kernel took. Server: bytes that the application got.
    pub bytes: u64,
    /// The same for each pair.
    pub pair_bytes: Vec<u64>,
    /// For each pair its transactions or its bits a second, in the pair's own time.
    pub pair_rates: Vec<f64>,
    /// Request/response pairs that were completed (client).
    pub transactions: u64,
    /// Requests without an answer in time, failed connections, or datagrams that the kernel refused (client).
    pub losses: u64,
    /// Datagrams that the kernel took (client) or that the application got (server); one-way UDP.
    pub datagrams: u64,
    /// Of the datagrams, those that came after one that was sent later (server).
    pub reordered: Option<u64>,
    /// Datagrams that found the buffer of this side's socket full (server).
    pub dropped_at_socket: Option<u64>,
    /// Round trips (client, request/response).
    pub round_trip: Option<RoundTrip>,
    /// Flow completion times (client).
    pub flows: Vec<FlowTimes>,
    /// Segments that TCP of this side sent again.
    pub retransmits: Option<u64>,
    /// CPU time of the process in user mode.
    pub user_ns: u64,
    /// CPU time of the process in the kernel. Softirqs that ran on its back are in it, except on kernels that account
    /// for interrupts apart (CONFIG_IRQ_TIME_ACCOUNTING).
    pub system_ns: u64,
    /// What the whole machine used between start and end (client).
    pub machine: Option<MachineUse>,
    /// What was done when: transactions (client), or bytes that were read (server, streams).
    pub progress: Option<Progress>,
}

/// Round trips, within 0.1 %; the mean is exact.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct RoundTrip {
    /// Mean.
    pub mean_ns: f64,
    /// The part of it above [`super::FAR`] times the median.
    pub far_ns: f64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// Largest.
    pub max_ns: u64,
}

/// A count for each second.
fn rate(count: u64, duration_ns: u64) -> Option<f64> {
    (duration_ns > 0).then(|| count as f64 * 1e9 / duration_ns as f64)
}

/// A time for each of `count`, if there are any.
fn each(ns: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| ns as f64 / count as f64)
}

impl WorkerReport {
    /// Reads the last line of `stdout` that is a worker's report.
    pub fn find(stdout: &str) -> Option<Self> {
        let lines = stdout.lines().rev().map(str::trim).filter(|line| line.starts_with('{'));
        let reports = lines.filter_map(|line| serde_json::from_str::<Self>(line).ok());
        reports.into_iter().find(|report| report.schema == WORKER_SCHEMA)
    }

    /// Whether messages go one way only.
    fn one_way(&self) -> bool {
        self.workload.ends_with("-stream")
    }

    /// What this side alone measured. A client of `udp-stream` cannot know what arrived and tells no throughput.
    pub fn benchmark(&self) -> Benchmark {
        let client = self.side == "client";
        let flows = !self.flows.is_empty();
        let answered = client && !self.one_way() && !flows;
        let arrived = flows || (self.one_way() && !(client && self.workload.starts_with("udp")));
        let round_trip = self.round_trip.filter(|_| answered);
        let per_pair = if answered {
            PairSpread::of("transactions_per_s", &self.pair_rates)
        } else {
            PairSpread::of("throughput_bits_per_s", &self.pair_rates).filter(|_| arrived)
        };
        let mut benchmark = Benchmark {
            tool: "netstrata".into(),
            workload: self.workload.clone(),
            throughput_bits_per_s: rate(self.bytes * 8, self.duration_ns).filter(|_| arrived),
            transactions_per_s: rate(self.transactions, self.duration_ns).filter(|_| answered),
            round_trip_ns: round_trip.map(|trip| trip.mean_ns),
            round_trip_far_ns: round_trip.map(|trip| trip.far_ns),
            round_trip_p50_ns: round_trip.map(|trip| trip.p50_ns as f64),
            round_trip_p90_ns: round_trip.map(|trip| trip.p90_ns as f64),
            round_trip_p99_ns: round_trip.map(|trip| trip.p99_ns as f64),
            round_trip_p999_ns: round_trip.map(|trip| trip.p999_ns as f64),
            round_trip_max_ns: round_trip.map(|trip| trip.max_ns as f64),
            messages_per_s: rate(self.bytes / self.message_bytes.max(1), self.duration_ns)
                .filter(|_| arrived && !flows),
            message_bytes: Some(self.message_bytes),
            pairs: Some(self.pairs),
            duration_s: Some(self.duration_ns as f64 / 1e9),
            retransmits: self.retransmits,
            failed: Some(self.losses).filter(|_| answered),
            pair_spread: per_pair,
            flows: self.flows.clone(),
            ..Benchmark::default()
        };
        let used = Some(self.used(self.duration_ns, self.transactions));
        if client {
            benchmark.client = used;
            benchmark.machine = self.machine;
        } else {
            benchmark.server = used;
        }
        benchmark
    }

    /// CPU use of this side's process in a run of this length.
    fn used(&self, duration_ns: u64, transactions: u64) -> SideUse {
        let cpu_ns = self.user_ns + self.system_ns;
        let answering = !self.one_way() && transactions > 0;
        SideUse {
            cpu_share: each(cpu_ns, duration_ns).unwrap_or(0.0),
            user_ns: Some(self.user_ns),
            system_ns: Some(self.system_ns),
            cpu_us_per_transaction: each(cpu_ns, transactions).filter(|_| answering).map(|ns| ns / 1e3),
            cpu_ns_per_byte: each(cpu_ns, self.bytes).filter(|_| !answering),
        }
    }
}

/// The result of both sides: round trips and flows are the client's, bytes are the receiver's.
pub fn combine(client: &WorkerReport, server: &WorkerReport) -> Benchmark {
    let own = client.benchmark();
    let one_way = client.one_way();
    let base = if one_way { server.benchmark() } else { own };
    let transactions = client.transactions;
    // A server waits for its clients and for their end: its share is of the time that they measured.
    let duration_ns = client.duration_ns;
    let machine = client.machine.map(|machine| MachineUse {
        busy_us_per_transaction: each(machine.busy_ns, transactions).map(|ns| ns / 1e3),
        busy_ns_per_byte: each(machine.busy_ns, server.bytes).filter(|_| transactions == 0),
        ..machine
    });
    let retransmits = [client, server].iter().filter_map(|side| side.retransmits).reduce(|sum, next| sum + next);
    Benchmark {
        retransmits,
        client: Some(client.used(duration_ns, transactions)),
        server: Some(server.used(duration_ns, transactions)),
        machine,
        datagrams: (one_way && client.workload.starts_with("udp")).then(|| datagrams(client, server)),
        ..base
    }
}

fn datagrams(client: &WorkerReport, server: &WorkerReport) -> Datagrams {
    let lost = client.datagrams.saturating_sub(server.datagrams);
    Datagrams {
        sent: client.datagrams,
        refused: client.losses,
        received: server.datagrams,
        lost,
        lost_share: each(lost, client.datagrams).unwrap_or(0.0),
        // The socket counts whatever it had no room for, the marks of the end too.
        lost_at_socket: server.dropped_at_socket.map(|dropped| dropped.min(lost)),
        reordered: server.reordered,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn sides(workload: &str) -> (WorkerReport, WorkerReport) {
        let client = WorkerReport {
            schema: WORKER_SCHEMA.into(),
            side: "client".into(),
            workload: workload.into(),
            message_bytes: 100,
            pairs: 2,
            duration_ns: 1_000_000_000,
            user_ns: 100_000_000,
            system_ns: 400_000_000,
            machine: Some(MachineUse { cpus: 2, elapsed_ns: 1, busy_ns: 1_500_000_000, ..MachineUse::default() }),
            ..WorkerReport::default()
        };
        (client.clone(), WorkerReport { side: "server".into(), duration_ns: 2_000_000_000, machine: None, ..client })
    }

    #[test]
    fn request_and_response_cost_cpu_for_each_transaction() {
        let (mut client, mut server) = sides("tcp-crr");
        client.transactions = 1000;
        client.pair_rates = vec![400.0, 600.0];
        client.losses = 3;
        (client.retransmits, server.retransmits) = (Some(2), Some(5));
        let both = combine(&client, &server);
        assert_eq!((both.transactions_per_s, both.throughput_bits_per_s), (Some(1000.0), None));
        assert_eq!((both.retransmits, both.failed), (Some(7), Some(3)));
        for side in [both.client.unwrap(), both.server.unwrap()] {
            assert_eq!((side.cpu_share, side.cpu_us_per_transaction), (0.5, Some(500.0)));
            assert_eq!(side.cpu_ns_per_byte, None);
        }
        assert_eq!(both.machine.unwrap().busy_us_per_transaction, Some(1500.0));
        assert_eq!(both.pair_spread.unwrap().median, 500.0);
    }

    #[test]
    fn datagrams_that_did_not_come_are_lost() {
        let (mut client, mut server) = sides("udp-stream");
        (client.bytes, server.bytes) = (1_000_000, 500_000);
        (client.datagrams, server.datagrams) = (10_000, 5_000);
        (server.reordered, server.dropped_at_socket) = (Some(7), Some(5_005));
        let both = combine(&client, &server);
        assert_eq!(both.throughput_bits_per_s, Some(2_000_000.0));
        let datagrams = both.datagrams.unwrap();
        assert_eq!((datagrams.lost, datagrams.lost_share, datagrams.reordered), (5_000, 0.5, Some(7)));
        assert_eq!(datagrams.lost_at_socket, Some(5_000));
        assert_eq!(both.client.unwrap().cpu_ns_per_byte, Some(500.0));
        assert_eq!(both.server.unwrap().cpu_ns_per_byte, Some(1000.0));
        assert_eq!(both.machine.unwrap().busy_ns_per_byte, Some(3000.0));
    }

    #[test]
    fn flows_are_timed_by_the_client_and_have_a_throughput() {
        let (mut client, mut server) = sides("fct");
        (client.bytes, server.bytes) = (1_000_000, 1_000_000);
        client.flows = vec![FlowTimes { class: "all".into(), count: 4, mean_ns: 5.0, ..FlowTimes::default() }];
        let both = combine(&client, &server);
        assert_eq!((both.throughput_bits_per_s, both.transactions_per_s), (Some(8_000_000.0), None));
        assert_eq!((both.flows[0].count, both.messages_per_s), (4, None));
        assert_eq!(both.server.unwrap().cpu_ns_per_byte, Some(500.0));
    }
}
