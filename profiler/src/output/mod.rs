//! What commands print: the width of a terminal, text that fits into it, formats, and standard output.

pub mod junit;

use std::{
    io::{self, ErrorKind, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

/// Columns that every text keeps to. Output never depends on the terminal.
pub const WIDTH: usize = 100;

/// Writes a result to standard output; a reader that has seen enough (`| head`) is no error.
pub fn print(output: &str) -> Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write the result"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// How a format is written.
pub struct Format<F> {
    /// What its files end in.
    pub extension: &'static str,
    /// Writes it.
    pub render: F,
}

/// The formats of a command, a line for each with tabs between: the command, the format's name, what its files end in, what
/// it is. The first is what comes without `--format`.
pub fn list<N: ValueEnum, F>(command: &str, format: fn(N) -> Format<F>) -> String {
    let rows = N::value_variants().iter().filter_map(|name| {
        let (known, extension) = (name.to_possible_value()?, format(name.clone()).extension);
        let about = known.get_help().map(ToString::to_string).unwrap_or_default();
        Some(format!("{command}\t{}\t{extension}\t{about}\n", known.get_name()))
    });
    rows.collect()
}

/// A count with thousands set apart.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Text within XML; what XML has no way to write is replaced.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

/// Text that is nothing but text within Markdown.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in printable(text).chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '|' | '[' | ']' | '#' | '~' | '@' => out.extend(['\\', letter]),
            letter => out.push(letter),
        }
    }
    out
}

/// A name as a terminal may have it: names may hold anything, and what a terminal would obey is not printed.
pub fn printable(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// The first so many characters; the last of them says if something is missing.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// Like [`clip`], but keeps the end: that is where names of namespaces differ.
pub fn clip_left(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(length - width + 1)).collect()
}

/// Text behind a head, in lines of at most [`WIDTH`] columns that break at words; all but the first begin with `indent`
/// spaces. A word that is longer than a line is cut.
pub fn wrapped(head: &str, indent: usize, text: &str) -> String {
    let mut lines = Vec::new();
    let mut line = head.to_owned();
    let mut length = head.chars().count();
    let mut empty = true;
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        if !empty && length + 1 + rest.len() > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            (length, empty) = (indent, true);
        }
        if !empty {
            line.push(' ');
            length += 1;
        }
        while length + rest.len() > WIDTH {
            let tail = rest.split_off(WIDTH - length);
            line.extend(rest);
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            (length, rest) = (indent, tail);
        }
        length += rest.len();
        line.extend(rest);
        empty = false;
    }
    lines.push(line);
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Tells on standard error, a line at once; see [`tell`].
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => { $crate::output::tell(format_args!($($text)*)) };
}

/// Tells a line on standard error. That whoever read it went away is no reason to end what is done.
pub fn tell(text: std::fmt::Arguments<'_>) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_words_and_long_words_are_cut() {
        let out = wrapped("  head ", 7, &format!("{} {}", "word ".repeat(30), "x".repeat(150)));
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        assert!(out.lines().skip(1).all(|line| line.starts_with("       ")), "{out}");
        assert_eq!(out.matches('x').count(), 150);
        assert_eq!(wrapped("  head ", 7, ""), "  head\n");
    }

    #[test]
    fn clipped_text_fits_and_says_that_something_is_missing() {
        assert_eq!((clip("abc", 3), clip_left("abc", 3)), ("abc".into(), "abc".into()));
        assert_eq!((clip("abcd", 3), clip_left("abcd", 3)), ("ab…".into(), "…cd".into()));
    }
}
