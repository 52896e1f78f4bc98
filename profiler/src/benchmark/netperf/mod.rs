//! netperf's output: tables of the classic tests, and columns that the user chose (`-o`, `-O`, `-k`, the test `omni`).

mod classic;
mod omni;

use super::{
    Found,
    text::{number, quoted},
    words::{Style, Words},
};

/// Its options of every test.
pub const GENERAL: Style = Style::Letters("AabBDfFHiIkKlLnoOpPstTvwWyYZ", "cC");
/// Those of a test, behind `--`. Lists of columns may be left out.
const OWN: Style = Style::Letters("bdeGHijKlLmMpPqrRsStTuwW", "oOk");

/// Whether a text looks like its output.
pub fn signs(text: &str) -> bool {
    let banner = |line: &str| line.contains(" TEST from ") && line.contains(" AF_");
    text.lines().any(|line| banner(line) || line.starts_with("THROUGHPUT="))
}

/// What was asked for.
struct Asked<'a> {
    /// Before `--`: options of every test.
    general: &'a Words<'a>,
    /// Behind it: options of this one.
    own: &'a Words<'a>,
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
pub fn read(words: &Words<'_>, text: &str) -> Result<Vec<Found>, String> {
    if let Some(line) = text.lines().find(|line| is_error(line)) {
        return Err(format!("an error: {}", quoted(line)));
    }
    let own = words.behind_dashes(OWN);
    let parts = parts(words, text)?;
    if parts.iter().all(|part| part.trim().is_empty()) {
        return Err("it is empty".into());
    }
    let mut found = Vec::new();
    for part in parts.iter().filter(|part| !part.trim().is_empty()) {
        let asked = asked(words, &own, part)?;
        let mut results =
            if asked.omni || chosen(&own, part) { omni::read(&asked, part)? } else { classic::read(&asked, part)? };
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

/// The output of each test: from its banner to the next, without what it tells meanwhile (`-D`). What is before the first banner is
/// another program's, unless nothing tells whether there was a test without one.
fn parts(words: &Words<'_>, text: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    for line in text.lines().filter(|line| !line.starts_with("Interim result:")) {
        if line.contains(" TEST from ") || line.contains(" TEST to ") {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    if parts.len() > 1 {
        let row =
            |line: &str| line.split([' ', ',']).filter(|word| !word.is_empty()).all(|word| number(word).is_some());
        let figures = |line: &str| line.starts_with("THROUGHPUT=") || (!line.trim().is_empty() && row(line));
        if !words.certain() && parts[0].lines().any(figures) {
            return Err("figures before its banner are of nobody knows what".into());
        }
        parts.remove(0);
    }
    Ok(parts)
}

/// Whether the user chose columns, by the words or by the text.
fn chosen(own: &Words<'_>, part: &str) -> bool {
    let classic = ["Socket Socket  Message", "Local /Remote", "Socket  Message  Elapsed"];
    let named = |line: &str| line.starts_with("THROUGHPUT=") || (line.contains("Throughput") && !line.contains('#'));
    own.has(&["-o", "-O", "-k"]) == Some(true)
        || (part.lines().any(named) && !classic.iter().any(|head| part.contains(head)))
}

/// What the words and the banner say of the test; they may not contradict each other.
fn asked<'a>(general: &'a Words<'a>, own: &'a Words<'a>, part: &str) -> Result<Asked<'a>, String> {
    let banner = part.lines().next().filter(|line| line.contains(" TEST ")).unwrap_or("");
    // `OMNI Send TEST` goes one way, `OMNI Send|Recv TEST` both.
    let omni_banner =
        banner.strip_prefix("OMNI ").map(|rest| rest.split(" TEST ").next().is_some_and(|way| way.contains('|')));
    let told = by_banner(banner);
    if !banner.is_empty() && told.is_none() && omni_banner.is_none() {
        return Err(format!("its test is unknown: {}", quoted(banner)));
    }
    let name = general.value(&["-t"]).or("TCP_STREAM");
    let by_omni = name.is_some_and(|name| name.eq_ignore_ascii_case("omni"));
    let asked_for = match name {
        // Not asked for by anybody, it says nothing against a banner.
        Some(_) if general.has(&["-t"]) == Some(false) && !banner.is_empty() => None,
        Some(name) if !by_omni => Some(Test::named(name).ok_or_else(|| format!("its test {name} is unknown"))?),
        _ => None,
    };
    let contradicted = || "its banner is of another test than was asked for".to_owned();
    let by_own = if by_omni || omni_banner.is_some() { omni_test(own)? } else { None };
    let certain = asked_for.is_some() || told.is_some() || by_own.is_some();
    let test = match (asked_for, told) {
        (Some(asked), Some(told)) if asked != told => return Err(contradicted()),
        (Some(test), _) | (None, Some(test)) => test,
        (None, None) => by_own.unwrap_or(Test { protocol: "tcp", work: Work::Stream }),
    };
    if certain && omni_banner.is_some_and(|both| both == (test.work == Work::Stream)) {
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

/// What `omni` does by its own options; none where they are not all known.
fn omni_test(own: &Words<'_>) -> Result<Option<Test>, String> {
    let (Some(protocol), Some(way), Some(connects)) =
        (own.value(&["-T"]).or("tcp"), own.value(&["-d"]).or("send"), own.has(&["-c"]))
    else {
        return Ok(None);
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        other => return Err(format!("its protocol {} is unknown", quoted(other))),
    };
    let way = way.to_ascii_lowercase();
    let sends = ["send", "xmit", "stream", "transmit", "2", "0x2"];
    let receives = ["recv", "maerts", "receive", "4", "0x4"];
    let both = match way.split('|').map(str::trim).collect::<Vec<_>>().as_slice() {
        ["rr" | "6" | "0x6"] => true,
        [way] if sends.contains(way) || receives.contains(way) => false,
        [one, other] if sends.contains(one) && receives.contains(other) => true,
        [one, other] if receives.contains(one) && sends.contains(other) => true,
        _ => return Err(format!("its direction {} is unknown", quoted(&way))),
    };
    let work = match (both, connects) {
        (false, _) => Work::Stream,
        (true, false) => Work::Requests,
        (true, true) => Work::Connections("crr"),
    };
    Ok(Some(Test { protocol, work }))
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

/// Bits of the unit that `-f` asks for, whose first letter counts; 10^6 without it.
fn asked_bits(general: &Words<'_>) -> Option<f64> {
    match general.value(&["-f"]).or("m")?.chars().next()? {
        'm' => Some(1e6),
        'k' => Some(1e3),
        'g' => Some(1e9),
        'K' => bits("KBytes/s"),
        'M' => bits("MBytes/s"),
        'G' => bits("GBytes/s"),
        _ => None,
    }
}

/// Whether a rate is one of transactions: `-f` asks for another unit. Words that are not known may do so.
fn transactions(general: &Words<'_>) -> bool {
    general.value(&["-f"]).or("x").is_some_and(|unit| unit.starts_with('x'))
}
