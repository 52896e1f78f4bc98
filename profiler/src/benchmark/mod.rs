//! What benchmark programs print, read: a file for each tool. A figure is right, or absent with a note; none is guessed. What
//! counts as a stream's throughput is what the receiver got.
//!
//! The lab's own workers print theirs as data, which `profile::worker` describes.

mod combine;
mod command;
mod fortio;
mod hey;
mod iperf3;
mod json;
mod netperf;
mod ping;
mod possible;
mod qperf;
mod redis;
mod sockperf;
#[cfg(test)]
mod tests;
mod text;
mod wrk;

use std::{
    fs::File,
    io::Read as _,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::profile::{Benchmark, worker::WorkerReport};
use command::{Call, Calls, calls};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// What was measured; none where that is not known.
    pub benchmark: Option<Benchmark>,
    /// What was not understood, or what a reader of the figures should know.
    pub notes: Vec<String>,
}

/// The result of one client.
#[derive(Clone, Debug, Default, PartialEq)]
struct Found {
    benchmark: Benchmark,
    /// What is missing in it, as sentences without the tool's name.
    notes: Vec<String>,
    /// When it began, in seconds of some clock of the tool's.
    began_s: Option<f64>,
}

impl From<Benchmark> for Found {
    fn from(benchmark: Benchmark) -> Self {
        Self { benchmark, ..Self::default() }
    }
}

/// Reads the words of a command, from the tool's name on, and plain text: a result for each client, or why there is none.
type Read = fn(&[&str], &str) -> Result<Vec<Found>, String>;

/// A program whose output is read.
struct Tool {
    /// Its name, and others that it has.
    names: &'static [&'static str],
    read: Read,
    /// Whether the words, without the name, are those of a server, which tells nothing where a client does.
    serves: fn(&[&str]) -> bool,
    /// Whether a text looks like its output.
    signs: fn(&str) -> bool,
}

/// The tools: the only list.
const TOOLS: &[Tool] = &[
    Tool { names: &["iperf3"], read: iperf3::read, serves: iperf3::serves, signs: iperf3::signs },
    Tool {
        names: &["sockperf"],
        read: sockperf::read,
        serves: |words| words.iter().any(|word| matches!(*word, "server" | "sr")),
        signs: |text| text.contains("sockperf: "),
    },
    Tool { names: &["netperf"], read: netperf::read, serves: |_| false, signs: netperf::signs },
    Tool {
        names: &["qperf"],
        read: qperf::read,
        serves: |words| words.iter().all(|word| word.starts_with('-')),
        signs: qperf::signs,
    },
    Tool {
        names: &["wrk", "wrk2"],
        read: wrk::read,
        serves: |_| false,
        signs: |text| text.contains("Requests/sec:") && text.contains(" requests in "),
    },
    Tool {
        names: &["hey"],
        read: hey::read,
        serves: |_| false,
        signs: |text| text.contains("Requests/sec:") && text.contains("Slowest:"),
    },
    Tool {
        names: &["fortio"],
        read: fortio::read,
        serves: |words| !words.iter().any(|word| matches!(*word, "load" | "curl" | "tcp-load")),
        signs: |text| text.contains("\"DurationHistogram\"") || text.contains("All done "),
    },
    Tool {
        names: &["ping", "ping4", "ping6"],
        read: ping::read,
        serves: |_| false,
        signs: |text| text.contains(" ping statistics ---"),
    },
    Tool {
        names: &["redis-benchmark", "valkey-benchmark"],
        read: redis::read,
        serves: |_| false,
        signs: |text| text.contains(" requests per second") || text.contains("\"test\",\"rps\""),
    },
];

impl Tool {
    fn named(name: &str) -> Option<&'static Self> {
        TOOLS.iter().find(|tool| tool.names.contains(&name))
    }

    fn name(&self) -> &'static str {
        self.names[0]
    }
}

/// What the benchmarks of `command` measured, from their standard output; `whole` tells that this is all of it.
pub fn read(command: &[String], output: &str, whole: bool) -> Reading {
    if let Some(report) = WorkerReport::find(output) {
        return Reading { benchmark: Some(report.benchmark()), notes: Vec::new() };
    }
    let Calls { mut calls, together } = clients(command);
    // A ping before a benchmark, or beside it, is no benchmark of its own.
    let pings = |call: &Call<&Tool>| call.tool.name() == "ping";
    let pinged = calls.iter().any(pings) && !calls.iter().all(pings);
    if pinged {
        calls.retain(|call| !pings(call));
    }
    let Some(first) = calls.first() else { return Reading::default() };
    let name = first.tool.name();
    if let Some(other) = calls.iter().find(|call| call.tool.name() != name) {
        return refused(
            name,
            &format!("the command runs {} too, and more than one result is not told apart", other.tool.name()),
        );
    }
    if !whole {
        return refused(
            name,
            "it is too long, and only its beginning was kept; --benchmark FILE reads one from a file",
        );
    }
    let words = first.words.iter().skip(1).map(String::as_str).collect::<Vec<_>>();
    if calls.len() > 1 && !alike(&calls) {
        return refused(name, "the command runs several clients with options that differ");
    }
    let text = lines(output);
    let clients = if calls.len() > 1 { Some((calls.len(), together)) } else { None };
    let mut found = finish(first.tool, (first.tool.read)(&words, &text), clients);
    if pinged && found.benchmark.is_some() {
        found.notes.push(format!("of the command only what {name} measured was taken, and nothing of ping"));
    }
    found
}

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
        Ok(_) => read_text(command, &String::from_utf8_lossy(&bytes))
            .map(|found| longer(found, recorded.seconds))
            .unwrap_or_else(|| refused("it is of no tool that is known")),
    }
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

