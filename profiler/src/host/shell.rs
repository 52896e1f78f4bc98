//! Words for a shell.

/// A word as a shell takes it back unchanged.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A line whose words are these.
pub fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words_in_a_shell() {
        let words = ["printf", "%s|", "it's", "a b", "$HOME", "", "*", "-x=\"1\""].map(str::to_owned);
        let said = std::process::Command::new("sh").arg("-c").arg(line(&words)).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), "it's|a b|$HOME||*|-x=\"1\"|");
    }
}
