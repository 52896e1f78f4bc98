//! What devices transmitted and received is what journeys tell of, or told as unseen. Live; needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use netstrata::{
    analysis::{Conserved, Side, passed},
    profile::{Profile, read},
};
use netstrata_common::End;
use support::{
    counters::{self, set_option},
    directory::Directory,
    netstrata,
    network::Network,
    recording::Recording,
    run, succeeded,
    traffic::Traffic,
};

const PORT: u16 = 5340;

/// Sends so many frames through a packet socket that hands them to the device without its queue.
fn bypass(device: &str, frames: usize) {
    const LENGTH: usize = 60;
    let name = std::ffi::CString::new(device).unwrap();
    // SAFETY: the name outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0);
    let everything = i32::from((libc::ETH_P_ALL as u16).to_be());
    // SAFETY: the descriptor is new, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_PACKET, libc::SOCK_RAW, everything)) };
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1);
    // SAFETY: an address of zeros is one.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    (to.sll_family, to.sll_ifindex, to.sll_halen) = (libc::AF_PACKET as u16, index as i32, 6);
    let mut frame = [0_u8; LENGTH];
    // For everybody, of a protocol for experiments.
    frame[..6].fill(0xff);
    frame[12..14].copy_from_slice(&0x88b5_u16.to_be_bytes());
    for _ in 0..frames {
        // SAFETY: frame and address outlive the call.
        let sent = unsafe {
            let length = size_of_val(&to) as u32;
            libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), LENGTH, 0, (&raw const to).cast(), length)
        };
        assert_eq!(sent, LENGTH as isize);
    }
}

/// All packets of some work followed, in a network.
fn record(work: impl FnOnce(&Network)) -> (Network, Profile) {
    let (network, directory) = (Network::bridge(), Directory::new());
    let file = directory.file("conserved");
    let recording = Recording::start(&file, &["--sample-every", "1", "--frequency", "0"]);
    work(&network);
    let profile = recording.stop(&file);
    (network, profile)
}

/// What passed devices of the network.
fn here(network: &Network, profile: &Profile) -> Vec<Conserved> {
    let inodes = ["client", "middle", "server"].map(|side| network.inode(side));
    passed(profile).into_iter().filter(|sent| inodes.contains(&sent.netns)).collect()
}

#[test]
fn every_packet_that_a_device_transmitted_or_received_is_of_a_journey() {
    let Some(_alone) = ready!("nsenter", "ip") else { return };
    let (network, profile) = record(|network| {
        counters::tcp(network, PORT, 16 << 20);
    });
    let all = here(&network, &profile);
    // Both sides' devices and both ports of the bridge.
    for side in Side::ALL {
        assert!(all.iter().filter(|sent| sent.side == side && sent.counted > 50).count() >= 4, "{all:?}");
    }
    for sent in &all {
        assert_eq!(sent.unseen(), 0, "{sent:?}");
        // Nor are there more than were counted, of packets that are many on a wire.
        let open = (sent.counted / 50 + 10) as f64;
        assert!((sent.journeys - sent.counted as f64).abs() <= open, "{sent:?}");
    }
}

#[test]
fn those_that_are_followed_stand_for_all_where_each_has_a_long_way() {
    let Some(_alone) = ready!("ip") else { return };
    let directory = Directory::new();
    // One packet after another, each of which comes to a queue four times: after a followed one the same crossing of the next would be
    // chosen too often, if the followed one's did not count.
    let words =
        ["lab", "run", "nested-bridge-bridge", "--workload", "tcp-rr", "--duration", "2s", "--sample-every", "2"];
    succeeded(&netstrata(&[&words[..], &["-o", &directory.word("")]].concat()));
    let profile = read(&directory.file("nested-bridge-bridge.prof")).unwrap();
    let all: Vec<Conserved> = passed(&profile).into_iter().filter(|sent| sent.counted > 1000).collect();
    assert!(all.len() >= 16, "{all:?}");
    for sent in &all {
        // Each of these is followed, and counts for two, or is not: five standard deviations of that.
        let chance = 5.0 * (sent.counted as f64).sqrt() + 10.0;
        assert!((sent.journeys - sent.counted as f64).abs() <= chance, "{sent:?}");
    }
}

#[test]
fn each_read_of_a_followed_packet_has_a_turnaround_that_stands_for_it() {
    let Some(_alone) = ready!("ip") else { return };
    // That of the next packet, which is followed, too, or is not; of client and server on one CPU.
    for every in [1, 8] {
        let directory = Directory::new();
        let words = format!("lab run bridge --workload tcp-rr --pin same --duration 2s --sample-every {every}");
        let words: Vec<&str> = words.split(' ').collect();
        succeeded(&netstrata(&[&words[..], &["-o", &directory.word("")]].concat()));
        let profile = read(&directory.file("bridge.prof")).unwrap();
        let read: u64 = profile.paths.iter().filter(|path| path.end == End::Copied).map(|path| path.packets).sum();
        let turns: u64 = profile.turnarounds.iter().map(|turn| turn.ns.count).sum();
        assert!(read > 1000, "{read}");
        // But those that were waited for at the end; two threads that share a place are one pair in a thousand.
        let open = 100 * every + read / 100;
        assert!((read - open..=read + open).contains(&turns), "1 in {every}: {turns} turnarounds of {read} reads");
    }
}

#[test]
fn turnarounds_are_of_what_filters_ask_for() {
    let Some(_alone) = ready!("nsenter", "ip") else { return };
    let (network, directory) = (Network::bridge(), Directory::new());
    for (netns, is_any) in [("/proc/self/ns/net".to_owned(), false), (network.namespace("client"), true)] {
        let file = directory.file("asked");
        let recording = Recording::start(&file, &["--sample-every", "1", "--frequency", "0", "--netns", &netns]);
        let _server = Traffic::REQUESTS.serve(&network);
        run(&Traffic::REQUESTS.client(&network));
        let profile = recording.stop(&file);
        assert_eq!((!profile.turnarounds.is_empty(), !profile.paths.is_empty()), (is_any, is_any), "{netns}");
    }
}

#[test]
fn frames_that_bypass_the_queue_are_told_as_unseen() {
    const FRAMES: usize = 20_000;
    let Some(_alone) = ready!("nsenter", "ip") else { return };
    let (network, profile) = record(|network| {
        network.inside("client", || bypass("eth0", FRAMES)).join().unwrap();
    });
    let all = here(&network, &profile);
    let client = network.inode("client");
    let sent = all.iter().find(|sent| sent.netns == client && sent.device(&profile) == "eth0").unwrap();
    assert!(sent.side == Side::Transmitted && sent.counted >= FRAMES as u64, "{sent:?}");
    // A part of it is left to the edges of a recording.
    assert!((FRAMES as u64 * 9 / 10..=sent.counted).contains(&sent.unseen()), "{sent:?}");
    let judged = netstrata::analysis::account(&profile).trust;
    assert!(judged.reasons.iter().any(|reason| reason.starts_with("unseen: ")), "{judged:?}");
}