/// The same from its text; none where no tool is known that prints such a text.
fn read_text(command: &[String], output: &str) -> Option<Reading> {
    if let Some(report) = WorkerReport::find(output) {
        return Some(Reading { benchmark: Some(report.benchmark()), notes: Vec::new() });
    }
    let text = lines(output);
    let Calls { calls, .. } = clients(command);
    let signs = TOOLS.iter().find(|tool| (tool.signs)(&text));
    let named = calls.first().map(|call| call.tool);
    let tool = signs.or(named)?;
    let is_run = |call: &Call<&Tool>| call.tool.name() == tool.name();
    if !calls.is_empty() && !calls.iter().any(is_run) {
        let others = calls[0].tool.name();
        return Some(refused(tool.name(), &format!("the command that was recorded runs {others}")));
    }
    let words = match calls.as_slice() {
        [call] if call.tool.name() == tool.name() => call.words.iter().skip(1).map(String::as_str).collect(),
        _ => Vec::new(),
    };
    Some(finish(tool, (tool.read)(&words, &text), None))
}

/// The whole lines of an output. JSON tells itself where it ends.
fn lines(output: &str) -> String {
    let mut text = text::plain(output);
    // An object that breaks off within its first line is one, too.
    if !text.trim_end().ends_with('}') && !text[text::whole_lines(&text).len()..].trim_start().starts_with('{') {
        text.truncate(text::whole_lines(&text).len());
    }
    text
}

/// The clients of a command. Servers are none, but where nobody else tells anything.
fn clients(command: &[String]) -> Calls<&'static Tool> {
    let mut found = calls(command, &Tool::named);
    let serves = |call: &Call<&Tool>| {
        let words: Vec<&str> = call.words.iter().skip(1).map(String::as_str).collect();
        (call.tool.serves)(&words)
    };
    if found.calls.iter().any(|call| !serves(call)) {
        found.calls.retain(|call| !serves(call));
    }
    found
}

/// Whether several clients have the same options but for whom they ask.
fn alike(calls: &[Call<&Tool>]) -> bool {
    let options = |call: &Call<&Tool>| {
        let address = |word: &String| word.contains('.') || word.contains(':');
        let port = |before: &String| matches!(before.as_str(), "-p" | "--port");
        let place = |before: &String| matches!(before.as_str(), "-c" | "-H" | "-i" | "-h" | "-B" | "-L" | "--client");
        // `-c` is also a number of connections.
        let skipped = |pair: &&[String]| {
            address(&pair[1]) || port(&pair[0]) || (place(&pair[0]) && text::number(&pair[1]).is_none())
        };
        call.words.windows(2).filter(|pair| !skipped(pair)).map(|pair| pair[1].clone()).collect::<Vec<_>>()
    };
    calls.iter().all(|call| options(call) == options(&calls[0]))
}

/// One result of what was found. `clients`: how many there are, and whether they ran together, where the words tell of several.
fn finish(tool: &Tool, found: Result<Vec<Found>, String>, clients: Option<(usize, bool)>) -> Reading {
    let name = tool.name();
    let found = match found {
        Ok(found) => found,
        Err(why) => return refused(name, &why),
    };
    let count = found.len();
    let one = match (found.len(), clients) {
        (0, _) => return refused(name, "it holds no result"),
        (1, None) => found.into_iter().next(),
        (_, None) => return refused(name, &format!("it holds {count} results, and more than one is not told apart")),
        (_, Some((clients, _))) if clients != count => {
            return refused(name, &format!("the command runs {clients} clients, and it holds {count} results"));
        }
        (_, Some((_, together))) => match combine::sum(&found, together) {
            Ok(sum) => Some(sum),
            Err(why) => return refused(name, &why),
        },
    };
    let Some(mut one) = one else { return refused(name, "it holds no result") };
    one.notes.extend(possible::check(&mut one.benchmark));
    one.benchmark.tool = name.into();
    let notes = one.notes.iter().map(|note| format!("of the output of {name} only a part was taken: {note}")).collect();
    Reading { benchmark: Some(one.benchmark), notes }
}

fn refused(name: &str, why: &str) -> Reading {
    Reading { benchmark: None, notes: vec![format!("the output of {name} was not understood: {}", text::quoted(why))] }
}

/// The value of an option: `-m 64`, `-m64`, `--msg-size 64` or `--msg-size=64`.
fn option<'a>(words: &[&'a str], names: &[&str]) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(at, word)| {
        names.iter().find_map(|name| {
            let rest = word.strip_prefix(name)?;
            match rest.strip_prefix('=') {
                Some(value) => Some(value),
                None if rest.is_empty() => words.get(at + 1).copied(),
                None if !name.starts_with("--") => Some(rest),
                None => None,
            }
        })
    })
}
