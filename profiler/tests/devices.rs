//! Devices above and below others, of many kinds: the layers of a request's way, and no time that has none. Live; needs root,
//! and of each kind the kernel's support (most run in an emulated machine).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{
    command, directory::Directory, network::Network, ready::say_left_out, recording::Recording, report::report,
    succeeded, traffic::Traffic,
};

/// What is made in which namespace, one `ip` command a line.
type Plan<'a> = &'a [(&'a str, &'a str)];

/// A network, its commands, and what a request's way shows.
struct Case {
    name: &'static str,
    /// The kinds of device that it needs, as `ip link add trial type` makes them.
    kinds: &'static [&'static str],
    plan: Plan<'static>,
    /// Layers of requests and of answers, each with its device.
    layers: &'static [(&'static str, &'static str)],
    /// Layers that do not run in the namespace between the two.
    not_between: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "a bridge port that is a VLAN on a bond",
        kinds: &["bond", "vlan"],
        plan: &[
            ("middle", "link add port type veth peer name eth0 netns {client}"),
            ("middle", "link add bond0 type bond mode active-backup miimon 100"),
            ("middle", "link set port master bond0"),
            ("middle", "link set port up"),
            ("middle", "link set bond0 up"),
            ("middle", "link add link bond0 name bond0.10 type vlan id 10"),
            ("middle", "link add br10 type bridge"),
            ("middle", "link set bond0.10 master br10 up"),
            ("middle", "link add veth-server type veth peer name eth0 netns {server}"),
            ("middle", "link set veth-server master br10 up"),
            ("middle", "link set br10 up"),
            ("client", "link set eth0 up"),
            ("client", "link add link eth0 name eth0.10 type vlan id 10"),
            ("client", "link set eth0.10 up"),
            ("client", "addr add 10.203.0.2/24 dev eth0.10"),
            ("server", "link set eth0 up"),
            ("server", "addr add 10.203.0.3/24 dev eth0"),
        ],
        layers: &[("vlan", "eth0.10"), ("bridge", "br10"), ("vlan", "bond0.10"), ("bond", "bond0"), ("veth", "port")],
        not_between: &["ip"],
    },
    Case {
        name: "a macvlan on a bond",
        kinds: &["bond", "macvlan"],
        plan: &[
            ("middle", "link add port type veth peer name eth0 netns {server}"),
            ("middle", "link add bond0 type bond mode active-backup miimon 100"),
            ("middle", "link set port master bond0"),
            ("middle", "link set port up"),
            ("middle", "link set bond0 up"),
            ("middle", "link add link bond0 name mac0 netns {client} type macvlan mode bridge"),
            ("client", "link set mac0 up"),
            ("client", "addr add 10.203.0.2/24 dev mac0"),
            ("server", "link set eth0 up"),
            ("server", "addr add 10.203.0.3/24 dev eth0"),
        ],
        layers: &[("macvlan", "mac0"), ("bond", "bond0"), ("veth", "port")],
        not_between: &["ip"],
    },
    Case {
        name: "a VRF between two veth pairs",
        kinds: &["vrf"],
        plan: &[
            ("middle", "link add blue type vrf table 10"),
            ("middle", "link set blue up"),
            ("middle", "link add veth-client type veth peer name eth0 netns {client}"),
            ("middle", "link add veth-server type veth peer name eth0 netns {server}"),
            ("middle", "link set veth-client master blue up"),
            ("middle", "link set veth-server master blue up"),
            ("middle", "addr add 10.203.1.1/24 dev veth-client"),
            ("middle", "addr add 10.203.0.1/24 dev veth-server"),
            ("client", "link set eth0 up"),
            ("client", "addr add 10.203.1.2/24 dev eth0"),
            ("client", "route add default via 10.203.1.1"),
            ("server", "link set eth0 up"),
            ("server", "addr add 10.203.0.3/24 dev eth0"),
            ("server", "route add default via 10.203.0.1"),
        ],
        layers: &[("ip", "blue"), ("veth", "veth-server")],
        not_between: &["vrf", "bridge"],
    },
    Case {
        name: "IPv4 in IPv6",
        kinds: &["ip6tnl"],
        plan: &[
            ("client", "link add wire type veth peer name wire netns {server}"),
            ("client", "addr add fd07::1/64 dev wire nodad"),
            ("server", "addr add fd07::2/64 dev wire nodad"),
            ("client", "link set wire up"),
            ("server", "link set wire up"),
            ("client", "link add six0 type ip6tnl mode ipip6 local fd07::1 remote fd07::2 encaplimit none"),
            ("server", "link add six0 type ip6tnl mode ipip6 local fd07::2 remote fd07::1 encaplimit none"),
            ("client", "link set six0 up"),
            ("server", "link set six0 up"),
            ("client", "addr add 10.203.0.2/24 dev six0"),
            ("server", "addr add 10.203.0.3/24 dev six0"),
        ],
        layers: &[("ipip", "six0"), ("veth", "wire"), ("backlog", "wire")],
        not_between: &[],
    },
    Case {
        name: "GRE over IPv6 that carries Ethernet",
        kinds: &["ip6gretap"],
        plan: &[
            ("client", "link add wire type veth peer name wire netns {server}"),
            ("client", "addr add fd07::1/64 dev wire nodad"),
            ("server", "addr add fd07::2/64 dev wire nodad"),
            ("client", "link set wire up"),
            ("server", "link set wire up"),
            ("client", "link add tap6 type ip6gretap local fd07::1 remote fd07::2"),
            ("server", "link add tap6 type ip6gretap local fd07::2 remote fd07::1"),
            ("client", "link set tap6 up"),
            ("server", "link set tap6 up"),
            ("client", "addr add 10.203.0.2/24 dev tap6"),
            ("server", "addr add 10.203.0.3/24 dev tap6"),
        ],
        layers: &[("gre", "tap6"), ("veth", "wire"), ("backlog", "wire")],
        not_between: &[],
    },
    Case {
        name: "two VEPA macvlans that a bridge's port reflects to each other",
        kinds: &["bridge", "macvlan"],
        plan: &[
            ("middle", "link add br0 type bridge"),
            ("middle", "link set br0 up"),
            ("middle", "link add port type veth peer name card netns {inner}"),
            ("middle", "link set port master br0 up"),
            ("middle", "link set port type bridge_slave hairpin on"),
            ("inner", "link set card up"),
            ("inner", "link add link card name eth0 netns {client} type macvlan mode vepa"),
            ("inner", "link add link card name eth0 netns {server} type macvlan mode vepa"),
            ("client", "link set eth0 up"),
            ("client", "addr add 10.203.0.2/24 dev eth0"),
            ("server", "link set eth0 up"),
            ("server", "addr add 10.203.0.3/24 dev eth0"),
        ],
        layers: &[("macvlan", "eth0"), ("veth", "card"), ("bridge", "br0"), ("veth", "port")],
        not_between: &["ip"],
    },
    Case {
        name: "a bridge in a namespace whose port is one of another bridge's",
        kinds: &["bridge"],
        plan: &[
            ("middle", "link add br0 type bridge"),
            ("middle", "link set br0 up"),
            ("inner", "link add br1 type bridge"),
            ("inner", "link set br1 up"),
            ("middle", "link add up0 type veth peer name eth0 netns {inner}"),
            ("middle", "link set up0 master br0 up"),
            ("inner", "link set eth0 master br1 up"),
            ("inner", "link add veth-client type veth peer name eth0 netns {client}"),
            ("inner", "link set veth-client master br1 up"),
            ("middle", "link add veth-server type veth peer name eth0 netns {server}"),
            ("middle", "link set veth-server master br0 up"),
            ("client", "link set eth0 up"),
            ("client", "addr add 10.203.0.2/24 dev eth0"),
            ("server", "link set eth0 up"),
            ("server", "addr add 10.203.0.3/24 dev eth0"),
        ],
        layers: &[("bridge", "br0"), ("bridge", "br1")],
        not_between: &["ip"],
    },
];

