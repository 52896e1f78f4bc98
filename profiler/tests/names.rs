//! Names that anybody may choose, in every place of a profile that has one, and what each format makes of them: nothing that a
//! terminal obeys, nothing that breaks the format, and nothing that is not seen.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use netstrata::{
    cli::{CheckFormat, ExplainFormat, ReportFormat},
    explain,
    profile::{self, Profile},
    report,
};
use serde_json::Value;
use support::{directory::Directory, netstrata, succeeded};

/// Names, and a part of each that has to be seen.
const ODD: [(&str, &str); 16] = [
    ("\x1b[2Jscreen", "screen"),
    ("\u{9b}31mred", "31mred"),
    ("\x1b]0;title\x07", "title"),
    ("a;b<\"&'>c", "c"),
    ("conn 7", "conn"),
    ("7", "7"),
    ("line\n  lost: 99\nend", "lost: 99"),
    ("carriage\rreturn\ttab", "return"),
    ("\u{202e}turned\u{2066}", "turned"),
    ("no\u{200b}width\u{feff}", "no"),
    ("\u{2028}line", "line"),
    ("線程名字網卡", "線程"),
    ("]]>--><![CDATA[", "CDATA"),
    ("|`*_[x](y)@#~", "x"),
    ("=cmd|'/c calc'!A1,\"x\"", "calc"),
    ("nul\0\u{7f}\u{fffd}", "nul"),
];

fn is_odd(letter: char) -> bool {
    letter.is_control() && letter != '\n'
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/profiles").join(name)
}

/// A recording in which all names are one.
fn named(file: &str, name: &str) -> Profile {
    let mut profile = profile::read(&fixture(file)).unwrap();
    // Each is an account of its own, and none tells another name.
    profile.batches.truncate(2);
    let set = |all: &mut String| name.clone_into(all);
    let topology = &mut profile.topology;
    topology.namespaces.iter_mut().for_each(|namespace| set(&mut namespace.name));
    topology.devices.iter_mut().for_each(|device| [&mut device.name, &mut device.qdisc].into_iter().for_each(set));
    topology.containers.iter_mut().for_each(|container| set(&mut container.name));
    for task in &mut profile.cpu.tasks {
        set(&mut task.comm);
        task.container = Some(name.into());
    }
    if let Some(last) = profile.cpu.symbols.last_mut() {
        set(last);
    }
    let drop = profile::DropRecord { reason: name.into(), function: name.into(), count: 3, ..Default::default() };
    profile.drops = vec![drop];
    profile.paths.iter_mut().filter_map(|path| path.reason.as_mut()).for_each(set);
    let meta = &mut profile.meta;
    (meta.command, meta.filters) = (vec!["run".into(), name.into()], vec![name.into()]);
    meta.missing.insert(name.into(), format!("because of {name}"));
    meta.benchmark_notes.insert(format!("it said {name}"));
    meta.recorder = name.into();
    meta.kernel = name.into();
    profile
}

/// Whether what stands between `<` and `>` is well formed and closed in its order, and nothing else needs a mark.
fn is_xml(text: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((tag, next)) = after.split_once('>') else { return false };
        let marks = before.split('&').skip(1).all(|part| part.split_once(';').is_some_and(|(name, _)| name.len() < 8));
        if !marks || tag.contains('<') || tag.matches('"').count() % 2 != 0 {
            return false;
        }
        match tag.strip_prefix('/') {
            _ if tag.starts_with(['?', '!']) || tag.ends_with('/') => {}
            Some(name) if open.pop() != Some(name.trim()) => return false,
            Some(_) => {}
            None => open.extend(tag.split_whitespace().next()),
        }
        rest = next;
    }
    open.is_empty() && !rest.contains('&')
}

