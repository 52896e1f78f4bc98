//! Text as programs print it: without colours, with one kind of line end, and numbers with their units.

/// What a terminal would show, as lines: without colours and other commands to it, and a carriage return begins a line too.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => skip_command(&mut letters),
            '\r' if letters.peek() == Some(&'\n') => {}
            '\r' => out.push('\n'),
            '\u{feff}' => {}
            letter => out.push(letter),
        }
    }
    out
}

/// Without a last line that has no end: a number in it may be cut, and every program ends its last line.
pub fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |at| at + 1)]
}

/// Skips what follows an escape: up to a letter behind `[`, up to a bell or another escape's end behind `]`, or one letter.
fn skip_command(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match letters.peek() {
        Some('[') => {
            letters.next();
            while letters.next_if(|letter| matches!(letter, ' '..='?')).is_some() {}
            letters.next_if(|letter| matches!(letter, '@'..='~'));
        }
        Some(']') => {
            while letters.next_if(|letter| !matches!(letter, '\x07' | '\x1b' | '\n')).is_some() {}
            letters.next_if_eq(&'\x07');
        }
        Some('\\' | '(' | ')' | '=' | '>' | 'c' | '7' | '8') => {
            letters.next();
        }
        _ => {}
    }
}

/// A piece of what a program said, for a note: one line, nothing that a terminal obeys, not too long.
pub fn quoted(text: &str) -> String {
    const MOST: usize = 160;
    let shown = |letter: char| {
        let turned = matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if letter.is_control() || turned { ' ' } else { letter }
    };
    let line: String = text.trim().chars().take(MOST + 1).map(shown).collect();
    if line.chars().count() > MOST { line.chars().take(MOST).chain(['…']).collect() } else { line }
}

/// A number as programs print it: digits, a point, an exponent. Words like "nan" and "inf" are none.
pub fn number(word: &str) -> Option<f64> {
    let usual = |letter: char| letter.is_ascii_digit() || matches!(letter, '.' | '-' | '+' | 'e' | 'E');
    if !word.starts_with(|letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '.')) {
        return None;
    }
    word.chars().all(usual).then(|| word.parse().ok()).flatten().filter(|number: &f64| number.is_finite())
}

/// The number at the beginning of a text, and what follows it. One that goes on in another way (`12,494`, `1.2.3`) is none.
pub fn leading(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start();
    let digits =
        |text: &str| text.find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).unwrap_or(text.len());
    let mut end = digits(text);
    if let Some(power) = text[end..].strip_prefix(['e', 'E']) {
        let power = power.strip_prefix(['+', '-']).unwrap_or(power);
        let length = power.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(power.len());
        end = if length > 0 { text.len() - power.len() + length } else { end };
    }
    let rest = &text[end..];
    let goes_on = rest
        .strip_prefix([',', '\'', '_'])
        .is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()));
    Some((number(&text[..end])?, rest)).filter(|_| !goes_on)
}

/// Whether a number is written with two digits behind its point.
pub fn has_hundredths(word: &str) -> bool {
    word.split_once('.').is_some_and(|(_, part)| part.len() == 2)
}

/// Why a rate tells nothing of what could have been answered: an option sets it.
pub fn by_the_clock(option: &str) -> String {
    format!("it sends by the clock ({option}), and its rate was the client's choice")
}

/// The number behind a name, over blanks and `=`: `RunTime=0.550 sec`.
pub fn behind(text: &str, name: &str) -> Option<f64> {
    let rest = &text[text.find(name)? + name.len()..];
    Some(leading(rest.trim_start_matches([' ', '=', ':', '\t']))?.0)
}

/// What stands behind a name at the beginning of a line.
pub fn line_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim)
}

/// A time with its unit, in nanoseconds: `1.50ms`, `3.02 us`, `2 sec`.
pub fn time_ns(text: &str) -> Option<f64> {
    let (value, rest) = leading(text)?;
    let unit = rest.trim_start().split(|letter: char| letter.is_whitespace() || letter == ',').next()?;
    let factor = match unit {
        "ns" | "nsec" => 1.0,
        "us" | "usec" | "µs" | "μs" => 1e3,
        "ms" | "msec" => 1e6,
        "s" | "sec" | "secs" | "seconds" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        _ => return None,
    };
    Some(value * factor)
}

/// A whole number that is not negative.
pub fn whole(value: f64) -> Option<u64> {
    ((0.0..=9e15).contains(&value) && value.fract() == 0.0).then_some(value as u64)
}

/// A whole number of a size that numbers of connections have.
pub fn count(value: f64) -> Option<u32> {
    whole(value).and_then(|count| u32::try_from(count).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_returns_go_and_nothing_else() {
        assert_eq!(plain("a\x1b[2;35m b\x1b[0m\r\nc\rd\x1b]0;title\x07e"), "a b\nc\nde");
        assert_eq!(plain("\x1b[\x1b[31"), "");
        assert_eq!(plain("µs \u{fffd}{"), "µs \u{fffd}{");
    }

    #[test]
    fn a_line_that_has_no_end_is_none() {
        assert_eq!(["a\nb", "a\n", "a", ""].map(whole_lines), ["a\n", "a\n", "", ""]);
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(["1.5", "-1", "1e3"].map(number), [Some(1.5), Some(-1.0), Some(1000.0)]);
        assert_eq!(["nan", "-nan", "inf", "1e999", "", "-", "0x10", "1,5"].map(number), [None; 8]);
    }

    #[test]
    fn a_number_that_goes_on_in_another_way_is_none() {
        assert_eq!(leading(" 12.5 us"), Some((12.5, " us")));
        assert_eq!(leading("1.2494e+01 usec"), Some((12.494, " usec")));
        assert_eq!(leading("5e"), Some((5.0, "e")));
        assert_eq!(leading("1, 2"), Some((1.0, ", 2")));
        assert_eq!(["12,494 usec", "1'000", "1.2.3", "-1", "nan"].map(leading), [None; 5]);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(["1.50ms", "3 us", "2 sec,", "1m"].map(time_ns), [Some(1.5e6), Some(3e3), Some(2e9), Some(60e9)]);
        assert_eq!(["3", "3 parsecs", "ms"].map(time_ns), [None; 3]);
    }

    #[test]
    fn what_is_quoted_is_one_line_without_commands() {
        assert_eq!(quoted(" a\x1bb\nc\u{202e} "), "a b c ");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), 161);
    }
}
