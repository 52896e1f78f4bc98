//! What is given odd bytes, and what must be true then: each takes any bytes, and panics where netstrata breaks its word. The search
//! (`cargo xtask fuzz`) and the replay (`profiler/tests/corpus.rs`) call the same.

use std::io::Write as _;

use clap::{Parser as _, ValueEnum as _};
use flate2::{Compression, write::DeflateEncoder};
use netstrata::{
    analysis, benchmark, claims,
    cli::{Cli, ExplainFormat, ReportFormat},
    explain,
    kernel::{btf::KernelTypes, symbols::Symbols},
    profile, report, topology, units,
};
use serde_json::Value;

/// What is given bytes.
type Run = fn(&[u8]);

/// What is searched, by name: the only list.
pub const TARGETS: &[(&str, Run)] = &[
    ("profile", profile),
    ("benchmark", benchmark),
    ("btf", btf),
    ("claims", claims),
    ("filters", filters),
    ("kallsyms", kallsyms),
    ("netlink", netlink),
];

/// The target of this name.
pub fn find(name: &str) -> Run {
    TARGETS.iter().find(|(known, _)| *known == name).map_or_else(|| panic!("no target {name}"), |(_, run)| *run)
}

/// One line that a person can read.
fn assert_sentence(said: &str) {
    assert!(said.lines().count() == 1 && said.len() < 700, "no sentence: {said}");
}

/// A profile's text, or its whole file.
fn profile(bytes: &[u8]) {
    let file = if bytes.starts_with(b"NETSTRAT") { bytes.to_vec() } else { around(bytes) };
    let profile = match profile::parse(&file, "odd.prof") {
        Ok(profile) => profile,
        Err(error) => return assert_sentence(&error.to_string()),
    };
    let account = analysis::account_with_intervals(&profile);
    for format in ReportFormat::value_variants() {
        let printed = (report::format(*format).render)(&profile, &account);
        if *format == ReportFormat::Json {
            drop(serde_json::from_str::<Value>(&printed).expect("a report is JSON"));
        }
    }
    let mut other = profile.clone();
    other.meta.started_ns ^= 1;
    match explain::explain(&profile, &other, &["one".into(), "other".into()]) {
        Ok(found) => ExplainFormat::value_variants()
            .iter()
            .for_each(|format| drop((explain::format(*format).render)(&found).expect("it is drawn"))),
        Err(error) => assert_sentence(&error.to_string()),
    }
    match profile::merge(vec![("one".into(), profile), ("other".into(), other)]) {
        Ok(sum) => {
            if let Some(wrong) = profile::unsound(&sum) {
                panic!("a sum that cannot be read: {wrong}");
            }
            drop(analysis::account(&sum));
        }
        Err(error) => assert_sentence(&error.to_string()),
    }
}

/// A file around a text.
fn around(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(text).expect("memory takes it");
    let body = encoder.finish().expect("memory takes it");
    let head = [&1_u32.to_le_bytes()[..], &crc32fast::hash(&body).to_le_bytes()].concat();
    [&b"NETSTRAT"[..], &head, &(body.len() as u64).to_le_bytes(), &body].concat()
}

/// A line with the command, and what it printed.
fn benchmark(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (command, output) = text.split_once('\n').unwrap_or((&text, ""));
    let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    for whole in [true, false] {
        let found = benchmark::read(&words, output, whole);
        let value = serde_json::to_value(&found.benchmark).expect("figures are written");
        assert!(no_figure_is_negative(&value), "{value}");
        assert!(found.notes.iter().all(|note| note.lines().count() == 1 && note.len() < 2000), "{:?}", found.notes);
    }
}

fn no_figure_is_negative(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_none_or(|number| number >= 0.0),
        Value::Array(list) => list.iter().all(no_figure_is_negative),
        Value::Object(fields) => fields.values().all(no_figure_is_negative),
        _ => true,
    }
}

/// Types of a kernel, and of a module of it.
fn btf(bytes: &[u8]) {
    let Ok(types) = KernelTypes::from_bytes(bytes) else { return };
    let types = types.with_module("nf_tables", bytes.to_vec());
    drop(types.offsets());
    drop(types.drop_reasons());
    for name in ["kfree_skb", "netif_rx", "sk_data_ready"] {
        let _ = types.tracepoint_arguments(name);
        let _ = types.function_arguments(name);
    }
}

/// A file of claims.
fn claims(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(complaint) = claims::complaint("odd.toml", &text) {
        let said = complaint.to_string();
        assert!(said.lines().count() == 1 && said.contains("odd.toml"), "no sentence: {said}");
    }
}

/// Words of a command line, each in a line; and each as any value.
fn filters(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split('\n').collect();
    if let Err(error) = Cli::try_parse_from([&["netstrata"], &words[..]].concat()) {
        assert!(!error.to_string().is_empty());
    }
    for word in words {
        if let Ok(duration) = units::parse_duration(word) {
            assert!(!duration.is_zero(), "{word}");
        }
        for number in [units::parse_rate(word), units::parse_bytes(word)].into_iter().flatten() {
            assert!(number > 0, "{word}");
        }
        for share in [units::parse_share(word), units::parse_threshold(word)].into_iter().flatten() {
            assert!(share > 0.0 && share <= 1.0, "{word}");
        }
        drop(units::parse_flow(word));
    }
}

/// Names of functions by address.
fn kallsyms(bytes: &[u8]) {
    let symbols = Symbols::parse(&String::from_utf8_lossy(bytes));
    for address in [0, 1, 0x1000, 0xffff_ffff_8100_0000, u64::MAX] {
        let name = symbols.name(address);
        assert!(!name.is_empty() && name.lines().count() == 1, "{name:?}");
    }
    for name in ["ip_rcv", "br_forward", "gre_rcv"] {
        assert!(symbols.functions(name).iter().all(|function| function.name.starts_with(name)));
    }
}

/// Messages as a dump of devices has them.
fn netlink(bytes: &[u8]) {
    if let Err(error) = topology::devices_of(1, bytes) {
        assert_sentence(&format!("{error:#}"));
    }
}
