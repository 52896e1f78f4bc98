//! The words of a tool's command: what was asked for, as far as it is known. Programs take the last of an option that is given
//! twice; an option that is missing is only missing where every word is known.

/// Stands in a word for what a shell fills in there, which may be several words.
pub const FILLED: char = '\u{e000}';
/// The same between double quotes: it is a part of this word, and no more.
pub const FILLED_WITHIN: char = '\u{e001}';

/// How a tool's options are written.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// `-m 64`, `-m64`, `--size 64`, `--size=64`.
    Usual,
    /// getopt's, whose letters may stand together (`-Njt NAME`): those that have a value, and those that may have one.
    Letters(&'static str, &'static str),
    /// Before all other words, as Go's are: `-c 4`, `--c 4`, `-c=4`, `--c=4`. These have no value.
    First(&'static [&'static str]),
}

/// What the words say of an option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked<'a> {
    For(&'a str),
    Not,
    /// Not all words are known, or its value is none of them.
    Unknown,
}

impl<'a> Asked<'a> {
    /// What is known to be asked for.
    pub fn known(self) -> Option<&'a str> {
        if let Self::For(value) = self { Some(value) } else { None }
    }

    /// What is asked for, or what a program does that is not asked; none where that is not known.
    pub fn or(self, usual: &'a str) -> Option<&'a str> {
        if self == Self::Not { Some(usual) } else { self.known() }
    }
}

/// The words of a tool without its name.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    options: Vec<(String, Option<&'a str>)>,
    plain: Vec<&'a str>,
    behind_dashes: &'a [String],
    /// All are known.
    certain: bool,
}

impl<'a> Words<'a> {
    pub fn new(words: &'a [String], style: Style) -> Self {
        let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        let mut found = Self {
            options: Vec::new(),
            plain: Vec::new(),
            behind_dashes: words.get(end + 1..).unwrap_or_default(),
            certain: !words.iter().any(|word| word.contains(FILLED)),
        };
        let mut at = 0;
        while at < end {
            let next = words[..end].get(at + 1).map(String::as_str);
            at += 1 + usize::from(found.enter(&words[at], next, style));
            // What follows is no option, whatever it looks like.
            if matches!(style, Style::First(_)) && !found.plain.is_empty() {
                break;
            }
        }
        found
    }

    /// Words of which nothing is known.
    pub fn unknown() -> Self {
        Self { options: Vec::new(), plain: Vec::new(), behind_dashes: &[], certain: false }
    }

    /// The same where there may be others besides.
    pub fn with_others(self, are_there: bool) -> Self {
        Self { certain: self.certain && !are_there, ..self }
    }

    /// Enters a word; whether the next one is its value and nothing else.
    fn enter(&mut self, word: &'a str, next: Option<&'a str>, style: Style) -> bool {
        // An option may hide in it.
        self.certain &= !word.starts_with(FILLED_WITHIN);
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            self.plain.push(word);
            return false;
        };
        let long = name.strip_prefix('-');
        let flags = if let Style::First(flags) = style { Some(flags) } else { None };
        if long.is_some() || flags.is_some() {
            let name = if flags.is_some() { long.unwrap_or(name) } else { name };
            let (name, own) = name.split_once('=').map_or((name, None), |(name, own)| (name, Some(own)));
            let has_none = flags.is_some_and(|flags| flags.contains(&name));
            self.options.push((format!("-{name}"), own.or(next.filter(|_| !has_none))));
            return flags.is_some() && !has_none && own.is_none();
        }
        let (valued, optional) =
            if let Style::Letters(valued, optional) = style { (valued, optional) } else { ("", "") };
        for (at, letter) in name.char_indices() {
            let rest = &name[at + letter.len_utf8()..];
            let enter = |value| (format!("-{letter}"), value);
            if matches!(style, Style::Usual) {
                let own = Some(rest.strip_prefix('=').unwrap_or(rest)).filter(|own| !own.is_empty());
                self.options.push(enter(own.or(next)));
                return false;
            }
            if valued.contains(letter) {
                self.options.push(enter(if rest.is_empty() { next } else { Some(rest) }));
                return rest.is_empty();
            }
            let may_have = optional.contains(letter) && rest.is_empty();
            self.options.push(enter(next.filter(|next| may_have && !next.starts_with('-'))));
        }
        false
    }

    /// The last of an option by any of its names.
    pub fn value(&self, names: &[&str]) -> Asked<'a> {
        match self.options.iter().rev().find(|(name, _)| names.contains(&name.as_str())) {
            Some((_, Some(value))) if !value.contains([FILLED, FILLED_WITHIN]) => Asked::For(value),
            None if self.certain => Asked::Not,
            _ => Asked::Unknown,
        }
    }

    /// Whether one of the options is there; none where that is not known.
    pub fn has(&self, names: &[&str]) -> Option<bool> {
        let there = self.options.iter().any(|(name, _)| names.contains(&name.as_str()));
        (there || self.certain).then_some(there)
    }

    /// Whether one of these words is there that are no options; none where that is not known.
    pub fn says(&self, any: &[&str]) -> Option<bool> {
        let there = self.plain.iter().any(|word| any.contains(word));
        (there || self.certain).then_some(there)
    }

    /// Those behind `--`.
    pub fn behind_dashes(&self, style: Style) -> Self {
        Self { certain: self.certain, ..Self::new(self.behind_dashes, style) }
    }

    pub fn certain(&self) -> bool {
        self.certain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(command: &str) -> Vec<String> {
        command.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_last_of_an_option_counts_however_it_is_written() {
        for (command, style, name, value) in [
            ("-m 64 -m65", Style::Usual, "-m", "65"),
            ("--size=1 --size 2", Style::Usual, "--size", "2"),
            ("-t A -Njt B", Style::Letters("t", ""), "-t", "B"),
            ("-tA -o X -o Y,Z -k", Style::Letters("t", "o"), "-o", "Y,Z"),
            ("-cpus 2 --c 4", Style::First(&[]), "-c", "4"),
            ("-c=4 -cpus 2", Style::First(&[]), "-c", "4"),
            ("-h2 -c 4 http://x -c 5", Style::First(&["h2"]), "-c", "4"),
            ("-d -c -c 4", Style::First(&[]), "-c", "4"),
        ] {
            assert_eq!(Words::new(&split(command), style).value(&[name]), Asked::For(value), "{command}");
        }
    }

    #[test]
    fn what_is_missing_is_unknown_where_words_are() {
        let letters = Style::Letters("Hf", "");
        for (command, missing) in [
            ("-H x", Asked::Not),
            ("-H x \u{e000}OPTS", Asked::Unknown),
            ("-H \u{e000}HOST", Asked::Unknown),
            ("-H \u{e001}HOST", Asked::Not),
            ("\u{e001}HOST", Asked::Unknown),
            ("http://\u{e001}HOST/", Asked::Not),
            ("-f \u{e001}UNIT", Asked::Unknown),
        ] {
            assert_eq!(Words::new(&split(command), letters).value(&["-f"]), missing, "{command}");
        }
        assert_eq!(Words::unknown().value(&["-f"]), Asked::Unknown);
    }
}
