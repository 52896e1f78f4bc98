//! iperf3's JSON (`-J`, `--json-stream`), as a client or a server prints it.

mod model;
mod udp;

use super::{
    Found,
    json::objects,
    text::{count, whole},
    words::Words,
};
use crate::profile::{
    Benchmark,
    measures::{PairSpread, SideUse},
};
use model::{Document, End, Event, EventName, Shares, Start, Sum, TestStart};

/// How far a rate may be from bytes by seconds: the first versions print seven digits.
const ROUNDED: f64 = 0.01;

/// Whether the words are a server's.
pub fn serves(words: &[&str]) -> bool {
    let server = |word: &&str| *word == "--server" || (word.starts_with("-s") && !word.starts_with("--"));
    words.iter().any(server) && !words.contains(&"-c") && !words.contains(&"--client")
}

/// Whether a text looks like its JSON.
pub fn signs(text: &str) -> bool {
    text.contains("\"test_start\"") || (text.contains("\"system_info\"") && text.contains("\"iperf "))
}

/// One result for each test.
pub fn read(words: &Words<'_>, text: &str) -> Result<Vec<Found>, String> {
    let objects = objects(text);
    let mut documents = tests(documents(&objects.whole)?)?;
    if documents.is_empty() {
        return Err(no_document(words, text, objects.broken_off));
    }
    if objects.broken_off {
        return Err("it is incomplete: its JSON breaks off".into());
    }
    let before = documents.len();
    if documents.iter().any(|document| !waited(document)) {
        documents.retain(|document| !waited(document));
    }
    let mut found = documents.iter().map(|document| result(words, document)).collect::<Result<Vec<_>, _>>()?;
    if let (true, [one]) = (documents.len() < before, found.as_mut_slice()) {
        one.notes.push("of the server only the test that was over: it was ended when it waited for another".into());
    }
    Ok(found)
}

/// Whether it is of a server that was ended before anybody came.
fn waited(document: &Document) -> bool {
    let nobody =
        document.start.as_ref().is_some_and(|start| start.test_start.is_none() && start.accepted_connection.is_none());
    nobody && document.error.as_ref().is_some_and(|error| error.starts_with("interrupt - the server has terminated"))
}

fn no_document(words: &Words<'_>, text: &str, broken_off: bool) -> String {
    let error = text.lines().find(|line| line.contains("error - "));
    match error {
        _ if broken_off => "it is incomplete: its JSON breaks off".into(),
        Some(error) => format!("an error: {error}"),
        None if words.has(&["--logfile"]) == Some(true) => "it went into a file, which --benchmark FILE reads".into(),
        None if words.has(&["-J", "--json", "--json-stream"]) != Some(true) && !text.trim().is_empty() => {
            "only its JSON is read: give it -J".into()
        }
        None => "it holds no JSON of a test".into(),
    }
}

/// The documents among the objects of a text; the events of a stream are put together to one.
fn documents(objects: &[&str]) -> Result<Vec<Document>, String> {
    let wrong = |error: serde_json::Error| format!("a part of it is unknown: {error}");
    let mut found: Vec<Document> = Vec::new();
    let mut stream: Option<Document> = None;
    for object in objects {
        if let Ok(EventName { event }) = serde_json::from_str::<EventName>(object) {
            match event.as_str() {
                "start" => {
                    found.extend(stream.take());
                    let start = serde_json::from_str::<Event<Start>>(object).map_err(wrong)?.data;
                    stream = Some(Document { start: Some(start), ..Document::default() });
                }
                "end" => {
                    let end = serde_json::from_str::<Event<End>>(object).map_err(wrong)?.data;
                    stream.get_or_insert_default().end = Some(end);
                }
                "error" => {
                    let error = serde_json::from_str::<Event<String>>(object).map_err(wrong)?.data;
                    stream.get_or_insert_default().error = Some(error);
                }
                _ => {}
            }
            continue;
        }
        match serde_json::from_str::<Document>(object) {
            Ok(document) => found.extend(Some(document).filter(|document| document.start.is_some())),
            // JSON of other programs is none of a test.
            Err(error) if signs(object) => return Err(wrong(error)),
            Err(_) => {}
        }
    }
    found.extend(stream);
    Ok(found)
}

/// One document for each test. Some versions print theirs twice, and both sides of a test have the same cookie: then the
/// client's counts.
fn tests(documents: Vec<Document>) -> Result<Vec<Document>, String> {
    let mut found: Vec<Document> = Vec::new();
    for document in documents {
        let cookie = |document: &Document| document.start.as_ref().and_then(|start| start.cookie.clone());
        let known = cookie(&document).filter(|cookie| !cookie.is_empty());
        match found.iter_mut().find(|other| known.is_some() && cookie(other) == known) {
            None => found.push(document),
            Some(other) if accepted(other) && !accepted(&document) => *other = document,
            Some(other) if accepted(&document) && !accepted(other) => {}
            // An object that was printed twice, or one without an end beside it.
            Some(other) if same(other, &document) => {}
            Some(other) if !is_over(other) => *other = document,
            Some(_) if !is_over(&document) => {}
            Some(_) => return Err("it holds several results of one test that differ".into()),
        }
    }
    Ok(found)
}

