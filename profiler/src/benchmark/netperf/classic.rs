//! netperf's tables of the classic tests, with banner or without (`-P 0`).

use super::{Asked, Found, Work, asked_bits, bits, transactions};
use crate::{
    benchmark::text::{has_hundredths, number, whole},
    profile::{Benchmark, measures::Datagrams},
};

/// Columns that follow the others where CPU use was asked for.
const CPU_COLUMNS: usize = 4;

/// The results of a table.
pub fn read(asked: &Asked<'_>, text: &str) -> Result<Vec<Found>, String> {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|words| !words.is_empty() && words.iter().all(|word| number(word).is_some()))
        .collect();
    let rows: Vec<Vec<f64>> =
        lines.iter().map(|words| words.iter().filter_map(|word| number(word)).collect()).collect();
    if rows.is_empty() {
        return Err("it is incomplete: it holds no row of figures".into());
    }
    if !asked.certain {
        return Err("nothing tells which test it is of: not all of its options are known".into());
    }
    let table = Table { asked, text, has_head: text.contains("Elapsed"), rows: &rows };
    if !table.has_head && !written(&lines[0], asked) {
        return Err("its figures are not written as netperf writes them".into());
    }
    if rows.iter().all(|row| row.len() == 1) {
        return rows.iter().map(|row| table.alone(row[0])).collect();
    }
    match asked.test.work {
        Work::Stream if asked.test.protocol == "udp" => table.datagrams(),
        Work::Stream => table.stream(),
        Work::Requests | Work::Connections(_) => table.requests(),
    }
}

/// Whether the first row is written as netperf writes it, where no head says what is in it: sizes are whole, and behind them time and
/// rate have two digits behind the point.
fn written(row: &[&str], asked: &Asked<'_>) -> bool {
    let two_digits = |word: Option<&&str>| word.is_some_and(|word| has_hundredths(word));
    let datagrams = asked.test.protocol == "udp" && asked.test.work == Work::Stream;
    let sizes = match asked.test.work {
        _ if row.len() == 1 => return two_digits(row.first()),
        Work::Stream if datagrams => 2,
        Work::Stream => 3,
        Work::Requests | Work::Connections(_) => 4,
    };
    let rate = if datagrams { 5 } else { sizes + 1 };
    row.iter().take(sizes).all(|word| !word.contains('.')) && two_digits(row.get(sizes)) && two_digits(row.get(rate))
}

struct Table<'a> {
    asked: &'a Asked<'a>,
    text: &'a str,
    has_head: bool,
    rows: &'a [Vec<f64>],
}

