//! Ground truth in the lab's modes: a known cost put into a layer of a network is found in that layer, and at that
//! device. Needs root; modes that this kernel lacks are skipped and run in emulated machines.
//! `cargo test --release --test ground_truth_modes -- --ignored --nocapture` prints the table.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{collections::BTreeMap, os::fd::OwnedFd, time::Duration};

use netstrata::{
    analysis::path_accounts,
    cli::{LabRunArgs, Pin, TierArg},
    failure::Failure,
    lab::Standing,
    profile::Profile,
};
use netstrata_common::{End, Layer};
use support::{
    inject::{self, fed},
    measure::Awake,
    median,
    ready::say_left_out,
};

/// A cost in a network.
enum Cost {
    /// A program that spins so long at a device's egress.
    Spin(i32),
    /// So many rules of a family and hook of nftables, none of which matches.
    Rules(u32, &'static str, &'static str),
    /// So many pairs of actions of Open vSwitch's datapath that undo each other, before each packet's output.
    Actions(u32),
}

/// Where a cost goes, and where it must be found.
struct Case {
    mode: &'static str,
    cost: Cost,
    /// Role of the namespace that it goes into.
    role: &'static str,
    /// Device that it goes to (spin), and at which it must be found (empty: anywhere in that namespace).
    device: &'static str,
    layer: Layer,
}

const CASES: &[Case] = &[
    Case { mode: "nat", cost: Cost::Rules(500, "ip", "forward"), role: "host", device: "", layer: Layer::Netfilter },
    Case {
        mode: "routed",
        cost: Cost::Rules(500, "ip", "forward"),
        role: "host-a",
        device: "",
        layer: Layer::Netfilter,
    },
    Case { mode: "vxlan", cost: Cost::Spin(20_000), role: "host-a", device: "vxlan0", layer: Layer::Tc },
    Case { mode: "ipip", cost: Cost::Spin(20_000), role: "host-a", device: "ipip0", layer: Layer::Tc },
    Case { mode: "user-overlay", cost: Cost::Spin(20_000), role: "host-a", device: "tun0", layer: Layer::Tc },
    Case {
        mode: "vlan-bridge",
        cost: Cost::Rules(500, "bridge", "forward"),
        role: "host-b",
        device: "br0",
        layer: Layer::Netfilter,
    },
    Case { mode: "vlan-bridge", cost: Cost::Spin(20_000), role: "host-a", device: "wire0.10", layer: Layer::Tc },
    // The worker that sends the datagram goes through these.
    Case {
        mode: "wireguard",
        cost: Cost::Rules(500, "ip", "output"),
        role: "host-a",
        device: "wg0",
        layer: Layer::Wireguard,
    },
    Case { mode: "wireguard", cost: Cost::Spin(20_000), role: "host-a", device: "wg0", layer: Layer::Tc },
    Case {
        mode: "nested-bridge-bridge",
        cost: Cost::Rules(500, "bridge", "forward"),
        role: "container-client",
        device: "br-child",
        layer: Layer::Netfilter,
    },
    Case { mode: "ovs-flows", cost: Cost::Actions(200), role: "middle", device: "", layer: Layer::Ovs },
];

/// An injected cost, taken away when dropped.
struct Injected {
    namespace: String,
    table: Option<&'static str>,
    actions: Option<Vec<String>>,
    _switch: Option<Stopped>,
    _link: Option<OwnedFd>,
}

/// An emulated machine, which is many times slower, needs costs that many times larger.
fn scale() -> u32 {
    std::env::var("NETSTRATA_TRUTH_SCALE").map_or(1, |scale| scale.parse().unwrap())
}

fn inject(standing: &Standing, case: &Case) -> Injected {
    let namespace = standing.namespace(case.role).to_str().unwrap().to_owned();
    let mut injected =
        Injected { namespace: namespace.clone(), table: None, actions: None, _switch: None, _link: None };
    match case.cost {
        // BPF_TCX_EGRESS
        Cost::Spin(ns) => {
            injected._link = Some(inject::link(
                &inject::spinner(ns * scale() as i32, inject::TC_ACT_UNSPEC),
                &namespace,
                case.device,
                47,
            ));
        }
        Cost::Rules(count, family, hook) => {
            let mut rules =
                format!("table {family} truth {{\n chain c {{\n  type filter hook {hook} priority 0; policy accept;\n");
            for rule in 0..count * scale() {
                rules += &format!("  meta mark 0x{:x} drop\n", 0x1000 + rule);
            }
            rules += " }\n}\n";
            fed(&namespace, &["nft", "-f", "-"], &rules);
            injected.table = Some(family);
        }
        Cost::Actions(count) => {
            injected._switch = Some(Stopped::new(&namespace));
            injected.actions = Some(lengthen_flows(&namespace, count));
        }
    }
    injected
}