/// Whether it has figures at its end.
fn is_over(document: &Document) -> bool {
    document.end.as_ref().is_some_and(|end| !(end.received.is_empty() && end.both.is_empty()))
}

fn same(one: &Document, other: &Document) -> bool {
    let received = |document: &Document| {
        let sums = document.end.iter().flat_map(|end| end.received.iter().chain(&end.both).chain(&end.sent));
        sums.map(|sum| (sum.bytes.map(f64::to_bits), sum.packets.map(f64::to_bits))).collect::<Vec<_>>()
    };
    received(one) == received(other) && one.error == other.error
}

fn accepted(document: &Document) -> bool {
    document.start.as_ref().is_some_and(|start| start.accepted_connection.is_some())
}

/// A test: what was asked for and how it went.
struct Test<'a> {
    asked: &'a TestStart,
    end: &'a End,
    /// It was printed by the server.
    accepted: bool,
    reverse: bool,
    bidir: bool,
    ended_early: bool,
}

impl Test<'_> {
    /// Whether who prints it is who receives, and needs nobody to be told what came.
    fn receives(&self) -> bool {
        !self.bidir && self.reverse != self.accepted
    }

    /// The sender hears what came at the end, the server never: until then it stands there as nothing, or as what was sent.
    fn knows_what_came(&self) -> Result<(), String> {
        if (self.ended_early || self.accepted) && !self.receives() {
            return Err("only the sender's figures are known, and what the receiver got is not".into());
        }
        Ok(())
    }

    fn directions(&self) -> usize {
        if self.bidir { 2 } else { 1 }
    }
}

/// What one way of a test did.
#[derive(Default)]
struct Way {
    /// Bits a second that the receiver got.
    rate: f64,
    seconds: f64,
    sent_bytes: Option<f64>,
    received_bytes: f64,
}

fn result(words: &Words<'_>, document: &Document) -> Result<Found, String> {
    let error = document.error.as_deref();
    let told = |why: &str| match error {
        Some(error) => format!("it ended early, with an error: {error}; {why}"),
        None => why.to_owned(),
    };
    let (Some(start), Some(end)) = (&document.start, &document.end) else { return Err(told("its end is missing")) };
    let Some(asked) = &start.test_start else { return Err(told("it does not tell what was tested")) };
    let is = |flag: Option<f64>| flag.is_some_and(|flag| flag != 0.0);
    let test = Test {
        asked,
        end,
        accepted: accepted(document),
        reverse: is(asked.reverse),
        // Before 3.11 it does not tell.
        bidir: asked.bidir.map_or_else(
            || words.has(&["--bidir"]) == Some(true) || [&end.received, &end.both].iter().any(|sums| sums.len() == 2),
            |flag| flag != 0.0,
        ),
        ended_early: error.is_some(),
    };
    let udp = asked.protocol.as_deref() == Some("UDP");
    let mut found = if udp { udp::result(&test) } else { bytes(&test) }.map_err(|why| told(&why))?;
    found.began_s = start.timestamp.as_ref().and_then(|stamp| stamp.timesecs);
    if let Some(error) = error {
        found.notes.push(format!("it ended early: {}", super::text::quoted(error)));
    }
    if let Some(omitted) = asked.omit.filter(|seconds| *seconds > 0.0) {
        found.benchmark.unmeasured_s = Some(omitted);
        let told = "figures are of the time behind them, and CPU time of the recording, which is of all, takes them to be as fast";
        found.notes.push(format!("the first {omitted} s of the traffic are left out (-O): {told}"));
    }
    Ok(found)
}

/// A test of a byte stream: TCP, MPTCP or SCTP.
fn bytes(test: &Test<'_>) -> Result<Found, String> {
    let protocol = match test.asked.protocol.as_deref() {
        None | Some("TCP") => "tcp",
        Some("SCTP") => "sctp",
        Some(other) => return Err(format!("its protocol {other} is unknown")),
    };
    let End { received, sent, streams, .. } = test.end;
    if received.len() != test.directions() {
        return Err(format!(
            "it holds {} sums of what was received, and should hold {}",
            received.len(),
            test.directions()
        ));
    }
    test.knows_what_came()?;
    let mut ways = Vec::new();
    for (at, sum) in received.iter().enumerate() {
        let (rate, seconds, bytes) = rate(sum)?;
        if !agrees(rate, bytes, seconds) {
            return Err("the rate of what was received contradicts its bytes and seconds".into());
        }
        let sent_bytes = sent.get(at).and_then(|sum| sum.bytes);
        // What was on its way when the omitted seconds were over arrives behind them.
        let most = if test.asked.omit.is_some_and(|seconds| seconds > 0.0) { 1.5 } else { 1.02 };
        if sent_bytes.is_some_and(|sent| !test.accepted && sent > 0.0 && bytes > most * sent) {
            return Err("more bytes were received than were sent".into());
        }
        ways.push(Way { rate, seconds, received_bytes: bytes, sent_bytes });
    }
    streams_agree(test, &ways)?;
    let retransmits: Option<f64> = sent.iter().map(|sum| sum.retransmits.filter(|count| *count >= 0.0)).sum();
    let rates: Option<Vec<f64>> = streams.iter().map(|stream| Some(rate(stream.receiver.as_ref()?).ok()?.0)).collect();
    let mut benchmark = common(test, &ways);
    benchmark.workload = format!("{protocol}-stream");
    benchmark.retransmits = retransmits.filter(|_| sent.len() == test.directions()).and_then(whole);
    benchmark.pair_spread = rates.and_then(|rates| PairSpread::of("throughput_bits_per_s", &rates));
    Ok(benchmark.into())
}