/// What is wrong with an output, given the same of a plain name.
fn wrong(format: &str, out: &str, plain: &str, seen: &str) -> Option<String> {
    if let Some(line) = out.lines().find(|line| line.contains(is_odd)) {
        return Some(format!("a terminal would obey {line:?}"));
    }
    let found = |wrong: bool, what: &str| wrong.then(|| what.to_owned());
    match format {
        "json" => found(serde_json::from_str::<Value>(out).is_err(), "it is no JSON"),
        "svg" | "junit" => found(!is_xml(out), "it is no XML"),
        "folded" => out.lines().find_map(|line| {
            let (stack, count) = line.rsplit_once(' ')?;
            let two = stack.rsplit_once(' ').is_some_and(|(_, word)| word.parse::<f64>().is_ok());
            found(two || count.parse::<u64>().is_err(), &format!("it has not one count: {line}"))
        }),
        // Long names take more lines where they are wrapped, and only there.
        _ => found(out.lines().count() > plain.lines().count() + 8, "a name makes lines"),
    }
    .or_else(|| found(!out.contains(seen), "the name is not seen"))
}

fn words<F: ValueEnum + 'static>() -> impl Iterator<Item = (F, String)> {
    F::value_variants().iter().map(|format| (format.clone(), format.to_possible_value().unwrap().get_name().to_owned()))
}

#[test]
fn no_name_breaks_a_report_or_an_explanation() {
    let mut found = Vec::new();
    for (name, seen) in ODD {
        for (format, word) in words::<ReportFormat>() {
            let [out, plain] = [name, "plain"].map(|name| report::rendered(named("tcp-rr-bridge.prof", name), format));
            found.extend(wrong(&word, &out, &plain, seen).map(|what| format!("report {word}: {name:?}: {what}")));
        }
        for (format, word) in words::<ExplainFormat>() {
            let [out, plain] = [name, "plain"].map(|name| {
                let sides = ["tcp-rr-host.prof", "tcp-rr-bridge.prof"].map(|file| named(file, name));
                let [baseline, target] = sides;
                explain::rendered(baseline, target, [name, name].map(str::to_owned), format).unwrap()
            });
            found.extend(wrong(&word, &out, &plain, seen).map(|what| format!("explain {word}: {name:?}: {what}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn json_has_names_as_they_are() {
    for (name, _) in ODD {
        let out = report::rendered(named("tcp-rr-bridge.prof", name), ReportFormat::Json);
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["meta"]["command"][1], name);
        assert!(report["cpu"]["tasks"].as_array().unwrap().iter().all(|task| task["comm"] == name));
    }
}

#[test]
fn no_name_breaks_a_check_or_its_history() {
    let directory = Directory::new();
    let mut found = Vec::new();
    for (at, (name, _)) in ODD.into_iter().enumerate().step_by(3) {
        for (side, file) in [("a", "tcp-rr-host.prof"), ("b", "tcp-rr-bridge.prof")] {
            let mut profile = named(file, name);
            profile.meta.started_ns += at as u64;
            profile::write(&profile, &directory.file(&format!("{side}.prof"))).unwrap();
        }
        let [one, other] = ["a.prof", "b.prof"].map(|file| directory.word(file));
        let history = directory.word(&format!("{at}.csv"));
        for (_, word) in words::<CheckFormat>() {
            let output = netstrata(&["check", &other, "--against", &one, "--format", &word, "--history", &history]);
            let out = String::from_utf8(output.stdout).unwrap();
            found.extend(wrong(&word, &out, &out, "").map(|what| format!("check {word}: {name:?}: {what}")));
        }
        let csv = std::fs::read_to_string(&history).unwrap_or_default();
        let columns = csv.lines().next().map_or(0, |line| line.split(',').count());
        if csv.contains(is_odd) || csv.lines().any(|line| line.split(',').count() != columns) {
            found.push(format!("history: {name:?}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_name_of_a_file_reaches_a_terminal() {
    let directory = Directory::new();
    for (name, _) in ODD.into_iter().filter(|(name, _)| !name.contains(['/', '\0'])) {
        let file = directory.word(name);
        std::fs::copy(fixture("tcp-rr-host.prof"), &file).unwrap();
        let said = succeeded(&netstrata(&["explain", &file, &file]));
        assert!(!said.contains(is_odd), "{said:?}");
        std::fs::write(&file, "no profile").unwrap();
        let refused = netstrata(&["report", &file]);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && said.lines().count() == 1 && !said.contains(is_odd), "{said:?}");
    }
}
