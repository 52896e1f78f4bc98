//! Two emulated machines with a wire between their cards, each of which records itself: what journeys say that begin and end at a
//! card, against what the programs at both ends counted. Needs root and qemu.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::time::Duration;

use netstrata::{
    choices::{RunsOn, parse_runs_on},
    cli::{LabRunArgs, TierArg},
    lab::Measured,
    profile::{PathRecord, Peer, Profile},
};
use netstrata_common::{End, Layer, Loss, Point, Protocol};

/// The kernel of the machines.
fn kernel() -> RunsOn {
    let asked = std::env::var("NETSTRATA_WIRE_KERNEL").map(|kernel| format!("emulated:{kernel}"));
    parse_runs_on(asked.as_deref().unwrap_or("here")).unwrap()
}

/// What a mode gave; why this machine cannot run it.
fn measure(mode: &str, workload: &str) -> Result<Measured, String> {
    let args = LabRunArgs {
        workload: workload.into(),
        duration: Duration::from_secs(3),
        pairs: 1,
        repeat: 1,
        sample_every: Some(1),
        // Attaching hooks takes most of a minute in an emulated machine.
        tier: TierArg::Tracepoint,
        machine: kernel(),
        ..LabRunArgs::default()
    };
    match netstrata::lab::run_mode(mode, &args) {
        Ok(measured) => Ok(measured),
        Err(error) if netstrata::exit::code(&error) == 3 => Err(format!("{error:#}")),
        Err(error) => panic!("{mode}: {error:#}"),
    }
}

/// Paths of TCP that begin (0) or end (1) beyond the wire.
fn across(profile: &Profile, end: usize) -> impl Iterator<Item = &PathRecord> {
    profile.paths.iter().filter(move |path| path.protocol == Protocol::TCP && path.peers[end].is_some())
}

fn bytes<'a>(paths: impl Iterator<Item = &'a PathRecord>) -> u64 {
    paths.map(|path| path.payload_bytes).sum()
}

/// What both recordings say of the stream from client to server.
fn check(mode: &str, measured: &Measured, hosts: [&str; 2]) {
    let (client, server) = (measured.profile.as_ref().unwrap(), measured.server.as_ref().unwrap());
    let (sender, reader) = measured.driven.reports.as_ref().unwrap();
    let said = format!("{mode}: sent {}, read {}", sender.bytes, reader.bytes);
    // A packet holds 64 KiB at most; one may be on its way when it ends.
    let slack = |profile: &Profile| 65536 * (1 + profile.lost[&Loss::InFlightAtEnd] + profile.lost[&Loss::SlotBusy]);
    let ends = [End::Copied, End::Merged];
    let delivered = bytes(across(server, 0).filter(|path| ends.contains(&path.end)));
    let near = |what: &str, found: u64, counted: u64, slack: u64| {
        assert!(found.abs_diff(counted) <= counted / 100 + slack, "{said}; {what}: {found} bytes");
    };
    near("delivered", delivered, reader.bytes, slack(server));
    // The card took what was read, and what was sent again.
    let sent = bytes(across(client, 1));
    assert!(sent + slack(client) >= reader.bytes, "{said}; left by the card: {sent} bytes");
    for (profile, end, there) in [(client, 1, hosts[1]), (server, 0, hosts[0])] {
        let address = Some(Peer::Address(there.parse().unwrap()));
        assert!(across(profile, end).all(|path| path.peers[end] == address), "{mode}: {there}");
    }
    // A transmission that is complete is no drop, and a segment that arrives is TCP's from the card on.
    let of_drivers = server.drops.iter().chain(&client.drops).filter(|drop| drop.reason.ends_with("NOT_SPECIFIED"));
    let dropped: u64 = of_drivers.map(|drop| drop.count).sum();
    assert!(dropped * 100 <= server.paths.iter().map(|path| path.packets).sum::<u64>(), "{mode}: {dropped} drops");
    let began = |path: &&PathRecord| path.crossings[0].point == Point::Gro;
    let all: u64 = server.paths.iter().filter(began).map(|path| path.packets).sum();
    let tcp: u64 = across(server, 0).filter(began).map(|path| path.packets).sum();
    assert!(tcp * 10 >= all * 9, "{mode}: {tcp} of {all} packets that the card received are TCP's");
}

/// The layers of packets that came in at the card.
fn layers(profile: &Profile) -> Vec<Layer> {
    let account = netstrata::analysis::account(profile);
    let received = account.paths.iter().filter(|path| path.record.peers[0].is_some());
    received.flat_map(|path| path.spans.iter().filter_map(|span| span.layer)).collect()
}

#[test]
fn a_stream_between_two_cards_is_followed_from_its_sender_to_its_reader() {
    let Some(_alone) = ready!("qemu-system-x86_64") else { return };
    for (mode, hosts, forwards) in [
        ("nic-host", ["10.201.0.2", "10.201.0.3"], Layer::Ip),
        ("nic-bridge", ["10.201.0.2", "10.201.0.3"], Layer::Bridge),
    ] {
        let measured = match measure(mode, "tcp-stream") {
            Ok(measured) => measured,
            Err(reason) => skip!("{reason}"),
        };
        check(mode, &measured, hosts);
        let found = layers(measured.server.as_ref().unwrap());
        assert!(found.contains(&Layer::Gro) && found.contains(&forwards), "{mode}: {found:?}");
    }
}