/// Whether there are as many streams as were asked for, and their bytes are those of the sums, where ways have such.
fn streams_agree(test: &Test<'_>, ways: &[Way]) -> Result<(), String> {
    let streams = &test.end.streams;
    // Of each direction, or of one of them.
    let asked = test.asked.num_streams.and_then(count).map(|streams| streams as usize);
    let is_all = |asked: usize| [asked, asked.saturating_mul(test.directions())].contains(&streams.len());
    if let Some(asked) = asked.filter(|asked| !streams.is_empty() && !is_all(*asked)) {
        return Err(format!("it holds {} streams, and should hold {asked}", streams.len()));
    }
    let each: Option<f64> = streams.iter().map(|stream| stream.receiver.as_ref()?.bytes).sum();
    let all: f64 = ways.iter().map(|way| way.received_bytes).sum();
    let whole = test.directions() == 1 || asked.is_some_and(|asked| asked < streams.len());
    if each.is_some_and(|each| whole && !ways.is_empty() && each > 0.0 && (each - all).abs() > ROUNDED * all) {
        return Err("the bytes of its streams contradict their sum".into());
    }
    Ok(())
}

/// Bits a second, seconds and bytes of a sum, if they agree.
fn rate(sum: &Sum) -> Result<(f64, f64, f64), String> {
    let (Some(rate), Some(bytes)) = (sum.bits_per_second, sum.bytes) else {
        return Err("what the receiver got is missing".into());
    };
    // Streams of some versions tell the sender's seconds with the receiver's rate; their sums tell one time.
    let Some(seconds) = sum.seconds.filter(|seconds| *seconds > 0.0) else {
        return Err("the time of what the receiver got is missing".into());
    };
    if !(bytes > 0.0 && rate > 0.0) {
        return Err("what the receiver got is not known: it stands there as nothing".into());
    }
    Ok((rate, seconds, bytes))
}

/// What tests of all protocols tell.
fn common(test: &Test<'_>, ways: &[Way]) -> Benchmark {
    let seconds = ways.iter().map(|way| way.seconds).fold(0.0, f64::max);
    let streams = test.asked.num_streams.and_then(count);
    let [client, server] = sides(test, ways, seconds);
    Benchmark {
        throughput_bits_per_s: Some(ways.iter().map(|way| way.rate).sum()),
        message_bytes: test.asked.blksize.and_then(whole).filter(|bytes| *bytes > 0),
        pairs: streams.and_then(|streams| streams.checked_mul(test.directions() as u32)).filter(|pairs| *pairs > 0),
        duration_s: Some(seconds),
        client,
        server,
        ..Benchmark::default()
    }
}

/// What client and server used of the CPUs. The other side's figures are zeros where they are not known.
fn sides(test: &Test<'_>, ways: &[Way], seconds: f64) -> [Option<SideUse>; 2] {
    let Shares { host_total, host_user, host_system, remote_total, remote_user, remote_system } = test.end.shares;
    let host = [host_total, host_user, host_system];
    let remote = [remote_total, remote_user, remote_system];
    let [client, server] = if test.accepted { [remote, host] } else { [host, remote] };
    // What each side sent or got: the first way is the client's to the server, unless it is reversed.
    let moved = |of_client: bool| {
        let ways = ways.iter().enumerate().map(|(at, way)| {
            let to_server = (at == 0) != test.reverse;
            if of_client == to_server { way.sent_bytes.filter(|bytes| *bytes > 0.0) } else { Some(way.received_bytes) }
        });
        ways.sum::<Option<f64>>().filter(|bytes| *bytes > 0.0)
    };
    [(client, moved(true)), (server, moved(false))].map(|([total, user, system], bytes)| {
        let share = |percent: Option<f64>| {
            percent.filter(|percent| (0.0..1e7).contains(percent)).map(|percent| percent / 100.0)
        };
        let ns = |percent: Option<f64>| share(percent).map(|share| (share * seconds * 1e9) as u64);
        let cpu_share = share(total).filter(|share| *share > 0.0)?;
        Some(SideUse {
            cpu_share,
            user_ns: ns(user),
            system_ns: ns(system),
            cpu_us_per_transaction: None,
            cpu_ns_per_byte: bytes.map(|bytes| cpu_share * seconds * 1e9 / bytes),
        })
    })
}

/// Whether a rate is that of so many bytes in so many seconds.
fn agrees(rate: f64, bytes: f64, seconds: f64) -> bool {
    (rate - bytes * 8.0 / seconds).abs() <= ROUNDED * rate
}
