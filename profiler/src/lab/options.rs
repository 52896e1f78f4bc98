//! How `lab run` was asked to run: kept in `comparison.json`, so that it can be run the same way again.

use std::{ffi::OsString, fs, path::Path};

use clap::Parser as _;
use serde_json::Value;

use crate::{
    cli::{Cli, Command, LabCommand, LabRunArgs},
    failure::Failure,
};

/// Options of which each run has its own: where it writes, and how often it runs.
const OF_A_RUN: &[&str] = &["-o", "--output", "--repeat", "--until", "--at-most", "--layout"];

/// The options of a command line that say how it runs, without modes; none where it is not the one that was understood.
pub fn given(args: &LabRunArgs, words: impl Iterator<Item = OsString>) -> Option<Vec<String>> {
    let words: Vec<String> = words.map(|word| word.into_string().ok()).collect::<Option<_>>()?;
    let at = words.windows(2).position(|two| two[0] == "lab" && two[1] == "run")?;
    let mut kept = Vec::new();
    let mut rest = words[at + 2..].iter();
    while let Some(word) = rest.next() {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let is_output = word.starts_with("-o") && word.len() > 2;
        if OF_A_RUN.contains(&name) {
            if value.is_none() {
                rest.next();
            }
        } else if !is_output && !args.modes.contains(word) {
            kept.push(word.clone());
        }
    }
    read(&args.modes, &kept).is_some().then_some(kept)
}

/// The arguments that options and modes make.
fn read(modes: &[String], options: &[String]) -> Option<LabRunArgs> {
    let words = ["netstrata", "lab", "run"].map(str::to_owned).into_iter();
    let cli = Cli::try_parse_from(words.chain(modes.iter().cloned()).chain(options.iter().cloned())).ok()?;
    match cli.command {
        Command::Lab { command: LabCommand::Run(args) } => Some(args),
        _ => None,
    }
}

/// How the recordings in a directory were made: the options, and what they say of `mode`.
///
/// # Errors
/// [`Failure::Usage`] where the directory does not tell.
pub fn kept(directory: &Path, mode: &str) -> Result<(Vec<String>, LabRunArgs), Failure> {
    let file = directory.join("comparison.json");
    let told = || {
        let comparison: Value = serde_json::from_str(&fs::read_to_string(&file).ok()?).ok()?;
        let options: Option<Vec<String>> = serde_json::from_value(comparison["options"].clone()).ok();
        let options = options?;
        let args = read(&[mode.to_owned()], &options)?;
        Some((options, args))
    };
    told().ok_or_else(|| {
        Failure::Usage(format!(
            "{} does not tell how the recordings were made: give a directory of `lab run` of this version, or recordings of today",
            file.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_how_it_ran_is_kept_and_the_rest_is_not() {
        let line = "-v lab run host bridge --workload tcp-rr -o lab --pin=same --repeat 6 --size 64,1K --until=5% -olab \
                    --machine emulated:6.12 --clock instructions --layout 3";
        let args = LabRunArgs { modes: vec!["host".into(), "bridge".into()], ..LabRunArgs::default() };
        let found = given(&args, line.split(' ').filter(|word| !word.is_empty()).map(OsString::from));
        let wanted = "--workload tcp-rr --pin=same --size 64,1K --machine emulated:6.12 --clock instructions";
        assert_eq!(found.map(|words| words.join(" ")).as_deref(), Some(wanted));
        assert_eq!(given(&args, ["test".into()].into_iter()), None);
    }
}
