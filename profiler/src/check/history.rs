//! `--history`: a row of CSV for each check, in the form that Apache Otava reads: a column of time, and one for each metric.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    time::UNIX_EPOCH,
};

use anyhow::Context as _;

use super::{
    figures::Group,
    judge::{Figure, Judgment},
    set::Set,
};
use crate::{explain::WorkKind, failure::Failure};

/// Appends a row with the target's figures.
///
/// # Errors
/// [`Failure::Usage`] where the file holds other columns; if it cannot be read or written.
pub fn append(path: &Path, found: &Judgment, target: &Set) -> anyhow::Result<()> {
    let figures: Vec<&Figure> = found.all().filter(|figure| is_kept(found, figure)).collect();
    let names = figures.iter().map(|figure| column(figure));
    let header = std::iter::once("time".to_owned()).chain(names).collect::<Vec<_>>().join(",");
    let known = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read the history {}", path.display())),
    };
    if let Some(first) = known.lines().next().filter(|first| *first != header) {
        let other = differs(first, &header);
        return Err(Failure::Usage(format!(
            "the history {} has other columns ({other}): give another file for other work",
            path.display()
        ))
        .into());
    }
    let values = figures.iter().map(|figure| format!("{}", (figure.target * 1e6).round() / 1e6));
    let row = std::iter::once(time(made(target))).chain(values).collect::<Vec<_>>().join(",");
    let begin = match known.chars().last() {
        None => format!("{header}\n"),
        Some('\n') => String::new(),
        Some(_) => "\n".into(),
    };
    let write = || {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(format!("{begin}{row}\n").as_bytes())
    };
    write().with_context(|| format!("cannot write the history {}", path.display()))
}

/// What is there in every check of the same work. Layers of a stream are told by samples, and small ones come and go; so do parts
/// of spans.
fn is_kept(found: &Judgment, figure: &Figure) -> bool {
    let crossed = || {
        let all = found.all().filter(|other| other.key.group == Group::Count && other.target > 0.0);
        all.into_iter().any(|other| other.key.name == figure.key.name)
    };
    match figure.key.group {
        Group::Total | Group::Other => true,
        Group::Count => figure.target > 0.0 && figure.key.name != "CPU hops per packet",
        Group::Service | Group::Wait => found.kind != WorkKind::Stream && figure.target > 0.0 && crossed(),
    }
}

/// A name for programs: letters, digits and `_`.
fn column(figure: &Figure) -> String {
    let unit = if figure.key.group == Group::Count { "" } else { " ns" };
    let title = format!("{}{unit}", figure.key.title()).to_lowercase();
    title.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}

/// The first column of two headers that only one has.
fn differs(one: &str, other: &str) -> String {
    let [one, other] = [one, other].map(|header| header.split(',').collect::<Vec<_>>());
    let only = |of: &[&str], not: &[&str]| of.iter().find(|name| !not.contains(name)).map(|name| (*name).to_owned());
    only(&one, &other)
        .map(|name| format!("only the file has {name:?}"))
        .or_else(|| only(&other, &one).map(|name| format!("only this check has {name:?}")))
        .unwrap_or_else(|| "in another order".into())
}

/// When the newest recording was written, in seconds of Unix time: recordings know no date.
fn made(target: &Set) -> u64 {
    let times =
        target.recordings.iter().filter_map(|(file, _)| fs::metadata(file).and_then(|about| about.modified()).ok());
    let newest = times.filter_map(|time| time.duration_since(UNIX_EPOCH).ok()).max();
    newest.map_or(0, |since| since.as_secs())
}

/// A time as ISO 8601 has it, in UTC.
fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days of the era of 400 years that began on 1 March 0 (Howard Hinnant's civil_from_days).
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}+00:00", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_399, "2000-02-28T23:59:59+00:00"),
            (951_782_400, "2000-02-29T00:00:00+00:00"),
            (1_709_251_200, "2024-03-01T00:00:00+00:00"),
            (4_102_444_799, "2099-12-31T23:59:59+00:00"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }

    #[test]
    fn what_differs_is_named() {
        assert_eq!(differs("time,a,b", "time,a"), "only the file has \"b\"");
        assert_eq!(differs("time,a", "time,a,c"), "only this check has \"c\"");
        assert_eq!(differs("a,time", "time,a"), "in another order");
    }
}
