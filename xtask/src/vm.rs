//! `cargo xtask vm`: the live tests, built here, run as root in emulated machines with other kernels.
//!
//! `netstrata lab machine` does the booting. Each kernel has its turn, whatever became of the others; a kernel that cannot be
//! fetched is skipped, and says why. A machine keeps one CPU busy, so two run beside each other, and each one's output comes
//! when it has ended.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::cost;
use crate::exit::Exit;
use crate::run;
use crate::setup::{Voice, setup};
use crate::tally::Tally;
use crate::test::collect;

/// The live tests that run in every machine: file, names. An emulated processor is some thirty times slower, so it is those
/// that load programs, record, and look at what the kernel tells; what takes minutes there (Docker), or compares times
/// with a real machine's, runs on the running kernel only.
const LIVE: &[(&str, &[&str])] = &[
    ("lab", &["modes_that_few_kernels_have_show_their_layers_by_name_and_device", "wrong_words_are_wrong_usage"]),
    ("flows", &["a_flow_of_ipv6_is_found_behind_extensions_tags_and_in_tunnels_at_the_ports_that_devices_have"]),
    ("record", &["a_command_is_recorded_and_every_path_closes", "nothing_remains_in_the_kernel_after_kill_9"]),
    ("privileges", &["turns_observe_and_sample_with_what_is_kept"]),
    ("topology", &["a_scan_sees_kinds_masters_and_peers_across_namespaces"]),
];
/// Those that change what cannot be changed back run once, in a machine of their own. The last is that of a kernel that is locked
/// down, which stays so.
const CHANGING: &[(&str, &[&str])] = &[
    ("confined", &["memory_of_128_mib_is_enough_and_64_are_refused", "steps_of_the_clock_change_no_figure"]),
    ("confined", &["a_kernel_that_is_locked_down_is_named"]),
];
/// Those that run with all other tests in kernels that are built otherwise (real time, for clouds): with `cargo xtask vm` they
/// have all of [`LIVE`].
const FEW: &[(&str, &[&str])] = &[("record", &["a_command_is_recorded_and_every_path_closes"])];
/// Those that run where there are many CPUs, in a machine of their own.
const MANY_CPUS: &[(&str, &[&str])] = &[("confined", &["a_ping_pong_is_recorded_within_150_mib_on_however_many_cpus"])];
/// The live tests that compare times run once, where a clock that counts instructions makes two runs alike; so does one that
/// needs what the running kernel may lack.
const COUNTED: &[(&str, &[&str])] = &[
    ("functions", &["the_tiers_agree_on_the_same_traffic"]),
    ("explained", &["layers_answer_for_what_bridges_and_tunnels_take"]),
    ("lab", &["a_packet_goes_through_open_vswitchs_daemon_and_back"]),
    ("lab", &["modes_of_devices_that_one_kernel_has_show_their_layers_by_name_and_device"]),
    ("devices", &["requests_through_devices_of_many_kinds_have_their_layers_and_no_others"]),
];
const COUNTED_KERNEL: &str = "6.12";
/// Those that boot two machines themselves, with a wire between their cards; with all other tests they run on one kernel.
const WIRE: &[(&str, &[&str])] = &[("wire", &["a_stream_between_two_cards_is_followed_from_its_sender_to_its_reader"])];
/// Those that take a CPU away: minutes, in a machine of their own.
const HOTPLUG: &[(&str, &[&str])] = &[("hotplug", &["a_cpu_that_comes_back_is_sampled_again_and_journeys_go_on"])];
/// Variable that tells them the kernel.
const WIRE_KERNEL: &str = "NETSTRATA_WIRE_KERNEL";
/// The longest that they shall take in a machine, where nothing else runs beside it.
const SHALL_TAKE: Duration = Duration::from_secs(180);
/// After so long a machine is ended: processors that are shared with others may be half as fast.
const LIMIT: &str = "20m";
/// The same where many CPUs are emulated in turns.
const LIMIT_OF_MANY: &str = "30m";

