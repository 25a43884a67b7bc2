//! Which names a delegated role is trusted with (specification, section 4.5: `PATHPATTERN`).
//!
//! - `*` and `?` match within one part of a path, never `/`; a pattern and a name have equally many parts.
//! - `[…]` and `[!…]` match one character of a set, as the shell's.

/// Tells whether `pattern` matches `name`, part by part.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.split('/'), name.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if part_matches(pattern, part) => {}
            _ => return false,
        }
    }
}

/// Matches one part. Only the last `*` is ever gone back to, so that time is at most the product of the lengths.
fn part_matches(pattern: &str, part: &str) -> bool {
    let (mut pattern, mut part) = (pattern, part);
    let mut retry: Option<(&str, &str)> = None;
    loop {
        if let Some(rest) = pattern.strip_prefix('*') {
            retry = Some((rest, part));
            pattern = rest;
            continue;
        }
        let next = part.chars().next();
        match (take(pattern, next), next) {
            (Some(rest), Some(c)) => {
                pattern = rest;
                part = part.strip_prefix(c).unwrap_or_default();
            }
            (None, None) if pattern.is_empty() => return true,
            _ => match retry {
                // The star takes one character more.
                Some((after_star, from)) => {
                    let mut rest = from.chars();
                    if rest.next().is_none() {
                        return false;
                    }
                    (pattern, part) = (after_star, rest.as_str());
                    retry = Some((after_star, rest.as_str()));
                }
                None => return false,
            },
        }
    }
}

/// Matches the first element of `pattern`, no star, with `c`, and returns the rest of the pattern.
fn take(pattern: &str, c: Option<char>) -> Option<&str> {
    let c = c?;
    let mut rest = pattern.chars();
    let first = rest.next()?;
    if first == '['
        && let Some((set, rest)) = split_set(rest.as_str())
    {
        return set_contains(set, c).then_some(rest);
    }
    (first == '?' || first == c).then_some(rest.as_str())
}

/// Splits at the `]` that ends a set; one that stands first is a member, and without an end there is no set.
fn split_set(text: &str) -> Option<(&str, &str)> {
    let head = text.strip_prefix('!').unwrap_or(text);
    let skipped = text.len() - head.len() + usize::from(head.starts_with(']'));
    let end = skipped + text.get(skipped..)?.find(']')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

fn set_contains(set: &str, c: char) -> bool {
    let (negated, set) = match set.strip_prefix('!') {
        Some(set) => (true, set),
        None => (false, set),
    };
    let mut found = false;
    let mut rest = set.chars();
    while let Some(low) = rest.next() {
        let mut ahead = rest.clone();
        let high = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) => {
                rest = ahead;
                high
            }
            _ => low,
        };
        found |= (low..=high).contains(&c);
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_within_a_part() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("spec/*", "spec/node.yml", true),
            ("spec/*", "spec/", true),
            ("spec/*", "spec", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?", "é", true),
            ("?", "", false),
            ("", "", true),
            ("foo-version-?.tgz", "foo-version-a.tgz", true),
            ("*.tgz", "dir/a.tgz", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[a", "[a", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_costs_little() {
        let pattern = format!("{}b", "a*".repeat(400));
        assert!(!matches(&pattern, &"a".repeat(1000)));
    }
}