/// ovs-vswitchd, which does not run meanwhile: it would put the flows in order again.
struct Stopped(libc::pid_t);

impl Stopped {
    fn new(namespace: &str) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let inode = std::fs::metadata(namespace).unwrap().ino();
        let of = |entry: std::io::Result<std::fs::DirEntry>| -> Option<libc::pid_t> {
            let path = entry.ok()?.path();
            let name = std::fs::read_to_string(path.join("comm")).ok()?;
            let own = std::fs::metadata(path.join("ns/net")).ok()?.ino();
            (name.trim() == "ovs-vswitchd" && own == inode).then(|| path.file_name()?.to_str()?.parse().ok())?
        };
        let pid = std::fs::read_dir("/proc").unwrap().find_map(of).expect("ovs-vswitchd of this namespace");
        // SAFETY: a signal to a process of the lab.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: a signal to a process of the lab.
        unsafe { libc::kill(self.0, libc::SIGCONT) };
    }
}

/// Puts actions that undo each other before the actions of every flow in the kernel's datapath; the flows as they were.
fn lengthen_flows(namespace: &str, count: u32) -> Vec<String> {
    let text = fed(namespace, &["ovs-dpctl", "-m", "--no-names", "dump-flows"], "");
    let flows: Vec<String> = text.lines().filter(|line| line.contains("eth_type(0x0800)")).map(str::to_owned).collect();
    for flow in &flows {
        change_flow(namespace, flow, &"push_vlan(vid=7,pcp=0),pop_vlan,".repeat(count as usize));
    }
    flows
}

fn change_flow(namespace: &str, flow: &str, prefix: &str) {
    let (key, actions) = flow.split_once(", packets:").unwrap();
    let actions = actions.rsplit_once("actions:").unwrap().1;
    fed(namespace, &["ovs-dpctl", "mod-flow", key, &format!("{prefix}{actions}")], "");
}

impl Drop for Injected {
    fn drop(&mut self) {
        if let Some(family) = self.table {
            fed(&self.namespace, &["nft", "delete", "table", family, "truth"], "");
        }
        for flow in self.actions.iter().flatten() {
            change_flow(&self.namespace, flow, "");
        }
    }
}

fn arguments(duration: Duration, record: bool) -> LabRunArgs {
    LabRunArgs {
        workload: "tcp-rr".into(),
        output: std::env::temp_dir().join("nstest-truth.prof"),
        duration,
        pairs: 1,
        repeat: 1,
        pin: Pin::Same,
        budget: Some(0.2),
        // Hooks on every function of the way cost more than what is put there.
        tier: TierArg::Tracepoint,
        no_record: !record,
        ..LabRunArgs::default()
    }
}

/// Nanoseconds per transaction by layer, device and namespace, without what the probes took: of packets that carried
/// data, two to a transaction.
fn rows(profile: &Profile) -> BTreeMap<(Layer, String, String), f64> {
    // Later parts of packets that are followed as a whole would count twice.
    let whole: Vec<u64> = profile.original_paths().map(|path| path.id).collect();
    let accounts = path_accounts(profile);
    let carried = || {
        let copied = accounts.iter().filter(|path| path.record.end == End::Copied && path.from != path.to);
        copied.filter(|path| whole.contains(&path.record.id))
    };
    let ends: f64 = carried().map(|path| path.record.packets as f64).sum();
    let mut rows = BTreeMap::new();
    for span in carried().flat_map(|path| &path.spans) {
        let Some(layer) = span.layer else { continue };
        let netns = profile.topology.namespace_name(span.netns);
        *rows.entry((layer, span.device.clone(), netns)).or_default() +=
            2.0 * (span.sum_ns - span.probe_ns) as f64 / ends;
    }
    rows
}

/// What the rows have more of a layer: where it was put, and anywhere.
fn more(without: &Profile, with: &Profile, case: &Case) -> (f64, f64) {
    let total = |profile: &Profile, here: bool| -> f64 {
        let rows = rows(profile);
        let matching = rows.iter().filter(|((layer, device, netns), _)| {
            *layer == case.layer && (!here || *netns == case.role && (case.device.is_empty() || device == case.device))
        });
        matching.map(|row| row.1).sum()
    };
    (total(with, true) - total(without, true), total(with, false) - total(without, false))
}