/// Arguments of `vm`.
#[derive(Debug, Args)]
pub struct VmArgs {
    /// One of those that `netstrata lab machine --list` names, or all
    #[arg(long, default_value = "all")]
    kernel: String,
    /// How many CPUs each machine has; the live tests are then those about many of them
    #[arg(long, value_name = "N")]
    cpus: Option<u32>,
    /// A command for each machine; without it, the live tests
    #[arg(last = true)]
    command: Vec<String>,
}

/// Runs `cargo xtask vm`.
pub fn vm(args: &VmArgs) -> Result<()> {
    setup(Voice::Brief)?;
    if args.command.is_empty() {
        let what = args.cpus.map_or(Matrix::Whole, Matrix::Cpus);
        let tally = matrix(&args.kernel, what)?;
        println!("\n{tally}");
        if tally.failed() {
            bail!(Exit { code: 1, message: "tests failed in emulated machines".to_owned() });
        }
        return Ok(());
    }
    run::run(run::cargo().args(["build", "--release"]))?;
    let program = program()?;
    let mut failed = Vec::new();
    for kernel in kernels(&program, &args.kernel)? {
        eprintln!("\n== Linux {kernel}");
        let mut machine = Command::new(&program);
        machine.args(["lab", "machine", "--kernel", &kernel]);
        machine.args(args.cpus.map(|cpus| format!("--cpus={cpus}"))).arg("--").args(&args.command);
        if let Err(error) = run::run(&mut machine) {
            eprintln!("xtask: {error:#}");
            failed.push(kernel);
        }
    }
    if !failed.is_empty() {
        bail!(Exit { code: 1, message: format!("the command failed with Linux {}", failed.join(", ")) });
    }
    Ok(())
}

/// What is run in the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// With all other tests: the costs too, and of kernels that are built otherwise only a part.
    Part,
    /// All live tests on all kernels.
    Whole,
    /// The tests about many CPUs, in machines with so many.
    Cpus(u32),
}

/// What is done in a machine.
#[derive(Clone, Copy, Debug)]
enum Duty<'a> {
    /// A script of live tests.
    Tests(&'a str),
    /// A script of tests that boot machines themselves.
    Wire(&'a str),
    /// The costs of the kernel programs, against those on record.
    Costs,
}

impl Duty<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Tests(_) => "tests",
            Self::Wire(_) => "wire",
            Self::Costs => "costs",
        }
    }
}

/// A machine's turn.
#[derive(Clone, Debug)]
struct Round<'a> {
    kernel: String,
    clock: &'static str,
    cpus: Option<u32>,
    duty: Duty<'a>,
}

/// Runs the live tests in the machines, and prints a row for each.
pub fn matrix(kernel: &str, what: Matrix) -> Result<Tally> {
    run::run(run::cargo().args(["build", "--release"]))?;
    let program = program()?;
    let executables = executables()?;
    let script = |tests| script(tests, &executables);
    let (live, counted, changing) = (script(LIVE)?, script(COUNTED)?, script(CHANGING)?);
    let (few, many, wire, hotplug) = (script(FEW)?, script(MANY_CPUS)?, script(WIRE)?, script(HOTPLUG)?);
    let mut rounds = Vec::new();
    for kernel in kernels(&program, kernel)? {
        let round = |clock, duty| Round { kernel: kernel.clone(), clock, cpus: None, duty };
        let is_variant = kernel.contains('-');
        match what {
            Matrix::Cpus(cpus) => rounds.push(Round { cpus: Some(cpus), ..round("wall", Duty::Tests(&many)) }),
            Matrix::Part if is_variant => rounds.push(round("wall", Duty::Tests(&few))),
            Matrix::Part | Matrix::Whole => rounds.push(round("wall", Duty::Tests(&live))),
        }
        if kernel == COUNTED_KERNEL && !matches!(what, Matrix::Cpus(_)) {
            rounds.push(round("instructions", Duty::Tests(&counted)));
            rounds.push(round("wall", Duty::Tests(&changing)));
        }
        if what == Matrix::Whole && !is_variant {
            rounds.push(round("wall", Duty::Wire(&wire)));
            rounds.push(round("wall", Duty::Tests(&hotplug)));
        }
        if what == Matrix::Part && cost::KERNELS.contains(&kernel.as_str()) {
            rounds.push(round("instructions", Duty::Costs));
        }
    }
    let jobs = rounds.into_iter().map(|round| {
        let program = &program;
        move || take_turn(program, &round)
    });
    let mut rows = Vec::new();
    let mut all = Tally::default();
    for done in run::at_once(jobs.collect()) {
        let (row, tally) = done?;
        rows.push(row);
        all.add(tally);
    }
    println!(
        "\n{:<10} {:<12} {:<6} {:>8} {:>8} {:>8} {:>10} {:>8}",
        "kernel", "clock", "what", "passed", "failed", "skipped", "troubles", "seconds"
    );
    rows.iter().for_each(|row| println!("{row}"));
    Ok(all)
}

