//! What stands on what: each room of `src` imports only rooms below it, and only those that its row allows. The part of
//! `docs/architecture.md` that shows it is made from the same table (`NETSTRATA_BLESS=1` writes it).

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

#[path = "support/imports.rs"]
mod imports;
#[expect(dead_code, reason = "other pages have parts that are made")]
#[path = "../src/page.rs"]
mod page;

use imports::{Graph, Modules, beside_each_other, circles};

/// What a room may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Values and words, no work; anybody may use them.
    Leaf,
    /// Thinks: the same profile gives the same result. Knows no kernel, no process, no clock.
    Pure,
    /// Looks at this machine, or changes it.
    Live,
    /// Chooses between the rooms.
    Top,
}

/// A file or a folder of `src`.
struct Room {
    name: &'static str,
    part: Part,
    /// What it is about.
    about: &'static str,
    /// The rooms that it imports.
    imports: &'static [&'static str],
}

const fn room(name: &'static str, part: Part, imports: &'static [&'static str], about: &'static str) -> Room {
    Room { name, part, about, imports }
}

/// Every room, each above those that it imports.
const ROOMS: &[Room] = &[
    room(
        "main",
        Part::Top,
        &[
            "claims", "cli", "doctor", "exit", "explain", "host", "lab", "logger", "machine", "measure", "merge",
            "output", "record", "report", "topology",
        ],
        "the program: asks the host for its signals, and chooses the command",
    ),
    room("exit", Part::Top, &["failure", "profile"], "the exit code of an error, whichever room it comes from"),
    room(
        "claims",
        Part::Live,
        &[
            "analysis", "check", "choices", "cli", "cpu", "explain", "failure", "host", "lab", "machine", "numbers",
            "output", "profile", "store",
        ],
        "whether what is said of networks holds here: claims, what is measured for them, and their verdicts",
    ),
    room(
        "measure",
        Part::Live,
        &["check", "choices", "cli", "failure", "host", "lab", "profile"],
        "a check that makes its own recordings: of a host in turns, or of a mode of the lab",
    ),
    room(
        "lab",
        Part::Live,
        &[
            "benchmark",
            "choices",
            "cli",
            "explain",
            "failure",
            "host",
            "machine",
            "numbers",
            "output",
            "page",
            "profile",
            "record",
            "store",
        ],
        "networks of the program's own, traffic through them, and whether that runs here or in an emulated machine",
    ),
    room(
        "machine",
        Part::Live,
        &["choices", "cli", "failure", "host", "output"],
        "emulated machines: qemu, Debian's kernels",
    ),
    room(
        "doctor",
        Part::Live,
        &["cli", "host", "kernel", "output", "record"],
        "what this kernel and these privileges allow",
    ),
    room(
        "record",
        Part::Live,
        &[
            "benchmark",
            "cli",
            "failure",
            "host",
            "kernel",
            "logger",
            "numbers",
            "output",
            "profile",
            "store",
            "threads",
            "topology",
        ],
        "recordings: loads the kernel programs, attaches them, collects, and leaves a profile",
    ),
    room(
        "topology",
        Part::Live,
        &["cli", "kernel", "output", "profile", "threads"],
        "reads namespaces, devices and containers",
    ),
    room("kernel", Part::Live, &["failure"], "facts of the running kernel: types, symbols, privileges"),
    room("host", Part::Live, &["choices", "failure", "threads"], "facts of this machine, programs, processes, signals"),
    room(
        "check",
        Part::Pure,
        &["analysis", "choices", "cli", "cpu", "explain", "failure", "numbers", "output", "profile", "store"],
        "whether a change made the datapath slower, in which layer, and by how much",
    ),
    room(
        "explain",
        Part::Pure,
        &["analysis", "choices", "cli", "cpu", "failure", "numbers", "output", "page", "profile", "report", "threads"],
        "the account of a slower mode against a faster one",
    ),
    room(
        "report",
        Part::Pure,
        &["analysis", "choices", "cli", "cpu", "output", "profile"],
        "a profile as text, JSON, folded stacks, SVG",
    ),
    room("merge", Part::Pure, &["cli", "profile"], "several recordings as one file"),
    room("analysis", Part::Pure, &["cpu", "numbers", "page", "profile"], "from a profile to an account"),
    room("cpu", Part::Pure, &["page", "profile"], "kernel symbols to layers, samples to layers and contexts"),
    room("benchmark", Part::Pure, &["profile"], "what benchmarks print"),
    room("profile", Part::Pure, &["choices", "numbers", "output", "store"], "the profile: its data and its file"),
    room("cli", Part::Leaf, &["choices", "units"], "the command line: arguments only"),
    room(
        "choices",
        Part::Leaf,
        &["failure", "units"],
        "what is chosen by name: kernels, clocks, workloads, neighbours",
    ),
    room(
        "logger",
        Part::Leaf,
        &["failure", "output"],
        "what is told on standard error for bug reports: how much, and in which form",
    ),
    room("failure", Part::Leaf, &[], "failures that decide the exit code"),
    room("numbers", Part::Leaf, &[], "figures of figures"),
    room("output", Part::Leaf, &[], "what commands print: width, wrapped text, formats, standard output"),
    room("store", Part::Leaf, &[], "files of results: of this user alone, whole or not at all"),
    room("threads", Part::Leaf, &[], "names of the threads that record"),
    room("units", Part::Leaf, &[], "words of the command line as values"),
    room("page", Part::Leaf, &[], "pages of `docs/` that are made from a table (tests only)"),
];

/// Crates through which a program looks at its machine, or changes it. What only thinks names none of them.
const LIVE_CRATES: &[&str] = &["aya", "aya_obj", "indicatif", "libc", "netlink_packet_route", "rtnetlink"];

fn sources(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of).join("src")
}

