//! netperf's tables of the classic tests, with banner or without (`-P 0`).

use super::{Asked, Found, Work, asked_bits, bits};
use crate::{
    benchmark::{
        option,
        text::{number, whole},
    },
    profile::{Benchmark, measures::Datagrams},
};

/// Columns that follow the others where CPU use was asked for.
const CPU_COLUMNS: usize = 4;

/// The results of a table.
pub fn read(asked: &Asked<'_>, text: &str) -> Result<Vec<Found>, String> {
    let rows: Vec<Vec<f64>> = text
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().map(number).collect::<Option<Vec<f64>>>())
        .filter(|row| !row.is_empty())
        .collect();
    if rows.is_empty() {
        return Err("it is incomplete: it holds no row of figures".into());
    }
    let table = Table { asked, text, has_head: text.contains("Elapsed"), rows: &rows };
    if rows.iter().all(|row| row.len() == 1) {
        return rows.iter().map(|row| table.alone(row[0])).collect();
    }
    match asked.test.work {
        Work::Stream if asked.test.protocol == "udp" => table.datagrams(),
        Work::Stream => table.stream(),
        Work::Requests | Work::Connections(_) => table.requests(),
    }
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
        let asked = |word: &&str| word.starts_with("-c") || word.starts_with("-C");
        if self.has_head {
            self.text.contains("Demand") || self.text.contains("S.dem")
        } else {
            self.asked.general.iter().any(asked)
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

    /// A figure alone (`-v 0`).
    fn alone(&self, figure: f64) -> Result<Found, String> {
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
        if option(self.asked.general, &["-f"]).is_some_and(|unit| unit != "x") {
            return Err("with -f its rate is no number of transactions".into());
        }
        benchmark.transactions_per_s = Some(rate);
        let burst = burst(self.asked, self.text);
        benchmark.round_trip_ns = (rate > 0.0 && burst == 0.0).then(|| 1e9 / rate);
        let mut found = Found::from(benchmark);
        if burst > 0.0 {
            found.notes.push(format!(
                "several requests are on their way at one time (-b {burst}), so that a rate tells no round trip"
            ));
        }
        Ok(found)
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

/// Requests that are sent before the first answer, beside the first: `-b` of the test, and the banner.
pub fn burst(asked: &Asked<'_>, text: &str) -> f64 {
    let banner = text.lines().next().and_then(|line| crate::benchmark::text::behind(line, "first burst "));
    banner.or_else(|| option(asked.own, &["-b"]).and_then(number)).unwrap_or(0.0)
}
