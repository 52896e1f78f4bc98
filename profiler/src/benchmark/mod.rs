//! What benchmark programs print, read: a file for each tool. A figure is right, or absent with a note; none is guessed. What
//! counts as a stream's throughput is what the receiver got.
//!
//! The lab's own workers print theirs as data, which `profile::worker` describes.

mod combine;
mod command;
mod file;
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
mod words;
mod wrk;

use crate::profile::{Benchmark, worker::WorkerReport};
use command::{Call, Calls, calls};
pub use file::{Recorded, read_file};
use words::{Style, Words};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// What was measured; none where that is not known.
    pub benchmark: Option<Benchmark>,
    /// What was not understood, or what a reader of the figures should know.
    pub notes: Vec<String>,
}

impl Reading {
    /// The same of a command that was asked to end: most benchmarks tell their result at their end.
    pub fn of_ended(mut self) -> Self {
        if self.benchmark.is_none() && !self.notes.is_empty() {
            self.notes.push("the command was ended before its own end, since the recording was over".into());
        }
        self
    }
}

/// The result of one client.
#[derive(Clone, Debug, Default, PartialEq)]
struct Found {
    benchmark: Benchmark,
    /// What is missing in it, as sentences without the tool's name.
    notes: Vec<String>,
    /// When it began, in seconds since 1970 by the tool's own clock.
    began_s: Option<f64>,
    /// Of so many requests each connection may wait for the answers at one time, beside the first.
    ahead: f64,
}

impl From<Benchmark> for Found {
    fn from(benchmark: Benchmark) -> Self {
        Self { benchmark, ..Self::default() }
    }
}

/// Reads a tool's words and plain text: a result for each client, or why there is none.
type Read = fn(&Words<'_>, &str) -> Result<Vec<Found>, String>;

/// A program whose output is read.
struct Tool {
    /// Its name, and others that it has.
    names: &'static [&'static str],
    read: Read,
    style: Style,
    /// Whether the words, without the name, are those of a server.
    serves: fn(&[&str]) -> bool,
    /// Whether a text looks like its output.
    signs: fn(&str) -> bool,
}

const NEVER: fn(&[&str]) -> bool = |_| false;

