//! What a recording takes from the throughput of a busy host: one benchmark with fifty pairs goes on, recordings come and
//! go, and the packets that the kernel receives meanwhile are compared with those before and after. Machines that run tests
//! are shared and change their speed, so that the figures of whole runs vary by more than a recording costs.
//! `cargo test --release --test observer_loss -- --ignored --nocapture` prints the table.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::process::Command;

use netstrata::lab::compare::Repeated;
use support::{NETSTRATA, directory::Directory, lab::Lab, succeeded};

/// Prints the time and what each CPU received, waits, and prints them again.
const WATCH: &str = "w() { cut -d' ' -f1 /proc/uptime; cut -d' ' -f1 /proc/net/softnet_stat; }; w; sleep 1.5; echo; w";

/// Packets a second that the kernel received while a command watched.
fn rate(command: &mut Command) -> f64 {
    let text = succeeded(&command.output().unwrap());
    let looks: Vec<(f64, u64)> = text
        .trim()
        .split("\n\n")
        .map(|look| {
            let (time, received) = look.split_once('\n').unwrap();
            let received = received.lines().map(|cpu| u64::from_str_radix(cpu, 16).unwrap()).sum();
            (time.parse().unwrap(), received)
        })
        .collect();
    (looks[1].1 - looks[0].1) as f64 / (looks[1].0 - looks[0].0)
}

#[test]
#[ignore = "takes minutes; prints the table"]
fn table_of_what_recordings_take() {
    let recordings: usize = std::env::var("NETSTRATA_LOSS_RECORDINGS").map_or(18, |count| count.parse().unwrap());
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    println!("mode: packets a second without a recording; median loss while one runs, its interval");
    for mode in ["bridge", "macvlan", "vxlan"] {
        let seconds = 12 + 6 * recordings as u32;
        let words = [mode, "--workload", "tcp-rr", "--pairs", "50", "--no-record", "--duration"];
        let mut benchmark = Lab::start(&[&words[..], &[&format!("{seconds}s")]].concat());
        benchmark.until_workers_of(1000 * seconds);
        let without = || rate(Command::new("sh").args(["-c", WATCH]));
        let mut before = without();
        let mut losses = Vec::new();
        for _ in 0..recordings {
            let file = directory.word("loss.prof");
            let words = ["record", "-o", &file, "--", "sh", "-c", WATCH];
            let with = rate(Command::new(NETSTRATA).args(words));
            let after = without();
            losses.push(100.0 * (1.0 - 2.0 * with / (before + after)));
            before = after;
        }
        benchmark.signal(libc::SIGTERM);
        benchmark.end();
        let loss = Repeated::new(losses).unwrap();
        let [low, high] = loss.interval;
        println!("{mode}: {before:.0} /s; {:.1} % ({low:.1} ... {high:.1}, {})", loss.median, loss.interval_kind);
    }
}
