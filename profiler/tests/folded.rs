//! Recorded profiles of which paths are folded: figures stay, and every reader takes them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, path::Path};

use netstrata::{
    analysis::account,
    explain::explain,
    profile::{Profile, read},
    report,
};
use netstrata_common::Layer;

fn recorded(name: &str) -> Profile {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/profiles").join(name)).unwrap()
}

fn folded(name: &str, budget: usize) -> Profile {
    let mut profile = recorded(name);
    profile.fold(budget);
    profile
}

const NAMES: [&str; 4] = ["tcp-rr-bridge.prof", "tcp-rr-host.prof", "tcp-stream-bridge.prof", "tcp-stream-host.prof"];

fn layers(profile: &Profile) -> BTreeMap<Layer, u64> {
    account(profile).layers.iter().map(|(layer, total)| (*layer, total.latency_ns)).collect()
}

#[test]
fn layers_and_packets_of_recorded_profiles_stay() {
    for name in NAMES {
        let (before, profile) = (recorded(name), folded(name, 1));
        assert!(profile.folded().0 > 0, "{name}");
        let (one, other) = (account(&before), account(&profile));
        assert!((one.packets - other.packets).abs() < 1e-6 * one.packets, "{name}");
        assert!(other.paths.iter().all(netstrata::analysis::PathAccount::is_closed));
        let spans = |profile: &Profile| {
            let mut plain = profile.clone();
            plain.cpu.entries.iter_mut().chain(&mut plain.cpu.bursts).for_each(|sample| sample.place = None);
            layers(&plain)
        };
        // By spans exactly; what samples split further is split by those of all devices of a kind.
        assert_eq!(spans(&before), spans(&profile), "{name}");
        let (one, other) = (layers(&before), layers(&profile));
        let rest: u64 = profile.paths.iter().filter(|path| path.folded.is_some()).map(|path| path.end_to_end.sum).sum();
        for layer in one.keys().chain(other.keys()) {
            let of = |layers: &BTreeMap<Layer, u64>| layers.get(layer).copied().unwrap_or(0);
            let off = of(&one).abs_diff(of(&other)) as f64 / rest as f64;
            assert!(off < 0.1, "{name}: {layer:?} {} {} {rest}", of(&one), of(&other));
        }
    }
}

#[test]
fn a_folded_path_says_what_it_stands_for() {
    let profile = folded("tcp-rr-bridge.prof", 0);
    let account = account(&profile);
    let text = report::text::render(&profile, &account);
    assert!(text.contains(" paths of little time are told together"), "{text}");
    assert!(text.contains("any namespace ->") && text.contains("any bridge port"), "{text}");
    let json = report::json::value(&profile, &account);
    assert_eq!(json["meta"]["folded_paths"], profile.folded().0);
    assert!(json["paths"].as_array().unwrap().iter().all(|path| path["folded_paths"].as_u64().unwrap() > 0));
}

#[test]
fn what_is_folded_is_explained() {
    let labels = ["host".to_owned(), "bridge".to_owned()];
    for [host, bridge] in
        [["tcp-rr-host.prof", "tcp-rr-bridge.prof"], ["tcp-stream-host.prof", "tcp-stream-bridge.prof"]]
    {
        let whole = explain(&recorded(host), &recorded(bridge), &labels).unwrap();
        let less = explain(&folded(host, 4), &folded(bridge, 4), &labels).unwrap();
        let shares = [whole.explained_share, less.explained_share].map(|share| share.unwrap_or(0.0));
        assert!((shares[0] - shares[1]).abs() < 0.1, "{host} {bridge}: {shares:?}");
    }
}
