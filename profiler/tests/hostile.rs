//! Profiles that somebody else wrote: each number and each list of recorded ones is changed, and every reader is asked. It refuses
//! in a sentence, or prints what can be read; it never panics. Arithmetic is checked here: what is taken too far panics.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "support/directory.rs"]
mod directory;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use clap::{Parser, ValueEnum as _};
use directory::Directory;
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use netstrata::{
    analysis, check,
    cli::{CheckArgs, CheckFormat, ExplainFormat, ReportFormat},
    explain, profile, report,
};
use serde_json::{Value, json};

const HEADER: usize = 24;
const FIXTURES: [&str; 2] = ["tcp-rr-bridge.prof", "tcp-stream-bridge.prof"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/profiles").join(name)
}

/// The text of a profile.
fn text(file: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    DeflateDecoder::new(&fs::read(file).unwrap()[HEADER..]).read_to_end(&mut text).unwrap();
    text
}

/// A recorded profile, with few of what it has many of.
fn recorded(name: &str) -> Value {
    let mut model: Value = serde_json::from_slice(&text(&fixture(name))).unwrap();
    for list in ["journeys", "batches"] {
        if let Some(list) = model.get_mut(list).and_then(Value::as_array_mut) {
            list.truncate(3);
        }
    }
    model
}

/// A file around such a text.
fn write(text: &[u8], file: &Path) {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    let body = encoder.finish().unwrap();
    let head = [&1_u32.to_le_bytes()[..], &crc32fast::hash(&body).to_le_bytes()].concat();
    fs::write(file, [&b"NETSTRAT"[..], &head, &(body.len() as u64).to_le_bytes(), &body].concat()).unwrap();
}

/// Arguments of `check`, as the command line gives them.
#[derive(Parser)]
struct Check {
    #[command(flatten)]
    args: CheckArgs,
}

/// What a text says when all readers are asked about it, beside good recordings; what is wrong with that.
fn asked(bad: &Path, good: [&Path; 2]) -> Result<bool, String> {
    let sentence = |error: String| match error.lines().count() == 1 && error.len() < 600 {
        true => Ok(false),
        false => Err(format!("no sentence: {error}")),
    };
    let profile = match profile::read(bad) {
        Ok(profile) => profile,
        Err(error) => return sentence(error.to_string()),
    };
    let account = analysis::account_with_intervals(&profile);
    for format in ReportFormat::value_variants() {
        let printed = (report::format(*format).render)(&profile, &account);
        if *format == ReportFormat::Json {
            serde_json::from_str::<Value>(&printed).map_err(|error| format!("report: {error}"))?;
        }
    }
    let other = profile::read(good[0]).unwrap();
    for (baseline, target) in [(&other, &profile), (&profile, &other)] {
        match explain::explain(baseline, target, &["one".into(), "other".into()]) {
            Ok(found) => ExplainFormat::value_variants()
                .iter()
                .for_each(|format| drop((explain::format(*format).render)(&found).unwrap())),
            Err(error) => drop(sentence(error.to_string())?),
        }
    }
    let merged = profile::read_set(&[bad.to_owned(), good[0].to_owned(), good[1].to_owned()]);
    match merged {
        Ok((merged, _)) => {
            let file = bad.with_extension("merged");
            profile::write(&merged, &file).unwrap();
            let again = profile::read(&file).map_err(|error| format!("the sum cannot be read: {error}"))?;
            drop(report::text::render(&again, &analysis::account_with_intervals(&again)));
            drop(explain::explain(&other, &again, &["one".into(), "other".into()]));
        }
        Err(error) => drop(sentence(error.to_string())?),
    }
    let [first, second] = good;
    let words = [
        "check".as_ref(),
        bad.as_os_str(),
        second.as_os_str(),
        "--against".as_ref(),
        first.as_os_str(),
        second.as_os_str(),
    ];
    match check::of_sets(&Check::parse_from(words).args) {
        Ok(found) => CheckFormat::value_variants()
            .iter()
            .for_each(|format| drop((check::format(*format).render)(&found).unwrap())),
        Err(error) => drop(sentence(format!("{error:#}"))?),
    }
    Ok(true)
}

/// Places of a document by what they are: of a list all are alike, and of a map with numbers as names.
fn places(value: &Value, place: &str, kind: &str, all: &mut BTreeMap<String, Vec<String>>) {
    all.entry(kind.to_owned()).or_default().push(place.to_owned());
    match value {
        Value::Array(list) => {
            for (at, inner) in list.iter().enumerate() {
                places(inner, &format!("{place}/{at}"), &format!("{kind}/#"), all);
            }
        }
        Value::Object(fields) => {
            for (name, inner) in fields {
                let step = if name.parse::<u64>().is_ok() { "#" } else { name };
                places(
                    inner,
                    &format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")),
                    &format!("{kind}/{step}"),
                    all,
                );
            }
        }
        _ => {}
    }
}