/// A machine's turn, from fetching its kernel to printing what it said; its row of the table, and its tally.
fn take_turn(program: &Path, round: &Round) -> Result<(String, Tally)> {
    let Round { kernel, clock, duty, .. } = round;
    let many = round.cpus.map(|cpus| format!(", {cpus} CPUs")).unwrap_or_default();
    let title = format!("== Linux {kernel}, clock: {clock}{many}, {}", duty.name());
    eprintln!("{title}: begins");
    let started = Instant::now();
    let (said, tally) = match (get(program, kernel), duty) {
        (Ok(()), Duty::Tests(script)) => in_machine(program, round, script)?,
        (Ok(()), Duty::Wire(script)) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).env(WIRE_KERNEL, kernel);
            judged(shell)?
        }
        (Ok(()), Duty::Costs) => cost::gate(program, kernel),
        (Err(reason), _) => {
            let mut tally = Tally::default();
            tally.left_out();
            (
                format!("skipped: {} in an emulated machine with Linux {kernel}: {reason}\n", duty.name()).into_bytes(),
                tally,
            )
        }
    };
    let took = started.elapsed();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{title}")?;
    out.write_all(&said)?;
    if took > SHALL_TAKE && round.cpus.is_none() {
        eprintln!("xtask: Linux {kernel} took {} s; it should be {} at most", took.as_secs(), SHALL_TAKE.as_secs());
    }
    Ok((row(round, &tally, took.as_secs()), tally))
}

fn row(Round { kernel, clock, duty, .. }: &Round, tally: &Tally, seconds: u64) -> String {
    let [passed, failed, skipped, troubles] = tally.columns();
    let duty = duty.name();
    format!("{kernel:<10} {clock:<12} {duty:<6} {passed:>8} {failed:>8} {skipped:>8} {troubles:>10} {seconds:>8}")
}

/// The program that boots machines and runs in them.
pub fn program() -> Result<PathBuf> {
    Ok(run::target_directory()?.join("release/netstrata"))
}

/// The kernels that are asked for, of those that there are.
pub fn kernels(program: &Path, asked: &str) -> Result<Vec<String>> {
    let known = run::output(Command::new(program).args(["lab", "machine", "--list"]))?;
    let known: Vec<String> = known.lines().map(str::to_owned).collect();
    match asked {
        "all" => Ok(known),
        _ if known.iter().any(|kernel| kernel == asked) => Ok(vec![asked.to_owned()]),
        _ => bail!(Exit::unusable(format!("there is no kernel {asked}; there is: {}, all", known.join(", ")))),
    }
}

/// Fetches a kernel; the error is the reason why it cannot be had.
pub fn get(program: &Path, kernel: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(["lab", "machine", "--kernel", kernel, "--get"]).stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.trim().lines().last().unwrap_or("it does not say why").to_owned())
}

fn in_machine(program: &Path, round: &Round, script: &str) -> Result<(Vec<u8>, Tally)> {
    let mut machine = Command::new(program);
    machine.args(["lab", "machine", "--kernel", &round.kernel, "--clock", round.clock]);
    machine.args(round.cpus.map(|cpus| format!("--cpus={cpus}")));
    let limit = if round.cpus.is_some() { LIMIT_OF_MANY } else { LIMIT };
    machine.args(["--limit", limit, "--", "sh", "-c", script]);
    judged(machine)
}

