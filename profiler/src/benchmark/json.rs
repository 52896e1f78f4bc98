//! JSON objects in text, with whatever else stands around them.

use serde::de::IgnoredAny;

/// The objects of a text.
pub struct Objects<'a> {
    /// Each whole one that lies in no other.
    pub whole: Vec<&'a str>,
    /// One was begun and did not end.
    pub broken_off: bool,
}

/// Finds the objects. What begins like one and is none (`{code 0}`) is text. The work is bounded by the length of the text,
/// whatever stands in it.
pub fn objects(text: &str) -> Objects<'_> {
    let mut found = Objects { whole: Vec::new(), broken_off: false };
    let mut work = 8 * text.len() + (1 << 20);
    let mut at = 0;
    while let Some(next) = text[at..].find('{') {
        at += next;
        let mut stream = serde_json::Deserializer::from_str(&text[at..]).into_iter::<IgnoredAny>();
        let spent = match stream.next() {
            Some(Ok(_)) => {
                let end = at + stream.byte_offset();
                found.whole.push(&text[at..end]);
                at = end;
                continue;
            }
            Some(Err(error)) if error.is_eof() => {
                found.broken_off = true;
                return found;
            }
            Some(Err(error)) => place(&text[at..], error.line(), error.column()),
            None => 1,
        };
        if work < spent {
            found.broken_off = true;
            return found;
        }
        work -= spent;
        at += 1;
    }
    found
}

/// How far into a text a line and a column are.
fn place(text: &str, line: usize, column: usize) -> usize {
    let begins = if line < 2 { 0 } else { text.match_indices('\n').nth(line - 2).map_or(text.len(), |(at, _)| at + 1) };
    begins + column + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_and_between_is_passed_over() {
        let found = objects("+ x {fast: no}\n{\"a\": {\"b\": 1}}\nended {code 0}{} [{\"c\": 2}]");
        assert_eq!(found.whole, ["{\"a\": {\"b\": 1}}", "{}", "{\"c\": 2}"]);
        assert!(!found.broken_off);
    }

    #[test]
    fn an_object_that_does_not_end_is_told() {
        let found = objects("{\"a\": 1}\n{\"b\": [{}, {\"c\":");
        assert_eq!((found.whole, found.broken_off), (vec!["{\"a\": 1}"], true));
    }

    #[test]
    fn deep_nests_that_are_wrong_at_their_end_take_no_long_time() {
        let text = format!("{}x", "{\"a\":".repeat(400_000));
        assert!(objects(&text).whole.is_empty());
    }
}