/// What a place may be changed to.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let integers = [0, 1, 47, 65_535, u64::from(u32::MAX), 1 << 60, (1 << 62) - 1, 1 << 62, 1 << 63, u64::MAX];
            let mut all: Vec<Value> = integers.map(Value::from).into();
            all.extend([json!(-1), json!("7"), Value::Null]);
            if number.is_f64() {
                all.extend([1e-300, 0.5, 1e17, 1e18, 1e300, -0.5].map(Value::from));
            }
            all
        }
        Value::Array(list) => {
            let (first, last) = (list.first().cloned(), list.last().cloned());
            let twice = first.map(|first| [vec![first], list.clone()].concat());
            let longer = last.map(|last| [list.clone(), vec![last]].concat());
            let shorter = list.get(1..).map(<[Value]>::to_vec);
            [Some(Vec::new()), twice, longer, shorter].into_iter().flatten().map(Value::from).collect()
        }
        Value::Object(_) => vec![json!({}), Value::Null],
        _ => vec![Value::Null, json!("x"), json!(5)],
    }
}

/// Changes of a document: one place of each kind, and all of that kind at once.
fn changed(model: &Value) -> Vec<(String, Value)> {
    let mut all = BTreeMap::new();
    places(model, "", "", &mut all);
    let mut made = Vec::new();
    for (kind, places) in all {
        let (Some(first), Some(value)) = (places.first(), model.pointer(&places[0])) else { continue };
        for change in changes(value) {
            for which in [std::slice::from_ref(first), &places[..]] {
                let mut other = model.clone();
                // In a list that was changed already later places are not there.
                for place in which {
                    if let Some(at) = other.pointer_mut(place) {
                        *at = change.clone();
                    }
                }
                let of = if which.len() == 1 { "one" } else { "all" };
                let shown: String = change.to_string().chars().take(60).collect();
                made.push((format!("{of} {kind} = {shown}"), other));
                if places.len() == 1 {
                    break;
                }
            }
        }
    }
    made
}

/// The readers of changed documents, and what they were tried with.
struct Trial {
    directory: Directory,
    model: Value,
    tried: usize,
    taken: usize,
    wrong: Vec<String>,
}

impl Trial {
    fn of(name: &str) -> Self {
        let (directory, model) = (Directory::new(), recorded(name));
        for (started, file) in [(1, "good.prof"), (2, "other.prof")] {
            let mut model = model.clone();
            model["meta"]["started_ns"] = started.into();
            write(model.to_string().as_bytes(), &directory.file(file));
        }
        Self { directory, model, tried: 0, taken: 0, wrong: Vec::new() }
    }

    fn give(&mut self, what: &str, text: &[u8]) {
        let [file, good, other] = ["bad.prof", "good.prof", "other.prof"].map(|name| self.directory.file(name));
        write(text, &file);
        self.tried += 1;
        match catch_unwind(AssertUnwindSafe(|| asked(&file, [&good, &other]))) {
            Ok(Ok(is_taken)) => self.taken += usize::from(is_taken),
            Ok(Err(error)) => self.wrong.push(format!("{what}: {error}")),
            Err(_) => self.wrong.push(format!("{what}: panics")),
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let (tried, taken) = (self.tried, self.taken);
        let wrong = self.wrong.len();
        assert!(wrong == 0, "{wrong} of {tried}, of which {taken} were taken:\n{}", self.wrong.join("\n"));
        assert!(taken > 0, "of {tried} none was taken: this tests only refusals");
    }
}

/// How much is tried: every so manieth change. 1 is all of them, some hours.
fn share() -> usize {
    std::env::var("NETSTRATA_HOSTILE").ok().and_then(|of| of.parse().ok()).unwrap_or(997)
}

#[test]
fn no_number_and_no_list_breaks_a_reader() {
    for name in FIXTURES {
        let mut trial = Trial::of(name);
        for (what, document) in changed(&trial.model).into_iter().step_by(share()) {
            trial.give(&format!("{name}: {what}"), document.to_string().as_bytes());
        }
    }
}

#[test]
fn no_letter_breaks_a_reader() {
    let mut chance: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |below: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance % below as u64) as usize
    };
    for name in FIXTURES {
        let mut trial = Trial::of(name);
        let text = trial.model.to_string().into_bytes();
        for _ in 0..12_000 / share() {
            let (mut other, at) = (text.clone(), next(text.len()));
            // Mostly digits, which leave it a document.
            other[at] = if next(3) == 0 { 32 + next(95) as u8 } else { b'0' + next(10) as u8 };
            trial.give(&format!("{name}: letter {at} is {}", other[at]), &other);
        }
    }
}