/// The room that a path lies in; none for the crate itself.
fn room_of(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Which rooms each room imports, with a file for each.
fn imported(modules: &Modules) -> BTreeMap<&str, BTreeMap<&str, &str>> {
    let mut found: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (module, paths) in modules.iter().filter(|(module, _)| !module.is_empty()) {
        let imports = found.entry(room_of(module)).or_default();
        let other =
            |path: &&String| ROOMS.iter().any(|room| room.name == room_of(path)) && room_of(path) != room_of(module);
        imports.extend(paths.iter().filter(other).map(|path| (room_of(path), module.as_str())));
    }
    found
}

/// Complaints about the imports of rooms, in words.
fn complaints(rooms: &[Room], imported: &BTreeMap<&str, BTreeMap<&str, &str>>) -> Vec<String> {
    let mut found = Vec::new();
    let place = |name: &str| rooms.iter().position(|room| room.name == name);
    for name in imported.keys().filter(|name| place(name).is_none()) {
        found.push(format!("`{name}` has no row"));
    }
    for (at, room) in rooms.iter().enumerate() {
        let Some(real) = imported.get(room.name) else {
            found.push(format!("there is no room `{}`", room.name));
            continue;
        };
        for (import, module) in real.iter().filter(|(import, _)| !room.imports.contains(import)) {
            found.push(format!("`{module}` imports `{import}`, which `{}` may not", room.name));
        }
        for import in room.imports {
            if !real.contains_key(import) {
                found.push(format!("`{}` does not import `{import}`, although it may", room.name));
            }
            let Some(below) = place(import) else { continue };
            if below <= at {
                found.push(format!("`{import}` does not stand below `{}`", room.name));
            }
            let allowed = match room.part {
                Part::Leaf => &[Part::Leaf][..],
                Part::Pure => &[Part::Leaf, Part::Pure],
                Part::Live => &[Part::Leaf, Part::Pure, Part::Live],
                Part::Top => &[Part::Leaf, Part::Pure, Part::Live, Part::Top],
            };
            if !allowed.contains(&rooms[below].part) {
                found.push(format!("`{}` is {:?} and reaches `{import}`", room.name, room.part));
            }
        }
    }
    found
}

#[test]
fn every_room_imports_what_its_row_allows_and_nothing_else() {
    let modules = imports::read(&sources("profiler"), "netstrata");
    let found = complaints(ROOMS, &imported(&modules));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_import_upwards_a_row_too_much_and_a_circle_are_told() {
    let rooms = [
        room("report", Part::Pure, &["host", "units"], ""),
        room("host", Part::Live, &["units"], ""),
        room("threads", Part::Leaf, &[], "names of the threads that record"),
        room("units", Part::Leaf, &["host"], ""),
    ];
    let real = BTreeMap::from([
        ("report", BTreeMap::from([("host", "report::text")])),
        ("host", BTreeMap::from([("units", "host"), ("report", "host::cpu")])),
        ("units", BTreeMap::from([("host", "units")])),
        ("new", BTreeMap::new()),
    ]);
    let found = complaints(&rooms, &real);
    for wanted in [
        "`new` has no row",
        "`report` is Pure and reaches `host`",
        "`report` does not import `units`, although it may",
        "`host::cpu` imports `report`, which `host` may not",
        "`host` does not stand below `units`",
    ] {
        assert!(found.contains(&wanted.to_owned()), "{wanted}: {found:?}");
    }
    let graph = real.iter().map(|(room, imports)| (*room, imports.keys().copied().collect())).collect();
    let closing = [("host", ["report", "units"].as_slice()), ("report", &["host"]), ("units", &["host"])];
    let closing = closing.map(|(from, to)| (from.to_owned(), to.iter().copied().map(str::to_owned).collect()));
    assert_eq!(circles(&graph), closing.into());
}

#[test]
fn nothing_imports_itself_in_a_circle() {
    let modules = imports::read(&sources("profiler"), "netstrata");
    let imported = imported(&modules);
    let rooms: Graph = imported.iter().map(|(room, imports)| (*room, imports.keys().copied().collect())).collect();
    let kernel_half = imports::read(&sources("profiler-ebpf"), "netstrata_ebpf");
    let (files, kernel_files) = (beside_each_other(&modules), beside_each_other(&kernel_half));
    let found = [&rooms, &files, &kernel_files].map(circles);
    println!(
        "in circles: {} of {} rooms and {} of {} files of profiler, {} of {} files of the kernel half",
        found[0].len(),
        rooms.len(),
        found[1].len(),
        files.len(),
        found[2].len(),
        kernel_files.len()
    );
    let closing: BTreeMap<String, Vec<String>> = found.into_iter().flatten().collect();
    assert!(closing.is_empty(), "each imports what imports it again: {closing:#?}");
}

#[test]
fn what_only_thinks_names_no_crate_that_looks_at_the_machine() {
    for room in ROOMS.iter().filter(|room| [Part::Leaf, Part::Pure].contains(&room.part)) {
        let folder = sources("profiler").join(room.name);
        let files = if folder.is_dir() { walk(&folder) } else { Vec::new() };
        // A room may be a file with a folder.
        for file in files.into_iter().chain(Some(folder.with_extension("rs")).filter(|file| file.exists())) {
            let text = std::fs::read_to_string(&file).expect("text");
            let used = LIVE_CRATES.iter().find(|name| text.contains(&format!("{name}::")));
            assert_eq!(used, None, "{}", file.display());
        }
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// How many rooms stand below each other under this one.
fn level(room: &Room) -> usize {
    let below = room.imports.iter().filter_map(|name| ROOMS.iter().find(|room| room.name == *name));
    below.map(|below| level(below) + 1).max().unwrap_or(0)
}

/// The picture and the table of the page.
fn sections() -> String {
    let mut out = String::from("### The picture\n\nA room imports only rooms of lower lines.\n\n");
    let names = |level: usize, parts: &[Part]| {
        let rooms = ROOMS.iter().filter(|room| self::level(room) == level && parts.contains(&room.part));
        rooms.map(|room| room.name).collect::<Vec<_>>().join(" ")
    };
    let _ = writeln!(out, "    {:<34}{:<26}looks at the machine, or changes it", "leaves", "thinks");
    let top = ROOMS.iter().map(level).max().unwrap_or(0);
    for level in (0..=top).rev() {
        let columns = [&[Part::Leaf][..], &[Part::Pure], &[Part::Live, Part::Top]].map(|parts| names(level, parts));
        let line = format!("    {:<34}{:<26}{}", columns[0], columns[1], columns[2]);
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push_str("\n### The rooms\n\n| room | what it is about | imports |\n|---|---|---|\n");
    for room in ROOMS {
        let imports: Vec<String> = room.imports.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(out, "| `{}` | {} | {} |", room.name, room.about, imports.join(" "));
    }
    out
}

#[test]
fn the_page_shows_the_table() {
    page::check("architecture.md", &sections());
}
