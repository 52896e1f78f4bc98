//! The words of a shell's script, as far as it takes to know which programs it runs, which of them in the background, and how often.

use std::{iter::Peekable, str::Chars};

use crate::benchmark::words::{FILLED, FILLED_WITHIN};

/// A simple command of a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Its words without quotes and redirections; what the shell fills in stands there as that.
    pub words: Vec<String>,
    /// Which commands it is joined to by `&&`, `||` or `|`: they have the same number.
    pub job: usize,
    /// The first of them: none of them is over before it begins.
    pub heads: bool,
    /// They end in `&`.
    pub background: bool,
    /// It stands in a loop or a function, or where there are functions: it may run any number of times.
    pub repeats: bool,
    /// There is no loop, condition, group or substitution.
    pub plain: bool,
}

/// Words behind which a command begins.
const LEADS: &[&str] =
    &["do", "then", "else", "elif", "if", "while", "until", "{", "!", "time", "exec", "command", "eval", "builtin"];
/// Words that make of a script more than one command after the other.
const COMPOUND: &[&str] = &[
    "for", "do", "done", "then", "else", "elif", "if", "fi", "while", "until", "case", "{", "}", "function", "select",
];
const LOOPS: &[&str] = &["for", "while", "until", "select"];
/// Substitutions in substitutions no deeper than this.
const DEEPEST: usize = 12;

/// The simple commands of a script.
pub fn lines(script: &str) -> Vec<Line> {
    // What was one word for the shell around it is split by this one.
    lines_of(&script.replace(FILLED_WITHIN, &FILLED.to_string()), DEEPEST)
}

fn lines_of(script: &str, depth: usize) -> Vec<Line> {
    let mut found = Lines { heads: true, ..Lines::default() };
    let mut tokens = Tokens { letters: script.chars().peekable(), ..Tokens::default() };
    tokens.all();
    tokens.found.into_iter().for_each(|token| found.enter(token));
    found.end(false, true);
    let inner = if depth > 0 { tokens.inner } else { Vec::new() };
    for script in inner {
        found.compound = true;
        found.lines.extend(lines_of(&script, depth - 1));
    }
    let Lines { mut lines, compound, functions, .. } = found;
    for line in &mut lines {
        line.plain = !compound;
        line.repeats |= functions;
    }
    lines
}

/// The lines of a script so far.
#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    line: Line,
    job: usize,
    /// The next line is the first of its job.
    heads: bool,
    /// The next word is a name, of a file or a function.
    redirected: bool,
    loops: usize,
    compound: bool,
    functions: bool,
}

impl Lines {
    fn enter(&mut self, token: Token) {
        match token {
            Token::Word(_) if std::mem::take(&mut self.redirected) => {}
            Token::Word(word) => self.word(word),
            Token::Redirection => self.redirected = true,
            Token::Group => {
                self.compound = true;
                self.end(false, true);
            }
            Token::Function => self.functions = true,
            Token::Joined => self.end(false, false),
            Token::End { background } => self.end(background, true),
        }
    }

    fn word(&mut self, word: String) {
        let leads = self.line.words.is_empty();
        if leads {
            self.compound |= COMPOUND.contains(&word.as_str());
            if word == "function" {
                self.functions = true;
                // Its name is no program.
                self.redirected = true;
                return;
            }
            self.loops += usize::from(LOOPS.contains(&word.as_str()));
            self.loops = self.loops.saturating_sub(usize::from(word == "done"));
        }
        let assigned = word.split_once('=').is_some_and(|(name, _)| is_name(name));
        if !leads || !(LEADS.contains(&word.as_str()) || assigned) {
            self.line.repeats |= self.loops > 0;
            self.line.words.push(word);
        }
    }

    /// Ends a line, and with it perhaps its job.
    fn end(&mut self, background: bool, job_too: bool) {
        let line = std::mem::take(&mut self.line);
        if !line.words.is_empty() {
            self.lines.push(Line { job: self.job, heads: self.heads, ..line });
        }
        self.heads = false;
        if job_too {
            self.lines
                .iter_mut()
                .rev()
                .take_while(|line| line.job == self.job)
                .for_each(|line| line.background = background);
            self.job += 1;
            self.heads = true;
        }
    }
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

enum Token {
    Word(String),
    /// The next word is a file.
    Redirection,
    /// A parenthesis or a substitution.
    Group,
    /// Parentheses with nothing in them.
    Function,
    /// `&&`, `||` and `|`.
    Joined,
    End {
        background: bool,
    },
}

struct Tokens<'a> {
    letters: Peekable<Chars<'a>>,
    word: Option<String>,
    found: Vec<Token>,
    /// Scripts of substitutions between double quotes.
    inner: Vec<String>,
    /// Words that end the documents which follow the line.
    documents: Vec<String>,
}

impl Default for Tokens<'_> {
    fn default() -> Self {
        let letters = "".chars().peekable();
        Self { letters, word: None, found: Vec::new(), inner: Vec::new(), documents: Vec::new() }
    }
}

