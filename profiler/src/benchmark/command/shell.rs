//! The words of a shell's script, as far as it takes to know which programs it runs and which of them in the background.

/// A simple command of a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Its words without quotes and redirections.
    pub words: Vec<String>,
    /// It ends in `&`.
    pub background: bool,
    /// It stands in no loop, condition, group or substitution.
    pub plain: bool,
}

/// Words behind which a command begins.
const LEADS: &[&str] =
    &["do", "then", "else", "elif", "if", "while", "until", "{", "!", "time", "exec", "command", "eval", "builtin"];
/// Words that make of a script more than one command after the other.
const COMPOUND: &[&str] =
    &["for", "do", "done", "then", "else", "elif", "if", "fi", "while", "until", "case", "{", "}", "function"];

/// The simple commands of a script.
pub fn lines(script: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = Line::default();
    let mut compound = false;
    let mut redirected = false;
    for token in tokens(script) {
        match token {
            Token::Word(word) => {
                if std::mem::take(&mut redirected) {
                    continue;
                }
                let leads = line.words.is_empty();
                compound |= leads && COMPOUND.contains(&word.as_str());
                let assigned = word.split_once('=').is_some_and(|(name, _)| is_name(name));
                if !leads || !(LEADS.contains(&word.as_str()) || assigned) {
                    line.words.push(word);
                }
            }
            Token::Redirection => redirected = true,
            Token::Group => {
                compound = true;
                lines.push(std::mem::take(&mut line));
            }
            Token::End { background } => {
                line.background = background;
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    lines.push(line);
    lines.retain(|line| !line.words.is_empty());
    lines.iter_mut().for_each(|line| line.plain = !compound);
    lines
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
    End {
        background: bool,
    },
}

fn tokens(script: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = script.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => word.get_or_insert_default().extend(letters.by_ref().take_while(|letter| *letter != '\'')),
            '"' => quoted(&mut letters, word.get_or_insert_default()),
            '\\' => word.get_or_insert_default().extend(letters.next().filter(|letter| *letter != '\n')),
            '#' if word.is_none() => while letters.next_if(|letter| *letter != '\n').is_some() {},
            ' ' | '\t' => found.extend(word.take().map(Token::Word)),
            '(' | ')' | '`' => {
                found.extend(word.take().map(Token::Word));
                found.push(Token::Group);
            }
            '&' if letters.next_if_eq(&'>').is_some() => {
                found.extend(word.take().map(Token::Word));
                found.push(Token::Redirection);
            }
            ';' | '\n' | '|' | '&' => {
                found.extend(word.take().map(Token::Word));
                let twice = letters.next_if_eq(&letter).is_some();
                letters.next_if(|next| letter == '|' && *next == '&');
                found.push(Token::End { background: letter == '&' && !twice });
            }
            '<' | '>' => {
                // The number before is that of a file: `2>&1`.
                if word.as_ref().is_some_and(|word| word.chars().all(|letter| letter.is_ascii_digit())) {
                    word = None;
                }
                found.extend(word.take().map(Token::Word));
                while letters.next_if(|next| matches!(next, '<' | '>' | '&' | '|')).is_some() {}
                found.push(Token::Redirection);
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    found.extend(word.map(Token::Word));
    found
}

/// The rest of what stands between double quotes.
fn quoted(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut String) {
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return,
            '\\' => word.extend(letters.next()),
            letter => word.push(letter),
        }
    }
}