/// A kind of device that this kernel lacks.
fn missing(network: &Network, kinds: &[&'static str]) -> Option<&'static str> {
    kinds.iter().copied().find(|kind| {
        network.ip("middle", "link add lower type veth peer name other");
        let made = match *kind {
            "vlan" => "link add link lower name trial type vlan id 1",
            "macvlan" => "link add link lower name trial type macvlan",
            "vrf" => "link add trial type vrf table 9",
            "ip6tnl" => "link add trial type ip6tnl mode ipip6 local fd08::1 remote fd08::2",
            "ip6gretap" => "link add trial type ip6gretap local fd08::1 remote fd08::2",
            kind => &format!("link add trial type {kind}"),
        };
        let namespace = network.namespace("middle");
        let words: Vec<&str> = ["ip", "-n", &namespace].into_iter().chain(made.split(' ')).collect();
        let done = command(&words).output().unwrap().status.success();
        if done {
            network.ip("middle", "link del trial");
        }
        network.ip("middle", "link del lower");
        !done
    })
}

/// Builds the network of a case; none where the kernel lacks a kind.
fn build(case: &Case) -> Result<Network, &'static str> {
    let network = Network::apart();
    network.add("middle");
    network.add("inner");
    if let Some(kind) = missing(&network, case.kinds) {
        return Err(kind);
    }
    network.run("middle", &["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    for (side, words) in case.plan {
        let mut words = (*words).to_owned();
        for name in ["client", "server", "middle", "inner"] {
            words = words.replace(&format!("{{{name}}}"), &network.namespace(name));
        }
        network.ip(side, &words);
    }
    Ok(network)
}

/// Paths that begin at one of the two sides of a network, or between them.
fn paths<'a>(report: &'a Value, network: &Network) -> Vec<&'a Value> {
    let sides = ["client", "server", "middle", "inner"].map(|side| network.namespace(side));
    let all = report["paths"].as_array().unwrap().iter();
    all.filter(|path| sides.iter().any(|side| path["from"] == side.as_str())).collect()
}

