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
use crate::{explain::WorkKind, failure::Failure, output};

/// Appends a row with the target's figures; one of the same recordings is made anew, or programs would take a check that is repeated
/// for one more point. Figures that are new get a column behind the others; a layer that is not there took no time, which is what
/// the rows before and after say.
///
/// # Errors
/// [`Failure::Usage`] where the file is of other work, or no history; if it cannot be read or written.
pub fn append(path: &Path, found: &Judgment, target: &Set) -> anyhow::Result<()> {
    let figures: Vec<(String, f64)> =
        found.all().filter(|figure| is_kept(found, figure)).map(|figure| (column(figure), figure.target)).collect();
    if crate::store::may_never_end(path) {
        return Err(Failure::Usage(format!("the history {} is no regular file", path.display())).into());
    }
    let known = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read the history {}", path.display())),
    };
    let text = with_row(&known, time(made(target)), &figures, &column(&found.total)).map_err(|why| {
        Failure::Usage(format!("the history {} {why}: give another file for other work", path.display()))
    })?;
    let write = || match text.strip_prefix(&known) {
        Some(more) => OpenOptions::new().create(true).append(true).open(path)?.write_all(more.as_bytes()),
        // Beside it first, so that the file is the old one or the new one at any time.
        None => {
            let mut partial = path.as_os_str().to_owned();
            partial.push(format!(".{}.part", std::process::id()));
            let written = fs::write(&partial, &text).and_then(|()| fs::rename(&partial, path));
            written.inspect_err(|_| drop(fs::remove_file(&partial)))
        }
    };
    write().with_context(|| format!("cannot write the history {}", path.display()))
}

/// The text of a history with one more row; `total` is the column that tells which work it is of.
fn with_row(known: &str, time: String, figures: &[(String, f64)], total: &str) -> Result<String, String> {
    let mut lines = known.lines();
    let mut header: Vec<&str> = lines.next().map_or(vec!["time"], |first| first.split(',').collect());
    if header[0] != "time" {
        return Err("does not begin with a column `time`".into());
    }
    if header.len() > 1 && !header.contains(&total) {
        return Err(format!("is of other work: it has no column {total:?}"));
    }
    let old = header.len();
    header.extend(figures.iter().map(|(name, _)| name.as_str()).filter(|name| !known_in(known, name)));
    let value = |name: &&str| {
        let found = figures.iter().find(|(known, _)| known == name);
        found.map_or(nothing(name).to_owned(), |(_, value)| format!("{}", (value * 1e6).round() / 1e6))
    };
    let row = std::iter::once(time.clone()).chain(header[1..].iter().map(value)).collect::<Vec<_>>().join(",");
    let empty: String = header[old..].iter().map(|name| format!(",{}", nothing(name))).collect();
    let of_set = |line: &str| line.split(',').next() == Some(&time);
    let (mut rows, mut is_new) = (Vec::new(), true);
    for line in lines {
        match of_set(line) {
            false => rows.push(format!("{line}{empty}")),
            // A set has one row, where its first one stood.
            true if std::mem::take(&mut is_new) => rows.push(row.clone()),
            true => {}
        }
    }
    rows.extend(is_new.then_some(row));
    Ok(format!("{}\n{}\n", header.join(","), rows.join("\n")))
}

/// What a row has of a figure that was not there: 0 of a layer, as `check` takes it, since Otava refuses empty cells; else nothing.
fn nothing(column: &str) -> &'static str {
    let of_layer = ["_service_ns", "_wait_ns", "_crossings_per_packet"].iter().any(|ending| column.ends_with(ending));
    if of_layer { "0" } else { "" }
}

/// Whether a history has a column.
fn known_in(known: &str, name: &str) -> bool {
    known.lines().next().is_some_and(|header| header.split(',').any(|column| column == name))
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

/// When the newest recording was made, in seconds of Unix time; of those that do not know, when it was written.
fn made(target: &Set) -> u64 {
    let dates = target.recordings.iter().map(|(_, profile)| profile.meta.began_unix_ns);
    if let Some(newest) = dates.max().filter(|newest| *newest > 0) {
        return newest / 1_000_000_000;
    }
    let times =
        target.recordings.iter().filter_map(|(file, _)| fs::metadata(file).and_then(|about| about.modified()).ok());
    let newest = times.filter_map(|time| time.duration_since(UNIX_EPOCH).ok()).max();
    newest.map_or(0, |since| since.as_secs())
}

/// A time as ISO 8601 has it, in UTC.
fn time(seconds: u64) -> String {
    output::time(seconds, "%Y-%m-%dT%H:%M:%S+00:00")
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
    fn columns_come_and_go_and_other_work_is_refused() {
        let figures = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 1.5)).collect::<Vec<_>>();
        let row = |known: &str, names: &[&str]| with_row(known, "t".into(), &figures(names), "all");
        let first = row("", &["all", "a"]).expect("it is new");
        assert_eq!(first, "time,all,a\nt,1.5,1.5\n");
        let came = row(&first.replace("\nt,", "\ns,"), &["all", "a", "b_wait_ns", "c"]).expect("a layer came");
        assert_eq!(came, "time,all,a,b_wait_ns,c\ns,1.5,1.5,0,\nt,1.5,1.5,1.5,1.5\n");
        let gone = row(&came.replace("\nt,", "\nr,"), &["all", "c"]).expect("a layer went");
        assert_eq!(gone, "time,all,a,b_wait_ns,c\ns,1.5,1.5,0,\nr,1.5,1.5,1.5,1.5\nt,1.5,,0,1.5\n");
        let older = first.replace("\nt,", "\ns,");
        assert_eq!(row(older.trim_end(), &["all", "a"]).expect("without its end"), format!("{older}t,1.5,1.5\n"));
        // The same recordings once more, and a file in which they stand twice.
        assert_eq!(row(&first, &["all", "a"]).expect("it is there"), first);
        let again = row("time,all,a\nt,1,1\nu,2,2\nt,1,1\n", &["all", "a"]).expect("it is there");
        assert_eq!(again, "time,all,a\nt,1.5,1.5\nu,2,2\n");
        assert!(row("time,other\n", &["all"]).is_err_and(|why| why.contains("no column \"all\"")));
        assert!(row("a,time\n", &["all"]).is_err_and(|why| why.contains("does not begin")));
    }
}
