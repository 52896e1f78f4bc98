//! The evidence of `check`: checks of the same work, of which none may alarm, and costs of 1 %, which must be found and named.
//!
//! Takes half an hour of one CPU where nothing is recorded yet; recordings are kept in `target/evidence` and serve again:
//! `cargo test --release --test evidence -- --ignored --exact evidence --nocapture`
//! prints the tables; with `NETSTRATA_BLESS=1` it writes them into `docs/ci.md`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use netstrata::{
    choices::{Clock, DEFAULT_KERNEL, NS_PER_INSTRUCTION, find_kernel},
    cli::LabRunArgs,
    lab::Standing,
    machine::run::{Job, run},
    profile,
};
use serde_json::Value;
use support::{NETSTRATA, directory::Directory, errors, inject, netstrata};

/// Layouts of boots.
const LAYOUTS: u32 = 20;
/// How long a counted recording measures.
const COUNTED: Duration = Duration::from_millis(500);
/// Iterations of the program at the tc hook in every recording, so that only the cost differs.
const BASE: i32 = 1;
/// What an iteration takes: three instructions.
const ITERATION_NS: i32 = 3 * NS_PER_INSTRUCTION as i32;
/// The layer whose span the hook is in, where neither samples nor hooks of functions split it.
const LAYER: &str = "ip service";
/// Sets of live recordings of each work, and recordings of a set: every other one is of the baseline.
const LIVE_SETS: u32 = 16;
const LIVE_REPEATS: u32 = 12;
/// What is recorded live, between other programs.
const LIVE: [(&str, &[&str]); 3] = [
    ("rr", &["--workload", "tcp-rr"]),
    ("rr-pinned", &["--workload", "tcp-rr", "--pin", "same"]),
    ("stream", &["--workload", "tcp-stream"]),
];

/// What a boot has at the tc hook.
struct Put {
    name: &'static str,
    /// Iterations beside [`BASE`].
    more: i32,
    text: &'static str,
}

/// Two boots of the same, and one of each cost.
const PUTS: [Put; 4] = [
    Put { name: "one", more: 0, text: "" },
    Put { name: "other", more: 0, text: "" },
    Put { name: "trip", more: 35, text: "1 % of a round trip's work" },
    Put { name: "layer", more: 10, text: "1 % of the layer `ip`" },
];

fn place() -> PathBuf {
    let kept = std::env::var_os("NETSTRATA_EVIDENCE").map(PathBuf::from);
    kept.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/evidence"))
}

fn boot_file(put: &str, layout: u32) -> PathBuf {
    place().join("counted").join(format!("{put}-{layout}.prof"))
}

/// The part in the machine: a bridge with a program where requests come to the server, and its recording.
#[test]
#[ignore = "runs in an emulated machine"]
fn in_machine() {
    let file = PathBuf::from(std::env::var_os("NETSTRATA_EVIDENCE_FILE").unwrap());
    let loops: i32 = std::env::var("NETSTRATA_EVIDENCE_LOOPS").unwrap().parse().unwrap();
    let args = LabRunArgs {
        workload: "tcp-rr".into(),
        output: file.parent().unwrap().to_owned(),
        duration: COUNTED,
        pairs: 1,
        repeat: 1,
        clock: Clock::Instructions,
        ..LabRunArgs::default()
    };
    let standing = Standing::build("bridge", &args).unwrap();
    let server = standing.namespace("server").to_str().unwrap().to_owned();
    // BPF_TCX_INGRESS: not at a port of the bridge, whose table is hashed with a number that each boot draws.
    let program = inject::counted(loops, inject::TC_ACT_UNSPEC);
    let _link = inject::link(&program, &server, "eth0", 46);
    profile::write(&standing.measure(&args).unwrap().profile.unwrap(), &file).unwrap();
}

/// Boots what is missing, as many as may be.
fn boot(most: usize) {
    let directory = place().join("counted");
    fs::create_dir_all(&directory).unwrap();
    let wanted = (1..=LAYOUTS).flat_map(|layout| PUTS.iter().map(move |put| (layout, put)));
    let missing = wanted.filter(|(layout, put)| !boot_file(put.name, *layout).exists());
    for (layout, put) in missing.take(most) {
        let file = boot_file(put.name, layout);
        // SAFETY: this test runs alone, and no other thread of it reads the environment meanwhile.
        unsafe {
            std::env::set_var("NETSTRATA_EVIDENCE_FILE", &file);
            std::env::set_var("NETSTRATA_EVIDENCE_LOOPS", (BASE + put.more).to_string());
        }
        let own = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
        let words = ["--ignored", "--exact", "in_machine", "--nocapture"].map(str::to_owned);
        let ended = run(&Job {
            kernel: find_kernel(DEFAULT_KERNEL).unwrap(),
            clock: Clock::Instructions,
            layout,
            command: [own].into_iter().chain(words).collect(),
            shares: vec![directory.clone()],
            limit: Duration::from_secs(900),
            cpus: 1,
        });
        assert_eq!(ended.unwrap().exit_code, 0, "{}", file.display());
        assert!(file.is_file(), "{}", file.display());
    }
}