/// What a request's way through a network shows.
fn check(case: &Case, network: &Network, report: &Value) {
    let paths = paths(report, network);
    let tcp = || paths.iter().filter(|path| path["protocol"] == "tcp");
    let read = tcp().filter(|path| path["end"] == "copied");
    let spans: Vec<&Value> = read.flat_map(|path| path["spans"].as_array().unwrap()).collect();
    let found: BTreeSet<[&str; 2]> =
        spans.iter().map(|span| ["layer", "device"].map(|field| span[field].as_str().unwrap())).collect();
    for (layer, device) in case.layers {
        assert!(found.contains(&[*layer, *device]), "{}: no {layer} at {device} in {found:?}", case.name);
    }
    let middle = network.namespace("middle");
    for span in spans {
        // A sample may be of what another packet needed there.
        let between = span["netns"] == middle.as_str() && span["tier"] == "tracepoint";
        let not = case.not_between.iter().any(|layer| span["layer"] == *layer);
        assert!(!between || !not, "{}: {span}", case.name);
    }
    let ends = ["client", "server"].map(|side| network.namespace(side));
    for path in tcp() {
        let began = ends.iter().any(|end| path["from"] == end.as_str());
        assert!(began, "{}: a packet began on its way: {path}", case.name);
    }
    for path in &paths {
        assert_eq!(path["unattributed_ns"]["sum"], 0, "{}: {path}", case.name);
    }
}

#[test]
fn requests_through_devices_of_many_kinds_have_their_layers_and_no_others() {
    let Some(_alone) = ready!("nsenter", "sysctl", "taskset", "chrt") else { return };
    let mut built = Vec::new();
    for case in CASES {
        match build(case) {
            Ok(network) => built.push((case, network)),
            Err(kind) => say_left_out(test_name!(), case.name, &format!("this kernel has no {kind} devices")),
        }
    }
    let directory = Directory::new();
    let file = directory.file("profile");
    // One for all: an emulated processor takes a minute to verify the programs.
    let recording = Recording::start(&file, &["--sample-every", "1"]);
    for (_, network) in &built {
        let traffic = Traffic { pinned: true, ..Traffic::REQUESTS };
        let mut server = traffic.serve(network);
        succeeded(&command(&traffic.client(network)).output().unwrap());
        server.end();
    }
    recording.stop(&file);
    let report = report(&file);
    built.iter().for_each(|(case, network)| check(case, network, &report));
}
