//! The costs on record: `fixtures/cost.json`, and the tables of `docs/cost.md` that are made from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::figures::{Compared, FIGURES, Measured, compare};
use crate::run;

/// Measurements by kernel.
type Kernels = BTreeMap<String, Measured>;

/// What is written down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// As the code is.
    pub now: Kernels,
    /// As it was when costs were counted first, at 3869833.
    pub before: Kernels,
}

/// Ends what is written by hand in `docs/cost.md`.
const INTRODUCTION: &str = "writes what follows.\n\n";

fn file() -> PathBuf {
    run::workspace().join("fixtures/cost.json")
}

fn page() -> PathBuf {
    run::workspace().join("docs/cost.md")
}

impl Record {
    /// Reads it.
    pub fn read() -> Result<Self> {
        let text = std::fs::read_to_string(file()).with_context(|| format!("cannot read {}", file().display()))?;
        let all: Value = serde_json::from_str(&text).context("fixtures/cost.json is no JSON")?;
        let kernels = |key: &str| -> Result<Kernels> {
            let kernels = all[key].as_object().with_context(|| format!("fixtures/cost.json has no `{key}`"))?;
            kernels.iter().map(|(kernel, value)| Ok((kernel.clone(), Measured::from_json(value)?))).collect()
        };
        Ok(Self { now: kernels("now")?, before: kernels("before")? })
    }

    /// Writes it, and the page.
    pub fn write(&self) -> Result<()> {
        let kernels = |all: &Kernels| -> Map<String, Value> {
            all.iter().map(|(kernel, measured)| (kernel.clone(), measured.to_json())).collect()
        };
        let all = json!({"before": kernels(&self.before), "now": kernels(&self.now)});
        std::fs::write(file(), format!("{all:#}\n")).with_context(|| format!("cannot write {}", file().display()))?;
        std::fs::write(page(), self.page()?).with_context(|| format!("cannot write {}", page().display()))
    }

    /// The page as it should be.
    pub fn page(&self) -> Result<String> {
        let text = std::fs::read_to_string(page()).with_context(|| format!("cannot read {}", page().display()))?;
        let introduction = text.find(INTRODUCTION).context("docs/cost.md has no introduction")? + INTRODUCTION.len();
        Ok(format!("{}{}\n{}", &text[..introduction], self.figures(), self.programs()))
    }

    fn kernels(&self) -> BTreeSet<&String> {
        self.before.keys().chain(self.now.keys()).collect()
    }

    fn head(&self, first: &[&str]) -> String {
        let kernels = self.kernels();
        let columns: Vec<&str> = first.iter().copied().chain(kernels.into_iter().map(String::as_str)).collect();
        format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()))
    }

    /// Each figure: as it was, and as it is.
    fn figures(&self) -> String {
        let mut table = format!("## Before and now\n\n{}", self.head(&["figure", "unit"]));
        for figure in FIGURES {
            let gate = if figure.judged { "" } else { " (not judged)" };
            table.push_str(&format!("| {}{gate} | {} |", figure.name, figure.unit));
            for kernel in self.kernels() {
                let [before, now] =
                    [&self.before, &self.now].map(|all| all.get(kernel)?.figures.get(figure.key).copied());
                table.push_str(&format!(" {} |", cell(before, now)));
            }
            table.push('\n');
        }
        let releases = |all: &Kernels| -> String {
            let releases: Vec<&str> = all.values().map(|measured| measured.release.as_str()).collect();
            releases.join(", ")
        };
        table.push_str(&format!("\nKernels: before {}; now {}.\n", releases(&self.before), releases(&self.now)));
        table
    }

    /// Each program, turned away and followed, as it is.
    fn programs(&self) -> String {
        let mut table = format!(
            "## Each program\n\nInstructions of a run now: of a packet that is turned away / of a followed one. Names are as long as \
             the kernel keeps them.\n\n{}",
            self.head(&["program"])
        );
        let latest = |kernel: &String| self.now.get(kernel).or_else(|| self.before.get(kernel));
        let names: BTreeSet<&String> =
            self.kernels().into_iter().filter_map(latest).flat_map(|measured| measured.programs.keys()).collect();
        for name in names {
            table.push_str(&format!("| `{name}` |"));
            for kernel in self.kernels() {
                let costs = latest(kernel).and_then(|measured| measured.programs.get(name));
                let [away, followed] = costs.copied().unwrap_or_default().map(|cost| cost.map_or("–".into(), number));
                table.push_str(&format!(" {away} / {followed} |"));
            }
            table.push('\n');
        }
        table
    }
}

