//! What commands print: the width of a terminal, text that fits into it, formats, and standard output.

pub mod junit;

use std::{
    io::{self, ErrorKind, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use jiff::Timestamp;

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

/// A time in seconds since 1970, in UTC and in the letters of `strftime`; the begin of 1970 where no calendar has it.
pub fn time(seconds: u64, format: &str) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().strftime(format).to_string()
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

/// What a terminal would obey, or what nobody sees: controls, marks that turn the direction of text, and such without a width.
fn is_odd(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// A name as a terminal may have it: names may hold anything, and what a terminal would obey is written in letters.
pub fn printable(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for letter in name.chars() {
        match u32::from(letter) {
            _ if !is_odd(letter) => out.push(letter),
            number @ ..0x80 => out += &format!("\\x{number:02x}"),
            _ => out.extend(letter.escape_unicode()),
        }
    }
    out
}

/// A name of any bytes: those that are no letters are written in letters, so that names stay as different as they are.
pub fn name(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for piece in bytes.utf8_chunks() {
        out += piece.valid();
        piece.invalid().iter().for_each(|byte| out += &format!("\\x{byte:02x}"));
    }
    out
}

/// JSON that a terminal may have: in words, where alone such letters can be, they stand as their numbers.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && is_odd(letter) {
            letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
        } else {
            out.push(letter);
        }
    }
    out
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
    let lines: Vec<String> = text.to_string().lines().map(printable).collect();
    let _ = std::io::stderr().write_all(format!("{}\n", lines.join("\n")).as_bytes());
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
    fn what_a_terminal_would_obey_is_seen_and_names_stay_different() {
        assert_eq!(printable("a\x1b[2J\n\u{9b}m\u{202e}x 線"), r"a\x1b[2J\x0a\u{9b}m\u{202e}x 線");
        assert_eq!((name(b"v\xffx"), name("網卡".as_bytes())), (r"v\xffx".into(), "網卡".into()));
        assert_ne!(printable(&name(b"\x9b")), printable(&name("\u{9b}".as_bytes())));
        let words = serde_json::json!({ "a\u{9b}\x1b": ["\u{202e}", "\u{e0041}", "\n", "線"] });
        let text = json(&serde_json::to_string_pretty(&words).expect("it is written"));
        assert!(!text.chars().any(|letter| letter != '\n' && is_odd(letter)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), words);
    }

    #[test]
    fn clipped_text_fits_and_says_that_something_is_missing() {
        assert_eq!((clip("abc", 3), clip_left("abc", 3)), ("abc".into(), "abc".into()));
        assert_eq!((clip("abcd", 3), clip_left("abcd", 3)), ("ab…".into(), "…cd".into()));
    }
}