/// Runs tests; what they said. A machine that died or took too long has failed, whatever its tests had said by then.
fn judged(command: Command) -> Result<(Vec<u8>, Tally)> {
    let (said, mut tally, succeeded) = collect(command)?;
    if !succeeded && !tally.failed() {
        tally.went_wrong();
    }
    Ok((said, tally))
}

/// All tests that are chosen here.
fn named() -> impl Iterator<Item = &'static (&'static str, &'static [&'static str])> {
    LIVE.iter().chain(COUNTED).chain(CHANGING).chain(FEW).chain(MANY_CPUS).chain(WIRE).chain(HOTPLUG)
}

/// Builds the live tests without running them; their names and files.
fn executables() -> Result<Vec<(String, PathBuf)>> {
    let mut command = run::cargo();
    command.args(["test", "--release", "--no-run", "--message-format=json", "--package", "netstrata"]);
    let files: BTreeSet<&str> = named().map(|(file, _)| *file).collect();
    for file in files {
        command.args(["--test", file]);
    }
    eprintln!("$ {}", run::shown(&command));
    let said = run::output(&mut command)?;
    Ok(said.lines().filter_map(executable).collect())
}

/// The name and file of a test in a line of cargo's messages.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?;
    let is_test = target.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
    let file = message.get("executable")?.as_str()?;
    is_test.then(|| (target["name"].as_str().unwrap_or_default().to_owned(), file.into()))
}

/// A script that runs every file with its tests, and fails if one of them does.
fn script(tests: &[(&str, &[&str])], executables: &[(String, PathBuf)]) -> Result<String> {
    let directory = run::workspace().join("profiler");
    let mut script = format!("cd '{}' || exit 2\nresult=0\n", directory.display());
    for (file, names) in tests {
        let (_, path) = executables
            .iter()
            .find(|(name, _)| name == file)
            .with_context(|| format!("cargo built no test `{file}`"))?;
        let path = path.display();
        script.push_str(&format!("'{path}' --test-threads=1 --show-output --exact {} || result=1\n", names.join(" ")));
    }
    script.push_str("exit $result\n");
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_in_what_cargo_says() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"lab"},"executable":"/t/lab-1"}"#;
        assert_eq!(executable(line), Some(("lab".to_owned(), "/t/lab-1".into())));
        let library =
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"netstrata"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable("not JSON"), None);
    }

    #[test]
    fn every_test_that_is_named_exists() {
        for (file, names) in named() {
            let path = run::workspace().join(format!("profiler/tests/{file}.rs"));
            let text = std::fs::read_to_string(&path).expect("the file of the tests");
            for name in *names {
                assert!(text.contains(&format!("fn {name}()")), "{file} has no test {name}");
            }
        }
    }

    /// One that is chosen here and is none of the program's any more would silently have no turn.
    #[test]
    fn every_kernel_that_is_named_exists() {
        let path = run::workspace().join("profiler/src/choices/kernel.rs");
        let text = std::fs::read_to_string(&path).expect("the program's kernels");
        for kernel in cost::KERNELS.iter().chain(&[COUNTED_KERNEL]) {
            assert!(text.contains(&format!("plain(\"{kernel}\"")), "the program has no kernel {kernel}");
        }
    }

    #[test]
    fn the_script_runs_everything_and_remembers_failures() {
        let all: Vec<_> = LIVE.iter().map(|(file, _)| ((*file).to_owned(), PathBuf::from("/bin/false"))).collect();
        let script = script(LIVE, &all).expect("a script");
        assert_eq!(script.matches("/bin/false").count(), LIVE.len());
        let status = Command::new("sh").arg("-c").arg(&script).status().expect("sh starts");
        assert_eq!(status.code(), Some(1));
        assert!(super::script(LIVE, &all[1..]).is_err());
    }

    #[test]
    fn a_row_has_its_figures_in_order() {
        let mut tally = Tally::default();
        tally.read("test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 1.00s");
        tally.left_out();
        let round = Round { kernel: "6.12".to_owned(), clock: "wall", cpus: None, duty: Duty::Tests("") };
        let row = row(&round, &tally, 61);
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["6.12", "wall", "tests", "7", "0", "1", "0", "61"]);
    }
}
