//! The part of `docs/modes.md` that is made from the table, and the test that holds the page to it.

use std::fmt::Write as _;

use super::{
    modes::{MODES, Mode},
    needs::Need,
};

fn needs(mode: &Mode) -> String {
    let words: Vec<String> = mode
        .needs
        .iter()
        .map(|need| match need {
            Need::Device(kind) => format!("{kind} devices"),
            Need::Program(program, package) => format!("`{program}` (Debian: {package})"),
            Need::Kernel(what, _) => (*what).to_owned(),
            Need::Docker => "a Docker engine".to_owned(),
            Need::Cni(plugin) => format!("the CNI plugin `{plugin}` (Debian: containernetworking-plugins)"),
            Need::Guest => "an emulated guest (Debian: qemu-system-x86, busybox-static)".to_owned(),
        })
        .collect();
    words.join("; ")
}

fn sections() -> String {
    let mut out = String::new();
    for mode in MODES {
        let layers: Vec<String> = mode
            .layers
            .iter()
            .map(|(layer, device)| match *device {
                "" => format!("`{layer}`"),
                device => format!("`{layer}` at `{device}`"),
            })
            .collect();
        let _ = write!(
            out,
            "### `{}`\n\n{}.\n\n    {}\n\nLayers: {}.\n\nNeeds: {}.\n\n",
            mode.name,
            mode.text,
            mode.chain.join(" ─ "),
            layers.join(", "),
            needs(mode)
        );
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[test]
fn modes_page_is_made_from_the_table() {
    crate::page::check("modes.md", &sections());
}