/// A figure as it was and as it is.
fn cell(before: Option<f64>, now: Option<f64>) -> String {
    match (before, now) {
        (None, None) => "not told".to_owned(),
        (Some(only), None) => number(only),
        (None, Some(now)) => format!("– → {}", number(now)),
        (Some(before), Some(now)) => {
            let change = 100.0 * (now / before - 1.0);
            let change =
                if change.is_finite() && change.abs() >= 0.05 { format!(" ({change:+.1} %)") } else { String::new() };
            format!("{} → {}{change}", number(before), number(now))
        }
    }
}

/// One decimal below a thousand, thousands apart above.
fn number(value: f64) -> String {
    if value.abs() < 1000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// The table for a terminal, and whether a figure is not what it should be.
pub fn judge(kernel: &str, recorded: Option<&Measured>, measured: &Measured) -> (String, bool) {
    let nothing = Measured::default();
    let rows = compare(recorded.unwrap_or(&nothing), measured);
    let fails = rows.iter().any(|row| row.fails);
    let mut text = format!("Linux {kernel} ({})\n", measured.release);
    rows.iter().for_each(|row| text.push_str(&line(row)));
    let release = recorded.map_or("", |recorded| recorded.release.as_str());
    if fails && !release.is_empty() && release != measured.release {
        text.push_str(&format!(
            "  what is on record was measured with {release}: the kernel changed, and perhaps not the programs\n"
        ));
    }
    (text, fails)
}

fn line(row: &Compared) -> String {
    let shown = |value: Option<f64>| value.map_or("–".to_owned(), number);
    let change = row.change().map_or("–".to_owned(), |change| format!("{:+.2} %", 100.0 * change));
    let mark = match (row.fails, row.change()) {
        (false, _) => "",
        (true, Some(_)) => "  BEYOND 2 %",
        (true, None) => "  MISSING",
    };
    format!(
        "  {:<32} {:>12} {:>12} {change:>10}  {}{mark}\n",
        row.name,
        shown(row.recorded),
        shown(row.measured),
        row.unit
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(release: &str, value: f64) -> Measured {
        let figures = FIGURES.iter().map(|figure| (figure.key.to_owned(), value)).collect();
        Measured { release: release.to_owned(), figures, programs: BTreeMap::new() }
    }

    #[test]
    fn the_page_is_what_is_on_record() {
        let record = Record::read().expect("the record");
        assert!(!record.now.is_empty() && !record.before.is_empty());
        let text = std::fs::read_to_string(page()).expect("the page");
        assert_eq!(text, record.page().expect("a page"), "`cargo xtask cost --bless` writes it");
    }

    #[test]
    fn numbers_can_be_read() {
        assert_eq!([64.25, 999.96, 1000.0, 1_234_567.4].map(number), ["64.2", "1000.0", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_cell_tells_what_changed() {
        assert_eq!(cell(Some(100.0), Some(103.0)), "100.0 → 103.0 (+3.0 %)");
        assert_eq!(cell(Some(100.0), Some(100.01)), "100.0 → 100.0");
        assert_eq!(cell(None, None), "not told");
    }

    #[test]
    fn what_is_three_percent_dearer_is_shown_and_fails() {
        let (text, fails) = judge("6.1", Some(&measured("a", 100.0)), &measured("a", 103.0));
        assert!(fails);
        assert_eq!(text.matches("BEYOND").count(), FIGURES.iter().filter(|figure| figure.judged).count());
        assert!(text.contains("+3.00 %") && !text.contains("the kernel changed"), "{text}");
        let (text, fails) = judge("6.1", Some(&measured("a", 100.0)), &measured("b", 103.0));
        assert!(fails && text.contains("measured with a"), "{text}");
        assert!(!judge("6.1", Some(&measured("a", 100.0)), &measured("b", 101.0)).1);
    }

    #[test]
    fn a_kernel_that_is_not_on_record_fails() {
        let (text, fails) = judge("6.1", None, &measured("a", 100.0));
        assert!(fails && text.contains("MISSING"), "{text}");
    }
}