impl Table<'_> {
    fn benchmark(&self) -> Benchmark {
        Benchmark { workload: self.asked.test.workload(), pairs: Some(1), ..Benchmark::default() }
    }

    /// Whether there are columns for the CPU.
    fn has_cpu(&self) -> bool {
        if self.has_head {
            self.text.contains("Demand") || self.text.contains("S.dem")
        } else {
            self.asked.general.has(&["-c", "-C"]) == Some(true)
        }
    }

    /// Bits of a unit of throughput: the head tells; without it `-f`.
    fn unit(&self) -> Result<f64, String> {
        let unknown = || "the unit of its throughput is unknown".to_owned();
        if !self.has_head {
            return asked_bits(self.asked.general).ok_or_else(unknown);
        }
        let mut words = self.text.lines().flat_map(str::split_ascii_whitespace);
        words.find_map(bits).ok_or_else(unknown)
    }

    /// Rows with so many columns, and those for the CPU.
    fn rows(&self, columns: usize) -> Result<Vec<&[f64]>, String> {
        let with_cpu = columns + if self.has_cpu() { CPU_COLUMNS } else { 0 };
        let rows: Vec<&[f64]> = self.rows.iter().filter(|row| row.len() == with_cpu).map(Vec::as_slice).collect();
        let most = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        // Under a head there is one; below it `-v 2` has tables of its own.
        let rows = if self.has_head { rows.into_iter().take(1).collect() } else { rows };
        let first = self.rows.first().map_or(0, Vec::len);
        if rows.is_empty() || first != with_cpu || (!self.has_head && most != with_cpu) {
            return Err(format!("its table of {first} columns is unknown for {}", self.asked.test.workload()));
        }
        Ok(rows)
    }

    /// A figure alone: of the test with `-v 0` only, and without columns of the CPU.
    fn alone(&self, figure: f64) -> Result<Found, String> {
        if self.asked.general.value(&["-v"]).known() != Some("0") {
            return Err("a figure alone is what was measured with -v 0 only, and that it was given is not known".into());
        }
        if self.asked.general.has(&["-c", "-C"]) != Some(false) {
            return Err("with -c or -C a figure alone is of the CPU, and that they were not given is not known".into());
        }
        let mut benchmark = self.benchmark();
        match self.asked.test.work {
            Work::Stream if self.asked.test.protocol == "udp" => {
                return Err("a figure alone does not tell whether it is what was sent or what was received".into());
            }
            Work::Stream => benchmark.throughput_bits_per_s = Some(figure * self.unit()?),
            Work::Requests | Work::Connections(_) => return self.answered(benchmark, figure),
        }
        Ok(benchmark.into())
    }

    /// receive socket, send socket, message, seconds, rate
    fn stream(&self) -> Result<Vec<Found>, String> {
        let unit = self.unit()?;
        let rows = self.rows(5)?;
        let one = |row: &&[f64]| {
            let mut benchmark = self.benchmark();
            benchmark.message_bytes = whole(row[2]);
            benchmark.duration_s = Some(row[3]);
            benchmark.throughput_bits_per_s = Some(row[4] * unit);
            Found::from(benchmark)
        };
        Ok(rows.iter().map(one).collect())
    }

    /// send size, receive size, request, answer, seconds, transactions a second; then the other side's sizes
    fn requests(&self) -> Result<Vec<Found>, String> {
        if self.has_head && !self.text.contains("Trans.") {
            return Err("its table has no column of transactions".into());
        }
        let rows = self.rows(6)?;
        let one = |row: &&[f64]| {
            let mut benchmark = self.benchmark();
            benchmark.message_bytes = whole(row[2]);
            benchmark.duration_s = Some(row[4]);
            self.answered(benchmark, row[5])
        };
        rows.iter().map(one).collect()
    }

    /// Transactions, and the round trip that follows where there is one at a time.
    fn answered(&self, mut benchmark: Benchmark, rate: f64) -> Result<Found, String> {
        // A head tells the unit itself, but for one with columns of the CPU.
        let told = self.has_head && !self.text.contains("us/KB") && self.asked.general.value(&["-f"]).known().is_none();
        if !told && !transactions(self.asked.general) {
            return Err("with -f its rate is no number of transactions, and that it was not given is not known".into());
        }
        benchmark.transactions_per_s = Some(rate);
        let burst = burst(self.asked, self.text);
        benchmark.round_trip_ns = (rate > 0.0 && burst == Some(0.0)).then(|| 1e9 / rate);
        Ok(Found {
            notes: burst_note(burst).into_iter().collect(),
            ahead: burst.unwrap_or(0.0),
            ..Found::from(benchmark)
        })
    }

    /// The sender's row: socket, message, seconds, messages, errors, rate; the receiver's: socket, seconds, messages, rate.
    fn datagrams(&self) -> Result<Vec<Found>, String> {
        let unit = self.unit()?;
        let more = if self.has_cpu() { 2 } else { 0 };
        let pairs = self.rows.chunks(2).map(|pair| match pair {
            [sent, received] if sent.len() == 6 + more && received.len() == 4 + more => Ok((sent, received)),
            _ => Err("its table of datagrams is unknown or incomplete".to_owned()),
        });
        pairs.map(|pair| pair.and_then(|(sent, received)| self.datagrams_of(sent, received, unit))).collect()
    }

    fn datagrams_of(&self, sent: &[f64], received: &[f64], unit: f64) -> Result<Found, String> {
        let wrong = || "its numbers of datagrams are unknown".to_owned();
        let (all, errors, came) = (whole(sent[3]), whole(sent[4]), whole(received[2]));
        let (Some(all), Some(errors), Some(came)) = (all, errors, came) else { return Err(wrong()) };
        let mut benchmark = self.benchmark();
        benchmark.message_bytes = whole(sent[1]);
        benchmark.duration_s = Some(received[1]);
        benchmark.messages_per_s = (received[1] > 0.0).then(|| received[2] / received[1]);
        benchmark.throughput_bits_per_s = Some(received[3] * unit);
        if came > all {
            return Err("more datagrams were received than were sent".into());
        }
        let lost = all.saturating_sub(came);
        benchmark.datagrams = Some(Datagrams {
            sent: all,
            refused: errors,
            received: came,
            lost,
            lost_share: if all > 0 { lost as f64 / all as f64 } else { 0.0 },
            ..Datagrams::default()
        });
        Ok(benchmark.into())
    }
}

/// Requests that are sent before the first answer, beside the first: `-b` of the test, and the banner. None where not known.
pub fn burst(asked: &Asked<'_>, text: &str) -> Option<f64> {
    let banner = text.lines().next().and_then(|line| crate::benchmark::text::behind(line, "first burst "));
    banner.or_else(|| asked.own.value(&["-b"]).or("0").and_then(number))
}

/// Why a rate tells no round trip.
pub fn burst_note(burst: Option<f64>) -> Option<String> {
    match burst {
        Some(0.0) => None,
        Some(burst) => Some(format!(
            "several requests are on their way at one time (-b {burst}), so that a rate tells no round trip"
        )),
        None => Some(
            "how many requests are on their way at one time (-b) is not known, so that a rate tells no round trip"
                .into(),
        ),
    }
}
