//! Which modules of a source tree name which others, read from the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// For each module (`lab::networks::ovs`; the crate itself is empty) the paths within the crate that it names.
pub type Modules = BTreeMap<String, BTreeSet<String>>;

/// Reads a folder of sources. `own` is a name for the crate that a program of the same package uses.
pub fn read(folder: &Path, own: &str) -> Modules {
    let mut found = Modules::new();
    read_folder(folder, &[], own, &mut found);
    found
}

fn read_folder(folder: &Path, inside: &[String], own: &str, found: &mut Modules) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("readable").path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let module = [inside, std::slice::from_ref(&name)].concat();
        if path.is_dir() {
            read_folder(&path, &module, own, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = if ["mod", "lib"].contains(&name.as_str()) { inside } else { &module };
            let text = fs::read_to_string(&path).expect("text");
            found.entry(module.join("::")).or_default().extend(paths(&text, module, own));
        }
    }
}

/// Which of `modules` a path lies in: the longest of their names that it begins with.
pub fn module_of<'a>(path: &str, modules: &'a Modules) -> Option<&'a str> {
    let begins = |module: &&String| {
        path.strip_prefix(module.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    modules.keys().filter(begins).map(String::as_str).max_by_key(|module| module.len())
}

/// A graph of names: what each of them imports.
pub type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Which files import which others. A folder and what lies in it are one for that: what files share stands above them.
pub fn beside_each_other(modules: &Modules) -> Graph<'_> {
    let holds = |one: &str, other: &str| other.strip_prefix(one).is_some_and(|rest| rest.starts_with("::"));
    let apart = |one: &str, other: &str| one != other && !holds(one, other) && !holds(other, one);
    let imports = modules.iter().map(|(module, paths)| {
        let others = paths.iter().filter_map(|path| module_of(path, modules));
        (module.as_str(), others.filter(|other| apart(module, other)).collect())
    });
    imports.collect()
}

/// The imports that close a circle, by who imports: none without a circle.
pub fn circles(graph: &Graph<'_>) -> BTreeMap<String, Vec<String>> {
    let reached = |from: &&str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![*from]);
        while let Some(next) = open.pop() {
            open.extend(graph.get(next).into_iter().flatten().filter(|to| seen.insert(**to)));
        }
        seen.into_iter().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let reached: BTreeMap<&str, BTreeSet<String>> = graph.keys().map(|name| (*name, reached(name))).collect();
    let closing = graph.iter().map(|(from, imports)| {
        let back = imports.iter().filter(|to| reached.get(**to).is_some_and(|far| far.contains(*from)));
        ((*from).to_owned(), back.map(|to| (*to).to_owned()).collect::<Vec<_>>())
    });
    closing.filter(|(_, back)| !back.is_empty()).collect()
}

/// The paths within the crate that a file names, in full.
fn paths(text: &str, module: &[String], own: &str) -> BTreeSet<String> {
    let words = words(text);
    let mut found = BTreeSet::new();
    let mut inner: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < words.len() {
        match words[at].as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inner.retain(|(_, begun)| *begun <= depth);
            }
            "mod" if words.get(at + 2).is_some_and(|word| word == "{") => {
                inner.push((words[at + 1].clone(), depth + 1))
            }
            word if ["crate", "self", "super", own].contains(&word)
                && words.get(at + 1).is_some_and(|word| word == "::") =>
            {
                let mut from = Vec::new();
                if word == "self" || word == "super" {
                    from.extend(module.iter().cloned().chain(inner.iter().map(|(name, _)| name.clone())));
                }
                if word == "super" {
                    from.pop();
                }
                at = tree(&words, at + 2, &from, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// What follows `::`, a name or a group of names; the place behind it.
fn tree(words: &[String], mut at: usize, from: &[String], found: &mut BTreeSet<String>) -> usize {
    let mut path = from.to_vec();
    loop {
        match words[at].as_str() {
            "{" => {
                at += 1;
                while words[at] != "}" {
                    at = if words[at] == "," { at + 1 } else { tree(words, at, &path, found) };
                }
                return at + 1;
            }
            "super" => drop(path.pop()),
            "self" | "*" | "<" => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
        if words.get(at).is_none_or(|word| word != "::") {
            break;
        }
        at += 1;
    }
    found.insert(path.join("::"));
    if words.get(at).is_some_and(|word| word == "as") { at + 2 } else { at }
}

/// Names, `::` and other signs of Rust, without comments, strings and characters.
fn words(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let starts =
        |at: usize, what: &str| what.chars().enumerate().all(|(i, letter)| letters.get(at + i) == Some(&letter));
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        if starts(at, "//") {
            at += letters[at..].iter().take_while(|letter| **letter != '\n').count();
        } else if letters[at] == '"' {
            at = after_string(&letters, at, 0);
        } else if letters[at] == '\'' {
            // A character, or the mark of a lifetime.
            let escaped = letters.get(at + 1) == Some(&'\\');
            let closed = letters.get(at + 2) == Some(&'\'');
            let rest = at + 2 + usize::from(escaped);
            at = match (escaped, closed) {
                (true, _) => rest + letters[rest..].iter().take_while(|letter| **letter != '\'').count() + 1,
                (false, true) => at + 3,
                (false, false) => at + 1,
            };
        } else if is_word(letters[at]) {
            let word: String = letters[at..].iter().take_while(|letter| is_word(**letter)).collect();
            at += word.chars().count();
            let marks = letters[at..].iter().take_while(|letter| **letter == '#').count();
            if word.ends_with('r') && word.len() <= 2 && letters.get(at + marks) == Some(&'"') {
                at = after_string(&letters, at + marks, marks + 1);
            } else {
                found.push(word);
            }
        } else if starts(at, "::") {
            found.push("::".into());
            at += 2;
        } else {
            if !letters[at].is_whitespace() {
                found.push(letters[at].to_string());
            }
            at += 1;
        }
    }
    found
}

/// The place behind the string that begins here. A raw one, which knows no escapes, has one mark more than it shows.
fn after_string(letters: &[char], begin: usize, raw: usize) -> usize {
    let mut at = begin + 1;
    while at < letters.len() {
        match letters[at] {
            '\\' if raw == 0 => at += 2,
            '"' if letters[at + 1..].iter().take_while(|letter| **letter == '#').count() + 1 >= raw => {
                return at + raw.max(1);
            }
            _ => at += 1,
        }
    }
    at
}

#[test]
fn paths_are_read_in_full_from_wherever_they_are_named() {
    let text = r##"
        //! crate::comment::is_none
        use crate::{a::{self, B as C, d::*}, e};
        use super::{super::up::F, beside};
        const TEXT: &str = "crate::string \" crate::string";
        const RAW: &str = r#"crate::raw " crate::raw"#;
        fn f<'a>(x: &'a crate::g::H<'a>) -> char { crate::i::j::<'\''>('"', '\u{1f}') + self::own::k() }
        mod tests { use super::L; fn m() { crate::n!() } }
        pub(crate) use super::o;
    "##;
    let module = ["x".to_owned(), "y".to_owned()];
    let wanted =
        ["a", "a::B", "a::d", "e", "g::H", "i::j", "n", "up::F", "x::beside", "x::o", "x::y::L", "x::y::own::k"];
    assert_eq!(paths(text, &module, "netstrata"), wanted.map(str::to_owned).into());
}