impl Tokens<'_> {
    fn all(&mut self) {
        while let Some(letter) = self.letters.next() {
            match letter {
                '\'' => {
                    let quoted = self.letters.by_ref().take_while(|letter| *letter != '\'');
                    self.word.get_or_insert_default().extend(quoted);
                }
                '"' => self.quoted(),
                '\\' => match self.letters.next() {
                    // The line goes on.
                    None | Some('\n') => {}
                    Some(letter) => self.word.get_or_insert_default().push(letter),
                },
                '$' => self.filled(),
                '#' if self.word.is_none() => while self.letters.next_if(|letter| *letter != '\n').is_some() {},
                ' ' | '\t' => self.end_word(),
                '(' | ')' | '`' => self.group(letter),
                ';' | '\n' | '|' | '&' => self.end(letter),
                '<' | '>' => self.redirected(letter),
                letter => self.word.get_or_insert_default().push(letter),
            }
        }
        self.end_word();
    }

    fn end_word(&mut self) {
        self.found.extend(self.word.take().map(Token::Word));
    }

    fn group(&mut self, letter: char) {
        if letter == '`' {
            self.word.get_or_insert_default().push(FILLED);
        }
        self.end_word();
        self.found.push(Token::Group);
        while letter == '(' && self.letters.next_if_eq(&' ').is_some() {}
        if letter == '(' && self.letters.peek() == Some(&')') {
            self.found.push(Token::Function);
        }
    }

    fn end(&mut self, letter: char) {
        self.end_word();
        if letter == '&' && self.letters.next_if_eq(&'>').is_some() {
            self.letters.next_if_eq(&'>');
            self.found.push(Token::Redirection);
            return;
        }
        let twice = self.letters.next_if_eq(&letter).is_some();
        self.letters.next_if(|next| letter == '|' && *next == '&');
        self.found.push(match letter {
            '|' => Token::Joined,
            '&' if twice => Token::Joined,
            _ => Token::End { background: letter == '&' },
        });
        if letter == '\n' {
            self.skip_documents();
        }
    }

    /// What is not quoted may become any words: `$NAME`, `${NAME:-…}`, `$(…)`.
    fn filled(&mut self) {
        match self.letters.peek() {
            // Quotes of another kind.
            Some('\'' | '"') => {}
            Some('{') => {
                self.enclosed('{', '}');
                self.word.get_or_insert_default().push(FILLED);
            }
            _ => self.word.get_or_insert_default().push(FILLED),
        }
    }

    /// Takes what stands between brackets that lie in each other.
    fn enclosed(&mut self, begin: char, end: char) -> String {
        let mut depth = 0_usize;
        let mut taken = String::new();
        for letter in self.letters.by_ref() {
            depth += usize::from(letter == begin);
            depth -= usize::from(letter == end);
            taken.push(letter);
            if depth == 0 {
                break;
            }
        }
        taken.trim_start_matches(begin).trim_end_matches(end).to_owned()
    }

    /// The rest of what stands between double quotes.
    fn quoted(&mut self) {
        self.word.get_or_insert_default();
        while let Some(letter) = self.letters.next() {
            let filled = match letter {
                '"' => return,
                '\\' => {
                    let next = self.letters.next().filter(|letter| *letter != '\n');
                    self.word.get_or_insert_default().extend(next);
                    continue;
                }
                '`' => {
                    let script = self.letters.by_ref().take_while(|letter| *letter != '`').collect();
                    self.inner.push(script);
                    FILLED_WITHIN
                }
                '$' => match self.letters.peek().copied() {
                    Some('(') => {
                        let script = self.enclosed('(', ')');
                        self.inner.push(script);
                        FILLED_WITHIN
                    }
                    // All words of a list, each for itself.
                    Some('{') if self.enclosed('{', '}').contains(['@', '*']) => FILLED,
                    Some('@' | '*') => FILLED,
                    _ => FILLED_WITHIN,
                },
                letter => letter,
            };
            self.word.get_or_insert_default().push(filled);
        }
    }

    fn redirected(&mut self, letter: char) {
        // The number before is that of a file: `2>&1`.
        if self.word.as_ref().is_some_and(|word| word.chars().all(|letter| letter.is_ascii_digit())) {
            self.word = None;
        }
        self.end_word();
        if letter == '<' && self.letters.next_if_eq(&'<').is_some() && self.letters.peek() != Some(&'<') {
            self.letters.next_if_eq(&'-');
            while self.letters.next_if(|letter| matches!(letter, ' ' | '\t')).is_some() {}
            let mut end = String::new();
            while let Some(letter) =
                self.letters.next_if(|letter| !letter.is_whitespace() && !matches!(letter, ';' | '&' | '|'))
            {
                end.extend(Some(letter).filter(|letter| !matches!(letter, '\'' | '"' | '\\')));
            }
            self.documents.push(end);
            return;
        }
        while self.letters.next_if(|next| matches!(next, '<' | '>' | '&' | '|')).is_some() {}
        self.found.push(Token::Redirection);
    }

    /// Lines that a program is given to read are no commands.
    fn skip_documents(&mut self) {
        for end in std::mem::take(&mut self.documents) {
            while self.letters.peek().is_some() {
                let line: String = self.letters.by_ref().take_while(|letter| *letter != '\n').collect();
                if line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
    }
}
