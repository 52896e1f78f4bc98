//! Tests of iperf3 with datagrams.

use super::{Found, Test, Way, agrees, common};
use crate::{benchmark::text::whole, profile::measures::Datagrams};

/// Of so many that came for each one that was sent some came twice; beyond it the counts are of different times.
const MOST_TWICE: f64 = 1.05;

/// Datagrams of one way.
struct Counts {
    /// None where it is the receiver that tells, and does not know.
    sent: Option<f64>,
    /// Received, those that came twice included.
    received: f64,
    lost: f64,
    /// The highest number that came.
    known: f64,
}

/// A test of datagrams. Lost are the gaps before the last one that came: what was on its way at the end is neither received
/// nor lost.
pub fn result(test: &Test<'_>) -> Result<Found, String> {
    test.knows_what_came()?;
    super::streams_agree(test, &[])?;
    let newer = !test.end.received.is_empty();
    let sums = if newer { &test.end.received } else { &test.end.both };
    if sums.len() != test.directions() {
        return Err(format!("it holds {} sums of datagrams, and should hold {}", sums.len(), test.directions()));
    }
    let ways = (0..sums.len()).map(|at| way(test, at, newer)).collect::<Result<Vec<_>, _>>()?;
    let (ways, counts): (Vec<Way>, Vec<Counts>) = ways.into_iter().unzip();
    let mut benchmark = common(test, &ways);
    benchmark.workload = "udp-stream".into();
    benchmark.messages_per_s = Some(counts.iter().zip(&ways).map(|(count, way)| count.received / way.seconds).sum());
    benchmark.datagrams = datagrams(test, &counts);
    let mut found = Found::from(benchmark);
    // A receiver does not know what was sent.
    if found.benchmark.datagrams.is_none() && counts.iter().all(|count| count.sent.is_some()) {
        found.notes.push("its counts of datagrams are no whole numbers".into());
    }
    if counts.iter().any(|count| count.lost < 0.0) {
        found.notes.push("more datagrams came than were numbered, so that only those that came are counted".into());
    }
    Ok(found)
}

/// What one way did, and its datagrams.
fn way(test: &Test<'_>, at: usize, newer: bool) -> Result<(Way, Counts), String> {
    let missing = || "datagrams that the receiver got are missing".to_owned();
    let size = test.asked.blksize.filter(|size| *size > 0.0);
    let both = test.end.both.get(at);
    let sum = if newer { test.end.received.get(at) } else { both }.ok_or_else(missing)?;
    let seconds = sum.seconds.filter(|seconds| *seconds > 0.0).ok_or_else(missing)?;
    // 3.11 to 3.13 tell losses in both sums.
    let lost = sum.lost_packets.or_else(|| both?.lost_packets).ok_or_else(missing)?;
    let known = sum.packets.ok_or_else(missing)?;
    let received = known - lost;
    if !(received > 0.0 && known > 0.0) {
        return Err("what the receiver got is not known: it stands there as nothing".into());
    }
    // Before 3.11 bytes and rate are the sender's: what came is counted, and has its size.
    let bytes = if newer { sum.bytes } else { size.map(|size| received * size) };
    let bytes = bytes.filter(|bytes| *bytes > 0.0).ok_or_else(missing)?;
    let rate = if newer { sum.bits_per_second.ok_or_else(missing)? } else { bytes * 8.0 / seconds };
    if !agrees(rate, bytes, seconds) {
        return Err("the rate of what was received contradicts its bytes and seconds".into());
    }
    let all = both.and_then(|sum| sum.bytes).zip(size).map(|(bytes, size)| bytes / size);
    let own = test.end.sent.get(at).and_then(|sum| sum.packets).or(all).filter(|_| !test.accepted);
    if own.is_some_and(|sent| sent > 0.0 && received > MOST_TWICE * sent + 10.0) {
        return Err("more datagrams were received than were sent".into());
    }
    let sent_bytes = test.end.sent.get(at).or(both).and_then(|sum| sum.bytes);
    let counts = Counts { sent: own.filter(|sent| *sent > 0.0), received, lost, known };
    Ok((Way { rate, seconds, sent_bytes, received_bytes: bytes }, counts))
}

fn datagrams(test: &Test<'_>, counts: &[Counts]) -> Option<Datagrams> {
    let sum = |of: fn(&Counts) -> f64| whole(counts.iter().map(of).sum());
    let known = sum(|count| count.known)?;
    let lost = sum(|count| count.lost.max(0.0))?;
    let sent: Option<f64> = counts.iter().map(|count| count.sent).sum();
    let reordered = test.end.streams.iter().map(|stream| stream.udp.as_ref()?.out_of_order.and_then(whole)).sum();
    Some(Datagrams {
        sent: whole(sent?.round())?,
        received: sum(|count| count.received)?,
        lost,
        lost_share: (lost as f64 / known as f64).min(1.0),
        reordered: if test.end.streams.is_empty() { None } else { reordered },
        ..Datagrams::default()
    })
}