fn round_trip(standing: &Standing, duration: Duration) -> f64 {
    standing.measure(&arguments(duration, false)).unwrap().driven.benchmark.round_trip_ns.unwrap()
}

fn profile(standing: &Standing, duration: Duration) -> Profile {
    standing.measure(&arguments(duration, true)).unwrap().profile.unwrap()
}

/// Runs work on CPU 0, where the benchmark runs: the programs of a tunnel in user space stay where they were started, and a
/// round trip does not change with the CPU that one of them happens to be on.
fn on_first_cpu<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: sets of CPUs are made of integers, and outlive the calls, which affect this thread only.
    unsafe {
        let (mut before, mut first): (libc::cpu_set_t, libc::cpu_set_t) = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut before), 0);
        libc::CPU_SET(0, &mut first);
        assert_eq!(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const first), 0);
        let result = work();
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const before);
        result
    }
}

/// The network of a mode, or why this machine cannot have it.
fn build(mode: &str) -> Result<Standing, String> {
    match Standing::build(mode, &arguments(Duration::from_secs(1), false)) {
        Ok(standing) => Ok(standing),
        Err(error) if matches!(error.downcast_ref(), Some(Failure::Refused(_))) => Err(format!("{error:#}")),
        Err(error) => panic!("{mode}: {error:#}"),
    }
}

#[test]
fn rules_in_the_inner_bridge_are_not_found_in_the_outer_one() {
    let Some(_alone) = ready!("nsenter", "nft") else { return };
    let case = CASES.iter().find(|case| case.mode == "nested-bridge-bridge").unwrap();
    let standing = match build(case.mode) {
        Ok(standing) => standing,
        Err(reason) => skip!("{reason}"),
    };
    let duration = Duration::from_millis(1500);
    let without = profile(&standing, duration);
    let _injected = inject(&standing, case);
    let (here, anywhere) = more(&without, &profile(&standing, duration), case);
    // No more than that: machines that run tests are shared.
    assert!(here > 2_000.0 && here > 0.8 * anywhere, "{here:.0} ns at {}, {anywhere:.0} anywhere", case.device);
}

#[test]
#[ignore = "takes minutes; prints the table"]
fn table_of_injected_costs_by_mode() {
    let Some(_alone) = ready!("nsenter", "nft", "taskset", "chrt") else { return };
    let setting =
        |name: &str, default: &str| std::env::var(format!("NETSTRATA_TRUTH_{name}")).unwrap_or(default.into());
    let only = setting("ONLY", "");
    let count: usize = setting("PAIRS", "3").parse().unwrap();
    let duration = Duration::from_millis(setting("MILLISECONDS", "4000").parse().unwrap());
    // Not only the CPU of the benchmark: the programs of an overlay in user space run on any.
    let _awake = Awake::start(std::thread::available_parallelism().unwrap().get());
    println!(
        "mode, layer @ device in role: median of the round trip's difference; found there; found in the layer anywhere"
    );
    for case in CASES.iter().filter(|case| only.is_empty() || case.mode == only) {
        let standing = match on_first_cpu(|| build(case.mode)) {
            Ok(standing) => standing,
            Err(reason) => {
                say_left_out(test_name!(), case.mode, &reason);
                continue;
            }
        };
        let (mut truths, mut here, mut anywhere) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let trip = round_trip(&standing, duration);
            let without = profile(&standing, duration);
            let injected = inject(&standing, case);
            let with = profile(&standing, duration);
            let trip_with = round_trip(&standing, duration);
            drop(injected);
            let found = more(&without, &with, case);
            println!("# {} trip {trip:.0} -> {trip_with:.0}, found {:.0} of {:.0}", case.mode, found.0, found.1);
            let (before, after) = (rows(&without), rows(&with));
            let mut changes: Vec<_> =
                after.iter().map(|(row, time)| (time - before.get(row).copied().unwrap_or(0.0), row)).collect();
            changes.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
            for (change, (layer, device, netns)) in changes.iter().take(4) {
                println!("#   {change:+.0} ns {} @ {device} in {netns}", layer.name());
            }
            truths.push(trip_with - trip);
            here.push(found.0);
            anywhere.push(found.1);
        }
        let (truth, here, anywhere) = (median(&truths), median(&here), median(&anywhere));
        println!(
            "{:<21} {} @ {} in {}: {truth:.0} ns; {here:.0} ({:.1} %); {anywhere:.0} ({:.1} %)",
            case.mode,
            case.layer.name(),
            case.device,
            case.role,
            100.0 * here / truth,
            100.0 * anywhere / truth
        );
    }
}