/// Records live what is missing.
fn record_live() {
    for (name, words) in LIVE {
        for set in 1..=LIVE_SETS {
            let directory = place().join("live").join(format!("{name}-{set}"));
            if directory.join("comparison.json").exists() {
                continue;
            }
            let mut command = Command::new(NETSTRATA);
            command.args(["lab", "run", "bridge"]).args(words);
            command.args(["--duration", "500ms", "--repeat", &LIVE_REPEATS.to_string(), "-o"]).arg(&directory);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", errors(&output));
        }
    }
}

/// Chance that is the same each time (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % count as u64) as usize
    }

    /// So many of some, in an order by chance.
    fn draw<T>(&mut self, mut from: Vec<T>, count: usize) -> Vec<T> {
        (0..count).map(|_| from.swap_remove(self.below(from.len()))).collect()
    }
}

/// What checks found.
#[derive(Default)]
struct Tally {
    checks: usize,
    regressed: usize,
    improved: usize,
    undecided: usize,
    /// Checks that named a layer, a count or a wait.
    named: usize,
    /// Checks that named what was wanted as changed.
    found: usize,
    /// What was named, for people.
    said: Vec<String>,
    /// The change of the total and of the wanted layer, added up.
    changes: [f64; 2],
}

/// A check of pairs, each the baseline's and the target's file.
fn check(pairs: &[(PathBuf, PathBuf)], wanted: &str, tally: &mut Tally) {
    let directory = Directory::new();
    for (at, (baseline, target)) in pairs.iter().enumerate() {
        for (side, file) in [("baseline", baseline), ("target", target)] {
            fs::copy(file, directory.file(&format!("{side}-{}.prof", at + 1))).unwrap();
        }
    }
    let words = ["check", &directory.word("target"), "--against", &directory.word("baseline"), "--format", "json"];
    let output = netstrata(&words);
    assert!(matches!(output.status.code(), Some(0 | 1 | 4)), "{}", errors(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let changed = |figure: &&Value| figure["verdict"] == "regressed" || figure["verdict"] == "improved";
    let change = |figure: &Value| figure["change"].as_f64().unwrap_or(0.0);
    let figures = found["figures"].as_array().unwrap();
    let named: Vec<&Value> = figures.iter().filter(changed).collect();
    tally.checks += 1;
    tally.regressed += usize::from(found["verdict"] == "regressed");
    tally.improved += usize::from(found["verdict"] == "improved");
    tally.undecided += usize::from(found["verdict"] == "undecided");
    tally.named += usize::from(!named.is_empty());
    let is_wanted = |figure: &Value| figure["title"] == wanted && figure["verdict"] == "regressed";
    tally.found += usize::from(named.iter().any(|figure| is_wanted(figure)));
    let wanted_change = figures.iter().find(|figure| figure["title"] == wanted).map_or(0.0, change);
    for (sum, change) in tally.changes.iter_mut().zip([change(&found["total"]), wanted_change]) {
        *sum += change;
    }
    tally.said.extend(named.iter().map(|figure| format!("{} {}", figure["title"], figure["change"])));
}

/// A pair of one layout: this layout's boot with `put`, against one of its two plain boots by chance.
fn of_layout(layout: u32, put: Option<&str>, chance: &mut Chance) -> (PathBuf, PathBuf) {
    let plain = ["one", "other"];
    let first = chance.below(2);
    let target = put.unwrap_or(plain[1 - first]);
    (boot_file(plain[first], layout), boot_file(target, layout))
}

/// So many checks of counted boots, each of so many pairs.
fn counted(put: Option<&str>, pairs: usize, checks: usize, wanted: &str) -> Tally {
    let mut chance = Chance(pairs as u64);
    let mut tally = Tally::default();
    for _ in 0..checks {
        let layouts = chance.draw((1..=LAYOUTS).collect(), pairs);
        let drawn: Vec<_> = layouts.into_iter().map(|layout| of_layout(layout, put, &mut chance)).collect();
        check(&drawn, wanted, &mut tally);
    }
    tally
}

/// The same of pairs whose two boots differ in layout.
fn across_layouts(pairs: usize, checks: usize) -> Tally {
    let mut chance = Chance(pairs as u64);
    let mut tally = Tally::default();
    for _ in 0..checks {
        let boots = (1..=LAYOUTS).flat_map(|layout| ["one", "other"].map(|put| boot_file(put, layout)));
        let drawn = chance.draw(boots.collect(), 2 * pairs);
        check(&drawn.chunks(2).map(|two| (two[0].clone(), two[1].clone())).collect::<Vec<_>>(), "", &mut tally);
    }
    tally
}

/// A check of each live set: its recordings in turns.
fn live(name: &str) -> Tally {
    let mut tally = Tally::default();
    for set in 1..=LIVE_SETS {
        let file = |number: u32| place().join(format!("live/{name}-{set}/bridge-{number}.prof"));
        let pairs: Vec<_> = (0..LIVE_REPEATS / 2).map(|at| (file(2 * at + 1), file(2 * at + 2))).collect();
        check(&pairs, "", &mut tally);
    }
    tally
}

fn false_alarms() -> (String, usize, usize) {
    let mut out = String::from(
        "| checks of the same work | checks | pairs | `regressed` | `improved` | a layer, count or wait named | undecided |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let (mut checks, mut alarms) = (0, 0);
    let live = LIVE.map(|(name, words)| (format!("live, `{}`", words.join(" ")), 6, live(name)));
    let counted =
        [6, 12].map(|pairs| ("counted, both of a pair of one layout".to_owned(), pairs, counted(None, pairs, 84, "")));
    let across = [6, 12]
        .map(|pairs| ("counted, both of a pair of different layouts".to_owned(), pairs, across_layouts(pairs, 42)));
    for (what, pairs, tally) in live.into_iter().chain(counted).chain(across) {
        let Tally { checks: of, regressed, improved, named, undecided, said, .. } = tally;
        out += &format!("| {what} | {of} | {pairs} | {regressed} | {improved} | {named} | {undecided} |\n");
        said.iter().for_each(|said| eprintln!("named: {what}, {pairs} pairs: {said}"));
        checks += of;
        alarms += regressed + improved + named;
    }
    (out, checks, alarms)
}

fn found() -> (String, Vec<(usize, usize)>) {
    let mut out = String::from(
        "| put in | ns | checks | pairs | mean change of the total, of the layer | `regressed` | the layer named | undecided |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut all = Vec::new();
    for put in PUTS.iter().filter(|put| put.more > 0) {
        for pairs in [6, 12] {
            let tally = counted(Some(put.name), pairs, 100, LAYER);
            let Tally { checks, regressed, found, undecided, changes, .. } = tally;
            let [total, layer] = changes.map(|sum| 100.0 * sum / checks as f64);
            let (what, ns) = (put.text, put.more * ITERATION_NS);
            out += &format!(
                "| {what} | {ns} | {checks} | {pairs} | {total:+.2} %, {layer:+.2} % | {regressed} | {found} | {undecided} |\n"
            );
            all.push((pairs, found));
        }
    }
    (out, all)
}

#[test]
#[ignore = "takes half an hour; see the head of this file"]
fn evidence() {
    let Some(_alone) = ready!("qemu-system-x86_64") else { return };
    let most = std::env::var("NETSTRATA_EVIDENCE_BOOTS").map_or(usize::MAX, |most| most.parse().unwrap());
    boot(most);
    if most < usize::MAX {
        return;
    }
    record_live();
    let (alarms, checks, alarmed) = false_alarms();
    let (costs, named) = found();
    println!("{alarms}\n{costs}");
    if std::env::var_os("NETSTRATA_BLESS").is_some() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci.md");
        let text = fs::read_to_string(&page).unwrap();
        let (before, rest) = text.split_once("<!-- evidence: begin -->\n").unwrap();
        let (_, after) = rest.split_once("<!-- evidence: end -->").unwrap();
        let made = format!("{before}<!-- evidence: begin -->\n{alarms}\n{costs}<!-- evidence: end -->{after}");
        fs::write(&page, made).unwrap();
    }
    assert_eq!(alarmed, 0, "of {checks} checks of the same work");
    assert!(checks >= 300);
    assert!(named.iter().all(|(_, found)| *found >= 95), "{named:?}");
}
