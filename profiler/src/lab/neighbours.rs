//! Neighbours of the pairs (`--neighbours`): what they are, and their start and end around a measured run.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context as _, bail};

use super::{
    cleanup::Lab,
    network::Network,
    workload::neighbour::{NeighbourReport, RUNNING},
};
use crate::{
    choices::{BUSY, FLOOD, Neighbour},
    host::{process::Process, program},
    profile::measures::NeighbourUse,
};

const START_LIMIT: Duration = Duration::from_secs(10);

/// Neighbours that run. Dropping them kills them.
pub struct Neighbours {
    running: Vec<(Neighbour, Vec<Process>)>,
}

impl Neighbours {
    /// Starts them; they end by themselves after `limit`. Floods use the ports from `port` on.
    pub async fn start(
        wanted: &[Neighbour],
        lab: &Lab,
        network: &Network,
        port: u16,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        let program = program::netstrata()?.to_str().context("the program's path is not UTF-8")?.to_owned();
        let limit = format!("{}ms", limit.as_millis());
        let words = |rest: &[&str]| -> Vec<String> {
            let common = [program.as_str(), "lab", "worker", "--size", "1", "--duration", &limit];
            common.iter().chain(rest).map(|word| (*word).to_owned()).collect()
        };
        let mut neighbours = Self { running: Vec::new() };
        let mut port = port;
        for neighbour in wanted {
            let mut processes = Vec::new();
            match neighbour {
                Neighbour::Busy { count, share } => {
                    let (count, share) = (count.to_string(), share.unwrap_or(1.0).to_string());
                    let words = words(&["--workload", BUSY, "--pairs", &count, "--share", &share]);
                    let mut command = Command::new(&words[0]);
                    command.args(&words[1..]);
                    processes.push(Process::spawn(command, None, libc::SIGKILL, Some(&lab.children()))?);
                }
                Neighbour::UdpFlood => {
                    let address = SocketAddr::new(network.address, port).to_string();
                    let server = words(&["--workload", FLOOD, "--listen", &address]);
                    let mut server = network.server.spawn(lab, &server)?;
                    server.wait_line(RUNNING, START_LIMIT).await.context("the receiver of the flood")?;
                    processes.push(server);
                    let target = network.target(port).to_string();
                    let client = words(&["--workload", FLOOD, "--connect", &target]);
                    processes.push(network.client.spawn(lab, &client)?);
                    port += 1;
                }
            }
            if let Some(last) = processes.last_mut() {
                last.wait_line(RUNNING, START_LIMIT).await.context("a neighbour did not start")?;
            }
            neighbours.running.push((*neighbour, processes));
        }
        Ok(neighbours)
    }

    /// Ends them and tells what they used; an error if one ended before.
    pub async fn stop(mut self, network: &Network) -> anyhow::Result<Vec<NeighbourUse>> {
        let mut found = Vec::new();
        for (neighbour, processes) in &mut self.running {
            if let Some(ended) = processes.iter_mut().find_map(|process| process.ended().then_some(process)) {
                bail!(ended.reason().await.context("a neighbour ended before the traffic did"));
            }
            let mut reports = Vec::new();
            for process in processes.iter_mut().rev() {
                process.stop(libc::SIGKILL, Duration::from_secs(1));
                reports.push(process.said().await.iter().rev().find_map(|line| NeighbourReport::read(line)));
            }
            reports.reverse();
            found.push(used(neighbour, &reports));
        }
        if self.running.iter().any(|(neighbour, _)| *neighbour == Neighbour::UdpFlood) {
            network.client.sweep();
            network.server.sweep();
        }
        Ok(found)
    }
}

/// The figures of a neighbour from the last reports of its processes: the loops' own, or receiver and sender.
fn used(neighbour: &Neighbour, reports: &[Option<NeighbourReport>]) -> NeighbourUse {
    let rate = |report: Option<&NeighbourReport>, count: fn(&NeighbourReport) -> u64| {
        report.filter(|report| report.elapsed_ns > 0).map(|report| count(report) as f64 / report.elapsed_ns as f64)
    };
    let shares: Option<f64> = reports.iter().map(|report| rate(report.as_ref(), |report| report.cpu_ns)).sum();
    let bits = |index: usize| {
        let report = reports.get(index).and_then(Option::as_ref);
        rate(report, |report| report.bytes).map(|bytes_per_ns| bytes_per_ns * 8e9)
    };
    match neighbour {
        Neighbour::Busy { count, share } => NeighbourUse {
            kind: BUSY.into(),
            count: *count,
            asked_share: *share,
            cpu_share: shares,
            ..NeighbourUse::default()
        },
        Neighbour::UdpFlood => NeighbourUse {
            kind: FLOOD.into(),
            count: 1,
            cpu_share: shares,
            received_bits_per_s: bits(0),
            sent_bits_per_s: bits(1),
            ..NeighbourUse::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::workload::neighbour::NEIGHBOUR_SCHEMA;

    #[test]
    fn figures_are_those_of_the_last_reports() {
        let report = |cpu_ns, bytes| {
            Some(NeighbourReport { schema: NEIGHBOUR_SCHEMA.into(), elapsed_ns: 1_000_000_000, cpu_ns, bytes })
        };
        let busy = used(&Neighbour::Busy { count: 2, share: Some(0.1) }, &[report(200_000_000, 0)]);
        assert_eq!((busy.cpu_share, busy.asked_share, busy.sent_bits_per_s), (Some(0.2), Some(0.1), None));
        let flood = used(&Neighbour::UdpFlood, &[report(250_000_000, 1_000), report(500_000_000, 2_000)]);
        assert_eq!((flood.cpu_share, flood.count), (Some(0.75), 1));
        assert_eq!((flood.received_bits_per_s, flood.sent_bits_per_s), (Some(8_000.0), Some(16_000.0)));
        // Half of a flood is no figure for both of its sides.
        assert_eq!(used(&Neighbour::UdpFlood, &[None, report(1, 1)]).cpu_share, None);
    }
}
