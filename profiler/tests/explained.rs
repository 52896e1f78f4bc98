//! How much of a difference the layers answer for, on real traffic. Where instructions are the clock nothing disturbs a run, so what
//! is not explained there is wrong: `cargo xtask vm` runs it in such a machine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use serde_json::Value;
use support::{lab::Lab, netstrata, succeeded};

#[test]
fn layers_answer_for_what_bridges_and_tunnels_take() {
    let Some(_alone) = ready!() else { return };
    if !std::fs::read_to_string("/proc/cmdline").unwrap().contains("clock=instructions") {
        skip!("no clock of instructions: other programs share this machine");
    }
    let modes = ["host", "bridge", "ipip"];
    let words =
        ["--workload", "tcp-rr", "--duration", "2s", "--budget", "25%", "--tier", "tracepoint", "--frequency", "0"];
    let mut lab = Lab::start(&[&modes[..], &words].concat());
    let ended = lab.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let file = |mode: &str| lab.file(&format!("{mode}.prof")).to_str().unwrap().to_owned();
    for mode in &modes[1..] {
        let output = netstrata(&["explain", &file("host"), &file(mode), "--format", "json"]);
        let found: Value = serde_json::from_str(&succeeded(&output)).unwrap();
        let ends = &found["explained_share_interval"];
        let [low, high] = [0, 1].map(|end| ends[end].as_f64().unwrap());
        eprintln!("{mode}: {:.3} ({low:.3} to {high:.3})", found["explained_share"].as_f64().unwrap());
        assert!(low >= 0.8 && high <= 1.2, "{mode}: {low:.3} to {high:.3}");
    }
}
