//! The part of `docs/layers.md` that is made from the table, and the test that holds the page to it.

use std::fmt::Write as _;

use netstrata_common::Layer;

use super::symbols::{RULES, Role};

fn words(out: &mut String, lead: &str, words: &[&str]) {
    let mut words = words.to_vec();
    words.sort_unstable();
    let mut line = lead.to_owned();
    for word in words {
        if line.chars().count() + word.len() + 3 > 118 {
            let _ = writeln!(out, "{line}");
            line.clear();
        }
        let gap = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{gap}`{word}`");
    }
    let _ = writeln!(out, "{line}\n");
}

fn sections() -> String {
    let mut out = String::new();
    for layer in Layer::ALL {
        let kind = if layer.is_datapath() { "Packets dwell in it." } else { "CPU account only." };
        let _ = writeln!(out, "### `{}`\n\n{}. {kind}\n", layer.name(), layer.about());
        let mut ruled = false;
        for rule in RULES.iter().filter(|rule| rule.layer == Some(*layer)) {
            ruled = true;
            let lead = match rule.role {
                Role::Helper => "Helper:",
                Role::Absorbs => "With everything inside:",
                _ => "Decides:",
            };
            words(&mut out, lead, rule.words);
        }
        if !ruled {
            out.push_str("No kernel function stands for it.\n\n");
        }
    }
    out.push_str("### Shared\n\nThe caller's work.\n\n");
    for rule in RULES.iter().filter(|rule| rule.layer.is_none()) {
        words(&mut out, "Passes:", rule.words);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[test]
fn layers_page_is_made_from_the_table() {
    let page = crate::page::check("layers.md", &sections());
    for layer in Layer::ALL {
        assert!(page.contains(&format!("\n### `{}`\n", layer.name())), "{}", layer.name());
    }
}
