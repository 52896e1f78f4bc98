//! What a recording takes from the throughput of a busy host: one benchmark with fifty pairs goes on, recordings come and
//! go, and the packets that the kernel receives meanwhile are compared with those before and after. Machines that run tests
//! are shared and change their speed, so that the figures of whole runs vary by more than a recording costs.
//! `cargo test --release --test observer_loss -- --ignored --nocapture` prints the table.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use netstrata::lab::compare::Figure;
use support::succeeded;

const NETSTRATA: &str = env!("CARGO_BIN_EXE_netstrata");
/// Prints the time and what each CPU received, waits, and prints them again.
const WATCH: &str = "w() { cut -d' ' -f1 /proc/uptime; cut -d' ' -f1 /proc/net/softnet_stat; }; w; sleep 1.5; echo; w";
/// Until the pairs of a benchmark are connected and warm.
const WARM_UP: Duration = Duration::from_secs(4);

/// A benchmark that goes on, ended when it is dropped.
struct Benchmark(Child);

impl Benchmark {
    fn start(mode: &str, directory: &Path, seconds: usize) -> Self {
        let words = ["lab", "run", mode, "--workload", "tcp-rr", "--pairs", "50", "--no-record", "--duration"];
        let child = Command::new(NETSTRATA)
            .args(words)
            .args([&format!("{seconds}s"), "-o"])
            .arg(directory.join("run"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(WARM_UP);
        Self(child)
    }
}

impl Drop for Benchmark {
    fn drop(&mut self) {
        // SAFETY: a plain system call on a child that has not been waited for.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        let _ = self.0.wait();
    }
}

/// Packets a second that the kernel received while a command watched.
fn rate(command: &mut Command) -> f64 {
    let text = succeeded(&["watch"], &command.stdin(Stdio::null()).output().unwrap());
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
    let directory = std::env::temp_dir().join(format!("netstrata-loss-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    println!("mode: packets a second without a recording; median loss while one runs, its interval");
    for mode in ["bridge", "macvlan", "vxlan"] {
        let _benchmark = Benchmark::start(mode, &directory, 12 + 6 * recordings);
        let without = || rate(Command::new("sh").args(["-c", WATCH]));
        let mut before = without();
        let mut losses = Vec::new();
        for _ in 0..recordings {
            let words = ["record", "-o", directory.join("loss.prof").to_str().unwrap(), "--", "sh", "-c", WATCH]
                .map(str::to_owned);
            let with = rate(Command::new(NETSTRATA).args(words));
            let after = without();
            losses.push(100.0 * (1.0 - 2.0 * with / (before + after)));
            before = after;
        }
        let loss = Figure::new(losses).unwrap();
        let [low, high] = loss.interval;
        println!("{mode}: {before:.0} /s; {:.1} % ({low:.1} ... {high:.1}, {})", loss.median, loss.interval_kind);
    }
    fs::remove_dir_all(&directory).unwrap();
}
