//! Traffic through a network, with and without a recording.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use super::{
    NETSTRATA, directory::Directory, network::Network, process::Process, report::report, run, traffic::Traffic,
};

/// Mean round trip in nanoseconds, without recording.
pub fn round_trip(traffic: &Traffic, network: &Network) -> f64 {
    let _server = traffic.serve(network);
    round_trip_of(&run(&traffic.client(network)))
}

/// Drives traffic while recording with these options.
pub fn record(traffic: &Traffic, network: &Network, options: &[&str]) -> Recorded {
    let directory = Directory::new();
    let file = directory.word("profile");
    let _server = traffic.serve(network);
    let mut words = vec![NETSTRATA, "record", "-o", &file];
    words.extend(options);
    words.push("--");
    let client = traffic.client(network);
    words.extend(client.iter().map(String::as_str));
    let output = run(&words);
    if let Ok(kept) = std::env::var("NETSTRATA_TRUTH_KEEP") {
        std::fs::copy(&file, kept).unwrap();
    }
    Recorded {
        report: report(file.as_ref()),
        round_trip_ns: if traffic.workload.ends_with("rr") { round_trip_of(&output) } else { f64::NAN },
        client: network.namespace("client"),
        server: network.namespace("server"),
    }
}

/// Keeps CPUs from going idle, at the lowest priority: leaving idleness would cost more whenever there is more waiting.
pub struct Awake {
    _loops: Vec<Process>,
}

impl Awake {
    /// Keeps the first so many CPUs awake.
    pub fn start(cpus: usize) -> Self {
        // It looks for this process now and then: it must not outlive one that was killed.
        let script = format!(
            "while kill -0 {} 2>/dev/null; do i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; done",
            std::process::id()
        );
        let words = |cpu: usize| {
            let cpu = cpu.to_string();
            Process::quiet(Command::new("taskset").args(["-c", &cpu, "chrt", "-i", "0", "sh", "-c", &script]))
        };
        Self { _loops: (0..cpus).map(words).collect() }
    }
}

fn round_trip_of(output: &str) -> f64 {
    let line = output.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no report: {output}"));
    serde_json::from_str::<Value>(line).unwrap()["round_trip"]["mean_ns"].as_f64().unwrap()
}

/// A direction of packets, a layer, a device and a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// From the client to the server.
    pub request: bool,
    /// Name of the layer; `unattributed` without one.
    pub layer: String,
    /// Name of the device; the sides' are both called `eth0`, so the namespace's is put before.
    pub device: String,
    /// `service` or `wait`.
    pub kind: String,
}

/// A recording's report with what the worker itself measured.
pub struct Recorded {
    /// `netstrata.report/1`.
    pub report: Value,
    /// The worker's mean round trip.
    pub round_trip_ns: f64,
    client: String,
    server: String,
}

impl Recorded {
    /// Paths of this network that carried data to a reader.
    fn copied(&self) -> impl Iterator<Item = &Value> {
        let ours = |name: &Value| *name == self.client.as_str() || *name == self.server.as_str();
        let paths = self.report["paths"].as_array().unwrap().iter();
        paths.filter(move |path| path["end"] == "copied" && ours(&path["from"]) && ours(&path["to"]))
    }

    /// Over loopback both directions look alike and count as requests.
    fn is_request(&self, path: &Value) -> bool {
        path["from"] == self.client.as_str()
    }

    /// Packets of a direction.
    pub fn packets(&self, request: bool) -> f64 {
        let of = self.copied().filter(|path| self.is_request(path) == request);
        of.map(|path| path["packets"].as_f64().unwrap()).sum()
    }

    /// Mean nanoseconds per packet, over all paths of a direction that carried data.
    pub fn rows(&self) -> BTreeMap<Row, f64> {
        let mut rows = BTreeMap::new();
        for path in self.copied() {
            let request = self.is_request(path);
            let packets = self.packets(request);
            let mut add = |layer: &str, device: String, kind: &str, sum: &Value| {
                let row = Row { request, layer: layer.into(), device, kind: kind.into() };
                *rows.entry(row).or_default() += sum.as_f64().unwrap() / packets;
            };
            for span in path["spans"].as_array().unwrap() {
                let place = span["netns"].as_str().unwrap().rsplit('-').next().unwrap();
                let device = format!("{place}/{}", span["device"].as_str().unwrap());
                add(span["layer"].as_str().unwrap(), device, span["kind"].as_str().unwrap(), &span["ns"]["sum"]);
            }
            add("unattributed", String::new(), "service", &path["unattributed_ns"]["sum"]);
        }
        rows
    }

    /// Mean end-to-end times of both directions and the applications' own, per round trip, nanoseconds.
    pub fn parts(&self) -> [f64; 3] {
        let way = |request: bool| {
            let of = self.copied().filter(|path| self.is_request(path) == request);
            of.map(|path| path["end_to_end_ns"]["sum"].as_f64().unwrap()).sum::<f64>() / self.packets(request)
        };
        let turns = self.report["turnarounds"].as_array().unwrap().iter();
        let turns = turns.filter(|turn| turn["netns"] == self.client.as_str() || turn["netns"] == self.server.as_str());
        let reply = if self.client == self.server { way(true) } else { way(false) };
        [way(true), reply, turns.map(|turn| turn["ns"]["mean"].as_f64().unwrap()).sum()]
    }

    /// Packets that the devices counted as sent, and those of paths that crossed them on their way out.
    pub fn sent(&self) -> Vec<(String, f64, f64)> {
        let ours = |name: &str| name == self.client || name == self.server;
        let devices = self.report["devices"].as_array().unwrap().iter();
        devices
            .filter(|device| ours(device["netns"].as_str().unwrap()))
            .map(|device| {
                let (netns, name) = (device["netns"].as_str().unwrap(), device["device"].as_str().unwrap());
                let from = |path: &&Value| path["from"] == netns && path["devices"][0] == name;
                let paths = self.report["paths"].as_array().unwrap().iter().filter(from);
                let side = netns.rsplit('-').next().unwrap();
                (
                    format!("{side}/{name}"),
                    device["tx_packets"].as_f64().unwrap(),
                    paths.map(|path| path["packets"].as_f64().unwrap()).sum(),
                )
            })
            .collect()
    }
}