/// The tools: the only list.
const TOOLS: &[Tool] = &[
    Tool { names: &["iperf3"], read: iperf3::read, style: Style::Usual, serves: iperf3::serves, signs: iperf3::signs },
    Tool {
        names: &["sockperf"],
        read: sockperf::read,
        style: Style::Usual,
        serves: |words| words.iter().any(|word| matches!(*word, "server" | "sr")),
        signs: |text| text.contains("sockperf: "),
    },
    Tool { names: &["netperf"], read: netperf::read, style: netperf::GENERAL, serves: NEVER, signs: netperf::signs },
    Tool { names: &["qperf"], read: qperf::read, style: Style::Usual, serves: qperf::serves, signs: qperf::signs },
    Tool {
        names: &["wrk", "wrk2"],
        read: wrk::read,
        style: Style::Usual,
        serves: NEVER,
        signs: |text| text.contains("Requests/sec:") && text.contains(" requests in "),
    },
    Tool {
        names: &["hey"],
        read: hey::read,
        style: Style::First(hey::FLAGS),
        serves: NEVER,
        signs: |text| text.contains("Requests/sec:") && text.contains("Slowest:"),
    },
    Tool {
        names: &["fortio"],
        read: fortio::read,
        style: Style::Usual,
        serves: |words| !words.iter().any(|word| matches!(*word, "load" | "tcp-load")),
        signs: |text| text.contains("\"DurationHistogram\"") || text.contains("All done "),
    },
    Tool {
        names: &["ping", "ping4", "ping6"],
        read: ping::read,
        style: Style::Usual,
        serves: NEVER,
        signs: |text| text.contains(" ping statistics ---"),
    },
    Tool {
        names: &["redis-benchmark", "valkey-benchmark"],
        read: redis::read,
        style: Style::First(redis::FLAGS),
        serves: NEVER,
        signs: redis::signs,
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
    let Calls { mut calls, together, hides } = clients(command);
    // A ping before a benchmark, or beside it, is no benchmark of its own.
    let pings = |call: &Call<&Tool>| call.tool.name() == "ping";
    let pinged = calls.iter().any(pings) && !calls.iter().all(pings);
    if pinged {
        calls.retain(|call| !pings(call));
    }
    let Some(first) = calls.first() else { return if hides { hidden(output) } else { Reading::default() } };
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
    let (mut found, _) = of_calls(first.tool, &calls, together, &lines(output));
    if pinged && found.benchmark.is_some() {
        found.notes.push(format!("of the command only what {name} measured was taken, and nothing of ping"));
    }
    found
}

/// What a tool's calls measured, and when that began. No call: it ran elsewhere, and nothing is known of its words.
fn of_calls(tool: &Tool, calls: &[Call<&Tool>], together: bool, text: &str) -> (Reading, Option<f64>) {
    let refused = |why: &str| (refused(tool.name(), why), None);
    if calls.len() > 1 && !alike(calls) {
        return refused("the command runs several clients with options that differ");
    }
    let words = match calls.first() {
        Some(call) => Words::new(&call.words[1..], tool.style).with_others(call.has_more),
        None => Words::unknown(),
    };
    let found = match (tool.read)(&words, text) {
        Ok(found) => found,
        Err(why) => return refused(&why),
    };
    let (count, clients) = (found.len(), calls.len().max(1));
    let one = match count {
        0 => return refused("it holds no result"),
        _ if clients == 1 && count > 1 => {
            return refused(&format!("it holds {count} results, and more than one is not told apart"));
        }
        _ if calls.iter().any(|call| call.repeats) => {
            return refused(
                "the command runs it in a loop or a function, or by xargs, so that nothing tells whether this is all that it measured",
            );
        }
        _ if clients != count => {
            return refused(&format!("the command runs {clients} clients, and it holds {count} results"));
        }
        1 => found.into_iter().next(),
        _ => match combine::sum(&found, together) {
            Ok(sum) => Some(sum),
            Err(why) => return refused(&why),
        },
    };
    let Some(mut one) = one else { return refused("it holds no result") };
    one.notes.extend(possible::check(&mut one.benchmark, one.ahead));
    one.benchmark.tool = tool.name().into();
    let notes = one
        .notes
        .iter()
        .map(|note| format!("of the output of {} only a part was taken: {note}", tool.name()))
        .collect();
    (Reading { benchmark: Some(one.benchmark), notes }, one.began_s)
}

/// The tools that a text looks like the output of; not ping beside others.
fn signs(text: &str) -> Vec<&'static Tool> {
    let mut found: Vec<&Tool> = TOOLS.iter().filter(|tool| (tool.signs)(text)).collect();
    if found.len() > 1 {
        found.retain(|tool| tool.name() != "ping");
    }
    found
}

/// Of a program that may run others a figure is none of a tool's that nobody names, but a note.
fn hidden(output: &str) -> Reading {
    let names: Vec<&str> = signs(&lines(output)).iter().map(|tool| tool.name()).collect();
    let note = format!(
        "the output looks like that of {}, which the command does not name, and no figure is taken from it: --benchmark FILE \
         reads a file with it",
        names.join(" and ")
    );
    Reading { benchmark: None, notes: if names.is_empty() { Vec::new() } else { vec![note] } }
}

#[cfg(test)]
fn read_text(command: &[String], output: &str) -> Option<Reading> {
    file::understood(command, output).map(|(found, _)| found)
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

/// The clients of a command. Servers are none, but where nobody else tells anything: of those only iperf3's do.
fn clients(command: &[String]) -> Calls<&'static Tool> {
    let mut found = calls(command, &Tool::named);
    found.hides &= found.calls.is_empty();
    found.calls.retain(|call| !asks_nothing(&call.words[1..]));
    let serves = |call: &Call<&Tool>| {
        let words: Vec<&str> = call.words.iter().skip(1).map(String::as_str).collect();
        (call.tool.serves)(&words)
    };
    let tells = found.calls.iter().any(|call| !serves(call));
    found.calls.retain(|call| !serves(call) || (!tells && call.tool.name() == "iperf3"));
    found
}

/// Whether a program is only to say who it is.
fn asks_nothing(words: &[String]) -> bool {
    let known = ["--version", "-version", "version", "-v", "-V", "--help", "-help", "help", "-h"];
    matches!(words, [only] if known.contains(&only.as_str()))
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

fn refused(name: &str, why: &str) -> Reading {
    Reading { benchmark: None, notes: vec![format!("the output of {name} was not understood: {}", text::quoted(why))] }
}
