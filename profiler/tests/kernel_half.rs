//! The table at the top of the kernel half's `main.rs` is true: which modules there are, in which order they stand on
//! each other, which programs enter where, and which maps each module reads and writes. Reads sources only.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

#[expect(dead_code, reason = "other tests look for circles")]
#[path = "support/imports.rs"]
mod imports;

use netstrata_common::Point;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../profiler-ebpf/src");

/// A row of the table.
struct Row {
    module: String,
    enters: BTreeSet<String>,
    maps: BTreeSet<String>,
}

fn source(file: &str) -> String {
    std::fs::read_to_string(Path::new(SOURCES).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The code of each module.
fn modules() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let entries = |folder: &str| {
        let folder = std::fs::read_dir(Path::new(SOURCES).join(folder)).expect("the sources are here");
        folder.map(|entry| entry.expect("readable").file_name().into_string().expect("a name")).collect::<Vec<_>>()
    };
    for name in entries("") {
        match name.strip_suffix(".rs") {
            Some("main") => {}
            Some(module) => drop(found.insert(module.to_owned(), code(&source(&name)))),
            None => {
                for file in entries(&name) {
                    let module = file.strip_suffix(".rs").expect("only Rust").to_owned();
                    let path = if module == "mod" { name.clone() } else { format!("{name}::{module}") };
                    found.insert(path, code(&source(&format!("{name}/{file}"))));
                }
            }
        }
    }
    found
}

fn table() -> Vec<Row> {
    let words = |cell: &str| {
        let words = cell.split([' ', ',']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let text = source("main.rs");
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let module = cells[0].trim_end_matches('`').to_owned();
        Row { module, enters: words(cells[2]), maps: words(cells[3]) }
    })
    .collect()
}

/// What each module imports or names of the crate; a folder's door also has what its files say.
fn imported() -> BTreeMap<String, BTreeSet<String>> {
    let read = imports::read(Path::new(SOURCES), "netstrata_ebpf");
    let of = |module: &str, paths: &BTreeSet<String>| {
        let named = paths.iter().filter_map(|path| imports::module_of(path, &read));
        let inside = read.keys().map(String::as_str).filter(|other| other.starts_with(&format!("{module}::")));
        named.chain(inside).filter(|other| *other != module).map(str::to_owned).collect()
    };
    read.iter().map(|(module, paths)| (module.clone(), of(module, paths))).collect()
}

#[test]
fn every_module_stands_in_the_table_and_imports_only_from_above() {
    let (modules, table, imported) = (modules(), table(), imported());
    let listed: BTreeSet<_> = table.iter().map(|row| &row.module).collect();
    assert_eq!(listed, modules.keys().collect());
    let mut above = BTreeSet::new();
    let mut edges = 0;
    for row in &table {
        for import in &imported[&row.module] {
            assert!(above.contains(import), "`{}` imports `{import}`, which does not stand above it", row.module);
            edges += 1;
        }
        above.insert(row.module.clone());
    }
    assert!(edges > 100, "the imports are not read: only {edges}");
}

#[test]
fn the_table_tells_which_maps_each_module_reads_and_writes() {
    let modules = modules();
    let statics: Vec<&str> =
        modules["maps"].lines().filter_map(|line| line.strip_prefix("pub static ")?.split(':').next()).collect();
    for row in table().iter().filter(|row| row.module != "maps") {
        let code = &modules[&row.module];
        let is_written = |name: &str| {
            ["get_ptr_mut(", "insert(", "output::<", "first("]
                .iter()
                .any(|call| code.contains(&format!("{name}.{call}")))
        };
        let is_named = |name: &&str| {
            code.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').any(|word| word == *name)
        };
        let used = statics.iter().copied().filter(is_named);
        let used: BTreeSet<_> =
            used.map(|name| if is_written(name) { name.to_owned() } else { format!("({name})") }).collect();
        assert_eq!(row.maps, used, "{}", row.module);
    }
}

#[test]
fn the_table_tells_which_programs_enter_where() {
    let modules = modules();
    let mut entered: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in ["probe", "hook"] {
        let code = &modules[file];
        let stamped = code.match_indices("probe!(").filter_map(|(at, begin)| {
            let (name, body) = code[at + begin.len()..].split_once(", |")?;
            Some((name, body.split_once("| ")?.1))
        });
        let written = code.match_indices("fn ").filter_map(|(at, begin)| {
            let (name, rest) = code[at + begin.len()..].split_once('(')?;
            let (_, body) = rest.trim_start_matches('_').strip_prefix("context: ")?.split_once(") -> ")?;
            let is_program = body.starts_with("i32") || body.starts_with("u32");
            (!name.contains('$') && is_program).then_some((name, body))
        });
        for (name, body) in stamped.chain(written) {
            let at = body.find("::").expect("a program calls a module");
            let start = body[..at].rfind(|letter: char| !letter.is_ascii_lowercase()).map_or(0, |at| at + 1);
            entered.entry(&body[start..at]).or_default().insert(name.to_owned());
        }
    }
    assert!(entered.remove("record").is_some_and(|points| points.len() > 15));
    for (module, programs) in entered {
        // A folder's door lets in what its files say.
        let rows = table().into_iter().filter(|row| row.module.split("::").next() == Some(module));
        let told: BTreeSet<_> =
            rows.flat_map(|row| row.enters).filter(|word| !["every", "hook"].contains(&&**word)).collect();
        assert_eq!(told, programs, "{module}");
    }
}

#[test]
fn every_point_has_a_program_that_crosses_it() {
    let modules = modules();
    let code = format!("{}{}", modules["probe"], modules["record"]);
    for point in Point::ALL.iter().filter(|point| **point != Point::None) {
        let ends =
            |at: usize, name: &str| code[at + name.len()..].starts_with(|letter: char| !letter.is_alphanumeric());
        let name = format!("Point::{point:?}");
        assert!(code.match_indices(&name).any(|(at, name)| ends(at, name)), "no program crosses {point:?}");
    }
}
