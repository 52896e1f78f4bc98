//! The shipped claims, what is wrong with files, and what is printed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use super::*;
use crate::{
    claims::{judge::Estimated, model::Claimed, plan::Group, why::Seen},
    cli::{Cli, Command},
    output::WIDTH,
};
use clap::Parser as _;

fn shipped() -> Vec<Claim> {
    shipped::FILES.iter().flat_map(|(name, text)| read::read(name, text).unwrap()).collect()
}

fn arguments(words: &[&str]) -> ClaimsArgs {
    match Cli::try_parse_from([&["netstrata", "claims"], words].concat()).unwrap().command {
        Command::Claims(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_shipped_claims_are_right_and_their_ids_bear_their_paper() {
    let claims = claims(&arguments(&[])).unwrap();
    assert_eq!(claims.len(), shipped().len());
    assert!(claims.len() > 90, "{}", claims.len());
    for claim in &claims {
        let paper = claim.source.split_whitespace().next().unwrap().to_lowercase();
        assert!(claim.id.starts_with(&format!("{paper}-")), "{}", claim.id);
        assert!(!claim.place.is_empty(), "{} does not say where", claim.id);
    }
    let causes: usize = claims.iter().map(|claim| claim.causes.len()).sum();
    assert!(causes > 15, "{causes}");
}

#[test]
fn times_are_told_as_people_do() {
    assert_eq!([-1.0, 42.4, 600.0].map(figures::minutes), ["0 s", "42 s", "10 min"]);
}

fn is_wrong_input(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|failure: &Failure| failure.code() == 2)
}

#[test]
fn claims_are_chosen_by_paper_and_id_and_unknown_ones_refused() {
    let some = claims(&arguments(&["--paper", "p3,P4"])).unwrap();
    assert!(some.iter().all(|claim| claim.id.starts_with("p3-") || claim.id.starts_with("p4-")));
    let one = claims(&arguments(&["--only", "p0-host-rr"])).unwrap();
    assert_eq!(one.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>(), ["p0-host-rr"]);
    for words in [["--paper", "P9"], ["--only", "p0-nothing"]] {
        let error = claims(&arguments(&words)).unwrap_err();
        assert!(is_wrong_input(&error), "{error:#}");
    }
    let error = claims(&arguments(&["no-such-file.toml"])).unwrap_err();
    assert!(error.to_string().contains("no-such-file.toml") && is_wrong_input(&error), "{error:#}");
}

/// A right claim, with a line exchanged or added.
fn file(line: &str) -> String {
    let key = line.split('=').next().unwrap().trim();
    let lines = [
        "id = \"a\"",
        "statement = \"s\"",
        "figure = \"throughput_bits_per_s\"",
        "mode = \"bridge\"",
        "against = \"host\"",
        "expect = { direction = \"less\" }",
    ];
    let kept = lines.iter().filter(|other| other.split('=').next().unwrap().trim() != key);
    let kept: Vec<&str> = kept.copied().collect();
    format!("[[claim]]\n{line}\n{}\n", kept.join("\n"))
}

/// Each a line of a claim, and what is said of it; all stand in line 2 unless it is the table that lacks something.
const WRONG: &[(&str, &str)] = &[
    ("id = 3", "f.toml:2: claim.id: expected text, found a number"),
    ("id = \"\"", "f.toml:2: claim.id: is empty"),
    ("id = \"a b\"", "f.toml:2: claim.id: is at most 48 letters"),
    ("statement = [\"s\"]", "f.toml:2: claim.statement: expected text, found an array"),
    ("figure = \"speed\"", "f.toml:2: claim.figure: `speed` is not known; known: flow_completion_mean_ns"),
    ("figure = \"service_ns_per_packet\"", "f.toml:2: claim.figure: `service_ns_per_packet` is of a layer"),
    ("layer = \"veth\"", "f.toml:2: claim.layer: `throughput_bits_per_s` is not of a layer"),
    ("mode = \"brigde\"", "f.toml:2: claim.mode: unknown mode `brigde`; known: none, host"),
    ("against = \"bonding\"", "f.toml:2: claim.against: unknown mode `bonding`"),
    ("against = { pin = \"left\" }", "f.toml:2: claim.against.pin: invalid value 'left'"),
    ("against = { mode = \"bridge\" }", "f.toml:2: claim.against: differs in nothing"),
    ("against = { size = 1, colour = 2 }", "f.toml:2: claim.against.colour: is not known; known: mode, workload"),
    ("workload = \"ftp\"", "f.toml:2: claim.workload: unknown workload `ftp`; known: tcp-stream"),
    ("size = \"4 B\"", "f.toml:2: claim.size: invalid value '4 B'"),
    ("size = \"1,2\"", "f.toml:2: claim.size: is one size"),
    ("pairs = 51", "f.toml:2: claim.pairs: invalid value '51'"),
    ("elephants = \"20%\"", "f.toml:2: claim.elephants: --flow-size, --elephants"),
    ("expect = 0.5", "f.toml:2: claim.expect: expected a table, found a number"),
    ("expect = { }", "f.toml:2: claim.expect: has one of: ratio"),
    ("expect = { ratio = 0.5, equal = 0.1 }", "f.toml:2: claim.expect: has one of: ratio"),
    ("expect = { ratio = -1 }", "f.toml:2: claim.expect.ratio: must lie above 0"),
    ("expect = { ratio = 1.0 }", "f.toml:2: claim.expect.ratio: 1 has no side"),
    ("against = \"bridge\"", "f.toml:2: claim.against: differs in nothing"),
    ("than = \"bridge\"", "f.toml:2: claim.than: differs in nothing"),
    ("expect = { ratio = nan }", "f.toml:2: claim.expect.ratio: is not a finite number"),
    ("expect = { direction = \"up\" }", "f.toml:2: claim.expect.direction: `up` is not known; known: more, less"),
    ("expect = { at_least = 2, at_most = 1 }", "f.toml:2: claim.expect: `at_least` lies above `at_most`"),
    ("expect = { ratio = 0.5, points = [1] }", "f.toml:2: claim.expect.points: belongs to `growth`"),
    ("expect = { order = [\"host\", \"bridge\"] }", "f.toml:2: claim.expect.order: is at least two modes"),
    (
        "expect = { growth = \"up\", over = \"pairs\", points = [1, 2] }",
        "f.toml:2: claim.expect.growth: is of one mode",
    ),
    ("than = { workload = \"udp-stream\", mode = 3 }", "f.toml:2: claim.than.mode: expected text"),
    ("causes = [{ says = \"x\" }]", "f.toml:2: claim.causes: has a `cause` or a `layer`"),
    ("causes = [{ says = \"x\", cause = \"magic\" }]", "f.toml:2: claim.causes.cause: `magic` is not known"),
    ("causes = []", "f.toml:2: claim.causes: is empty"),
    ("needs = { cpus = 1.5 }", "f.toml:2: claim.needs.cpus: is a whole number"),
    ("machine = \"emulated:4.19\"", "f.toml:2: claim.machine: there is no emulated machine with Linux 4.19"),
    ("clock = \"sun\"", "f.toml:2: claim.clock: `sun` is not known"),
    ("fast = true", "f.toml:2: claim.fast: is not known; known: id, statement"),
    ("id = ", "f.toml:2: "),
];

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line_and_field() {
    for (line, said) in WRONG {
        let failure = read::read("f.toml", &file(line)).map(|_| format!("{line} is right")).unwrap_err();
        assert!(failure.to_string().starts_with(said), "{line}: {failure}");
        assert_eq!(failure.code(), 2);
    }
    let read = |text: &str| read::read("f.toml", text).unwrap_err().to_string();
    assert_eq!(read(""), "f.toml:1: claim: is missing");
    assert_eq!(read("\n\n[[claim]]\nid = \"a\"\n"), "f.toml:3: claim.statement: is missing");
    assert!(read(&file("against = 1").replace("against = 1\n", "")).contains("claim: a ratio needs `against`"));
    let twice = file("id = \"a\"") + &file("id = \"a\"");
    assert!(read(&twice).contains("there is another claim `a`"), "{}", read(&twice));
    assert!(!read("[[claim]]\nid = \"\\u001b[31m\"").contains('\u{1b}'));
}

#[test]
fn a_workload_of_another_build_is_not_testable_and_no_error() {
    let text = file("workload = \"gopher\"") + "needs = { workload = \"gopher\" }\n";
    let found = read::read("f.toml", &text).unwrap();
    assert_eq!(found[0].test, Err("this build has no workload `gopher`".into()));
}

#[test]
fn bounds_of_users_are_read() {
    let text = r#"
[[claim]]
id = "veth"
statement = "a veth pair costs at most 600 ns a packet"
workload = "tcp-rr"
pin = "none"
pairs = 1
figure = "service_ns_per_packet"
layer = "veth"
mode = "bridge"
expect = { at_most = 600 }

[[claim]]
id = "overlay"
statement = "our overlay keeps 70 % of the host's stream"
size = "64K"
figure = "throughput_bits_per_s"
mode = "vxlan"
against = "host"
expect = { at_least = 0.7 }
"#;
    let found = read::read("ours.toml", text).unwrap();
    let test = found[0].test.as_ref().unwrap();
    assert_eq!(test.figure.text(), "service_ns_per_packet of veth");
    let Claimed::Value { of, .. } = &test.claimed else { panic!("{test:?}") };
    assert_eq!(of[0].0.work.words(), ["--workload", "tcp-rr"], "what is as without an option is left out");
    assert_eq!(found[1].test.as_ref().unwrap().claimed.cells()[1].work.words(), ["--size", "65536"]);
    assert_eq!((found[1].source.as_str(), found[1].written.as_str()), ("ours.toml", "ours.toml:14"));
}

/// A report with every verdict, of claims whose names hold what no terminal should obey.
fn report(claims: &[Claim]) -> Report<'_> {
    let estimated = Estimated { value: 0.78, interval: [0.76, 0.8], runs: 6 };
    let why = Why {
        modes: ["none", "bridge"],
        share: Some("97 ± 3 %".into()),
        layers: vec![("veth (service)".into(), 0.4), ("bridge (service)".into(), 0.35)],
        causes: vec![("more-softirqs", "a sentence".into(), "softirqs per packet: 1.00 -> 2.00".into())],
        said: vec![("one more softirq".into(), Seen::Yes)],
        reason: None,
    };
    let answers = claims.iter().zip(Verdict::ALL).map(|(claim, verdict)| Answer {
        claim,
        on: (verdict != Verdict::NotTestable).then_some(On { kernel: Some("6.12"), counted: true }),
        finding: Finding {
            verdict,
            found: (verdict != Verdict::NotTestable).then_some(estimated),
            steps: vec![("ovs / bridge".into(), Some(estimated)), ("bridge / host".into(), None)],
            reason: (verdict == Verdict::NotTestable).then(|| "no \u{1b}[31mLXC <here>".into()),
        },
        why: (verdict == Verdict::Holds).then(|| why.clone()),
        made: Some(1_795_651_200),
    });
    let answers = answers.collect();
    Report { answers, kernel: "6.18".into(), cpus: 2, quick: true, seconds: 61.0, groups: [3, 1] }
}

fn odd() -> Vec<Claim> {
    let text = (1..=5).map(|number| {
        file("statement = \"a <b>|bridge|</b> \\u001b[31m keeps less of its stream than a host does, whatever the size of its messages\"")
            .replace("id = \"a\"", &format!("id = \"claim-{number}\""))
    });
    read::read("odd.toml", &text.collect::<String>()).unwrap()
}

#[test]
fn text_has_every_verdict_within_the_width_and_nothing_that_a_terminal_obeys() {
    let claims = odd();
    let text = text::render(&report(&claims)).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    for wanted in [
        "HOLDS IN DIRECTION",
        "CONTRADICTED",
        "NOT TESTABLE HERE",
        "0.78 times (0.76 to 0.80)",
        "6 runs of each",
        "why bridge is slower than none: veth (service) +40 %",
        "one more softirq: shows here, too",
        "1 contradicted",
        "1 of 3 sets of runs were kept",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn json_has_the_figures_and_the_exit_code() {
    let claims = odd();
    let found: serde_json::Value = serde_json::from_str(&json::render(&report(&claims)).unwrap()).unwrap();
    assert_eq!((&found["schema"], &found["exit_code"]), (&"netstrata.claims/1".into(), &1.into()));
    assert_eq!(found["verdicts"]["holds_in_direction"], 1);
    assert_eq!(found["claims"][0]["found"]["interval"][1], 0.8);
    assert_eq!(found["claims"][0]["why"]["said"][0]["seen"], "yes");
    assert_eq!(found["claims"][4]["verdict"], "not_testable_here");
    let page = include_str!("../../../docs/claims.md");
    for name in found.as_object().unwrap().keys().chain(found["claims"][0].as_object().unwrap().keys()) {
        assert!(page.contains(&format!("`{name}`")), "docs/claims.md does not describe `{name}`");
    }
}

#[test]
fn junit_and_markdown_say_what_fails_and_hold_any_name() {
    let claims = odd();
    let report = report(&claims);
    let xml = junit::render(&report).unwrap();
    assert!(xml.contains("tests=\"5\" failures=\"1\" errors=\"1\" skipped=\"1\""), "{xml}");
    assert!(xml.contains("<failure type=\"contradicted\"") && !xml.contains("<b>") && !xml.contains('\u{1b}'), "{xml}");
    let page = markdown::render(&report).unwrap();
    assert!(page.contains("Runs made: 2026-11-26") && page.contains("**contradicted**"), "{page}");
    assert!(!page.contains("<b>") && !page.contains('\u{1b}') && page.contains("\\|bridge\\|"), "{page}");
}

#[test]
fn the_exit_code_is_that_of_the_worst_verdict() {
    let claims = odd();
    let code = |wanted: &[Verdict]| {
        let mut report = report(&claims);
        report.answers.retain(|answer| wanted.contains(&answer.finding.verdict));
        report.exit_code()
    };
    assert_eq!(code(&[Verdict::Holds, Verdict::HoldsInDirection, Verdict::NotTestable]), 0);
    assert_eq!(code(&[Verdict::Holds, Verdict::Undecided]), 4);
    assert_eq!(code(&[Verdict::Contradicted, Verdict::Undecided]), 1);
}

#[test]
fn the_page_names_formats_verdicts_figures_options_and_keys() {
    let page = include_str!("../../../docs/claims.md");
    let listed = formats();
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    assert!(page.contains(&format!("[--format {}]", names.join("|"))), "{names:?}");
    let keys = [
        "id",
        "statement",
        "source",
        "title",
        "where",
        "context",
        "note",
        "causes",
        "not_testable",
        "needs",
        "figure",
        "layer",
        "machine",
        "clock",
        "mode",
        "against",
        "than",
        "expect",
    ];
    let verdicts = Verdict::ALL.map(Verdict::name);
    for name in figures::names().chain(model::OPTIONS.iter().copied()).chain(verdicts).chain(keys) {
        assert!(page.contains(&format!("`{name}`")), "docs/claims.md does not name `{name}`");
    }
}

#[test]
fn a_plan_is_told_with_its_time_and_what_cannot_be_tested() {
    let claims = shipped();
    let plan = Plan::of(
        &claims.iter().collect::<Vec<_>>(),
        &Machine { cpus: 2, ..Machine::default() },
        &Effort::QUICK,
        (None, None),
    );
    let text = text::plan(&plan, &claims, "/kept".as_ref());
    assert!(text.contains("p3-lxc is not testable here: the lab has no LXC"), "{text}");
    assert!(text.contains("p1-one-cpu is not testable here: needs 4 CPUs"), "{text}");
    assert!(text.contains("kept in /kept") && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    let most = plan.groups.iter().map(|group: &Group| group.claims.len()).max();
    assert!(most > Some(10), "claims share runs: {most:?}");
    let cells: BTreeMap<&Cell, usize> =
        plan.of.iter().flatten().flatten().map(|(cell, group)| (cell, *group)).collect();
    assert!(cells.iter().all(|(cell, group)| plan.groups[*group].modes().contains(cell.mode)));
}
