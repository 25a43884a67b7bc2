//! Names of strangers' choice in commands that people copy, and on lines that people read.

/// Returns a name as a shell reads it as one word; where nobody could copy that, or it could be taken for an option, the `placeholder`.
pub(super) fn word(name: &str, placeholder: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/@:+,=%".contains(c);
    if name.is_empty() || name.starts_with('-') || !name.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return placeholder.to_owned();
    }
    match name.chars().all(is_plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', r"'\''")),
    }
}

/// Returns a message on one line: whoever wrote a name or a file that it tells of begins no line of his own.
pub(super) fn line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        // Quotes stay as they are; what moves the cursor, or cannot be seen, does not.
        match matches!(c, '"' | '\'' | '\\') {
            true => line.push(c),
            false => line.extend(c.escape_debug()),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_name_as_one_word() {
        for (name, read) in [
            ("team", "team"),
            ("/a/.x", "/a/.x"),
            (".x; touch PWNED #", "'.x; touch PWNED #'"),
            ("it's", r"'it'\''s'"),
            ("$(id)", "'$(id)'"),
            ("--key-dir=/tmp", "ROLE"),
            ("a\nb", "ROLE"),
            ("\u{202e}a", "ROLE"),
            ("", "ROLE"),
        ] {
            assert_eq!(word(name, "ROLE"), read, "{name:?}");
        }
    }

    #[test]
    fn a_message_is_one_line() {
        let message = "`it's \"a\"`\nb\u{1b}[31m\u{202e}c é …";
        assert_eq!(line(message), "`it's \"a\"`\\nb\\u{1b}[31m\\u{202e}c é …");
    }
}
