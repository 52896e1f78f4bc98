//! netperf's figures by name: `-k` (NAME=VALUE), `-o` (values with commas), `-O` (columns).

use std::collections::BTreeMap;

use super::{
    Asked, Found, Test, Work, asked_bits, bits,
    classic::{burst, burst_note},
    transactions,
};
use crate::{
    benchmark::text::{number, whole},
    profile::Benchmark,
};

/// What columns are called in heads, of those that are read.
const TITLES: &[(&str, &str)] = &[
    ("Throughput", "THROUGHPUT"),
    ("Throughput Units", "THROUGHPUT_UNITS"),
    ("Elapsed Time (sec)", "ELAPSED_TIME"),
    ("Local Send Size", "LOCAL_SEND_SIZE"),
    ("Request Size Bytes", "REQUEST_SIZE"),
    ("Mean Latency Microseconds", "MEAN_LATENCY"),
    ("50th Percentile Latency Microseconds", "P50_LATENCY"),
    ("90th Percentile Latency Microseconds", "P90_LATENCY"),
    ("99th Percentile Latency Microseconds", "P99_LATENCY"),
    ("Maximum Latency Microseconds", "MAX_LATENCY"),
    ("Protocol", "PROTOCOL"),
    ("Direction", "DIRECTION"),
    ("Transaction Rate Tran/s", "TRANSACTION_RATE"),
    ("Round Trip Latency usec/tran", "RT_LATENCY"),
    ("Remote Recv Throughput", "REMOTE_RECV_THROUGHPUT"),
    ("Local Transport Retransmissions", "LOCAL_TRANSPORT_RETRANS"),
];

type Values = BTreeMap<String, String>;

/// The results of a text with chosen figures.
pub fn read(asked: &Asked<'_>, text: &str) -> Result<Vec<Found>, String> {
    let body: Vec<&str> = text.lines().filter(|line| !line.contains(" TEST ")).collect();
    let named: Vec<(&str, &str)> = body.iter().filter_map(|line| name_and_value(line)).collect();
    let sets = if !named.is_empty() {
        by_names(&named)?
    } else if body.iter().any(|line| line.contains(',')) {
        by_commas(asked, &body)?
    } else {
        by_columns(asked, &body)?
    };
    sets.iter().map(|values| result(asked, text, values)).collect()
}

fn name_and_value(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let usual = !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_');
    usual.then_some((name, value.trim()))
}

/// A name that comes again begins the next result.
fn by_names(named: &[(&str, &str)]) -> Result<Vec<Values>, String> {
    let mut sets = vec![Values::new()];
    for (name, value) in named {
        if sets.last().is_some_and(|set| set.contains_key(*name)) {
            sets.push(Values::new());
        }
        if let Some(set) = sets.last_mut() {
            set.insert((*name).into(), (*value).into());
        }
    }
    let names = |set: &Values| set.keys().cloned().collect::<Vec<_>>();
    if sets.iter().any(|set| names(set) != names(&sets[0])) {
        return Err("it is incomplete: its results do not have the same figures".into());
    }
    Ok(sets)
}

/// The names that the words ask for.
fn asked_names<'a>(asked: &Asked<'a>) -> Vec<&'a str> {
    let list = asked.own.value(&["-o", "-O", "-k"]).known();
    list.map_or(Vec::new(), |list| list.split(',').map(str::trim).collect())
}

fn by_commas(asked: &Asked<'_>, body: &[&str]) -> Result<Vec<Values>, String> {
    let rows: Vec<Vec<&str>> =
        body.iter().filter(|line| !line.is_empty()).map(|line| line.split(',').map(str::trim).collect()).collect();
    let (head, rows): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.iter().all(|word| number(word).is_none() && bits(word).is_none()));
    let head = head.first().map(|row| row.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>());
    rows.iter().map(|row| named(asked, head.as_deref(), row)).collect()
}

/// Columns begin where the words of the last line do, which are its values; the lines above are their heads.
fn by_columns(asked: &Asked<'_>, body: &[&str]) -> Result<Vec<Values>, String> {
    let lines: Vec<&str> = body.iter().copied().filter(|line| !line.trim().is_empty()).collect();
    let Some((values, heads)) = lines.split_last() else { return Err("it is incomplete: it holds no values".into()) };
    let mut begins: Vec<usize> = Vec::new();
    for (at, letter) in values.char_indices() {
        if letter != ' ' && (at == 0 || values[..at].ends_with(' ')) {
            begins.push(at);
        }
    }
    let row: Vec<&str> = values.split_whitespace().collect();
    let first_is_head = heads.first().is_none_or(|line| line.split_whitespace().all(|word| number(word).is_none()));
    if !first_is_head {
        return Err("it holds several results, and more than one is not told apart".into());
    }
    let cell = |line: &str, at: usize| {
        let end = begins.get(at + 1).copied().unwrap_or(usize::MAX).min(line.len());
        line.get(begins[at].min(end)..end).unwrap_or("").trim().to_owned()
    };
    let title = |at: usize| {
        let cells = heads.iter().map(|line| cell(line, at)).filter(|cell| !cell.is_empty());
        cells.collect::<Vec<_>>().join(" ")
    };
    let head: Vec<String> = (0..begins.len()).map(title).collect();
    Ok(vec![named(asked, (!heads.is_empty()).then_some(&head[..]), &row)?])
}

