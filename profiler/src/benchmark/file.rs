//! Benchmarks that ran elsewhere, whose output is in a file.

use std::{
    fs::File,
    io::Read as _,
    path::Path,
    time::{Duration, SystemTime},
};

use super::{Call, Calls, Reading, Tool, clients, lines, of_calls, refused, signs, text};
use crate::profile::{Benchmark, worker::WorkerReport};

/// More than this of a file is not read.
const LARGEST_FILE: u64 = 64 << 20;

/// When a recording was made.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// When it began.
    pub since: SystemTime,
    /// How long it was.
    pub seconds: f64,
}

/// Clocks of files are coarse: those that tell no part of a second by seconds, others by ticks.
const COARSE: [Duration; 2] = [Duration::from_secs(2), Duration::from_millis(50)];
/// A benchmark may begin before a recording and end behind it by so much of it: programs start and end.
const LONGER: f64 = 1.1;
/// How far the clocks of two machines may be apart.
const APART_S: f64 = 5.0;

/// What a benchmark measured elsewhere while a recording was made, from a file with its output; `command` may tell its options. A
/// file that cannot be read, or is of something else, is a note: by then the recording is made.
pub fn read_file(command: &[String], file: &Path, recorded: Recorded) -> Reading {
    let refused = |why: &str| Reading {
        benchmark: None,
        notes: vec![format!(
            "the benchmark's result in {} was not understood: {why}",
            text::quoted(&file.display().to_string())
        )],
    };
    // A pipe without a writer would never end.
    if !file.is_file() {
        return refused(if file.exists() { "it is no plain file" } else { "there is no such file" });
    }
    if let Ok(written) = file.metadata().and_then(|there| there.modified()) {
        let part = written.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let coarse = COARSE[usize::from(part > 0)];
        if written + coarse < recorded.since {
            return refused("it was written before the recording began, so it is of another run");
        }
        if written > SystemTime::now() + coarse {
            return refused("it was written in the future, so nothing tells of which run it is");
        }
    }
    let mut bytes = Vec::new();
    match File::open(file).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)) {
        Err(error) => refused(&format!("it cannot be read: {error}")),
        Ok(_) if bytes.len() as u64 > LARGEST_FILE => refused("it is too long"),
        Ok(_) => match understood(command, &String::from_utf8_lossy(&bytes)) {
            None => refused("it is of no tool that is known"),
            Some((found, began_s)) => match elsewhen(&found, began_s, recorded) {
                Some(why) => refused(why),
                None => longer(found, recorded.seconds),
            },
        },
    }
}

/// Why what began by a tool's own clock, if that tells, is of another run than the recorded one.
fn elsewhen(found: &Reading, began_s: Option<f64>, recorded: Recorded) -> Option<&'static str> {
    let ran_s = found.benchmark.as_ref()?.ran_s().unwrap_or(0.0);
    let began_s = began_s?;
    let at = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    if began_s + ran_s + APART_S < at(recorded.since) {
        return Some("by its own clock it was over before the recording began, so it is of another run");
    }
    (began_s > at(SystemTime::now()) + APART_S)
        .then_some("by its own clock it began in the future, so nothing tells of which run it is")
}

/// With a note where it measured what was not recorded.
fn longer(mut found: Reading, recorded: f64) -> Reading {
    let ran = found.benchmark.as_ref().and_then(Benchmark::ran_s);
    if let Some(ran) = ran.filter(|ran| *ran > LONGER * recorded + 0.5) {
        found.notes.push(format!(
            "the benchmark ran for {ran:.1} s and the recording for {recorded:.1} s: a part of what it measured was not recorded, if it is of this run at all"
        ));
    }
    found
}

/// The same from its text, and when it began in seconds since 1970; none where no tool is known that prints such a text.
pub(super) fn understood(command: &[String], output: &str) -> Option<(Reading, Option<f64>)> {
    if let Some(report) = WorkerReport::find(output) {
        return Some((Reading { benchmark: Some(report.benchmark()), notes: Vec::new() }, None));
    }
    let text = lines(output);
    let Calls { calls, together, .. } = clients(command);
    let signs = signs(&text);
    let tool = signs.first().copied().or(calls.first().map(|call| call.tool))?;
    let refused = |why: String| Some((refused(tool.name(), &why), None));
    if let Some(other) = signs.get(1) {
        return refused(format!("it holds output of {} too, and more than one result is not told apart", other.name()));
    }
    let (own, others): (Vec<Call<&Tool>>, Vec<_>) = calls.into_iter().partition(|call| call.tool.name() == tool.name());
    if let (true, Some(other)) = (own.is_empty(), others.first()) {
        return refused(format!("the command that was recorded runs {}", other.tool.name()));
    }
    Some(of_calls(tool, &own, together && others.is_empty(), &text))
}