/// Numbers that only tell one thing from another: they may be any.
const IDENTITIES: [&str; 3] = ["id", "path", "cgroup"];

#[test]
fn what_no_recording_holds_is_refused() {
    let directory = Directory::new();
    let file = directory.file("bad.prof");
    let is_refused = |document: &Value| {
        write(document.to_string().as_bytes(), &file);
        profile::read(&file).is_err()
    };
    let mut taken = Vec::new();
    for name in FIXTURES {
        let model = recorded(name);
        assert!(!is_refused(&model));
        let mut all = BTreeMap::new();
        places(&model, "", "", &mut all);
        for (kind, places) in &all {
            let named = kind.rsplit('/').next().unwrap_or_default();
            let Some(number) = model.pointer(&places[0]).filter(|value| value.is_number()) else { continue };
            let most = if number.is_f64() { json!(1e300) } else { json!(u64::MAX) };
            let mut other = model.clone();
            places.iter().for_each(|place| *other.pointer_mut(place).unwrap() = most.clone());
            if !is_refused(&other) && !IDENTITIES.contains(&named) {
                taken.push(format!("{name}: all of {kind} are {most}"));
            }
        }
        for (place, value) in [
            ("/paths/0/spans", json!([])),
            ("/paths/0/crossings", json!([])),
            ("/paths/0/spans/0/buckets", json!([[496, 1]])),
            ("/paths/0/spans/0/buckets", json!([[7, 1], [7, 1]])),
            ("/paths/0/edges", json!([[99, "clone"]])),
            ("/paths/0/functions", json!([{ "span": 99, "hook": "span" }])),
            ("/paths/1/id", model["paths"][0]["id"].clone()),
            ("/cpu/stacks/0/0", json!(1_000_000)),
            ("/cpu/entries/0/task", json!(1_000_000)),
            ("/cpu/entries/0/stack", json!(1_000_000)),
            ("/journeys/0/part", json!(1)),
            ("/meta/cpus", json!(1_000_000)),
        ] {
            let mut other = model.clone();
            match other.pointer_mut(place) {
                Some(at) => *at = value,
                // It stands only in recordings that have some.
                None => match place.rsplit_once('/') {
                    Some((above, field)) => other.pointer_mut(above).unwrap()[field] = value,
                    None => continue,
                },
            }
            if !is_refused(&other) {
                taken.push(format!("{name}: {place}"));
            }
        }
    }
    assert!(taken.is_empty(), "{}:\n{}", taken.len(), taken.join("\n"));
}

/// What stands for far more than it is.
#[test]
fn bombs_are_refused_before_memory_is_taken() {
    let directory = Directory::new();
    let file = directory.file("bomb.prof");
    let listed = |what: &str, count: usize| format!("[{}]", vec![what; count].join(","));
    for (what, text) in [
        ("text", " ".repeat(129 << 20)),
        ("paths", format!(r#"{{"paths":{}}}"#, listed("{}", 140_000))),
        ("drops", format!(r#"{{"drops":{}}}"#, listed("{}", 66_000))),
        ("looks", {
            let crossing = r#"{"point":"queue","netns":1,"ifindex":1}"#;
            let device = r#"{"netns":1,"ifindex":2,"name":"","kind":"","peer":null,"master":null,"lower":null,"tunnel":null,
                "addresses":[],"mac":"","mtu":0,"up":true,"qdisc":""}"#;
            let paths: Vec<String> = (0..3000).map(|id| format!(r#"{{"id":{id},"crossings":[{crossing}]}}"#)).collect();
            let devices = listed(device, 100_000);
            format!(
                r#"{{"paths":[{}],"topology":{{"namespaces":[],"containers":[],"devices":{devices}}}}}"#,
                paths.join(",")
            )
        }),
        ("parts", format!(r#"{{"meta":{{"parts":{}}}}}"#, listed("{}", 65))),
        ("values", format!(r#"{{"cpu":{{"symbols":{}}}}}"#, listed("\"\"", 9 << 20))),
        ("brackets", "[".repeat(100_000)),
    ] {
        write(text.as_bytes(), &file);
        let error = profile::read(&file).expect_err(what).to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for file in ["/dev/zero", "/dev/null", "/"] {
        profile::read(Path::new(file)).unwrap_err();
    }
}
