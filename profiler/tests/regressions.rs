//! Regressions made by hand in the lab's networks, and undone: each is `regressed`, in the layer that it was put into and with its cause.
//! Needs root. All of them, with what `check` says:
//! `cargo test --release --test regressions -- --ignored --nocapture --test-threads=1`

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::time::Duration;

use netstrata::{
    cli::{LabRunArgs, Pin, TierArg},
    failure::Failure,
    lab::Standing,
    profile,
};
use serde_json::Value;
use support::{command, directory::Directory, errors, netstrata, ready::say_skipped, succeeded};

/// A regression: what is done to a network, and what must be found.
struct Case {
    name: &'static str,
    mode: &'static str,
    workload: &'static str,
    size: u64,
    /// Role of the namespace in which the commands run, and a shell command for each side, before and after.
    role: &'static str,
    set_up: [&'static str; 2],
    /// Figures one of which must be named as regressed: they begin so.
    layers: &'static [&'static str],
    /// The causes one of which must be told.
    causes: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "bridge-nf-call switched on",
        mode: "bridge",
        workload: "tcp-rr",
        size: 64,
        role: "middle",
        // As a host has it whose engine filters what its containers say to each other.
        set_up: [
            "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
            r#"nft list table ip made >/dev/null 2>&1 || {
                nft 'add table ip made; add chain ip made f { type filter hook forward priority 0; }'
                awk 'BEGIN { for (i = 0; i < 200; i++) print "add rule ip made f ip saddr 192.0.2." i " drop" }' | nft -f -
                nft add rule ip made f ct state established,related accept
            }
            sysctl -qw net.bridge.bridge-nf-call-iptables=1"#,
        ],
        layers: &["netfilter", "conntrack"],
        causes: &["netfilter", "conntrack-nat"],
    },
    Case {
        name: "500 rules added",
        mode: "bridge",
        workload: "tcp-rr",
        size: 64,
        role: "middle",
        set_up: [
            "nft delete table bridge made 2>/dev/null; true",
            r#"nft list table bridge made >/dev/null 2>&1 || {
                nft 'add table bridge made; add chain bridge made f { type filter hook forward priority 0; }'
                awk 'BEGIN { for (i = 0; i < 500; i++) printf "add rule bridge made f ether saddr 02:00:00:00:01:%02x drop\n", i % 256 }' |
                    nft -f -
            }"#,
        ],
        layers: &["netfilter"],
        causes: &["netfilter"],
    },
];

/// Sets the network up as it was, however a case ends.
struct Undo<'a>(&'a Standing, &'a Case);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        set_up(self.0, self.1, 0);
    }
}

fn inside(standing: &Standing, role: &str, script: &str) {
    let namespace = format!("--net={}", standing.namespace(role).to_str().unwrap());
    succeeded(&command(&["nsenter", &namespace, "sh", "-c", script]).output().unwrap());
}

fn set_up(standing: &Standing, case: &Case, side: usize) {
    inside(standing, case.role, case.set_up[side]);
}

fn arguments(case: &Case, output: &Directory) -> LabRunArgs {
    LabRunArgs {
        workload: case.workload.into(),
        size: vec![case.size],
        output: output.file(""),
        duration: Duration::from_millis(500),
        pairs: 1,
        repeat: 1,
        pin: Pin::Same,
        budget: Some(0.05),
        tier: TierArg::Tracepoint,
        ..LabRunArgs::default()
    }
}

/// Records both ways in turns until it is decided; the check as JSON and as text, or why this machine cannot.
fn checked(case: &Case, most: u32) -> Result<(Value, String), String> {
    let directory = Directory::new();
    let args = arguments(case, &directory);
    let standing = match Standing::build(case.mode, &args) {
        Ok(standing) => standing,
        Err(error) if matches!(error.downcast_ref(), Some(Failure::Refused(_))) => return Err(format!("{error:#}")),
        Err(error) => panic!("{}: {error:#}", case.name),
    };
    let _undo = Undo(&standing, case);
    let (before, after) = (directory.word("before"), directory.word("after"));
    let words = ["check", &after, "--against", &before];
    for pair in 1..=most {
        for side in [0, 1].map(|at| (at + pair as usize) % 2) {
            set_up(&standing, case, side);
            let file = format!("{}-{pair}.prof", ["before", "after"][side]);
            profile::write(&standing.measure(&args).unwrap().profile.unwrap(), &directory.file(&file)).unwrap();
        }
        if [6, 12, 24].contains(&pair) {
            let output = netstrata(&[&words[..], &["--format", "json"]].concat());
            let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", errors(&output)));
            if found["verdict"] != "undecided" || pair == most {
                let text = netstrata(&words);
                return Ok((found, String::from_utf8_lossy(&text.stdout).into_owned()));
            }
        }
    }
    unreachable!("the last pair is a look");
}

/// What is wrong with a verdict.
fn complaint(case: &Case, found: &Value) -> Option<String> {
    let regressed: Vec<&str> = [&found["total"]]
        .into_iter()
        .chain(found["figures"].as_array().unwrap())
        .filter(|figure| figure["verdict"] == "regressed")
        .filter_map(|figure| figure["title"].as_str())
        .collect();
    let causes: Vec<&str> =
        found["causes"].as_array().unwrap().iter().filter_map(|cause| cause["name"].as_str()).collect();
    let layer = regressed.iter().any(|title| case.layers.iter().any(|layer| title.contains(layer)));
    let cause = causes.iter().any(|name| case.causes.contains(name));
    (found["verdict"] != "regressed" || !layer || !cause)
        .then(|| format!("{}: {}, {regressed:?}, {causes:?}", case.name, found["verdict"]))
}

#[test]
#[ignore = "takes minutes; prints what check says"]
fn every_regression_is_found_in_its_layer_with_its_cause() {
    let Some(_alone) = ready!("nsenter", "nft", "ethtool", "sysctl") else { return };
    let only = std::env::var("NETSTRATA_REGRESSION").unwrap_or_default();
    let mut complaints = Vec::new();
    for case in CASES.iter().filter(|case| case.name.contains(&only)) {
        println!("\n## {}\n", case.name);
        match checked(case, 24) {
            Ok((found, text)) => {
                println!("{text}");
                complaints.extend(complaint(case, &found));
            }
            Err(reason) => say_skipped(test_name!(), &format!("{}: {reason}", case.name)),
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}