/// Names for the values of a row: by the head, by the words that asked for them, and where there are both, by both.
fn named(asked: &Asked<'_>, head: Option<&[String]>, row: &[&str]) -> Result<Values, String> {
    let names = asked_names(asked);
    let unknown = || "its columns are not known".to_owned();
    if head.is_none() && names.len() != row.len() || head.is_some_and(|head| head.len() != row.len()) {
        return Err(unknown());
    }
    let mut values = Values::new();
    for (at, value) in row.iter().enumerate() {
        let told = head
            .and_then(|head| TITLES.iter().find(|(title, _)| *title == head[at]))
            .map(|(_, name)| (*name).to_owned());
        let wanted = names.get(at).filter(|_| names.len() == row.len()).map(|name| name.to_ascii_uppercase());
        let name = match (told, wanted) {
            (Some(told), Some(wanted)) if told != wanted => return Err(unknown()),
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => continue,
        };
        if values.insert(name, (*value).to_owned()).is_some() {
            return Err("it holds a column twice".into());
        }
    }
    Ok(values)
}

fn result(asked: &Asked<'_>, text: &str, values: &Values) -> Result<Found, String> {
    // -1 stands for what is not known.
    let figure = |name: &str| values.get(name).and_then(|value| number(value)).filter(|value| *value >= 0.0);
    let test = test_of(asked, values)?;
    let throughput = figure("THROUGHPUT").ok_or("it holds no THROUGHPUT")?;
    let mut benchmark = Benchmark {
        workload: test.workload(),
        pairs: Some(1),
        duration_s: figure("ELAPSED_TIME"),
        retransmits: figure("LOCAL_TRANSPORT_RETRANS").filter(|_| test.protocol == "tcp").and_then(whole),
        ..Benchmark::default()
    };
    let unit = values.get("THROUGHPUT_UNITS").map(String::as_str);
    let mut notes = Vec::new();
    let mut ahead = 0.0;
    match (&test.work, unit) {
        (Work::Stream, unit) => {
            let bits =
                unit.map_or_else(|| asked_bits(asked.general), bits).ok_or("the unit of its throughput is unknown")?;
            benchmark.throughput_bits_per_s = Some(throughput * bits);
            benchmark.message_bytes = figure("LOCAL_SEND_SIZE").and_then(whole).filter(|bytes| *bytes > 0);
        }
        (_, Some("Trans/s")) | (_, None) if unit.is_some() || transactions(asked.general) => {
            benchmark.transactions_per_s = Some(throughput);
            benchmark.message_bytes = figure("REQUEST_SIZE").and_then(whole);
            let burst = figure("BURST_SIZE").or_else(|| burst(asked, text));
            trips(&mut benchmark, &figure, burst);
            // One that was measured is told.
            notes.extend(burst_note(burst).filter(|_| benchmark.round_trip_ns.is_none()));
            ahead = burst.unwrap_or(0.0);
        }
        _ => return Err("the unit of its throughput is no number of transactions".into()),
    }
    Ok(Found { notes, ahead, ..Found::from(benchmark) })
}

/// Round trips in microseconds, as whole ones but for the mean.
fn trips(benchmark: &mut Benchmark, figure: &impl Fn(&str) -> Option<f64>, burst: Option<f64>) {
    let ns = |name: &str| figure(name).filter(|us| *us > 0.0).map(|us| us * 1e3);
    let by_rate = benchmark.transactions_per_s.filter(|rate| *rate > 0.0 && burst == Some(0.0)).map(|rate| 1e9 / rate);
    benchmark.round_trip_ns = ns("MEAN_LATENCY").or(by_rate);
    benchmark.round_trip_p50_ns = ns("P50_LATENCY");
    benchmark.round_trip_p90_ns = ns("P90_LATENCY");
    benchmark.round_trip_p99_ns = ns("P99_LATENCY");
    benchmark.round_trip_max_ns = ns("MAX_LATENCY");
}

/// The test: what the figures themselves tell counts, and may not contradict what was asked for.
fn test_of(asked: &Asked<'_>, values: &Values) -> Result<Test, String> {
    let mut test = asked.test.clone();
    match values.get("PROTOCOL").map(String::as_str) {
        Some("TCP") => test.protocol = "tcp",
        Some("UDP") => test.protocol = "udp",
        Some("SCTP") => test.protocol = "sctp",
        Some(other) => return Err(format!("its protocol {other} is unknown")),
        None => {}
    }
    let both = values.get("DIRECTION").map(|way| way.contains('|'));
    if !asked.certain && (both.is_none() || !values.contains_key("PROTOCOL")) {
        return Err("it does not tell which test it is of".into());
    }
    match both {
        Some(true) if test.work == Work::Stream && !asked.certain => test.work = Work::Requests,
        Some(both) if both == (test.work == Work::Stream) => {
            return Err("its direction is of another test than was asked for".into());
        }
        _ => {}
    }
    let transactions = match values.get("THROUGHPUT_UNITS").map(String::as_str) {
        Some("Trans/s") => Some(true),
        Some(_) if values.get("DIRECTION").is_some_and(|way| way == "Send|Recv") => None,
        Some(_) => Some(false),
        None => None,
    };
    match (transactions, test.work) {
        (Some(true), Work::Stream) | (Some(false), Work::Requests | Work::Connections(_)) => {
            return Err("the unit of its throughput is of another test than was asked for".into());
        }
        _ => {}
    }
    Ok(test)
}
