//! `netstrata claims`: its schema, wrong files, and a file that is really measured.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Map, Value};
use support::{
    NETSTRATA,
    directory::Directory,
    errors,
    lab::{NOTHING, left},
    netstrata,
    process::Process,
    wait::until,
};
use toml::de::{DeTable, DeValue};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn json(value: &DeValue<'_>) -> Value {
    let number = |text: &str| text.parse::<u64>().map_or_else(|_| text.parse::<f64>().unwrap().into(), Value::from);
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(integer) => number(integer.as_str()),
        DeValue::Float(float) => float.as_str().parse::<f64>().unwrap().into(),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => object(table),
    }
}

fn object(table: &DeTable<'_>) -> Value {
    let fields: Map<String, Value> =
        table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect();
    fields.into()
}

/// What the schema says against a file.
fn complaints(file: &Value) -> Vec<String> {
    let schema = fs::read(root().join("docs/claims.schema.json")).unwrap();
    let validator = jsonschema::draft202012::new(&serde_json::from_slice(&schema).unwrap()).unwrap();
    validator.iter_errors(file).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn read(text: &str) -> Value {
    object(DeTable::parse(text).unwrap().get_ref())
}

#[test]
fn the_shipped_claims_keep_to_the_schema_and_the_page_s_example_does() {
    let mut files = 0;
    for entry in fs::read_dir(root().join("fixtures/claims")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(complaints(&read(&fs::read_to_string(&path).unwrap())), NOTHING, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 5);
    let page = fs::read_to_string(root().join("docs/claims.md")).unwrap();
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(complaints(&read(example)), NOTHING);
    let directory = Directory::new();
    fs::write(directory.file("example.toml"), example).unwrap();
    let only = netstrata(&["claims", &directory.word("example.toml"), "--only", "nothing"]);
    assert!(errors(&only).contains("there is no claim `nothing`"), "the example is read: {}", errors(&only));
}

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    let claim = "[[claim]]\nid = \"a\"\nstatement = \"s\"\nfigure = \"throughput_bits_per_s\"\nmode = \"bridge\"\n";
    for wrong in [
        "against = \"host\"\nexpect = { ratio = 0.5, equal = 0.1 }",
        "against = \"host\"\nexpect = {}",
        "expect = { at_least = 0 }",
        "expect = { growth = \"up\", over = \"pairs\" }",
        "expect = { at_least = 1 }\nfast = true",
        "expect = { at_least = 1 }\nneeds = { cpus = 1.5 }",
        "expect = { at_least = 1 }\ncauses = [{ says = \"x\" }]",
        "",
    ] {
        let text = format!("{claim}{wrong}\n");
        assert!(!complaints(&read(&text)).is_empty(), "{wrong}");
        let directory = Directory::new();
        fs::write(directory.file("wrong.toml"), &text).unwrap();
        let output = netstrata(&["claims", &directory.word("wrong.toml")]);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", errors(&output));
        assert!(errors(&output).contains("wrong.toml:"), "{}", errors(&output));
    }
}

#[test]
fn what_has_no_end_is_refused() {
    for file in ["/dev/zero", "/"] {
        let output = netstrata(&["claims", file, "--plan"]);
        assert_eq!(output.status.code(), Some(2), "{file}");
        assert!(errors(&output).contains("no regular file"), "{}", errors(&output));
    }
}

/// Claims that a second of traffic tells.
const TINY: &str = r#"
source = "a test"
[[claim]]
id = "bridge-takes-longer"
statement = "a round trip over a bridge takes longer"
workload = "tcp-rr"
pin = "same"
figure = "softirqs_per_packet"
mode = "bridge"
against = "host"
expect = { direction = "more" }
causes = [{ says = "one more softirq", cause = "more-softirqs" }, { says = "a tunnel", layer = "vxlan" }]

[[claim]]
id = "lightning"
statement = "a round trip takes a nanosecond"
workload = "tcp-rr"
pin = "same"
figure = "round_trip_ns"
mode = "host"
expect = { at_most = 1 }

[[claim]]
id = "elsewhere"
statement = "not here"
not_testable = "it is a test"
"#;

#[test]
fn claims_are_measured_judged_kept_and_explained() {
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    fs::write(directory.file("tiny.toml"), TINY).unwrap();
    let (file, keep) = (directory.word("tiny.toml"), directory.word("kept"));
    let words = ["claims", &file, "--quick", "--keep", &keep, "--format", "json"];
    let output = netstrata(&words);
    assert_eq!(output.status.code(), Some(1), "one is contradicted: {}", errors(&output));
    assert!(errors(&output).contains("measuring tcp-rr, pin same: bridge, host"), "{}", errors(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [longer, lightning, elsewhere] = [0, 1, 2].map(|at| &found["claims"][at]);
    assert_eq!(longer["verdict"], "holds", "{longer}");
    assert!(longer["found"]["value"].as_f64().unwrap() > 1.5 && longer["found"]["runs"] == 6, "{longer}");
    assert_eq!(
        (&longer["why"]["slower"], &longer["why"]["said"][0]["seen"]),
        (&"bridge".into(), &"yes".into()),
        "{longer}"
    );
    // Whether layers can be told at all depends on the machine; a tunnel that is not there is never seen.
    assert!(["no", "unknown"].map(Value::from).contains(&longer["why"]["said"][1]["seen"]), "{longer}");
    assert_eq!((&lightning["verdict"], &elsewhere["verdict"]), (&"contradicted".into(), &"not_testable_here".into()));

    let again = netstrata(&["claims", &file, "--quick", "--keep", &keep]);
    assert!(!errors(&again).contains("measuring"), "what was kept serves: {}", errors(&again));
    assert!(text(&again.stdout).contains("1 of 1 sets of runs were kept"), "{}", text(&again.stdout));
    let plan = netstrata(&["claims", &file, "--quick", "--keep", &keep, "--plan"]);
    assert!(text(&plan.stdout).contains("6 runs of each for 2 claims"), "{}", text(&plan.stdout));
}

/// The lab that a process started, once it has a network.
fn lab_of(parent: u32) -> Option<u32> {
    let runs = fs::read_dir("/run/netstrata-lab").ok()?.flatten();
    let ids = runs.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut own = ids.filter(|id| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.lines().any(|line| line.split_whitespace().eq(["PPid:", &parent.to_string()]))
    });
    own.find(|id| left(*id).len() > 2)
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    fs::write(directory.file("tiny.toml"), TINY).unwrap();
    let mut command = Command::new(NETSTRATA);
    command.args(["claims", &directory.word("tiny.toml"), "--keep", &directory.word("kept")]);
    let mut process = Process(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lab = None;
    until("a lab with its networks", || {
        lab = lab_of(process.id());
        assert!(process.is_running(), "it ended early");
        lab.is_some()
    });
    process.signal(libc::SIGTERM);
    assert_eq!(process.end().code(), Some(128 + libc::SIGTERM));
    assert_eq!(left(lab.unwrap()), NOTHING);
}

/// What is known of networks, and one thing that is not so.
const HANDFUL: &str = r#"
source = "a test"
[[claim]]
id = "softirqs"
statement = "a bridge adds a softirq to each packet"
workload = "tcp-rr"
figure = "softirqs_per_packet"
mode = "bridge"
against = "host"
expect = { ratio = 2, within = 0.05 }

[[claim]]
id = "bridge"
statement = "a round trip over a bridge takes five times as long"
workload = "tcp-rr"
figure = "round_trip_ns"
mode = "bridge"
against = "host"
expect = { ratio = 5 }
causes = [{ says = "one more softirq", cause = "more-softirqs" }]

[[claim]]
id = "veth"
statement = "a veth pair works at most 4 us on a packet"
workload = "tcp-rr"
figure = "service_ns_per_packet"
layer = "veth"
mode = "bridge"
expect = { at_most = 4000 }

[[claim]]
id = "order"
statement = "a tunnel takes longest, and the loopback least"
workload = "tcp-rr"
figure = "round_trip_ns"
expect = { order = ["vxlan", "bridge", "host"] }

[[claim]]
id = "planted"
statement = "a tunnel answers sooner than a bridge"
workload = "tcp-rr"
figure = "round_trip_ns"
mode = "vxlan"
against = "bridge"
expect = { direction = "less" }
"#;

#[test]
fn a_handful_is_judged_where_instructions_are_counted() {
    let Some(_alone) = ready!("qemu-system-x86_64", "busybox") else { return };
    let kernel = netstrata(&["lab", "machine", "--get"]);
    if !kernel.status.success() {
        skip!("no kernel for an emulated machine: {}", errors(&kernel));
    }
    let directory = Directory::new();
    fs::write(directory.file("handful.toml"), HANDFUL).unwrap();
    let (file, keep) = (directory.word("handful.toml"), directory.word("kept"));
    let words = ["--quick", "--machine", "emulated", "--clock", "instructions", "--format", "json", "--keep"];
    let output = netstrata(&[&["claims", &file], &words[..], &[&keep]].concat());
    assert_eq!(output.status.code(), Some(1), "one is contradicted: {}", errors(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdicts = found["claims"].as_array().unwrap().iter().map(|claim| claim["verdict"].as_str().unwrap());
    let wanted = ["holds", "holds_in_direction", "holds", "holds", "contradicted"];
    assert!(verdicts.clone().eq(wanted), "{:?}: {found:#}", verdicts.collect::<Vec<_>>());
    assert_eq!(found["claims"][1]["why"]["said"][0]["seen"], "yes", "{found:#}");
    assert_eq!(errors(&output).matches("measuring ").count(), 1, "they share their runs: {}", errors(&output));
}

#[test]
fn what_is_killed_leaves_no_lab_and_no_lock() {
    let Some(_alone) = ready!() else { return };
    let directory = Directory::new();
    fs::write(directory.file("tiny.toml"), TINY).unwrap();
    let (file, keep) = (directory.word("tiny.toml"), directory.word("kept"));
    let mut command = Command::new(NETSTRATA);
    command.args(["claims", &file, "--keep", &keep]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process(command.spawn().unwrap());
    let mut lab = None;
    until("a lab with its networks", || {
        lab = lab_of(process.id());
        assert!(process.is_running(), "it ended early");
        lab.is_some()
    });
    let second = netstrata(&["claims", &file, "--keep", &keep]);
    assert_eq!(second.status.code(), Some(3), "{}", errors(&second));
    let said = errors(&second);
    assert!(
        said.contains(&format!("(process {}) has measured for ", process.id())) && said.lines().count() == 1,
        "{said}"
    );
    assert_eq!(netstrata(&["claims", &file, "--keep", &keep, "--kept"]).status.code(), Some(4), "it measures nothing");
    process.signal(libc::SIGKILL);
    process.end();
    let lab = lab.unwrap();
    until("the end of the lab", || netstrata::host::facts::start_time(lab).is_none());
    assert_eq!(left(lab), NOTHING);
    // The lock went with the process.
    let mut command = Command::new(NETSTRATA);
    command.args(["claims", &file, "--keep", &keep]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut third = Process(command.spawn().unwrap());
    until("a lab with its networks", || {
        assert!(third.is_running(), "it ended early");
        lab_of(third.id()).is_some_and(|found| found != lab)
    });
    third.signal(libc::SIGTERM);
    assert_eq!(third.end().code(), Some(128 + libc::SIGTERM));
}
