//! netperf's output: tables of the classic tests, and columns that the user chose (`-o`, `-O`, `-k`, the test `omni`).

mod classic;
mod omni;

use super::{Found, option, text::quoted};

/// Whether a text looks like its output.
pub fn signs(text: &str) -> bool {
    text.contains(" TEST from ") || text.lines().any(|line| line.starts_with("THROUGHPUT="))
}

/// What was asked for.
struct Asked<'a> {
    /// Before `--`: options of every test.
    general: &'a [&'a str],
    /// Behind it: options of this one.
    own: &'a [&'a str],
    test: Test,
    /// The test `omni`, whose figures are those of its directions.
    omni: bool,
    /// Words or a banner tell the test; else it has to be told beside the figures.
    certain: bool,
}

/// A kind of work.
#[derive(Clone, Debug, PartialEq)]
struct Test {
    protocol: &'static str,
    work: Work,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    /// Bytes one way.
    Stream,
    /// Requests and answers.
    Requests,
    /// The same with a connection for each (`crr`), or connections alone (`cc`).
    Connections(&'static str),
}

impl Test {
    fn workload(&self) -> String {
        let work = match self.work {
            Work::Stream => "stream",
            Work::Requests => "rr",
            Work::Connections(name) => name,
        };
        format!("{}-{work}", self.protocol)
    }

    /// By a test's name.
    fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        let (protocol, work) = name.split_once('_')?;
        let protocol = match protocol {
            "TCP" => "tcp",
            "UDP" => "udp",
            "SCTP" => "sctp",
            _ => return None,
        };
        let work = match work {
            "STREAM" | "MAERTS" | "SENDFILE" | "STREAM_MANY" => Work::Stream,
            "RR" | "RR_MANY" => Work::Requests,
            "CRR" => Work::Connections("crr"),
            "CC" => Work::Connections("cc"),
            _ => return None,
        };
        Some(Self { protocol, work })
    }
}

/// One result for each test.
pub fn read(words: &[&str], text: &str) -> Result<Vec<Found>, String> {
    if let Some(line) = text.lines().find(|line| is_error(line)) {
        return Err(format!("an error: {}", quoted(line)));
    }
    let at = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    let (general, own) = (&words[..at], words.get(at + 1..).unwrap_or_default());
    let parts = parts(text);
    if parts.iter().all(|part| part.trim().is_empty()) {
        return Err("it is empty".into());
    }
    let mut found = Vec::new();
    for part in parts.iter().filter(|part| !part.trim().is_empty()) {
        let asked = asked(general, own, part)?;
        let mut results =
            if asked.omni || chosen(own, part) { omni::read(&asked, part)? } else { classic::read(&asked, part)? };
        if part.contains("Desired confidence was not achieved") {
            let note = "an error that netperf tells: it did not reach the confidence that was asked for";
            results.iter_mut().for_each(|found| found.notes.push(note.into()));
        }
        found.append(&mut results);
    }
    Ok(found)
}

fn is_error(line: &str) -> bool {
    let begins = ["netperf: ", "establish control: ", "establish_control", "send_omni: ", "netperf: remote error"];
    begins.iter().any(|begin| line.starts_with(begin)) || line.contains("remote error")
}

/// The output of each test: from its banner to the next.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        if line.contains(" TEST from ") || line.contains(" TEST to ") {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

/// Whether the user chose columns, by the words or by the text.
fn chosen(own: &[&str], part: &str) -> bool {
    let asked =
        own.iter().any(|word| ["-o", "-O", "-k"].iter().any(|name| word.starts_with(name)) && !word.starts_with("--"));
    let classic = ["Socket Socket  Message", "Local /Remote", "Socket  Message  Elapsed"];
    let named = |line: &str| line.starts_with("THROUGHPUT=") || (line.contains("Throughput") && !line.contains('#'));
    asked || (part.lines().any(named) && !classic.iter().any(|head| part.contains(head)))
}

/// What the words and the banner say of the test; they may not contradict each other.
fn asked<'a>(general: &'a [&'a str], own: &'a [&'a str], part: &str) -> Result<Asked<'a>, String> {
    let banner = part.lines().next().filter(|line| line.contains(" TEST ")).unwrap_or("");
    let name = option(general, &["-t"]);
    let by_omni = name.is_some_and(|name| name.eq_ignore_ascii_case("omni"));
    let asked_for = match name {
        Some(name) if !by_omni => Some(Test::named(name).ok_or_else(|| format!("its test {name} is unknown"))?),
        None if banner.is_empty() => Some(Test { protocol: "tcp", work: Work::Stream }),
        _ => None,
    };
    let contradicted = || "its banner is of another test than was asked for".to_owned();
    let test = match (asked_for, by_banner(banner)) {
        (Some(asked), Some(told)) if asked != told => return Err(contradicted()),
        (Some(test), _) | (None, Some(test)) => test,
        (None, None) => omni_test(own),
    };
    // `OMNI Send TEST` goes one way, `OMNI Send|Recv TEST` both.
    let omni_banner =
        banner.strip_prefix("OMNI ").map(|rest| rest.split(" TEST ").next().is_some_and(|way| way.contains('|')));
    let one_way = test.work == Work::Stream;
    let certain = !(general.is_empty() && own.is_empty()) || by_banner(banner).is_some();
    if certain && omni_banner.is_some_and(|both| both == one_way) {
        return Err(contradicted());
    }
    Ok(Asked { general, own, test, omni: by_omni || omni_banner.is_some(), certain })
}

/// The test of a banner: `MIGRATED TCP REQUEST/RESPONSE TEST from …`.
fn by_banner(banner: &str) -> Option<Test> {
    let (name, _) = banner.split_once(" TEST ")?;
    let name = name.strip_prefix("MIGRATED ").unwrap_or(name).to_ascii_uppercase();
    let (protocol, work) = name.split_once(' ')?;
    let work = match work {
        "STREAM" | "MAERTS" | "SENDFILE" => "STREAM",
        "REQUEST/RESPONSE" => "RR",
        "CONNECT/REQUEST/RESPONSE" => "CRR",
        "CONNECT/CLOSE" => "CC",
        _ => return None,
    };
    Test::named(&format!("{protocol}_{work}"))
}

/// What `omni` does by its own options.
fn omni_test(own: &[&str]) -> Test {
    let protocol = match option(own, &["-T"]).map(str::to_ascii_lowercase).as_deref() {
        Some("udp") => "udp",
        Some("sctp") => "sctp",
        _ => "tcp",
    };
    let both = option(own, &["-d"]).is_some_and(|way| {
        let way = way.to_ascii_lowercase();
        way == "rr" || way == "6" || (way.contains("send") && way.contains("recv"))
    });
    let connects = own.contains(&"-c");
    let work = match (both, connects) {
        (false, _) => Work::Stream,
        (true, false) => Work::Requests,
        (true, true) => Work::Connections("crr"),
    };
    Test { protocol, work }
}

/// Bits of a unit of throughput by its name; `None` for one that is no number of bits.
fn bits(unit: &str) -> Option<f64> {
    let unit = unit.trim().trim_end_matches("ec");
    let table = [
        ("10^0bits/s", 1.0),
        ("10^3bits/s", 1e3),
        ("10^6bits/s", 1e6),
        ("10^9bits/s", 1e9),
        ("Bytes/s", 8.0),
        ("KBytes/s", 8.0 * 1024.0),
        ("MBytes/s", 8.0 * 1_048_576.0),
        ("GBytes/s", 8.0 * 1_073_741_824.0),
    ];
    table.iter().find(|(name, _)| *name == unit).map(|(_, bits)| *bits)
}

/// Bits of the unit that `-f` asks for; 10^6 without it.
fn asked_bits(general: &[&str]) -> Option<f64> {
    match option(general, &["-f"]) {
        None | Some("m") => Some(1e6),
        Some("k") => Some(1e3),
        Some("g") => Some(1e9),
        Some("K") => bits("KBytes/s"),
        Some("M") => bits("MBytes/s"),
        Some("G") => bits("GBytes/s"),
        Some(_) => None,
    }
}
